"""The hub: trackers that changed go in as numbers, what their viewers may see comes out of the database once.

A commit tells which trackers it touched. Those that somebody watches are read together, through the gate, at most
once in ``PACE_S``; each row is encoded once and handed to every socket in whose scope it is. So nothing is pushed
that the same user could not have read at that moment, a socket costs a reference for each change, and a thousand
fixes of one tracker between two rounds are one push: its latest.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Protocol

import structlog
from msgspec import Struct
from msgspec.json import encode as _encode

from tracker_server.live.subscriber import Subscriber, Update
from tracker_server.metrics import Metrics
from tracker_server.model.people import Scope
from tracker_server.pipeline.batch import Batch
from tracker_server.pipeline.trackers import Tracker, Trackers

log = structlog.get_logger(__name__)

PACE_S = (
    0.1  # between the beginnings of two rounds: an eye sees no more, and a socket gets ten messages a second
)
READ_MAX = 2_000  # trackers read in one statement
RETRY_S = 0.5
SWEEP_S = 0.25  # how late a block that begins or ends by time alone is noticed by open sockets


class EventNews(Struct, frozen=True, gc=False):
    """An event that somebody asked to be shown, as JSON. ``other_ids``: the other trackers that it tells of."""

    device_id: int
    account_id: int
    event: str
    other_ids: tuple[int, ...] = ()


class AwayError(Exception):
    """The database does not answer; what changed is read when it does."""


class Reader(Protocol):
    """Where the hub reads what changed; as a customer would, through the gate."""

    async def changed(self, device_ids: Iterable[int]) -> list[Update]:
        """What is to be told of these trackers now; nothing of those that are gone. Raises AwayError."""
        ...

    async def alerts(self, alert_ids: Iterable[int]) -> list[EventNews]:
        """The events of these alerts, with the sentences to show. Raises AwayError."""
        ...


class Hub:
    """Who watches what. ``now`` gives the moment at which the gate is asked.

    ``outbound`` collects the trackers that are touched here, for other processes; None: there are none.
    """

    def __init__(
        self, trackers: Trackers, reader: Reader, metrics: Metrics, now: Callable[[], datetime]
    ) -> None:
        self._trackers = trackers
        self._reader = reader
        self._metrics = metrics
        self._now = now
        self._all: set[Subscriber] = set()
        self._everything: set[Subscriber] = set()
        self._by_account: dict[int, set[Subscriber]] = {}
        self._by_device: dict[int, set[Subscriber]] = {}
        self._touched: set[int] = set()
        self._alerts: set[int] = set()
        self.outbound: set[int] | None = None
        self._woken = asyncio.Event()
        self._hidden_before: set[int] = set()

    # ------------------------------------------------------------------ who watches

    def __len__(self) -> int:
        return len(self._all)

    def subscribe(self, scope: Scope, *, manages: bool) -> Subscriber:
        """One more socket. ``manages``: whether it is shown the cards of blocked trackers."""
        if not self._all:
            self._hidden_before = self._hidden_now()
        subscriber = Subscriber(scope, manages=manages, hidden=self.is_hidden)
        self._all.add(subscriber)
        self._index(subscriber)
        self._metrics.live_sockets.set(len(self._all))
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """That socket is closed."""
        self._unindex(subscriber)
        self._all.discard(subscriber)
        self._metrics.live_sockets.set(len(self._all))

    def rescope(self, subscriber: Subscriber, scope: Scope, *, manages: bool) -> None:
        """What it may see has changed: what waits of other trackers goes, and it is told of those that came."""
        subscriber.manages = manages
        if scope == subscriber.scope:
            return
        before = subscriber.scope
        self._unindex(subscriber)
        subscriber.scope = scope
        self._index(subscriber)
        lost, gained = list[int](), list[int]()
        for tracker in self._trackers:
            if tracker.id is not None:
                if not scope.holds(tracker.id, tracker.account_id):
                    lost.append(tracker.id)
                elif not before.holds(tracker.id, tracker.account_id):
                    gained.append(tracker.id)
        subscriber.forget(lost)
        self.touch(gained)

    def _index(self, subscriber: Subscriber) -> None:
        scope = subscriber.scope
        if scope.everything:
            self._everything.add(subscriber)
            return
        if scope.account_id is not None:
            self._by_account.setdefault(scope.account_id, set()).add(subscriber)
        for device_id in scope.device_ids:
            self._by_device.setdefault(device_id, set()).add(subscriber)

    def _unindex(self, subscriber: Subscriber) -> None:
        scope = subscriber.scope
        self._everything.discard(subscriber)
        if scope.account_id is not None:
            _drop(self._by_account, scope.account_id, subscriber)
        for device_id in scope.device_ids:
            _drop(self._by_device, device_id, subscriber)

    def _watched(self, device_id: int) -> bool:
        if self._everything or device_id in self._by_device:
            return True
        tracker = self._trackers.by_id(device_id)
        return tracker is not None and tracker.account_id in self._by_account

    def _audience(self, device_id: int, account_id: int) -> set[Subscriber]:
        return self._everything.union(
            self._by_account.get(account_id, ()), self._by_device.get(device_id, ())
        )

    # ------------------------------------------------------------------ what changed

    def committed(self, batch: Batch) -> None:
        """See ``pipeline.live.Live``."""
        if self._all or self.outbound is not None:
            trackers: set[Tracker] = {row.tracker for row in batch.positions}
            trackers.update(row.tracker for row in batch.telemetry)
            trackers |= batch.contacts
            touched = [tracker.id for tracker in trackers if tracker.id is not None]
            if self.outbound is not None:
                self.outbound.update(touched)
            self.touch(touched)
            curious = [one for one in self._everything if one.wants_logs]
            if curious:
                self._tell_logs(batch, curious)

    def _tell_logs(self, batch: Batch, curious: list[Subscriber]) -> None:
        """What shown devices said, for administrators who look on."""
        told: set[int] = set()
        for row in (*batch.positions, *batch.telemetry):
            ticket, tracker = row.ticket, row.tracker
            if id(ticket) in told or tracker.id is None or tracker.hidden(self._now()):
                continue
            told.add(id(ticket))
            line = _encode(
                {
                    "uniqueId": tracker.unique_id,
                    "deviceId": tracker.id,
                    "protocol": ticket.session.protocol,
                    "data": ticket.frame.hex(),
                }
            ).decode()
            for subscriber in curious:
                subscriber.offer_log(line)

    def touch(self, device_ids: Iterable[int]) -> None:
        """Something of these trackers is new: a fix, a sign of life, a block, a name."""
        if not self._all:
            return
        wanted = [device_id for device_id in device_ids if self._watched(device_id)]
        if wanted:
            self._touched.update(wanted)
            self._woken.set()

    def alerted(self, alert_ids: Iterable[int]) -> None:
        """These alerts are to be shown on pages."""
        if self._all:
            self._alerts.update(alert_ids)
            self._woken.set()

    def tell_event(self, news: EventNews) -> None:
        """Hand an event to all who may see its tracker, and every other one that it tells of."""
        audience = self._audience(news.device_id, news.account_id)
        for other_id in news.other_ids:
            other = self._trackers.by_id(other_id)
            if other is None or other.account_id is None or other.hidden(self._now()):
                return
            audience &= self._audience(other_id, other.account_id)
        for subscriber in audience:
            subscriber.offer_event(news.device_id, news.event)

    # ------------------------------------------------------------------ the gate

    def is_hidden(self, device_id: int) -> bool:
        """Whether the gate hides it at this moment; a tracker that is not known any more is hidden."""
        tracker = self._trackers.by_id(device_id)
        return tracker is None or tracker.hidden(self._now())

    def _hidden_now(self) -> set[int]:
        now = self._now()
        return {tracker.id for tracker in self._trackers if tracker.id is not None and tracker.hidden(now)}

    def _sweep(self) -> None:
        """Notice what the gate hides or shows by time alone."""
        hidden = self._hidden_now()
        self.touch(hidden ^ self._hidden_before)
        self._hidden_before = hidden

    # ------------------------------------------------------------------ rounds

    async def run(self) -> None:
        """Read and hand out, for as long as the server runs; a defect of ours costs a round, not the server."""
        while True:
            try:
                await self._rounds()
            except Exception:
                log.exception("a defect of ours in what open sockets are told")
                await asyncio.sleep(RETRY_S)

    async def _rounds(self) -> None:
        swept = 0.0
        while True:
            begun = time.monotonic()
            if self._all and begun - swept >= SWEEP_S:
                self._sweep()
                swept = begun
            if self._touched or self._alerts:
                await self._round()
            pause_s = max(begun + PACE_S - time.monotonic(), 0.001)
            await asyncio.sleep(pause_s)
            if not self._touched and not self._alerts:
                self._woken.clear()
                try:
                    async with asyncio.timeout(SWEEP_S if self._all else None):
                        await self._woken.wait()
                except TimeoutError:
                    continue

    async def _round(self) -> None:
        touched = list(self._touched)[:READ_MAX]
        alerts = list(self._alerts)[:READ_MAX]
        self._touched.difference_update(touched)
        self._alerts.difference_update(alerts)
        begun = time.perf_counter()
        try:
            updates = await self._reader.changed(touched) if touched else []
            told = await self._reader.alerts(alerts) if alerts else []
        except AwayError as error:
            log.warning("open sockets wait for the database", error=str(error))
            self._touched.update(touched)
            self._alerts.update(alerts)
            await asyncio.sleep(RETRY_S)
            return
        for update in updates:
            for subscriber in self._audience(update.device_id, update.account_id):
                subscriber.offer(update)
        for news in told:
            self.tell_event(news)
        self._metrics.live_updates.inc(len(updates))
        self._metrics.live_round_seconds.observe(time.perf_counter() - begun)


def _drop(index: dict[int, set[Subscriber]], key: int, subscriber: Subscriber) -> None:
    found = index.get(key)
    if found is not None:
        found.discard(subscriber)
        if not found:
            del index[key]
