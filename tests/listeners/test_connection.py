"""A defect of ours, met while serving one device, costs that connection and nothing else."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import ClassVar

import pytest
import structlog

from tracker_protocols import BY_NAME
from tracker_protocols.gt06 import GT06
from tracker_protocols.model import BadFrame, DeviceKey, Heartbeat, Message, Reason, Reply
from tracker_protocols.protocol import Protocol, Transport
from tracker_protocols.wire.decoder import StreamDecoder
from tracker_protocols.wire.framing import Delimited, Framing
from tracker_server.config import Limits
from tracker_server.config_mqtt import Mqtt
from tracker_server.listeners.connection import Connection
from tracker_server.listeners.door import Door
from tracker_server.listeners.http import HttpConnection
from tracker_server.listeners.mqtt.connection import MqttConnection
from tracker_server.listeners.mqtt.endpoint import MqttShared
from tracker_server.listeners.server import Common, Shared
from tracker_server.listeners.tcp import TcpConnection
from tracker_server.metrics import Metrics
from tracker_server.mqtt.packets import MQTT_5, Connect, connect
from tracker_server.pipeline.batch import Batch, Stored
from tracker_server.pipeline.batcher import Batcher
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.mqtt_book import Book
from tracker_server.pipeline.quarantine import Room
from tracker_server.pipeline.trackers import Tracker, Trackers


class Buggy(StreamDecoder):
    """Answers ``<ping>``; ``<bug>`` meets a defect."""

    name: ClassVar[str] = "buggy"
    framing: ClassVar[Framing] = Delimited(b"<", b">", 64)

    def decode_frame(self, frame: bytes, received_at: datetime) -> Message:
        if frame == b"<bug>":
            raise RuntimeError("a defect")
        if frame == b"<ping>":
            return Heartbeat("T1", reply=Reply(b"pong"))
        raise BadFrame(Reason.UNKNOWN_KIND, repr(frame))


BUGGY = Protocol("buggy", "Buggy", 1, (Transport.TCP,), Buggy, GT06.device, ("B-1",))


class Kept:
    """A store in memory, for a listener that stores nothing in these tests but what it could not decode."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []

    async def known(self, names: Collection[DeviceKey]) -> dict[DeviceKey, Tracker]:
        return {}

    async def commit(self, batch: Batch, account_for_new: str) -> Stored:
        self.frames += [row.ticket.frame for row in batch.quarantine]
        return Stored()

    async def revive(self) -> None:
        pass


Opening = Callable[[Ingest, Common], Callable[[], Connection]]


def tcp(ingest: Ingest, common: Common) -> Callable[[], Connection]:
    return partial(TcpConnection, Shared(BUGGY, Transport.TCP, ingest, common, proxy=False))


def http(ingest: Ingest, common: Common) -> Callable[[], Connection]:
    return partial(HttpConnection, Shared(BY_NAME["osmand"], Transport.HTTP, ingest, common, proxy=False))


def mqtt(ingest: Ingest, common: Common) -> Callable[[], Connection]:
    return partial(MqttConnection, MqttShared(Mqtt(), ingest, common, Book(), print, lambda: None))


@asynccontextmanager
async def listening(
    limits: Limits | None = None, opening: Opening = tcp
) -> AsyncGenerator[tuple[tuple[str, int], Metrics, Kept]]:
    metrics, kept = Metrics(), Kept()
    limits = limits or Limits()
    batcher = Batcher(
        kept,
        metrics,
        queue_rows_max=100,
        batch_rows_max=100,
        unanswered_bytes_max=1000,
        account_for_new="default",
    )
    ingest = Ingest(Trackers(), batcher, Room(100, 100, metrics), future_max_s=60, register_unknown=False)
    begin = opening(ingest, Common(limits, Door(10, 10, metrics), metrics))
    server = await asyncio.get_running_loop().create_server(begin, "127.0.0.1", 0)
    writing = asyncio.create_task(batcher.run())
    try:
        yield server.sockets[0].getsockname()[:2], metrics, kept
    finally:
        server.close()
        await server.wait_closed()
        batcher.stop()
        await writing


async def test_a_defect_closes_one_connection_with_the_bytes_in_the_log() -> None:
    with structlog.testing.capture_logs() as logs:
        async with listening() as (address, metrics, _):
            good, to_good = await asyncio.open_connection(*address)
            bad, to_bad = await asyncio.open_connection(*address)
            to_good.write(b"<ping>")
            assert await good.readexactly(4) == b"pong"
            to_bad.write(b"<ping><bug><ping>")
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await bad.readexactly(8)
            to_good.write(b"<ping>")
            assert await good.readexactly(4) == b"pong"
            assert metrics.registry.get_sample_value("tracker_faults_total", {"protocol": "buggy"}) == 1
            to_good.close()
            to_bad.close()
    (told,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert bytes.fromhex(told["data"]) == b"<ping><bug><ping>"
    assert told["protocol"] == "buggy"


async def test_noise_is_counted_from_the_last_frame_on() -> None:
    """A device that stutters now and then may stay for years; one that only makes noise may not."""
    async with listening(Limits(noise_bytes_max=50)) as (address, metrics, _):
        reader, writer = await asyncio.open_connection(*address)
        for _ in range(5):
            writer.write(b"x" * 40 + b"<ping>")
            assert await reader.readexactly(4) == b"pong"
        writer.write(b"x" * 51)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        assert metrics.registry.get_sample_value("tracker_noise_bytes_total", {"protocol": "buggy"}) == 251
        closed = metrics.registry.get_sample_value("tracker_connections_closed_total", {"reason": "noise"})
        assert closed == 1


async def test_what_cannot_be_decoded_is_kept_whole() -> None:
    async with listening() as (address, _, kept):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"<what?><ping>")
        assert await reader.readexactly(4) == b"pong"
        writer.close()
    assert kept.frames == [b"<what?>"]


def in_memory(kind: type[Connection]) -> int:
    return sum(type(one) is kind for one in gc.get_objects())


TALKS = {
    "tcp": (tcp, TcpConnection, b"<ping><what?>", b"pong"),
    "http": (http, HttpConnection, b"GET /?id=T1&nothing=1 HTTP/1.1\r\nHost: t\r\n\r\n", b"HTTP/1.1"),
    "mqtt": (mqtt, MqttConnection, connect(Connect(MQTT_5, "T1", clean=True, keep_alive_s=9)), b"\x20"),
}


@pytest.mark.parametrize("name", TALKS)
async def test_nothing_is_left_of_a_lost_connection_for_the_collector(name: str) -> None:
    """It comes seldom in a server, and devices that call for each packet make thousands of connections meanwhile."""
    opening, kind, words, answer = TALKS[name]
    gc.collect()
    before = in_memory(kind)
    async with listening(opening=opening) as (address, _, _kept):
        gc.disable()
        try:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(words)
            assert await reader.readexactly(len(answer)) == answer
            assert in_memory(kind) == before + 1
            writer.close()
            async with asyncio.timeout(60):
                while in_memory(kind) != before:  # noqa: ASYNC110  (nothing tells of it)
                    await asyncio.sleep(0.05)
        finally:
            gc.enable()
