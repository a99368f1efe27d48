"""Why the engine decided as it did at a moment: the last report up to then, what it was held against, and what
changed. A value for programs, and a text for people.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from tracker_server.model.event import SECOND_US, Event, Finding, Stop, Trip, Visit, moment
from tracker_server.track.accepted import metres_apart
from tracker_server.track.engine import Mark, margin_m, reach_m, step
from tracker_server.track.fences.index import FenceIndex
from tracker_server.track.motion import drift_radius_m
from tracker_server.track.observation import Observation, Use, arranged, use_of
from tracker_server.track.settings import TrackSettings
from tracker_server.track.sides import Position, fence_limit
from tracker_server.track.state import State

FENCES_MAX: Final = 20  # nearest first; more is no explanation
NEAR_M: Final = 1_000.0  # fences further off had no part in it


class FenceWord(Struct, frozen=True):
    """One fence: metres to its edge (positive inside), what confirms a side, and the side before and after."""

    fence_id: int
    name: str
    inside_m: float
    needed_in_m: float
    needed_out_m: float
    before: str
    after: str


class Explanation(Struct, frozen=True):
    """``seen``: the report that was taken last. ``place``: what became of its place. Metres and seconds; None where
    a thing plays no part.
    """

    seen: Observation
    place: str
    from_before_m: float | None
    from_before_s: float | None
    jump_beyond_m: float | None
    phase_before: str
    phase_after: str
    from_anchor_m: float | None
    drift_radius_m: float | None
    ignition: bool | None
    speed_limit_mps: float | None
    odometer_m: float
    fences: tuple[FenceWord, ...]
    found: tuple[Finding, ...]
    retracted: tuple[Finding, ...]


def explain(
    observations: Iterable[Observation],
    at_us: int,
    settings: TrackSettings,
    fences: FenceIndex,
    state: State | None = None,
) -> Explanation | None:
    """What was decided at the last report of ``at_us`` or before; None where there is none. ``observations``: the
    tracker's history, in any order, all after what ``state`` has taken; where there is none, from its beginning or from so
    long before that it no longer matters.
    """
    history = [seen for seen in arranged(observations) if seen.at_us <= at_us]
    if not history:
        return None
    before = step(state or State(), history[:-1], settings, fences).state
    marks: list[Mark] = []
    seen = history[-1]
    taken = step(before, [seen], settings, fences, marks)
    after = taken.state
    use = use_of(seen, settings)
    last, anchor = before.last, before.motion.anchor
    place = seen if use is Use.FIX else None
    limit = fence_limit(after.sides, fences)
    return Explanation(
        seen=seen,
        place=marks[0].place,
        from_before_m=metres_apart(last, place) if last and place else None,
        from_before_s=(place.at_us - last.at_us) / SECOND_US if last and place else None,
        jump_beyond_m=reach_m(last, place, settings) if last and place else None,
        phase_before=before.motion.phase.value,
        phase_after=after.motion.phase.value,
        from_anchor_m=metres_apart(anchor, place) if anchor and place else None,
        drift_radius_m=drift_radius_m(place, settings) if place else None,
        ignition=after.signals.ignition,
        speed_limit_mps=limit[0]
        if limit
        else settings.device_speed_limit_mps or settings.account_speed_limit_mps,
        odometer_m=after.totals.odometer_mm / 1000,
        fences=_fence_words(place, before, after, settings, fences) if place else (),
        found=tuple(taken.found),
        retracted=taken.retracted,
    )


def _fence_words(
    fix: Observation, before: State, after: State, settings: TrackSettings, fences: FenceIndex
) -> tuple[FenceWord, ...]:
    assert fix.latitude is not None
    assert fix.longitude is not None
    margin = margin_m(fix, settings)
    words: list[FenceWord] = []
    for place, fence in enumerate(fences.fences):
        if settings.fence_ids is not None and fence.id not in settings.fence_ids:
            continue
        inside_m = fences.signed_distance_m(place, fix.latitude, fix.longitude)
        known = fence.id in before.sides or fence.id in after.sides
        if not known and abs(inside_m) > NEAR_M:
            continue
        inner_m = min(margin, float(fences.inner_m[place]))
        words.append(
            FenceWord(
                fence.id,
                fence.name,
                round(inside_m, 1),
                round(inner_m, 1),
                margin,
                _position(before, fence.id),
                _position(after, fence.id),
            )
        )
    words.sort(key=lambda word: abs(word.inside_m))
    return tuple(words[:FENCES_MAX])


def _position(state: State, fence_id: int) -> str:
    side = state.sides.get(fence_id)
    return side.position.value if side is not None else Position.OUTSIDE.value


def told(why: Explanation) -> str:
    """The same in sentences."""
    seen = why.seen
    lines = [f"Report of {_clock(seen.at_us)}, received {_clock(seen.received_us)}."]
    if why.place == "accepted":
        lines.append(f"Its place {seen.latitude:.6f} {seen.longitude:.6f} was accepted.")
    elif why.place == "held":
        lines.append("Its place is suspicious, and waits for reports that agree with it.")
    else:
        lines.append(f"Its place does not count: {why.place}.")
    if why.from_before_m is not None and why.from_before_s is not None and why.jump_beyond_m is not None:
        lines.append(
            f"It lies {why.from_before_m:.0f} m and {why.from_before_s:.0f} s from the fix before; "
            f"more than {why.jump_beyond_m:.0f} m would be a jump."
        )
    if why.from_anchor_m is not None and why.drift_radius_m is not None:
        lines.append(
            f"It lies {why.from_anchor_m:.0f} m from where the tracker rested last; "
            f"up to {why.drift_radius_m:.0f} m is the receiver's wandering."
        )
    lines.append(f"Motion: {_change(why.phase_before, why.phase_after)}.")
    if why.ignition is not None:
        lines.append(f"Ignition is {'on' if why.ignition else 'off'}.")
    if why.speed_limit_mps is not None and seen.speed_mps is not None:
        lines.append(f"Speed {seen.speed_mps:.1f} m/s, limit {why.speed_limit_mps:.1f} m/s.")
    lines += [_fence_line(word) for word in why.fences]
    lines += [f"Found: {_finding(one)}." for one in why.found]
    lines += [f"Taken back: {_finding(one)}." for one in why.retracted]
    if not why.found:
        lines.append("Nothing was found.")
    return "\n".join(lines) + "\n"


def _fence_line(word: FenceWord) -> str:
    where = "inside" if word.inside_m >= 0 else "outside"
    needed_m = word.needed_in_m if word.inside_m >= 0 else word.needed_out_m
    return (
        f"Fence {word.name!r}: {abs(word.inside_m):.1f} m {where}, more than {needed_m:.1f} m is sure; "
        f"{_change(word.before, word.after)}."
    )


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} → {after}"


def _clock(at_us: int) -> str:
    return moment(at_us).strftime("%Y-%m-%dT%H:%M:%SZ")


def _finding(found: Finding) -> str:
    match found:
        case Event():
            return f"{found.type.value} at {_clock(found.occurred_us)}"
        case Trip() | Stop():
            return f"{type(found).__name__.lower()} since {_clock(found.started_us)}"
        case Visit():
            return f"visit since {_clock(found.entered_us)}"


def explained(
    observations: Sequence[Observation],
    at_us: int,
    settings: TrackSettings,
    fences: FenceIndex,
    state: State | None = None,
) -> str:
    """``explain`` as text, also where there is nothing to explain."""
    why = explain(observations, at_us, settings, fences, state)
    if why is None:
        return f"No report is stored of {_clock(at_us)} or before.\n"
    return told(why)
