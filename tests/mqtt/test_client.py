"""Our client of brokers: it keeps to what the broker allows, notices when it is gone, and takes no nonsense from it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from tests.mqtt.test_endpoint import location, somebody, stored
from tests.servers.mosquitto import Mosquitto
from tests.servers.serve import Running
from tracker_server.mqtt import packets
from tracker_server.mqtt.client import (
    LATER_MAX,
    Client,
    ConnectionEndedError,
    VersionRefusedError,
    open_client,
)
from tracker_server.mqtt.codes import Code
from tracker_server.mqtt.packets import MQTT_3_1_1, MQTT_5, Connect, Publish, connack

WITHIN_S = 30.0
RECEIVE_MAX = 5  # of the server under test, which ends a conversation that goes beyond it


def said(version: int = MQTT_5, name: str = "", keep_alive_s: int = 60) -> Connect:
    return Connect(version, name or somebody(), clean=True, keep_alive_s=keep_alive_s)


@pytest.mark.parametrize("qos", [1, 2])
async def test_no_more_at_once_than_the_broker_allows(running: Running, qos: int) -> None:
    topic = f"owntracks/jane/{somebody()}"
    client = await open_client(*running.addresses["mqtt"], said())
    waiting = [await client.publish(topic, location(n).encode(), qos) for n in range(10 * RECEIVE_MAX)]
    async with asyncio.timeout(WITHIN_S):
        assert await asyncio.gather(*waiting) == [0] * len(waiting)
    assert not client.ended.done()
    client.close()
    assert len(stored(running, topic)) == len(waiting)


async def test_what_is_longer_than_the_broker_takes_is_refused_here(running: Running) -> None:
    client = await open_client(*running.addresses["mqtt"], said())
    async with asyncio.timeout(WITHIN_S):
        assert await (await client.publish("x", b"x" * 5_000)) == Code.PACKET_TOO_LARGE
        assert await (await client.publish("x", b'{"id":"one","lat":52.1,"lon":21.0}')) == Code.SUCCESS
    client.close()


async def test_what_comes_is_handed_over_and_acknowledged_by_its_owner(broker: Mosquitto) -> None:
    """What was not acknowledged comes again, and what was does not."""
    came: asyncio.Queue[Publish] = asyncio.Queue()

    def take(_client: Client, publishes: Sequence[Publish]) -> None:
        for one in publishes:
            came.put_nowait(one)

    me = Connect(MQTT_5, "keeper", clean=False, keep_alive_s=60, session_expiry_s=600)
    async with asyncio.timeout(WITHIN_S):
        client = await open_client(*broker.address, me, None, take)
        assert await client.subscribe(["a/#", "$share/us/b"], 2) == (2, 2)
        await (await client.publish("a/x", b"what we say ourselves does not come back"))
        other = await open_client(*broker.address, said())
        for qos in (0, 1, 2):
            await (await other.publish("a/x", b"%d" % qos, qos))
        other.close()
        first = [await came.get() for _ in range(3)]
        assert sorted((one.qos, one.payload) for one in first) == [(0, b"0"), (1, b"1"), (2, b"2")]
        client.write(packets.puback(next(one.packet_id for one in first if one.qos == 1)))
        client.close()
        await client.ended
        await other.ended
        again = await open_client(*broker.address, me, None, take)
        one = await came.get()
        assert (one.payload, one.duplicate) == (b"2", True)
        again.close()
        await again.ended


@asynccontextmanager
async def hand_made(
    talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncGenerator[int]:
    """A broker that says what a test wants it to say."""

    ended: list[asyncio.Future[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended.append(over)
        with contextlib.suppress(ConnectionError):
            await reader.read(1_000)  # CONNECT
            await talk(reader, writer)
            while await reader.read(1_000):
                pass
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        over.set_result(None)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*ended)


def saying(*pieces: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return talk


@pytest.mark.parametrize(
    ("version", "answer", "kind", "why"),
    [
        (MQTT_5, b"\x20\x02\x00\x01", VersionRefusedError, "it refuses us: unsupported version"),
        (MQTT_5, connack(MQTT_5, Code.UNSUPPORTED_VERSION), VersionRefusedError, "it refuses us: unsupported version"),
        (MQTT_5, connack(MQTT_5, Code.BAD_CREDENTIALS), ConnectionEndedError, "it refuses us: bad credentials"),
        (MQTT_3_1_1, b"\x20\x02\x00\x05", ConnectionEndedError, "it refuses us: not authorized"),
        (MQTT_3_1_1, b"\x20\x02\x00\x77", ConnectionEndedError, "it refuses us: 0x77"),
        (MQTT_5, b"\x20\x01\x00", ConnectionEndedError, "it breaks the rules of MQTT: the packet is shorter than its fields"),
        (MQTT_5, b"\x20\xff\xff\xff\xff\x01", ConnectionEndedError, "it breaks the rules of MQTT: a remaining length of more than four bytes"),
        (MQTT_5, b"\x36\x02\x00\x00", ConnectionEndedError, "it breaks the rules of MQTT: publish flags 0x6"),
        (MQTT_5, b"\xe0\x01\x8b", ConnectionEndedError, "it says goodbye: server shutting down"),
    ],
)  # fmt: skip
async def test_a_broker_that_lets_us_not_in(
    version: int, answer: bytes, kind: type[ConnectionEndedError], why: str
) -> None:
    async with hand_made(saying(answer)) as port, asyncio.timeout(WITHIN_S):
        with pytest.raises(ConnectionEndedError) as caught:
            await open_client("127.0.0.1", port, said(version))
    assert (type(caught.value), str(caught.value)) == (kind, why)


async def test_a_broker_that_answers_nothing() -> None:
    async with hand_made(saying()) as port, asyncio.timeout(WITHIN_S):
        with pytest.raises(ConnectionEndedError, match=r"no answer within 0\.05 s"):
            await open_client("127.0.0.1", port, said(), within_s=0.05)


async def test_a_broker_that_falls_silent_is_gone() -> None:
    """It names the keep-alive itself; what waited for it is told."""
    hello = connack(MQTT_5, Code.SUCCESS, properties={"server_keep_alive": 1})
    async with hand_made(saying(hello)) as port, asyncio.timeout(WITHIN_S):
        client = await open_client("127.0.0.1", port, said(keep_alive_s=0))
        waiting = await client.publish("x", b"x")
        assert await client.ended == "it has been silent for 1.5 s"
        with pytest.raises(ConnectionEndedError):
            await waiting
        with pytest.raises(ConnectionEndedError):
            await client.publish("x", b"x")


async def test_what_waits_is_bounded() -> None:
    """A broker that acknowledges nothing gets what it allows, and the rest waits, so much of it and no more."""
    hello = connack(MQTT_5, Code.SUCCESS, properties={"receive_maximum": 3})
    async with hand_made(saying(hello)) as port, asyncio.timeout(WITHIN_S):
        client = await open_client("127.0.0.1", port, said())
        waiting = [client.offer("x", b"%d" % n) for n in range(3 + LATER_MAX)]
        assert None not in waiting
        assert client.offer("x", b"one too many") is None
        publishing = asyncio.ensure_future(client.publish("x", b"waits for room"))
        await asyncio.sleep(0)
        assert not publishing.done()
        client.close()
        with pytest.raises(ConnectionEndedError):
            await publishing
