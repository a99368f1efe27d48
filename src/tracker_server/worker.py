"""The composition root of a worker: the listeners and the writer once more, beside the first process of the server.

What there is one of (clocks, dispatcher, API, publishing by MQTT, migrations) the first process has. Standard input and output are the
line to it; see ``workers``.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterable

from tracker_server.lean import structlog

# isort: split
from tracker_server.aside import let_go
from tracker_server.config import Settings
from tracker_server.metrics import Metrics
from tracker_server.mqtt_station import MqttStation
from tracker_server.pipeline.batch import Batch
from tracker_server.pipeline.mqtt_book import SessionWord
from tracker_server.pipeline.trackers import Trackers
from tracker_server.spawned import LINE_BYTES_MAX
from tracker_server.station import Station, calm_collector
from tracker_server.storage.database import Database
from tracker_server.workers import (
    Answered,
    Asked,
    Counted,
    Named,
    Questions,
    Ready,
    Word,
    line_of,
    word_of,
)

log = structlog.get_logger(__name__)

COUNT_EVERY_S = 1.0


class Relayed:
    """Nobody looks on here: what was committed is told to the process with open sockets, if there are any."""

    def __init__(self) -> None:
        self.outbound: set[int] | None = None

    def __len__(self) -> int:
        return 0

    def touch(self, device_ids: Iterable[int]) -> None:
        """Others hear of that by themselves."""

    def alerted(self, alert_ids: Iterable[int]) -> None:
        """As above."""

    def committed(self, batch: Batch) -> None:
        """See ``pipeline.live.Live``."""
        if self.outbound is None:
            return
        trackers = {row.tracker for row in (*batch.positions, *batch.telemetry)} | batch.contacts
        self.outbound.update(tracker.id for tracker in trackers if tracker.id is not None)


class _StoppedEarlyError(Exception):
    """The first process has gone while this one was still getting ready."""


class Worker:
    """One of them."""

    def __init__(self, settings: Settings, number: int) -> None:
        self.number = number
        self.metrics = Metrics()
        self.database = Database(settings)
        self.station = Station(settings, self.database, Trackers(), self.metrics, Relayed(), number=number)
        self.mqtt = MqttStation(self.station, number=number)
        self._questions = Questions(number, self._ask)
        self.station.command_desk.ask_others = self._questions.ask
        self._stop = asyncio.Event()

    async def run(self, first: asyncio.StreamReader) -> None:
        """Until the line to the first process ends, or SIGTERM comes."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._line, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout)
        self.station.ingest.tell_others = lambda protocol, key, at: self._tell(Named(protocol, key, at))
        self.mqtt.book.on_session = self._tell
        await self.database.open()
        try:
            async with asyncio.TaskGroup() as tasks:
                hearing = tasks.create_task(self._hear(first))
                writing = await self._begun(tasks)
                counting = tasks.create_task(self._count())
                self._tell(Ready())
                calm_collector()
                await self._stop.wait()
                await self.station.drain(writing, self.mqtt.readers)
                self._tell(Counted(self.metrics.counts()))
                await self.station.end()
                hearing.cancel()
                counting.cancel()
        except* _StoppedEarlyError:
            log.info("ended before it listened")
        finally:
            await self.station.store.close()
            await self.database.close()

    async def _begun(self, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        """The writer's task; where the end comes first, as it may while the database is away, an end to all of them."""
        beginning = tasks.create_task(self._begin(tasks))
        stopping = tasks.create_task(self._stop.wait())
        await asyncio.wait({beginning, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not beginning.done():
            await let_go([beginning])
            await self.station.end()
            raise _StoppedEarlyError
        stopping.cancel()
        return await beginning

    async def _begin(self, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        writing = await self.station.begin(tasks)
        await self.mqtt.begin(tasks)
        return writing

    def _tell(self, word: Word) -> None:
        if not self._line.is_closing():
            self._line.write(line_of(word))

    async def _hear(self, first: asyncio.StreamReader) -> None:
        while line := await first.readline():
            match word_of(line):
                case Named() as named:
                    self.mqtt.called_another(named.protocol, named.device, named.named_at)
                case SessionWord() as session:
                    self.mqtt.book.learn(session)
                case Asked() as asked:
                    knows = self.station.command_desk.heard_of(asked.devices)
                    self._tell(Answered(asked.by, asked.serial, knows))
                case Answered() as answered:
                    self._questions.take(answered)
                case Ready() | Counted():
                    pass  # said by workers only
        log.info("the first process has ended the line")
        self._stop.set()

    def _ask(self, asked: Asked) -> int:
        self._tell(asked)
        return self.station.settings.workers - 1

    async def _count(self) -> None:
        while True:
            self._tell(Counted(self.metrics.counts()))
            await asyncio.sleep(COUNT_EVERY_S)


async def from_stdin() -> asyncio.StreamReader:
    """Standard input, line by line."""
    reader = asyncio.StreamReader(limit=LINE_BYTES_MAX)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader
