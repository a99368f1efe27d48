"""Marks of fixes by intervals, against ways reckoned by GeographicLib."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from geographiclib.geodesic import Geodesic

from tracker_server.track.marking import Marker, Ride, Stay, steps_m

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def geodesic_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    return Geodesic.WGS84.Inverse(*one, *other)["s12"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0.0, 0.0), (0.01, 0.01)),
        ((52.0, 21.0), (52.003, 21.001)),
        ((70.0, 179.999), (70.001, -179.999)),
        ((-33.9, 151.2), (-33.95, 151.25)),
    ],
)
def test_steps(one: tuple[float, float], other: tuple[float, float]) -> None:
    found = steps_m(np.array([one[0], other[0]]), np.array([one[1], other[1]]))
    assert found[0] == pytest.approx(geodesic_m(one, other), rel=2e-6)


PLACES = [(52.0 + n / 1000, 21.0) for n in range(7)]
STEP = geodesic_m(PLACES[0], PLACES[1])
MOMENTS = [NOON + n * MINUTE for n in range(7)]
VALID = [True] * 7


@pytest.mark.parametrize("cut", range(8))
def test_a_trip_in_the_middle_however_it_is_cut(cut: int) -> None:
    ride = Ride(MOMENTS[1], MOMENTS[4], 10_000.0, 3 * STEP)
    marker = Marker([ride], [Stay(9, MOMENTS[2], MOMENTS[5]), Stay(4, MOMENTS[4], None)], 10_000.0)
    marks = [
        *marker.mark(MOMENTS[:cut], PLACES[:cut], VALID[:cut]),
        *marker.mark(MOMENTS[cut:], PLACES[cut:], VALID[cut:]),
    ]
    assert [mark.moving for mark in marks] == [False, True, True, True, False, False, False]
    totals = [0, 0, 1, 2, 3, 3, 3]
    assert [mark.total_m for mark in marks] == pytest.approx([10_000 + n * STEP for n in totals], rel=1e-6)
    assert sum(mark.distance_m or 0.0 for mark in marks) == pytest.approx(3 * STEP, rel=1e-6)
    assert [mark.fence_ids for mark in marks] == [(), (), (9,), (9,), (9, 4), (4,), (4,)]


def test_a_range_that_begins_in_the_middle_of_a_trip_says_what_the_whole_says() -> None:
    whole = Marker([Ride(MOMENTS[0], MOMENTS[5], 500.0, 5 * STEP)], [], 500.0)
    part = Marker([Ride(MOMENTS[0], MOMENTS[5], 500.0, 5 * STEP, 2 * STEP)], [], 500.0, PLACES[2])
    expected = [mark.total_m for mark in whole.mark(MOMENTS, PLACES, VALID)][3:]
    found = [mark.total_m for mark in part.mark(MOMENTS[3:], PLACES[3:], VALID[3:])]
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_engine_has_the_last_word_on_a_trip_s_length() -> None:
    """Jumps that the engine did not count are not counted here beyond the trip's own length."""
    places = list(PLACES)
    places[2] = (10.0, 10.0)
    marker = Marker([Ride(MOMENTS[0], MOMENTS[5], 0.0, 5 * STEP)], [], 0.0)
    totals = [mark.total_m for mark in marker.mark(MOMENTS, places, VALID)]
    assert max(totals) == pytest.approx(5 * STEP)
    assert totals == sorted(totals)


def test_a_doubted_fix_adds_no_way() -> None:
    places, valid = list(PLACES), list(VALID)
    places[3], valid[3] = (0.0, 0.0), False
    marker = Marker([Ride(MOMENTS[0], None, 0.0, 0.0)], [], 0.0)
    found = [mark.total_m for mark in marker.mark(MOMENTS, places, valid)]
    assert found == pytest.approx([0, STEP, 2 * STEP, 2 * STEP, 4 * STEP, 5 * STEP, 6 * STEP], rel=1e-6)


def test_nothing_known_marks_nothing() -> None:
    marks = Marker([], [], 7.0).mark(MOMENTS, PLACES, VALID)
    assert {(mark.distance_m, mark.total_m, mark.moving, mark.fence_ids) for mark in marks} == {
        (0.0, 7.0, False, ())
    }
