"""Marks of fixes by intervals, against ways reckoned by GeographicLib."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from geographiclib.geodesic import Geodesic

from tracker_server.track.marking import Marker, Marks, Ride, Stay, micros, steps_m

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


def mark(
    marker: Marker,
    begin: int = 0,
    end: int = 7,
    places: Sequence[tuple[float, float]] = PLACES,
    valid: Sequence[bool] = VALID,
) -> Marks:
    """Of the fixes from one to before another."""
    moments = np.array([micros(moment) for moment in MOMENTS[begin:end]], dtype=np.int64)
    latitudes = np.array([latitude for latitude, _ in places[begin:end]])
    longitudes = np.array([longitude for _, longitude in places[begin:end]])
    return marker.mark(moments, latitudes, longitudes, np.array(valid[begin:end], dtype=np.bool_))


@pytest.mark.parametrize("cut", range(8))
def test_a_trip_in_the_middle_however_it_is_cut(cut: int) -> None:
    ride = Ride(MOMENTS[1], MOMENTS[4], 10_000.0, 3 * STEP)
    marker = Marker([ride], [Stay(9, MOMENTS[2], MOMENTS[5]), Stay(4, MOMENTS[4], None)], 10_000.0)
    parts = [mark(marker, 0, cut), mark(marker, cut, 7)]
    assert [one for part in parts for one in part.moving] == [False, True, True, True, False, False, False]
    totals = [0, 0, 1, 2, 3, 3, 3]
    found = [one for part in parts for one in part.totals_m]
    assert found == pytest.approx([10_000 + n * STEP for n in totals], rel=1e-6)
    assert sum(
        float(part.distances_m.sum()) for part in parts if part.distances_m is not None
    ) == pytest.approx(3 * STEP, rel=1e-6)
    inside = [one for part in parts for one in part.fence_ids]
    assert inside == [(), (), (9,), (9,), (9, 4), (4,), (4,)]


def test_a_range_that_begins_in_the_middle_of_a_trip_says_what_the_whole_says() -> None:
    whole = Marker([Ride(MOMENTS[0], MOMENTS[5], 500.0, 5 * STEP)], [], 500.0)
    part = Marker([Ride(MOMENTS[0], MOMENTS[5], 500.0, 5 * STEP, 2 * STEP)], [], 500.0, PLACES[2])
    expected = mark(whole).totals_m[3:]
    found = mark(part, 3, 7).totals_m
    assert found == pytest.approx(expected, rel=1e-6)


def test_the_engine_has_the_last_word_on_a_trip_s_length() -> None:
    """Jumps that the engine did not count are not counted here beyond the trip's own length."""
    places = list(PLACES)
    places[2] = (10.0, 10.0)
    marker = Marker([Ride(MOMENTS[0], MOMENTS[5], 0.0, 5 * STEP)], [], 0.0)
    totals = list(mark(marker, places=places).totals_m)
    assert max(totals) == pytest.approx(5 * STEP)
    assert totals == sorted(totals)


def test_a_doubted_fix_adds_no_way() -> None:
    places, valid = list(PLACES), list(VALID)
    places[3], valid[3] = (0.0, 0.0), False
    marker = Marker([Ride(MOMENTS[0], None, 0.0, 0.0)], [], 0.0)
    found = mark(marker, places=places, valid=valid).totals_m
    assert found == pytest.approx([0, STEP, 2 * STEP, 2 * STEP, 4 * STEP, 5 * STEP, 6 * STEP], rel=1e-6)


def test_nothing_known_marks_nothing() -> None:
    marks = mark(Marker([], [], 7.0))
    assert marks.distances_m is not None
    assert marks.distances_m.tolist() == [0.0] * 7
    assert marks.totals_m.tolist() == [7.0] * 7
    assert marks.moving.tolist() == [False] * 7
    assert marks.fence_ids == [()] * 7
