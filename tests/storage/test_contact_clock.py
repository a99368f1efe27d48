"""Silence is told once, when it has lasted long enough and not before, with time as an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.storage.rows import batch, known, position, query, telemetry
from tests.storage.track_rows import database_of
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.trackers import Trackers
from tracker_server.storage.contact_clock import ContactClock
from tracker_server.storage.copy_rows import register
from tracker_server.storage.database import Role
from tracker_server.storage.ingest_store import IngestStore
from tracker_server.storage.track_store import TrackStage
from tracker_server.track.settings import TrackSettings

EVENTS = """
SELECT type, occurred_at FROM core.events WHERE type LIKE 'device%%' AND type NOT IN ('deviceMoving', 'deviceStopped')
ORDER BY occurred_at, type
"""


async def test_online_offline_inactive_and_back(postgres_dsn: str) -> None:
    begun = datetime.now(UTC)
    now = begun
    stage = TrackStage(TrackSettings(offline_after_s=600, inactive_after_s=3_600))
    database = database_of(postgres_dsn)
    store = IngestStore(database, stage)
    (tracker,) = known(postgres_dsn, "T1")
    trackers = Trackers()
    trackers.add(tracker)
    clock = ContactClock(database, trackers, stage, lambda: now)
    stage.came_online = clock.watch
    tracker.contact_us = micros(begun)
    await store.commit(batch(position(tracker, begun, received_at=begun)), "default")
    await store.commit(batch(position(tracker, begun + timedelta(seconds=9), received_at=begun)), "default")
    async with await database.connect(Role.CORE) as connection:
        register(connection.adapters)
        assert clock.due() == []
        now = begun + timedelta(seconds=599)
        tracker.contact_us = micros(now)  # a heartbeat that is not stored yet
        now = begun + timedelta(seconds=601)
        assert clock.due() == [], "it was heard meanwhile"
        for wait_s in (1_200, 4_200):
            now = begun + timedelta(seconds=wait_s)
            await clock.tell(connection, clock.due())
        assert clock.due() == []
    assert tracker.online is False
    told = [
        (row["type"], round((row["occurred_at"] - begun).total_seconds()))
        for row in query(postgres_dsn, EVENTS)
    ]
    assert told == [("deviceOnline", 0), ("deviceOffline", 1_199), ("deviceInactive", 4_199)]
    assert query(postgres_dsn, "SELECT online, inactive FROM core.device_state") == [
        {"online": False, "inactive": True}
    ]
    tracker.contact_us = micros(datetime.now(UTC))
    await store.commit(batch(position(tracker, begun + timedelta(seconds=20), received_at=begun)), "default")
    assert [row["type"] for row in query(postgres_dsn, EVENTS)].count("deviceOnline") == 2
    assert query(postgres_dsn, "SELECT online, inactive FROM core.device_state") == [
        {"online": True, "inactive": False}
    ]
    await store.close()


async def test_another_process_that_told_it_or_heard_it_is_believed(postgres_dsn: str) -> None:
    begun = datetime.now(UTC)
    later = begun + timedelta(hours=1)
    stage = TrackStage(TrackSettings())
    database = database_of(postgres_dsn)
    trackers = Trackers()
    for tracker in known(postgres_dsn, "T1", "T2", "T3"):
        tracker.online, tracker.contact_us = True, micros(begun)
        trackers.add(tracker)
    query(postgres_dsn, "UPDATE core.device_state SET online = true, contact_at = %s", [begun])
    query(postgres_dsn, "UPDATE core.device_state SET online = false WHERE device_id = 1")
    query(postgres_dsn, "UPDATE core.device_state SET contact_at = %s WHERE device_id = 2", [later])
    now = begun
    clock = ContactClock(database, trackers, stage, lambda: now)
    for tracker in trackers:
        clock.watch(tracker)
    now = later
    async with await database.connect(Role.CORE) as connection:
        register(connection.adapters)
        await clock.tell(connection, clock.due())
    assert [row["device_id"] for row in query(postgres_dsn, "SELECT device_id FROM core.events")] == [3]


async def test_a_commands_result_is_an_event(postgres_dsn: str) -> None:
    (tracker,) = known(postgres_dsn, "T1")
    store = IngestStore(database_of(postgres_dsn), TrackStage(TrackSettings()))
    row = telemetry(tracker, datetime.now(UTC), result="relay off")
    row.kind = "command_result"
    for _ in range(2):
        await store.commit(batch(row), "default")
    assert query(postgres_dsn, "SELECT type, attributes FROM core.events") == [
        {"type": "commandResult", "attributes": {"result": "relay off"}}
    ]
    await store.close()
