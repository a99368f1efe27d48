"""The outbox's worker: takes what is due, hands it to its channel, and writes down what became of it.

At least once: a message that was accepted just before a crash is sent again, under the same key. What fails
for a time is tried again with growing pauses; what fails for good, or for too long, is marked as failed and
stays listed. Messages of one tracker (or of one account, where they are about none) through one channel to one
recipient keep their order; all others go side by side.

One process of all delivers; its lock on the database goes with it, however it dies, and the next takes over.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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
AT_ONCE: Final = 4  # deliveries of a channel that does not say how many it can do
FETCH_MAX: Final = 500  # messages of one channel in memory: what is claimed and not ended
PAUSE_MIN: Final = timedelta(seconds=5)  # after a message's first failure; doubled each time
PAUSE_MAX: Final = timedelta(minutes=15)  # a greylisting server wants minutes, and hardly more
DOWN_MIN: Final = timedelta(seconds=1)  # for a whole channel after it failed; doubled each time
DOWN_MAX: Final = timedelta(minutes=1)  # so soon after an outage everything flows again
SLEEP_S_MAX: Final = 30.0  # a clock that is set forward is noticed within this time
SLEEP_S_MIN: Final = 0.05
TIDY_S: Final = 10.0  # how old the figures of the outbox may be
RETRY_S: Final = 1.0
FINISH_S_MAX: Final = 5.0  # for what is being delivered when the server is told to stop
ERROR_CHARACTERS_MAX: Final = 500  # kept of what a peer said
REASON_CHARACTERS_MAX: Final = 400  # of why a channel is down
DOWN: Final = "the channel is down"

SUPPRESSED: Final = "suppressed"  # its tracker is hidden
REPLACED: Final = "replaced"  # it went another way
UNDELIVERED: Final = "undelivered"  # there is no way to send it


class Outgoing(Struct, frozen=True):
    """One message on its way. ``attempts``: how often it was tried before. ``alert``: it is about what a tracker did;
    ``hidden``: and that tracker is not shown now. ``body``: as it was worded at an earlier attempt. ``secret``: the
    account's, with which its webhooks are signed. ``behind``: an
    earlier message of its lane is due then, and goes first.
    """

    id: int
    key: str
    channel: str
    recipient: str
    account_id: int | None
    payload: Any
    created_at: datetime
    due_at: datetime
    attempts: int
    device_id: int | None = None
    alert: bool = False
    hidden: bool = False
    body: str | None = None
    secret: str | None = None
    behind: datetime | None = None

    @property
    def lane(self) -> tuple[Any, ...]:
        """What keeps its order."""
        if self.account_id is None:
            return (self.id,)
        return (self.account_id, self.device_id, self.channel, self.recipient)


class TemporaryError(Exception):
    """Not now. ``down``: it is the whole channel that does not work, whoever the recipient is; why is the operator's
    business, and stands in brackets that his customers do not see.
    """

    def __init__(self, reason: str, *, down: bool = False) -> None:
        super().__init__(f"{DOWN} [{reason[:REASON_CHARACTERS_MAX]}]" if down else reason)
        self.down = down


class PermanentError(Exception):
    """Never: this message to this recipient is refused, and would be again."""


class Delivered(Struct, frozen=True):
    """The channel took it over. ``receipts``: what the provider calls it, where it says afterwards what became of it."""

    at: datetime
    receipts: tuple[str, ...] = ()


class Postponed(Struct, frozen=True):
    """To be tried again."""

    next_at: datetime
    error: str


class Held(Struct, frozen=True):
    """Not tried: an earlier message of its lane waits until then."""

    next_at: datetime


class Failed(Struct, frozen=True):
    """Given up."""

    at: datetime
    error: str


class Withheld(Struct, frozen=True):
    """Never to be sent, and why: one of the words above."""

    at: datetime
    why: str
    error: str | None = None


class Ended(Struct, frozen=True):
    """The channel has written itself what became of it."""


Fate: TypeAlias = Delivered | Postponed | Held | Failed | Withheld | Ended


class Channel(Protocol):
    """A way to reach people. ``send`` returns once the next hop has taken the message over: with None, with the
    provider's names for it, or with Ended. A channel that says ``at_once`` is given so many messages at a time; one that has
    ``begin`` is told when this process begins to deliver, whether or not there is a message for it.
    """

    name: str

    async def send(self, message: Outgoing) -> tuple[str, ...] | Ended | None:
        """Deliver. Raises TemporaryError or PermanentError; may be called again with the same message."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Backlog(Struct, frozen=True):
    """What waits. ``oldest_s``: since when the oldest could have been sent, in seconds; 0 where none waits."""

    waiting: int
    failed: int
    oldest_s: float


class Desk(Protocol):
    """The outbox over connections of its own."""

    async def take_over(self) -> None:
        """Wait until no other process delivers. Raises StoreAwayError."""
        ...

    async def due(
        self, channel: str, now: datetime, claimed: Collection[int], at_most: int
    ) -> list[Outgoing]:
        """The next due messages of a channel but for those claimed, in their order. Raises StoreAwayError."""
        ...

    async def write(self, fates: Sequence[tuple[int, Fate]]) -> None:
        """Write down what became of messages, by their ids. Raises StoreAwayError."""
        ...

    async def next_at(self, channel: str, claimed: Collection[int]) -> datetime | None:
        """When the next message of a channel is due. Raises StoreAwayError."""
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
        """Connections to it. Raises StoreAwayError."""
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
        self._stirred = {name: asyncio.Event() for name in channels}
        self._slots = {name: asyncio.Semaphore(at_once(channel)) for name, channel in channels.items()}
        self._lanes: dict[tuple[Any, ...], deque[Outgoing]] = {}
        self._claimed: dict[str, set[int]] = {name: set() for name in channels}
        self._deliveries: set[asyncio.Task[None]] = set()
        self._fates: list[tuple[Outgoing, Fate]] = []
        self._decided = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled; while the database is away, wait for it."""
        try:
            while True:
                try:
                    async with self._outbox.desk() as desk:
                        await desk.take_over()
                        await self._lead(desk)
                except* StoreAwayError as error:
                    log.warning("the outbox waits for the database", error=str(error.exceptions[0]))
                except* Exception:
                    log.exception("the dispatcher met a defect of ours")
                await asyncio.sleep(RETRY_S)
        finally:
            await self._finish()
            for channel in self._channels.values():
                await channel.close()

    async def _lead(self, desk: Desk) -> None:
        for channel in self._channels.values():
            getattr(channel, "begin", lambda: None)()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(desk))
            tasks.create_task(self._write_down(desk))
            for name in self._channels:
                tasks.create_task(self._serve(desk, name))

    async def _finish(self) -> None:
        """Let what is being delivered come to its end when the server stops: one cut short would be sent again."""
        for lane in self._lanes.values():
            while len(lane) > 1:
                lane.pop()
        if self._deliveries:
            await asyncio.wait(self._deliveries, timeout=FINISH_S_MAX)
        for task in self._deliveries:
            task.cancel()
        await asyncio.gather(*self._deliveries, return_exceptions=True)
        if self._fates:
            try:
                async with asyncio.timeout(FINISH_S_MAX), self._outbox.desk() as desk:
                    await self._write_fates(desk)
            except (StoreAwayError, TimeoutError) as error:
                log.warning("what was delivered last will be sent again", error=str(error))

    async def _listen(self, desk: Desk) -> None:
        """Stir the channels when something is written; keep the figures."""
        clock = asyncio.get_running_loop().time
        tidied_at = -TIDY_S
        while True:
            if clock() - tidied_at >= TIDY_S:
                await self.tidy(desk)
                tidied_at = clock()
            if await desk.wait(TIDY_S):
                for stirred in self._stirred.values():
                    stirred.set()

    async def tidy(self, desk: Desk) -> None:
        """Give up what no channel will take, and bring the figures up to date."""
        backlog = await desk.tidy(tuple(self._channels), self._now(), self._age_max)
        self._metrics.outbox_waiting.set(backlog.waiting)
        self._metrics.outbox_oldest_s.set(backlog.oldest_s)
        self._metrics.outbox_given_up.set(backlog.failed)

    # ------------------------------------------------------------------ one channel

    async def _serve(self, desk: Desk, name: str) -> None:
        """Claim what is due, sleep until more is, or until something is written or ended."""
        stirred = self._stirred[name]
        while True:
            stirred.clear()
            seconds = await self._claim(desk, name)
            try:
                async with asyncio.timeout(max(seconds, SLEEP_S_MIN)):
                    await stirred.wait()
            except TimeoutError:
                pass

    async def _claim(self, desk: Desk, name: str) -> float:
        """Begin to deliver what is due; answers for how many seconds nothing else will be."""
        now = self._now()
        _, back_at = self._down.get(name, (0, now))
        if back_at > now:
            return min(SLEEP_S_MAX, (back_at - now).total_seconds())
        # of a channel that was down one message is tried, before all the others are
        room = (1 if name in self._down else FETCH_MAX) - len(self._claimed[name])
        if room <= 0:
            return SLEEP_S_MAX  # what ends stirs us
        claimed = self._claimed[name]
        found = await desk.due(name, now, tuple(claimed), room)
        self._take(found)
        if len(found) == room:
            return SLEEP_S_MAX
        following = await desk.next_at(name, tuple(claimed))
        return SLEEP_S_MAX if following is None else min(SLEEP_S_MAX, (following - now).total_seconds())

    def _take(self, found: Iterable[Outgoing]) -> None:
        for message in found:
            self._claimed[message.channel].add(message.id)
            lane = self._lanes.get(message.lane)
            if lane is not None:
                lane.append(message)
                continue
            self._lanes[message.lane] = deque([message])
            task = asyncio.create_task(self._go_along(message.lane))
            self._deliveries.add(task)
            task.add_done_callback(self._deliveries.discard)

    async def _go_along(self, name: tuple[Any, ...]) -> None:
        """Deliver a lane's messages one after the other; behind one that has to wait, all wait."""
        lane = self._lanes[name]
        try:
            while lane:
                message = lane[0]
                async with self._slots[message.channel]:
                    fate = await self._fate_of(message)
                lane.popleft()
                self._decide(message, fate)
                if isinstance(fate, Postponed | Held):
                    while lane:
                        self._decide(lane.popleft(), Held(fate.next_at))
        finally:
            del self._lanes[name]

    def _decide(self, message: Outgoing, fate: Fate) -> None:
        self._fates.append((message, fate))
        self._decided.set()

    # ------------------------------------------------------------------ what became of them

    async def _write_down(self, desk: Desk) -> None:
        while True:
            self._decided.clear()
            while await self._write_fates(desk):
                pass
            await self._decided.wait()

    async def _write_fates(self, desk: Desk) -> list[Fate]:
        """All that is decided, in one statement; should the database go away, they wait here and nothing is sent twice."""
        fates = self._fates[:FETCH_MAX]
        if not fates:
            return []
        await desk.write([(message.id, fate) for message, fate in fates])
        del self._fates[: len(fates)]
        for message, _ in fates:
            self._claimed[message.channel].discard(message.id)
            self._stirred[message.channel].set()
        return [fate for _, fate in fates]

    async def deliver_due(self, desk: Desk) -> list[Fate]:
        """Deliver what is due at this moment, to its end; answers what became of each message that was looked at."""
        fates: list[Fate] = []
        for name in self._channels:
            await self._claim(desk, name)
        if self._deliveries:
            await asyncio.wait(self._deliveries)
        while written := await self._write_fates(desk):
            fates += written
        return fates

    # ------------------------------------------------------------------ one message

    def ready(self, now: datetime) -> tuple[str, ...]:
        """The channels that are not known to be down at this moment."""
        return tuple(name for name in self._channels if name not in self._down or self._down[name][1] <= now)

    async def _fate_of(self, message: Outgoing) -> Fate:
        now = self._now()
        if message.hidden:
            return Withheld(now, SUPPRESSED, "its tracker is hidden")
        if message.behind is not None:
            return Held(message.behind)
        _, back_at = self._down.get(message.channel, (0, now))
        if back_at > now:
            return Held(back_at)
        return await self._deliver(message)

    async def _deliver(self, message: Outgoing) -> Fate:
        channel = self._channels[message.channel]
        told = log.bind(channel=message.channel, message=message.id, account=message.account_id)
        try:
            taken = await channel.send(message)
        except PermanentError as error:
            return self._failed(message, said(error))
        except TemporaryError as error:
            return self._postponed(message, error)
        except Exception as error:  # noqa: BLE001  (a defect of ours must not stop the others' messages)
            told.exception("a message could not be made or sent")
            return self._postponed(message, TemporaryError(f"a defect of ours: {type(error).__name__}"))
        self._down.pop(message.channel, None)
        if isinstance(taken, Ended):
            return taken
        self._metrics.outbox_delivered.labels(message.channel).inc()
        told.info("delivered", attempts=message.attempts + 1)
        return Delivered(self._now(), taken or ())

    def _postponed(self, message: Outgoing, error: TemporaryError) -> Fate:
        now = self._now()
        text = said(error)
        if error.down:
            failures, next_at = self._down.get(message.channel, (0, now))
            if next_at <= now:  # else another delivery has just found the same
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
        what = "alert failed" if message.alert else "a message failed"
        log.error(what, channel=message.channel, message=message.id, error=text)
        return Failed(self._now(), text[:ERROR_CHARACTERS_MAX])


def said(error: Exception) -> str:
    """What an error says, as text that the database takes."""
    return str(error).replace("\0", "\N{REPLACEMENT CHARACTER}")[:ERROR_CHARACTERS_MAX]


def at_once(channel: Channel) -> int:
    """How many deliveries a channel does at a time."""
    return getattr(channel, "at_once", AT_ONCE)
