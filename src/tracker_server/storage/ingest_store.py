"""One batch, one transaction, a handful of statements, each report once, and what the track engine makes of it.

Fixes newer than all that is stored for their tracker go straight in by binary COPY; the rest goes through
a staging table with ON CONFLICT DO NOTHING. Whether a fix is newer is only a hint from memory: the
unique key decides, and where memory was wrong the batch is written again with everything staged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any, LiteralString, assert_never

import psycopg
import structlog
from msgspec import Struct, field
from psycopg import AsyncConnection, errors

from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.checksums import record_digest
from tracker_server.model.event import Event, EventType
from tracker_server.pipeline.batch import (
    EPOCH,
    Batch,
    PositionRow,
    QuarantineRow,
    StoreAwayError,
    Stored,
    TelemetryRow,
    micros,
)
from tracker_server.pipeline.quarantine import QuarantineReason
from tracker_server.pipeline.track_book import Held
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
from tracker_server.storage.track_rows import Told, days_of
from tracker_server.storage.track_store import NO_MARK, Taking, TrackStage, fences_of, mark_of
from tracker_server.storage.tracker_rows import read_named
from tracker_server.track.observation import Observation, observation
from tracker_server.track.settings import TrackSettings

log = structlog.get_logger(__name__)

DAY_US = 86_400_000_000
COMMAND_RESULT = "command_result"  # as ``core.telemetry.kind`` has it
DETAIL_CHARACTERS_MAX = 400  # of what the database said of a row

CREATE_STAGING: LiteralString = f"""
CREATE TEMPORARY TABLE staging ON COMMIT DELETE ROWS AS
SELECT {POSITION_COLUMNS} FROM core.positions WHERE false
"""  # noqa: S608
COPY_POSITIONS: LiteralString = f"COPY core.positions ({POSITION_COLUMNS}) FROM STDIN (FORMAT BINARY)"
COPY_STAGING: LiteralString = f"COPY staging ({POSITION_COLUMNS}) FROM STDIN (FORMAT BINARY)"

MOVE_STAGED: LiteralString = f"""moved AS (
    INSERT INTO core.positions ({POSITION_COLUMNS})
    SELECT {POSITION_COLUMNS} FROM staging ON CONFLICT DO NOTHING RETURNING device_id, fixed_at AS at, digest
)"""  # noqa: S608
STORE_TELEMETRY: LiteralString = """told AS (
    INSERT INTO core.telemetry (device_id, sent_at, received_at, digest, kind, protocol, attributes, network)
    SELECT device_id, sent_at, received_at, digest, kind, protocol, attributes::jsonb, network::jsonb
    FROM unnest(%s, %s, %s, %s, %s::text[], %s::text[], %s::text[], %s::text[])
        AS t (device_id, sent_at, received_at, digest, kind, protocol, attributes, network)
    ON CONFLICT DO NOTHING RETURNING device_id, sent_at AS at, digest
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
        latest_digest = CASE WHEN {NEWER} THEN u.digest ELSE s.latest_digest END,
        track_version = CASE WHEN u.version IS NULL THEN s.track_version ELSE s.track_version + 1 END,
        odometer_mm = coalesce(u.odometer_mm, s.odometer_mm),
        engine_us = coalesce(u.engine_us, s.engine_us),
        moving = coalesce(u.moving <> 0, s.moving),
        fence_ids = coalesce(f.fence_ids::bigint[], s.fence_ids),
        online = u.online <> 0 OR s.online,
        inactive = s.inactive AND u.online = 0
    FROM unnest(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        AS u (device_id, contact_at, newest_fixed_at, at, fixed_at, digest, version, odometer_mm, engine_us, moving, online)
    LEFT JOIN unnest(%s, %s::text[]) AS f (device_id, fence_ids) ON f.device_id = u.device_id
    WHERE s.device_id = u.device_id
    RETURNING s.device_id, u.version IS NOT NULL AND s.track_version <> u.version + 1 AS stale
)"""  # noqa: S608
STATE_COLUMNS = 11  # of ``u``
STALE: LiteralString = "(SELECT array_agg(device_id) FROM state WHERE stale)"
LOCK_STATE = "SELECT FROM core.device_state WHERE device_id = ANY(%s) ORDER BY device_id FOR UPDATE"
KEYS: LiteralString = "array_agg(device_id), array_agg(at), array_agg(digest)"

REGISTER = """
INSERT INTO core.devices (unique_id, account_id, name)
SELECT unique_id, a.id, unique_id FROM unnest(%s::text[]) AS unique_id, core.accounts a WHERE a.name = %s
ON CONFLICT (unique_id) WHERE removed_at IS NULL DO NOTHING
"""


class _StaleError(Exception):
    """Another process took something of these trackers since we did."""

    def __init__(self, ids: list[int]) -> None:
        super().__init__(str(ids))
        self.ids = ids


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
    """The writer's connection. Implements the pipeline's ``Store``. ``stage``: the track engine's part; None: the
    engine as it is where nothing is set.
    """

    def __init__(self, database: Database, stage: TrackStage | None = None) -> None:
        self._database = database
        self._stage = stage or TrackStage(TrackSettings())
        self._connection: AsyncConnection[Any] | None = None
        self._native = True
        self._days: set[int] = set()

    # ------------------------------------------------------------------ the port

    async def known(self, names: Collection[DeviceKey]) -> dict[DeviceKey, Tracker]:
        """See ``Store.known``."""
        try:
            return await read_named(await self._connected(), names)
        except AWAY as error:
            await self.close()
            raise StoreAwayError(str(error).strip()) from error

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

    async def flush(self) -> None:
        """Before the end: keep the track engine's states, so that the next start has little to run."""
        try:
            kept = await self._stage.flush(await self._connected())
            log.debug("states of the track engine kept", trackers=kept)
        except psycopg.Error as error:
            log.warning(
                "states of the track engine are not kept; they are made again", error=str(error).strip()
            )

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
        # A handful of statements, each the same for every batch: planned once, not for each batch anew.
        connection.prepare_threshold = 0
        await connection.execute("SET plan_cache_mode = force_generic_plan")
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
        """Write them; where another process took something of the same trackers, once more on what it left."""
        lock = False
        while True:
            try:
                return await self._attempt(part, fresh, late, lock=lock)
            except _StaleError as error:
                log.debug("another process took something of these trackers", ids=error.ids)
                self._stage.forget(error.ids)
                lock = True

    async def _attempt(
        self, part: _Part, fresh: list[PositionRow], late: list[PositionRow], *, lock: bool
    ) -> Stored:
        connection = await self._connected()
        latest = _latest(part)
        now = datetime.now(UTC)
        await self._stage.prepare(connection, latest)
        async with connection.transaction(), connection.cursor() as cursor:
            if lock:
                await cursor.execute(LOCK_STATE, [[tracker.id for tracker in latest]])
            if fresh:
                async with cursor.copy(COPY_POSITIONS) as copy:
                    await copy.write(copy_data(fresh))
            if late:
                async with cursor.copy(COPY_STAGING) as copy:
                    await copy.write(copy_data(late))
            new = _Keys()
            if late or part.telemetry or part.quarantine:
                inserts = insertions(bool(late), bool(part.telemetry), bool(part.quarantine))
                parameters = [*_telemetry(part.telemetry), *_quarantine(part.quarantine)]
                await cursor.execute(inserts, parameters, binary=True)
                new = _keys_of(await cursor.fetchone())
            fed = _fed(fresh, late, part.telemetry, new)
            taking = await self._stage.take(connection, fed, latest, micros(now))
            taking.rows.events += self._results(part.telemetry, new)
            days = await self._days_of(connection, taking)
            texts, values, answers = self._stage.written(taking)
            statement = f"WITH {', '.join([*texts, UPDATE_STATE])} SELECT {', '.join([STALE, *answers])}"
            await cursor.execute(statement.encode(), [*values, *_state(latest, taking)])
            stale, *ids = await cursor.fetchone() or (None, None, None, None, None)
            if stale:
                raise _StaleError(stale)
            await self._stage.told(connection, taking, ids, now)
        self._days |= days
        self._stage.settle(taking)
        for tracker, said in latest.items():
            tracker.contact_stored_us = tracker.contact_us
            if said.newest_us is not None and (
                tracker.newest_us is None or said.newest_us > tracker.newest_us
            ):
                tracker.newest_us = said.newest_us
        repeated = len(late) - len(new.moved) + len(part.telemetry) - len(new.told)
        return Stored(len(fresh) + len(new.moved), repeated)

    def _results(self, telemetry: list[TelemetryRow], new: _Keys) -> list[Told]:
        """Answers of devices to commands are events."""
        return [
            Told(row.tracker.id, Held(result_of(row)), self._stage.place_of(row.tracker.id))
            for row in telemetry
            if row.kind == COMMAND_RESULT
            and row.tracker.id is not None
            and (row.tracker.id, row.sent_us, row.digest) in new.told
        ]

    async def _days_of(self, connection: AsyncConnection[Any], taking: Taking) -> set[int]:
        """Make the partitions that hold the events; answers which days those are."""
        if not self._native or not taking.rows.events:
            return set()
        missing = set(days_of(taking.rows)) - self._days
        if missing:
            await connection.execute("SELECT core.ensure_days(%s::date[])", [_dates(missing)])
        return missing

    async def _ensure_days(self, part: _Part) -> None:
        connection = await self._connected()
        if not self._native:
            return
        days = {row.fixed_us // DAY_US for row in part.positions} | {
            row.sent_us // DAY_US for row in part.telemetry
        }
        missing = days - self._days
        if missing:
            await connection.execute("SELECT core.ensure_days(%s::date[])", [_dates(missing)])
            self._days |= missing


def result_of(row: TelemetryRow) -> Event:
    """A device's answer to a command, as an event."""
    return Event(
        EventType.COMMAND_RESULT, row.sent_us, row.sent_us, digest=row.digest, attributes=row.attributes
    )


class _Keys(Struct):
    """What was not there yet, of what might have been: (tracker, moment, digest)."""

    moved: frozenset[tuple[int, int, int]] = frozenset()
    told: frozenset[tuple[int, int, int]] = frozenset()


def _keys_of(row: Sequence[Any] | None) -> _Keys:
    assert row is not None
    sets = [
        frozenset((device_id, micros(at), digest) for device_id, at, digest in zip(*arrays, strict=True))
        if arrays[0]
        else frozenset[tuple[int, int, int]]()
        for arrays in (row[:3], row[3:6])
    ]
    return _Keys(*sets)


def _fed(
    fresh: list[PositionRow], late: list[PositionRow], telemetry: list[TelemetryRow], new: _Keys
) -> dict[Tracker, list[Observation]]:
    """What the track engine has not seen, each report once."""
    fed: dict[Tracker, list[Observation]] = {}
    for row in fresh:
        fed.setdefault(row.tracker, []).append(
            observation(row.fixed_us, row.digest, row.ticket.received_us, row.fix, row.attributes)
        )
    once: dict[tuple[int, int, int], tuple[Tracker, Observation]] = {}
    for row in late:
        key = (row.tracker.id or 0, row.fixed_us, row.digest)
        if key in new.moved and key not in once:
            once[key] = (
                row.tracker,
                observation(row.fixed_us, row.digest, row.ticket.received_us, row.fix, row.attributes),
            )
    for row in telemetry:
        key = (row.tracker.id or 0, row.sent_us, row.digest)
        if key in new.told and key not in once:
            seen = observation(row.sent_us, row.digest, row.ticket.received_us, None, row.attributes)
            once[key] = (row.tracker, seen)
    for tracker, seen in once.values():
        fed.setdefault(tracker, []).append(seen)
    return fed


def _dates(days: Iterable[int]) -> list[date]:
    return [(EPOCH + timedelta(days=day)).date() for day in sorted(days)]


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
def insertions(staged: bool, telemetry: bool, quarantine: bool) -> bytes:  # noqa: FBT001
    """The statement for all that may be there already. Answers the keys of what was not, of fixes and of telemetry."""
    parts = [MOVE_STAGED] if staged else []
    parts += [STORE_TELEMETRY] if telemetry else []
    parts += [STORE_QUARANTINE] if quarantine else []
    nothing = "SELECT NULL::bigint[] AS a, NULL::timestamptz[] AS b, NULL::bigint[] AS c"
    moved = f"SELECT {KEYS} FROM moved" if staged else nothing  # noqa: S608
    told = f"SELECT {KEYS} FROM told" if telemetry else nothing  # noqa: S608
    return f"WITH {', '.join(parts)} SELECT * FROM ({moved}) AS m CROSS JOIN ({told}) AS t".encode()  # noqa: S608


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


def _tracker_id(one: tuple[Tracker, _Latest]) -> int:
    return one[0].id or 0


def _state(latest: dict[Tracker, _Latest], taking: Taking) -> list[Any]:
    """The parameters of ``UPDATE_STATE``."""
    changes = {change.tracker: change for change in taking.changes}
    online = set(taking.online)
    rows: list[tuple[int | None, ...]] = []
    within: list[int] = []
    fences: list[str] = []
    # by id: two processes that write the same trackers lock them in one order
    for tracker, said in sorted(latest.items(), key=_tracker_id):
        at = said.at or (None, None, None)
        change = changes.get(tracker)
        mark = NO_MARK if change is None else mark_of(change)
        is_online = tracker.online or tracker in online
        rows.append(
            (tracker.id, tracker.contact_us or None, said.newest_us, *at, *mark, 1 if is_online else 0)
        )
        if change is not None and not change.outside:
            within.append(change.tracker.id or 0)
            fences.append(fences_of(change.entry.state))
    columns = zip(*rows, strict=True) if rows else [()] * STATE_COLUMNS
    devices, contact, newest, at_, fixed, digest, *marks, onlines = columns
    return [
        Bigints(devices), Moments(contact), Moments(newest), Moments(at_), Moments(fixed), Bigints(digest),
        *map(Bigints, marks), Bigints(onlines), Bigints(within), fences,
    ]  # fmt: skip
