"""One batch, one transaction, at most five statements, each report once.

Fixes newer than all that is stored for their tracker go straight in by binary COPY; the rest goes through
a staging table with ON CONFLICT DO NOTHING. Whether a fix is newer is only a hint from memory: the
unique key decides, and where memory was wrong the batch is written again with everything staged.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import cache
from typing import Any, LiteralString, assert_never

import psycopg
import structlog
from msgspec import Struct, field
from psycopg import AsyncConnection, errors

from tracker_protocols.wire.checksums import record_digest
from tracker_server.pipeline.batch import (
    EPOCH,
    Batch,
    PositionRow,
    QuarantineRow,
    StoreAwayError,
    Stored,
    TelemetryRow,
)
from tracker_server.pipeline.quarantine import QuarantineReason
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage.copy_rows import (
    POSITION_COLUMNS,
    Bigints,
    Moments,
    copy_data,
    json_text,
    register,
)
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.embedded import EmbeddedError

log = structlog.get_logger(__name__)

DAY_US = 86_400_000_000
DETAIL_CHARACTERS_MAX = 400  # of what the database said of a row

CREATE_STAGING: LiteralString = f"""
CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS AS
SELECT {POSITION_COLUMNS} FROM core.positions WHERE false
"""  # noqa: S608
COPY_POSITIONS: LiteralString = f"COPY core.positions ({POSITION_COLUMNS}) FROM STDIN (FORMAT BINARY)"
COPY_STAGING: LiteralString = f"COPY staging ({POSITION_COLUMNS}) FROM STDIN (FORMAT BINARY)"

MOVE_STAGED: LiteralString = f"""moved AS (
    INSERT INTO core.positions ({POSITION_COLUMNS})
    SELECT {POSITION_COLUMNS} FROM staging ON CONFLICT DO NOTHING RETURNING 1
)"""  # noqa: S608
STORE_TELEMETRY: LiteralString = """told AS (
    INSERT INTO core.telemetry (device_id, sent_at, received_at, digest, kind, protocol, attributes, network)
    SELECT device_id, sent_at, received_at, digest, kind, protocol, attributes::jsonb, network::jsonb
    FROM unnest(%s, %s, %s, %s, %s::text[], %s::text[], %s::text[], %s::text[])
        AS t (device_id, sent_at, received_at, digest, kind, protocol, attributes, network)
    ON CONFLICT DO NOTHING RETURNING 1
)"""
STORE_QUARANTINE: LiteralString = """kept AS (
    INSERT INTO core.quarantine
        (received_at, device_id, reports, digest, unique_id, protocol, transport, remote, reason, detail, frame)
    SELECT received_at, device_id, reports, digest, unique_id, protocol, transport, remote, reason, detail, frame
    FROM unnest(%s, %s, %s, %s, %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bytea[])
        AS q (received_at, device_id, reports, digest, unique_id, protocol, transport, remote, reason, detail, frame)
    ON CONFLICT DO NOTHING RETURNING 1
)"""
NEWER: LiteralString = (
    "s.latest_at IS NULL OR (u.at, u.fixed_at, u.digest) > (s.latest_at, s.latest_fixed_at, s.latest_digest)"
)
UPDATE_STATE: LiteralString = f"""state AS (
    UPDATE core.device_state AS s SET
        contact_at = greatest(s.contact_at, u.contact_at),
        newest_fixed_at = greatest(s.newest_fixed_at, u.newest_fixed_at),
        latest_at = CASE WHEN {NEWER} THEN u.at ELSE s.latest_at END,
        latest_fixed_at = CASE WHEN {NEWER} THEN u.fixed_at ELSE s.latest_fixed_at END,
        latest_digest = CASE WHEN {NEWER} THEN u.digest ELSE s.latest_digest END
    FROM unnest(%s, %s, %s, %s, %s, %s) AS u (device_id, contact_at, newest_fixed_at, at, fixed_at, digest)
    WHERE s.device_id = u.device_id
)"""  # noqa: S608

REGISTER = """
INSERT INTO core.devices (unique_id, account_id, name)
SELECT unique_id, a.id, unique_id FROM unnest(%s::text[]) AS unique_id, core.accounts a WHERE a.name = %s
ON CONFLICT (unique_id) WHERE removed_at IS NULL DO NOTHING
"""


class _Latest(Struct, gc=False):
    """What one batch says of one tracker's newest."""

    newest_us: int | None = None
    at: tuple[int, int, int] | None = None  # least(fixed, received), fixed, digest


class _Part(Struct):
    """Rows to be written together; a batch is one, until the database refuses a row of it."""

    positions: list[PositionRow] = field(default_factory=list)
    telemetry: list[TelemetryRow] = field(default_factory=list)
    quarantine: list[QuarantineRow] = field(default_factory=list)
    contacts: set[Tracker] = field(default_factory=set)

    @property
    def rows(self) -> list[PositionRow | TelemetryRow | QuarantineRow]:
        """All rows, whatever their kind."""
        return [*self.positions, *self.telemetry, *self.quarantine]

    def halves(self) -> tuple[_Part, _Part]:
        """Two parts of half the rows each."""
        rows = self.rows
        middle = len(rows) // 2
        first, second = _part_of(rows[:middle]), _part_of(rows[middle:])
        first.contacts = self.contacts
        return first, second


def _part_of(rows: Iterable[PositionRow | TelemetryRow | QuarantineRow]) -> _Part:
    part = _Part()
    for row in rows:
        match row:
            case PositionRow():
                part.positions.append(row)
            case TelemetryRow():
                part.telemetry.append(row)
            case QuarantineRow():
                part.quarantine.append(row)
            case _:
                assert_never(row)
    return part


class IngestStore:
    """The writer's connection. Implements the pipeline's ``Store``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: AsyncConnection[Any] | None = None
        self._native = True
        self._days: set[int] = set()

    # ------------------------------------------------------------------ the port

    async def commit(self, batch: Batch, account_for_new: str) -> Stored:
        """See ``Store.commit``."""
        part = _Part(batch.positions, batch.telemetry, batch.quarantine, batch.contacts)
        try:
            await self._register_new(part, account_for_new)
            return await self._write(part)
        except AWAY as error:
            await self.close()
            raise StoreAwayError(str(error).strip()) from error
        except (psycopg.ProgrammingError, psycopg.InternalError, psycopg.NotSupportedError) as error:
            # not the rows' fault: a schema that is not ours, or a defect. Nothing is answered until it is mended
            log.exception("the database refuses our statements")
            await self.close()
            raise StoreAwayError(str(error).strip()) from error

    async def revive(self) -> None:
        """See ``Store.revive``."""
        try:
            await self._database.revive()
            await self._connected()
        except (*AWAY, EmbeddedError) as error:
            raise StoreAwayError(str(error).strip()) from error

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            connection = await self._database.connect(Role.CORE)
            try:
                await self._greet(connection)
            except BaseException:
                await connection.close()
                raise
            self._connection = connection
        return self._connection

    async def _greet(self, connection: AsyncConnection[Any]) -> None:
        """What a new connection needs before its first batch."""
        register(connection.adapters)
        await connection.execute(CREATE_STAGING)
        native = await (await connection.execute("SELECT bool_or(native) FROM core.time_tables")).fetchone()
        self._native = bool(native and native[0])
        self._days.clear()

    # ------------------------------------------------------------------ writing

    async def _register_new(self, part: _Part, account: str) -> None:
        """Give unknown devices that are to be registered their rows. Before the batch: a tracker without a
        fix does no harm, a fix without a tracker would.
        """
        trackers = {row.tracker for row in (*part.positions, *part.telemetry)} | part.contacts
        new = {tracker.unique_id: tracker for tracker in trackers if tracker.id is None}
        if not new:
            return
        connection = await self._connected()
        await connection.execute(REGISTER, [list(new), account])
        found = await connection.execute(
            "SELECT unique_id, id, account_id FROM core.devices WHERE removed_at IS NULL AND unique_id = ANY(%s)",
            [list(new)],
        )
        for unique_id, tracker_id, account_id in await found.fetchall():
            new[unique_id].id, new[unique_id].account_id = tracker_id, account_id
        lost = [unique_id for unique_id, tracker in new.items() if tracker.id is None]
        if lost:
            raise psycopg.ProgrammingError(f"devices.unknown_account: there is no account named {account!r}")

    async def _write(self, part: _Part, *, days_are_there: bool = False) -> Stored:
        await self._ensure_days(part)
        fresh, late = self._fresh_and_late(part)
        try:
            try:
                return await self._transaction(part, fresh, late)
            except errors.UniqueViolation:
                log.debug("another process stored some of these; writing through staging")
            return await self._transaction(part, [], part.positions)
        except errors.CheckViolation as error:
            if days_are_there:
                return await self._write_in_parts(part, error)
            self._days.clear()  # retention, or somebody, may have dropped a partition that we made
            return await self._write(part, days_are_there=True)
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            return await self._write_in_parts(part, error)

    async def _write_in_parts(self, part: _Part, error: psycopg.Error) -> Stored:
        """The database refused a row: find it by halving, so that it costs itself and not its batch."""
        rows = part.rows
        if len(rows) > 1:
            first, second = [await self._write(half, days_are_there=True) for half in part.halves()]
            return Stored(
                first.fixes + second.fixes,
                first.repeated + second.repeated,
                first.refused + second.refused,
            )
        row = rows[0]
        if isinstance(row, QuarantineRow):
            log.error("a quarantined frame cannot be stored", frame=row.ticket.frame.hex(), error=str(error))
            row.ticket.refused = True
            return Stored(refused=(row.ticket,))
        detail = f"{error.sqlstate}: {str(error).strip()}"[:DETAIL_CHARACTERS_MAX]
        log.warning("the database refused a report", device=row.tracker.unique_id, error=detail)
        refused = QuarantineRow(
            row.tracker.unique_id, row.tracker, QuarantineReason.REFUSED, detail, 1, row.ticket
        )
        await self._write(_Part(quarantine=[refused]))
        return Stored(refused=(row.ticket,))

    def _fresh_and_late(self, part: _Part) -> tuple[list[PositionRow], list[PositionRow]]:
        """Those known to be new, in order of time, and those that must be looked for."""
        fresh: list[PositionRow] = []
        late: list[PositionRow] = []
        newest: dict[Tracker, int] = {}
        for row in sorted(part.positions, key=_fixed_us):
            tracker = row.tracker
            last = newest.get(tracker)
            if last is None:
                last = tracker.newest_us
            if last is None or row.fixed_us > last:
                fresh.append(row)
                newest[tracker] = row.fixed_us
            else:
                late.append(row)
        return fresh, late

    async def _transaction(self, part: _Part, fresh: list[PositionRow], late: list[PositionRow]) -> Stored:
        connection = await self._connected()
        latest = _latest(part)
        async with connection.transaction(), connection.cursor() as cursor:
            if fresh:
                async with cursor.copy(COPY_POSITIONS) as copy:
                    await copy.write(copy_data(fresh))
            if late:
                async with cursor.copy(COPY_STAGING) as copy:
                    await copy.write(copy_data(late))
            statement = tail(bool(late), bool(part.telemetry), bool(part.quarantine))
            parameters = [*_telemetry(part.telemetry), *_quarantine(part.quarantine), *_state(latest)]
            await cursor.execute(statement, parameters)
            counts = await cursor.fetchone()
        moved, told = counts or (0, 0)
        for tracker, said in latest.items():
            tracker.contact_stored_us = tracker.contact_us
            if said.newest_us is not None and (
                tracker.newest_us is None or said.newest_us > tracker.newest_us
            ):
                tracker.newest_us = said.newest_us
        repeated = len(late) - moved + len(part.telemetry) - told
        return Stored(len(fresh) + moved, repeated)

    async def _ensure_days(self, part: _Part) -> None:
        connection = await self._connected()
        if not self._native:
            return
        days = {row.fixed_us // DAY_US for row in part.positions} | {
            row.sent_us // DAY_US for row in part.telemetry
        }
        missing = days - self._days
        if missing:
            dates = [(EPOCH + timedelta(days=day)).date() for day in sorted(missing)]
            await connection.execute("SELECT core.ensure_days(%s::date[])", [dates])
            self._days |= missing


def _fixed_us(row: PositionRow) -> int:
    return row.fixed_us


def _latest(part: _Part) -> dict[Tracker, _Latest]:
    latest: dict[Tracker, _Latest] = {tracker: _Latest() for tracker in part.contacts}
    for telemetry in part.telemetry:
        if telemetry.tracker not in latest:
            latest[telemetry.tracker] = _Latest()
    for row in part.positions:
        said = latest.get(row.tracker)
        if said is None:
            said = latest[row.tracker] = _Latest()
        fixed_us = row.fixed_us
        if said.newest_us is None or fixed_us > said.newest_us:
            said.newest_us = fixed_us
        at = (min(fixed_us, row.ticket.received_us), fixed_us, row.digest)
        if said.at is None or at > said.at:
            said.at = at
    return latest


@cache
def tail(staged: bool, telemetry: bool, quarantine: bool) -> bytes:  # noqa: FBT001
    """The batch's last statement: all that is not COPY, in one. Answers how many rows were new."""
    parts = [MOVE_STAGED] if staged else []
    parts += [STORE_TELEMETRY] if telemetry else []
    parts += [STORE_QUARANTINE] if quarantine else []
    moved = "(SELECT count(*) FROM moved)" if staged else "0"
    told = "(SELECT count(*) FROM told)" if telemetry else "0"
    return f"WITH {', '.join([*parts, UPDATE_STATE])} SELECT {moved}, {told}".encode()


def _telemetry(rows: list[TelemetryRow]) -> list[Any]:
    if not rows:
        return []
    return [
        Bigints([row.tracker.id for row in rows]),
        Moments([row.sent_us for row in rows]),
        Moments([row.ticket.received_us for row in rows]),
        Bigints([row.digest for row in rows]),
        [row.kind for row in rows],
        [row.ticket.session.protocol for row in rows],
        [json_text(row.attributes) for row in rows],
        [None if row.network is None else json_text(row.network) for row in rows],
    ]


def _quarantine(rows: list[QuarantineRow]) -> list[Any]:
    if not rows:
        return []
    sessions = [row.ticket.session for row in rows]
    return [
        Moments([row.ticket.received_us for row in rows]),
        Bigints([row.tracker.id if row.tracker else None for row in rows]),
        Bigints([row.reports for row in rows]),
        Bigints([record_digest(row.ticket.frame) for row in rows]),
        [_text(row.unique_id) for row in rows],
        [session.protocol for session in sessions],
        [session.transport for session in sessions],
        [session.remote for session in sessions],
        [row.reason for row in rows],
        [_text(row.detail) for row in rows],
        [row.ticket.frame for row in rows],
    ]


def _text(text: str) -> str:
    """Text that PostgreSQL takes: it has no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _state(latest: dict[Tracker, _Latest]) -> list[Any]:
    said = list(latest.values())
    return [
        Bigints([tracker.id for tracker in latest]),
        Moments([tracker.contact_us or None for tracker in latest]),
        Moments([one.newest_us for one in said]),
        Moments([one.at[0] if one.at else None for one in said]),
        Moments([one.at[1] if one.at else None for one in said]),
        Bigints([one.at[2] if one.at else None for one in said]),
    ]
