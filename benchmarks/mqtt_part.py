"""What MQTT itself costs: from a read of a socket to frames, and from settled frames to PUBACKs; nothing is stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flood import START, payload
from measures import Measure

from tracker_protocols.model import Frame
from tracker_server.config import Limits, Log, Settings
from tracker_server.listeners.mqtt.connection import MqttConnection
from tracker_server.listeners.mqtt.endpoint import MqttShared
from tracker_server.listeners.server import Listeners
from tracker_server.logs import set_up
from tracker_server.metrics import Metrics
from tracker_server.mqtt.packets import MQTT_3_1_1, Connect, Publish, connect, publish
from tracker_server.pipeline.mqtt_book import Book
from tracker_server.pipeline.session import Session

MESSAGES = 20_000
WINDOW = 20
REPEATS = 5


class Settled:
    """In place of ingest: everything is stored at once, and answered together, as after a commit."""

    tell_others = None

    def receive(self, session: Session, frames: Sequence[Frame], received_at: datetime) -> None:
        """One read's frames."""
        replies = [m.reply.data for frame in frames for m in frame.messages if m.reply is not None]
        session.wire.send(*replies)

    def forget(self, session: Session) -> None:
        """Nothing is held."""


class Nowhere:
    """A transport that counts."""

    def __init__(self) -> None:
        self.written_bytes = 0

    def get_extra_info(self, name: str) -> Any:
        """A peer's name."""
        return ("127.0.0.1", 1) if name == "peername" else None

    def write(self, data: bytes) -> None:
        """Count it."""
        self.written_bytes += len(data)

    def is_closing(self) -> bool:
        """Never."""
        return False


async def once() -> float:
    """CPU seconds for all messages."""
    settings = Settings(limits=Limits(messages_per_second_max=10 * MESSAGES))
    ingest: Any = Settled()
    common = Listeners(settings, ingest, Metrics()).common
    shared = MqttShared(settings.mqtt, ingest, common, Book(), lambda _: None, lambda: None)
    connection, peer = MqttConnection(shared), Nowhere()
    connection.connection_made(peer)  # pyright: ignore[reportArgumentType]  (all of a transport that is used here)
    connection.data_received(connect(Connect(MQTT_3_1_1, "one", clean=True, keep_alive_s=0)))
    packets = [
        publish(MQTT_3_1_1, Publish("owntracks/flood/1", payload(START + n, n, 10.0), 1, n % 65_535 + 1))
        for n in range(MESSAGES)
    ]
    reads = [b"".join(packets[at : at + WINDOW]) for at in range(0, MESSAGES, WINDOW)]
    admitted_bytes = peer.written_bytes
    begun = time.process_time()
    for read in reads:
        connection.data_received(read)
    seconds = time.process_time() - begun
    if peer.written_bytes - admitted_bytes != MESSAGES * 4:
        raise RuntimeError("not every publish was acknowledged")
    return seconds


def measure() -> Measure:
    """The best of the repeats, for whatever disturbs only makes it slower."""
    set_up(Log(level="error"))
    seconds = min(asyncio.run(once()) for _ in range(REPEATS))
    return Measure(
        "MQTT itself: packet, payload, PUBACK; nothing stored",
        "s/1000 messages",
        [seconds / MESSAGES * 1_000],
        "less",
    )
