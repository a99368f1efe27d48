"""A small fleet that keeps its own ledger: a device deletes a report when it is answered, and not before."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime

from tests.e2e.talk import device, fixes
from tracker_protocols.model import Fix

RETRY_S = 0.05
PATIENCE_S = 90.0


class Fleet:
    """``answered`` holds (unique_id, fixed_at) of every fix whose answer came, byte for byte."""

    def __init__(
        self, protocol: str, address: tuple[str, int], *, devices: int, packets: int, size: int
    ) -> None:
        self.protocol = protocol
        self.address = address
        self.size = size
        self.ids = [f"35{n:013d}" for n in range(devices)]
        self.sent = fixes(packets * size)
        self.answered: set[tuple[str, datetime]] = set()
        self.reconnects = 0
        self._progress = asyncio.Condition()

    @property
    def total(self) -> int:
        """How many fixes it has to tell."""
        return len(self.ids) * len(self.sent)

    async def reached(self, answered: float) -> None:
        """Until so many fixes are answered."""
        async with self._progress:
            await self._progress.wait_for(lambda: len(self.answered) >= answered)

    async def run(self) -> None:
        """Until every fix of every device is answered."""
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as tasks:
            for unique_id in self.ids:
                tasks.create_task(self._device(unique_id))

    async def _device(self, unique_id: str) -> None:
        packets = [self.sent[at : at + self.size] for at in range(0, len(self.sent), self.size)]
        while packets:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._connection(unique_id, packets)
            if packets:
                self.reconnects += 1
                await asyncio.sleep(RETRY_S)

    async def _connection(self, unique_id: str, packets: list[list[Fix]]) -> None:
        reader, writer = await asyncio.open_connection(*self.address)
        speaker = device(self.protocol, unique_id)
        try:
            login = speaker.login()
            if login is not None:
                writer.write(login.data)
                assert await reader.readexactly(len(login.answer)) == login.answer
            while packets:
                outgoing = speaker.report(packets[0])
                writer.write(outgoing.data)
                assert await reader.readexactly(len(outgoing.answer)) == outgoing.answer
                self._delete(unique_id, packets.pop(0))
                async with self._progress:
                    self._progress.notify_all()
        finally:
            writer.close()

    def _delete(self, unique_id: str, packet: Sequence[Fix]) -> None:
        self.answered.update((unique_id, fix.fixed_at) for fix in packet)
