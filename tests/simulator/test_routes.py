from __future__ import annotations

import math
from itertools import islice, pairwise

import pytest

from tests.simulator.plans import START
from tracker_protocols.model import Fix
from tracker_server.simulator.routes import HOME_M_MAX, Journey


def drive(seed: int, number: int, fixes: int, interval_s: int = 10) -> list[Fix]:
    return list(islice(Journey(seed, number, START, interval_s), fixes))


def metres(one: Fix, other: Fix) -> float:
    """Great-circle distance (haversine)."""
    phi, psi = math.radians(one.latitude), math.radians(other.latitude)
    half = math.radians(other.latitude - one.latitude) / 2, math.radians(other.longitude - one.longitude) / 2
    a = math.sin(half[0]) ** 2 + math.cos(phi) * math.cos(psi) * math.sin(half[1]) ** 2
    return 2 * 6_371_000 * math.asin(math.sqrt(a))


def test_the_same_seed_and_number_drive_the_same_way() -> None:
    assert drive(5, 3, 200) == drive(5, 3, 200)
    assert drive(5, 3, 200) != drive(6, 3, 200)
    assert drive(5, 3, 200)[0] != drive(5, 4, 200)[0]


def test_four_devices_cover_the_four_quadrants() -> None:
    quadrants = {
        (fix.latitude > 0, fix.longitude > 0) for number in range(4) for fix in drive(1, number, 100)
    }
    assert len(quadrants) == 4


@pytest.mark.parametrize("number", range(8))
@pytest.mark.parametrize("interval_s", [1, 10, 60])
def test_a_day_is_plausible(number: int, interval_s: int) -> None:
    fixes = drive(11, number, 3_000, interval_s)
    speeds = [fix.speed_mps for fix in fixes if fix.speed_mps is not None]
    assert len(speeds) == len(fixes)
    assert max(speeds) < 40, "faster than 144 km/h"
    assert any(speed == 0 for speed in speeds), "never stands"
    assert any(speed > 8 for speed in speeds), "never drives"
    for one, other in pairwise(fixes):
        assert other.fixed_at.timestamp() - one.fixed_at.timestamp() == interval_s
        travelled = metres(one, other)
        assert other.speed_mps is not None
        assert travelled == pytest.approx(other.speed_mps * interval_s, abs=20 + 0.02 * travelled)
    furthest = max(metres(fixes[0], fix) for fix in fixes)
    assert furthest < 2 * HOME_M_MAX + 20_000


def test_a_parked_vehicle_is_seen_a_few_metres_around_its_place() -> None:
    journey = Journey(1, 1, START, 10)
    standing = [fix for fix in islice(journey, 20) if fix.speed_mps == 0]
    places = {(fix.latitude, fix.longitude) for fix in standing}
    assert len(places) == len(standing) > 5
    assert max(metres(standing[0], fix) for fix in standing) < 25
