"""Bringing a fleet over from a Traccar database in PostgreSQL: people, groups, trackers, fences, history.

The other database is read in transactions that write nothing. Whatever is brought over is remembered, so that a run that was cut
short goes on, and one that is repeated adds what is new. History goes in by the same commit as everything that devices
send, each fix under a key made of its number there; what cannot be a fix goes to quarantine as it stands. At the end each number is looked for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, LiteralString

import msgspec
from msgspec import Struct, field
from psycopg import AsyncConnection, errors
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tracker_protocols.wire.checksums import record_digest
from tracker_server.pipeline.batch import Batch, PositionRow, QuarantineRow, micros
from tracker_server.pipeline.quarantine import QuarantineReason
from tracker_server.pipeline.replay import NobodyListens
from tracker_server.pipeline.session import Session, Ticket
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage.copy_rows import Bigints, Moments, register
from tracker_server.storage.database import Database, Role
from tracker_server.storage.devices import NewDevice, add_devices, connected, hold_device
from tracker_server.storage.fences import add_fences, assign_fence
from tracker_server.storage.ingest_store import IngestStore
from tracker_server.storage.traccar_rows import (
    BadRowError,
    attributes_of,
    fence_of,
    fix_of,
    json_of,
    moment,
    network_of,
    user_of,
)
from tracker_server.storage.users import EmailTakenError, add_user, user_by_email
from tracker_server.track.fences.errors import FenceError

PAGE_ROWS: Final = 2_000  # of history in one commit
TABLE: Final = "traccar"  # the protocol's name of what lies in quarantine
PROBLEMS_MAX: Final = 1_000  # told; all are counted
NEEDED: Final = ("tc_devices", "tc_positions", "tc_users")
HOLD: Final = "was disabled in Traccar"

# (fixtime, id) and not id alone: the other side has an index over device and fix time
PAGE = """
SELECT * FROM tc_positions WHERE deviceid = %(device)s AND (fixtime, id) > (%(at)s, %(id)s)
ORDER BY fixtime, id LIMIT %(rows)s
"""
KEYS = """
SELECT id, fixtime FROM tc_positions WHERE deviceid = %(device)s AND (fixtime, id) > (%(at)s, %(id)s)
ORDER BY fixtime, id LIMIT %(rows)s
"""
MISSING: LiteralString = """
SELECT u.id FROM unnest(%s, %s, %s) AS u (id, fixed_at, digest)
WHERE NOT EXISTS (SELECT FROM core.positions p WHERE p.device_id = %s AND p.fixed_at = u.fixed_at AND p.digest = u.digest)
"""
KEPT = "SELECT count(DISTINCT digest) FROM core.quarantine WHERE unique_id = %s AND digest = ANY(%s)"
CHANGE_CARD = """
UPDATE core.devices SET group_id = %(group)s, category = %(category)s, phone = %(phone)s, model = %(model)s,
    contact = %(contact)s, attributes = %(attributes)s
WHERE id = %(id)s
"""
RUN_AGAIN = """
INSERT INTO core.track_queue (device_id, from_at) VALUES (%s, %s)
ON CONFLICT (device_id) DO UPDATE SET from_at = least(core.track_queue.from_at, excluded.from_at), queued_at = now()
"""
LONG_AGO: Final = datetime(1, 1, 1)  # noqa: DTZ001  (the other side's moments have no zone)


class SourceError(Exception):
    """The other database cannot be brought over. The message says what to do."""


class Imported(Struct):
    """What came of it. ``problems``: rows that were left behind, and why; ``left`` counts them."""

    users: int = 0
    groups: int = 0
    devices: int = 0
    fences: int = 0
    stored: int = 0
    repeated: int = 0
    quarantined: int = 0
    positions: int = 0
    missing: int = 0
    left: int = 0
    problems: list[str] = field(default_factory=list)

    def leave(self, what: str) -> None:
        """One row less; told while there are few."""
        self.left += 1
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(what)


HashPassword = Callable[[str, str], Awaitable[str]]
"""The other side's hash and salt to what is stored here."""


class TraccarImport:
    """One run. ``source``: the operator's name for the other server; ``account_id``: whose the trackers will be."""

    def __init__(
        self, database: Database, dsn: str, *, source: str, account_id: int, account: str, future_max_s: int
    ) -> None:
        self._database = database
        self._dsn = dsn
        self._source = source
        self._account_id = account_id
        self._account = account
        self._future_max = timedelta(seconds=future_max_s)
        self._maps: dict[str, dict[int, int]] = {}
        self._names: dict[int, str] = {}  # unique id by the other side's number
        self._incomplete: set[int] = set()
        self.done = Imported()

    async def objects(self, hash_password: HashPassword) -> Imported:
        """People, groups, trackers, fences, and who was given what. Raises SourceError and psycopg errors."""
        async with await self._other() as other, await self._database.connect(Role.CORE) as ours:
            await self._check(other)
            await self._read_maps(ours)
            async with ours.transaction():
                await self._users(other, ours, hash_password)
                await self._groups(other, ours)
                await self._devices(other, ours)
                await self._fences(other, ours)
                await self._links(other, ours)
        return self.done

    async def count(self) -> int:
        """How many positions of the trackers that were brought over the other side has."""
        async with await self._other() as other:
            rows = await other.execute(
                "SELECT count(*) FROM tc_positions WHERE deviceid = ANY(%s)", [list(self._map("device"))]
            )
            found = await rows.fetchone()
            return found["count"] if found else 0

    async def history(self, advance: Callable[[int], None] = lambda _: None) -> Imported:
        """Every position of every tracker, each once. ``advance`` is told how many more are done."""
        store = IngestStore(self._database)
        try:
            async with await self._other() as other, await self._database.connect(Role.CORE) as ours:
                for theirs, device_id in sorted(self._map("device").items()):
                    await self._history_of(other, ours, store, theirs, device_id, advance)
        finally:
            await store.close()
        return self.done

    async def verify(self, advance: Callable[[int], None] = lambda _: None) -> Imported:
        """Look for each of the other side's positions here; ``missing`` counts those that are not."""
        self.done.missing = self.done.positions = 0
        self._incomplete.clear()
        async with await self._other() as other, await self._database.connect(Role.CORE) as ours:
            register(ours.adapters)
            for theirs, device_id in sorted(self._map("device").items()):
                async for page in self._pages(other, KEYS, theirs, (LONG_AGO, 0)):
                    self.done.positions += len(page)
                    missing = await self._missing(ours, device_id, page)
                    if missing:
                        kept = await self._kept(other, ours, self._names[theirs], missing)
                        self.done.missing += len(missing) - kept
                        self._incomplete |= {device_id} if kept < len(missing) else set()
                    advance(len(page))
        return self.done

    async def begin_again(self) -> bool:
        """Let the next ``history`` read the trackers whole of which something is missing: what came late on the other side
        lies before what was read. False where nothing is missing.
        """
        async with await self._database.connect(Role.CORE) as ours:
            await ours.execute(
                "DELETE FROM core.import_progress WHERE source = %s AND device_id = ANY(%s)",
                [self._source, list(self._incomplete)],
            )
        return bool(self._incomplete)

    # ------------------------------------------------------------------ the other side

    async def _other(self) -> AsyncConnection[dict[str, Any]]:
        other = await AsyncConnection[dict[str, Any]].connect(
            self._dsn, autocommit=True, row_factory=dict_row, application_name="tracker-server import"
        )
        await other.execute("SET default_transaction_read_only = on")
        return other

    async def _check(self, other: AsyncConnection[dict[str, Any]]) -> None:
        for table in NEEDED:
            rows = await other.execute("SELECT to_regclass(%s) IS NOT NULL AS there", [table])
            found = await rows.fetchone()
            if not found or not found["there"]:
                raise SourceError(
                    f"--dsn: there is no table {table}; is that the database of a Traccar server?"
                )

    async def _all(
        self, other: AsyncConnection[dict[str, Any]], table: LiteralString
    ) -> list[dict[str, Any]]:
        """All rows of a table; none where this version has no such table."""
        try:
            return await (await other.execute(f"SELECT * FROM {table} ORDER BY 1")).fetchall()  # noqa: S608
        except errors.UndefinedTable:
            return []

    @staticmethod
    async def _pages(
        other: AsyncConnection[dict[str, Any]],
        statement: LiteralString,
        theirs: int,
        after: tuple[datetime, int],
    ) -> AsyncIterator[list[dict[str, Any]]]:
        at, number = after
        while True:
            values = {"device": theirs, "at": at, "id": number, "rows": PAGE_ROWS}
            page = await (await other.execute(statement, values)).fetchall()
            if page:
                yield page
                at, number = page[-1]["fixtime"], page[-1]["id"]
            if len(page) < PAGE_ROWS:
                return

    # ------------------------------------------------------------------ what was brought over before

    async def _read_maps(self, ours: AsyncConnection[Any]) -> None:
        rows = await ours.execute(
            "SELECT kind, source_id, our_id FROM core.import_map WHERE source = %s", [self._source]
        )
        for kind, theirs, our_id in await rows.fetchall():
            self._map(kind)[theirs] = our_id

    def _map(self, kind: str) -> dict[int, int]:
        return self._maps.setdefault(kind, {})

    async def _remember(self, ours: AsyncConnection[Any], kind: str, theirs: int, our_id: int) -> None:
        self._map(kind)[theirs] = our_id
        await ours.execute(
            "INSERT INTO core.import_map VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [self._source, kind, theirs, our_id],
        )

    # ------------------------------------------------------------------ objects

    async def _users(
        self, other: AsyncConnection[Any], ours: AsyncConnection[Any], hash_password: HashPassword
    ) -> None:
        for row in await self._all(other, "tc_users"):
            if row["id"] in self._map("user"):
                continue
            if row.get("temporary") or not row.get("email"):
                continue  # a share link's guest: the link would not lead here
            hashed, salt = row.get("hashedpassword"), row.get("salt")
            password = await hash_password(hashed, salt) if hashed and salt else None
            try:
                async with ours.transaction():
                    number = await add_user(ours, user_of(row, self._account_id, password))
            except EmailTakenError:
                found = await user_by_email(ours, row["email"])
                assert found is not None
                if found.account_id not in {self._account_id, None}:
                    self.done.leave(f"user {row['email']}: signs in to another account here")
                    continue
                number = found.id
            await self._remember(ours, "user", row["id"], number)
            self.done.users += 1

    async def _groups(self, other: AsyncConnection[Any], ours: AsyncConnection[Any]) -> None:
        rows = [row for row in await self._all(other, "tc_groups") if row["id"] not in self._map("group")]
        for row in rows:
            added = await ours.execute(
                "INSERT INTO core.groups (account_id, name, attributes) VALUES (%s, %s, %s) RETURNING id",
                [
                    self._account_id,
                    row["name"] or f"group {row['id']}",
                    Jsonb(json_of(row.get("attributes"))),
                ],
            )
            await self._remember(ours, "group", row["id"], _id(await added.fetchone()))
            self.done.groups += 1
        for row in rows:
            if parent := self._map("group").get(row.get("groupid") or 0):
                await ours.execute(
                    "UPDATE core.groups SET group_id = %s WHERE id = %s",
                    [parent, self._map("group")[row["id"]]],
                )

    async def _devices(self, other: AsyncConnection[Any], ours: AsyncConnection[Any]) -> None:
        rows = await self._all(other, "tc_devices")
        self._names = {row["id"]: row["uniqueid"] for row in rows}
        new = [row for row in rows if row["id"] not in self._map("device")]
        taken = await connected(ours, [row["uniqueid"] for row in new])
        for row in [row for row in new if taken.get(row["uniqueid"], self._account) != self._account]:
            owner = taken[row["uniqueid"]]
            self.done.leave(f"tracker {row['uniqueid']}: is connected here already, in account {owner!r}")
            new.remove(row)
        await add_devices(
            ours,
            [
                NewDevice(row["uniqueid"], self._account_id, row["name"] or row["uniqueid"])
                for row in new
                if row["uniqueid"] not in taken
            ],
        )
        found = await ours.execute(
            "SELECT unique_id, id FROM core.devices WHERE removed_at IS NULL AND unique_id = ANY(%s)",
            [[row["uniqueid"] for row in new]],
        )
        ids = dict(await found.fetchall())
        for row in new:
            number = ids[row["uniqueid"]]
            await ours.execute(
                CHANGE_CARD,
                {
                    "id": number,
                    "group": self._map("group").get(row.get("groupid") or 0),
                    **{name: row.get(name) or "" for name in ("category", "phone", "model", "contact")},
                    "attributes": Jsonb(json_of(row.get("attributes"))),
                },
            )
            if row.get("disabled"):
                await hold_device(ours, number, HOLD)
            await self._remember(ours, "device", row["id"], number)
            self.done.devices += 1

    async def _fences(self, other: AsyncConnection[Any], ours: AsyncConnection[Any]) -> None:
        for row in await self._all(other, "tc_geofences"):
            if row["id"] in self._map("geofence"):
                continue
            try:
                fence = fence_of(row)
            except (BadRowError, FenceError) as error:
                self.done.leave(f"geofence {row.get('name') or row['id']!r}: {error}")
                continue
            (number,) = await add_fences(ours, self._account_id, [fence])
            await self._remember(ours, "geofence", row["id"], number)
            self.done.fences += 1

    async def _links(self, other: AsyncConnection[Any], ours: AsyncConnection[Any]) -> None:
        for owner, kind in (("user", "device"), ("user", "group"), ("user", "geofence")):
            for row in await self._all(other, _LINKS[owner, kind]):
                ids = self._map(owner).get(row[f"{owner}id"]), self._map(kind).get(row[f"{kind}id"])
                if None not in ids:
                    await ours.execute(
                        "INSERT INTO core.links VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING",
                        [owner, ids[0], kind, ids[1]],
                    )
        await self._assign(other, ours)

    async def _assign(self, other: AsyncConnection[Any], ours: AsyncConnection[Any]) -> None:
        """A fence is for the trackers that it is linked to, and for those in the groups that it is."""
        parents = {row["id"]: row.get("groupid") for row in await self._all(other, "tc_groups")}
        groups: dict[int, set[int]] = {}  # trackers by group, with those of the groups in it
        for row in await self._all(other, "tc_devices"):
            above, number = row.get("groupid"), self._map("device").get(row["id"])
            while above and number is not None and number not in groups.setdefault(above, set()):
                groups[above].add(number)
                above = parents.get(above)
        mine: dict[int, set[int]] = {}
        for row in await self._all(other, "tc_device_geofence"):
            if (number := self._map("device").get(row["deviceid"])) is not None:
                mine.setdefault(row["geofenceid"], set()).add(number)
        for row in await self._all(other, "tc_group_geofence"):
            mine.setdefault(row["geofenceid"], set()).update(groups.get(row["groupid"], ()))
        for theirs, devices in mine.items():
            if (fence := self._map("geofence").get(theirs)) is not None and devices:
                await assign_fence(ours, fence, sorted(devices))

    # ------------------------------------------------------------------ history

    async def _history_of(
        self,
        other: AsyncConnection[Any],
        ours: AsyncConnection[Any],
        store: IngestStore,
        theirs: int,
        device_id: int,
        advance: Callable[[int], None],
    ) -> None:
        name = self._names[theirs]
        tracker = Tracker(name, device_id, self._account_id)
        found = await ours.execute(
            "SELECT fixed_at, source_id FROM core.import_progress WHERE source = %s AND device_id = %s",
            [self._source, device_id],
        )
        begun = await found.fetchone()
        after = (begun[0].astimezone(UTC).replace(tzinfo=None), begun[1]) if begun else (LONG_AGO, 0)
        first: datetime | None = None
        async for page in self._pages(other, PAGE, theirs, after):
            batch = self._batch(tracker, page, datetime.now(UTC) + self._future_max)
            stored = await store.commit(batch, self._account)
            self.done.repeated += stored.repeated
            self.done.stored += stored.fixes
            self.done.quarantined += len(batch.quarantine) + len(stored.refused)
            first = first or min((row.fix.fixed_at for row in batch.positions), default=None)
            await ours.execute(
                "INSERT INTO core.import_progress VALUES (%s, %s, %s, %s) ON CONFLICT (source, device_id)"
                " DO UPDATE SET fixed_at = excluded.fixed_at, source_id = excluded.source_id",
                [self._source, device_id, moment(page[-1]["fixtime"]), page[-1]["id"]],
            )
            advance(len(page))
        if first is not None:
            await ours.execute(RUN_AGAIN, [device_id, first])

    def _batch(self, tracker: Tracker, page: Sequence[Mapping[str, Any]], latest: datetime) -> Batch:
        batch = Batch()
        for row in page:
            received = moment(row.get("servertime")) or moment(row["fixtime"])
            assert received is not None
            session = Session(row.get("protocol") or TABLE, "tcp", self._source, NobodyListens())
            ticket = Ticket(session, _frame(row), micros(received), b"", 0.0)
            ticket.reports = 1
            tracker.contact_us = max(tracker.contact_us, ticket.received_us)
            try:
                fix = fix_of(row, latest)
            except BadRowError as error:
                batch.quarantine.append(
                    QuarantineRow(tracker.unique_id, tracker, QuarantineReason.REFUSED, str(error), 1, ticket)
                )
                continue
            batch.positions.append(
                PositionRow(
                    tracker,
                    micros(fix.fixed_at),
                    _digest(row["id"]),
                    fix,
                    attributes_of(row),
                    network_of(row),
                    ticket,
                )
            )
        return batch

    @staticmethod
    async def _missing(
        ours: AsyncConnection[Any], device_id: int, page: Sequence[Mapping[str, Any]]
    ) -> list[int]:
        """Which of these are not stored."""
        numbers = [row["id"] for row in page]
        moments = Moments([micros(row["fixtime"].replace(tzinfo=UTC)) for row in page])
        digests = Bigints([_digest(number) for number in numbers])
        found = await ours.execute(MISSING, [Bigints(numbers), moments, digests, device_id])
        return [number for (number,) in await found.fetchall()]

    @staticmethod
    async def _kept(
        other: AsyncConnection[Any], ours: AsyncConnection[Any], name: str, numbers: Sequence[int]
    ) -> int:
        """How many of these stand in quarantine as they are there."""
        rows = await other.execute("SELECT * FROM tc_positions WHERE id = ANY(%s)", [list(numbers)])
        digests = [record_digest(_frame(row)) for row in await rows.fetchall()]
        return _id(await (await ours.execute(KEPT, [name, Bigints(digests)])).fetchone())


_LINKS: Final[dict[tuple[str, str], LiteralString]] = {
    ("user", "device"): "tc_user_device",
    ("user", "group"): "tc_user_group",
    ("user", "geofence"): "tc_user_geofence",
}
_ENCODER: Final = msgspec.json.Encoder(enc_hook=str)


def _frame(row: Mapping[str, Any]) -> bytes:
    return _ENCODER.encode(dict(row))


def _digest(number: int) -> int:
    return record_digest(b"traccar:%d" % number)


def _id(row: Sequence[Any] | None) -> int:
    assert row is not None
    return row[0]
