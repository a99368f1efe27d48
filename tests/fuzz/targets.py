"""Everything that reads bytes of strangers, and what must hold for all bytes. A target raises where it does not."""

from __future__ import annotations

import contextlib
import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from tests.fuzz.corpus import all_seeds, seeds
from tests.fuzz.listeners import House, http_seeds, mqtt_seeds
from tracker_protocols import ALL
from tracker_protocols.model import (
    DEVICE_KEY_CHARACTERS_MAX,
    BadFrame,
    Frame,
    Login,
    Message,
    Report,
    Undecoded,
)
from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.wire.decoder import HttpDecoder, StreamDecoder, request_from_bytes
from tracker_server.listeners.proxy_protocol import BadProxyHeaderError, read_header
from tracker_server.mqtt.dialogue import Dialogue, Event
from tracker_server.pipeline.batch import PositionRow, micros
from tracker_server.pipeline.rows import carries_nothing, row_of
from tracker_server.pipeline.session import Session, Ticket
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage.copy_rows import json_text, position_bytes

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
Target = Callable[[bytes], None]
PACKET_BYTES_MAX = 10_000  # of MQTT, here: more would only take time


def holds(frames: list[Frame]) -> None:
    """What is true of every message, whatever the bytes were."""
    for frame in frames:
        assert frame.messages, "a frame of no meaning at all"
        for message in frame.messages:
            _message(message)


def _message(message: Message) -> None:
    key = message.device
    assert key is None or 1 <= len(key) <= DEVICE_KEY_CHARACTERS_MAX, key
    if isinstance(message, Undecoded | Login) or carries_nothing(message):
        return
    if isinstance(message, Report) and message.fix is not None:
        fix = message.fix
        assert fix.fixed_at.utcoffset() == timedelta(0)
        assert abs(fix.latitude) <= 90 and abs(fix.longitude) <= 180, fix  # noqa: PT018
        for value in (fix.altitude_m, fix.speed_mps, fix.course_deg, fix.accuracy_m):
            assert value is None or math.isfinite(value), fix
    tracker = Tracker("x")
    tracker.id = 1
    ticket = Ticket(Session("x", "tcp", "x", Nowhere()), b"", micros(NOW), b"", 0.0)
    row = row_of(message, tracker, ticket, micros(NOW) + 86_400_000_000)
    if isinstance(row, PositionRow):
        position_bytes(row)
    _storable(getattr(message, "attributes", {}))


def _storable(attributes: dict[str, Any]) -> None:
    """PostgreSQL's jsonb takes no NUL, no half of a surrogate pair, and JSON has no infinity."""
    text = json_text(attributes)
    text.encode("utf-8")
    assert "\\u0000" not in text, text
    for value in attributes.values():
        assert not isinstance(value, float) or math.isfinite(value), attributes


class Nowhere:
    """A wire that leads nowhere."""

    heard_at = 0.0

    def send(self, *replies: bytes) -> None: ...
    def pause(self, why: Any) -> None: ...
    def resume(self, why: Any) -> None: ...
    def finish(self, reason: str) -> None: ...


def stream(protocol: Protocol) -> Target:
    """Over TCP: the same messages however the bytes are split; every byte is in a frame, or noise, or waits."""

    def target(data: bytes) -> None:
        whole = _stream_decoder(protocol)
        frames = whole.receive_data(data, NOW)
        holds(frames)
        told = sum(len(frame.data) for frame in frames) + whole.noise_bytes + whole.waiting_bytes
        assert told == len(data), f"{told} of {len(data)} bytes are accounted for"
        split = _stream_decoder(protocol)
        rng = random.Random(data)
        pieces: list[Frame] = []
        at = 0
        while at < len(data):
            size = rng.choice((1, 2, 5, 30, 400))
            pieces += split.receive_data(data[at : at + size], NOW)
            at += size
        assert pieces == frames, "how the bytes were split made a difference"

    return target


def _stream_decoder(protocol: Protocol) -> StreamDecoder:
    decoder = protocol.decoder()
    assert isinstance(decoder, StreamDecoder)
    return decoder


def datagram(protocol: Protocol) -> Target:
    """Whole payloads."""

    def target(data: bytes) -> None:
        holds(protocol.decoder().receive_datagram(data, NOW))

    return target


def request(protocol: Protocol) -> Target:
    """HTTP: every request is answered."""

    def target(data: bytes) -> None:
        decoder = protocol.decoder()
        assert isinstance(decoder, HttpDecoder)
        try:
            asked = request_from_bytes(data)
        except BadFrame:
            return  # the listener's parser refuses it before
        frame = decoder.read_request(asked, NOW)
        holds([frame])
        assert frame.messages[-1].reply is not None, "a request without an answer"

    return target


def dialogue(data: bytes) -> None:
    """MQTT below the connection: the same events however the bytes are split, and nothing waits beyond the limit."""
    whole = Dialogue(PACKET_BYTES_MAX, 5, 8)
    events = whole.receive_data(data)
    assert whole.waiting_bytes <= PACKET_BYTES_MAX + 5
    split = Dialogue(PACKET_BYTES_MAX, 5, 8)
    rng = random.Random(data)
    pieces: list[Event] = []
    at = 0
    while at < len(data):
        size = rng.choice((1, 2, 5, 30, 400))
        pieces += split.receive_data(data[at : at + size])
        at += size
    assert pieces == events, "how the bytes were split made a difference"


def proxy_header(data: bytes) -> None:
    """A caller, not yet, or a refusal."""
    with contextlib.suppress(BadProxyHeaderError):
        caller = read_header(data)
        assert caller is None or caller.size <= len(data)


HEADERS = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(range(12)) + b"rest",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24" + bytes(range(36)),
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
)


@cache
def all_targets() -> dict[str, tuple[Target, tuple[bytes, ...]]]:
    """By name: the target, and what its mutation begins with."""
    house = House()
    said = mqtt_seeds()
    found: dict[str, tuple[Target, tuple[bytes, ...]]] = {
        "proxy": (proxy_header, HEADERS),
        "mqtt-dialogue": (dialogue, said),
        "mqtt-endpoint": (house.mqtt(), said),
    }
    for protocol in ALL:
        name = protocol.name
        if Transport.TCP in protocol.transports:
            found[f"{name}-tcp"] = (stream(protocol), seeds(protocol))
        if Transport.HTTP in protocol.transports:
            found[f"{name}-http"] = (request(protocol), seeds(protocol))
            found[f"{name}-port"] = (house.http(protocol), http_seeds(protocol))
        found[f"{name}-datagram"] = (datagram(protocol), seeds(protocol))
    return found


OTHERS = all_seeds()
