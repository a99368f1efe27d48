"""What a scenario does to packets and connections is survived, told, and counted apart from the server's faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.simulator.peers import Peer, peer
from tests.simulator.plans import plan
from tests.simulator.test_run import ledger_lines, run
from tracker_protocols.model import Message, Report
from tracker_server.simulator.habits import Habits
from tracker_server.simulator.plan import Plan
from tracker_server.simulator.report import Report as Result


def troubled(protocol: str, one: Peer, habits: Habits, **values: Any) -> Plan:
    given = {"devices": 4, "fixes": 60, "reconnect": habits.breaks, "habits": habits, **values}
    return plan(protocol, one.address, **given)


def times(one: Peer) -> list[int]:
    return [int(fix.fixed_at.timestamp()) for _, fix in one.fixes if fix]


async def all_is_well(protocol: str, tmp_path: Path, habits: Habits, **values: Any) -> tuple[Peer, Result]:
    async with peer(protocol) as one:
        result = await run(troubled(protocol, one, habits, **values), tmp_path / "l")
    assert result.ok, result
    assert (result.fixes.answered, result.connections_broken) == (240, 0)
    assert sorted((tmp_path / "l").read_text().splitlines()) == sorted(ledger_lines(4, 60))
    return one, result


@pytest.mark.parametrize("protocol", ["gt06", "teltonika"])
async def test_duplicates_are_sent_and_answered_twice(protocol: str, tmp_path: Path) -> None:
    one, result = await all_is_well(protocol, tmp_path, Habits(duplicates=0.25))
    doubled = result.troubles["duplicate"]
    assert 20 < doubled < 120
    assert one.reports == 240 + doubled
    assert result.packets_answered == 240 + doubled
    assert result.latency.answers == 240, "a packet's latency counts once"


@pytest.mark.parametrize("protocol", ["gt06", "teltonika"])
async def test_a_packet_cut_in_the_middle_is_sent_again_whole(protocol: str, tmp_path: Path) -> None:
    one, result = await all_is_well(protocol, tmp_path, Habits(cuts=0.2))
    assert 15 < result.troubles["cut in mid-packet"] < 100
    assert one.reports == 240
    assert one.connections == 4 + result.troubles["cut in mid-packet"]


async def test_a_line_left_half_open_is_followed_by_a_new_one(tmp_path: Path) -> None:
    one, result = await all_is_well("gt06", tmp_path, Habits(half_open=0.2))
    assert 15 < result.troubles["half-open"] < 100
    assert one.connections == 4 + result.troubles["half-open"]


async def test_what_is_silent_for_too_long_is_forgotten_by_nat(tmp_path: Path) -> None:
    _, result = await all_is_well("gt06", tmp_path, Habits(nat_s=0.5), rate=40.0 * 4)
    assert "forgotten by NAT" not in result.troubles, "25 ms of silence are no reason"
    async with peer("gt06") as one:
        result = await run(troubled("gt06", one, Habits(nat_s=0.05), devices=2, fixes=6, rate=8.0))
    assert result.ok
    assert result.troubles["forgotten by NAT"] == 2 * 5


async def test_who_hangs_up_calls_for_each_packet_and_holds_no_line_between(tmp_path: Path) -> None:
    async with peer("gt06") as one:
        habits = Habits(hangs_up=True)
        result = await run(troubled("gt06", one, habits, devices=40, fixes=3, rate=100.0), tmp_path / "l")
    assert result.ok, result
    assert result.connections_broken == 0
    assert one.connections == result.connections > 40, (
        "some are called for two, where this machine stands still"
    )
    assert sorted((tmp_path / "l").read_text().splitlines()) == sorted(ledger_lines(40, 3))


async def test_slow_devices_speak_in_pieces() -> None:
    async with peer("gt06") as one:
        made = troubled("gt06", one, Habits(slow=1.0, slow_s=0.02), fixes=5)
        result = await run(made)
    assert result.ok
    assert result.latency.p50_s > 0.05, "its last piece came 40 ms after its first, and it reads 20 ms later"


@pytest.mark.parametrize("newest_first", [False, True])
async def test_closed_loop_the_line_breaks_where_the_network_was_away(
    *, newest_first: bool, tmp_path: Path
) -> None:
    habits = Habits(offline_after=10, offline_packets=5, newest_first=newest_first)
    one, result = await all_is_well("gt06", tmp_path, habits)
    assert result.troubles == {"offline": 4 * 4}
    assert one.connections == 4 + 16


@asynccontextmanager
async def stalls() -> AsyncGenerator[list[float]]:
    """For how long this loop, and with it the simulator, was not let run: seconds each time, of a hundredth or more."""
    found: list[float] = []

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + 0.01
            await asyncio.sleep(0.01)
            if (late_s := loop.time() - due) >= 0.01:
                found.append(late_s)

    watching = asyncio.create_task(watch())
    try:
        yield found
    finally:
        watching.cancel()


async def test_open_loop_what_was_kept_comes_at_once_when_the_network_is_back() -> None:
    came: list[float] = []

    def clock(_one: Peer, message: Message, answer: bytes) -> bytes | None:
        if isinstance(message, Report):
            came.append(asyncio.get_running_loop().time())
        return answer

    async with peer("gt06", clock) as one, stalls() as stalled_s:
        habits = Habits(offline_after=10, offline_packets=10, newest_first=True)
        result = await run(troubled("gt06", one, habits, devices=1, fixes=40, rate=40.0))
    stood_s = sum(stalled_s)
    assert result.ok
    assert result.troubles == {"offline": 2}
    assert came[19] - came[10] < 0.1 + stood_s, "ten kept reports in a burst"
    assert came[10] - came[9] > 0.2, "after a quarter of a second of silence"
    assert result.latency.max_s < 0.2 + stood_s, "they were due when the network was back"
    kept = times(one)[10:20]
    assert kept == sorted(kept, reverse=True)


async def test_a_storm_breaks_all_at_once(tmp_path: Path) -> None:
    one, result = await all_is_well("gt06", tmp_path, Habits(storms_s=(0.2, 0.4)), rate=300.0)
    assert result.troubles["storm"] == 8
    assert one.connections == 12


async def test_strays_are_no_devices() -> None:
    async with peer("gt06") as one:
        made = troubled("gt06", one, Habits(strays_per_s=100.0), fixes=20, rate=100.0)
        result = await run(made)
    assert result.ok
    assert result.troubles["stray caller"] > 10
    assert one.connections >= 4 + result.troubles["stray caller"] - 1
    assert result.fixes.answered == 80


@pytest.mark.parametrize("habits", [Habits(duplicates=0.3), Habits(storms_s=(0.1,))])
async def test_over_http_and_without_answers_too(habits: Habits) -> None:
    async with peer("t55") as one:
        result = await run(troubled("t55", one, habits, rate=200.0, fixes=20))
        assert result.ok, result
        assert result.fixes.unanswerable == 80
        assert len(set(times(one))) == 20


async def test_the_same_seed_meets_the_same_troubles() -> None:
    habits = Habits(cuts=0.1, half_open=0.1, duplicates=0.1)
    results: list[Result] = []
    received: list[list[bytes]] = []
    for _ in range(2):
        async with peer("gt06") as one:
            results.append(await run(troubled("gt06", one, habits)))
        received.append(sorted(one.received))
    assert received[0] == received[1]
    for what in ("cut in mid-packet", "half-open", "duplicate"):
        assert results[0].troubles[what] == results[1].troubles[what] > 0


async def test_an_answer_that_comes_late_fails_the_run() -> None:
    async with peer("gt06") as one:
        result = await run(plan("gt06", one.address, late_s=0.001, habits=Habits(slow=1.0, slow_s=0.02)))
    assert not result.ok
    assert result.answers_late == 30
