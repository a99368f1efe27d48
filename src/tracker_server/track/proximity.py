"""Two moving trackers: their distance falls below or rises above a limit; and one that moves alone.

Pure functions of fixes that the engine accepted (``Mark.place`` says which). Each tracker is where its last fix
was, as long as that is not stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct, structs

from tracker_server.model.event import SECOND_US, Event, EventType, Place
from tracker_server.track.accepted import metres_apart
from tracker_server.track.geodesy import distance_m
from tracker_server.track.observation import Observation


class Zone(Struct, frozen=True):
    """Near is ``limit_m`` and less. A side changes when the distance is beyond the limit by ``hysteresis_m``; the
    event is timed at the first fix of the run. A place older than ``stale_s`` is no place.
    """

    limit_m: float
    hysteresis_m: float = 30.0
    stale_s: float = 300.0


class Sighting(NamedTuple):
    """A fix of the first (``of_first``) or of the second tracker of a pair."""

    of_first: bool
    fix: Observation


class Pair(Struct, frozen=True):
    """Where both are, on which side of the limit, and the run that may change it."""

    first: Observation | None = None
    second: Observation | None = None
    near: bool = False
    run_us: int | None = None


def step_proximity(
    pair: Pair, sightings: Iterable[Sighting], zone: Zone, other_id: int
) -> tuple[Pair, list[Event]]:
    """Take sightings in the order of (moment, digest, of_first). Events are the first tracker's; ``other_id`` names
    the second in them.
    """
    events: list[Event] = []
    for of_first, fix in sightings:
        pair = structs.replace(pair, first=fix) if of_first else structs.replace(pair, second=fix)
        one, other = pair.first, pair.second
        if one is None or other is None or abs(one.at_us - other.at_us) > zone.stale_s * SECOND_US:
            continue
        metres = metres_apart(one, other)
        if (metres <= zone.limit_m) == pair.near:
            pair = structs.replace(pair, run_us=None)
            continue
        run_us = fix.at_us if pair.run_us is None else pair.run_us
        sure = (
            metres > zone.limit_m + zone.hysteresis_m
            if pair.near
            else metres <= max(zone.limit_m - zone.hysteresis_m, zone.limit_m / 2)
        )
        if not sure:
            pair = structs.replace(pair, run_us=run_us)
            continue
        kind = EventType.PROXIMITY_EXIT if pair.near else EventType.PROXIMITY_ENTER
        told = {"other_id": other_id, "distance_m": round(metres, 1), "limit_m": zone.limit_m}
        events.append(Event(kind, run_us, fix.at_us, attributes=told))
        pair = structs.replace(pair, near=not pair.near, run_us=None)
    return pair, events


def unaccompanied(
    moving: Event, place: Place, companions: Mapping[int, Observation], zone: Zone
) -> Event | None:
    """The event of a tracker that began to move at ``place`` with none of its companions near.

    ``companions``: by id, the last accepted fix of each at or before the move. One whose place is stale may be
    anywhere, so it does not accompany. A tracker without companions is not meant to have any: no event.
    """
    assert moving.type is EventType.DEVICE_MOVING
    if not companions:
        return None
    for fix in companions.values():
        assert fix.latitude is not None
        assert fix.longitude is not None
        fresh = 0 <= moving.occurred_us - fix.at_us <= zone.stale_s * SECOND_US
        near_m = distance_m(place.latitude, place.longitude, fix.latitude, fix.longitude)
        if fresh and near_m <= zone.limit_m:
            return None
    return Event(
        EventType.UNACCOMPANIED_MOTION,
        moving.occurred_us,
        moving.decided_us,
        digest=moving.digest,
        attributes={"companion_ids": sorted(companions), "limit_m": zone.limit_m},
    )
