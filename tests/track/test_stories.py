"""Hand-made days, and to the second what has to be found in them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from tests.track.world import (
    at,
    disc,
    drive,
    events_only,
    fix,
    gate,
    square,
    stand,
    story,
    told,
)
from tracker_server.track.engine import step
from tracker_server.track.fences.index import EMPTY
from tracker_server.track.observation import Observation
from tracker_server.track.replay import run
from tracker_server.track.settings import Maintenance, MaintenanceKind, OdometerSource, TrackSettings
from tracker_server.track.state import State

DEFAULTS = TrackSettings()
ROUTE = [*stand(0, 600, at(0)), *drive(600, 1200, 0, 20.0), *stand(1200, 1800, at(12_000))]


def test_a_ride_between_two_stops() -> None:
    assert story(ROUTE) == [
        "0-600 stop",
        "600-1200 trip 12.0 km",
        "610 deviceMoving",
        "1200 deviceStopped",
        "1200-… stop",
    ]


def test_a_traffic_light_is_no_stop_and_a_jam_is_part_of_the_ride() -> None:
    light = [*drive(600, 900, 0, 20.0), *stand(900, 1020, at(6000)), *drive(1020, 1320, 6000, 20.0)]
    jam = [fix(1320 + 10 * n, at(12_000 + 5 * n), 0.5) for n in range(60)]
    assert story([*stand(0, 600, at(0)), *light, *jam, *stand(1920, 2400, at(12_300))]) == [
        "0-600 stop",
        "600-1920 trip 12.3 km",
        "610 deviceMoving",
        "1920 deviceStopped",
        "1920-… stop",
    ]


def test_ignition_off_ends_the_ride_at_once() -> None:
    day = [
        *stand(0, 300, at(0), ignition=False),
        told(300, ignition=True),
        *drive(310, 610, 0, 20.0, ignition=True),
        fix(610, at(6000), 0.0, ignition=False),
    ]
    assert story(day) == [
        "0-310 stop",
        "300 ignitionOn",
        "310-610 trip 6.0 km",
        "320 deviceMoving",
        "610 deviceStopped",
        "610 ignitionOff",
        "610-… stop",
    ]


def test_an_ignition_wire_that_is_never_on_stops_nothing() -> None:
    light = [*drive(600, 900, 0, 20.0), *stand(900, 1020, at(6000)), *drive(1020, 1320, 6000, 20.0)]
    day = [*stand(0, 600, at(0)), *light]
    off = [fix(s.at_us / 1e6, (s.latitude or 0, s.longitude or 0), s.speed_mps, ignition=False) for s in day]
    assert [x for x in story(off) if "tow" not in x] == story(day)


def test_no_speed_is_told() -> None:
    day = [
        *[fix(t, at(0)) for t in range(0, 600, 30)],
        *[fix(t, at(15.0 * (t - 600))) for t in range(600, 1200, 30)],
        *[fix(t, at(9000)) for t in range(1200, 1800, 30)],
    ]
    assert story(day) == [
        "0-600 stop",
        "600-1230 trip 9.0 km",
        "630 deviceMoving",
        "1230 deviceStopped",
        "1230-… stop",
    ]


def test_an_hourly_tracker_moves_between_two_reports() -> None:
    day = [fix(3600 * n, at(0 if n < 4 else 5000), 0.0) for n in range(8)]
    assert story(day) == [
        "0-10800 stop",
        "10800-14400 trip 5.0 km",
        "14400 deviceMoving",
        "14400 deviceStopped",
        "14400-… stop",
    ]


def test_silence_ends_a_ride_where_it_began() -> None:
    day = [*stand(0, 300, at(0)), *drive(300, 900, 0, 20.0), *drive(9000, 9600, 12_100, 20.0)]
    assert story(day) == [
        "0-300 stop",
        "300-890 trip 11.8 km",
        "310 deviceMoving",
        "890 deviceStopped",
        "890-9000 stop",
        "9000 deviceMoving",
        "9000-… trip 11.8 km",
    ]


def test_what_was_driven_in_a_silence_is_on_the_odometer_but_not_shipped_ways() -> None:
    driven = [*stand(0, 300, at(0)), *stand(10_000, 10_300, at(50_000)), *drive(10_300, 10_900, 50_000, 20.0)]
    shipped = [fix(0, at(0), 0.0), *[fix(200_000 + 10 * n, at(50_000 + 200 * n), 20.0) for n in range(10)]]

    assert run(driven, TrackSettings(), EMPTY).state.totals.odometer_mm == pytest.approx(61.8e6, rel=0.005)
    assert run(shipped, TrackSettings(), EMPTY).state.totals.odometer_mm == pytest.approx(1.8e6, rel=0.005)


def test_moved_across_the_yard_is_no_ride() -> None:
    assert story([*stand(0, 600, at(0)), *stand(600, 1800, at(120)), *stand(1800, 2400, at(5))]) == [
        "0-… stop"
    ]


def test_towed_away_with_ignition_off() -> None:
    day = [*stand(0, 600, at(0), ignition=False), *drive(600, 900, 0, 10.0, ignition=False)]
    assert story(day) == ["0-600 stop", "600-… trip 2.9 km", "610 alarm tow", "610 deviceMoving"]


# ------------------------------------------------------------------------------------------------------ fences


def test_enter_exit_visit() -> None:
    fences = [disc(1, 6000, 500)]
    assert [line for line in story(ROUTE, fences) if "fence" in line] == [
        "880 geofenceEnter fence 1",
        "880-930 visit fence 1",
        "930 geofenceExit fence 1",
    ]


def test_the_first_fix_inside_is_an_enter_and_the_visit_is_open() -> None:
    assert story([fix(5, at(0), 0.0)], [disc(1, 0, 300)]) == ["5 geofenceEnter fence 1", "5-… visit fence 1"]


def test_a_side_is_timed_at_the_first_fix_of_the_run_that_was_confirmed() -> None:
    fences = [square(1, 0, -500, 1000)]
    north = [-200, -90, 10, 20, 25, 140, 300, 500, 990, 1010, 1020, 1200, 1400]
    day = [fix(10 * n, at(metres), 11.0) for n, metres in enumerate(north)]
    assert [line for line in story(day, fences) if "fence" in line] == [
        "20 geofenceEnter fence 1",
        "20-90 visit fence 1",
        "90 geofenceExit fence 1",
    ]


def test_a_run_that_turns_back_unconfirmed_is_nothing() -> None:
    fences = [square(1, 0, -500, 1000)]
    north = [-300, -90, 10, 25, -10, -200, -400]
    day = [fix(10 * n, at(metres), 11.0) for n, metres in enumerate(north)]
    assert not [line for line in story(day, fences) if "fence" in line]


def test_a_vague_fix_confirms_only_further_in() -> None:
    fences = [square(1, 0, -500, 1000)]
    north = [-300, -150, 50, 60, 300, 500]
    vague = [fix(10 * n, at(metres), 11.0, accuracy_m=30.0) for n, metres in enumerate(north[:4])]
    assert not [line for line in story(vague, fences) if "fence" in line]
    sharp = [*vague, *(fix(40 + 10 * n, at(metres), 11.0) for n, metres in enumerate(north[4:]))]
    assert "20 geofenceEnter fence 1" in story(sharp, fences)


def test_driven_through_between_two_fixes() -> None:
    fences = [gate(1, 3100, 40), gate(2, 3000, 40)]  # a fix falls on the second one's edge
    assert [line for line in story(ROUTE, fences) if "fence 1" in line] == ["760 geofenceCrossed fence 1"]


def test_nobody_knows_the_way_through_a_silence() -> None:
    day = [fix(0, at(0), 10.0), fix(400, at(6000), 10.0)]
    assert not [line for line in story(day, [gate(1, 3100, 40)]) if "fence" in line]


def test_an_absurd_fix_does_not_hide_a_crossing() -> None:
    day = sorted([*ROUTE, fix(755, at(400_000), 20.0)], key=lambda seen: seen.at_us)
    assert [line for line in story(day, [gate(1, 3100, 40)]) if "fence" in line] == [
        "760 geofenceCrossed fence 1"
    ]


def test_dwelling_is_told_once_and_dated_when_it_was_reached() -> None:
    fences = [disc(1, 0, 300, dwell_s=90.0)]
    lines = [line for line in story(ROUTE, fences) if "fence" in line]
    assert lines == [
        "0 geofenceEnter fence 1",
        "0-620 visit fence 1",
        "90 geofenceDwell fence 1",
        "620 geofenceExit fence 1",
    ]


def test_a_fence_drawn_later_and_removed_later() -> None:
    fences = [disc(1, 0, 300, since_us=100_000_000, until_us=200_000_000)]
    assert [line for line in story(stand(0, 400, at(0)), fences) if "fence" in line] == [
        "100 geofenceEnter fence 1",
        "100-200 visit fence 1",
    ]


def test_only_the_fences_that_are_assigned() -> None:
    fences = [disc(1, 0, 300), disc(2, 0, 300), gate(3, 3100, 40)]
    assigned = TrackSettings(fence_ids=frozenset({2}))
    lines = story(ROUTE, fences, assigned)
    assert {line.split()[-1] for line in lines if "fence" in line} == {"2"}


# ----------------------------------------------------------------------------------------------- noise and lies


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("offset_m", [0, 12, -12])
def test_a_parked_day_of_noise_at_a_fences_edge_is_silent(seed: int, offset_m: int) -> None:
    rng = random.Random(seed)
    day = [
        fix(600 + 10 * n, at(offset_m + rng.gauss(0, 10), rng.gauss(0, 10)), max(0.0, rng.gauss(0.2, 0.3)))
        for n in range(8640)
    ]
    # It stands 100 m outside before, so that nothing is open at the edge.
    day = [*[fix(10 * n, at(-100.0), 0.0) for n in range(60)], *day]
    fences = [square(1, 0, -5000, 10_000)]
    lines = events_only(story(day, fences))
    assert not [line for line in lines if "fence" not in line], "standing is no motion"
    assert len(lines) <= 1, "where it stands inside, it may be told once that it entered"
    if offset_m <= 0:
        assert not lines


def wandering_day(seed: int, lasting_s: float) -> list[Observation]:
    """Parked at a fence's edge, by a receiver whose error of 10 m takes so long to become another."""
    rng = random.Random(seed)
    kept = math.exp(-10 / lasting_s)
    fresh_m = 10 * math.sqrt(1 - kept * kept)
    north, east = rng.gauss(0, 10), rng.gauss(0, 10)
    day = [fix(10 * n, at(-100.0), 0.0) for n in range(60)]
    for n in range(60, 8640):
        north, east = north * kept + rng.gauss(0, fresh_m), east * kept + rng.gauss(0, fresh_m)
        day.append(fix(10 * n, at(north, east), 0.0))
    return day


@pytest.mark.parametrize(("seed", "lasting_s"), [(3, 60.0), (2, 120.0), (8, 300.0), (12, 300.0)])
def test_a_receiver_that_wanders_for_minutes_crosses_no_edge(seed: int, lasting_s: float) -> None:
    day, fences = wandering_day(seed, lasting_s), [square(1, 0, -5000, 10_000)]
    assert not events_only(story(day, fences))
    at_once = TrackSettings(rest_confirm_s=0)
    assert events_only(story(day, fences, at_once)), "three fixes in a row alone would have told something"


def test_a_parked_day_adds_nothing_to_the_odometer() -> None:

    rng = random.Random(9)
    east = north = 0.0
    day: list[Observation] = []
    for n in range(8640):
        # The place wanders slowly, as between houses, and is noisy on top.
        north, east = north * 0.99 + rng.gauss(0, 2), east * 0.99 + rng.gauss(0, 2)
        day.append(fix(10 * n, at(north + rng.gauss(0, 5), east + rng.gauss(0, 5)), 0.0))
    made = run(day, TrackSettings(), EMPTY)
    assert made.state.totals.odometer_mm == 0
    assert made.found == []


ABSURD = {
    "a jump of 500 km": fix(855, at(500_000), 20.0),
    "two jumps to one place": fix(856, at(500_000), 20.0),
    "null island": fix(855, (0.0, 0.0), 0.0),
    "not valid": fix(855, at(3_000), 0.0, valid=False),
    "kilometres vague": fix(855, at(9_000), 0.0, accuracy_m=4_000.0),
    "from the future": fix(90_000, at(0), 0.0, received_s=855),
    "in the past": fix(-800_000_000, at(700_000), 0.0, received_s=855),
}


@pytest.mark.parametrize("absurd", ABSURD)
@pytest.mark.parametrize("where", ["drive", "stand", "first"])
def test_one_absurd_fix_disturbs_nothing(absurd: str, where: str) -> None:
    fences = [disc(1, 6000, 500), disc(2, 0, 300), gate(3, 3100, 40)]
    lie = ABSURD[absurd]
    shift_us = {"drive": 0, "stand": -500_000_000, "first": -856_000_000}[where]
    if lie.received_us == lie.at_us:
        lie = Observation(
            lie.at_us + shift_us, 7, lie.received_us + shift_us, lie.latitude, lie.longitude, lie.valid,
            lie.speed_mps, None, lie.accuracy_m,
        )  # fmt: skip
    day = sorted([*ROUTE, lie], key=lambda seen: (seen.at_us, seen.digest))
    assert story(day, fences) == story(ROUTE, fences)


def test_three_fixes_that_agree_make_a_jump_true() -> None:
    ferry = [*stand(0, 600, at(0)), *stand(610, 1200, at(300_000))]
    assert story(ferry, [disc(1, 0, 300), disc(2, 300_000, 300)]) == [
        "0 geofenceEnter fence 1",
        "0-590 stop",
        "0-610 visit fence 1",
        "610 geofenceEnter fence 2",
        "610 geofenceExit fence 1",
        "610-… stop",
        "610-… visit fence 2",
    ]


def test_nothing_is_held_for_ever() -> None:
    mad = [fix(10 * n, at(200_000.0 * n), 20.0) for n in range(8)]

    state = step(State(), [*stand(-100, 0, at(0)), *mad], TrackSettings(), EMPTY).state
    assert state.last is not None
    assert state.last.at_us >= 50_000_000


# -------------------------------------------------------------------------------------------------- other events


def test_overspeed_by_fence_tracker_and_account() -> None:
    fences = [disc(1, 6000, 1000, speed_limit_mps=10.0)]
    limits = TrackSettings(device_speed_limit_mps=30.0, account_speed_limit_mps=5.0)
    assert [x for x in story(ROUTE, fences, limits) if "speed" in x] == ["860 deviceOverspeed fence 1"]
    account = TrackSettings(account_speed_limit_mps=15.0)
    assert [x for x in story(ROUTE, (), account) if "speed" in x] == ["600 deviceOverspeed"]
    tolerant = TrackSettings(account_speed_limit_mps=15.0, overspeed_multiplier=1.4)
    assert not [x for x in story(ROUTE, (), tolerant) if "speed" in x]


def test_overspeed_that_has_to_last_is_dated_at_its_beginning() -> None:
    lasting = TrackSettings(device_speed_limit_mps=15.0, overspeed_duration_s=60.0)
    assert [x for x in story(ROUTE, (), lasting) if "speed" in x] == ["600 deviceOverspeed"]
    short = [*stand(0, 600, at(0)), *drive(600, 650, 0, 20.0), *drive(650, 1000, 1000, 10.0)]
    assert not [x for x in story(short, (), lasting) if "speed" in x]


def test_alarms_are_told_once_while_they_last() -> None:
    day = [
        told(0, alarm="sos"),
        told(10, alarm="sos"),
        told(100, alarm="sos"),
        told(200, alarm="lowBattery,removing"),
        *[told(200 + 600 * n, alarm="lowBattery") for n in range(1, 10)],
        told(10_000, alarm="lowBattery"),
        told(10_001, alarm="neverHeardOf"),
    ]
    assert story(day) == [
        "0 alarm sos",
        "100 alarm sos",
        "200 alarm lowBattery",
        "200 alarm removing",
        "10000 alarm lowBattery",
        "10001 alarm neverHeardOf",
    ]


def test_battery_power_jamming_driver() -> None:
    day = [
        told(0, batteryLevel=40, power=12.6, driverUniqueId="A1"),
        told(60, batteryLevel=20, power=9.0, jamming=True),  # cranking
        told(120, batteryLevel=25, power=12.6, jamming=1, driverUniqueId="A1"),
        told(180, batteryLevel=19, power=11.2, driverUniqueId="B2"),
        told(240, batteryLevel=31, power=11.2, jamming=False),
        told(300, batteryLevel=15, power=11.1),
        told(4000, batteryLevel=31, power=0.0),
        told(4060, batteryLevel=12, power=0.0),
        told(4120, power=12.8),
    ]
    assert story(day) == [
        "0 driverChanged",
        "60 alarm jamming",
        "60 alarm lowBattery",
        "180 driverChanged",
        "300 alarm lowPower",
        "4060 alarm lowBattery",
        "4060 alarm powerCut",
        "4120 alarm powerRestored",
    ]


def test_fuel_is_stolen_refuelled_burnt_and_sloshes() -> None:
    rng = random.Random(2)
    level, day = 80.0, list[Observation]()
    for n in range(400):
        level -= 0.05  # an engine burns 18 l in an hour
        level += {150: -25.0, 300: 40.0}.get(n, 0.0)
        wild = rng.choice([-30, 30]) if n % 37 == 20 else 0.0
        day.append(told(60 * n, fuel=level + rng.gauss(0, 2) + wild, ignition=True))
    settings = TrackSettings(fuel_use_per_minute=0.5)
    assert story(day, (), settings) == ["9000 deviceFuelDrop", "18000 deviceFuelIncrease"]
    level_day = [told(60 * n, fuelLevel=70 if n < 20 else 40) for n in range(40)]
    assert story(level_day) == ["1200 deviceFuelDrop"]


def test_harsh_driving_from_speeds() -> None:
    speeds = [10, 10, 15, 15, 15, 9, 9, 9, 9]
    day = [fix(n, at(10 * n), float(speed), course_deg=0.0) for n, speed in enumerate(speeds)]
    day += [fix(100 + n, at(100, 15 * n), 15.0, course_deg=40.0 * n) for n in range(2)]
    assert events_only(story(day)) == [
        "2 alarm hardAcceleration",
        "5 alarm hardBraking",
        "101 alarm hardCornering",
    ]
    off = TrackSettings(hard_acceleration_mps2=None, hard_braking_mps2=None, hard_cornering_mps2=None)
    assert events_only(story(day, (), off)) == []
    sparse = [fix(10 * n, at(10 * n), float(speed)) for n, speed in enumerate(speeds)]
    assert events_only(story(sparse)) == []


def test_maintenance_by_distance_hours_and_date() -> None:
    plans = (
        Maintenance(1, MaintenanceKind.DISTANCE, 4_000.0, 4_000.0),
        Maintenance(2, MaintenanceKind.HOURS, 0.1),
        Maintenance(3, MaintenanceKind.DATE, 1000e6),
        Maintenance(4, MaintenanceKind.DISTANCE, 104_000.0, before=100_000.0),
    )
    day = [*stand(0, 600, at(0), ignition=False), *drive(600, 1200, 0, 20.0, ignition=True)]
    lines = [x for x in story(day, (), TrackSettings(maintenance=plans)) if "maintenance" in x]
    assert lines == [
        "800 maintenance",
        "800 maintenance",
        "960 maintenance",
        "1000 maintenance",
        "1000 maintenance",
    ]


def test_the_devices_own_odometer_is_believed_when_it_agrees() -> None:

    def total_m(readings: Sequence[float | None], settings: TrackSettings = DEFAULTS) -> float:
        day = drive(0, 10 * len(readings), 0, 20.0)
        day = [
            seen if value is None else fix(seen.at_us / 1e6, at(200.0 * n), 20.0, odometer=value)
            for n, (seen, value) in enumerate(zip(day, readings, strict=True))
        ]
        return run([*stand(-600, 0, at(0)), *day], settings, EMPTY).state.totals.odometer_mm / 1000

    by_fixes = total_m([None] * 100)
    assert by_fixes == pytest.approx(19_800, rel=0.003)
    curvy = [50_000 + 210.0 * n for n in range(100)]  # roads between the fixes are not straight
    assert by_fixes + 200 < total_m(curvy) < 210 * 99 + 1
    assert total_m([7.0 * n for n in range(100)]) == pytest.approx(by_fixes, abs=1)  # miles, or nonsense
    reset = [50_000 + 200.0 * n if n < 50 else 200.0 * (n - 50) for n in range(100)]
    assert total_m(reset) == pytest.approx(by_fixes, rel=0.02)
    stuck = [*curvy[:30], *[curvy[30]] * 70]
    assert total_m(stuck) == pytest.approx(31 * 205, rel=0.05)  # 14 km without a count: it may be on a ferry
    gnss = TrackSettings(odometer_source=OdometerSource.GNSS)
    assert total_m(curvy, gnss) == pytest.approx(by_fixes, abs=1)
    device = TrackSettings(odometer_source=OdometerSource.DEVICE)
    assert total_m(curvy, device) == pytest.approx(210 * 99, abs=1)


def test_engine_hours_from_ignition_from_the_device_from_motion() -> None:

    def hours_s(day: list[Observation]) -> float:
        return run(day, TrackSettings(), EMPTY).state.totals.engine_us / 1e6

    assert hours_s([told(0, ignition=True), told(600), told(900, ignition=False), told(5000)]) == 900
    assert hours_s([told(0, ignition=True), told(9000, ignition=False)]) == 0, "nobody knows what was between"
    assert hours_s([told(600 * n, hours=1e6 + 300_000 * n, ignition=True) for n in range(10)]) == 2700
    assert hours_s([told(0, hours=5e9), told(60, hours=0), told(120, hours=60_000)]) == 60
    assert hours_s(ROUTE) == pytest.approx(600, abs=30)
