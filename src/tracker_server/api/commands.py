"""Commands: kept for another time, and sent. A hidden tracker is told nothing by its customer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field
from msgspec.json import encode
from starlette.responses import Response

from tracker_protocols import ALL, BY_NAME
from tracker_protocols.wire.command import Command as Words
from tracker_protocols.wire.command import CommandError
from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import JSON, Refusal, bad, not_found
from tracker_server.api.kept import Attributes, Name, Sort, keep, told
from tracker_server.api.values import Number
from tracker_server.gate import Hidden, decide
from tracker_server.gate.commands import why_not
from tracker_server.model.people import Right
from tracker_server.model.why import Why
from tracker_server.storage.allowed import KEPT
from tracker_server.storage.audit import note
from tracker_server.storage.cards import find_cards
from tracker_server.storage.commands import NewCommand, protocol_of, queue, state_of
from tracker_server.storage.objects import list_objects, read_object

routes = Routes("Commands")

SENT_S_MAX: Final = 1.0  # to wait for a device that is connected, before the answer is "queued"
LOOK_S: Final = 0.05
DEVICES_MAX: Final = 1_000


class Command(Struct, rename="camel", kw_only=True):
    """``type``: by its usual name, such as engineStop; `commands/types` tells which a tracker knows."""

    id: Number = 0
    device_id: Number | None = 0
    description: Annotated[str, Meta(max_length=200)] | None = ""
    type: Name
    text_channel: bool = False
    attributes: Attributes | None = field(default_factory=dict)
    account_id: Number | None = 0


class Sent(Struct, rename="camel", kw_only=True):
    """A saved command by its ``id``, or one by its ``type``; to a tracker, or to all of a group."""

    id: Number | None = 0
    device_id: Number | None = 0
    group_id: Number | None = 0
    description: str | None = ""
    type: str | None = ""
    text_channel: bool = False
    attributes: Attributes | None = field(default_factory=dict)


class OfDevice(Struct, rename="camel"):
    """The tracker; none: all that there is."""

    device_id: Number | None = None
    group_id: Number | None = None
    text_channel: bool = False


class CommandType(Struct):
    """The name of a command."""

    type: str


SORT: Final = Sort(
    Kind.COMMAND,
    "/commands",
    Command,
    to_row=lambda one: {
        "description": one.description or "",
        "type": one.type,
        "text_channel": one.text_channel,
        "attributes": one.attributes or {},
    },
    to_shape=lambda row: told(Command, row),
)
keep(routes, SORT)


@routes.get(
    "/commands/types",
    needs=Right.READ,
    query=OfDevice,
    objects={"deviceId": Kind.DEVICE, "groupId": Kind.GROUP},
    answers=list[CommandType],
)
async def get_command_types(call: Call[OfDevice, None]) -> list[CommandType]:
    """What a tracker can be told, by the protocol of its latest report; without a tracker, all that there is."""
    types = None
    if call.query.device_id:
        types = await _types_of(call, call.query.device_id)
    if types is None:
        types = {kind for protocol in ALL if protocol.commands for kind in protocol.commands.types}
    return [CommandType(kind) for kind in sorted(types)]


async def _types_of(call: Call[Any, Any], device_id: int) -> set[str] | None:
    """None where it is not known yet what it speaks, and of a tracker that is hidden."""
    async with call.services.pools.core() as connection:
        name = await protocol_of(connection, device_id)
    if name is None or await _hidden(call, device_id):
        return None
    commands = BY_NAME[name].commands if name in BY_NAME else None
    return set(commands.types) if commands else set()


@routes.get(
    "/commands/send",
    needs=Right.COMMANDS,
    query=OfDevice,
    objects={"deviceId": Kind.DEVICE},
    answers=list[Command],
)
async def get_command_send(call: Call[OfDevice, None]) -> list[Command]:
    """The saved commands that a tracker understands."""
    types = await _types_of(call, call.query.device_id) if call.query.device_id else None
    async with call.services.pools.core() as connection:
        rows = await list_objects(connection, KEPT[Kind.COMMAND], call.principal)
    return [SORT.to_shape(row) for row in rows if types is None or row["type"] in types]


@routes.post("/commands/send", needs=Right.COMMANDS, body=Sent, answers=Command, also=(202,))
async def post_command_send(call: Call[None, Sent]) -> Response:
    """Tell a tracker something: 200 where it was told at once, 202 where that waits until it is connected."""
    given = call.body
    kind, attributes = given.type or "", given.attributes or {}
    if given.id:
        await call.require_objects(Kind.COMMAND, given.id)
        async with call.services.pools.core() as connection:
            saved = await read_object(connection, KEPT[Kind.COMMAND], given.id)
        if saved is None:
            raise not_found(f"command {given.id}")
        kind, attributes = saved["type"], saved["attributes"]
    if not kind:
        raise bad("type", "is missing; name a command, such as engineStop, or a saved one by its id")
    devices = await _devices(call)
    for device_id in devices:
        await _check(call, device_id, Words(kind, attributes))
    expires_at = call.now + timedelta(hours=call.services.settings.commands.keep_hours)
    async with call.services.pools.core() as connection, connection.transaction():
        numbers = [
            await queue(
                connection,
                NewCommand(
                    device_id,
                    kind,
                    attributes,
                    expires_at,
                    operator=call.principal.operator,
                    created_by=call.principal.email,
                ),
            )
            for device_id in devices
        ]
        for device_id in devices:
            detail = {"type": kind}
            await note(
                connection, "command", by=call.principal, kind="device", object_id=device_id, address=call.address, detail=detail
            )  # fmt: skip
    sent = await _sent(call, devices, numbers)
    shape = Command(
        id=given.id or 0,
        device_id=given.device_id,
        description=given.description,
        type=kind,
        text_channel=given.text_channel,
        attributes=attributes,
    )
    return Response(encode(shape), 200 if sent else 202, media_type=JSON)


async def _devices(call: Call[None, Sent]) -> list[int]:
    operator = call.principal.operator
    if call.body.device_id:
        await call.require_objects(Kind.DEVICE if operator else Kind.SHOWN, call.body.device_id)
        return [call.body.device_id]
    if not call.body.group_id:
        raise bad("deviceId", "is missing; name a tracker, or a group by groupId")
    await call.require_objects(Kind.GROUP, call.body.group_id)
    async with call.services.pools.display() as connection:
        found = await find_cards(
            connection,
            call.principal.scope,
            shown=not operator,
            group_id=call.body.group_id,
            limit=DEVICES_MAX,
        )
    if not found:
        raise bad("groupId", "there is no tracker in this group that could be told")
    return list(found)


async def _hidden(call: Call[Any, Any], device_id: int) -> bool:
    tracker = call.services.trackers.by_id(device_id)
    return tracker is not None and isinstance(decide(tracker.blocks, call.now), Hidden)


async def _check(call: Call[Any, Any], device_id: int, command: Words) -> None:
    refusal = why_not(command.type, hidden=await _hidden(call, device_id), operator=call.principal.operator)
    if refusal is not None:
        raise Refusal(409, f"deviceId: {refusal}")
    async with call.services.pools.core() as connection:
        name = await protocol_of(connection, device_id)
    if name is None or name not in BY_NAME:
        return
    commands = BY_NAME[name].commands
    if commands is None:
        raise bad("type", f"{name}, which this tracker speaks, knows no commands", Why.NO_COMMAND)
    tracker = call.services.trackers.by_id(device_id)
    try:
        commands.encode(tracker.unique_id if tracker else "0", command, call.now)
    except CommandError as error:
        raise Refusal(400, str(error)) from None


async def _sent(call: Call[Any, Any], devices: list[int], numbers: list[int]) -> bool:
    """Whether all went out, within the time that a connected device takes."""
    if not all(call.services.connected(device_id) for device_id in devices):
        return False
    until = asyncio.get_running_loop().time() + SENT_S_MAX
    while asyncio.get_running_loop().time() < until:
        async with call.services.pools.core() as connection:
            states = [await state_of(connection, number) for number in numbers]
        if "failed" in states:
            raise Refusal(400, "type: this tracker's language has no such command", why=Why.NO_COMMAND)
        if all(state in {"sent", "answered"} for state in states):
            return True
        await asyncio.sleep(LOOK_S)
    return False
