"""A client of a broker: one connection, no reconnect. It publishes and knows what was acknowledged, and hands over what
it subscribed to, which its owner acknowledges when he has stored it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias, cast

from tracker_server.mqtt.codes import BadPacketError, Code, Kind
from tracker_server.mqtt.packets import (
    GOODBYE,
    MQTT_5,
    OLD_CONNACK,
    PINGREQ,
    Connect,
    Publish,
    Subscribe,
    Unsubscribe,
    acknowledge,
    connect,
    publish,
    read_admission,
    read_granted,
    read_publish,
    subscribe,
    unsubscribe,
)
from tracker_server.mqtt.topics import SHARED

IDS: Final = 65_535
LENGTH_BYTES_MAX: Final = 4
LATER_MAX: Final = 1_000  # publishes that wait until the broker lets us say them
SILENT_TICKS_MAX: Final = 3  # of half a keep-alive each: a broker that answers no ping is gone
RETAINED_IF_NEW: Final = 0x10
NO_LOCAL: Final = 0x04
PUBLISH: Final = int(Kind.PUBLISH)
REASONS: Final = {number: code for code, number in OLD_CONNACK.items()}

Taken: TypeAlias = "Callable[[Client, Sequence[Publish]], None]"
"""Told of all publishes that one read brought, in order; those at QoS 1 and 2 are to be acknowledged."""


class ConnectionEndedError(Exception):
    """The broker let us not in, or is gone; what was not acknowledged may or may not have arrived."""


class VersionRefusedError(ConnectionEndedError):
    """The broker speaks MQTT, but not this version."""


class Client(asyncio.Protocol):
    """Made by ``open_client``."""

    def __init__(self, said: Connect, take: Taken | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.version = said.version
        self.session_present = False  # the broker has kept what came while we were away
        self._said = said
        self._take_publishes = take
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._topics: dict[bytes, str] = {}
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._later: deque[tuple[Publish, asyncio.Future[int]]] = deque()
        self._room = asyncio.Event()
        self._room.set()
        self._subscribing: dict[int, asyncio.Future[tuple[int, ...]]] = {}
        self._next_id = 0
        self._receive_max = IDS
        self._packet_bytes_max = said.packet_bytes_max
        self._writable = True
        self._reading = True
        self._heard = True
        self._silent_ticks = 0
        self._tick_s = said.keep_alive_s / 2
        self._ticking: asyncio.TimerHandle | None = None
        self.admitted: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[str] = loop.create_future()

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(connect(self._said))

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ConnectionEndedError(str(exc) if exc else "the connection has ended"))

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._say()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        buffer = self._buffer + data if self._buffer else data
        publishes: list[Publish] = []
        version, end, at = self.version, len(buffer), 0
        try:
            while (found := _measure(buffer, at, end)) is not None:
                start, after = found
                first = buffer[at]
                if first >> 4 == PUBLISH:
                    publishes.append(read_publish(first & 15, buffer, start, after, version, self._topics))
                else:
                    self._take(first, buffer[start:after])
                at = after
        except (BadPacketError, IndexError) as error:
            self._end(ConnectionEndedError(f"it breaks the rules of MQTT: {error}"))
        self._buffer = buffer[at:]
        if publishes and self._take_publishes is not None:
            self._take_publishes(self, publishes)

    def _take(self, first: int, body: bytes) -> None:
        kind = first >> 4
        number = body[0] << 8 | body[1] if len(body) > 1 else 0
        code = body[2] if len(body) > 2 else 0
        if kind == Kind.CONNACK:
            self._admit(body)
        elif kind in {Kind.PUBACK, Kind.PUBCOMP} or (kind == Kind.PUBREC and code >= Code.UNSPECIFIED):
            waiting = self._waiting.pop(number, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(code)
            self._say()
        elif kind == Kind.PUBREC:
            self.write(acknowledge(self.version, Kind.PUBREL, number))
        elif kind == Kind.PUBREL:
            self.write(acknowledge(self.version, Kind.PUBCOMP, number))
        elif kind in {Kind.SUBACK, Kind.UNSUBACK}:
            subscribing = self._subscribing.pop(number, None)
            if subscribing is not None and not subscribing.done():
                subscribing.set_result(read_granted(body, self.version))
        elif kind == Kind.DISCONNECT:
            self._end(ConnectionEndedError(f"it says goodbye: {_name(body[0] if body else 0)}"))

    def _admit(self, body: bytes) -> None:
        code, properties = read_admission(body, self.version)
        if code:
            code = code if self.version == MQTT_5 and len(body) > 2 else REASONS.get(code, code)
            refused = VersionRefusedError if code == Code.UNSUPPORTED_VERSION else ConnectionEndedError
            self._end(refused(f"it refuses us: {_name(code)}"))
            return
        self.session_present = bool(body[0] & 1)
        self._receive_max = properties.get("receive_maximum", IDS)
        self._packet_bytes_max = properties.get("maximum_packet_size", self._packet_bytes_max)
        self._tick_s = properties.get("server_keep_alive", self._said.keep_alive_s) / 2
        if not self.admitted.done():
            self.admitted.set_result(None)
            self._tick()

    def _end(self, error: ConnectionEndedError) -> None:
        if self._ticking is not None:
            self._ticking.cancel()
        if not self.ended.done():
            self.ended.set_result(str(error))
        told = (future for _, future in self._later)
        for future in (self.admitted, *self._waiting.values(), *self._subscribing.values(), *told):
            if not future.done():
                future.set_exception(error)
                future.exception()  # whoever waits hears of it; where nobody does, nobody is told
        self._waiting.clear()
        self._later.clear()
        self._room.set()
        if self._transport is not None:
            self._transport.close()

    def _tick(self) -> None:
        """Say that we are here, and see whether the broker still is."""
        if not self._tick_s or self._transport is None or self._transport.is_closing():
            return
        self._silent_ticks = 0 if self._heard or not self._reading else self._silent_ticks + 1
        if self._silent_ticks >= SILENT_TICKS_MAX:
            self._end(ConnectionEndedError(f"it has been silent for {self._silent_ticks * self._tick_s:g} s"))
            self._transport.abort()
            return
        self._heard = False
        self._transport.write(PINGREQ)
        self._ticking = asyncio.get_running_loop().call_later(self._tick_s, self._tick)

    # ------------------------------------------------------------------ publishing

    async def publish(
        self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False
    ) -> asyncio.Future[int]:
        """Say it; the future is the broker's reason code (0: it has it). Raises ConnectionEndedError."""
        while not self.ended.done():
            await self._room.wait()
            future = self.offer(topic, payload, qos, retain=retain)
            if future is not None:
                return future
        raise ConnectionEndedError(self.ended.result())

    def offer(
        self, topic: str, payload: bytes, qos: int = 1, *, retain: bool = False
    ) -> asyncio.Future[int] | None:
        """The same, where there is room for it now; else None."""
        if self.ended.done() or len(self._later) >= LATER_MAX:
            return None
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._later.append((Publish(topic, payload, qos, 0, retain), future))
        self._say()
        return future

    def _say(self) -> None:
        """What the broker lets us say now: it names how many may wait for its acknowledgement."""
        while self._later and self._writable and len(self._waiting) < self._receive_max:
            said, future = self._later.popleft()
            number = self._number() if said.qos else 0
            packet = publish(self.version, Publish(said.topic, said.payload, said.qos, number, said.retain))
            if len(packet) > self._packet_bytes_max:
                future.set_result(Code.PACKET_TOO_LARGE)
                continue
            self.write(packet)
            if said.qos:
                self._waiting[number] = future
            else:
                future.set_result(0)
        if len(self._later) < LATER_MAX:
            self._room.set()
        else:
            self._room.clear()

    def _number(self) -> int:
        self._next_id = self._next_id % IDS + 1
        while self._next_id in self._waiting:
            self._next_id = self._next_id % IDS + 1
        return self._next_id

    # ------------------------------------------------------------------ subscribing

    async def subscribe(self, filters: Sequence[str], qos: int = 1) -> tuple[int, ...]:
        """Ask for these; answers what each was granted. Where the broker speaks MQTT 5, a retained publish comes only to a
        subscription that is new, and our own publishes do not come back. Raises ConnectionEndedError.
        """
        asked = tuple((one, qos | (_options(one) if self.version == MQTT_5 else 0)) for one in filters)
        number, granted = self._ask()
        self.write(subscribe(self.version, Subscribe(number, asked)))
        return await granted

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Ask for these no longer; what the broker has kept of them comes all the same. Raises ConnectionEndedError."""
        number, granted = self._ask()
        self.write(unsubscribe(self.version, Unsubscribe(number, tuple(filters))))
        await granted

    def _ask(self) -> tuple[int, asyncio.Future[tuple[int, ...]]]:
        number = self._number()
        granted: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._subscribing[number] = granted
        return number, granted

    def write(self, data: bytes) -> None:
        """Packets of the owner's: acknowledgements, or what needs none."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def pause_reading(self) -> None:
        """Let the broker wait."""
        if self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        if not self._reading and self._transport is not None and not self._transport.is_closing():
            self._reading = True
            self._heard = True
            self._transport.resume_reading()

    def close(self) -> None:
        """Say goodbye."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(GOODBYE)
            self._transport.close()


def _options(pattern: str) -> int:
    """§3.8.3.1; a shared subscription may not be without what its own client says."""
    return RETAINED_IF_NEW | (0 if pattern.startswith(SHARED) else NO_LOCAL)


def _measure(buffer: bytes, at: int, end: int) -> tuple[int, int] | None:
    """Where the next packet's body begins and ends, if it is whole. Raises BadPacketError."""
    if at + 1 < end and (size := buffer[at + 1]) < 0x80:
        after = at + 2 + size  # most are this short
        return (at + 2, after) if after <= end else None
    size = shift = 0
    for n in range(at + 1, min(end, at + 1 + LENGTH_BYTES_MAX)):
        size |= (buffer[n] & 0x7F) << shift
        if buffer[n] < 0x80:
            after = n + 1 + size
            return (n + 1, after) if after <= end else None
        shift += 7
    if end - at > LENGTH_BYTES_MAX:
        raise BadPacketError(Code.MALFORMED, "a remaining length of more than four bytes")
    return None


def _name(code: int) -> str:
    return Code(code).name.lower().replace("_", " ") if code in set(Code) else f"0x{code:02x}"


async def open_client(
    host: str,
    port: int,
    said: Connect,
    tls: ssl.SSLContext | None = None,
    take: Taken | None = None,
    within_s: float = 15.0,
) -> Client:
    """Connect, and wait to be let in. Raises ConnectionEndedError."""
    client: Client | None = None
    try:
        async with asyncio.timeout(within_s):
            _, client = await asyncio.get_running_loop().create_connection(
                lambda: Client(said, take), host, port, ssl=tls
            )
            await client.admitted
    except TimeoutError:
        if client is not None:
            client.close()
        raise ConnectionEndedError(f"no answer within {within_s:g} s") from None
    except OSError as error:
        raise ConnectionEndedError(str(error)) from None
    return client
