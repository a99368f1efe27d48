"""Many publishers in one process: raw packets at QoS 1, each kept until its PUBACK and sent again after a break."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import cast

from tests.mqtt.test_endpoint import location
from tracker_server.mqtt import packets
from tracker_server.mqtt.codes import Code
from tracker_server.mqtt.packets import Connect, Publish

RETRY_S = 0.2


class Publisher(asyncio.Protocol):
    """One connection of a member."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.transport: asyncio.Transport | None = None
        self.ended = asyncio.get_running_loop().create_future()
        self._buffer = b""
        self._admitted = False
        self._out: set[int] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        said = Connect(5, self.member.name, clean=False, keep_alive_s=60, session_expiry_s=600)
        self.transport.write(packets.connect(said))

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at = 0
        while at + 2 <= len(buffer) and at + 2 + buffer[at + 1] <= len(buffer):
            self._take(buffer[at : at + 2 + buffer[at + 1]])
            at += 2 + buffer[at + 1]
        self._buffer = buffer[at:]

    def _take(self, packet: bytes) -> None:
        if packet[0] == 0x20:
            assert packet[3] == Code.SUCCESS, packet.hex()
            self._admitted = True
        elif packet[0] == 0x40:
            code = packet[4] if packet[1] > 2 else 0
            assert code < Code.UNSPECIFIED, packet.hex()
            number = packet[2] << 8 | packet[3]
            self._out.discard(number)
            self.member.acknowledged(number)
        self.send()

    def send(self) -> None:
        """What may be on its way and is not."""
        assert self.transport is not None
        for number in self.member.next_ones():
            if self._admitted and number not in self._out and not self.transport.is_closing():
                self._out.add(number)
                self.transport.write(self.member.packet(number))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Member:
    """One phone with so many fixes to tell, numbered from 1; ``missing`` are those without a PUBACK."""

    def __init__(self, topic: str, fixes: int, window: int) -> None:
        self.topic = topic
        self.name = topic.replace("/", "-")
        self.fixes = fixes
        self.window = window
        self.allowed = fixes
        self.missing = dict.fromkeys(range(1, fixes + 1))

    def acknowledged(self, number: int) -> None:
        """It need not be kept any longer."""
        self.missing.pop(number, None)

    def next_ones(self) -> Iterable[int]:
        """What is on its way, or should be."""
        first = list(zip(self.missing, range(self.window), strict=False))
        return [number for number, _ in first if number <= self.allowed]

    def packet(self, number: int) -> bytes:
        """The publish of that number."""
        return packets.publish(5, Publish(self.topic, location(number).encode(), 1, number))

    async def run(self, host: str, port: int) -> None:
        """Until all of it is acknowledged, over as many connections as that takes."""
        loop = asyncio.get_running_loop()
        while self.missing:
            with contextlib.suppress(OSError):
                transport, peer = await loop.create_connection(lambda: Publisher(self), host, port)
                while self.missing and not peer.ended.done():
                    await asyncio.wait({peer.ended}, timeout=RETRY_S)
                    peer.send()  # more may have been allowed
                transport.close()
                await peer.ended
            await asyncio.sleep(RETRY_S)


class Crowd:
    """All of them, and how far they have come."""

    def __init__(self, topics: Iterable[str], fixes: int, window: int) -> None:
        self.members = [Member(topic, fixes, window) for topic in topics]
        self.fixes = fixes

    def allow(self, fixes: int) -> None:
        """Of each member so many, for now: so that there is something to say at every kill."""
        for one in self.members:
            one.allowed = fixes

    @property
    def acknowledged(self) -> int:
        """Of all."""
        return sum(self.fixes - len(one.missing) for one in self.members)

    @property
    def wanted(self) -> int:
        """Of all, in the end."""
        return self.fixes * len(self.members)

    async def run(self, address: tuple[str, int]) -> None:
        """Until all is acknowledged."""
        async with asyncio.TaskGroup() as tasks:
            for one in self.members:
                tasks.create_task(one.run(*address))
