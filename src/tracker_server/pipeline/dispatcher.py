"""The outbox's worker: takes what is due, hands it to its channel, and writes down what became of it.

At least once: a message that was accepted just before a crash is sent again, under the same key. What fails
for a time is tried again with growing pauses; what fails for good, or for too long, is marked as failed and
stays listed. One account's messages through one channel to one recipient keep their order.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeAlias

import structlog
from msgspec import Struct

from tracker_server.metrics import Metrics
from tracker_server.pipeline.batch import StoreAwayError

log = structlog.get_logger(__name__)

EMAIL: Final = "email"
MESSENGER: Final = "messenger"
WORKERS: Final = 3  # deliveries at once; each holds a database connection while it delivers
PAUSE_MIN: Final = timedelta(seconds=5)  # after a message's first failure; doubled each time
PAUSE_MAX: Final = timedelta(minutes=15)  # a greylisting server wants minutes, and hardly more
DOWN_MIN: Final = timedelta(seconds=1)  # for a whole channel after it failed; doubled each time
DOWN_MAX: Final = timedelta(minutes=1)  # so soon after an outage everything flows again
SLEEP_S_MAX: Final = 30.0  # a clock that is set forward is noticed within this time
TIDY_S: Final = 10.0  # how old the figures of the outbox may be
RETRY_S: Final = 1.0
FINISH_S_MAX: Final = 5.0  # for what is being delivered when the server is told to stop
ERROR_CHARACTERS_MAX: Final = 500  # kept of what a peer said


class Outgoing(Struct, frozen=True):
    """One message on its way. ``attempts``: how often it was tried before."""

    id: int
    key: str
    channel: str
    recipient: str
    account_id: int | None
    payload: Any
    created_at: datetime
    due_at: datetime
    attempts: int


class TemporaryError(Exception):
    """Not now. ``down``: it is the whole channel that does not work, whoever the recipient is."""

    def __init__(self, reason: str, *, down: bool = False) -> None:
        super().__init__(reason)
        self.down = down


class PermanentError(Exception):
    """Never: this message to this recipient is refused, and would be again."""


class Channel(Protocol):
    """A way to reach people. ``send`` returns once the next hop has taken the message over."""

    name: str

    async def send(self, message: Outgoing) -> None:
        """Deliver. Raises TemporaryError or PermanentError; may be called again with the same message."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Delivered(Struct, frozen=True):
    """The channel took it over."""

    at: datetime


class Postponed(Struct, frozen=True):
    """To be tried again."""

    next_at: datetime
    error: str


class Failed(Struct, frozen=True):
    """Given up."""

    at: datetime
    error: str


Fate: TypeAlias = Delivered | Postponed | Failed
Deliver: TypeAlias = Callable[[Outgoing], Awaitable[Fate]]


class Backlog(Struct, frozen=True):
    """What waits. ``oldest_s``: since when the oldest could have been sent, in seconds; 0 where none waits."""

    waiting: int
    failed: int
    oldest_s: float


class Desk(Protocol):
    """The outbox over one connection of its own."""

    async def deliver_one(self, channels: Collection[str], now: datetime, deliver: Deliver) -> Fate | None:
        """Take the next due message of these channels that nobody else has taken, and write down its fate.
        None where there is none. Raises StoreAwayError.
        """
        ...

    async def next_at(self, channels: Collection[str]) -> datetime | None:
        """When the next message of these channels is due. Raises StoreAwayError."""
        ...

    async def wait(self, seconds: float) -> bool:
        """Until a message is written, or so many seconds; answers whether one was. Raises StoreAwayError."""
        ...

    async def tidy(self, channels: Collection[str], now: datetime, age_max: timedelta) -> Backlog:
        """Give up what has waited too long for a channel that is not set up; answers what waits."""
        ...


class OutboxPort(Protocol):
    """Where messages wait."""

    def desk(self) -> AbstractAsyncContextManager[Desk]:
        """A connection to it. Raises StoreAwayError."""
        ...


def utc_now() -> datetime:
    """The system's clock."""
    return datetime.now(UTC)


def pause(failures: int, shortest: timedelta, longest: timedelta, chance: float) -> timedelta:
    """How long to wait after so many failures (from 1 on): doubled each time up to ``longest``, then shortened
    by up to a half (``chance`` from 0 to 1), so that those who failed together do not come back together.
    """
    doubled = shortest * 2 ** min(failures - 1, 32)
    return min(doubled, longest) * (1 - chance / 2)


class Dispatcher:
    """Runs for as long as the server does; ``age_max`` is how long a message may be tried."""

    def __init__(
        self,
        outbox: OutboxPort,
        channels: Mapping[str, Channel],
        metrics: Metrics,
        *,
        age_max: timedelta,
        now: Callable[[], datetime] = utc_now,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._channels = channels
        self._metrics = metrics
        self._age_max = age_max
        self._now = now
        self._chance = chance
        self._down: dict[
            str, tuple[int, datetime]
        ] = {}  # channel to its failures in a row and when to try it
        self._written = asyncio.Condition()
        self._writes = 0

    async def run(self) -> None:
        """Deliver until cancelled; while the database is away, wait for it."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._always(self._listen))
                for _ in range(WORKERS if self._channels else 0):
                    tasks.create_task(self._always(self._work))
        finally:
            for channel in self._channels.values():
                await channel.close()

    async def _always(self, work: Callable[[Desk], Awaitable[None]]) -> None:
        while True:
            try:
                async with self._outbox.desk() as desk:
                    await work(desk)
            except StoreAwayError as error:
                log.warning("the outbox waits for the database", error=str(error))
            await asyncio.sleep(RETRY_S)

    async def _listen(self, desk: Desk) -> None:
        """Wake the workers when something is written; keep the figures."""
        clock = asyncio.get_running_loop().time
        tidied_at = -TIDY_S
        while True:
            if clock() - tidied_at >= TIDY_S:
                await self.tidy(desk)
                tidied_at = clock()
            if await desk.wait(TIDY_S):
                async with self._written:
                    self._writes += 1
                    self._written.notify_all()

    async def tidy(self, desk: Desk) -> None:
        """Give up what no channel will take, and bring the figures up to date."""
        backlog = await desk.tidy(tuple(self._channels), self._now(), self._age_max)
        self._metrics.outbox_waiting.set(backlog.waiting)
        self._metrics.outbox_oldest_s.set(backlog.oldest_s)
        self._metrics.outbox_given_up.set(backlog.failed)

    async def _work(self, desk: Desk) -> None:
        while True:
            writes = self._writes
            if await self._finished(self.deliver_one(desk)) is None:
                await self._sleep(desk, writes)

    async def _finished(self, delivery: Coroutine[Any, Any, Fate | None]) -> Fate | None:
        """Let a delivery come to its end when the server stops: one cut short would be sent again."""
        task = asyncio.ensure_future(delivery)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task], timeout=FINISH_S_MAX)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def _sleep(self, desk: Desk, writes: int) -> None:
        """Until something is due, or more was written than ``writes`` counts."""
        now = self._now()
        instants = [at for _, at in self._down.values()]
        following = await desk.next_at(self.ready(now))
        instants += [following] if following else []
        seconds = min([SLEEP_S_MAX, *((instant - now).total_seconds() for instant in instants)])
        async with self._written:
            try:
                async with asyncio.timeout(max(seconds, 0.05)):
                    await self._written.wait_for(lambda: self._writes != writes)
            except TimeoutError:
                pass

    # ------------------------------------------------------------------ one message

    def ready(self, now: datetime) -> tuple[str, ...]:
        """The channels that are not known to be down at this moment."""
        return tuple(name for name in self._channels if name not in self._down or self._down[name][1] <= now)

    async def deliver_one(self, desk: Desk) -> Fate | None:
        """Deliver the next due message; answers what became of it, None where there is none."""
        now = self._now()
        ready = self.ready(now)
        return await desk.deliver_one(ready, now, self._deliver) if ready else None

    async def _deliver(self, message: Outgoing) -> Fate:
        channel = self._channels[message.channel]
        told = log.bind(channel=message.channel, message=message.id, account=message.account_id)
        try:
            await channel.send(message)
        except PermanentError as error:
            return self._failed(message, str(error))
        except TemporaryError as error:
            return self._postponed(message, error)
        except Exception as error:  # noqa: BLE001  (a defect of ours must not stop the others' messages)
            told.exception("a message could not be made or sent")
            return self._postponed(message, TemporaryError(f"a defect of ours: {type(error).__name__}"))
        self._down.pop(message.channel, None)
        self._metrics.outbox_delivered.labels(message.channel).inc()
        told.info("delivered", attempts=message.attempts + 1)
        return Delivered(self._now())

    def _postponed(self, message: Outgoing, error: TemporaryError) -> Fate:
        now = self._now()
        text = str(error)[:ERROR_CHARACTERS_MAX]
        if error.down:
            failures, next_at = self._down.get(message.channel, (0, now))
            if next_at <= now:  # else another worker has just found the same
                next_at = now + pause(failures + 1, DOWN_MIN, DOWN_MAX, self._chance())
                self._down[message.channel] = (failures + 1, next_at)
        else:
            self._down.pop(message.channel, None)
            next_at = now + pause(message.attempts + 1, PAUSE_MIN, PAUSE_MAX, self._chance())
        if now - message.due_at >= self._age_max:
            return self._failed(message, f"given up after {self._age_max}: {text}")
        self._metrics.outbox_postponed.labels(message.channel).inc()
        log.warning(
            "a message waits", channel=message.channel, message=message.id, error=text, next_at=str(next_at)
        )
        return Postponed(next_at, text)

    def _failed(self, message: Outgoing, text: str) -> Fate:
        self._metrics.outbox_failed.labels(message.channel).inc()
        log.error("a message failed", channel=message.channel, message=message.id, error=text)
        return Failed(self._now(), text[:ERROR_CHARACTERS_MAX])
