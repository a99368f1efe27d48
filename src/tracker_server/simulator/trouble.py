"""What happens to one device's packets on their way. Each packet meets at most one trouble, once, and which is
drawn from the seed, so that two runs of a scenario break at the same packets.
"""

from __future__ import annotations

import asyncio
import random
import zlib
from collections.abc import Callable
from typing import Any, cast

from tracker_server.simulator.plan import Plan
from tracker_server.simulator.score import Score

DRAWN = 1 << 32
PIECES = 3  # in which a slow device's packet comes
STRAY_BYTES_MAX = 2_000
STRAY_STAYS_S = 1.0


class Trouble:
    """One device's. ``before`` is asked ahead of every packet, ``again`` after every answer."""

    __slots__ = ("_asked", "_key", "_plan", "_score", "_sent_at", "doubled", "slow")

    def __init__(self, plan: Plan, score: Score, number: int) -> None:
        self._plan = plan
        self._score = score
        self._key = f"{plan.seed}/{plan.first + number}/"
        self._asked = -1  # the last packet that was asked for
        self.doubled = -1  # the last packet that was sent once more
        self._sent_at = 0.0
        self.slow = self._drawn("slow") < plan.habits.slow * DRAWN

    def _drawn(self, of: object) -> int:
        return zlib.crc32(f"{self._key}{of}".encode())

    def before(self, packet: int, now: float) -> str:
        """What becomes of the connection before this packet is sent; empty: nothing."""
        habits = self._plan.habits
        silent_s, self._sent_at = now - self._sent_at if self._sent_at else 0.0, now
        if packet == self._asked:
            return ""
        self._asked = packet
        if self._plan.rate is None and habits.offline(packet) and not habits.offline(packet - 1):
            return "offline"
        if habits.nat_s and silent_s > habits.nat_s:
            return "forgotten by NAT"
        drawn = self._drawn(packet)
        if drawn < habits.cuts * DRAWN:
            return "cut in mid-packet"
        if drawn < (habits.cuts + habits.half_open) * DRAWN:
            return "half-open"
        return ""

    def again(self, packet: int) -> bool:
        """Whether this packet, just answered, is sent once more."""
        duplicates = self._plan.habits.duplicates
        if packet == self.doubled or not duplicates or self._drawn(f"again {packet}") >= duplicates * DRAWN:
            return False
        self.doubled = packet
        self._score.troubles["duplicate"] += 1
        return True

    def write(self, transport: asyncio.Transport, data: bytes) -> None:
        """Send it as this device sends."""
        if not self.slow:
            transport.write(data)
            return
        loop, pause_s = asyncio.get_running_loop(), self._plan.habits.slow_s
        size = -(-len(data) // PIECES)
        transport.write(data[:size])
        transport.pause_reading()
        for piece in range(1, PIECES):
            part = data[piece * size : (piece + 1) * size]
            loop.call_later(pause_s * piece, _write_on, transport, part)
        loop.call_later(pause_s * PIECES, _read_on, transport)


def _write_on(transport: asyncio.Transport, data: bytes) -> None:
    if not transport.is_closing():
        transport.write(data)


def _read_on(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.resume_reading()


class Abandoned(asyncio.Protocol):
    """A connection whose device is gone without a word: open, read, and never spoken on again."""

    def __init__(self, score: Score, transport: asyncio.Transport) -> None:
        self._score = score
        self._transport = transport
        score.abandoned.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._score.abandoned.discard(self)
        self._score.troubles["left open, closed by the server"] += 1

    def close(self) -> None:
        """At the end of the run."""
        self._transport.set_protocol(asyncio.Protocol())
        self._transport.abort()


async def strays(plan: Plan, score: Score) -> None:
    """Callers that are no trackers: they say something that nobody understands, and go; for ever."""
    rng = random.Random(f"{plan.seed}/strays")
    async with asyncio.TaskGroup() as tasks:
        while True:
            await asyncio.sleep(rng.expovariate(plan.habits.strays_per_s))
            junk = rng.randbytes(rng.randint(1, STRAY_BYTES_MAX))
            tasks.create_task(_stray(plan, score, junk, rng.random() < 0.5))


async def _stray(plan: Plan, score: Score, junk: bytes, stays: bool) -> None:  # noqa: FBT001
    loop = asyncio.get_running_loop()
    connect = cast("Callable[..., Any]", loop.create_connection)
    try:
        if plan.transport.value == "udp":
            transport, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=(plan.host, plan.port)
            )
            transport.sendto(junk)
        else:
            transport, _ = await connect(asyncio.Protocol, plan.host, plan.port)
            transport.write(junk)
        score.troubles["stray caller"] += 1
        if stays:
            await asyncio.sleep(STRAY_STAYS_S)
        transport.close()
    except OSError:
        pass  # refused at the door: that is the server's right
