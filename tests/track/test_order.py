"""History is a function of the set of reports: order, splits, repeats and late arrival change nothing."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.track.world import fence, fix, random_day, some_fences
from tracker_server.model.event import Event, Finding, identity
from tracker_server.track.engine import Job, step, step_many
from tracker_server.track.fences.index import FenceIndex
from tracker_server.track.fences.shapes import circle
from tracker_server.track.observation import Observation, arranged
from tracker_server.track.replay import Checkpoint, replay, run, start_of
from tracker_server.track.settings import Maintenance, MaintenanceKind, TrackSettings
from tracker_server.track.state import State, is_late, ongoing, settled, shifted, shifted_finding

FENCES = FenceIndex([*some_fences(), fence(6, circle(10.0, 10.0, 5_000.0))])
SETTINGS = TrackSettings(device_speed_limit_mps=22.0)
MAINTAINED = TrackSettings(
    maintenance=(
        Maintenance(1, MaintenanceKind.DISTANCE, 5_000.0, 5_000.0),
        Maintenance(2, MaintenanceKind.HOURS, 0.5, 0.5),
        Maintenance(3, MaintenanceKind.DATE, 3_600e6, 3_600e6),
    )
)


def day_of(seed: int) -> list[Observation]:
    """Each third day begins with an absurd fix: inside a fence, hundreds of kilometres from where the tracker is."""
    day = random_day(seed)
    return day if seed % 3 else [fix(1, FAR_OFF, 0.0, digest=1), *day]


FAR_OFF = (10.0, 10.0)
days = st.integers(0, 10_000).map(day_of)


def everything(found: list[Finding], state: State) -> list[bytes]:
    return sorted(identity(one) for one in [*found, *ongoing(state)])


def test_the_days_are_not_empty() -> None:
    kinds: set[str] = set()
    for seed in range(40):
        made = run(arranged(random_day(seed)), MAINTAINED, FENCES)
        kinds |= {getattr(one, "type", type(one).__name__) for one in made.found}
    assert kinds >= {
        "Trip", "Stop", "Visit", "deviceMoving", "deviceStopped", "deviceOverspeed", "geofenceEnter",
        "geofenceExit", "geofenceCrossed", "geofenceDwell", "alarm", "ignitionOn", "ignitionOff", "maintenance",
        "deviceFuelDrop",
    }  # fmt: skip


@settings(max_examples=80)
@given(days, st.randoms(use_true_random=False))
def test_shuffled_and_doubled_days_are_the_same_day(day: list[Observation], rng: random.Random) -> None:
    mixed = day + rng.sample(day, len(day) // 3)
    rng.shuffle(mixed)
    sorted_day = run(arranged(day), SETTINGS, FENCES)
    mixed_day = run(arranged(mixed), SETTINGS, FENCES)
    assert everything(mixed_day.found, mixed_day.state) == everything(sorted_day.found, sorted_day.state)
    assert mixed_day.state == sorted_day.state


@settings(max_examples=80)
@given(days, st.lists(st.integers(1, 60), min_size=1))
def test_where_the_day_is_split_does_not_matter(day: list[Observation], sizes: list[int]) -> None:
    day = arranged(day)
    whole = run(day, SETTINGS, FENCES, every=len(day))
    state, found, begin, turn = State(), list[Finding](), 0, 0
    while begin < len(day):
        size = sizes[turn % len(sizes)]
        before = msgspec.json.encode(state)
        taken = step(state, day[begin : begin + size], SETTINGS, FENCES)
        assert msgspec.json.encode(state) == before, "step must not change the state given"
        for one in taken.retracted:
            found.remove(one)
        found += taken.found
        # What is kept in a database comes back as other objects of the same value.
        state = msgspec.json.decode(msgspec.json.encode(taken.state), type=State)
        begin, turn = begin + size, turn + 1
    assert found == whole.found
    assert state == whole.state


def test_an_absurd_first_fix_is_taken_back() -> None:
    day = arranged(day_of(3))
    taken = step(State(), day[:1], SETTINGS, FENCES)
    assert [one.type for one in taken.found if isinstance(one, Event)] == ["geofenceEnter"]
    history = Told(SETTINGS, 10)
    for one in day:
        history.tell([one])
    assert not any(isinstance(one, Event) and one.fence_id == 6 for one in history.found)


def test_trackers_in_one_batch_do_not_touch_each_other() -> None:
    routes = [arranged(random_day(seed)) for seed in range(8)]
    jobs = [Job(State(), day, SETTINGS) for day in routes]
    together = step_many(jobs, FENCES)
    alone = [step(State(), day, SETTINGS, FENCES) for day in routes]
    assert [taken.found for taken in together] == [taken.found for taken in alone]
    assert [taken.state for taken in together] == [taken.state for taken in alone]


class Told:
    """A history that is told bit by bit, as the wiring will keep it: reports, findings, checkpoints, state."""

    def __init__(self, settings: TrackSettings, every: int) -> None:
        self.settings, self.every = settings, every
        self.reports: dict[tuple[int, int], Observation] = {}
        self.found: list[Finding] = []
        self.checkpoints: list[Checkpoint] = []
        self.state = State()
        self.stopped_early = 0
        self.reruns = 0

    def tell(self, arrived: list[Observation]) -> None:
        fresh = [one for one in arranged(arrived) if (one.at_us, one.digest) not in self.reports]
        self.reports |= {(one.at_us, one.digest): one for one in fresh}
        late = [one for one in fresh if is_late(self.state, one)]
        if late:
            self.rerun(min(one.at_us for one in late), max(one.at_us for one in late))
        newer = [one for one in fresh if not is_late(self.state, one)]
        if newer:
            self.append(newer)

    def append(self, newer: list[Observation]) -> None:
        made = run(newer, self.settings, FENCES, state=self.state, every=self.every)
        for one in made.retracted:
            self.found.remove(one)
        self.state = made.state
        self.found += made.found
        self.checkpoints += made.checkpoints

    def rerun(self, first_us: int, last_us: int) -> None:
        self.reruns += 1
        start = start_of(self.checkpoints, first_us)
        after_us = start.at_us if start is not None else -1
        seen_us = self.state.seen_us
        assert seen_us is not None
        window = [one for one in arranged(self.reports.values()) if after_us < one.at_us <= seen_us]
        known = [one for one in self.found if one.decided_us > after_us]
        later = [one for one in self.checkpoints if one.at_us > after_us]
        made = replay(start, window, known, later, self.settings, FENCES, touched_us=last_us)
        for one in made.superseded:
            self.found.remove(one)
        for old, new in made.redated:
            self.found[self.found.index(old)] = new
        kept = [one for one in self.checkpoints if one.at_us <= after_us]
        if made.until_us is None:
            assert made.state is not None
            self.state = made.state
            self.checkpoints = kept + made.checkpoints
            self.found += made.added
            return
        self.stopped_early += 1
        until_us = made.until_us
        shift = (made.odometer_mm, made.engine_us)
        self.found = [
            shifted_finding(one, made.odometer_mm) if one.decided_us > until_us else one for one in self.found
        ] + made.added
        rest = [one for one in self.checkpoints if one.at_us > until_us]
        moved = [Checkpoint(one.at_us, shifted(one.state, *shift)) for one in rest]
        self.checkpoints = kept + made.checkpoints + moved
        self.state = shifted(self.state, *shift)


@pytest.mark.parametrize("how", [SETTINGS, MAINTAINED], ids=["plain", "maintained"])
@settings(max_examples=80)
@given(
    day=days,
    rng=st.randoms(use_true_random=False),
    every=st.sampled_from([3, 10, 40]),
    size=st.sampled_from([1, 4, 30, 100]),
    mix=st.sampled_from(["shuffled", "pieces", "few late", "backwards"]),
)
def test_told_in_any_order_it_is_the_same_history(
    how: TrackSettings, day: list[Observation], rng: random.Random, every: int, size: int, mix: str
) -> None:
    day = arranged(day)
    parts = [day[begin : begin + size] for begin in range(0, len(day), size)]
    if mix == "shuffled":
        day = rng.sample(day, min(len(day), 60))
        parts = [rng.sample(day, len(day))[:size] for _ in range(6)]
        parts.append(day)
    elif mix == "pieces":
        rng.shuffle(parts)
    elif mix == "backwards":
        parts.reverse()
    else:
        late = rng.sample(range(len(day)), min(6, len(day)))
        parts = [[one for n, one in enumerate(day) if n not in late], *([day[n]] for n in late)]
    parts = [*parts[:80], [one for part in parts[80:] for one in part]]
    history = Told(how, every)
    for part in parts:
        if part:
            history.tell(part)
    full = run(arranged(history.reports.values()), how, FENCES)
    assert everything(history.found, history.state) == everything(full.found, full.state)
    assert settled(history.state) == settled(full.state)


def test_a_late_fix_runs_only_the_window_that_it_touches() -> None:
    day = arranged(random_day(5, pieces=40))
    history = Told(SETTINGS, 10)
    late = day[len(day) // 4]
    history.tell([one for one in day if one is not late])
    history.tell([late])
    assert history.reruns == 1
    assert history.stopped_early == 1
    full = run(day, SETTINGS, FENCES)
    assert everything(history.found, history.state) == everything(full.found, full.state)
