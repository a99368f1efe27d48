"""What commands ask of the track engine: a part of a tracker's history with the state before it, settings, a second run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb, set_json_loads

from tracker_server.model.event import moment
from tracker_server.pipeline.batch import micros
from tracker_server.storage.track_mend import LOAD_REPORTS_MAX, WINDOW, before, seen_of
from tracker_server.track.observation import Observation, arranged
from tracker_server.track.state import State

# between two checkpoints there are some dozens; a history that was not run yet has more
REPORTS_MAX = 200_000


async def history_until(
    connection: AsyncConnection[Any], device_id: int, at: datetime
) -> tuple[State | None, list[Observation]]:
    """The engine's state some way before a moment (None: there is none from before it), and all reports from there up
    to the moment.
    """
    set_json_loads(msgspec.json.decode, connection)
    newest = await connection.execute(
        "SELECT max(at) FROM (SELECT max(fixed_at) AS at FROM core.positions WHERE device_id = %(id)s AND fixed_at <= %(at)s"
        " UNION ALL SELECT max(sent_at) FROM core.telemetry WHERE device_id = %(id)s AND sent_at <= %(at)s) n",
        {"id": device_id, "at": at},
    )
    row = await newest.fetchone()
    last: datetime | None = row[0] if row else None
    if last is None:
        return None, []
    start = await before(connection, device_id, micros(last))
    if start is not None and start.at_us > micros(last):
        return None, []  # from before what retention has left
    values = {
        "id": device_id,
        "at": moment(0 if start is None else start.at_us),
        "digest": -(2**63) if start is None else start.state.seen_digest,
        "until": last,
        "limit": REPORTS_MAX if start is None else LOAD_REPORTS_MAX,
    }
    rows = await connection.execute(WINDOW, values, binary=True)
    reports = arranged(seen_of(row) for row in await rows.fetchall())
    return None if start is None else start.state, reports


async def settings_of_account(connection: AsyncConnection[Any], account_id: int) -> dict[str, Any]:
    """What an account says of the engine's settings."""
    row = await (
        await connection.execute("SELECT track FROM core.accounts WHERE id = %s", [account_id])
    ).fetchone()
    return {} if row is None else row[0]


async def settings_of_device(connection: AsyncConnection[Any], device_id: int) -> dict[str, Any]:
    """What a tracker says of the engine's settings."""
    row = await (
        await connection.execute("SELECT track FROM core.devices WHERE id = %s", [device_id])
    ).fetchone()
    return {} if row is None else row[0]


async def set_of_account(
    connection: AsyncConnection[Any], account_id: int, values: Mapping[str, Any]
) -> None:
    """Say it; they hold from the next report on."""
    await connection.execute(
        "UPDATE core.accounts SET track = %s WHERE id = %s", [Jsonb(dict(values)), account_id]
    )


async def set_of_device(connection: AsyncConnection[Any], device_id: int, values: Mapping[str, Any]) -> None:
    """Say it; they hold from the next report on."""
    await connection.execute(
        "UPDATE core.devices SET track = %s WHERE id = %s", [Jsonb(dict(values)), device_id]
    )


async def queue(connection: AsyncConnection[Any], device_ids: Sequence[int], since: datetime) -> int:
    """Have the history of these trackers run again from a moment to its end; answers how many."""
    done = await connection.execute(
        "INSERT INTO core.track_queue AS q (device_id, from_at) SELECT id, %s FROM unnest(%s::bigint[]) AS id"
        " ON CONFLICT (device_id) DO UPDATE SET from_at = least(q.from_at, excluded.from_at), until_at = excluded.until_at",
        [since, list(device_ids)],
    )
    return done.rowcount
