"""A tracker's day through the store in pieces, and what stands of it afterwards beside what the engine says of the whole."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.servers.postgres import SharedPostgres
from tests.storage.rows import batch, ticket
from tracker_protocols.model import Fix
from tracker_server.config import Settings, Storage
from tracker_server.model.event import Finding, identity, moment
from tracker_server.pipeline.batch import PositionRow, TelemetryRow
from tracker_server.pipeline.track_book import Ground
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage.copy_rows import register
from tracker_server.storage.database import Database, Role
from tracker_server.storage.ingest_store import IngestStore
from tracker_server.storage.track_grounds import read_ground
from tracker_server.storage.track_queue import TrackQueue
from tracker_server.storage.track_rows import NOT_OF_A_RUN, event_of, stop_of, trip_of, visit_of
from tracker_server.storage.track_store import TrackStage
from tracker_server.track.observation import Observation, arranged, observation
from tracker_server.track.replay import run
from tracker_server.track.settings import TrackSettings
from tracker_server.track.state import ongoing

RECEIVED = datetime.now(UTC)
BASE = TrackSettings(device_speed_limit_mps=22.0)
SHIFT_US = (
    20 * 366 * 86_400_000_000
)  # days of the tests begin in 2000; those of the database, twenty years later

__all__ = ["BASE", "SharedPostgres", "of_engine", "row_of", "standing", "store_in_pieces", "worked_off"]


def database_of(dsn: str) -> Database:
    return Database(Settings(storage=Storage(dsn=dsn)))


def row_of(tracker: Tracker, seen: Observation) -> PositionRow | TelemetryRow:
    at_us = seen.at_us + SHIFT_US
    of = ticket(b"frame", RECEIVED)
    if seen.latitude is None or seen.longitude is None:
        return TelemetryRow(tracker, at_us, seen.digest, "report", seen.attributes, None, of)
    fix = Fix(
        moment(at_us),
        seen.latitude,
        seen.longitude,
        seen.valid,
        None,
        seen.speed_mps,
        seen.course_deg,
        seen.accuracy_m,
    )
    return PositionRow(tracker, at_us, seen.digest, fix, seen.attributes, None, of)


async def store_in_pieces(
    store: IngestStore,
    tracker: Tracker,
    reports: Sequence[Observation],
    rng: random.Random,
    size_max: int,
) -> None:
    left = list(reports)
    while left:
        size = rng.randint(1, size_max)
        piece, left = left[:size], left[size:]
        await store.commit(batch(*(row_of(tracker, seen) for seen in piece)), "default")


async def worked_off(dsn: str, stage: TrackStage) -> int:
    """Work the queue off; answers the slices."""
    database = database_of(dsn)
    queue = TrackQueue(database, stage)
    slices = 0
    async with await database.connect(Role.CORE) as connection:
        register(connection.adapters)
        while await queue.work(connection):
            slices += 1
            assert slices < 1_000
    return slices


def standing(dsn: str, tracker: Tracker) -> tuple[list[bytes], int]:
    """What the tables say: all that stands, what goes on with it; and the odometer."""
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=dict_row) as cursor:

        def rows(statement: str) -> list[dict[str, Any]]:
            return cursor.execute(statement.encode(), [tracker.id]).fetchall()

        found: list[Finding] = [
            event_of(row)
            for row in rows("SELECT * FROM core.events WHERE device_id = %s AND NOT superseded")
            if row["type"] not in NOT_OF_A_RUN
        ]
        for table, make in (("trips", trip_of), ("stops", stop_of), ("visits", visit_of)):
            found += [
                make(row)
                for row in rows(f"SELECT * FROM core.{table} WHERE device_id = %s AND superseded_at IS NULL")
            ]
        odometer_mm = rows("SELECT odometer_mm FROM core.device_state WHERE device_id = %s")[0]["odometer_mm"]
    return sorted(map(_about, found)), odometer_mm


async def of_engine(
    dsn: str, tracker: Tracker, day: Sequence[Observation], base: TrackSettings = BASE
) -> tuple[list[bytes], int]:
    """The same from one run of the engine over the whole day, each report as it is stored."""
    async with await database_of(dsn).connect(Role.CORE) as connection:
        assert tracker.account_id
        assert tracker.id
        ground: Ground = await read_ground(connection, tracker.account_id, base)
    stored: list[Observation] = []
    for seen in day:
        row = row_of(tracker, seen)
        received_us = row.ticket.received_us
        match row:
            case PositionRow():
                stored.append(observation(row.fixed_us, row.digest, received_us, row.fix, row.attributes))
            case TelemetryRow():
                stored.append(observation(row.sent_us, row.digest, received_us, None, row.attributes))
    made = run(arranged(stored), ground.settings_of(tracker.id), ground.fences)
    found = [*made.found, *ongoing(made.state)]
    return sorted(map(_about, found)), made.state.totals.odometer_mm


def _about(found: Finding) -> bytes:
    """What makes it what it is; of what goes on, when and where it began."""
    from msgspec import structs

    from tracker_server.model.event import Stop, Trip

    match found:
        case Trip(ended_us=None):
            found = structs.replace(found, distance_mm=0, end=found.start, speed_max_mps=0.0, fuel_end=None)
            found = structs.replace(found, driver_unique_id=None)
        case Stop(ended_us=None):
            found = structs.replace(found, engine_us=0)
        case _:
            pass
    return identity(found)
