"""Contact, proximity, explanations, the state tables and their diagrams, the benchmark."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest
from benchmarks import track as benchmark
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.track.test_order import FENCES, SETTINGS
from tests.track.world import at, disc, drive, fix, random_day, spoken, stand, told
from tracker_server.model.event import Event, EventType, moment
from tracker_server.track import diagrams, motion, phases, sides
from tracker_server.track.contact import Contact, contact, contact_events, wakes_at_us
from tracker_server.track.engine import Mark, step
from tracker_server.track.explain import explain, explained
from tracker_server.track.fences.index import EMPTY, FenceIndex
from tracker_server.track.observation import Use, arranged, use_of
from tracker_server.track.proximity import (
    Companion,
    Pair,
    PairMark,
    Sighting,
    Zone,
    rerun,
    step_proximity,
    unaccompanied,
)
from tracker_server.track.settings import TrackSettings
from tracker_server.track.state import State

DEFAULTS = TrackSettings()
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "track-engine.md"
MINUTE_US = 60_000_000


# ------------------------------------------------------------------------------------------------------ contact


def test_online_offline_inactive() -> None:
    heard = [0, 5 * MINUTE_US, 30 * MINUTE_US, 31 * MINUTE_US]
    told_inactive = TrackSettings(inactive_after_s=1200)
    assert spoken(contact_events(heard, 60 * MINUTE_US, told_inactive)) == [
        "0 deviceOnline",
        "900 deviceOffline",
        "1500 deviceInactive",
        "1800 deviceOnline",
        "2460 deviceOffline",
        "3060 deviceInactive",
    ]
    assert contact_events([], 0, DEFAULTS) == []
    assert contact(None, 0, DEFAULTS) is Contact.UNKNOWN
    assert contact(0, 10 * MINUTE_US, DEFAULTS) is Contact.ONLINE
    assert contact(0, 10 * MINUTE_US + 1, DEFAULTS) is Contact.OFFLINE
    assert wakes_at_us(None, 0, DEFAULTS) is None
    assert wakes_at_us(0, 5, DEFAULTS) == 10 * MINUTE_US + 1
    assert wakes_at_us(0, 11 * MINUTE_US, told_inactive) == 20 * MINUTE_US + 1
    assert wakes_at_us(0, 11 * MINUTE_US, DEFAULTS) is None


@given(st.lists(st.integers(0, 10**10), min_size=1), st.integers(1, 10**9))
def test_contact_events_end_as_contact_says(heard: list[int], later_us: int) -> None:
    heard = sorted(heard)
    now_us = heard[-1] + later_us
    status = [
        event.type
        for event in contact_events(heard, now_us, DEFAULTS)
        if event.type in {EventType.DEVICE_ONLINE, EventType.DEVICE_OFFLINE}
    ]
    assert all(one is not two for one, two in pairwise(status))
    offline = contact(heard[-1], now_us, DEFAULTS) is Contact.OFFLINE
    assert status[-1] is (EventType.DEVICE_OFFLINE if offline else EventType.DEVICE_ONLINE)


# ---------------------------------------------------------------------------------------------------- proximity


def meeting(metres: list[float]) -> list[Sighting]:
    """The first stands at HOME, the second comes and goes; fixes ten seconds apart, in turn."""
    return [
        sighting
        for n, metre in enumerate(metres)
        for sighting in (Sighting(True, fix(10 * n, at(0))), Sighting(False, fix(10 * n + 5, at(metre))))
    ]


def test_two_trackers_meet_and_part() -> None:
    zone = Zone(limit_m=200.0)
    far_to_near = [900, 400, 190, 180, 150, 80, 180, 210, 190, 215, 225, 260, 700]
    pair, found = step_proximity(Pair(), meeting([float(m) for m in far_to_near]), zone, 7)
    assert spoken([one.event for one in found]) == ["25 proximityEnter", "95 proximityExit"]
    assert found[0].event.attributes["other_id"] == 7
    assert (found[0].place.latitude, found[0].place.longitude) == at(0)
    assert not pair.near
    jitter = random.Random(1)
    edge = [200 + jitter.gauss(0, 8) for _ in range(1000)]
    assert step_proximity(Pair(), meeting(edge), zone, 7)[1] == []


def test_an_old_place_is_no_place() -> None:
    sightings = [Sighting(True, fix(0, at(0))), Sighting(False, fix(301, at(10)))]
    assert step_proximity(Pair(), sightings, Zone(limit_m=200.0), 7)[1] == []


def test_proximity_in_steps_is_proximity_at_once() -> None:
    zone, metres = Zone(limit_m=200.0), [900.0, 100.0, 190.0, 300.0, 180.0, 20.0]
    pair, events = Pair(), []
    for sighting in meeting(metres):
        pair, more = step_proximity(pair, [sighting], zone, 7)
        events += more
    assert (pair, events) == step_proximity(Pair(), meeting(metres), zone, 7)


def test_motion_without_a_companion() -> None:
    taken = step(State(), [*stand(0, 600, at(0)), *drive(600, 700, 0, 20.0)], DEFAULTS, EMPTY)
    (moving,) = [one for one in taken.found if isinstance(one, Event) and one.type is EventType.DEVICE_MOVING]
    place = motion.place_of(fix(610, at(200)))
    near, far, old = (
        Companion(seen, Zone(limit_m=100.0))
        for seen in (fix(600, at(150)), fix(600, at(900)), fix(100, at(200)))
    )
    assert unaccompanied(moving, place, {}) is None
    assert unaccompanied(moving, place, {1: far, 2: near}) is None
    assert unaccompanied(moving, place, {1: Companion(far.fix, Zone(limit_m=800.0))}) is None
    alone = unaccompanied(moving, place, {1: far, 2: old, 3: Companion(None, near.zone)})
    assert alone is not None
    assert spoken([alone]) == ["610 unaccompaniedMotion"]
    assert alone.attributes == {"companion_ids": [1, 2, 3]}


@given(st.lists(st.floats(0.0, 500.0), min_size=2, max_size=60), st.data())
@settings(max_examples=60)
def test_a_late_sighting_runs_again_until_all_is_as_it_was(metres: list[float], data: st.DataObject) -> None:
    """Whichever sightings come late: what was found before them, and after the run has met an old mark, is what the
    whole history comes to.
    """
    zone, every = Zone(limit_m=200.0), 4
    whole = meeting(metres)
    late = data.draw(st.sets(st.integers(0, len(whole) - 1), min_size=1, max_size=3))
    early = [one for n, one in enumerate(whole) if n not in late]
    touched = [whole[n].fix.at_us for n in late]
    before = rerun(Pair(), early, [], zone, 7, touched_us=0, every=every)
    start = max(
        (mark for mark in before.marks if mark.at_us < min(touched)),
        key=lambda mark: mark.at_us,
        default=PairMark(-1, Pair()),
    )
    window = [one for one in whole if one.fix.at_us > start.at_us]
    later = [mark for mark in before.marks if mark.at_us > start.at_us]
    again = rerun(start.pair, window, later, zone, 7, touched_us=max(touched), every=every)
    found = [one for one in before.found if one.event.decided_us <= start.at_us] + again.found
    if again.until_us is not None:
        found += [one for one in before.found if one.event.decided_us > again.until_us]
    at_once = rerun(Pair(), whole, [], zone, 7, touched_us=0)
    assert found == at_once.found
    assert (again.pair if again.until_us is None else before.pair) == at_once.pair


# ------------------------------------------------------------------------------------------------- explanations


DAY = [
    *stand(0, 600, at(0)),
    *drive(600, 900, 0, 20.0),
    fix(855, at(400_000), 20.0),
    fix(901, (0.0, 0.0), 0.0),
    fix(9000, at(0), 0.0, received_s=905),
    told(910, ignition=True),
]
EXPLAINED = FenceIndex([disc(1, 2000, 300), disc(2, 90_000, 300)])


def test_why_a_fence_was_entered() -> None:
    why = explain(DAY, 690_000_000, DEFAULTS, EXPLAINED)
    assert why is not None
    assert (why.place, why.phase_before, why.phase_after) == ("accepted", "moving", "moving")
    assert why.from_before_m == pytest.approx(200, abs=1)
    (word,) = why.fences
    assert (word.fence_id, word.before, word.after) == (1, "outside", "inside")
    assert word.inside_m == pytest.approx(100, abs=1)
    text = explained(DAY, 690_000_000, DEFAULTS, EXPLAINED)
    assert text.startswith("Report of 2000-01-01T00:11:30Z, received 2000-01-01T00:11:30Z.\n")
    assert "Fence 'fence 1': 100.0 m inside, more than 30.0 m is sure; outside → inside." in text
    assert "Found: geofenceEnter at 2000-01-01T00:11:30Z." in text


@pytest.mark.parametrize(
    ("second", "says"),
    [
        (855, "Its place is suspicious"),
        (901, "Its place does not count: 0/0."),
        (910, "Its place does not count: no location."),
        (9000, "Its place does not count: from the future."),
        (610, "Motion: parked → moving."),
        (620, "Nothing was found."),
        (600, "up to 60 m is the receiver's wandering."),
        (-1, "No report is stored of 1999-12-31T23:59:59Z or before."),
    ],
)
def test_why_not(second: int, says: str) -> None:
    assert says in explained(random.Random(3).sample(DAY, len(DAY)), second * 1_000_000, DEFAULTS, EXPLAINED)


def test_marks_say_what_became_of_each_report() -> None:
    marks: list[Mark] = []
    step(State(), arranged(DAY), DEFAULTS, EXPLAINED, marks)
    assert len(marks) == len(DAY)
    by_moment = {mark.at_us // 1_000_000: mark for mark in marks}
    assert by_moment[855].place == "held"
    assert by_moment[901].place == "0/0"
    assert by_moment[9000].place == "from the future"
    assert by_moment[700].place == "accepted"
    assert by_moment[700].moving
    assert by_moment[700].fence_ids == (1,)
    assert not by_moment[300].moving
    assert by_moment[890].odometer_mm == pytest.approx(5.8e6, rel=0.01)


def test_what_a_report_is_good_for() -> None:
    assert use_of(told(1), DEFAULTS) is Use.NO_LOCATION
    assert use_of(fix(1, at(0), accuracy_m=1000.0), DEFAULTS) is Use.FIX
    assert use_of(fix(1, at(0), accuracy_m=1000.1), DEFAULTS) is Use.VAGUE
    assert use_of(fix(700, at(0), received_s=100), DEFAULTS) is Use.FIX
    assert use_of(fix(701, at(0), received_s=100), DEFAULTS) is Use.FUTURE
    assert use_of(fix(1, (float("nan"), 0.0)), DEFAULTS) is Use.NOT_VALID
    assert use_of(fix(1, (52.0, 180.1)), DEFAULTS) is Use.NOT_VALID
    assert moment(0).isoformat() == "2000-01-01T00:00:00+00:00"


# ------------------------------------------------------------------------------------------------------- tables


def test_the_page_shows_the_tables() -> None:
    page = PAGE.read_text()
    for diagram in (diagrams.motion_diagram(), diagrams.sides_diagram()):
        assert f"```mermaid\n{diagram}```" in page, "print tracker_server.track.diagrams into the page"


def test_the_page_names_every_threshold_with_its_default() -> None:
    table = diagrams.settings_table()
    assert all(f"`{name}`" in table for name in TrackSettings.__struct_fields__)
    assert table in PAGE.read_text(), "print tracker_server.track.diagrams.settings_table() into the page"


def test_the_table_of_sides_is_whole() -> None:
    assert set(sides.NEXT) == {(position, word) for position in sides.Position for word in sides.Word}


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_motion_moves_only_as_the_table_says(seed: int) -> None:
    state = State()
    allowed = {(before, after) for (before, _), after in phases.NEXT.items()}
    # One fix may bring several turns: a stop that is over, and the next move.
    twice = {(a, d) for a, b in allowed for c, d in allowed if b is c}
    thrice = {(a, d) for a, b in twice for c, d in allowed if b is c}
    for seen in arranged(random_day(seed)):
        before = state.motion.phase
        state = step(state, [seen], SETTINGS, FENCES).state
        after = state.motion.phase
        assert before is after or (before, after) in allowed | twice | thrice


# ---------------------------------------------------------------------------------------------------- benchmark


def test_the_benchmark_runs() -> None:
    figures = benchmark.measure(quick=True)
    assert all(value > 0 for values in figures.values() for value in values)
    (indexed,), (scanned,) = (
        figures["fences_1000_fixes_per_s"],
        figures["fences_1000_linear_scan_fixes_per_s"],
    )
    assert indexed > 5 * scanned
