"""Signing in by the organisation's own accounts: there and back again."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import structlog
from msgspec import Meta, Struct
from starlette.responses import RedirectResponse, Response

from tracker_server.api.authorise import Open, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, not_found
from tracker_server.api.identify import begin_session, bring_along
from tracker_server.api.openid_provider import STARTED_S_MAX, OpenIdError, Provider
from tracker_server.storage.audit import note
from tracker_server.storage.users import user_by_email

log = structlog.get_logger(__name__)

routes = Routes("Session")

BEGUN: Final = "tracker_openid"
PATH: Final = "/api/session/openid"


class Back(Struct):
    """What the provider sends back."""

    code: Annotated[str, Meta(max_length=4_000)] = ""
    state: Annotated[str, Meta(max_length=200)] = ""
    error: Annotated[str, Meta(max_length=200)] = ""


def _provider(call: Call[Any, Any]) -> Provider:
    if call.services.openid is None:
        raise not_found("sign-in by OpenID Connect; the operator's settings switch it on")
    return call.services.openid


@routes.get("/session/openid/auth", needs=Open.SIGNED, answers=str, media=("text/html",), also=(302,))
async def get_openid_auth(call: Call[None, None]) -> Response:
    """Go to the provider to sign in there."""
    provider = _provider(call)
    try:
        address, started = await provider.begin(time.time())
    except OpenIdError as error:
        log.warning("no sign-in by OpenID", error=str(error))
        raise Refusal(502, str(error)) from None
    answer = RedirectResponse(address, 302)
    answer.set_cookie(
        BEGUN,
        provider.sealed(started),
        max_age=int(STARTED_S_MAX),
        path=PATH,
        httponly=True,
        samesite="lax",
        secure=call.request.url.scheme == "https",
    )
    return answer


@routes.get(
    "/session/openid/callback", needs=Open.SIGNED, query=Back, answers=str, media=("text/html",), also=(302,)
)
async def get_openid_callback(call: Call[Back, None]) -> Response:
    """Come back from the provider; signs in who has a user here by the address that it verified."""
    provider, back = _provider(call), call.query
    if back.error or not back.code:
        raise Refusal(401, f"the provider let nobody in: {back.error or 'it sent no code'}; begin again")
    try:
        started = provider.opened(call.request.cookies.get(BEGUN, ""), back.state, time.time())
        email = await provider.finish(back.code, started)
    except OpenIdError as error:
        log.warning("no sign-in by OpenID", error=str(error))
        raise Refusal(401, str(error)) from None
    access = call.services.access
    async with call.services.pools.core() as connection, connection.transaction():
        user = await user_by_email(connection, email.strip().lower())
        if user is None or user.ended(call.now):
            raise Refusal(401, f"{email[:254]} has no user here; whoever manages the account can add one")
        secret = await begin_session(
            call.request,
            connection,
            user.id,
            expires_at=access.session_end(call.now),
        )
        await note(connection, "login", user_id=user.id, address=call.address, detail={"by": "openid"})
    answer = RedirectResponse("/", 302)
    answer.delete_cookie(BEGUN, path=PATH)
    bring_along(answer, call.request, secret, call.services.settings.api.session_days)
    return answer
