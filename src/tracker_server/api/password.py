"""A forgotten password: a link by e-mail that works once, for half an hour."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from tracker_server.alerts.letters import PasswordLetter, encode, spoken
from tracker_server.api.authorise import Open, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal
from tracker_server.model.why import Why
from tracker_server.pipeline.dispatcher import EMAIL
from tracker_server.storage.audit import note
from tracker_server.storage.outbox import NewMessage, enqueue
from tracker_server.storage.sessions import add_token, digest_of, end_sessions_of, end_tokens, take_token
from tracker_server.storage.users import UserRow, set_password, user_by_email

routes = Routes("Passwords")

MINUTES: Final = 30


class Reset(Struct):
    """A form."""

    email: Annotated[str, Meta(max_length=254)]


class Update(Struct):
    """A form: the token of the link, and the new password."""

    token: Annotated[str, Meta(max_length=1_000)]
    password: Annotated[str, Meta(max_length=1_000)]


@routes.post("/password/reset", needs=Open.ANYBODY, body=Reset, form=True, status=200)
async def post_password_reset(call: Call[None, Reset]) -> dict[str, Any]:
    """Ask for a link by e-mail. The answer is the same whether or not there is such a user."""
    allowed = call.services.access.may_ask(call.body.email.strip().lower(), call.address)
    async with call.services.pools.core() as connection, connection.transaction():
        user = await user_by_email(connection, call.body.email.strip())
        if allowed and user is not None and not user.ended(call.now):
            await end_tokens(connection, "reset", user.id)
            token = await add_token(
                connection, "reset", user_id=user.id, expires_at=call.now + timedelta(minutes=MINUTES)
            )
            await enqueue(connection, [_letter(call, user, token)], call.now)
            await note(connection, "passwordReset", user_id=user.id, address=call.address)
    return {}


def _letter(call: Call[None, Reset], user: UserRow, token: str) -> NewMessage:
    link = f"{call.services.settings.api.base}/reset?token={token}"
    language = str(user.attributes.get("language") or call.services.settings.notices.language)
    return NewMessage(
        key=f"reset:{digest_of(token).hex()[:32]}",
        channel=EMAIL,
        recipient=user.email,
        account_id=user.account_id,
        payload=encode(PasswordLetter(spoken(language), link, MINUTES)),
        due_at=call.now,
    )


@routes.post("/password/update", needs=Open.ANYBODY, body=Update, form=True, status=200)
async def post_password_update(call: Call[None, Update]) -> dict[str, Any]:
    """Set a new password with the link's token. All of the user's sessions end."""
    hashed = await call.services.access.passwords.hash(call.body.password)
    async with call.services.pools.core() as connection, connection.transaction():
        user_id = await take_token(connection, digest_of(call.body.token), "reset")
        if user_id is None:
            raise Refusal(
                410, "token: this link has been used or has ended; ask for another", why=Why.LINK_USED
            )
        await set_password(connection, user_id, hashed)
        await end_sessions_of(connection, user_id)
        await note(connection, "passwordUpdate", user_id=user_id, address=call.address)
    call.services.access.forget(None)
    return {}
