"""Geofences: their areas are WKT with the latitude first, as clients of this field write it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field
from msgspec.structs import asdict

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad, not_found
from tracker_server.api.kept import Attributes, ListQuery, Name, account_for, part_of
from tracker_server.api.values import Number
from tracker_server.model.people import Right
from tracker_server.storage.allowed import KEPT
from tracker_server.storage.audit import note
from tracker_server.storage.fences import (
    FenceRow,
    NewFence,
    TooManyFencesError,
    add_fences,
    assign_fence,
    change_fence,
    devices_of_fence,
    fences_by_id,
    fences_of_device,
    remove_fence,
    unassign_fence,
)
from tracker_server.storage.objects import accounts_of, link, list_objects, read_object, remove_links
from tracker_server.track.fences.drawn import DESCRIPTION_CHARACTERS_MAX
from tracker_server.track.fences.errors import FenceError
from tracker_server.track.fences.shapes import Corridor, Shape
from tracker_server.track.fences.wkt import Axes, read_wkt, write_wkt

routes = Routes("Geofences")

AREA_CHARACTERS_MAX: Final = 1_000_000  # a border of 30,000 vertices
LINE_METRES: Final = 25.0  # to each side of a line, where `polylineDistance` says nothing else
KNOT_MPS: Final = 1852 / 3600
KEPT_FENCE: Final = KEPT[Kind.GEOFENCE]


class Geofence(Struct, rename="camel", kw_only=True):
    """``area``: CIRCLE (lat lon, metres), POLYGON ((lat lon, …)), LINESTRING (lat lon, …) and what has several of them.

    ``attributes`` with a meaning: ``speedLimit`` (knots), ``polylineDistance`` (metres to each side), ``dwell`` (seconds).
    """

    id: Number = 0
    name: Name
    description: Annotated[str, Meta(max_length=DESCRIPTION_CHARACTERS_MAX)] | None = ""
    area: Annotated[str, Meta(min_length=1, max_length=AREA_CHARACTERS_MAX)]
    calendar_id: Number | None = 0
    attributes: Attributes | None = field(default_factory=dict)
    account_id: Number | None = 0


def shape_of(row: FenceRow) -> Geofence:
    """As it is told."""
    attributes = dict(row.attributes)
    description = attributes.pop("description", "")
    if row.speed_limit_mps is not None:
        attributes["speedLimit"] = round(row.speed_limit_mps / KNOT_MPS, 6)
    if row.dwell_s is not None:
        attributes["dwell"] = row.dwell_s
    if isinstance(row.shape, Corridor):
        attributes["polylineDistance"] = row.shape.width_m / 2
    return Geofence(
        id=row.id,
        name=row.name,
        description=str(description),
        area=write_wkt(row.shape, Axes.LAT_LON),
        calendar_id=row.calendar_id or 0,
        attributes=attributes,
        account_id=row.account_id,
    )


def _number(attributes: Attributes, name: str) -> float | None:
    value = attributes.pop(name, None)
    if value is None or value == 0:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise bad(f"attributes.{name}", "is no number above 0")
    return float(value)


async def _fence_of(call: Call[Any, Any], given: Geofence, before: FenceRow | None) -> NewFence:
    """As the engine takes it. Raises Refusal."""
    attributes = dict(given.attributes or {})
    beside_m = _number(attributes, "polylineDistance") or LINE_METRES
    speed = _number(attributes, "speedLimit")
    dwell_s = _number(attributes, "dwell")
    if given.description:
        attributes["description"] = given.description
    await call.require_objects(Kind.CALENDAR, given.calendar_id or 0)
    schedule = None
    if given.calendar_id:
        async with call.services.pools.core() as connection:
            calendar = await read_object(connection, KEPT[Kind.CALENDAR], given.calendar_id)
        schedule = calendar["data"] if calendar else None
    return NewFence(
        name=given.name,
        shape=_area(given.area, beside_m, before),
        speed_limit_mps=None if speed is None else speed * KNOT_MPS,
        dwell_s=dwell_s,
        schedule=schedule,
        calendar_id=given.calendar_id or None,
        everyone=before.everyone if before else True,
        attributes=attributes,
        since=before.since if before else None,
        until=before.until if before else None,
    )


def _area(text: str, beside_m: float, before: FenceRow | None) -> Shape:
    if before is not None and text == write_wkt(before.shape, Axes.LAT_LON):
        shape = before.shape  # every vertex as it was drawn, though the text has fewer decimals
        if not isinstance(shape, Corridor) or shape.width_m == beside_m * 2:
            return shape
    try:
        width_m = beside_m * 2 if "LINESTRING" in text[:40].upper() else None
        return read_wkt(text, Axes.LAT_LON, width_m=width_m)
    except FenceError as error:
        raise bad("area", str(error)) from None


@routes.get(
    "/geofences",
    needs=Right.READ,
    query=ListQuery,
    objects={"userId": Kind.USER, "deviceId": Kind.DEVICE, "groupId": Kind.GROUP},
    answers=list[Geofence],
)
async def get_geofences(call: Call[ListQuery, None]) -> list[Geofence]:
    """Every geofence that one may see; of a tracker, those that count for it."""
    query = call.query
    async with call.services.pools.core() as connection:
        found = await list_objects(
            connection,
            KEPT_FENCE,
            call.principal,
            ids=query.id or None,
            linked=("group", query.group_id) if query.group_id else None,
        )
        ids = {row["id"] for row in found}
        if query.device_id:
            ids &= await fences_of_device(connection, query.device_id)
        if query.user_id and query.user_id != call.principal.user_id:
            other = await call.services.access.of_user(connection, query.user_id)
            ids &= (
                {row["id"] for row in await list_objects(connection, KEPT_FENCE, other)} if other else set()
            )
        rows = await fences_by_id(connection, sorted(ids))
    return part_of([shape_of(row) for row in rows], query)


@routes.get("/geofences/{id}", needs=Right.READ, objects={"id": Kind.GEOFENCE}, answers=Geofence)
async def get_geofence(call: Call[None, None]) -> Geofence:
    """One geofence."""
    return shape_of(await _read(call, call.id))


async def _read(call: Call[Any, Any], number: int) -> FenceRow:
    async with call.services.pools.core() as connection:
        rows = await fences_by_id(connection, [number])
    if not rows:
        raise not_found(f"geofence {number}")
    return rows[0]


@routes.post("/geofences", needs=Right.WRITE, body=Geofence, answers=Geofence)
async def post_geofence(call: Call[None, Geofence]) -> Geofence:
    """Draw a geofence. It counts for all trackers of its account, until it is linked to some of them."""
    fence = await _fence_of(call, call.body, None)
    account = await account_for(call, call.body.account_id)
    async with call.services.pools.core() as connection, connection.transaction():
        try:
            (number,) = await add_fences(connection, account, [fence])
        except TooManyFencesError as error:
            raise Refusal(409, str(error)) from None
        if call.principal.restricted:
            await link(connection, "user", call.principal.user_id, KEPT_FENCE.link, number)
        await note(
            connection, "create", by=call.principal, kind="geofence", object_id=number, address=call.address
        )
    call.services.access.forget(call.principal)
    return shape_of(await _read(call, number))


@routes.put(
    "/geofences/{id}", needs=Right.WRITE, objects={"id": Kind.GEOFENCE}, body=Geofence, answers=Geofence
)
async def put_geofence(call: Call[None, Geofence]) -> Geofence:
    """Draw it anew. What was found before stays."""
    before = await _read(call, call.id)
    after = await _fence_of(call, call.body, before)
    if asdict(after) != {
        name: value for name, value in asdict(before).items() if name in NewFence.__struct_fields__
    }:
        async with call.services.pools.core() as connection, connection.transaction():
            await change_fence(connection, call.id, after)
            await note(
                connection,
                "edit",
                by=call.principal,
                kind="geofence",
                object_id=call.id,
                address=call.address,
            )
    return shape_of(await _read(call, call.id))


class Counts(Struct, rename="camel"):
    """For which trackers: ``everyone`` of its account, or those that it is assigned to."""

    everyone: bool
    device_ids: list[Number]


@routes.get("/geofences/{id}/devices", needs=Right.READ, objects={"id": Kind.GEOFENCE}, answers=Counts)
async def get_fence_devices(call: Call[None, Any]) -> Counts:
    """The trackers that a geofence counts for, of those that one may see."""
    fence = await _read(call, call.id)
    async with call.services.pools.core() as connection:
        found = await devices_of_fence(connection, call.id)
    scope = call.principal.scope
    return Counts(fence.everyone, sorted(one for one, account in found.items() if scope.holds(one, account)))


@routes.put(
    "/geofences/{id}/devices", needs=Right.WRITE, objects={"id": Kind.GEOFENCE}, body=Counts, answers=Counts
)
async def put_fence_devices(call: Call[None, Counts]) -> Counts:
    """Say which trackers it counts for; trackers that one may not see stay as they are."""
    given = frozenset(call.body.device_ids)
    await call.require_objects(Kind.DEVICE, *given)
    fence = await _read(call, call.id)
    async with call.services.pools.core() as connection, connection.transaction():
        accounts = await accounts_of(connection, "devices", sorted(given))
        if strange := sorted(one for one, account in accounts.items() if account != fence.account_id):
            raise bad("deviceIds", f"{strange[0]} belongs to another account than the geofence")
        before = await devices_of_fence(connection, call.id)
        his = {one for one, account in before.items() if call.principal.scope.holds(one, account)}
        await unassign_fence(connection, call.id, sorted(his - given))
        await assign_fence(connection, call.id, sorted(given - his), everyone=call.body.everyone)
        await note(
            connection, "assign", by=call.principal, kind="geofence", object_id=call.id, address=call.address
        )
    call.services.access.forget(call.principal)
    return await get_fence_devices(call)


@routes.delete("/geofences/{id}", needs=Right.WRITE, objects={"id": Kind.GEOFENCE})
async def delete_geofence(call: Call[None, None]) -> None:
    """It counts no longer; what was found in it stays."""
    async with call.services.pools.core() as connection, connection.transaction():
        removed = await remove_fence(connection, call.id)
        await remove_links(connection, KEPT_FENCE.link, call.id)
        await note(
            connection, "remove", by=call.principal, kind="geofence", object_id=call.id, address=call.address
        )
    call.services.access.forget(call.principal)
    if not removed:
        raise not_found(f"geofence {call.id}")
