"""All that the engine remembers of one tracker between two reports. Serialisable, comparable, small."""

from __future__ import annotations

from msgspec import Struct, field, structs

from tracker_server.model.event import Finding, Stop, Trip, Visit
from tracker_server.track.fuel import Fuel
from tracker_server.track.motion import Motion, Ride, open_stop, open_trip
from tracker_server.track.observation import Observation
from tracker_server.track.sides import WAS_IN, Hit, Side
from tracker_server.track.signals import Signals, settled_alarms
from tracker_server.track.speed import Speeding
from tracker_server.track.totals import Totals, shifted_totals
from tracker_server.track.values import clone


class Held(Struct, frozen=True, gc=False):
    """A suspicious fix that waits for what comes after it, with its sides of the fences."""

    fix: Observation
    hits: tuple[Hit, ...]


class State(Struct, gc=False):
    """``seen_us``, ``seen_digest``: the last report taken. ``last``: the last fix accepted; ``last_near``: the
    fences that it had a side of. ``held``: suspicious fixes that agree with each other, ``held_for`` how many
    suspicious ones in a row. ``first``: what the very first fix made known, until a second one agrees with it.
    """

    seen_us: int | None = None
    seen_digest: int = 0
    last: Observation | None = None
    last_near: tuple[int, ...] = ()
    held: tuple[Held, ...] = ()
    held_for: int = 0
    first: tuple[Finding, ...] | None = None
    motion: Motion = field(default_factory=Motion)
    totals: Totals = field(default_factory=Totals)
    signals: Signals = field(default_factory=Signals)
    fuel: Fuel = field(default_factory=Fuel)
    speeding: Speeding = field(default_factory=Speeding)
    sides: dict[int, Side] = field(default_factory=dict)


def copied(state: State) -> State:
    """One that may be changed without changing the other. What few reports change is still shared, and replaced by
    whoever changes it: ``fuel``, ``speeding`` and ``signals.alarms``.
    """
    out = clone(state)
    out.motion = clone(state.motion)
    out.totals = clone(state.totals)
    out.signals = clone(state.signals)
    out.sides = state.sides.copy()
    return out


def is_late(state: State, seen: Observation) -> bool:
    """Whether it belongs before, or is, what was already taken: then ``replay`` has to take it."""
    return state.seen_us is not None and (seen.at_us, seen.digest) <= (state.seen_us, state.seen_digest)


def shifted(state: State, odometer_mm: int, engine_us: int) -> State:
    """The same state with so much more counted before its first report."""
    out = copied(state)
    out.totals = shifted_totals(state.totals, odometer_mm, engine_us)
    out.motion.stop_engine_us += engine_us
    ride = out.motion.ride
    if ride is not None:
        out.motion.ride = Ride(
            ride.started_us, ride.start, ride.odometer_start_mm + odometer_mm, ride.fuel_start
        )
    return out


def settled(state: State) -> State:
    """The same state without what no longer matters, so that equal futures are equal values."""
    out = copied(state)
    if state.seen_us is not None:
        out.signals.alarms = settled_alarms(state.signals.alarms, state.seen_us)
    return out


def ongoing(state: State) -> list[Trip | Stop | Visit]:
    """What has begun and not ended: the trip, the stop and the visits, with their ends left open."""
    if state.last is None or state.seen_us is None:
        return []
    out: list[Trip | Stop | Visit] = []
    trip = open_trip(state.motion, state.signals, state.last, None, state.seen_us)
    stop = open_stop(state.motion, state.totals, state.seen_us)
    out += [found for found in (trip, stop) if found is not None]
    out += [
        Visit(fence_id, side.entered_us, None, state.seen_us)
        for fence_id, side in sorted(state.sides.items())
        if side.position in WAS_IN
    ]
    return out


def shifted_finding(found: Finding, odometer_mm: int) -> Finding:
    """The same finding with so much more on the odometer before it."""
    if isinstance(found, Trip):
        return structs.replace(found, odometer_start_mm=found.odometer_start_mm + odometer_mm)
    return found


def earliest_us(state: State) -> int:
    """No finding of a later report can have happened before this."""
    moments = [state.seen_us or 0]
    motion = state.motion
    if motion.anchor is not None:
        moments += [motion.since_us, motion.rest_us]
    moments += [seen.at_us for seen in (state.last, motion.leaving, motion.candidate) if seen is not None]
    if motion.ride is not None:
        moments.append(motion.ride.started_us)
    for side in state.sides.values():
        if side.position in WAS_IN:
            moments.append(side.entered_us)
        if side.run_us:
            moments.append(side.run_us)
    if state.speeding.since_us is not None:
        moments.append(state.speeding.since_us)
    moments += [one.fix.at_us for one in state.held]
    moments += [reading.at_us for reading in state.fuel.readings]
    return min(moments)
