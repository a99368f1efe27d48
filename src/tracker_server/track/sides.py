"""On which side of each fence a tracker is: enter, exit, cross, dwell, visits.

A side changes only when a fix confirms it beyond the edge by the hysteresis; while standing it takes several in
a row, and where a stop is known they have to last, for a receiver that wanders does so for minutes. The change is then
timed at the first fix of the run on the new side.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from msgspec import Struct

from tracker_server.model.event import SECOND_US, Event, EventType, Visit, moment
from tracker_server.track.accepted import Step
from tracker_server.track.fences.index import FenceIndex
from tracker_server.track.fences.shapes import Fence
from tracker_server.track.fences.single import INSIDE, NEAR_INSIDE, OUTSIDE
from tracker_server.track.observation import Observation

Hit = tuple[int, int]
"""A fence's id and NEAR_OUTSIDE, NEAR_INSIDE or INSIDE; fences not named are beyond the margin."""


class Position(StrEnum):
    """Where a tracker is to one fence. Outside with nothing pending is not kept."""

    OUTSIDE = "outside"
    ENTERING = "entering"
    INSIDE = "inside"
    LEAVING = "leaving"


class Word(StrEnum):
    """What one fix says of one fence."""

    IN_NEAR = "inside, within the margin"
    IN_SURE = "inside beyond the margin"
    OUT_NEAR = "outside, within the margin"
    OUT_SURE = "outside beyond the margin"


# A sure word changes the side at once (marked with an event) unless it must be confirmed by several; then it
# leads where the near one leads.
NEXT: Final[dict[tuple[Position, Word], Position]] = {
    (Position.OUTSIDE, Word.OUT_NEAR): Position.OUTSIDE,
    (Position.OUTSIDE, Word.OUT_SURE): Position.OUTSIDE,
    (Position.OUTSIDE, Word.IN_NEAR): Position.ENTERING,
    (Position.OUTSIDE, Word.IN_SURE): Position.INSIDE,
    (Position.ENTERING, Word.IN_NEAR): Position.ENTERING,
    (Position.ENTERING, Word.IN_SURE): Position.INSIDE,
    (Position.ENTERING, Word.OUT_NEAR): Position.OUTSIDE,
    (Position.ENTERING, Word.OUT_SURE): Position.OUTSIDE,
    (Position.INSIDE, Word.IN_NEAR): Position.INSIDE,
    (Position.INSIDE, Word.IN_SURE): Position.INSIDE,
    (Position.INSIDE, Word.OUT_NEAR): Position.LEAVING,
    (Position.INSIDE, Word.OUT_SURE): Position.OUTSIDE,
    (Position.LEAVING, Word.OUT_NEAR): Position.LEAVING,
    (Position.LEAVING, Word.OUT_SURE): Position.OUTSIDE,
    (Position.LEAVING, Word.IN_NEAR): Position.INSIDE,
    (Position.LEAVING, Word.IN_SURE): Position.INSIDE,
}
_UNSURE: Final = {Word.IN_SURE: Word.IN_NEAR, Word.OUT_SURE: Word.OUT_NEAR}
WAS_IN: Final = frozenset({Position.INSIDE, Position.LEAVING})


class Side(Struct, frozen=True, gc=False):
    """``run_us``, ``run_digest``: the first fix of the run that may change the side; ``sure``: sure fixes in a row
    within it, the first of them at ``sure_us``. ``entered_us``: since when it is inside; ``dwelt``: that it stayed long was
    told.
    """

    position: Position
    run_us: int = 0
    run_digest: int = 0
    sure: int = 0
    entered_us: int = 0
    dwelt: bool = False
    sure_us: int = 0


class Proof(NamedTuple):
    """What changes a side: so many sure fixes in a row, which last so long."""

    fixes: int
    lasting_us: int


AT_ONCE: Final = Proof(1, 0)


def fence_limit(sides: dict[int, Side], index: FenceIndex) -> tuple[float, int] | None:
    """The lowest speed limit of the fences that it is in, and the fence's id."""
    best: tuple[float, int] | None = None
    for fence_id, side in sides.items():
        if side.position not in WAS_IN:
            continue
        fence = index.by_id.get(fence_id)
        if fence is None or fence.speed_limit_mps is None:
            continue
        if best is None or (fence.speed_limit_mps, fence_id) < best:
            best = fence.speed_limit_mps, fence_id
    return best


def word_of(side: int) -> Word:
    """What the index's answer says."""
    return _WORDS.get(side, _OUT_NEAR)


def advance_sides(
    sides: dict[int, Side],
    step: Step,
    hits: tuple[Hit, ...],
    index: FenceIndex,
    *,
    needed: Proof,
) -> None:
    """Take one accepted fix; ``sides`` is changed in place."""
    codes = dict(hits)
    for fence_id in sorted(codes.keys() | sides.keys()):
        fence = index.by_id.get(fence_id)
        side = sides.get(fence_id)
        if fence is None or (side is None and not in_force(fence, step.fix)):
            # Removed altogether (nobody is told that it was left), or not drawn yet.
            sides.pop(fence_id, None)
            continue
        if fence.until_us is not None and step.fix.at_us >= fence.until_us:
            if side is not None and side.position in WAS_IN:
                step.found.append(Visit(fence_id, side.entered_us, fence.until_us, step.fix.at_us))
            sides.pop(fence_id, None)
            continue
        _advance(sides, fence, side or _FAR, codes.get(fence_id, OUTSIDE), step, needed)


_FAR: Final = Side(Position.OUTSIDE)
# Python 3.11 is slow in finding an enum's member
_INSIDE: Final = Position.INSIDE
_PENDING: Final = frozenset({Position.ENTERING, Position.LEAVING})
_WORDS: Final = {INSIDE: Word.IN_SURE, NEAR_INSIDE: Word.IN_NEAR, OUTSIDE: Word.OUT_SURE}
_OUT_NEAR: Final = Word.OUT_NEAR


def _advance(sides: dict[int, Side], fence: Fence, side: Side, code: int, step: Step, needed: Proof) -> None:
    fix = step.fix
    was_in = side.position in WAS_IN
    said_in = code >= NEAR_INSIDE
    if was_in == said_in:  # a run to the other side, if there was one, is broken
        if not was_in:
            sides.pop(fence.id, None)
            return
        if side.position is not _INSIDE:
            side = Side(NEXT[side.position, word_of(code)], entered_us=side.entered_us, dwelt=side.dwelt)
        sides[fence.id] = _dwell(fence, side, step)
        return
    word = word_of(code)
    pending = side.position in _PENDING
    run_us = side.run_us if pending else fix.at_us
    run_digest = side.run_digest if pending else fix.digest
    sure, sure_us = 0, 0
    if word in _UNSURE:
        sure = side.sure + 1
        sure_us = side.sure_us if side.sure else fix.at_us
        if sure < needed.fixes or fix.at_us - sure_us < needed.lasting_us:
            word = _UNSURE[word]
    position = NEXT[side.position, word]
    if position is Position.INSIDE:
        if told(fence, run_us):
            step.found.append(Event(EventType.GEOFENCE_ENTER, run_us, fix.at_us, fence.id, run_digest))
        sides[fence.id] = _dwell(fence, Side(position, entered_us=run_us), step)
    elif position is Position.OUTSIDE:
        if told(fence, run_us):
            step.found.append(Event(EventType.GEOFENCE_EXIT, run_us, fix.at_us, fence.id, run_digest))
        step.found.append(Visit(fence.id, side.entered_us, run_us, fix.at_us))
        del sides[fence.id]
    else:
        sides[fence.id] = Side(position, run_us, run_digest, sure, side.entered_us, side.dwelt, sure_us)


def _dwell(fence: Fence, side: Side, step: Step) -> Side:
    """Tell, once in a visit, that it has been inside for as long as the fence asks; a fix inside proves it."""
    if fence.dwell_s is None or side.dwelt:
        return side
    due_us = side.entered_us + round(fence.dwell_s * SECOND_US)
    if step.fix.at_us < due_us:
        return side
    if told(fence, due_us):
        about = {"dwell_s": fence.dwell_s, "entered_us": side.entered_us}
        step.found.append(Event(EventType.GEOFENCE_DWELL, due_us, step.fix.at_us, fence.id, attributes=about))
    return Side(side.position, entered_us=side.entered_us, dwelt=True)


def advance_crossings(
    sides: dict[int, Side],
    step: Step,
    near: tuple[int, ...],
    crossed: tuple[int, ...],
    index: FenceIndex,
) -> None:
    """``crossed``: fences that the way to this fix passes through and that this fix is surely outside of. It is a
    crossing where the fix before was surely outside too: ``near`` are the fences that it had a side of.
    """
    fix = step.fix
    for fence_id in crossed:
        fence = index.by_id[fence_id]
        if fence_id not in near and fence_id not in sides and in_force(fence, fix) and told(fence, fix.at_us):
            step.found.append(Event(EventType.GEOFENCE_CROSSED, fix.at_us, fix.at_us, fence_id, fix.digest))


def in_force(fence: Fence, fix: Observation) -> bool:
    """Whether the fence had been drawn when the fix came, and not yet removed at its moment."""
    return (
        (fence.drawn_us is None or fence.drawn_us <= fix.received_us)
        and (fence.since_us is None or fence.since_us <= fix.at_us)
        and (fence.until_us is None or fix.at_us < fence.until_us)
    )


def told(fence: Fence, at_us: int) -> bool:
    """Whether its schedule, if it has one, has its events told at that moment."""
    return fence.schedule is None or fence.schedule.holds(moment(at_us))
