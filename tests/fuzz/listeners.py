"""Whole connections of ours, HTTP and MQTT, from the first byte of a stranger to the answers: real listeners and a real
pipeline, whose batches count as committed; only the socket is none.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.fuzz.corpus import START, seeds
from tracker_protocols import BY_NAME
from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.wire.decoder import request_bytes
from tracker_protocols.wire.device import Device, HttpDevice
from tracker_server.config import Limits
from tracker_server.config_mqtt import Mqtt
from tracker_server.listeners.connection import Connection
from tracker_server.listeners.door import Door
from tracker_server.listeners.http import HttpConnection
from tracker_server.listeners.mqtt.connection import MqttConnection
from tracker_server.listeners.mqtt.endpoint import MqttShared
from tracker_server.listeners.server import Common, Shared
from tracker_server.metrics import Metrics
from tracker_server.mqtt import packets
from tracker_server.mqtt.codes import Kind
from tracker_server.mqtt.packets import Connect, Publish, Subscribe, Will
from tracker_server.pipeline.batcher import Batcher
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.mqtt_book import Book
from tracker_server.pipeline.quarantine import Room
from tracker_server.pipeline.trackers import Trackers
from tracker_server.simulator.routes import Journey

Target = Callable[[bytes], None]

PIECES = (1, 3, 20, 200, 5_000)


class Socket(asyncio.Transport):
    """Nobody is at its other end; what is written is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 40_000) if name == "peername" else default

    def write(self, data: Any) -> None:
        assert not self.closed, "written to a closed connection"
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Http(HttpConnection):
    """One that does not hide its defects."""

    def _fault(self, data: bytes) -> None:
        raise  # noqa: PLE0704  (called from the handler)


class MqttClient(MqttConnection):
    """As above."""

    def _fault(self, data: bytes) -> None:
        raise  # noqa: PLE0704


class House:
    """What connections share: made once, for metrics cost more than a thousand mutations do."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.metrics = Metrics()
        limits = Limits()
        self.common = Common(limits, Door(100, 100, self.metrics), self.metrics)

    def ingest(self) -> tuple[Ingest, Batcher]:
        """A pipeline without a database."""
        batcher = Batcher(
            None,  # pyright: ignore[reportArgumentType]  (nothing commits)
            self.metrics,
            queue_rows_max=10_000,
            batch_rows_max=100_000,
            unanswered_bytes_max=1_000_000,
            account_for_new="default",
        )
        room = Room(1_000, 100, self.metrics)
        return Ingest(Trackers(), batcher, room, future_max_s=86_400, register_unknown=True), batcher

    def http(self, protocol: Protocol) -> Target:
        """Requests to this protocol's port."""

        def begin(ingest: Ingest) -> Connection:
            return Http(Shared(protocol, Transport.HTTP, ingest, self.common, proxy=False))

        return self._over(begin)

    def mqtt(self) -> Target:
        """A client of the endpoint, which admits everybody."""

        def begin(ingest: Ingest) -> Connection:
            settings = Mqtt()
            return MqttClient(MqttShared(settings, ingest, self.common, Book(), lambda _: None, lambda: None))

        return self._over(begin)

    def _over(self, begin: Callable[[Ingest], Connection]) -> Target:
        async def talk(data: bytes) -> None:
            ingest, batcher = self.ingest()
            connection, socket = begin(ingest), Socket()
            connection.connection_made(socket)
            rng = random.Random(data)
            at = 0
            while at < len(data) and not socket.closed:
                size = rng.choice(PIECES)
                connection.data_received(data[at : at + size])
                at += size
                self._commit(batcher)
                await asyncio.sleep(0)  # what is to be done soon
            assert connection.session is None or not connection.session.owed, "an answer is still owed"
            socket.closed = True
            connection.connection_lost(None)

        def target(data: bytes) -> None:
            self.loop.run_until_complete(talk(data))

        return target

    @staticmethod
    def _commit(batcher: Batcher) -> None:
        """All that was read is stored: settle it, and answer."""
        batch = batcher.gathering
        batcher.gathering = type(batch)()
        for ticket in batch.tickets:
            ticket.session.settle(ticket)
        for ticket in batch.tickets:
            if ticket.session.owed:
                ticket.session.release()


def http_seeds(protocol: Protocol) -> tuple[bytes, ...]:
    """Its own, and two in one connection, in chunks, with a body that is announced and asked for first."""
    own = [seed for seed in seeds(protocol) if b"HTTP/1." in seed]
    body = b'{"_type":"location","lat":1,"lon":2,"tst":1767225600}'
    chunked = (
        b"POST /?id=1&lat=1&lon=2&timestamp=1767225600 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    )
    expecting = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    upgrade = b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    return (*own, own[0] + own[-1], chunked + own[0], expecting, upgrade, own[0].replace(b"/1.1", b"/1.0", 1))


def mqtt_seeds() -> tuple[bytes, ...]:
    """Conversations in both versions, with every kind of packet and payloads of several protocols."""
    fix = next(iter(Journey(1, 2, START, 10)))
    payloads: list[tuple[str, bytes]] = [
        ("owntracks/u/d", b'{"_type":"location","lat":1,"lon":2,"tst":1767225600}')
    ]
    for name, topic in (("json", "t/1"), ("teltonika", "teltonika/1"), ("osmand", "osmand/1")):
        device = BY_NAME[name].device("356307042441013")
        if isinstance(device, HttpDevice):
            payloads.append((topic, request_bytes(device.report([fix], {}).request)))
        elif isinstance(device, Device):
            payloads.append((topic, device.report([fix], {}).data))
    found: list[bytes] = []
    for version in (packets.MQTT_3_1_1, packets.MQTT_5):
        will = Will("t/will", b"gone", 1, 0)
        hello = Connect(version, "c", clean=False, keep_alive_s=9, user="u", password=b"p", will=will)
        plain = packets.connect(Connect(version, "d", clean=True, keep_alive_s=0))
        said = [
            packets.publish(version, Publish(topic, payload, number % 3, number + 1 if number % 3 else 0))
            for number, (topic, payload) in enumerate(payloads)
        ]
        beside = [
            packets.subscribe(version, Subscribe(3, (("c/+", 1), ("#", 2)))),
            packets.packet(
                Kind.UNSUBSCRIBE, b"\0\4" + (b"\0" if version == packets.MQTT_5 else b"") + b"\0\1#", 2
            ),
            packets.acknowledge(version, Kind.PUBACK, 9),
            packets.acknowledge(version, Kind.PUBREL, 3),
            packets.PINGREQ,
            packets.GOODBYE,
        ]
        found += [
            packets.connect(hello) + b"".join(said + beside),
            *(plain + one for one in (*said, *beside)),
        ]
    return tuple(found)
