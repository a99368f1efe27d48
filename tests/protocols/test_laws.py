"""The laws that every protocol obeys, over all vectors of all protocols."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tracker_protocols import ALL, BY_NAME
from tracker_protocols.model import Fix, Login, Message, Report, Undecoded
from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.wire.decoder import HttpDecoder, StreamDecoder
from tracker_protocols.wire.device import HttpDevice

from .vectors import (
    HOME,
    RECEIVED_AT,
    Vector,
    all_vectors,
    flat,
    messages_of,
    play,
    stream_decoder,
    stream_vectors,
)

NOISE = b"\x00\xff\x13 noise ~\x02"
vectors = pytest.mark.parametrize("vector", all_vectors(), ids=lambda v: f"{v.protocol.name}: {v.name}")
streams = pytest.mark.parametrize("vector", stream_vectors(), ids=lambda v: f"{v.protocol.name}: {v.name}")
protocols = pytest.mark.parametrize("protocol", ALL, ids=lambda p: p.name)


def agrees(expected: Any, got: Any) -> bool:
    """A vector names only what it cares about; floats agree to nine digits, tables key by key."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(k in got and agrees(v, got[k]) for k, v in expected.items())
    if isinstance(expected, list):
        return len(expected) == len(got) and all(map(agrees, expected, got))
    if isinstance(expected, float) and isinstance(got, int | float) and not isinstance(got, bool):
        return math.isclose(expected, got, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(expected, bool) or isinstance(got, bool):
        return expected is got
    return expected == got


@vectors
def test_whole(vector: Vector) -> None:
    got = [flat(message) for message in play(vector)]
    assert len(got) == len(vector.expect), got
    for expected, row in zip(vector.expect, got, strict=True):
        wrong = {k: (v, row.get(k)) for k, v in expected.items() if not agrees(v, row.get(k))}
        assert not wrong, f"{vector.origin}: (expected, got) of {wrong} in {row}"


@vectors
def test_a_vector_names_its_origin_and_what_it_expects(vector: Vector) -> None:
    assert vector.origin.strip()
    assert sum(map(bool, (vector.hex, vector.ascii, vector.http, vector.datagrams, vector.publish))) == 1
    assert all("kind" in expected for expected in vector.expect)


@streams
def test_one_byte_at_a_time(vector: Vector) -> None:
    decoder = stream_decoder(vector)
    frames = [f for byte in vector.stream for f in decoder.receive_data(bytes([byte]), RECEIVED_AT)]
    assert messages_of(frames) == play(vector)


@streams
def test_every_split_point(vector: Vector) -> None:
    whole = play(vector)
    for at in range(1, len(vector.stream)):
        decoder = stream_decoder(vector)
        frames = decoder.receive_data(vector.stream[:at], RECEIVED_AT)
        frames += decoder.receive_data(vector.stream[at:], RECEIVED_AT)
        assert messages_of(frames) == whole, f"split at {at}"


@streams
def test_noise_before_is_dropped_and_counted(vector: Vector) -> None:
    decoder = stream_decoder(vector)
    noise = NOISE if decoder.framing.resyncs else NOISE + b"\r\n"
    got = messages_of(decoder.receive_data(noise + vector.stream, RECEIVED_AT))
    if decoder.framing.resyncs:
        assert got == play(vector)
        assert decoder.noise_bytes >= len(NOISE)
    else:
        meant = [m for m in got if not isinstance(m, Undecoded)]
        assert meant == [m for m in play(vector) if not isinstance(m, Undecoded)]


@streams
def test_a_flipped_byte_never_raises_and_passes_no_checksum(vector: Vector) -> None:
    whole = play(vector)
    for at in range(len(vector.stream)):
        stream = bytearray(vector.stream)
        stream[at] ^= 0xFF
        got = messages_of(stream_decoder(vector).receive_data(bytes(stream), RECEIVED_AT))
        if vector.protocol.checksum:
            new = [m for m in got if isinstance(m, Report) and m not in whole]
            assert not new, f"byte {at} flipped was believed"


@protocols
def test_garbage_never_raises(protocol: Protocol) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    seeds = [v.stream for v in stream_vectors() if v.protocol is protocol] or [b"{}"]
    for _ in range(300):
        decoder = protocol.decoder()
        base = chance.choice(seeds)
        begin = chance.randrange(len(base))
        data = base[begin : begin + chance.randrange(80)] + chance.randbytes(chance.randrange(60))
        decoder.receive_datagram(data, RECEIVED_AT)
        decoder.receive_publish("some/topic", data, RECEIVED_AT)
        if isinstance(decoder, StreamDecoder):
            decoder.receive_data(data, RECEIVED_AT)
            decoder.receive_data(chance.randbytes(50), RECEIVED_AT)


@protocols
def test_a_frame_that_never_ends_is_given_up_and_the_next_is_read(protocol: Protocol) -> None:
    for vector in [v for v in stream_vectors() if v.protocol is protocol][:3]:
        decoder = stream_decoder(vector)
        half = vector.stream[: max(1, len(vector.stream) // 3)]
        endless = half + b"\x55" * (2 * decoder.framing.size_max)
        for at in range(0, len(endless), 997):
            decoder.receive_data(endless[at : at + 997], RECEIVED_AT)
            assert decoder.waiting_bytes <= decoder.framing.size_max + 997
        decoder.receive_data(b"\r\n#;" if not decoder.framing.resyncs else b"", RECEIVED_AT)
        got: list[Message] = []
        for _ in range(2 + 2 * decoder.framing.size_max // len(vector.stream)):
            got += messages_of(decoder.receive_data(vector.stream, RECEIVED_AT))
        expected = [m for m in play(vector) if not isinstance(m, Undecoded | Login)]
        assert [m for m in got if not isinstance(m, Undecoded | Login)][-len(expected) :] == expected


PLACES = [(52.0, 21.0), (-33.4, -70.6), (40.7, -74.0), (-27.5, 153.0)]


def some_fixes(count: int = 1) -> list[list[Fix]]:
    start = datetime(2026, 2, 28, 23, 59, 58, tzinfo=UTC)
    return [
        [
            Fix(
                fixed_at=start + timedelta(seconds=i),
                latitude=latitude + i / 1000,
                longitude=longitude - i / 1000,
                altitude_m=120.0,
                speed_mps=10.0,
                course_deg=271.0,
            )
            for i in range(count)
        ]
        for latitude, longitude in PLACES
    ]


@protocols
def test_what_the_device_says_is_what_the_decoder_reads(protocol: Protocol) -> None:
    """Fixes in all four quadrants go through encoder and decoder; what is owed is what is answered."""
    for count in {1, min(7, protocol.device.fixes_in_packet_max)}:
        for fixes in some_fixes(count):
            assert_round_trip(protocol, fixes)


def assert_round_trip(protocol: Protocol, fixes: list[Fix]) -> None:
    device = protocol.device("123456789012345")
    decoder = protocol.decoder()
    if isinstance(device, HttpDevice):
        assert isinstance(decoder, HttpDecoder)
        request = device.report(fixes)
        messages = list(decoder.read_request(request.request, RECEIVED_AT).messages)
        assert messages[-1].reply is not None
        assert messages[-1].reply.status == request.status
        assert_same_fixes(messages, fixes)
        return
    assert isinstance(decoder, StreamDecoder)
    sent = [device.login(), device.report(fixes), device.heartbeat(), device.report(fixes)]
    messages = []
    for outgoing in sent:
        if outgoing is None:
            continue
        got = messages_of(decoder.receive_data(outgoing.data, RECEIVED_AT))
        messages += got
        assert b"".join(m.reply.data for m in got if m.reply) == outgoing.answer
    assert not [m for m in messages if isinstance(m, Undecoded)], messages
    assert any(m.device == "123456789012345" for m in messages)
    reports = [m for m in messages if isinstance(m, Report)]
    assert_same_fixes(messages, fixes * 2)
    half = len(fixes)
    assert [r.record for r in reports[:half]] == [r.record for r in reports[half:]], (
        "a repeat is the same report"
    )
    if Transport.UDP in protocol.transports:
        outgoing = device.datagram(fixes)
        got = messages_of(protocol.decoder().receive_datagram(outgoing.data, RECEIVED_AT))
        assert_same_fixes(got, fixes)
        assert any(m.device == "123456789012345" for m in got)
        assert b"".join(m.reply.data for m in got if m.reply) == outgoing.answer


def assert_same_fixes(messages: list[Message], fixes: list[Fix]) -> None:
    got = [m.fix for m in messages if isinstance(m, Report) and m.fix]
    assert len(got) == len(fixes), messages
    for a, b in zip(got, fixes, strict=True):
        assert abs(a.fixed_at - b.fixed_at) < timedelta(seconds=1)
        assert math.isclose(a.latitude, b.latitude, abs_tol=2e-5)
        assert math.isclose(a.longitude, b.longitude, abs_tol=2e-5)
        assert a.valid == b.valid
        assert math.isclose(a.speed_mps or 0, b.speed_mps or 0, abs_tol=0.3)
        assert math.isclose(a.course_deg or 0, b.course_deg or 0, abs_tol=1)


@protocols
def test_every_report_says_what_makes_it_the_same_report(protocol: Protocol) -> None:
    for vector in [v for v in all_vectors() if v.protocol is protocol]:
        for message in play(vector):
            if isinstance(message, Report):
                assert message.record, vector.name


def test_every_folder_is_in_the_registry_and_has_its_papers() -> None:
    folders = {p.parent.name for p in HOME.glob("*/decoder.py")} - {"wire"}
    assert folders == set(BY_NAME)
    for name in folders:
        assert {p.name for p in (HOME / name).iterdir()} >= {"README.md", "device.py", "vectors.toml"}


def test_ports_and_names_are_unique() -> None:
    assert len({p.name for p in ALL}) == len(ALL) == len({p.port for p in ALL})


@protocols
def test_vectors_of_a_protocol_cover_the_quadrants(protocol: Protocol) -> None:
    signs = {
        (m.fix.latitude > 0, m.fix.longitude > 0)
        for v in all_vectors()
        if v.protocol is protocol
        for m in play(v)
        if isinstance(m, Report) and m.fix
    }
    assert len(signs) == 4, f"quadrants (north, east) in the vectors: {signs}"
