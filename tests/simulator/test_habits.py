from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.plans import plan
from tests.simulator.test_script import packet, whole
from tracker_protocols.model import Fix
from tracker_server.simulator.gpx import GpxError, read_tracks
from tracker_server.simulator.habits import Habits
from tracker_server.simulator.plan import Plan, PlanError
from tracker_server.simulator.receiver import Receiver, metres, turned_deg

GPX = """<?xml version="1.0"?>
<gpx version="1.1" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>
<trkpt lat="52.0" lon="21.0"><time>2024-01-01T08:00:00Z</time></trkpt>
<trkpt lat="52.0" lon="21.0"><time>2024-01-01T08:00:00Z</time></trkpt>
<trkpt lat="52.01" lon="21.0"><time>2024-01-01T08:01:40Z</time></trkpt>
<trkpt lat="52.01" lon="21.02"><time>2024-01-01T08:03:20Z</time></trkpt>
</trkseg></trk></gpx>"""


def with_habits(
    fixes: int = 400, packet: int = 1, protocol: str = "teltonika", interval_s: int = 10, **habits: Any
) -> Plan:
    made = Habits(**habits)
    return plan(
        protocol, fixes=fixes, packet=packet, interval_s=interval_s, reconnect=made.breaks, habits=made
    )


def fixes_of(number: int, made: Plan) -> list[Fix]:
    return list(islice(Receiver(made, number), made.fixes))


def gaps_s(fixes: list[Fix]) -> list[float]:
    return [(other.fixed_at - one.fixed_at).total_seconds() for one, other in pairwise(fixes)]


def test_parked_it_reports_seldom() -> None:
    gaps = gaps_s(fixes_of(1, with_habits(parked_s=120)))
    assert (min(gaps), max(gaps)) == (10.0, 120.0)
    assert sum(gap in {10.0, 120.0} for gap in gaps) > 0.9 * len(gaps), "else it has just left or arrived"
    assert gaps_s(fixes_of(1, with_habits())) == [10.0] * 399


def test_it_reports_after_a_distance_and_after_a_turn() -> None:
    by_distance = fixes_of(0, with_habits(interval_s=600, distance_m=300.0))
    reached = [
        metres(one, other)
        for one, other in pairwise(by_distance)
        if other.fixed_at.timestamp() - one.fixed_at.timestamp() < 600
    ]
    assert len(reached) > 300
    assert all(300 <= metre < 360 for metre in reached), "at most a second's way further than asked"
    by_turn = fixes_of(0, with_habits(interval_s=600, turn_deg=45.0))
    turns = [turned_deg(one, other) for one, other in pairwise(by_turn)]
    assert sum(turn >= 45 for turn in turns) > 300


def test_a_tunnel_is_told_as_no_valid_fix_at_the_last_place() -> None:
    fixes = fixes_of(0, with_habits(2_000, tunnel_km=5.0))
    blind = [n for n, fix in enumerate(fixes) if not fix.valid]
    assert 20 < len(blind) < 1_000
    for n in blind:
        assert (fixes[n].latitude, fixes[n].longitude) == (fixes[n - 1].latitude, fixes[n - 1].longitude)


def test_after_parking_it_starts_cold() -> None:
    fixes = fixes_of(2, with_habits(6_000, cold_start_s=40))
    blind = [n for n, fix in enumerate(fixes) if not fix.valid]
    assert blind
    assert len(blind) % 4 == 0, "forty seconds each time"


def test_parked_it_drifts() -> None:
    still, drifting = (fixes_of(1, with_habits(60, interval_s=1, drift_m=drift)) for drift in (0.0, 200.0))
    assert max(metres(drifting[0], fix) for fix in drifting) > 3 * max(metres(still[0], fix) for fix in still)


def test_noise_is_as_told() -> None:
    exact = fixes_of(1, with_habits(20, noise_m=0.0))
    assert len({(fix.latitude, fix.longitude) for fix in exact if not fix.speed_mps}) == 1


def test_a_clock_jumps_and_comes_back() -> None:
    gaps = gaps_s(fixes_of(0, with_habits(100, jump_every=50, jump_s=-3_600)))
    assert [n for n, gap in enumerate(gaps, 1) if gap != 10] == [40, 50, 90]
    assert (gaps[39], gaps[49]) == (-3_590.0, 3_610.0)


@pytest.mark.parametrize("newest_first", [False, True])
def test_a_memory_is_emptied_in_order(*, newest_first: bool) -> None:
    made = with_habits(48, packet=3, offline_after=4, offline_packets=4, newest_first=newest_first)
    script = whole(made)
    steps = [other - one for one, other in pairwise(script.times)]
    back = [n for n, step in enumerate(steps, 1) if step < 0]
    assert sorted(script.times) == [script.times[0] + 10 * n for n in range(48)]
    assert back == ([*range(13, 24), *range(37, 48)] if newest_first else [])


def test_what_was_kept_is_told_as_kept() -> None:
    script = whole(with_habits(8, protocol="gt06", offline_after=2, offline_packets=2))
    archived = [packet(script, n)[0][-7] for n in range(8)]
    assert archived == [0, 0, 1, 1, 0, 0, 1, 1]


@pytest.mark.parametrize("protocol", ["gt06", "teltonika", "osmand", "h02"])
def test_the_same_seed_gives_the_same_bytes_with_all_habits(protocol: str) -> None:
    habits: dict[str, Any] = {
        "parked_s": 60, "turn_deg": 20.0, "distance_m": 200.0, "tunnel_km": 2.0, "cold_start_s": 20, "drift_m": 9.0,
        "jump_every": 30, "jump_s": 60, "offline_after": 9, "offline_packets": 3, "newest_first": True,
    }  # fmt: skip
    one, again = (whole(with_habits(100, protocol=protocol, **habits)) for _ in range(2))
    assert one.packets == again.packets
    assert one.times == again.times


# ---------------------------------------------------------------------------------- tracks from files


def test_a_track_is_driven_there_and_back(tmp_path: Path) -> None:
    file = tmp_path / "way.gpx"
    file.write_text(GPX)
    (track,) = read_tracks(file)
    assert track.seconds == [0.0, 100.0, 200.0]
    assert track.at(50) == pytest.approx((52.005, 21.0, 11.12, 0.0), abs=0.01)
    assert track.at(150)[3] == pytest.approx(90, abs=0.1)
    fixes = fixes_of(0, with_habits(400, gpx=(file,), noise_m=0.0))
    assert all(
        51.99999 <= fix.latitude <= 52.01001 and 20.99999 <= fix.longitude <= 21.02001 for fix in fixes
    )
    courses = {round(fix.course_deg or 0) for fix in fixes if fix.speed_mps}
    assert courses == {0, 90, 180, 270}
    assert any(not fix.speed_mps for fix in fixes), "it stands at the ends"
    assert fixes[:20] != fixes_of(1, with_habits(20, gpx=(file,), noise_m=0.0)), "two devices in one place"


def test_a_route_without_times_is_driven_at_a_usual_speed(tmp_path: Path) -> None:
    file = tmp_path / "route.gpx"
    file.write_text('<gpx><rte><rtept lat="0" lon="0"/><rtept lat="0.1" lon="0"/></rte></gpx>')
    assert read_tracks(file)[0].seconds[-1] == pytest.approx(11_119.5 / 13.9, rel=0.001)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "cannot be read: No such file"),
        ("<gpx>", "is no GPX file"),
        ("<gpx/>", "has no track (trk) or route (rte)"),
        ('<gpx><trk><trkpt lat="1" lon="2"/></trk></gpx>', "has no track"),
        ('<gpx><trk><trkpt lat="x" lon="2"/></trk></gpx>', "point 1: could not convert"),
        ('<gpx><trk><trkpt lat="91" lon="2"/></trk></gpx>', "point 1: 91.0, 2.0 is no place on Earth"),
        (
            '<gpx><trk><trkpt lat="1" lon="2"><time>noon</time></trkpt></trk></gpx>',
            "point 1: Invalid isoformat",
        ),
        ('<!DOCTYPE g [<!ENTITY a "b">]><gpx>&a;</gpx>', "is no GPX file"),
    ],
)
def test_a_file_that_cannot_be_driven_says_why(tmp_path: Path, text: str | None, says: str) -> None:
    file = tmp_path / "bad.gpx"
    if text is not None:
        file.write_text(text)
    with pytest.raises(GpxError) as refusal:
        read_tracks(file)
    assert str(refusal.value).startswith(f"gpx: {file}")
    assert says in str(refusal.value)


@pytest.mark.parametrize(
    ("habits", "says"),
    [
        ({"distance_m": -1.0}, "distance_m: -1 is not from 0"),
        ({"slow_s": 0.0}, "slow_s: 0 is not from 0.01"),
        ({"cuts": float("nan")}, "cuts: nan is not from 0 to 1"),
        ({"storms_s": (-1.0,)}, "storms_s: at most 1000 moments, each from 0"),
        ({"jump_s": 60}, "jump_every: needs jump_s beside it"),
        ({"jump_every": 10, "jump_s": 60}, "jump_every: needs jump_s beside it, and more than 10"),
        ({"offline_after": 3}, "offline_after: needs offline_packets beside it"),
        ({"newest_first": True}, "newest_first: needs offline_packets beside it"),
        ({"gpx": (Path("/nowhere"),)}, "gpx: /nowhere cannot be read"),
    ],
)
def test_habits_that_nobody_can_have_name_the_key(habits: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError) as refusal:
        with_habits(**habits)
    assert str(refusal.value).startswith(says)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"window": 2, "habits": Habits(duplicates=0.1)}, "--window and --repeat: leave them out"),
        ({"repeat": 2, "habits": Habits(slow=0.1)}, "--window and --repeat: leave them out"),
        ({"habits": Habits(storms_s=(1.0,))}, "--reconnect: cuts, half_open"),
        (
            {"protocol": "teltonika", "transport": "udp", "reconnect": True, "habits": Habits(cuts=0.1)},
            "--transport: cuts, half_open, nat_s and slow are of connections",
        ),
    ],
)
def test_habits_that_do_not_go_with_the_rest(values: dict[str, Any], says: str) -> None:
    with pytest.raises(PlanError) as refusal:
        plan(**values)
    assert str(refusal.value).startswith(says)
