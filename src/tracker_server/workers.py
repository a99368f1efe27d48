"""More processes on the same ports: the first one starts them, starts those again that die, adds up what they count, and
carries word between them of which device is connected where, of sessions that MQTT keeps, and their questions to each other.

A worker is told the settings in the first line of its standard input, and ends when that ends: so none outlives the first
process, however that dies. What is written to a worker that does not read is lost; it is about old connections, and sessions that a client then has to begin anew.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
import structlog
from msgspec import Struct

from tracker_protocols.model import DeviceKey
from tracker_server.config import Settings, as_line
from tracker_server.metrics import Counts, Metrics
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.mqtt_book import Book, SessionWord
from tracker_server.pipeline.newest import Heard
from tracker_server.spawned import Spawned, spawn

log = structlog.get_logger(__name__)

PROGRAM = "tracker_server.cli.worker"
READY_S_MAX = 90.0
AGAIN_S = 1.0  # after one died
END_S_MAX = 45.0  # it drains for 20 s, twice
UNREAD_BYTES_MAX = 1024 * 1024
ANSWER_S_MAX = 3.0  # of a process that is busy; one that has died never answers


class WorkerError(Exception):
    """A worker did not come up. The message says which setting, and where to look."""


class Ready(Struct, frozen=True, tag="ready"):
    """It listens."""


class Counted(Struct, frozen=True, tag="counted"):
    """All that it has counted so far."""

    counts: Counts


class Named(Struct, frozen=True, tag="named"):
    """A device has said who it is, or a client of the MQTT endpoint, whose protocol is the endpoint's; ``named_at`` is on
    the monotonic clock, which all processes share.
    """

    protocol: str
    device: str
    named_at: float


class Asked(Struct, frozen=True, tag="asked"):
    """One process wants to know what all others know of these devices."""

    by: int
    serial: int
    devices: list[str]


class Answered(Struct, frozen=True, tag="answered"):
    """What one of them knows."""

    by: int
    serial: int
    heard: dict[str, Heard]


Answer = Callable[[Sequence[DeviceKey]], dict[DeviceKey, Heard]]
Word = Ready | Counted | Named | Asked | Answered | SessionWord
_decoder = msgspec.json.Decoder(Word)


def line_of(word: Word) -> bytes:
    """One word, as one line."""
    return msgspec.json.encode(word) + b"\n"


def word_of(line: bytes) -> Word:
    """What a line says."""
    return _decoder.decode(line)


class Questions:
    """Those of one process. ``say`` passes one on to all others, and answers how many answers are due."""

    def __init__(self, by: int, say: Callable[[Asked], int]) -> None:
        self._by = by
        self._say = say
        self._serial = (
            time.monotonic_ns()
        )  # a worker that is started again takes no answer that its forerunner is due
        self._open: dict[int, asyncio.Queue[dict[DeviceKey, Heard]]] = {}

    async def ask(self, devices: Sequence[DeviceKey]) -> list[Mapping[DeviceKey, Heard]]:
        """What the others know of these. Whoever does not answer in time is not waited for."""
        self._serial += 1
        answers = self._open[self._serial] = asyncio.Queue()
        found: list[Mapping[DeviceKey, Heard]] = []
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                for _ in range(self._say(Asked(self._by, self._serial, list(devices)))):
                    found.append(await answers.get())  # noqa: PERF401  (what has come by the time limit counts)
        except TimeoutError:
            log.info("another process does not answer", devices=len(devices), answers=len(found))
        finally:
            del self._open[self._serial]
        return found

    def take(self, said: Answered) -> None:
        """An answer has come."""
        if (answers := self._open.get(said.serial)) is not None:
            answers.put_nowait(said.heard)


class Workers:
    """Those of one server. Does nothing where ``workers`` is 1."""

    def __init__(
        self,
        settings: Settings,
        ingest: Ingest,
        metrics: Metrics,
        book: Book,
        called_another: Callable[[str, str, float], None],
    ) -> None:
        """``ingest`` and ``book`` are those of the first process; ``called_another`` is told of protocol and name of whoever
        says to a worker who it is, and when.
        """
        self._book = book
        self._called_another = called_another
        self._settings = settings
        self._ingest = ingest
        self._metrics = metrics
        self._numbers = range(1, settings.workers)
        self._ready: dict[int, asyncio.Future[None]] = {}
        self._processes: dict[int, Spawned] = {}
        self._keepers: list[asyncio.Task[None]] = []
        self._stopping = False
        self.answer: Answer = lambda _: {}
        self._questions = Questions(0, self._tell)

    async def ask(self, devices: Sequence[DeviceKey]) -> list[Mapping[DeviceKey, Heard]]:
        """What the workers know of these devices."""
        return await self._questions.ask(devices) if self._numbers else []

    async def open(self, tasks: asyncio.TaskGroup) -> None:
        """Start all, and wait until all listen. Raises WorkerError."""
        if not self._numbers:
            return
        self._ingest.tell_others = lambda protocol, key, at: self._tell(Named(protocol, key, at))
        self._book.on_session = self._tell
        loop = asyncio.get_running_loop()
        for number in self._numbers:
            self._ready[number] = loop.create_future()
            self._keepers.append(tasks.create_task(self._keep(number)))
        for number, ready in self._ready.items():
            try:
                await asyncio.wait_for(ready, READY_S_MAX)
            except TimeoutError:
                raise WorkerError(
                    f"workers: number {number} did not listen within {READY_S_MAX:g} s"
                ) from None

    async def close(self) -> None:
        """End all: each commits, answers and goes; whoever does not is killed."""
        self._stopping = True
        for process in self._processes.values():
            process.tell_no_more()
        if self._keepers:
            await asyncio.wait(self._keepers, timeout=END_S_MAX)
        for process in self._processes.values():
            if process.returncode is None:
                process.kill()
        for keeper in self._keepers:
            keeper.cancel()

    async def _keep(self, number: int) -> None:
        while not self._stopping:
            process = await spawn(sys.executable, "-m", PROGRAM, str(number))
            self._processes[number] = process
            try:
                await self._hear(number, process)
            finally:
                process.tell_no_more()
                await asyncio.shield(process.wait())
                self._metrics.gone(number)
                self._book.left(number, datetime.now(UTC))
            if self._stopping:
                return
            ready = self._ready[number]
            if not ready.done():
                ready.set_exception(
                    WorkerError(f"workers: number {number} ended with {process.returncode}; its log says why")
                )
                return
            log.error("a worker ended and is started again", worker=number, status=process.returncode)
            await asyncio.sleep(AGAIN_S)

    async def _hear(self, number: int, process: Spawned) -> None:
        process.tell(as_line(self._settings) + b"\n")
        while line := await process.stdout.readline():
            match word_of(line):
                case Ready():
                    if not self._ready[number].done():
                        self._ready[number].set_result(None)
                case Counted(counts=counts):
                    self._metrics.take(number, counts)
                case Named() as named:
                    self._called_another(named.protocol, named.device, named.named_at)
                    self._tell(named, besides=number)
                case SessionWord() as session:
                    self._book.learn(session, number)
                    self._tell(session, besides=number)
                case Asked() as asked:
                    self._tell(asked, besides=number)
                    process.tell(line_of(Answered(asked.by, asked.serial, self.answer(asked.devices))))
                case Answered(by=0) as answered:
                    self._questions.take(answered)
                case Answered() as answered:
                    if (asker := self._processes.get(answered.by)) is not None:
                        asker.tell(line)

    def _tell(self, word: Named | Asked | SessionWord, besides: int = 0) -> int:
        """To all that read what they are told, but one; answers to how many."""
        line = line_of(word)
        told = 0
        for number, process in self._processes.items():
            if number != besides and process.stdin.get_write_buffer_size() < UNREAD_BYTES_MAX:
                process.tell(line)
                told += 1
        return told
