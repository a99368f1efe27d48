"""What reading costs: frames to messages, one frame at a time, no sockets and no database."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from measures import Found, Measure

from tracker_protocols import ALL
from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.wire.decoder import HttpDecoder, StreamDecoder, request_from_bytes
from tracker_protocols.wire.device import HttpDevice
from tracker_server.simulator.plan import Plan, check
from tracker_server.simulator.script import Script

FRAMES = 1_000
REPEATS = 9
RECORDS = 10  # in a packet, where the language has packets


def run() -> Found:
    """Microseconds a frame and a record; the best of the repeats, for whatever disturbs only makes it slower."""
    measures: list[Measure] = []
    for protocol in ALL:
        records = min(RECORDS, protocol.device.fixes_in_packet_max)
        once = work(protocol, records)
        seconds = [timed(once) for _ in range(REPEATS)]
        frame_us = min(seconds) / FRAMES * 1e6
        measures.append(
            Measure(f"decode {protocol.name}, a frame", "µs", [frame_us], note=f"{records} record(s)")
        )
        if records > 1:
            measures.append(Measure(f"decode {protocol.name}, a record", "µs", [frame_us / records]))
    return Found("decode", measures)


def timed(once: Callable[[], int]) -> float:
    """CPU seconds of one pass (others on the machine do not count); it must have read every frame."""
    begun = time.process_time()
    frames = once()
    seconds = time.process_time() - begun
    if frames != FRAMES:
        raise RuntimeError(f"{frames} of {FRAMES} frames were read")
    return seconds


def work(protocol: Protocol, records: int) -> Callable[[], int]:
    """One pass over ``FRAMES`` frames; answers how many were read."""
    now = datetime.now(UTC)
    http = issubclass(protocol.device, HttpDevice)
    plan = Plan(
        protocol=protocol, host="", port=0, transport=Transport.HTTP if http else Transport.TCP, devices=1, fixes=FRAMES * records,
        packet=records, start=now - timedelta(days=2), interval_s=1,
    )  # fmt: skip
    script = Script(check(plan, now), 0)
    script.prepare(FRAMES, 0)
    frames = script.packets
    if http:
        return requests(protocol, frames, now)

    def once() -> int:
        decoder = protocol.decoder()
        assert isinstance(decoder, StreamDecoder)
        decoder.receive_data(script.login, now)
        return sum(len(decoder.receive_data(frame, now)) for frame in frames)

    return once


def requests(protocol: Protocol, frames: list[bytes], now: datetime) -> Callable[[], int]:
    """The same for HTTP, where the listener has cut requests before the decoder sees them."""
    asked = [request_from_bytes(frame) for frame in frames]

    def once() -> int:
        decoder = protocol.decoder()
        assert isinstance(decoder, HttpDecoder)
        return sum(bool(decoder.read_request(request, now).messages) for request in asked)

    return once
