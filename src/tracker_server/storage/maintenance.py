"""What a database needs now and then: tomorrow's partitions, retention, compression, a quarantine within bounds."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection, sql

from tracker_server.config import Settings
from tracker_server.pipeline.quarantine import Room
from tracker_server.storage.addresses import forget_addresses
from tracker_server.storage.after_resets import look_after_resets
from tracker_server.storage.blocked_data import keep_house
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.installations import look_for_installations
from tracker_server.storage.monthly import order_monthly
from tracker_server.storage.outbox import prune
from tracker_server.storage.payments import expire
from tracker_server.storage.sessions import sweep_ended

log = structlog.get_logger(__name__)

QUARANTINE_EVERY_S = 60.0
DAILY_EVERY = 60  # of these rounds, so each hour
DAYS_AHEAD = 2
LOCK = 7_201_450_084  # one process of many does it


class Maintenance:
    """Runs beside the server."""

    def __init__(self, database: Database, settings: Settings, room: Room) -> None:
        self._database = database
        self._settings = settings
        self._room = room

    async def run(self) -> None:
        """Round after round; a round that fails is told and left to the next."""
        rounds = 0
        while True:
            try:
                async with await self._database.connect(Role.CORE) as connection:
                    self._room.recount(await quarantine_counts(connection))
                    await look_after_resets(connection, datetime.now(UTC))
                    await look_for_installations(connection, datetime.now(UTC), self._settings.seller.email)
                    if rounds % DAILY_EVERY == 0:
                        await self.daily(connection)
            except AWAY as error:
                log.debug("maintenance waits for the database", error=str(error).strip())
            except psycopg.Error:
                log.exception("maintenance failed; tried again at its next round")
            rounds += 1
            await asyncio.sleep(QUARANTINE_EVERY_S)

    async def daily(self, connection: AsyncConnection[Any]) -> None:
        """All that depends on the day. May run at any time, any number of times."""
        got = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])).fetchone()
        if not got or not got[0]:
            return
        try:
            today = datetime.now(UTC).date()
            await ensure_days(connection, [today + timedelta(days=n) for n in range(DAYS_AHEAD + 1)])
            if self._settings.storage.retention_days:
                before = today - timedelta(days=self._settings.storage.retention_days)
                for name in await drop_days_before(connection, before):
                    log.info("retention dropped", partition=name)
            limit = datetime.now(UTC) - timedelta(days=self._settings.quarantine.days)
            await connection.execute("DELETE FROM core.quarantine WHERE received_at < %s", [limit])
            gone = await keep_house(connection, datetime.now(UTC), self._settings.billing.blocked_keep_days)
            if gone:
                log.info("data of blocked trackers deleted, as announced", rows=gone)
            if self._settings.smtp.host and self._settings.notices.monthly_report:
                await order_monthly(connection, datetime.now(UTC))
            await expire(connection, datetime.now(UTC), timedelta(hours=self._settings.payments.link_hours))
            await sweep_ended(connection)
            await prune(connection, datetime.now(UTC) - timedelta(days=self._settings.notices.keep_days))
            await forget_addresses(
                connection, datetime.now(UTC) - timedelta(days=self._settings.geocoder.keep_days)
            )
        finally:
            await connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


async def ensure_days(connection: AsyncConnection[Any], days: list[date]) -> None:
    """Make the partitions of these days, where there are none yet."""
    await connection.execute("SELECT core.ensure_days(%s::date[])", [days])


async def drop_days_before(connection: AsyncConnection[Any], day: date) -> list[str]:
    """Delete what lies before this day; answers the partitions or chunks that went as a whole."""
    rows = await connection.execute("SELECT core.drop_days_before(%s)", [day])
    return [name for (name,) in await rows.fetchall()]


async def quarantine_counts(connection: AsyncConnection[Any]) -> dict[str, int]:
    """How many frames are kept of each identifier."""
    rows = await connection.execute("SELECT unique_id, count(*) FROM core.quarantine GROUP BY 1")
    return dict(await rows.fetchall())


async def set_compression(connection: AsyncConnection[Any], after_days: int) -> str:
    """Ask TimescaleDB to compress old chunks, where its licence allows that. The connection is the owner's.

    Answers ``native``, ``apache`` (no compression in that build), ``off`` or ``on``.
    """
    found = await connection.execute(
        "SELECT current_setting('timescaledb.license', true) FROM pg_extension WHERE extname = 'timescaledb'"
    )
    row = await found.fetchone()
    if row is None:
        return "native"
    if row[0] != "timescale":
        return "apache"
    for table, column in (("positions", "fixed_at"), ("telemetry", "sent_at")):
        name = sql.Literal(f"core.{table}")
        await connection.execute(
            sql.SQL("SELECT remove_compression_policy({}, if_exists => true)").format(name)
        )
        if after_days:
            await connection.execute(
                sql.SQL(
                    "ALTER TABLE {} SET (timescaledb.compress, timescaledb.compress_segmentby = 'device_id',"
                    " timescaledb.compress_orderby = {})"
                ).format(sql.Identifier("core", table), sql.Literal(f"{column}, digest"))
            )
            await connection.execute(
                sql.SQL("SELECT add_compression_policy({}, make_interval(days => {}))").format(
                    name, after_days
                )
            )
    return "on" if after_days else "off"
