"""The engine: ``step(state, observations, settings, fences) -> Taken(state, found, retracted)``.

Pure. Observations come in the order of (moment, digest), each once, all of them after what the state has
already taken; whatever comes late goes through ``replay``. ``step_many`` does the same for many trackers of one
account, asking the fences once for all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from msgspec import Struct

from tracker_server.later import np
from tracker_server.model.event import SECOND_US, Finding
from tracker_server.track.accepted import Step, metres_apart
from tracker_server.track.fences.index import SEGMENT_MAX_M, FenceIndex
from tracker_server.track.fences.prepared import MARGIN_MAX_M
from tracker_server.track.fuel import advance_fuel
from tracker_server.track.maintenance import advance_maintenance
from tracker_server.track.motion import Motion, advance_motion, relocate
from tracker_server.track.observation import FIX, Observation, Use, use_of
from tracker_server.track.phases import MOVING_PHASES
from tracker_server.track.settings import TrackSettings
from tracker_server.track.sides import (
    AT_ONCE,
    WAS_IN,
    Hit,
    Proof,
    advance_crossings,
    advance_sides,
    fence_limit,
)
from tracker_server.track.signals import advance_signals
from tracker_server.track.speed import Speeding, advance_harsh, advance_speed
from tracker_server.track.state import Held, State, copied
from tracker_server.track.values import clone

# Longer ways are not asked about: a box around 50 km of road holds a city's fences. About 20 km in degrees.
_SEGMENT_MAX_DEG: Final = SEGMENT_MAX_M / 111_000
ONE_BY_ONE_MAX: Final = 32  # up to so many fixes are asked about one by one, above that as arrays


class Taken(Struct, frozen=True, gc=False):
    """The state after, what was found, and what of earlier findings was wrong: when the second and third fix
    agree that the very first one was absurd, what it made known is void.
    """

    state: State
    found: list[Finding]
    retracted: tuple[Finding, ...] = ()


class Mark(Struct, frozen=True, gc=False):
    """What became of one report: why its place counts or not, and how things stood after it was taken."""

    at_us: int
    digest: int
    place: str  # "accepted", "held" or a Use
    moving: bool
    odometer_mm: int
    fence_ids: tuple[int, ...]


class Job(NamedTuple):
    """One tracker's share of a batch."""

    state: State
    observations: Sequence[Observation]
    settings: TrackSettings
    marks: list[Mark] | None = None  # where given, one for each observation is put in


Judged = tuple[tuple[Hit, ...], tuple[int, ...], Observation | None]
"""The fences' word on one fix: its sides, the fences crossed on the way to it, and the fix from which the way was
taken. A plain tuple: one is made for each fix.
"""


def step(
    state: State,
    observations: Sequence[Observation],
    settings: TrackSettings,
    fences: FenceIndex,
    marks: list[Mark] | None = None,
) -> Taken:
    """Take these observations after what ``state`` has taken. The state given is not changed; one mark for each
    observation is put into ``marks``.
    """
    return step_many([Job(state, observations, settings, marks)], fences)[0]


def step_many(jobs: Sequence[Job], fences: FenceIndex) -> list[Taken]:
    """``step`` for several trackers of one account, in order."""
    judged = judge(jobs, fences)
    return [_take(job, fences, verdicts) for job, verdicts in zip(jobs, judged, strict=True)]


# ---------------------------------------------------------------------------------------------------- fences


def margin_m(fix: Observation, settings: TrackSettings) -> float:
    """How far beyond an edge this fix has to be to be surely there."""
    margin = settings.hysteresis_m
    if fix.accuracy_m is not None:
        margin = max(margin, settings.hysteresis_accuracy_factor * fix.accuracy_m)
    return min(margin, settings.hysteresis_max_m, MARGIN_MAX_M)


def judge(jobs: Sequence[Job], fences: FenceIndex) -> list[list[Judged | None]]:
    """Each observation's sides of the fences; None where its place does not count."""
    out: list[list[Judged | None]] = []
    asked: list[tuple[list[Judged | None], int, TrackSettings]] = []
    rows: list[float] = []
    for job in jobs:
        settings = job.settings
        verdicts: list[Judged | None] = []
        before = job.state.last
        for seen in job.observations:
            if use_of(seen, settings) is not FIX:
                verdicts.append(None)
                continue
            if fences.fences:
                asked.append((verdicts, len(verdicts), settings))
                rows += _row(seen, before, settings)
            verdicts.append(((), (), before))
            before = seen
        out.append(verdicts)
    if asked:
        _fill(asked, rows, fences)
    return out


_NAN: Final = float("nan")


def _row(
    fix: Observation, before: Observation | None, settings: TrackSettings
) -> tuple[float, float, float, float, float]:
    """Latitude, longitude, margin, and latitude and longitude before, NaN where the way between is not known."""
    latitude, longitude = fix.latitude, fix.longitude
    assert latitude is not None
    assert longitude is not None
    margin = settings.hysteresis_m if fix.accuracy_m is None else margin_m(fix, settings)
    if (
        before is None
        or before.latitude is None
        or before.longitude is None
        or fix.at_us - before.at_us > settings.cross_gap_s * SECOND_US
        or abs(before.latitude - latitude) > _SEGMENT_MAX_DEG
    ):
        return latitude, longitude, margin, _NAN, _NAN
    return latitude, longitude, margin, before.latitude, before.longitude


def _fill(
    asked: list[tuple[list[Judged | None], int, TrackSettings]], rows: Sequence[float], fences: FenceIndex
) -> None:
    """Ask the fences, and put in what they say of the fixes that are near any."""
    places = fences.fences
    if len(asked) <= ONE_BY_ONE_MAX:
        row = iter(rows)
        for one, latitude, longitude, margin, *way in zip(asked, row, row, row, row, row, strict=True):
            before = None if math.isnan(way[0]) else (way[0], way[1])
            near, passed = fences.judge_one(latitude, longitude, margin, before)
            if near or passed:
                _put(one, [(places[n].id, side) for n, side in near], [places[n].id for n in passed])
        return
    table = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    latitudes, longitudes, margins, *way = np.ascontiguousarray(table)
    found = fences.judge(latitudes, longitudes, margins, (way[0], way[1]))
    hits: dict[int, list[Hit]] = {}
    for row, place, side in zip(found.fix.tolist(), found.fence.tolist(), found.side.tolist(), strict=True):
        hits.setdefault(row, []).append((places[place].id, side))
    crossed: dict[int, list[int]] = {}
    for row, place in zip(found.crossed_fix.tolist(), found.crossed_fence.tolist(), strict=True):
        crossed.setdefault(row, []).append(places[place].id)
    for row in hits.keys() | crossed.keys():
        _put(asked[row], hits.get(row, []), crossed.get(row, []))


def _put(asked: tuple[list[Judged | None], int, TrackSettings], near: list[Hit], passed: list[int]) -> None:
    """Put in what the fences say of one fix, if the tracker is assigned to them."""
    verdicts, at, settings = asked
    old, mine = verdicts[at], settings.fence_ids
    assert old is not None
    if mine is not None:
        near = [hit for hit in near if hit[0] in mine]
        passed = [fence_id for fence_id in passed if fence_id in mine]
    verdicts[at] = (tuple(sorted(near)), tuple(sorted(passed)), old[2])


# ------------------------------------------------------------------------------------------------- one tracker


def _take(job: Job, fences: FenceIndex, verdicts: list[Judged | None]) -> Taken:
    state, settings = copied(job.state), job.settings
    found: list[Finding] = []
    retracted: tuple[Finding, ...] = ()
    for seen, verdict in zip(job.observations, verdicts, strict=True):
        at_us, digest, last_us = seen.at_us, seen.digest, state.seen_us
        assert last_us is None or at_us > last_us or (at_us == last_us and digest > state.seen_digest), (
            "observations are taken in order; late ones go through replay"
        )
        if verdict is None and use_of(seen, settings) is Use.FUTURE:
            if job.marks is not None:
                job.marks.append(_mark(state, seen, settings))
            continue
        earlier = (state.seen_us, clone(state.totals)) if settings.maintenance else None
        state.seen_us, state.seen_digest = at_us, digest
        advance_signals(state.signals, state.totals, seen, settings, found)
        if "fuel" in seen.attributes or "fuelLevel" in seen.attributes:
            state.fuel = clone(state.fuel)
            advance_fuel(state.fuel, state.signals, seen, settings, found)
        if verdict is not None:
            retracted += _sift(state, seen, verdict, settings, fences, found)
        if earlier is not None and earlier[0] is not None:
            advance_maintenance((earlier[0], earlier[1]), state.totals, seen, settings, found)
        if job.marks is not None:
            job.marks.append(_mark(state, seen, settings))
    return Taken(state, found, retracted)


def _mark(state: State, seen: Observation, settings: TrackSettings) -> Mark:
    use = use_of(seen, settings)
    place = use.value if use is not Use.FIX else "accepted" if state.last is seen else "held"
    return Mark(
        seen.at_us,
        seen.digest,
        place,
        state.motion.phase in MOVING_PHASES,
        state.totals.odometer_mm,
        tuple(sorted(fence_id for fence_id, side in state.sides.items() if side.position in WAS_IN)),
    )


def reach_m(one: Observation, other: Observation, settings: TrackSettings) -> float:
    """How far apart two fixes may be without one of them being a jump."""
    past_us = abs(other.at_us - one.at_us)
    return settings.speed_max_mps * past_us / SECOND_US + settings.jump_slack_m


def _sift(
    state: State,
    fix: Observation,
    verdict: Judged,
    settings: TrackSettings,
    fences: FenceIndex,
    found: list[Finding],
) -> tuple[Finding, ...]:
    """Accept the fix, hold it as suspicious, or find that those held were true. A fix that agrees with the last
    accepted one is taken at once, and refutes what was held.
    """
    last = state.last
    if last is None:
        begun = len(found)
        _accept(state, fix, verdict, 0.0, settings, fences, found)
        state.first = tuple(found[begun:])
        return ()
    way_m = metres_apart(last, fix)
    if way_m <= settings.jump_slack_m or way_m <= reach_m(last, fix, settings):
        if state.held:
            state.held, state.held_for = (), 0
        state.first = None
        _accept(state, fix, verdict, way_m, settings, fences, found)
        return ()
    held = state.held
    if held and metres_apart(held[-1].fix, fix) > reach_m(held[-1].fix, fix, settings):
        held = ()
    state.held = (*held, Held(fix, verdict[0]))
    state.held_for += 1
    needed = 2 if state.first is not None else settings.jump_confirm_fixes
    if len(state.held) < needed and state.held_for < settings.jump_held_max:
        return ()
    return _jump(state, settings, fences, found)


def _jump(
    state: State, settings: TrackSettings, fences: FenceIndex, found: list[Finding]
) -> tuple[Finding, ...]:
    """What was held is true. If only the very first fix spoke against it, that one was absurd."""
    held, first = state.held, state.first
    state.held, state.held_for, state.first = (), 0, None
    void: tuple[Finding, ...] = ()
    jumped = True
    if first is not None:
        void = tuple(one for one in first if one not in found)
        found[:] = [one for one in found if one not in first]
        state.motion, state.speeding = Motion(), Speeding()
        state.sides, state.last_near, state.last = {}, (), None
        jumped = False
    for one in held:
        way_m = 0.0 if state.last is None or jumped else metres_apart(state.last, one.fix)
        _accept(state, one.fix, (one.hits, (), None), way_m, settings, fences, found, jumped=jumped)
        jumped = False
    return void


def _accept(  # noqa: PLR0913  (the one place where a fix meets everything)
    state: State,
    fix: Observation,
    verdict: Judged,
    way_m: float,
    settings: TrackSettings,
    fences: FenceIndex,
    found: list[Finding],
    *,
    jumped: bool = False,
) -> None:
    before = state.last
    one = Step(fix, before, way_m, settings, state.totals, state.signals, found)
    if jumped:
        relocate(state.motion, one)
        at_rest = False
    else:
        at_rest = advance_motion(state.motion, one)
    hits, crossed, judged_from = verdict
    if fences.fences:
        if judged_from is not before and not jumped:
            crossed = _crossed(fix, before, settings, fences)
        if crossed and not at_rest:
            advance_crossings(state.sides, one, state.last_near, crossed, fences)
        if hits or state.sides:
            needed = _needed(state, settings) if at_rest else AT_ONCE
            advance_sides(state.sides, one, hits, fences, needed=needed)
        state.last_near = tuple([fence_id for fence_id, _ in hits])
    limit = fence_limit(state.sides, fences) if state.sides else None
    if limit is not None or state.speeding.since_us is not None or _has_limit(settings):
        state.speeding = advance_speed(state.speeding, one, limit)
    if before is not None and not jumped and fix.speed_mps is not None:
        advance_harsh(one)
    state.last = fix


def _needed(state: State, settings: TrackSettings) -> Proof:
    """What changes a side while it stands."""
    lasting_s = settings.rest_confirm_s if state.motion.stop_told else 0.0
    return Proof(settings.rest_confirm_fixes, round(lasting_s * SECOND_US))


def _has_limit(settings: TrackSettings) -> bool:
    return settings.device_speed_limit_mps is not None or settings.account_speed_limit_mps is not None


def _crossed(
    fix: Observation, before: Observation | None, settings: TrackSettings, fences: FenceIndex
) -> tuple[int, ...]:
    """The fences on the way from a fix that is not the one before in the batch: one between them was absurd."""
    if before is None:
        return ()
    verdicts: list[Judged | None] = [((), (), before)]
    _fill([(verdicts, 0, settings)], _row(fix, before, settings), fences)
    verdict = verdicts[0]
    return verdict[1] if verdict is not None else ()
