"""Pairs of trackers: told when they come near or part, or when one sets off without its companion."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, not_found
from tracker_server.api.values import Number
from tracker_server.model.people import Right
from tracker_server.storage.audit import note
from tracker_server.storage.proximities import (
    ProximityError,
    ProximityKind,
    ProximityRow,
    add_proximity,
    displayed_proximities,
    remove_proximity,
)
from tracker_server.track.proximity import Zone

routes = Routes("Proximity")

Metres = Annotated[float, Meta(gt=0, le=20_000_000)]
Slack = Annotated[float, Meta(ge=0, le=100_000)]
Seconds = Annotated[float, Meta(gt=0, le=604_800)]
DEFAULTS: Final = Zone(limit_m=1.0)


class NewProximity(Struct, rename="camel", kw_only=True):
    """``limit``, ``hysteresis``: metres; ``stale``: seconds after which a place is none."""

    kind: Literal["zone", "companion"] = "zone"
    other_id: Number
    limit: Metres
    hysteresis: Slack = DEFAULTS.hysteresis_m
    stale: Seconds = DEFAULTS.stale_s


class Proximity(NewProximity, rename="camel", kw_only=True):
    """A pair. ``near``: how a zone stands after its newest fixes."""

    id: int
    device_id: int
    near: bool


def _shape(row: ProximityRow) -> Proximity:
    return Proximity(
        id=row.id,
        kind="zone" if row.kind == ProximityKind.ZONE else "companion",
        device_id=row.device_id,
        other_id=row.other_id,
        limit=row.limit_m,
        hysteresis=row.hysteresis_m,
        stale=row.stale_s,
        near=row.near,
    )


@routes.get(
    "/devices/{id}/proximities", needs=Right.READ, objects={"id": Kind.SHOWN}, answers=list[Proximity]
)
async def get_proximities(call: Call[None, None]) -> list[Proximity]:
    """The pairs that a tracker is of. One whose other tracker may not be seen is not there."""
    async with call.services.pools.display() as connection:
        return [_shape(row) for row in await displayed_proximities(connection, call.id, call.principal.scope)]


@routes.post(
    "/devices/{id}/proximities",
    needs=Right.WRITE,
    objects={"id": Kind.SHOWN},
    body=NewProximity,
    answers=Proximity,
)
async def post_proximity(call: Call[None, NewProximity]) -> Proximity:
    """Have the distance to another tracker of the account told of. It counts for fixes from now on."""
    given = call.body
    await call.require_objects(Kind.SHOWN, given.other_id)
    zone = Zone(given.limit, given.hysteresis, given.stale)
    async with call.services.pools.core() as connection, connection.transaction():
        try:
            number = await add_proximity(connection, ProximityKind(given.kind), call.id, given.other_id, zone)
        except ProximityError as error:
            raise Refusal(409, str(error)) from None
        await note(
            connection, "create", by=call.principal, kind="proximity", object_id=number, address=call.address
        )
    async with call.services.pools.display() as connection:
        rows = await displayed_proximities(connection, call.id, call.principal.scope)
    return next(_shape(row) for row in rows if row.id == number)


@routes.delete("/proximities/{id}", needs=Right.WRITE, objects={"id": Kind.PROXIMITY})
async def delete_proximity(call: Call[None, None]) -> None:
    """No longer; what was found stays."""
    async with call.services.pools.core() as connection, connection.transaction():
        removed = await remove_proximity(connection, call.id)
        await note(
            connection, "remove", by=call.principal, kind="proximity", object_id=call.id, address=call.address
        )
    if not removed:
        raise not_found(f"{Kind.PROXIMITY.word} {call.id}")
