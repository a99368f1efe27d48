"""Pairs of trackers: who they are, and what a batch touched of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, LiteralString

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import class_row

from tracker_server.model.people import IN_SCOPE, Scope
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.track_book import Change
from tracker_server.storage.copy_rows import Bigints, Moments
from tracker_server.track.proximity import Zone

# of one account: each costs a batch of its trackers a row, and a run of its own behind it
PROXIMITIES_MAX: Final = 10_000
MADE_SLACK_US: Final = 60_000_000  # fixes from so long before count: clocks differ

COLUMNS: LiteralString = "id, account_id, kind, device_id, unique_id, other_id, other_unique_id, limit_m, hysteresis_m, stale_s, near, created_at"
_EVERY: LiteralString = """(SELECT p.*, d.unique_id, o.unique_id AS other_unique_id FROM core.proximities p
    JOIN core.devices d ON d.id = p.device_id AND d.removed_at IS NULL
    JOIN core.devices o ON o.id = p.other_id AND o.removed_at IS NULL) p"""
_ADD = """
INSERT INTO core.proximities (account_id, kind, device_id, other_id, limit_m, hysteresis_m, stale_s)
SELECT d.account_id, %(kind)s, d.id, o.id, %(limit_m)s, %(hysteresis_m)s, %(stale_s)s
FROM core.devices d JOIN core.devices o ON o.account_id = d.account_id AND o.removed_at IS NULL
WHERE d.id = %(device)s AND o.id = %(other)s AND d.removed_at IS NULL AND d.id <> o.id
RETURNING id
"""
_TAKEN = """
SELECT count(*), count(*) FILTER (WHERE kind = %(kind)s AND (
    (device_id = %(device)s AND other_id = %(other)s)
    OR (kind = 'zone' AND device_id = %(other)s AND other_id = %(device)s)))
FROM core.proximities WHERE account_id = (SELECT account_id FROM core.devices WHERE id = %(device)s)
"""
TOUCHED: LiteralString = """touched AS (
    INSERT INTO core.proximity_queue (proximity_id, from_at, until_at)
    SELECT p.id, t.from_at, t.until_at FROM unnest(%s, %s, %s) AS t (device_id, from_at, until_at)
    CROSS JOIN LATERAL (
        SELECT id, created_at FROM core.proximities WHERE device_id = t.device_id
        UNION ALL SELECT id, created_at FROM core.proximities WHERE other_id = t.device_id
    ) p
    WHERE t.until_at >= p.created_at - interval '1 minute'
)"""
BOTH_IN_SCOPE: Final[LiteralString] = f"{IN_SCOPE} AND {IN_SCOPE.replace('device_id', 'other_id')}"
PAIRED = "SELECT device_id FROM core.proximities UNION SELECT other_id FROM core.proximities"


class ProximityKind(StrEnum):
    """``ZONE``: the two come near or part; ``COMPANION``: the first is not to set off without the other."""

    ZONE = "zone"
    COMPANION = "companion"


class ProximityError(Exception):
    """A pair that cannot be: the message says why, and the cure."""


class ProximityRow(Struct, frozen=True, kw_only=True):
    """A pair as it is kept, in metres and seconds. ``near``: how a zone stands after its newest fixes."""

    id: int
    account_id: int
    kind: str
    device_id: int
    unique_id: str
    other_id: int
    other_unique_id: str
    limit_m: float
    hysteresis_m: float
    stale_s: float
    near: bool
    created_at: datetime

    @property
    def zone(self) -> Zone:
        """As the engine knows it."""
        return Zone(self.limit_m, self.hysteresis_m, self.stale_s)

    @property
    def since_us(self) -> int:
        """The moment from which on it counts."""
        return micros(self.created_at) - MADE_SLACK_US


async def add_proximity(
    connection: AsyncConnection[Any], kind: ProximityKind, device_id: int, other_id: int, zone: Zone
) -> int:
    """Its id. Raises ProximityError."""
    values = {
        "kind": kind.value,
        "device": device_id,
        "other": other_id,
        "limit_m": zone.limit_m,
        "hysteresis_m": zone.hysteresis_m,
        "stale_s": zone.stale_s,
    }
    async with connection.transaction():
        taken = await (await connection.execute(_TAKEN, values)).fetchone()
        assert taken is not None
        if taken[1]:
            raise ProximityError("there is such a pair of these two already; remove it first")
        if taken[0] >= PROXIMITIES_MAX:
            raise ProximityError(
                f"the account has {taken[0]} pairs and may have {PROXIMITIES_MAX}; remove some"
            )
        row = await (await connection.execute(_ADD, values)).fetchone()
        if row is None:
            raise ProximityError("a pair is two trackers of one account")
        return row[0]


async def remove_proximity(connection: AsyncConnection[Any], number: int) -> bool:
    """What was found of it stays. False: there is none."""
    return (await connection.execute("DELETE FROM core.proximities WHERE id = %s", [number])).rowcount > 0


async def proximities(
    connection: AsyncConnection[Any],
    *,
    account_id: int | None = None,
    ids: Sequence[int] | None = None,
    with_companions_of: int | None = None,
) -> list[ProximityRow]:
    """Pairs of trackers that are connected, by id. ``Role.CORE``."""
    return await _select(
        connection,
        _EVERY,
        "(%(account)s::bigint IS NULL OR account_id = %(account)s) AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))"
        " AND (%(of)s::bigint IS NULL OR (device_id = %(of)s AND kind = 'companion'))",
        {"account": account_id, "ids": None if ids is None else list(ids), "of": with_companions_of},
    )


async def displayed_proximities(
    connection: AsyncConnection[Any], device_id: int, scope: Scope
) -> list[ProximityRow]:
    """The pairs of a tracker that somebody may see: both trackers of them. ``Role.DISPLAY``."""
    values = {**scope.parameters(), "device": device_id}
    return await _select(
        connection,
        "display.proximities p",
        f"%(device)s IN (device_id, other_id) AND {BOTH_IN_SCOPE}",
        values,
    )


async def _select(
    connection: AsyncConnection[Any], source: LiteralString, condition: LiteralString, values: dict[str, Any]
) -> list[ProximityRow]:
    statement: LiteralString = f"SELECT {COLUMNS} FROM {source} WHERE {condition} ORDER BY id"  # noqa: S608
    async with connection.cursor(row_factory=class_row(ProximityRow)) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchall()


async def paired(connection: AsyncConnection[Any]) -> frozenset[int]:
    """Every tracker that is one of a pair."""
    return frozenset(device_id for (device_id,) in await (await connection.execute(PAIRED)).fetchall())


def touched(changes: Sequence[Change], among: frozenset[int] | None) -> list[tuple[LiteralString, list[Any]]]:
    """The part of a batch's statement that notes what it touched of pairs. ``among``: the trackers that are of pairs, as
    far as is known; None: that is not known, and the database is asked.
    """
    mine = [change for change in changes if change.reports and (among is None or change.tracker.id in among)]
    if not mine:
        return []
    values = [
        Bigints([change.tracker.id for change in mine]),
        Moments([min(seen.at_us for seen in change.reports) for change in mine]),
        Moments([max(seen.at_us for seen in change.reports) for change in mine]),
    ]
    return [(TOUCHED, values)]
