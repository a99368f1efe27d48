"""Share links: a guest sees one tracker, or one group's, until the link ends. What is hidden is hidden from him."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from starlette.responses import PlainTextResponse, Response

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad
from tracker_server.api.values import Number
from tracker_server.model.people import Right
from tracker_server.model.why import Why
from tracker_server.storage.audit import note
from tracker_server.storage.sessions import add_token

routes = Routes("Share links")

DAYS = 7  # where its maker names no end
DAYS_MAX = 366


class SharedDevice(Struct, rename="camel"):
    """A form: what is shared, and until when."""

    device_id: Number
    expiration: datetime | None = None


class SharedGroup(Struct, rename="camel"):
    """A form: what is shared, and until when."""

    group_id: Number
    expiration: datetime | None = None


@routes.post(
    "/devices/share",
    needs=Right.SHARE,
    body=SharedDevice,
    form=True,
    answers=str,
    media=("text/plain",),
    name="post_devices_share",
    summary="As /share/device, by its older name.",
)
@routes.post(
    "/share/device", needs=Right.SHARE, body=SharedDevice, form=True, answers=str, media=("text/plain",)
)
async def post_share_device(call: Call[None, SharedDevice]) -> Response:
    """A token whose guest sees this tracker alone, as bare text."""
    await call.require_objects(Kind.DEVICE, call.body.device_id)
    return await _share(call, call.body.expiration, device_id=call.body.device_id)


@routes.post(
    "/share/group", needs=Right.SHARE, body=SharedGroup, form=True, answers=str, media=("text/plain",)
)
async def post_share_group(call: Call[None, SharedGroup]) -> Response:
    """A token whose guest sees this group's trackers alone, as bare text."""
    await call.require_objects(Kind.GROUP, call.body.group_id)
    return await _share(call, call.body.expiration, group_id=call.body.group_id)


async def _share(
    call: Call[Any, Any], until: datetime | None, *, device_id: int | None = None, group_id: int | None = None
) -> Response:
    if device_id == 0 or group_id == 0:
        raise bad("deviceId" if device_id == 0 else "groupId", "names nothing")
    if call.principal.actor_id is not None:
        raise Refusal(403, "in another's place no link is made: it would outlast the session")
    expires_at = until or call.now + timedelta(days=DAYS)
    if not call.now < expires_at <= call.now + timedelta(days=DAYS_MAX):
        raise bad(
            "expiration", f"is over, or further away than {DAYS_MAX} days", Why.SHARE_DAYS, days=DAYS_MAX
        )
    async with call.services.pools.core() as connection, connection.transaction():
        token = await add_token(
            connection,
            "share",
            user_id=call.principal.user_id,
            expires_at=expires_at,
            device_id=device_id,
            group_id=group_id,
        )
        kind, number = ("device", device_id) if device_id else ("group", group_id)
        await note(connection, "share", by=call.principal, kind=kind, object_id=number, address=call.address)
    return PlainTextResponse(token)
