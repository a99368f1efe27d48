"""A key for an authenticator app, as the app can take it: by camera, by link, or typed in."""

from __future__ import annotations

from io import BytesIO

from msgspec import Struct

QUIET_MODULES = 4  # the white edge without which a camera does not find the code


class AuthenticatorKey(Struct, rename="camel"):
    """``uri``: what an app on the same device opens. ``picture``: the same as a QR code, an SVG."""

    key: str
    uri: str
    picture: str


def authenticator_key(issuer: str, name: str, key: str) -> AuthenticatorKey:
    """The key with the two ways of handing it over. ``issuer`` and ``name`` are what the app lists it under."""
    import segno
    from pyotp.totp import TOTP

    uri = TOTP(key, name=name, issuer=issuer).provisioning_uri()
    drawn = BytesIO()
    segno.make_qr(uri, error="m").save(
        drawn,
        kind="svg",
        border=QUIET_MODULES,
        light="#fff",
        omitsize=True,
        xmldecl=False,
        svgclass=None,
        lineclass=None,
    )
    return AuthenticatorKey(key, uri, drawn.getvalue().decode())
