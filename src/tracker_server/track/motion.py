"""Motion, stops and trips: where a tracker stands, and when it is surely gone.

A tracker rests at an anchor. A fix beyond the drift radius is a suspicion, which distance, time or a told
speed proves; coming back refutes it, and then nothing has happened. Ignition is not needed; where it is off, slow
is stopped at once, and a move is a tow.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from tracker_server.model.event import Event, EventType, Place, Stop, Trip
from tracker_server.track.accepted import Step, metres_apart, place_of
from tracker_server.track.observation import Observation
from tracker_server.track.phases import NEXT, Phase, Turn
from tracker_server.track.settings import TrackSettings
from tracker_server.track.signals import Signals, raise_alarm
from tracker_server.track.totals import Totals, count_way

# most fixes come on the way, and Python 3.11 is slow in finding an enum's member
_MOVING: Final = Phase.MOVING
_HALTING: Final = Phase.HALTING


class Ride(Struct, frozen=True, gc=False):
    """The trip that is going on. The total at its start shifts with the totals when history is mended."""

    started_us: int
    start: Place
    odometer_start_mm: int
    fuel_start: float | None


class Motion(Struct, gc=False):
    """The anchor is where it rests, or rested last; ``since_us`` the anchor's moment, ``rest_us`` the last fix
    within its drift radius. ``candidate``: where it may have come to rest while leaving or moving.
    ``counted``: up to where the way is summed. ``way_mm``: summed since leaving; ``candidate_mm``: as it was
    at the candidate; ``lead_mm``: driven in a silence, which belongs to the odometer but to no trip.
    """

    phase: Phase = Phase.START
    anchor: Observation | None = None
    since_us: int = 0
    rest_us: int = 0
    stop_told: bool = False  # the rest is long enough to be a stop
    stop_engine_us: int = 0
    leaving: Observation | None = None
    leaving_fixes: int = 0
    candidate: Observation | None = None
    counted: Observation | None = None
    way_mm: int = 0
    candidate_mm: int = 0
    lead_mm: int = 0
    speed_max_mps: float = 0.0
    ride: Ride | None = None


def drift_radius_m(fix: Observation, settings: TrackSettings) -> float:
    """How far this fix may lie from where the tracker stands."""
    if fix.accuracy_m is None:
        return settings.drift_m
    return min(max(settings.drift_m, settings.drift_accuracy_factor * fix.accuracy_m), settings.drift_max_m)


def advance_motion(motion: Motion, step: Step) -> bool:
    """Take one accepted fix; whether it seems to stand where it stood before, so that it alone proves little."""
    fix, before = step.fix, step.before
    if before is None or motion.anchor is None:
        _start(motion, step)
        return False
    if fix.at_us - before.at_us > step.settings.gap_s * 1_000_000:
        _fall_silent(motion, step, before)
    phase = motion.phase
    if phase is _MOVING:
        _move(motion, step, before)
        return False
    if phase is _HALTING:
        return _halt(motion, step)
    return _leave(motion, step) if phase is Phase.LEAVING else _rest(motion, step)


def relocate(motion: Motion, step: Step) -> None:
    """The tracker is somewhere else without having gone there: end what was, begin anew at this fix."""
    assert step.before is not None
    if motion.phase in {Phase.MOVING, Phase.HALTING}:
        end = step.before if motion.phase is Phase.MOVING else motion.anchor
        assert end is not None
        _end_trip(motion, step, end)
    elif motion.stop_told:
        _end_stop(motion, step, motion.rest_us)
    motion.phase = NEXT[motion.phase, Turn.RELOCATED]
    _start(motion, step)


def _start(motion: Motion, step: Step) -> None:
    motion.anchor = motion.counted = step.fix
    motion.since_us = motion.rest_us = step.fix.at_us
    motion.stop_told = False
    motion.stop_engine_us = step.totals.engine_us
    motion.leaving = motion.candidate = None
    motion.leaving_fixes = motion.way_mm = motion.lead_mm = 0


def _rest(motion: Motion, step: Step) -> bool:
    """START and PARKED."""
    fix, anchor, settings = step.fix, motion.anchor, step.settings
    assert anchor is not None
    apart_m = metres_apart(anchor, fix)
    if apart_m <= drift_radius_m(fix, settings):
        motion.rest_us = fix.at_us
        if not motion.stop_told and fix.at_us - motion.since_us >= settings.stop_duration_s * 1_000_000:
            motion.phase = NEXT[motion.phase, Turn.RESTED]
            motion.stop_told = True
        return True
    silence_us = fix.at_us - motion.rest_us
    first_mm = round(apart_m * 1000)
    if motion.phase is Phase.START and silence_us > settings.gap_s * 1_000_000:
        # Two reports with nothing between: neither a stop nor a ride is known.
        if silence_us <= settings.odometer_gap_s * 1_000_000:
            count_way(step.totals, first_mm)
        motion.phase = NEXT[motion.phase, Turn.SILENT]
        _start(motion, step)
        return False
    motion.phase = NEXT[motion.phase, Turn.BEYOND]
    motion.leaving = motion.candidate = motion.counted = fix
    motion.leaving_fixes = 1
    if silence_us > step.settings.gap_s * 1_000_000:
        motion.way_mm = 0
        motion.lead_mm = first_mm if silence_us <= settings.odometer_gap_s * 1_000_000 else 0
    else:
        motion.way_mm, motion.lead_mm = first_mm, 0
    motion.speed_max_mps = _told_speed(fix, settings)
    return not _prove(motion, step, apart_m) and _weak(motion, step, apart_m)


def _leave(motion: Motion, step: Step) -> bool:
    """LEAVING: proven, refuted, or neither yet."""
    fix, anchor, candidate, settings = step.fix, motion.anchor, motion.candidate, step.settings
    assert anchor is not None
    assert candidate is not None
    apart_m = metres_apart(anchor, fix)
    radius_m = drift_radius_m(fix, settings)
    if apart_m <= radius_m:
        motion.phase = NEXT[motion.phase, Turn.RETURNED if motion.stop_told else Turn.RETURNED_EARLY]
        motion.rest_us = fix.at_us
        motion.leaving = motion.candidate = None
        motion.leaving_fixes = motion.way_mm = motion.lead_mm = 0
        motion.counted = anchor
        return _rest(motion, step)
    motion.leaving_fixes += 1
    motion.speed_max_mps = max(motion.speed_max_mps, _told_speed(fix, settings))
    resting = metres_apart(candidate, fix) <= radius_m
    if not resting:
        _count(motion, step)
        motion.candidate = fix
    if _prove(motion, step, apart_m):
        return False
    if resting and fix.at_us - candidate.at_us >= settings.stop_duration_s * 1_000_000:
        motion.phase = NEXT[motion.phase, Turn.SHIFTED]
        motion.stop_told = True
        motion.anchor = motion.counted = candidate
        motion.rest_us = fix.at_us
        motion.leaving = motion.candidate = None
        motion.leaving_fixes = motion.way_mm = motion.lead_mm = 0
        return True
    return _weak(motion, step, apart_m)


def _weak(motion: Motion, step: Step, apart_m: float) -> bool:
    """Whether a fix beyond the drift radius may yet be the wandering of a receiver that stands: each day has some."""
    near = apart_m < step.settings.trip_distance_m
    return motion.stop_told and near and _told_speed(step.fix, step.settings) < step.settings.moving_speed_mps


def _prove(motion: Motion, step: Step, apart_m: float) -> bool:
    """Whether the move is proven by this fix; then the trip has begun."""
    fix, settings, leaving = step.fix, step.settings, motion.leaving
    assert leaving is not None
    if apart_m >= settings.trip_distance_m:
        # Far off: by two fixes, or by one that tells a speed which no receiver at rest would tell.
        proven = motion.leaving_fixes >= 2 or _told_speed(fix, settings) >= settings.moving_speed_mps
    else:
        wandering = motion.candidate is fix
        proven = wandering and fix.at_us - leaving.at_us >= settings.trip_duration_s * 1_000_000
    if not proven:
        return False
    _begin_trip(motion, step, leaving)
    if _slow(fix, step):
        # It was driven between two reports and stands again, where the candidate stands.
        rested = motion.candidate or fix
        motion.phase = NEXT[motion.phase, Turn.SLOWED]
        _anchor(motion, step, rested)
        _halt(motion, step)
    return True


def _begin_trip(motion: Motion, step: Step, leaving: Observation) -> None:
    anchor, totals = motion.anchor, step.totals
    assert anchor is not None
    silent = leaving.at_us - motion.rest_us > step.settings.gap_s * 1_000_000
    started_us = leaving.at_us if silent else motion.rest_us
    if motion.stop_told:
        _end_stop(motion, step, started_us)
    motion.phase = NEXT[motion.phase, Turn.PROVEN]
    count_way(totals, motion.lead_mm)
    motion.ride = Ride(
        started_us=started_us,
        start=place_of(leaving if silent else anchor),
        odometer_start_mm=totals.odometer_mm,
        fuel_start=step.signals.fuel_l,
    )
    count_way(totals, motion.way_mm)
    motion.lead_mm = 0
    motion.leaving = None
    motion.leaving_fixes = 0
    _tell(step, EventType.DEVICE_MOVING, leaving)
    off_us = step.signals.ignition_off_us
    if step.signals.ignition is False and off_us is not None and off_us <= leaving.at_us:
        raise_alarm(step.signals, "tow", leaving, step.fix.at_us, step.found)


def _move(motion: Motion, step: Step, before: Observation) -> None:
    """MOVING."""
    fix, settings, candidate = step.fix, step.settings, motion.candidate
    told = fix.speed_mps
    if told is not None and motion.speed_max_mps < told <= settings.speed_max_mps:
        motion.speed_max_mps = told
    _count(motion, step)
    if step.signals.ignition is None and step.signals.hours_ms is None:
        step.totals.engine_us += fix.at_us - before.at_us
    if told < settings.stop_speed_mps if told is not None else _slow(fix, step):
        motion.phase = NEXT[motion.phase, Turn.SLOWED]
        _anchor(motion, step, fix)
        _halt(motion, step)
        return
    apart_m = 0.0
    if candidate is not None:
        apart_m = step.way_m if candidate is before else metres_apart(candidate, fix)
    if candidate is None or apart_m > drift_radius_m(fix, settings):
        motion.candidate = fix
        motion.candidate_mm = motion.way_mm
    elif fix.at_us - candidate.at_us >= settings.stop_duration_s * 1_000_000:
        # It tells a speed, but has not come away for as long as a stop takes: what was summed was wandering.
        _add(motion, step, motion.candidate_mm - motion.way_mm)
        _anchor(motion, step, candidate)
        _stop(motion, step)


def _halt(motion: Motion, step: Step) -> bool:
    """HALTING."""
    fix, anchor, settings = step.fix, motion.anchor, step.settings
    assert anchor is not None
    if anchor is not fix and metres_apart(anchor, fix) > drift_radius_m(fix, settings):
        motion.phase = NEXT[motion.phase, Turn.RESUMED]
        motion.candidate = None
        _count(motion, step)
        if _slow(fix, step):
            motion.phase = NEXT[motion.phase, Turn.SLOWED]
            _anchor(motion, step, fix)
            _halt(motion, step)
        return False
    motion.rest_us = fix.at_us
    stood_us = fix.at_us - motion.since_us
    if _switched_off(motion, step) or stood_us >= settings.stop_duration_s * 1_000_000:
        _stop(motion, step)
    return anchor is not fix


def _switched_off(motion: Motion, step: Step) -> bool:
    """Whether it is slow and ignition was switched off on this ride. Where it was off all along, the wire lies, or it
    is being towed: then standing has to last as without ignition.
    """
    off_us = step.signals.ignition_off_us
    ride = motion.ride
    return off_us is not None and ride is not None and off_us > ride.started_us and _slow(step.fix, step)


def _anchor(motion: Motion, step: Step, rested: Observation) -> None:
    """Come to rest here: the last leg of the way is summed, however short."""
    if motion.counted is not rested and motion.counted is not None and rested is step.fix:
        _add(motion, step, round(metres_apart(motion.counted, rested) * 1000))
    motion.anchor = motion.counted = rested
    motion.since_us = rested.at_us
    motion.rest_us = step.fix.at_us
    motion.stop_engine_us = step.totals.engine_us
    motion.candidate = None


def _stop(motion: Motion, step: Step) -> None:
    assert motion.anchor is not None
    motion.phase = NEXT[motion.phase, Turn.RESTED]
    motion.stop_told = True
    _end_trip(motion, step, motion.anchor)
    _tell(step, EventType.DEVICE_STOPPED, motion.anchor)


def _fall_silent(motion: Motion, step: Step, before: Observation) -> None:
    """Before this fix there was none for long: what was going on ended with the fix before."""
    match motion.phase:
        case Phase.MOVING:
            ended = Step(before, None, 0.0, step.settings, step.totals, step.signals, step.found)
            _anchor(motion, ended, before)
        case Phase.HALTING:
            pass
        case Phase.START | Phase.PARKED | Phase.LEAVING:
            return
    assert motion.anchor is not None
    motion.phase = NEXT[motion.phase, Turn.SILENT]
    motion.stop_told = True
    _end_trip(motion, step, motion.anchor)
    _tell(step, EventType.DEVICE_STOPPED, motion.anchor)


def _count(motion: Motion, step: Step) -> None:
    """Sum the way to this fix, if it is far enough from where the sum stands."""
    fix, before, counted, settings = step.fix, step.before, motion.counted, step.settings
    assert counted is not None
    apart_m = step.way_m if counted is before else metres_apart(counted, fix)
    if before is not None and fix.at_us - before.at_us > settings.odometer_gap_s * 1_000_000:
        motion.counted = fix
    elif apart_m >= settings.odometer_step_m:
        motion.counted = fix
        _add(motion, step, round(apart_m * 1000))


def _add(motion: Motion, step: Step, way_mm: int) -> None:
    motion.way_mm += way_mm
    if motion.ride is not None:
        count_way(step.totals, way_mm)


def _slow(fix: Observation, step: Step) -> bool:
    if fix.speed_mps is not None:
        return fix.speed_mps < step.settings.stop_speed_mps
    if step.before is None:
        return False
    past_us = fix.at_us - step.before.at_us
    return step.way_m * 1_000_000 < step.settings.stop_speed_mps * past_us


def _told_speed(fix: Observation, settings: TrackSettings) -> float:
    told = fix.speed_mps
    return told if told is not None and told <= settings.speed_max_mps else 0.0


def _tell(step: Step, kind: EventType, fix: Observation) -> None:
    step.found.append(Event(kind, fix.at_us, step.fix.at_us, digest=fix.digest))


def _end_trip(motion: Motion, step: Step, end: Observation) -> None:
    trip = open_trip(motion, step.signals, end, end.at_us, step.fix.at_us)
    motion.ride = None
    motion.way_mm = 0
    motion.speed_max_mps = 0.0
    if trip is not None and end.at_us > trip.started_us:
        step.found.append(trip)


def open_trip(
    motion: Motion, signals: Signals, end: Observation, ended_us: int | None, decided_us: int
) -> Trip | None:
    """The trip that is going on, as it stands at ``end``."""
    ride = motion.ride
    if ride is None:
        return None
    return Trip(
        started_us=ride.started_us,
        ended_us=ended_us,
        decided_us=decided_us,
        start=ride.start,
        end=place_of(end),
        distance_mm=motion.way_mm,
        odometer_start_mm=ride.odometer_start_mm,
        speed_max_mps=motion.speed_max_mps,
        fuel_start=ride.fuel_start,
        fuel_end=signals.fuel_l,
        driver_unique_id=signals.driver,
    )


def _end_stop(motion: Motion, step: Step, ended_us: int) -> None:
    assert motion.anchor is not None
    engine_us = step.totals.engine_us - motion.stop_engine_us
    motion.stop_told = False
    place = place_of(motion.anchor)
    step.found.append(Stop(motion.since_us, ended_us, step.fix.at_us, place, engine_us))


def open_stop(motion: Motion, totals: Totals, decided_us: int) -> Stop | None:
    """The stop that lasts."""
    if not motion.stop_told or motion.anchor is None:
        return None
    engine_us = totals.engine_us - motion.stop_engine_us
    return Stop(motion.since_us, None, decided_us, place_of(motion.anchor), engine_us)
