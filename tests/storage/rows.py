"""Making rows for the store as ingest would, and reading back what was stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.pipeline.test_session import Recorder
from tracker_protocols.model import Fix
from tracker_protocols.wire.checksums import record_digest
from tracker_server.config import Settings, Storage
from tracker_server.pipeline.batch import Batch, PositionRow, TelemetryRow, micros
from tracker_server.pipeline.session import Session, Ticket
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage.database import Database
from tracker_server.storage.ingest_store import IngestStore

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LATER = NOON + timedelta(days=200)


def ticket(frame: bytes = b"frame", received_at: datetime = LATER) -> Ticket:
    session = Session("gt06", "tcp", "127.0.0.1:1", Recorder())
    return Ticket(session, frame, micros(received_at), b"ack", 0.0)


def position(
    tracker: Tracker,
    at: datetime,
    record: bytes = b"record",
    *,
    received_at: datetime = LATER,
    **attributes: Any,
) -> PositionRow:
    fix = Fix(at, 52.0, 21.0, speed_mps=10.0, course_deg=271.0)
    of = ticket(b"frame of " + record, received_at)
    return PositionRow(tracker, micros(at), record_digest(record), fix, attributes, None, of)


def telemetry(tracker: Tracker, at: datetime, record: bytes = b"record", **attributes: Any) -> TelemetryRow:
    return TelemetryRow(
        tracker, micros(at), record_digest(record), "report", attributes, None, ticket(record)
    )


def batch(*rows: PositionRow | TelemetryRow) -> Batch:
    return Batch(
        [row for row in rows if isinstance(row, PositionRow)],
        [row for row in rows if isinstance(row, TelemetryRow)],
        tickets=[row.ticket for row in rows],
    )


@asynccontextmanager
async def store_of(dsn: str) -> AsyncGenerator[IngestStore]:
    store = IngestStore(Database(Settings(storage=Storage(dsn=dsn))))
    yield store
    await store.close()


def known(dsn: str, *unique_ids: str) -> list[Tracker]:
    """Devices of the account ``default``, as the server would have read them at its start."""
    with psycopg.connect(dsn) as connection:
        for unique_id in unique_ids:
            connection.execute(
                "INSERT INTO core.devices (unique_id, name, account_id)"
                " SELECT %(id)s, %(id)s, id FROM core.accounts WHERE name = 'default'"
                " ON CONFLICT (unique_id) WHERE removed_at IS NULL DO NOTHING",
                {"id": unique_id},
            )
        rows = connection.execute(
            "SELECT id, unique_id, account_id, newest_fixed_at FROM core.devices d"
            " JOIN core.device_state s ON s.device_id = d.id WHERE unique_id = ANY(%s) ORDER BY d.id",
            [list(unique_ids)],
        )
        return [
            Tracker(unique_id, tracker_id, account_id, micros(newest) if newest else None)
            for tracker_id, unique_id, account_id, newest in rows
        ]


def query(dsn: str, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    with psycopg.connect(dsn) as connection, connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute(statement.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


def count(dsn: str, table: str) -> int:
    return query(dsn, f"SELECT count(*) AS n FROM {table}")[0]["n"]
