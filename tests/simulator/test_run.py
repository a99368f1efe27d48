from __future__ import annotations

import asyncio
import errno
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.servers.ports import free_port
from tests.simulator.peers import (
    Peer,
    hangs_up_at,
    honest,
    peer,
    refuses_login,
    silent_from,
    until,
    wrong_at,
)
from tests.simulator.plans import START, plan
from tracker_protocols.model import Message, Report
from tracker_server.simulator.fleet import Fleet, why
from tracker_server.simulator.identity import unique_id
from tracker_server.simulator.ledger import Ledger
from tracker_server.simulator.plan import Plan
from tracker_server.simulator.report import Report as Result
from tracker_server.simulator.report import make_report


async def run(made: Plan, ledger: Path | None = None) -> Result:
    fleet = Fleet(made, Ledger(ledger) if ledger else None)
    fleet.prepare(lambda _: None)
    await fleet.run()
    return make_report(fleet)


def ledger_lines(devices: int, fixes: int, interval_s: int = 10) -> set[str]:
    start_s = int(START.timestamp())
    return {
        f"{unique_id('35', 1, device)},{start_s + number * interval_s}"
        for device in range(devices)
        for number in range(fixes)
    }


@pytest.mark.parametrize("protocol", ["gt06", "teltonika"])
@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("repeat", [1, 3])
async def test_all_answered(protocol: str, window: int, repeat: int, tmp_path: Path) -> None:
    async with peer(protocol) as one:
        result = await run(
            plan(protocol, one.address, devices=5, fixes=20, window=window, repeat=repeat), tmp_path / "l"
        )
    assert result.ok, result
    assert (result.fixes.planned, result.fixes.answered, result.packets_answered) == (100, 100, 100 * repeat)
    assert one.reports == 100 * repeat
    assert one.connections == result.connections == 5
    lines = (tmp_path / "l").read_text().splitlines()
    assert len(lines) == 100, "one line for a fix, however often its packet was sent"
    assert set(lines) == ledger_lines(5, 20)
    assert result.latency.answers == 100 * repeat
    assert 0 < result.latency.p50_s <= result.latency.p99_s <= result.latency.max_s < 5


async def test_the_bytes_on_the_wire_are_those_of_the_seed() -> None:
    async with peer("gt06") as one:
        await run(plan("gt06", one.address, seed=9))
    async with peer("gt06") as again:
        await run(plan("gt06", again.address, seed=9))
    async with peer("gt06") as other:
        await run(plan("gt06", other.address, seed=10))
    assert len(one.received) == 3
    assert sorted(one.received) == sorted(again.received)
    assert not set(one.received) & set(other.received)


async def test_packets_of_several_fixes(tmp_path: Path) -> None:
    async with peer("teltonika") as one:
        result = await run(plan("teltonika", one.address, devices=2, fixes=25, packet=10), tmp_path / "l")
    assert result.ok
    assert result.packets_sent == 6
    assert set((tmp_path / "l").read_text().splitlines()) == ledger_lines(2, 25)


@pytest.mark.parametrize("protocol", ["gt06", "teltonika"])
async def test_a_wrong_answer_is_found_shown_and_not_in_the_ledger(protocol: str, tmp_path: Path) -> None:
    async with peer(protocol, wrong_at(4)) as one:
        result = await run(plan(protocol, one.address, devices=1, fixes=10), tmp_path / "l")
    assert not result.ok
    assert (result.answers_wrong, result.fixes.wrong, result.fixes.answered) == (1, 1, 9)
    assert len(result.samples) == 1
    assert result.samples[0].startswith(unique_id("35", 1, 0))
    missing = ledger_lines(1, 10) - set((tmp_path / "l").read_text().splitlines())
    assert missing == {f"{unique_id('35', 1, 0)},{int(START.timestamp()) + 30}"}


async def test_answers_in_the_wrong_order_are_wrong() -> None:
    held: list[bytes] = []

    def swaps(_one: Peer, message: Message, answer: bytes) -> bytes | None:
        if not isinstance(message, Report):
            return answer
        held.append(answer)
        return b"" if len(held) % 2 else held.pop() + held.pop()

    async with peer("gt06", swaps) as one:
        result = await run(plan("gt06", one.address, devices=1, fixes=4, window=4))
    assert not result.ok
    assert result.answers_wrong == 4


async def test_an_answer_given_twice_is_told() -> None:
    def twice(one: Peer, message: Message, answer: bytes) -> bytes | None:
        return answer * 2 if isinstance(message, Report) and one.reports == 3 else answer

    async with peer("teltonika", twice) as one:
        result = await run(plan("teltonika", one.address, devices=1, fixes=3, hold_s=0.3))
    assert not result.ok
    assert result.answers_unasked == 1
    assert result.fixes.answered == 3


async def test_a_refused_login_is_told() -> None:
    async with peer("gt06", refuses_login) as one:
        result = await run(plan("gt06", one.address, devices=2))
    assert not result.ok
    assert (result.devices_failed, result.fixes.sent, result.fixes.unsent) == (2, 0, 20)
    assert result.errors["login refused"] == 2


async def test_an_answer_that_never_comes_is_missing() -> None:
    async with peer("gt06", silent_from(4)) as one:
        result = await run(plan("gt06", one.address, devices=1, fixes=10, timeout_s=0.3))
    assert not result.ok
    assert (result.fixes.answered, result.fixes.missing, result.fixes.unsent) == (3, 1, 6)
    assert result.timeouts == 1
    assert result.errors["no answer in time"] == 1


async def test_without_reconnect_a_broken_connection_ends_its_device() -> None:
    async with peer("gt06", hangs_up_at(4)) as one:
        result = await run(plan("gt06", one.address, devices=1, fixes=10))
    assert not result.ok
    assert (result.fixes.answered, result.fixes.missing, result.fixes.unsent) == (3, 1, 6)
    assert (one.connections, result.connections_broken) == (1, 1)


@pytest.mark.parametrize("protocol", ["gt06", "teltonika"])
@pytest.mark.parametrize("window", [1, 5])
async def test_reconnecting_it_sends_again_what_was_not_answered_and_nothing_else(
    protocol: str, window: int, tmp_path: Path
) -> None:
    answered: list[object] = []
    after_a_break: list[object] = []

    def breaks(one: Peer, message: Message, answer: bytes) -> bytes | None:
        if isinstance(message, Report):
            if one.connections > 1:
                after_a_break.append(message.fix)
            if one.reports in {6, 11}:
                return None
            answered.append(message.fix)
        return answer

    async with peer(protocol, breaks) as one:
        made = plan(protocol, one.address, devices=1, fixes=20, window=window, reconnect=True)
        result = await run(made, tmp_path / "l")
    assert result.ok, result
    assert (result.fixes.answered, one.connections, result.connections_broken) == (20, 3, 2)
    assert len(set((tmp_path / "l").read_text().splitlines())) == 20
    if window == 1:
        assert len(answered) == len(set(map(repr, answered))) == 20, "an answered fix was sent again"
        assert result.packets_resent == 2
    else:
        # the peer may have answered into a connection that was about to go; never more than the window
        assert 2 <= result.packets_resent <= 2 * window
    assert len(after_a_break) <= 15 + result.packets_resent


async def test_reconnecting_outlives_a_timeout_and_latency_counts_from_the_first_try() -> None:
    def deaf_once(one: Peer, message: Message, answer: bytes) -> bytes | None:
        return b"" if isinstance(message, Report) and one.connections == 1 else answer

    async with peer("gt06", deaf_once) as one:
        result = await run(plan("gt06", one.address, devices=1, fixes=3, timeout_s=0.3, reconnect=True))
    assert result.ok
    assert result.timeouts == 1
    assert result.latency.max_s > 0.3


async def test_nobody_there() -> None:
    port = free_port()
    result = await run(plan("gt06", ("127.0.0.1", port), devices=2))
    assert not result.ok
    assert result.devices_failed == 2
    assert result.errors["cannot connect: Connection refused"] == 2


async def test_a_reconnecting_device_gives_up_in_time() -> None:
    port = free_port()
    begun = asyncio.get_running_loop().time()
    result = await run(plan("gt06", ("127.0.0.1", port), devices=1, reconnect=True, give_up_s=0.5))
    assert asyncio.get_running_loop().time() - begun < 5
    assert not result.ok
    assert result.errors["no progress for 0.5 s"] == 1
    assert result.errors["cannot connect: Connection refused"] > 1


@pytest.mark.parametrize(("rate", "packet"), [(200.0, 1), (2_000.0, 10)])
async def test_an_open_loop_keeps_its_rate(rate: float, packet: int) -> None:
    async with peer("teltonika") as one:
        fixes = int(rate * 1.5 / 5)
        result = await run(plan("teltonika", one.address, devices=5, fixes=fixes, rate=rate, packet=packet))
    assert result.ok
    assert rate / 2 < result.sent_per_s < rate * 1.05  # a busy machine makes it later, and never faster


async def test_in_an_open_loop_a_stall_is_seen_by_all_that_were_due_meanwhile() -> None:
    stall_s = 0.6
    stalled: set[Peer] = set()

    def stalls(one: Peer, message: Message, answer: bytes) -> bytes | None:
        if isinstance(message, Report) and one.reports == 20 and one not in stalled:
            stalled.add(one)
            asyncio.get_running_loop().call_later(stall_s, resumed.set)
        return answer

    resumed = asyncio.Event()

    class Stalling(Peer):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            slow = asyncio.StreamReader()
            pump = asyncio.ensure_future(self._pump(reader, slow))
            await super().serve(slow, writer)
            await pump

        async def _pump(self, reader: asyncio.StreamReader, slow: asyncio.StreamReader) -> None:
            while data := await reader.read(65_536):
                slow.feed_data(data)
                await asyncio.sleep(0)
                if stalled and not resumed.is_set():
                    await resumed.wait()
            slow.feed_eof()

    one = Stalling("gt06", stalls)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.address = server.sockets[0].getsockname()[:2]
    result = await run(plan("gt06", one.address, devices=1, fixes=200, rate=100.0))
    server.close()
    await server.wait_closed()
    assert result.ok
    # 60 of the 200 packets fell due during the stall; a closed loop would have counted one slow answer
    assert result.latency.p90_s > stall_s / 4
    assert result.latency.max_s == pytest.approx(stall_s, rel=0.3)


async def test_a_language_without_answers_is_read_to_its_end() -> None:
    async with peer("t55") as one:
        result = await run(plan("t55", one.address, devices=3, fixes=50))
        assert one.reports == 150
    assert result.ok
    assert (result.fixes.answered, result.fixes.unanswerable, result.fixes.missing) == (0, 150, 0)


async def test_connect_only_and_hold() -> None:
    async with peer("gt06") as one:
        begun = asyncio.get_running_loop().time()
        result = await run(plan("gt06", one.address, devices=4, fixes=0, hold_s=0.4))
        assert asyncio.get_running_loop().time() - begun >= 0.4
    assert result.ok
    assert (one.connections, one.reports) == (4, 0)


async def test_stopped_early_it_tells_so() -> None:
    async with peer("gt06") as one:
        fleet = Fleet(plan("gt06", one.address, devices=1, fixes=1_000, rate=10.0))
        fleet.prepare(lambda _: None)
        running = asyncio.ensure_future(fleet.run())
        await until(lambda: one.reports)
        fleet.stop()
        await asyncio.wait_for(running, 5)
    result = make_report(fleet)
    assert result.interrupted
    assert not result.ok
    assert result.fixes.unsent > 900


async def test_the_ledger_is_on_disk_while_the_run_goes_on(tmp_path: Path) -> None:
    async with peer("gt06", honest) as one:
        fleet = Fleet(plan("gt06", one.address, devices=1, fixes=100, rate=20.0), Ledger(tmp_path / "l"))
        fleet.prepare(lambda _: None)
        running = asyncio.ensure_future(fleet.run())
        await until(lambda: fleet.score.fixes_answered >= 5)
        counted = fleet.score.fixes_answered
        await asyncio.sleep(0.2)  # the promise under test is a time: within a fifth of a second
        lines = (tmp_path / "l").read_text().splitlines()
        assert len(lines) >= counted
        assert set(lines) <= ledger_lines(1, 100)
        fleet.stop()
        await running


@pytest.mark.parametrize("settings", [{}, {"window": 3}])
async def test_more_than_memory_holds_is_made_ready_on_the_way(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tracker_server.simulator.script.BYTES_MAX", 0)
    async with peer("gt06", hangs_up_at(17, 90)) as one:
        made = plan("gt06", one.address, devices=2, fixes=60, reconnect=True, **settings)
        result = await run(made, tmp_path / "l")
    assert result.ok
    assert result.prepared_in_run_s > 0
    assert set((tmp_path / "l").read_text().splitlines()) == ledger_lines(2, 60)


async def test_a_ledger_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l")
    os.close(ledger._file)
    ledger._file = os.open("/dev/full", os.O_WRONLY)
    async with peer("gt06") as one:
        fleet = Fleet(plan("gt06", one.address), ledger)
        fleet.prepare(lambda _: None)
        with pytest.raises(OSError, match="No space left"):  # noqa: PT012
            try:
                await fleet.run()
            except* OSError as group:
                raise group.exceptions[0] from None


async def test_who_is_let_in_late_calls_until_he_is() -> None:
    """One whose first call was in vain while others were let in has to call again like them."""
    one = Peer("gt06", honest)
    with socket.create_server(
        ("127.0.0.1", 0), backlog=1
    ) as door:  # holds two callers, and the rest knock in vain
        fleet = Fleet(
            plan("gt06", door.getsockname(), devices=8, timeout_s=1.0, reconnect=True, give_up_s=300.0)
        )
        fleet.prepare(lambda _: None)
        running = asyncio.create_task(fleet.run())
        await until(lambda: fleet.score.errors["cannot connect: no answer within 1 s"] >= 4, 60.0)
        server = await asyncio.start_server(one.serve, sock=door)
        await asyncio.wait_for(running, 120.0)
        server.close()
        await server.wait_closed()
    result = make_report(fleet)
    assert result.ok, result
    assert result.fixes.answered == 80


def test_who_gave_up_calling_is_told() -> None:
    assert why(TimeoutError(), 5.0) == "no answer within 5 s"
    assert why(OSError(errno.ETIMEDOUT, "Connect call failed"), 5.0) == "Connection timed out"
    assert (
        why(OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), 5.0) == "Connection refused"
    )
