from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.simulator.plans import START, plan
from tracker_protocols import ALL
from tracker_protocols.model import Message, Report
from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.wire.decoder import StreamDecoder
from tracker_server.simulator.plan import Plan
from tracker_server.simulator.script import Script, packets_at_once

over_streams = pytest.mark.parametrize(
    "protocol", [p for p in ALL if Transport.TCP in p.transports], ids=lambda p: p.name
)


def whole(made: Plan, number: int = 0) -> Script:
    script = Script(made, number)
    script.prepare(made.packets, 0)
    return script


@pytest.mark.parametrize("protocol", ALL, ids=lambda p: p.name)
def test_the_same_seed_makes_the_same_bytes_and_another_seed_others(protocol: Protocol) -> None:
    one, again, other = (whole(plan(protocol.name, seed=seed), 2) for seed in (4, 4, 5))
    assert (one.unique_id, one.login, one.packets, one.answers) == (
        again.unique_id, again.login, again.packets, again.answers,
    )  # fmt: skip
    assert one.packets != other.packets
    assert one.unique_id != other.unique_id


@pytest.mark.parametrize("protocol", ALL, ids=lambda p: p.name)
@pytest.mark.parametrize("piece", [1, 3, 7, 100])
def test_made_ready_in_pieces_it_is_the_same(protocol: Protocol, piece: int) -> None:
    made = plan(protocol.name, fixes=20)
    all_at_once, in_pieces = whole(made), Script(made, 0)
    for number in range(20):
        if number >= in_pieces.ready:
            in_pieces.prepare(piece, max(0, number - 1))  # the one before is still unanswered
        assert packet(in_pieces, number) == packet(all_at_once, number)
        if number:
            assert packet(in_pieces, number - 1) == packet(all_at_once, number - 1)
    in_pieces.prepare(piece, 20)
    assert in_pieces.ready == 20
    assert in_pieces.packets == []


def packet(script: Script, number: int) -> tuple[bytes, bytes]:
    at = number - script.first
    return script.packets[at], script.answers[at]


@over_streams
def test_a_decoder_reads_each_fix_at_its_time_and_owes_the_answers_of_the_script(protocol: Protocol) -> None:
    packets = min(4, protocol.device.fixes_in_packet_max)
    made = plan(protocol.name, fixes=10, packet=packets, interval_s=7)
    script = whole(made, 1)
    decoder = protocol.decoder()
    assert isinstance(decoder, StreamDecoder)
    messages: list[Message] = []
    for data in (script.login, b"".join(script.packets)):
        messages += [m for frame in decoder.receive_data(data, datetime.now(UTC)) for m in frame.messages]
    reports = [message for message in messages if isinstance(message, Report)]
    assert [report.fix.fixed_at for report in reports if report.fix] == [
        START + timedelta(seconds=7 * number) for number in range(10)
    ]
    assert {report.device or decoder.device for report in reports} == {script.unique_id}
    said = b"".join(message.reply.data for message in messages if message.reply)
    assert said == script.login_answer + b"".join(script.answers)


@pytest.mark.parametrize(
    ("values", "sizes"), [({"packet": 4}, [4, 4, 2]), ({"packet": 17}, [10]), ({}, [1] * 10)]
)
def test_the_last_packet_holds_what_is_left(values: dict[str, Any], sizes: list[int]) -> None:
    script = whole(plan("teltonika", **values))
    assert [int.from_bytes(packet(script, number)[1], "big") for number in range(len(sizes))] == sizes
    assert script.ready == len(sizes)


def test_a_fleet_too_big_for_memory_is_made_ready_in_pieces_and_a_small_one_whole() -> None:
    assert packets_at_once(plan(devices=10, fixes=100)) == 100
    some = packets_at_once(plan(devices=5_000, fixes=100_000, interval_s=1))
    assert 1 < some < 1_000
    assert packets_at_once(plan(devices=1_000_000, fixes=1_000, window=50, interval_s=1)) >= 51
