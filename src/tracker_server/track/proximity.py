"""Two moving trackers: their distance falls below or rises above a limit; and one that moves alone.

Pure functions of fixes that the engine accepted (``Mark.place`` says which). Each tracker is where its last fix
was, as long as that is not stale. ``rerun`` takes a part of a pair's history again when a fix comes late, and ends where
everything is as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct, structs

from tracker_server.model.event import SECOND_US, Event, EventType, Place
from tracker_server.track.accepted import metres_apart, place_of
from tracker_server.track.geodesy import distance_m
from tracker_server.track.observation import Observation
from tracker_server.track.replay import CHECKPOINT_EVERY


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

    @property
    def turn(self) -> tuple[int, int, bool]:
        """Sightings are taken in this order, however they arrived."""
        return self.fix.at_us, self.fix.digest, self.of_first


class Turn(Struct, frozen=True):
    """The fix at which a run on the other side of the limit began, and where the first tracker was then."""

    at_us: int
    place: Place


class Pair(Struct, frozen=True):
    """Where both are, on which side of the limit, and the run that may change it."""

    first: Observation | None = None
    second: Observation | None = None
    near: bool = False
    run: Turn | None = None


class Meeting(NamedTuple):
    """An event of a pair, and where its first tracker was."""

    event: Event
    place: Place


class PairMark(Struct, frozen=True):
    """How a pair stood after all sightings up to and with ``at_us``."""

    at_us: int
    pair: Pair


def step_proximity(
    pair: Pair, sightings: Iterable[Sighting], zone: Zone, other_id: int
) -> tuple[Pair, list[Meeting]]:
    """Take sightings in their order. Events are the first tracker's; ``other_id`` names the second in them."""
    found: list[Meeting] = []
    for of_first, fix in sightings:
        pair = structs.replace(pair, first=fix) if of_first else structs.replace(pair, second=fix)
        one, other = pair.first, pair.second
        if one is None or other is None or abs(one.at_us - other.at_us) > zone.stale_s * SECOND_US:
            continue
        metres = metres_apart(one, other)
        if (metres <= zone.limit_m) == pair.near:
            pair = structs.replace(pair, run=None)
            continue
        run = Turn(fix.at_us, place_of(one)) if pair.run is None else pair.run
        sure = (
            metres > zone.limit_m + zone.hysteresis_m
            if pair.near
            else metres <= max(zone.limit_m - zone.hysteresis_m, zone.limit_m / 2)
        )
        if not sure:
            pair = structs.replace(pair, run=run)
            continue
        kind = EventType.PROXIMITY_EXIT if pair.near else EventType.PROXIMITY_ENTER
        told = {"other_id": other_id, "distance_m": round(metres, 1), "limit_m": zone.limit_m}
        found.append(Meeting(Event(kind, run.at_us, fix.at_us, attributes=told), run.place))
        pair = structs.replace(pair, near=not pair.near, run=None)
    return pair, found


class Rerun(Struct, frozen=True):
    """What a part of a pair's history comes to. ``marks`` take the place of those up to ``until_us``, after which
    everything is as it was; None: the sightings were taken to their end, where the pair stands as ``pair``.
    """

    found: list[Meeting]
    marks: list[PairMark]
    pair: Pair
    until_us: int | None = None


def rerun(
    start: Pair,
    sightings: Sequence[Sighting],
    later: Sequence[PairMark],
    zone: Zone,
    other_id: int,
    *,
    touched_us: int,
    every: int = CHECKPOINT_EVERY,
) -> Rerun:
    """Take these sightings, in their order, after ``start``. ``later``: the marks that there were after it, in order.
    ``touched_us``: the moment of the last report that is new or gone; there is no meeting an old mark before it.
    """
    found: list[Meeting] = []
    marks: list[PairMark] = []
    pair, taken, last_us, at = start, 0, None, 0
    for sighting in sightings:
        now_us = sighting.fix.at_us
        while at < len(later) and later[at].at_us < now_us:
            mark = PairMark(later[at].at_us, pair)
            marks.append(mark)
            taken = 0
            if mark.at_us >= touched_us and mark == later[at]:
                return Rerun(found, marks, pair, mark.at_us)
            at += 1
        if taken >= every and last_us is not None and last_us < now_us:
            marks.append(PairMark(last_us, pair))
            taken = 0
        pair, more = step_proximity(pair, [sighting], zone, other_id)
        found += more
        taken, last_us = taken + 1, now_us
    return Rerun(found, marks, pair)


class Companion(NamedTuple):
    """The last accepted fix of a companion at or before a moment (None: there was none), and how near is beside."""

    fix: Observation | None
    zone: Zone


def unaccompanied(moving: Event, place: Place, companions: Mapping[int, Companion]) -> Event | None:
    """The event of a tracker that began to move at ``place`` with none of its companions near; ``companions`` by id.

    One whose place is stale may be anywhere, so it does not accompany. A tracker without companions is not meant to
    have any: no event.
    """
    assert moving.type is EventType.DEVICE_MOVING
    if not companions or any(_beside(moving, place, one) for one in companions.values()):
        return None
    return Event(
        EventType.UNACCOMPANIED_MOTION,
        moving.occurred_us,
        moving.decided_us,
        digest=moving.digest,
        attributes={"companion_ids": sorted(companions)},
    )


def _beside(moving: Event, place: Place, companion: Companion) -> bool:
    fix, zone = companion
    if fix is None or not 0 <= moving.occurred_us - fix.at_us <= zone.stale_s * SECOND_US:
        return False
    assert fix.latitude is not None
    assert fix.longitude is not None
    return distance_m(place.latitude, place.longitude, fix.latitude, fix.longitude) <= zone.limit_m
