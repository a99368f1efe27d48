"""What every process that hears devices consists of: the trackers in memory, the listeners, the one writer, and what
tells them of changes that others make in the database.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from tracker_server.aside import let_go
from tracker_server.config import Settings, install_payloads
from tracker_server.heap import give_back
from tracker_server.listeners.server import Listeners
from tracker_server.metrics import Metrics
from tracker_server.pipeline.alert_book import AlertBook, link_of
from tracker_server.pipeline.batcher import Batcher
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.live import Live
from tracker_server.pipeline.quarantine import Room
from tracker_server.pipeline.trackers import Trackers
from tracker_server.storage.alert_feed import AlertFeed
from tracker_server.storage.alert_outbox import AlertWriter
from tracker_server.storage.command_desk import CommandDesk
from tracker_server.storage.contact_clock import ContactClock
from tracker_server.storage.database import Database
from tracker_server.storage.ingest_store import IngestStore
from tracker_server.storage.live_relay import Audience, LiveRelay
from tracker_server.storage.maintenance import Maintenance
from tracker_server.storage.track_feed import TrackFeed
from tracker_server.storage.track_grounds import engine_settings
from tracker_server.storage.track_store import TrackStage
from tracker_server.storage.tracker_feed import TrackerFeed

if TYPE_CHECKING:
    from tracker_server.tracing import Traces

log = structlog.get_logger(__name__)

DRAIN_S_MAX = 20.0
YOUNG_MAX = (
    20_000  # a batch of reports makes some thousand values that are gone after it, and no rings of them
)


class Watching(Live, Audience, Protocol):
    """Whoever hears of commits, here and in other processes."""


class Reader(Protocol):
    """Something besides the listeners through which devices are heard."""

    def stop_reading(self) -> None:
        """Take nothing more in."""
        ...

    async def close(self) -> None:
        """After the last answer."""
        ...


def calm_collector() -> None:
    """Once all is started: what lives as long as the process need not be looked at again, and what lives as long as a batch
    not while it lives.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_MAX)


def traces_of(settings: Settings, number: int) -> Traces | None:
    """Who looks on, if anybody. Raises TracingError."""
    if not settings.tracing.endpoint:
        return None
    from tracker_server.tracing import Traces

    return Traces(settings.tracing, number)


class Station:
    """Built and started by a process's own root. ``watching`` hears of commits; ``number``: of several processes on the
    same ports, 0 is the one that opens them first.
    """

    def __init__(
        self,
        settings: Settings,
        database: Database,
        trackers: Trackers,
        metrics: Metrics,
        watching: Watching,
        *,
        number: int = 0,
    ) -> None:
        install_payloads(settings)
        self.settings, self.database, self.trackers, self.metrics = settings, database, trackers, metrics
        self.live_relay = LiveRelay(database, watching)
        self.stage = TrackStage(engine_settings(settings))
        self.store = IngestStore(database, self.stage)
        self.traces = traces_of(settings, number)
        self.batcher = (Batcher if self.traces is None else self.traces.batcher)(
            self.store,
            metrics,
            queue_rows_max=settings.ingest.queue_rows_max,
            batch_rows_max=settings.ingest.batch_rows_max,
            unanswered_bytes_max=settings.limits.unanswered_bytes_max,
            account_for_new=settings.devices.unknown_account,
            live=watching,
        )
        room = Room(settings.quarantine.rows_max, settings.quarantine.rows_per_device_max, metrics)
        self.ingest = Ingest(
            trackers,
            self.batcher,
            room,
            future_max_s=settings.ingest.future_max_s,
            register_unknown=settings.devices.unknown == "register",
        )
        self.listeners = Listeners(settings, self.ingest, metrics, first=number == 0)
        if self.traces is not None:
            self.listeners.trace(self.traces.decoding)
        self.command_desk = CommandDesk(database, self.ingest, trackers)
        self.feed = TrackerFeed(database, trackers, metrics, watching.touch)
        self.alert_book = AlertBook(link_of(settings.alerts, settings.api))
        self.alert_feed = AlertFeed(database, self.alert_book)
        self.alerts = AlertWriter(self.alert_book, trackers, settings.alerts, metrics)
        self.stage.tell = self.alerts.write_alerts
        self.track_feed = TrackFeed(database, self.stage)
        self.contact_clock = ContactClock(database, trackers, self.stage)
        self.stage.came_online = self.contact_clock.watch
        self.maintenance = Maintenance(database, settings, room)
        self._beside: list[asyncio.Task[None]] = []

    async def begin(self, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        """Know all trackers, then listen; answers the writer's task. Raises ListenError."""
        for keeper in (self.feed, self.alert_feed, self.track_feed, self.maintenance, self.live_relay):
            self.beside(tasks, keeper.run())
        await self.track_feed.ready.wait()
        writing = tasks.create_task(self.batcher.run())
        await self.feed.ready.wait()
        await self.alert_feed.ready.wait()
        self.beside(tasks, self.contact_clock.run())
        self.beside(tasks, self.command_desk.run())
        await self.listeners.open()
        self.beside(tasks, self.listeners.sweep())
        self.beside(tasks, give_back())
        return writing

    def beside(self, tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, None]) -> None:
        """Something that runs until the end."""
        self._beside.append(tasks.create_task(work))

    async def drain(self, writing: asyncio.Task[None], readers: Iterable[Reader] = ()) -> None:
        """Nothing read is left uncommitted, nothing committed is left unanswered."""
        readers = tuple(readers)
        log.info("stopping", waiting_rows=self.batcher.waiting_rows)
        self.listeners.stop_reading()
        for reader in readers:
            reader.stop_reading()
        self.batcher.stop()
        done, _ = await asyncio.wait([writing], timeout=DRAIN_S_MAX)
        if not done:
            log.warning("stopping without the database; devices keep what was not answered")
            writing.cancel()
        else:
            await self.store.flush()
        await self.listeners.close()
        for reader in readers:
            await reader.close()

    async def end(self) -> None:
        """Let go of all that runs beside, and wait until it has ended."""
        if self.traces is not None:
            self.traces.close()
        await let_go(self._beside)
