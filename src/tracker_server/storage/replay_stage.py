"""The track engine for a replay beside the server: what it finds is told as the server would tell it, if it is young."""

from __future__ import annotations

from tracker_server.config import Settings
from tracker_server.metrics import Metrics
from tracker_server.pipeline.alert_book import AlertBook, link_of
from tracker_server.pipeline.trackers import Trackers
from tracker_server.storage.alert_outbox import AlertWriter
from tracker_server.storage.alert_rules import read_households
from tracker_server.storage.database import Database, Role
from tracker_server.storage.track_grounds import engine_settings
from tracker_server.storage.track_store import TrackStage
from tracker_server.storage.tracker_rows import read_all


async def replay_stage(database: Database, settings: Settings) -> TrackStage:
    """One of its own, with rules and gate as they are now."""
    book, trackers = AlertBook(link_of(settings.alerts, settings.api)), Trackers()
    async with await database.connect(Role.CORE) as connection:
        book.put_all(await read_households(connection))
        trackers.put_all(await read_all(connection))
    writer = AlertWriter(book, trackers, settings.alerts, Metrics())
    return TrackStage(engine_settings(settings), writer.write_alerts)
