from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.plans import NOW
from tracker_server.simulator.identity import unique_id
from tracker_server.simulator.plan import Plan, PlanError
from tracker_server.simulator.scenario import plans_of, read_scenario

CHECKOUT = Path(__file__).parents[2]
TWO = """
target = "127.0.0.1"
devices = 10
fixes = 20
rate = 100
[[family]]
protocol = "gt06"
share = 3
[[family]]
protocol = "teltonika"
share = 2
packet = 5
port = 7777
"""


def read(tmp_path: Path, text: str, **flags: Any) -> list[Plan]:
    file = tmp_path / "scenario.toml"
    file.write_text(text)
    return read_scenario(file, flags, NOW)


def test_devices_and_rate_are_shared_out(tmp_path: Path) -> None:
    one, other = read(tmp_path, TWO)
    assert (one.protocol.name, one.devices, one.rate, one.port, one.first) == ("gt06", 6, 60.0, 5023, 0)
    assert (other.protocol.name, other.devices, other.rate, other.port, other.first) == (
        "teltonika", 4, 40.0, 7777, 6,
    )  # fmt: skip
    assert other.packet == 5
    assert one.start == other.start
    names = {
        unique_id(plan.prefix, plan.seed, plan.first + n)
        for plan in (one, other)
        for n in range(plan.devices)
    }
    assert len(names) == 10, "two families share a device"


def test_flags_stand_above_the_file(tmp_path: Path) -> None:
    one, other = read(tmp_path, TWO, devices=50, seed=9, target="localhost", start="2025-05-05T00:00:00Z")
    assert (one.devices, other.devices) == (30, 20)
    assert {one.seed, other.seed} == {9}
    assert {one.host, other.host} == {"localhost"}
    assert one.start == datetime(2025, 5, 5, tzinfo=UTC)


def test_a_start_may_be_a_time_of_toml(tmp_path: Path) -> None:
    (one, _) = read(tmp_path, "start = 2025-05-05T02:00:00+02:00\n" + TWO)
    assert one.start == datetime(2025, 5, 5, tzinfo=UTC)


def test_irregular_reports_lie_before_today_too(tmp_path: Path) -> None:
    (one, _) = read(tmp_path, "parked_s = 3600\n" + TWO)
    assert one.start.timestamp() + 19 * 3600 < NOW.timestamp()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("target = ", "is no TOML"),
        ("target = 'x'", "needs 1 to 100 tables [[family]]"),
        ("family = 3", "needs 1 to 100 tables [[family]]"),
        ("protocol = 'gt06'\n" + TWO, "protocol: stands in a [[family]]"),
        (TWO + "colour = 'red'", "family 2: Object contains unknown field `colour`"),
        (TWO + "fixes = 'many'", "family 2: fixes: Expected `int`, got `str`"),
        (TWO.replace("share = 3", "share = 0"), "family 1: share: 0 is not above 0"),
        (TWO.replace("share = 3", "share = 1e9"), "family 2 (teltonika): share: none of 10 devices is left"),
        (TWO.replace('"gt06"', '"gt07"'), "family 1 (gt07): --protocol: no protocol is named 'gt07'"),
        (TWO.replace("7777", "0"), "family 2 (teltonika): port: 0 is not from 1 to 65535"),
        (TWO.replace('"127.0.0.1"', '"h:5023"'), "family 1 (gt06): target: 'h:5023' is not a host"),
        (TWO.replace('target = "127.0.0.1"', ""), "family 1: target: is missing"),
        (TWO + "cuts = 0.1", "family 2 (teltonika): --reconnect: cuts"),
        (
            "reconnect = true\n" + TWO.replace("rate = 100\n", "") + "hangs_up = true",
            "family 2 (teltonika): --rate: hangs_up needs it",
        ),
        (TWO + "duplicates = 2.0", "family 2 (teltonika): duplicates: 2 is not from 0 to 1"),
    ],
)
def test_a_scenario_that_cannot_be_read_says_where_and_why(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(PlanError) as refusal:
        read(tmp_path, text)
    assert str(refusal.value).startswith("--scenario: ")
    assert says in str(refusal.value)


def test_a_scenario_that_is_not_there() -> None:
    with pytest.raises(PlanError, match="--scenario: /nowhere cannot be read: No such file"):
        read_scenario(Path("/nowhere"), {}, NOW)


@pytest.mark.parametrize(
    ("missing", "flags"), [("protocol", {"target": "x:1"}), ("target", {"protocol": "gt06"})]
)
def test_without_a_scenario_both_flags_are_needed(missing: str, flags: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=f"--{missing}: is missing; say it, or give a --scenario"):
        plans_of(flags, NOW)


@pytest.mark.parametrize(
    "file", sorted((CHECKOUT / "config/scenarios").glob("*.toml")), ids=lambda file: file.stem
)
def test_the_scenarios_that_we_ship_can_be_read(file: Path) -> None:
    plans = read_scenario(file, {}, NOW)
    assert sum(plan.devices for plan in plans) > 1
