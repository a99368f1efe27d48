"""History as a function of the set of reports: what comes late re-runs the window that it touches.

``run`` takes a whole history and leaves checkpoints. When reports come late, ``replay`` starts at the last
checkpoint before the earliest of them and goes on until its state meets that of an old checkpoint: from there
on everything is as it was, but for what is summed, which is shifted by one exact difference.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from tracker_server.model.event import Finding, identity
from tracker_server.track.engine import step
from tracker_server.track.fences.index import FenceIndex
from tracker_server.track.observation import Observation
from tracker_server.track.settings import MaintenanceKind, TrackSettings
from tracker_server.track.state import State, settled, shifted

# Reports between two checkpoints: a state is about 1 KB compressed, a report about 10 µs, so a late fix costs a ms, and
# so does each tracker when the server starts.
CHECKPOINT_EVERY: Final = 64


class Checkpoint(Struct, frozen=True):
    """The state after all reports of moments up to and with ``at_us``."""

    at_us: int
    state: State


class Run(Struct, frozen=True):
    """A history taken: what was found in the order of decision, and the state at its end. ``retracted``: what had
    been found before this run and is void (see ``Taken``).
    """

    found: list[Finding]
    state: State
    checkpoints: list[Checkpoint]
    retracted: list[Finding]


def checkpoint_before(state: State, coming: Observation) -> Checkpoint | None:
    """A checkpoint of a state, taken when the next report comes; None where it would cut a moment in two, or
    while the very first fix may still turn out absurd.
    """
    if state.seen_us is None or state.first is not None or state.seen_us >= coming.at_us:
        return None
    return Checkpoint(state.seen_us, state)


def run(
    observations: Sequence[Observation],
    settings: TrackSettings,
    fences: FenceIndex,
    *,
    state: State | None = None,
    every: int = CHECKPOINT_EVERY,
) -> Run:
    """Take observations that are ``arranged``, all after what ``state`` has taken."""
    state = state or State()
    found: list[Finding] = []
    checkpoints: list[Checkpoint] = []
    retracted: list[Finding] = []
    for begin in range(0, len(observations), every):
        if begin:
            made = checkpoint_before(state, observations[begin])
            if made is not None:
                checkpoints.append(made)
        taken = step(state, observations[begin : begin + every], settings, fences)
        state = taken.state
        retracted += _without(found, taken.retracted)
        found += taken.found
    return Run(found, state, checkpoints, retracted)


def _without(found: list[Finding], retracted: Iterable[Finding]) -> list[Finding]:
    """Take out what is void; answers what was not there."""
    missing: list[Finding] = []
    for one in retracted:
        if one in found:
            found.remove(one)
        else:
            missing.append(one)
    return missing


class Replayed(Struct, frozen=True):
    """What a re-run changes. ``superseded`` are among the findings given; ``redated`` pairs the same finding as
    given and as decided now. ``checkpoints`` take the place of the old ones up to ``until_us``. After it nothing
    changes but that ``odometer_mm`` and ``engine_us`` are to be added: to the odometers of trips, to
    checkpoints and to the state (``shifted``). ``state`` is the end's, where the window was run to its end, in
    which case ``until_us`` is None.
    """

    superseded: list[Finding]
    added: list[Finding]
    redated: list[tuple[Finding, Finding]]
    checkpoints: list[Checkpoint]
    until_us: int | None
    odometer_mm: int
    engine_us: int
    state: State | None


def start_of(checkpoints: Sequence[Checkpoint], touched_us: int) -> Checkpoint | None:
    """The last checkpoint that a report of ``touched_us`` cannot have changed; None: from the beginning."""
    at = bisect_right(checkpoints, touched_us - 1, key=lambda one: one.at_us)
    return checkpoints[at - 1] if at else None


def replay(  # noqa: PLR0913  (all of a history that a run looks at)
    start: Checkpoint | None,
    window: Sequence[Observation],
    known: Sequence[Finding],
    later: Sequence[Checkpoint],
    settings: TrackSettings,
    fences: FenceIndex,
    *,
    touched_us: int,
    every: int = CHECKPOINT_EVERY,
) -> Replayed:
    """Run again from ``start``.

    ``window``: all observations after it as they are now, arranged; it may be cut off between any two moments.
    ``known``: what was found after it (by ``decided_us``) and stands. ``later``: the old checkpoints after it.
    ``touched_us``: the moment of the last report that is new or gone.
    """
    state = start.state if start is not None else State()
    found: list[Finding] = []
    checkpoints: list[Checkpoint] = []
    at = 0
    for old in sorted(later, key=lambda one: one.at_us):
        end = bisect_right(window, old.at_us, lo=at, key=lambda seen: seen.at_us)
        state = _through(state, window[at:end], settings, fences, found, checkpoints, every)
        at = end
        if state.seen_us is None or state.first is not None:
            continue  # no checkpoint can be made here any more
        checkpoints.append(Checkpoint(old.at_us, state))
        if old.at_us < touched_us:
            continue
        odometer_mm = state.totals.odometer_mm - old.state.totals.odometer_mm
        engine_us = state.totals.engine_us - old.state.totals.engine_us
        if _meets(state, old.state, odometer_mm, engine_us, settings):
            within = [one for one in known if one.decided_us <= old.at_us]
            return _compared(within, found, checkpoints, old.at_us, (odometer_mm, engine_us), None)
    state = _through(state, window[at:], settings, fences, found, checkpoints, every)
    return _compared(known, found, checkpoints, None, (0, 0), state)


def _through(
    state: State,
    window: Sequence[Observation],
    settings: TrackSettings,
    fences: FenceIndex,
    found: list[Finding],
    checkpoints: list[Checkpoint],
    every: int,
) -> State:
    """Take a part of the window, with checkpoints within it; ``found`` and ``checkpoints`` grow."""
    for begin in range(0, len(window), every):
        if begin and (made := checkpoint_before(state, window[begin])) is not None:
            checkpoints.append(made)
        taken = step(state, window[begin : begin + every], settings, fences)
        state = taken.state
        _without(found, taken.retracted)
        found += taken.found
    return state


def _meets(new: State, old: State, odometer_mm: int, engine_us: int, settings: TrackSettings) -> bool:
    """Whether everything after is as it was, but for the difference in what is summed."""
    if odometer_mm and any(one.kind is MaintenanceKind.DISTANCE for one in settings.maintenance):
        return False  # what falls due, falls due elsewhere now
    if engine_us and any(one.kind is MaintenanceKind.HOURS for one in settings.maintenance):
        return False
    return settled(new) == settled(shifted(old, odometer_mm, engine_us))


def _compared(
    known: Sequence[Finding],
    found: Sequence[Finding],
    checkpoints: list[Checkpoint],
    until_us: int | None,
    shift: tuple[int, int],
    state: State | None,
) -> Replayed:
    superseded, added, redated = compared(known, found)
    return Replayed(superseded, added, redated, checkpoints, until_us, shift[0], shift[1], state)


def compared(
    known: Sequence[Finding], found: Sequence[Finding]
) -> tuple[list[Finding], list[Finding], list[tuple[Finding, Finding]]]:
    """What of the known is not found any more, what is new, and what is the same but sure at another moment. Those
    of ``known`` are answered as the very objects that were given.
    """
    left: dict[bytes, list[Finding]] = {}
    for one in known:
        left.setdefault(identity(one), []).append(one)
    added: list[Finding] = []
    redated: list[tuple[Finding, Finding]] = []
    for one in found:
        same = left.get(identity(one))
        if not same:
            added.append(one)
            continue
        before = same.pop(0)
        if before.decided_us != one.decided_us:
            redated.append((before, one))
    return [one for rest in left.values() for one in rest], added, redated
