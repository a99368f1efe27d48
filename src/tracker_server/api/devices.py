"""Trackers as their owners keep them: cards, pictures, and of those that are not hidden how they stand."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType, field
from starlette.responses import PlainTextResponse, Response

from tracker_protocols.model import DEVICE_KEY_CHARACTERS_MAX, BadFrame
from tracker_protocols.wire.fields import device_key
from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.device_shape import Device, device_shape
from tracker_server.api.errors import Refusal, bad, not_found
from tracker_server.api.kept import Attributes, Name, account_for
from tracker_server.api.media import PICTURE_BYTES_MAX, kind_of, media_of, name_of
from tracker_server.api.values import Moment, Number, moment
from tracker_server.model.people import Right, Role, Scope
from tracker_server.model.why import Why
from tracker_server.storage.accumulators import set_accumulators
from tracker_server.storage.audit import note
from tracker_server.storage.cards import card_named, change_card, count_cards, find_cards
from tracker_server.storage.device_cards import device_cards, device_cards_of
from tracker_server.storage.devices import (
    DeviceExistsError,
    NewDevice,
    TestDeviceExistsError,
    add_device,
    remove_device,
)
from tracker_server.storage.objects import link, remove_links
from tracker_server.storage.pictures import keep_picture, read_picture
from tracker_server.storage.users import user_by_id

routes = Routes("Devices")

DEVICES_MAX: Final = 1_000_000
Short = Annotated[str, Meta(max_length=200)]
UniqueId = Annotated[str, Meta(min_length=1, max_length=1_000)]


class DevicesQuery(Struct, rename="camel"):
    """Which trackers, and which part of the list; without any, all that one may see."""

    all: bool = False
    id: list[Number] = field(default_factory=list)
    unique_id: list[str] = field(default_factory=list)
    user_id: Number | None = None
    group_id: Number | None = None
    keyword: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=0, le=DEVICES_MAX)] = 0
    offset: Annotated[int, Meta(ge=0, le=2**31)] = 0
    exclude_attributes: bool = False


class DeviceGiven(Struct, rename="camel", kw_only=True):
    """What people may say of a tracker; what is left out stays. What the server knows of it is not theirs to write."""

    name: Name | UnsetType = UNSET
    unique_id: UniqueId | UnsetType = UNSET
    group_id: Number | UnsetType | None = UNSET
    calendar_id: Number | UnsetType | None = UNSET
    phone: Short | UnsetType | None = UNSET
    model: Short | UnsetType | None = UNSET
    contact: Short | UnsetType | None = UNSET
    category: Short | UnsetType | None = UNSET
    expiration_time: Moment | UnsetType | None = UNSET
    attributes: Attributes | UnsetType | None = UNSET
    account_id: Number | UnsetType | None = UNSET
    test: bool = False


@routes.get(
    "/devices",
    needs=Right.READ,
    query=DevicesQuery,
    objects={"userId": Kind.USER, "groupId": Kind.GROUP},
    answers=list[Device],
)
async def get_devices(call: Call[DevicesQuery, None]) -> list[Device]:
    """Trackers: of a hidden one its card, and why it is hidden."""
    query, principal = call.query, call.principal
    shown = principal.role is Role.GUEST
    async with call.services.pools.display() as connection:
        if not (
            shown
            or query.id
            or query.unique_id
            or query.user_id
            or query.group_id
            or query.keyword
            or query.limit
            or query.offset
        ):
            cards = await device_cards(connection, principal.scope)
        else:
            other = await _scope_of(call, query.user_id)
            found = await find_cards(
                connection,
                principal.scope,
                shown=shown,
                ids=query.id,
                unique_ids=query.unique_id,
                group_id=query.group_id or None,
                keyword=query.keyword,
                limit=None if other else query.limit,
                offset=0 if other else query.offset,
            )
            ids = list(found)
            if other:
                ids = [number for number in ids if other.holds(number, found[number])]
                ids = ids[query.offset : query.offset + (query.limit or DEVICES_MAX)]
            cards = await device_cards_of(connection, ids) if ids else []
    return [device_shape(card) for card in cards]


async def _scope_of(call: Call[Any, Any], user_id: int | None) -> Scope | None:
    """Of another user, where one is named."""
    if not user_id or user_id == call.principal.user_id:
        return None
    async with call.services.pools.core() as connection:
        other = await call.services.access.of_user(connection, user_id)
    return other.scope if other else Scope()


@routes.get("/devices/{id}", needs=Right.READ, objects={"id": Kind.DEVICE}, answers=Device)
async def get_device(call: Call[None, None]) -> Device:
    """One tracker."""
    return await _told(call, call.id)


@routes.post("/devices", needs=Right.DEVICES, body=DeviceGiven, answers=Device)
async def post_device(call: Call[None, DeviceGiven]) -> Device:
    """Add a tracker. What it sends from now on is stored and shown; fees are its account's tariff's."""
    given, principal = call.body, call.principal
    if given.unique_id is UNSET:
        raise bad("uniqueId", "is missing", Why.MISSING)
    if given.name is UNSET:
        raise bad("name", "is missing", Why.MISSING)
    values = await _values(call, given)
    values.pop("name", None)
    account = await account_for(call, None if given.account_id is UNSET else given.account_id)
    unique_id = unique_id_of(given.unique_id)
    new = NewDevice(unique_id, account, given.name, test=given.test)
    async with call.services.pools.core() as connection, connection.transaction():
        await _check_limit(call, connection)
        try:
            number = await add_device(connection, new)
        except DeviceExistsError:
            raise taken(unique_id) from None
        except TestDeviceExistsError:
            raise bad(
                "test", "the account has a test tracker already, and may have one", Why.TEST_DEVICE_EXISTS
            ) from None
        if values:
            await change_card(connection, number, values)
        if principal.restricted:
            await link(connection, "user", principal.user_id, "device", number)
        await note(connection, "create", by=principal, kind="device", object_id=number, address=call.address)
    call.services.access.forget(call.principal)
    return await _told(call, number)


@routes.put(
    "/devices/{id}", needs=Right.DEVICES, objects={"id": Kind.DEVICE}, body=DeviceGiven, answers=Device
)
async def put_device(call: Call[None, DeviceGiven]) -> Device:
    """Change a tracker's card."""
    given = call.body
    values = await _values(call, given)
    async with call.services.pools.core() as connection, connection.transaction():
        unique_id = await card_named(connection, call.id)
        if given.unique_id is not UNSET and given.unique_id != unique_id:
            raise bad("uniqueId", "stays as it is; for another device remove this tracker and add that one")
        if values:
            await change_card(connection, call.id, values)
        await note(
            connection, "edit", by=call.principal, kind="device", object_id=call.id, address=call.address
        )
    call.services.access.forget(call.principal)
    return await _told(call, call.id)


@routes.delete("/devices/{id}", needs=Right.DEVICES, objects={"id": Kind.DEVICE})
async def delete_device(call: Call[None, None]) -> None:
    """Remove a tracker. What it sent stays with its former owner's row and is shown to nobody."""
    async with call.services.pools.core() as connection, connection.transaction():
        removed = await remove_device(connection, call.id)
        await remove_links(connection, "device", call.id)
        await note(
            connection, "remove", by=call.principal, kind="device", object_id=call.id, address=call.address
        )
    call.services.access.forget(call.principal)
    if removed is None:
        raise not_found(f"tracker {call.id}")


Total = Annotated[float, Meta(ge=0, le=1e12)]


class Accumulators(Struct, rename="camel"):
    """``totalDistance`` in metres, ``hours`` in milliseconds of the engine; what is left out stays."""

    device_id: Number | None = 0
    total_distance: Total | None = None
    hours: Total | None = None


@routes.put(
    "/devices/{id}/accumulators",
    needs=Right.DEVICES,
    objects={"id": Kind.DEVICE},
    body=Accumulators,
    status=204,
)
async def put_accumulators(call: Call[None, Accumulators]) -> None:
    """Set what a vehicle has driven and run in all; its tracker counts on from there, and its plans with it."""
    given = call.body
    if given.device_id and given.device_id != call.id:
        raise bad("deviceId", f"is another tracker's than {call.id}, which the path names")
    async with call.services.pools.core() as connection, connection.transaction():
        await set_accumulators(connection, call.id, odometer_m=given.total_distance, engine_ms=given.hours)
        detail = {"totalDistance": given.total_distance, "hours": given.hours}
        await note(
            connection, "accumulators", by=call.principal, kind="device", object_id=call.id, address=call.address, detail=detail
        )  # fmt: skip
    call.services.hub.touch([call.id])


@routes.post(
    "/devices/{id}/image",
    needs=Right.DEVICES,
    objects={"id": Kind.DEVICE},
    body=bytes,
    body_bytes_max=PICTURE_BYTES_MAX,
    answers=str,
    media=("text/plain",),
)
async def post_device_image(call: Call[None, bytes]) -> Response:
    """Upload a picture of the vehicle (PNG, JPEG, GIF or WebP); answers its name below `/api/media/{uniqueId}/`."""
    kind = kind_of(call.body)
    if kind is None:
        raise Refusal(415, "body: is no picture; send a PNG, JPEG, GIF or WebP file")
    name = name_of(kind)
    async with call.services.pools.core() as connection:
        await keep_picture(connection, call.id, name, call.body)
    return PlainTextResponse(name)


@routes.get("/media/{uniqueId}/{name}", needs=Right.READ, media=("image/*",), answers=bytes)
async def get_media(call: Call[None, None]) -> Response:
    """A tracker's picture."""
    name = call.path["name"]
    media = media_of(name)
    if media is None:
        raise not_found("such picture")
    async with call.services.pools.display() as connection:
        found = await find_cards(
            connection,
            call.principal.scope,
            shown=call.principal.role is Role.GUEST,
            unique_ids=[call.path["uniqueId"]],
        )
    async with call.services.pools.core() as connection:
        content = await read_picture(connection, list(found), name)
    if content is None:
        raise not_found("such picture")
    headers = {"Cache-Control": "private, max-age=86400", "Content-Disposition": "inline"}
    return Response(content, media_type=media, headers=headers)


def taken(unique_id: str) -> Refusal:
    """There is a tracker of this identifier."""
    return bad(
        "uniqueId", f"a tracker {unique_id} is connected already", Why.TRACKER_TAKEN, uniqueId=unique_id
    )


def unique_id_of(text: str) -> str:
    """As a device may name itself. Raises Refusal."""
    try:
        found = device_key(text.strip())
    except BadFrame:
        found = ""
    if not found.isprintable() or not 0 < len(found) <= DEVICE_KEY_CHARACTERS_MAX:
        raise bad(
            "uniqueId",
            f"{text[:80]!r} cannot be a tracker's identifier; it has 1 to {DEVICE_KEY_CHARACTERS_MAX} visible "
            "characters, such as the 15 digits of an IMEI",
            Why.IDENTIFIER,
        )
    return found


async def _values(call: Call[Any, Any], given: DeviceGiven) -> dict[str, Any]:
    """The columns that were given. Raises Refusal where a group or calendar is not his."""
    values: dict[str, Any] = {}
    if given.name is not UNSET:
        values["name"] = given.name
    for name in ("phone", "model", "contact", "category"):
        if (text := getattr(given, name)) is not UNSET:
            values[name] = text or ""
    for name, kind in (("group_id", Kind.GROUP), ("calendar_id", Kind.CALENDAR)):
        if (number := getattr(given, name)) is not UNSET:
            await call.require_objects(kind, number or 0)
            values[name] = number or None
    if given.expiration_time is not UNSET:
        end = given.expiration_time
        values["expires_at"] = moment(end, "expirationTime") if end else None
    if given.attributes is not UNSET:
        values["attributes"] = {
            key: value for key, value in (given.attributes or {}).items() if key != "block"
        }
    return values


async def _check_limit(call: Call[Any, Any], connection: Any) -> None:
    user = await user_by_id(connection, call.principal.user_id)
    if user is None or user.device_limit < 0:
        return
    async with call.services.pools.display() as display:
        has = await count_cards(display, call.principal.scope)
    if has >= user.device_limit:
        raise Refusal(
            403, f"you may have {user.device_limit} trackers, and have {has}; ask whoever manages you"
        )


async def _told(call: Call[Any, Any], number: int) -> Device:
    async with call.services.pools.display() as connection:
        if call.principal.role is Role.GUEST and not await find_cards(
            connection, call.principal.scope, shown=True, ids=[number]
        ):
            raise not_found(f"tracker {number}")
        cards = await device_cards_of(connection, [number])
    if not cards:
        raise not_found(f"tracker {number}")
    return device_shape(cards[0])
