"""Signing in and out, tokens, another's session, and the first administrator."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tracker_server.api.authorise import Kind, Open, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import JSON, Refusal, bad, invalid, not_found
from tracker_server.api.identify import COOKIE, begin_session, bring_along
from tracker_server.api.user_shape import User, guest, shape_of
from tracker_server.model.address import email as checked_email
from tracker_server.model.money import InvalidValueError
from tracker_server.model.people import Principal, Right, Role
from tracker_server.model.why import Why
from tracker_server.storage.audit import note
from tracker_server.storage.sessions import (
    add_token,
    digest_of,
    end_session,
    find_token,
    revoke_token,
    take_token,
    tokens_of,
)
from tracker_server.storage.users import UserRow, add_user, is_there_an_admin, user_by_id

routes = Routes("Session")

TOKEN_DAYS: Final = 7  # where its maker names no end


class SignIn(Struct):
    """A form. ``code``: of the authenticator, where the user has one."""

    email: Annotated[str, Meta(max_length=254)]
    password: Annotated[str, Meta(max_length=1_000)]
    code: str = ""


class Token(Struct):
    """A form. ``expiration``: default a week; ``rights``: default all that one has oneself."""

    expiration: datetime | None = None
    rights: list[Right] | None = None
    label: Annotated[str, Meta(max_length=200)] = ""


class Revoked(Struct):
    """A form: the token itself, or its id from the list."""

    token: str = ""
    id: int = 0


class TokenShape(Struct, rename="camel"):
    """One that was handed out; the token itself is kept nowhere."""

    id: int
    kind: str
    label: str
    rights: list[str] | None
    device_id: int | None
    group_id: int | None
    created_at: datetime
    expiration: datetime | None


class SetUp(Struct):
    """The first administrator."""

    token: str
    email: str
    password: str
    name: Annotated[str, Meta(max_length=200)] = ""


class SetUpState(Struct):
    """``needed``: there is no administrator yet. ``open``: the token of the query would make him."""

    needed: bool
    open: bool


class SessionQuery(Struct):
    """``token``: signs in by it and answers the cookie."""

    token: str = ""


@routes.get("/session", needs=Open.ANYBODY, query=SessionQuery, answers=User)
async def get_session(call: Call[SessionQuery, None]) -> Response | User:
    """Who is signed in; 404 for nobody. With `token`, signs in by it."""
    principal = call.nobody_or
    if principal is None:
        raise not_found("session: nobody is signed in")
    user = await _user_of(call, principal)
    if not call.query.token:
        return user
    async with call.services.pools.core() as connection:
        secret = await begin_session(
            call.request,
            connection,
            principal.user_id,
            expires_at=min(filter(None, (principal.until, call.services.access.session_end(call.now)))),
            token_digest=principal.digest or None,
        )
    return _with_cookie(call.request, user, secret, call.services.settings.api.session_days)


async def _user_of(call: Call[SessionQuery, None], principal: Principal) -> User:
    if principal.role is Role.GUEST:
        return guest(principal)
    async with call.services.pools.core() as connection:
        row = await user_by_id(connection, principal.user_id)
    if row is None:
        raise not_found("session: nobody is signed in")
    return shape_of(row, principal)


@routes.post("/session", needs=Open.ANYBODY, body=SignIn, form=True, answers=User)
async def post_session(call: Call[None, SignIn]) -> Response:
    """Sign in by e-mail address and password."""
    access = call.services.access
    user = await access.sign_in(call.body.email, call.body.password, call.body.code, call.address)
    old = call.request.cookies.get(COOKIE)
    async with call.services.pools.core() as connection, connection.transaction():
        if old:
            await end_session(connection, digest_of(old))
        secret = await begin_session(
            call.request,
            connection,
            user.id,
            expires_at=access.session_end(call.now),
        )
        await note(connection, "login", user_id=user.id, address=call.address)
    principal = await access.by_session(digest_of(secret))
    if principal is None:
        raise Refusal(401, "e-mail address or password is wrong")
    return _with_cookie(
        call.request, shape_of(user, principal), secret, call.services.settings.api.session_days
    )


@routes.delete("/session", needs=Open.ANYBODY)
async def delete_session(call: Call[None, None]) -> Response:
    """Sign out."""
    cookie = call.request.cookies.get(COOKIE)
    if cookie:
        async with call.services.pools.core() as connection:
            await end_session(connection, digest_of(cookie))
        call.services.access.forget(None)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/")
    return response


@routes.get("/session/{id}", needs=Right.ADMINISTER, objects={"id": Kind.USER}, answers=User)
async def take_session(call: Call[None, None]) -> Response:
    """Open another user's session in one's own place; written in the audit log."""
    principal = call.principal
    async with call.services.pools.core() as connection, connection.transaction():
        user = await user_by_id(connection, call.id)
        if user is None:
            raise not_found(f"user {call.id}")
        if user.ended(call.now):
            raise Refusal(409, f"user {call.id} is disabled or has expired; let him in first")
        secret = await begin_session(
            call.request,
            connection,
            user.id,
            expires_at=call.now + timedelta(hours=1),
            actor_id=principal.actor_id or principal.user_id,
        )
        await note(
            connection, "impersonate", by=principal, kind="user", object_id=user.id, address=call.address
        )
    taken = await call.services.access.by_session(digest_of(secret))
    return _with_cookie(call.request, shape_of(user, taken), secret, None)


@routes.post("/session/token", needs=Right.SELF, body=Token, form=True, answers=str, media=("text/plain",))
async def post_token(call: Call[None, Token]) -> Response:
    """A token that signs in as oneself, as bare text."""
    expires_at = call.body.expiration or call.now + timedelta(days=TOKEN_DAYS)
    if expires_at <= call.now:
        raise bad("expiration", "is over already; name a moment to come", Why.MOMENT_OVER)
    if call.principal.actor_id is not None:
        raise Refusal(403, "in another's place no token is made: it would outlast the session")
    wanted = call.body.rights
    if wanted is None and call.principal.limited:
        wanted = sorted(call.principal.rights)  # a token makes none that may more than itself
    for right in wanted or ():
        call.require(right)
    rights = None if wanted is None else [str(right) for right in wanted]
    async with call.services.pools.core() as connection, connection.transaction():
        secret = await add_token(
            connection,
            "access",
            user_id=call.principal.user_id,
            expires_at=expires_at,
            rights=rights,
            label=call.body.label,
        )
        await note(connection, "token", by=call.principal, address=call.address)
    return PlainTextResponse(secret)


@routes.get("/session/tokens", needs=Right.SELF, answers=list[TokenShape])
async def get_tokens(call: Call[None, None]) -> list[TokenShape]:
    """One's own tokens and share links that have not ended."""
    async with call.services.pools.core() as connection:
        rows = await tokens_of(connection, call.principal.user_id)
    return [
        TokenShape(
            row.id,
            row.kind,
            row.label,
            row.rights,
            row.device_id,
            row.group_id,
            row.created_at,
            row.expires_at,
        )
        for row in rows
    ]


@routes.post("/session/token/revoke", needs=Right.SELF, body=Revoked, form=True, status=204)
async def post_revoke(call: Call[None, Revoked]) -> None:
    """End a token of one's own, at once and with the sessions that it opened."""
    digest = digest_of(call.body.token) if call.body.token else b""
    async with call.services.pools.core() as connection, connection.transaction():
        revoked = await revoke_token(connection, call.principal.user_id, digest=digest, token_id=call.body.id)
        if revoked:
            await note(connection, "revoke", by=call.principal, address=call.address)
    call.services.access.forget(call.principal)
    if not revoked:
        raise not_found("such token of yours")


@routes.get("/setup", needs=Open.SIGNED, query=SessionQuery, answers=SetUpState)
async def get_setup(call: Call[SessionQuery, None]) -> SetUpState:
    """Whether the first administrator is still to be made."""
    async with call.services.pools.core() as connection:
        needed = not await is_there_an_admin(connection)
        token = await find_token(connection, digest_of(call.query.token))
        return SetUpState(needed, needed and token is not None and token.kind == "setup")


@routes.post("/setup", needs=Open.SIGNED, body=SetUp, form=True, answers=User)
async def post_setup(call: Call[None, SetUp]) -> Response:
    """Make the first administrator with the one-time link that the server's start printed, and sign in."""
    given = call.body
    address = email_of(given.email)
    password = await call.services.access.passwords.hash(given.password)
    async with call.services.pools.core() as connection, connection.transaction():
        taken = await take_token(connection, digest_of(given.token), "setup")
        if taken is None or await is_there_an_admin(connection):
            raise Refusal(
                403, "token: this link has been used, or is not the one that the server's last start printed"
            )
        row = UserRow(email=address, name=given.name or address, role=Role.ADMIN, password=password)
        user_id = await add_user(connection, row)
        await note(connection, "setup", user_id=user_id, kind="user", object_id=user_id, address=call.address)
        secret = await begin_session(
            call.request,
            connection,
            user_id,
            expires_at=call.services.access.session_end(call.now),
        )
        user = await user_by_id(connection, user_id)
    assert user is not None
    principal = await call.services.access.by_session(digest_of(secret))
    return _with_cookie(
        call.request, shape_of(user, principal), secret, call.services.settings.api.session_days
    )


def email_of(text: str) -> str:
    """An e-mail address. Raises Refusal."""
    try:
        return checked_email(text, "email")
    except InvalidValueError as error:
        raise invalid(error) from None


def _with_cookie(request: Request, user: User, secret: str, days: int | None) -> Response:
    """The user, and the cookie of his session."""
    from msgspec.json import encode

    response = Response(encode(user), media_type=JSON)
    bring_along(response, request, secret, days)
    return response
