"""The track engine's share of a batch: from reports to what is to be written. Memory and decisions; no SQL.

The state of each tracker is kept in memory with the last few reports before it, so that a report that is a little
late runs those again and costs no query. What is later than that is for ``storage.track_mend``. A state takes half a
kilobyte and a report as much, so there is a state for some reports together, and they are packed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct, field, structs

from tracker_server.model.event import Finding, Stop, Trip, Visit
from tracker_server.pipeline.trackers import Tracker
from tracker_server.track.engine import Job, Taken, step_many
from tracker_server.track.fences.index import EMPTY, FenceIndex
from tracker_server.track.observation import Observation, arranged
from tracker_server.track.replay import CHECKPOINT_EVERY, Checkpoint, compared
from tracker_server.track.settings import TrackSettings
from tracker_server.track.sides import WAS_IN
from tracker_server.track.state import State, ongoing

# runs of reports kept behind the state: a heartbeat that overtakes a fix, datagrams that change places
PAST_MAX: Final = 2
PAST_REPORTS: Final = 4  # batches go together until there are so many in a run
PAST_REPORTS_MAX: Final = 64  # … and of all; running them again costs a ms

TRIP, STOP, VISIT = 0, 1, 2
OpenKey = tuple[int, int, int, int, float | None]
"""TRIP, STOP or VISIT, when it began, and what else is known of a beginning: the first fix's digest or the fence's id,
odometer and fuel.
"""


class Ground(Struct, frozen=True):
    """What the engine goes by in one account: its fences and settings, and those of trackers that have their own."""

    fences: FenceIndex = EMPTY
    settings: TrackSettings = TrackSettings()
    of_device: Mapping[int, TrackSettings] = {}

    def settings_of(self, device_id: int) -> TrackSettings:
        """What holds for one tracker."""
        return self.of_device.get(device_id, self.settings)


class Held(Struct, eq=False, gc=False):
    """A finding and the row that it is; 0 until it is stored."""

    finding: Finding
    row: int = 0


class Past(Struct, gc=False):
    """The share of one batch, or of a few: the state before it, its reports, and what was found."""

    state: State
    packed: bytes
    count: int
    found: Sequence[Held]

    def reports(self) -> list[Observation]:
        """As they were taken."""
        told = _decode(ARRAY + self.count.to_bytes(4, "big") + self.packed)
        return [Observation(*one) for one in told]

    def with_more(self, packed: bytes, count: int, found: Sequence[Held]) -> Past:
        """Together with the batch after it."""
        return Past(self.state, self.packed + packed, self.count + count, (*self.found, *found))


ARRAY: Final = b"\xdd"  # MessagePack's word for an array whose length follows in four bytes
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(list[list[Any]]).decode


def packed_reports(reports: Sequence[Observation]) -> bytes:
    """One after the other, without an array around them; fewer than 65,536. Raises OverflowError for numbers beyond 64 bits."""
    return _encode([structs.astuple(one) for one in reports])[1 if len(reports) < 16 else 3 :]


class Entry(Struct, gc=False):
    """All that is kept of one tracker. ``version`` as in ``core.device_state.track_version``: where another process took
    something, the two differ, and this is read anew. ``pending``: reports since the checkpoint of ``checkpoint_us``;
    ``open``: the rows of what has begun and not ended; ``ground``: what the state was reached under.
    """

    version: int
    state: State
    checkpoint_us: int | None = None
    pending: int = 0
    past: list[Past] = field(default_factory=list)
    open: dict[OpenKey, int] = field(default_factory=dict)
    ground: Ground | None = None


class Change(Struct, gc=False):
    """What one batch makes of one tracker. ``entry`` takes the place of the old one once all is committed; rows get
    their ids before that. Checkpoints from ``void_us[0]`` to ``void_us[1]`` are no more; ``shift_us``: after that
    moment ``shift`` (millimetres, microseconds) is to be added to totals. ``queue_us``: history that was touched
    between these moments, and is to be run again later.
    """

    tracker: Tracker
    entry: Entry
    expected: int  # the version that this follows
    added: Sequence[Held] = ()
    superseded: Sequence[Held] = ()
    redated: Sequence[Held] = ()  # with the finding as it is now
    opened: Sequence[tuple[OpenKey, Held]] = ()
    closed: Sequence[tuple[OpenKey, int]] = ()
    checkpoints: Sequence[Checkpoint] = ()
    void_us: tuple[int, int] | None = None
    shift_us: int | None = None
    shift: tuple[int, int] = (0, 0)
    queue_us: tuple[int, int] | None = None
    reports: Sequence[Observation] = ()
    outside: bool = False  # of all fences, as before

    def places(self) -> dict[tuple[int, int], tuple[float, float]]:
        """Where the reports that are at hand were, by moment and digest."""
        seen = [*self.reports, *(one for past in self.entry.past for one in past.reports())]
        return {
            (one.at_us, one.digest): (one.latitude, one.longitude)
            for one in seen
            if one.latitude is not None and one.longitude is not None
        }


class Deep(NamedTuple):
    """Reports that are too late for what memory holds. ``from_us``: the earliest moment that they touch."""

    tracker: Tracker
    reports: list[Observation]
    from_us: int


class _Plan(NamedTuple):
    tracker: Tracker
    entry: Entry
    keep: int  # how many of the entry's past stay as they are
    reports: list[Observation]
    new: int
    late_us: int | None


VOID_FOREVER_US: Final = 2**62


def take(
    fed: Mapping[Tracker, list[Observation]], entries: Mapping[int, Entry], grounds: Mapping[int, Ground]
) -> tuple[list[Change], list[Deep]]:
    """Take the new reports of these trackers, each once. ``grounds`` by account."""
    plans: dict[int, list[_Plan]] = {}
    deep: list[Deep] = []
    for tracker, reports in fed.items():
        assert tracker.id is not None
        assert tracker.account_id is not None
        plan = _plan(tracker, _on(entries[tracker.id], grounds[tracker.account_id]), reports)
        if isinstance(plan, Deep):
            deep.append(plan)
        else:
            plans.setdefault(tracker.account_id, []).append(plan)
    changes: list[Change] = []
    for account_id, planned in plans.items():
        ground = grounds[account_id]
        jobs = [Job(_begin(plan), plan.reports, ground.settings_of(plan.tracker.id or 0)) for plan in planned]
        for plan, taken in zip(planned, step_many(jobs, ground.fences), strict=True):
            made = _change(plan, taken)
            if isinstance(made, Deep):
                deep.append(made)
            else:
                changes.append(made)
    return changes, deep


def _on(entry: Entry, ground: Ground) -> Entry:
    """Where fences or settings have changed, what was found under the old ones is not run again under the new ones, and
    a checkpoint holds what was reached under the old.
    """
    if entry.ground is ground:
        return entry
    changed = entry.ground is not None
    return structs.replace(
        entry,
        ground=ground,
        past=[] if changed else entry.past,
        pending=CHECKPOINT_EVERY if changed else entry.pending,
    )


def in_order(reports: list[Observation]) -> list[Observation]:
    """By moment and digest, each once."""
    if len(reports) == 1:
        return reports
    reports.sort(key=_key)
    doubled = any(_key(one) == _key(other) for one, other in pairwise(reports))
    return arranged(reports) if doubled else reports


def _key(seen: Observation) -> tuple[int, int]:
    return seen.at_us, seen.digest


def _begin(plan: _Plan) -> State:
    past = plan.entry.past
    return past[plan.keep].state if plan.keep < len(past) else plan.entry.state


def _plan(tracker: Tracker, entry: Entry, reports: list[Observation]) -> _Plan | Deep:
    state, past = entry.state, entry.past
    reports = in_order(reports)
    first = reports[0]
    if state.seen_us is None or (
        _key(first) > (state.seen_us, state.seen_digest)
        and (entry.checkpoint_us is None or first.at_us > entry.checkpoint_us)
    ):
        return _Plan(tracker, entry, len(past), reports, len(reports), None)
    for keep in range(len(past) - 1, -1, -1):
        before = past[keep].state
        if before.seen_us is None or (before.seen_us < first.at_us and before.first is None):
            again = [*reports, *(seen for one in past[keep:] for seen in one.reports())]
            return _Plan(tracker, entry, keep, in_order(again), len(reports), first.at_us)
    return Deep(tracker, reports, first.at_us)


def _change(plan: _Plan, taken: Taken) -> Change | Deep:
    tracker, entry, past = plan.tracker, plan.entry, plan.entry.past
    kept, known = past, ()
    if plan.keep < len(past):
        known = [held for one in past[plan.keep :] for held in one.found]
        kept = past[: plan.keep]
    change = Change(tracker, entry, entry.version, reports=plan.reports)
    if taken.retracted:
        superseded: list[Held] = []
        before = [held for one in kept for held in one.found]
        for void in taken.retracted:
            held = next((held for held in before if held.finding == void), None)
            if held is None:
                since_us = min(one.decided_us for one in taken.retracted)
                return Deep(tracker, plan.reports, min(since_us, plan.reports[0].at_us))
            superseded.append(held)
        change.superseded = superseded
        gone = {id(held) for held in superseded}
        kept = [
            structs.replace(one, found=[held for held in one.found if id(held) not in gone]) for one in kept
        ]
    found: Sequence[Held] = ()
    if known:
        found = _compared(change, known, taken.found)
    elif taken.found:
        found = change.added = [Held(one) for one in taken.found]
    after = Entry(
        entry.version + 1,
        taken.state,
        entry.checkpoint_us,
        entry.pending + plan.new,
        _remembered(kept, _begin(plan), plan.reports, found),
        entry.open,
        entry.ground,
    )
    change.entry = after
    if plan.late_us is not None and entry.checkpoint_us is not None and plan.late_us <= entry.checkpoint_us:
        change.void_us = plan.late_us, VOID_FOREVER_US
        after.checkpoint_us = None
        after.pending = CHECKPOINT_EVERY
    if known or not past or not _goes_on(entry.state, taken.state):
        _open_and_close(change)
    else:
        change.outside = not taken.state.sides
    _checkpoint(change)
    return change


def _compared(change: Change, known: Sequence[Held], found: Sequence[Finding]) -> list[Held]:
    """Note what a second run changes; answers what stands now."""
    by_finding = {id(held.finding): held for held in known}
    superseded, added, redated = compared([held.finding for held in known], found)
    change.superseded = [*change.superseded, *(by_finding.pop(id(one)) for one in superseded)]
    change.added = [Held(one) for one in added]
    later: list[Held] = []
    for before, now in redated:
        was = by_finding.pop(id(before))
        held = Held(now, was.row)
        by_finding[id(now)] = held
        later.append(held)
    change.redated = later
    return [*by_finding.values(), *change.added]


def _remembered(
    kept: Sequence[Past], state: State, reports: Sequence[Observation], found: Sequence[Held]
) -> list[Past]:
    """What is to be kept: the batches before and this one, and no more than a little of all."""
    count = len(reports)
    if count > PAST_REPORTS_MAX:
        return []
    try:
        packed = packed_reports(reports)
    except OverflowError:
        return []
    if kept and kept[-1].count + count <= PAST_REPORTS:
        return [*kept[:-1], kept[-1].with_more(packed, count, found)]
    out = [*kept, Past(state, packed, count, found)]
    if len(out) > PAST_MAX:
        del out[: len(out) - PAST_MAX]
    reports_kept = 0
    for n in range(len(out) - 1, -1, -1):
        reports_kept += out[n].count
        if reports_kept > PAST_REPORTS_MAX:
            return out[n + 1 :]
    return out


def _goes_on(before: State, after: State) -> bool:
    """Whether what has begun and not ended is surely the same. Where a tracker is in a fence, or near one, it is looked
    at closely.
    """
    was, now = before.motion, after.motion
    return (
        was.ride is now.ride
        and was.stop_told is now.stop_told
        and not (now.stop_told and (was.since_us != now.since_us or was.anchor is not now.anchor))
        and not before.sides
        and not after.sides
    )


def open_keys(state: State) -> list[OpenKey]:
    """What has begun and not ended."""
    motion = state.motion
    keys: list[OpenKey] = []
    if motion.ride is not None:
        ride = motion.ride
        keys.append((TRIP, ride.started_us, ride.start.digest, ride.odometer_start_mm, ride.fuel_start))
    if motion.stop_told and motion.anchor is not None:
        keys.append((STOP, motion.since_us, motion.anchor.digest, 0, None))
    for fence_id, side in state.sides.items():
        if side.position in WAS_IN:
            keys.append((VISIT, side.entered_us, fence_id, 0, None))
    return keys


def _open_key(found: Trip | Stop | Visit) -> OpenKey:
    match found:
        case Trip():
            return TRIP, found.started_us, found.start.digest, found.odometer_start_mm, found.fuel_start
        case Stop():
            return STOP, found.started_us, found.place.digest, 0, None
        case Visit():
            return VISIT, found.entered_us, found.fence_id, 0, None


def _open_and_close(change: Change) -> None:
    entry = change.entry
    keys, known = open_keys(entry.state), entry.open
    if len(keys) == len(known) and all(key in known for key in keys):
        return
    wanted = {_open_key(one): one for one in ongoing(entry.state)}
    change.opened = [(key, Held(one)) for key, one in wanted.items() if key not in known]
    change.closed = [(key, row) for key, row in known.items() if key not in wanted]
    entry.open = {key: row for key, row in known.items() if key in wanted}


def _checkpoint(change: Change, *, every: int = CHECKPOINT_EVERY) -> None:
    entry, state = change.entry, change.entry.state
    if entry.pending < every or state.seen_us is None or state.first is not None:
        return
    change.checkpoints = [*change.checkpoints, Checkpoint(state.seen_us, state)]
    entry.checkpoint_us, entry.pending = state.seen_us, 0


def mended(  # noqa: PLR0913  (what a mended history consists of)
    tracker: Tracker,
    entry: Entry,
    state: State,
    reports: Sequence[Observation],
    *,
    superseded: list[Held],
    added: list[Held],
    redated: list[Held],
    checkpoints: list[Checkpoint],
    void_us: tuple[int, int] | None,
) -> Change:
    """The change of a history that was run again from the database, up to ``state``; nothing before it is kept."""
    last_us = max((one.at_us for one in checkpoints), default=None)
    if last_us is None and entry.checkpoint_us is not None:
        outside = void_us is None or not void_us[0] <= entry.checkpoint_us <= void_us[1]
        last_us = entry.checkpoint_us if outside else None
    elif last_us is not None and entry.checkpoint_us is not None and void_us is not None:
        last_us = max(last_us, entry.checkpoint_us) if entry.checkpoint_us > void_us[1] else last_us
    after = Entry(
        entry.version + 1, state, last_us, entry.pending + len(reports), [], entry.open, entry.ground
    )
    change = Change(
        tracker,
        after,
        entry.version,
        added=added,
        superseded=superseded,
        redated=redated,
        checkpoints=list(checkpoints),
        void_us=void_us,
        reports=reports,
    )
    _open_and_close(change)
    _checkpoint(change)
    return change
