from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.simulator.plans import NOW, plan
from tracker_server.simulator.fleet import allow_connections
from tracker_server.simulator.plan import PlanError, default_start


@pytest.mark.parametrize(
    ("values", "flag", "cure"),
    [
        ({"devices": 0}, "--devices", "from 1 to"),
        ({"devices": 1_000_001}, "--devices", "from 1 to 1e"),
        ({"fixes": -1}, "--fixes", "0: connect only"),
        ({"packet": 0}, "--packet", "from 1"),
        ({"packet": 2}, "--packet", "from 1 to 1, the most that a packet of gt06 takes"),
        ({"protocol": "teltonika", "packet": 300}, "--packet", "the most that a packet of teltonika takes"),
        ({"window": 0}, "--window", "from 1"),
        ({"repeat": 0}, "--repeat", "from 1"),
        ({"repeat": 1_001}, "--repeat", "from 1 to 1000"),
        ({"interval_s": 0}, "--interval", "seconds"),
        ({"timeout_s": 0.0}, "--timeout", "seconds"),
        ({"timeout_s": float("nan")}, "--timeout", "seconds"),
        ({"give_up_s": 0.0}, "--give-up", "seconds"),
        ({"hold_s": -1.0}, "--hold", "seconds"),
        ({"seed": -1}, "--seed", "from 0"),
        ({"rate": 0.0}, "--rate", "leave it out"),
        ({"rate": float("nan")}, "--rate", "leave it out"),
        ({"rate": 1e8}, "--rate", "at most 1e"),
        ({"prefix": ""}, "--prefix", "1 to 8 digits"),
        ({"prefix": "0123"}, "--prefix", "not 0"),
        ({"prefix": "123456789"}, "--prefix", "1 to 8 digits"),
        ({"prefix": "٣٥"}, "--prefix", "1 to 8 digits"),
        ({"transport": "udp"}, "--transport", "over tcp"),
        ({"protocol": "osmand", "transport": "tcp"}, "--transport", "over http"),
        ({"protocol": "teltonika", "transport": "udp", "window": 2}, "--window", "use more devices"),
        ({"protocol": "t55", "transport": "udp"}, "--rate", "answers nothing over UDP"),
        ({"start": NOW, "fixes": 2, "interval_s": 1}, "--start", "in the future"),
        ({"start": datetime(2000, 1, 1, tzinfo=UTC)}, "--start", "before 2001"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_names_the_flag_and_the_cure(
    values: dict[str, Any], flag: str, cure: str
) -> None:
    with pytest.raises(PlanError) as refusal:
        plan(**values)
    assert str(refusal.value).startswith(f"{flag}: ")
    assert cure in str(refusal.value)


def test_a_last_fix_of_this_very_second_is_not_in_the_future() -> None:
    assert plan(start=NOW - timedelta(seconds=9), fixes=10, interval_s=1).fixes == 10


@pytest.mark.parametrize(("fixes", "interval_s"), [(0, 10), (1, 1), (8_640, 10), (8_641, 10), (10**7, 1)])
def test_by_default_all_lies_before_today_and_stays_the_same_all_day(fixes: int, interval_s: int) -> None:
    morning, evening = datetime(2026, 5, 5, 0, 0, 1, tzinfo=UTC), datetime(2026, 5, 5, 23, 59, 59, tzinfo=UTC)
    start = default_start(fixes, interval_s, morning)
    assert start == default_start(fixes, interval_s, evening)
    end = start + timedelta(seconds=fixes * interval_s)
    assert datetime(2026, 5, 4, tzinfo=UTC) <= end or fixes <= 1
    assert end <= datetime(2026, 5, 5, tzinfo=UTC)


def test_a_fleet_beyond_the_limit_of_open_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 1_024))
    with pytest.raises(PlanError, match=r"--devices: 5000 connections need .*ulimit -Hn"):
        allow_connections(5_000)
