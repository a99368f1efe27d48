"""Credentials of a request: which come along, and whether a browser was sent here by another site."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

from psycopg import AsyncConnection
from starlette.requests import HTTPConnection
from starlette.responses import Response

from tracker_server.api.access import Access
from tracker_server.api.call import address_of
from tracker_server.api.errors import Refusal
from tracker_server.model.people import Principal
from tracker_server.storage.sessions import digest_of, open_session

COOKIE: Final = "JSESSIONID"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
CREDENTIAL_CHARACTERS_MAX: Final = 2_048


async def begin_session(
    request: HTTPConnection,
    connection: AsyncConnection[Any],
    user_id: int,
    *,
    expires_at: datetime,
    token_digest: bytes | None = None,
    actor_id: int | None = None,
) -> str:
    """A new session of whoever sent this request; answers what goes into the cookie."""
    return await open_session(
        connection,
        user_id,
        expires_at=expires_at,
        token_digest=token_digest,
        actor_id=actor_id,
        address=address_of(request),
        agent=request.headers.get("user-agent", ""),
    )


def bring_along(response: Response, request: HTTPConnection, secret: str, days: int | None) -> None:
    """The cookie that a browser brings along from now on; ``days`` None: until it is closed."""
    response.set_cookie(
        COOKIE,
        secret,
        max_age=days * 86_400 if days else None,
        path="/",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


async def identify(access: Access, connection: HTTPConnection, origins: frozenset[str]) -> Principal | None:
    """Who asks; None: nobody signed in. Raises Refusal for credentials that are wrong, and for another site's page
    that would use a cookie.
    """
    header = connection.headers.get("authorization", "")
    scheme, _, credentials = header.partition(" ")
    token = connection.query_params.get("token", "")
    if len(header) > CREDENTIAL_CHARACTERS_MAX or len(token) > CREDENTIAL_CHARACTERS_MAX:
        raise Refusal(401, "these credentials are too long")
    match scheme.lower():
        case "basic":
            email, password = _basic(credentials)
            return await access.by_password(email, password, address_of(connection))
        case "bearer":
            return _found(await access.by_token(digest_of(credentials.strip())))
        case _:
            pass
    if token:
        return _found(await access.by_token(digest_of(token)))
    foreign = is_foreign(connection, origins)
    cookie = connection.cookies.get(COOKIE, "")
    method = connection.scope.get("method", "GET")
    if foreign and (cookie or method not in SAFE):
        raise Refusal(
            403, "this page belongs to another site; api.origins names sites that may use a sign-in here"
        )
    return await access.by_session(digest_of(cookie)) if cookie else None


def is_foreign(connection: HTTPConnection, origins: frozenset[str]) -> bool:
    """Whether a browser says that another site's page asks."""
    origin = connection.headers.get("origin")
    if origin is None:
        return connection.headers.get("sec-fetch-site") == "cross-site" and (
            connection.scope.get("method", "GET") not in SAFE
        )
    if origin in origins:
        return False
    return urlsplit(origin).netloc.lower() != connection.headers.get("host", "").lower() or origin == "null"


def _basic(credentials: str) -> tuple[str, str]:
    try:
        email, colon, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise Refusal(401, "these credentials cannot be read") from None
    if not colon:
        raise Refusal(401, "these credentials cannot be read")
    return email, password


def _found(principal: Principal | None) -> Principal:
    if principal is None:
        raise Refusal(401, "this token is not known, has ended or was revoked")
    return principal
