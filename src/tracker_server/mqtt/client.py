"""A small MQTT client that publishes and knows what was acknowledged: one connection, no session, no reconnect."""

from __future__ import annotations

import asyncio
import ssl
from typing import cast

from tracker_server.mqtt.codes import Code, Kind
from tracker_server.mqtt.packets import (
    GOODBYE,
    PINGREQ,
    Connect,
    Publish,
    acknowledge,
    connect,
    publish,
)

IDS = 65_535
LENGTH_BYTES_MAX = 4


class ConnectionEndedError(Exception):
    """The broker let us not in, or is gone; what was not acknowledged may or may not have arrived."""


class Publisher(asyncio.Protocol):
    """Made by ``open_publisher``."""

    def __init__(self, said: Connect) -> None:
        loop = asyncio.get_running_loop()
        self._said = said
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._next_id = 0
        self._writable = asyncio.Event()
        self._writable.set()
        self._ping: asyncio.TimerHandle | None = None
        self.admitted: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(connect(self._said))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(str(exc) if exc else "the connection has ended")

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at = 0
        while (found := _measure(buffer, at)) is not None:
            start, end = found
            self._take(buffer[at], buffer[start:end])
            at = end
        self._buffer = buffer[at:]

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        if kind == Kind.CONNACK:
            code = body[1]
            if code:
                self._end(f"it refuses us: {_name(code)}")
            elif not self.admitted.done():
                self.admitted.set_result(None)
                self._keep_alive()
        elif kind in {Kind.PUBACK, Kind.PUBCOMP} or (
            kind == Kind.PUBREC and len(body) > 2 and body[2] >= Code.UNSPECIFIED
        ):
            waiting = self._waiting.pop(body[0] << 8 | body[1], None)
            if waiting is not None and not waiting.done():
                waiting.set_result(body[2] if len(body) > 2 else 0)
        elif kind == Kind.PUBREC and self._transport is not None:
            self._transport.write(acknowledge(self._said.version, Kind.PUBREL, body[0] << 8 | body[1]))
        elif kind == Kind.DISCONNECT:
            self._end(f"it says goodbye: {_name(body[0] if body else 0)}")

    def _end(self, why: str) -> None:
        if self._ping is not None:
            self._ping.cancel()
        if not self.ended.done():
            self.ended.set_result(why)
        error = ConnectionEndedError(why)
        for future in (self.admitted, *self._waiting.values()):
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever waits hears of it; where nobody does, nobody is told
        self._waiting.clear()
        if self._transport is not None:
            self._transport.close()

    def _keep_alive(self) -> None:
        if self._said.keep_alive_s and self._transport is not None and not self._transport.is_closing():
            self._transport.write(PINGREQ)
            self._ping = asyncio.get_running_loop().call_later(self._said.keep_alive_s / 2, self._keep_alive)

    # ------------------------------------------------------------------ for its owner

    async def publish(
        self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False
    ) -> asyncio.Future[int]:
        """Say it; the future is the broker's reason code (0: it has it). Raises ConnectionEndedError."""
        await self._writable.wait()
        if self.ended.done():
            raise ConnectionEndedError(self.ended.result())
        assert self._transport is not None
        self._next_id = self._next_id % IDS + 1
        while self._next_id in self._waiting:
            self._next_id = self._next_id % IDS + 1
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        said = Publish(topic, payload, qos, self._next_id if qos else 0, retain)
        self._transport.write(publish(self._said.version, said))
        if qos:
            self._waiting[self._next_id] = future
        else:
            future.set_result(0)
        return future

    def close(self) -> None:
        """Say goodbye."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(GOODBYE)
            self._transport.close()


def _measure(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Where the next packet's body begins and ends, if it is whole."""
    size = shift = 0
    for n in range(at + 1, min(len(buffer), at + 1 + LENGTH_BYTES_MAX)):
        size |= (buffer[n] & 0x7F) << shift
        if buffer[n] < 0x80:
            end = n + 1 + size
            return (n + 1, end) if end <= len(buffer) else None
        shift += 7
    return None


def _name(code: int) -> str:
    return Code(code).name.lower().replace("_", " ") if code in set(Code) else f"0x{code:02x}"


async def open_publisher(
    host: str, port: int, said: Connect, tls: ssl.SSLContext | None = None, within_s: float = 15.0
) -> Publisher:
    """Connect, and wait to be let in. Raises ConnectionEndedError."""
    try:
        async with asyncio.timeout(within_s):
            _, publisher = await asyncio.get_running_loop().create_connection(
                lambda: Publisher(said), host, port, ssl=tls
            )
            await publisher.admitted
    except TimeoutError:
        raise ConnectionEndedError(f"no answer within {within_s:g} s") from None
    except OSError as error:
        raise ConnectionEndedError(str(error)) from None
    return publisher
