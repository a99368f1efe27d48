"""The settings of signing in by an organisation's own accounts. A part of ``config``."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from tracker_server.config_keys import SECRET

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class PeopleSettingError(ValueError):
    """A setting that cannot be used. The message names the key and the cure."""


class OpenId(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Signing in by an OpenID Connect provider (Keycloak, Entra, Google, Authelia …). It lets in users that are here
    already, by the e-mail address that the provider has verified; ``issuer`` empty: off.
    """

    issuer: Annotated[
        str,
        Meta(description="the provider's address, as it names itself: https://login.example/realms/fleet"),
    ] = ""
    client_id: Annotated[str, Meta(description="what we are called there")] = ""
    client_secret: Annotated[
        str,
        Meta(
            description="our secret there; its redirect address is <public_url>/api/session/openid/callback",
            extra={SECRET: True},
        ),
    ] = ""
    only: Annotated[
        bool, Meta(description="whether nobody signs in by a password any more; tokens go on working")
    ] = False


def check_openid(openid: OpenId, public_url: str) -> None:
    """Raises PeopleSettingError."""
    if not openid.issuer:
        if openid.only:
            raise PeopleSettingError("openid.only: nobody could sign in; set openid.issuer, or only to false")
        return
    parts = urlsplit(openid.issuer)
    if not parts.hostname or not (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    ):
        raise PeopleSettingError(
            f"openid.issuer: {openid.issuer!r} is no https:// address; write the provider's"
        )
    for name, value in (("client_id", openid.client_id), ("client_secret", openid.client_secret)):
        if not value:
            raise PeopleSettingError(
                f"openid.{name}: is missing; the provider gave it when you registered us there"
            )
    if not public_url:
        raise PeopleSettingError("api.public_url: is missing; a provider sends people back to it")
