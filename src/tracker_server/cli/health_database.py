"""What ``doctor`` looks at in the database: version, migrations, partitions, roles, clock, quarantine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg

from tracker_server.cli.health import Finding, State
from tracker_server.config import Quarantine, Settings
from tracker_server.storage import status
from tracker_server.storage.database import SERVER_VERSION_MIN, Database, DatabaseError, Role
from tracker_server.storage.embedded import EmbeddedError
from tracker_server.storage.migrate import MigrationError, applied, known_migrations, missing_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

CLOCKS_APART_S_MAX = 5.0  # more, and "now" in the gate's views and "now" of the server disagree visibly
HEARD_AHEAD_MAX = timedelta(seconds=60)
FULL_SHARE = 0.8


async def findings(settings: Settings) -> list[Finding]:
    """All that can be found out. The embedded database is started where it is there and does not run."""
    home = Database(settings)
    try:
        if home.embedded and not home.embedded.exists():
            home.embedded.check_platform()
            return [
                Finding("database", State.OK, f"embedded, made at the first start in {home.embedded.home}")
            ]
        await home.open()
    except EmbeddedError as error:
        return [
            Finding(
                "database",
                State.WRONG,
                str(error),
                "see postgres.log in data_dir/postgres, or set storage.dsn",
            )
        ]
    try:
        return await _of(home, settings)
    except psycopg.Error as error:
        detail = f"refuses to be looked at: {' '.join(str(error).split())}"
        return [
            Finding(
                "database",
                State.WRONG,
                detail,
                "let the user of storage.dsn own the database (ALTER … OWNER TO)",
            )
        ]
    finally:
        await home.close()


async def _of(home: Database, settings: Settings) -> list[Finding]:
    try:
        connection = await home.connect(Role.OWNER)
    except DatabaseError as error:
        return [Finding("database", State.WRONG, str(error), "write storage.dsn as psql takes it")]
    except psycopg.OperationalError as error:
        return [
            Finding(
                "database",
                State.WRONG,
                " ".join(str(error).split()),
                "start it, or mend storage.dsn: host, port, user, password, database",
            )
        ]
    async with connection:
        server = await status.shape(connection)
        kind = f"TimescaleDB {server.timescaledb}" if server.timescaledb else "native partitions"
        where = "embedded" if home.embedded else "storage.dsn"
        found = [Finding("database", State.OK, f"{where}: PostgreSQL {server.version}, {kind}")]
        if connection.info.server_version < SERVER_VERSION_MIN:
            return [
                Finding(
                    "database", State.WRONG, f"PostgreSQL {server.version} is too old", "install 15 or later"
                )
            ]
        migrations = await _migrations(connection)
        found.append(migrations)
        if migrations.state is State.OK:
            gate = await _gate(home, connection)
            found.append(gate)
            if gate.check != "roles":
                found.append(await _partitions(connection))
                found.append(await _quarantine(connection, settings.quarantine))
                found.append(await _clock(connection))
    return found


async def _migrations(connection: AsyncConnection[Any]) -> Finding:
    try:
        done = await applied(connection)
        missing = missing_of(known_migrations(), done)
    except MigrationError as error:
        return Finding("migrations", State.WRONG, str(error), "run the program that fits the database")
    if missing:
        names = ", ".join(f"{one.number} ({one.name})" for one in missing)
        return Finding(
            "migrations", State.WARNING, f"missing: {names}", "`tracker-server db migrate`, or start `serve`"
        )
    return Finding("migrations", State.OK, f"all {len(done)} applied")


async def _gate(home: Database, connection: AsyncConnection[Any]) -> Finding:
    """The gate is a matter of privileges: whoever reads display's views must be unable to read what is below.
    ``roles`` instead, where we may not speak as both of them, and so can look at nothing.
    """
    missing = await status.roles_missing(connection, [Role.CORE, Role.DISPLAY])
    if missing:
        return Finding(
            "roles",
            State.WRONG,
            f"do not exist, or the user of storage.dsn is not their member: {', '.join(missing)}",
            f"as a superuser: CREATE ROLE … NOLOGIN where it is missing, and GRANT {', '.join(missing)} TO that user",
        )
    readable = await status.readable_tables(connection, Role.DISPLAY)
    if not readable:
        try:
            async with await home.connect(Role.DISPLAY) as display:
                await display.execute("SELECT FROM core.positions LIMIT 1")
            readable = ["core.positions"]
        except psycopg.errors.InsufficientPrivilege:
            pass
    if readable:
        return Finding(
            "gate",
            State.WRONG,
            f"{Role.DISPLAY.value} can read {', '.join(readable)}: blocked trackers leak",
            f"as a superuser: REVOKE ALL ON SCHEMA core FROM PUBLIC, {Role.DISPLAY.value}; it must be no "
            "superuser and a member of nothing",
        )
    return Finding(
        "gate", State.OK, f"{Role.DISPLAY.value} reads the views of schema display and nothing else"
    )


async def _partitions(connection: AsyncConnection[Any]) -> Finding:
    missing = await status.missing_partitions(connection, 1)
    if missing:
        names = ", ".join(f"{table} {day}" for table, day in missing)
        return Finding(
            "partitions",
            State.WARNING,
            f"none yet for {names}",
            "`tracker-server serve` makes them ahead; while it does not run, none are needed",
        )
    return Finding("partitions", State.OK, "there for today and tomorrow")


async def _quarantine(connection: AsyncConnection[Any], limits: Quarantine) -> Finding:
    fill = await status.quarantine_fill(connection, limits.rows_per_device_max)
    detail = f"{fill.frames:,} of {limits.rows_max:,} frames"
    cure = (
        "`tracker-server quarantine list` tells whose; add those trackers and replay, drop the rest, "
        "or raise quarantine.rows_max"
    )
    if fill.frames >= limits.rows_max:
        return Finding("quarantine", State.WRONG, f"full: {detail}; more are refused unanswered", cure)
    if fill.full_devices:
        return Finding(
            "quarantine", State.WARNING, f"{detail}; {fill.full_devices} identifiers have no room left", cure
        )
    if fill.frames >= FULL_SHARE * limits.rows_max:
        return Finding("quarantine", State.WARNING, f"nearly full: {detail}", cure)
    return Finding("quarantine", State.OK, detail)


async def _clock(connection: AsyncConnection[Any]) -> Finding:
    """The two clocks at once, and ours against the last thing that happened."""
    before = datetime.now(UTC)
    theirs, heard_at = await status.clock(connection)
    after = datetime.now(UTC)
    apart_s = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
    cure = "let both machines keep time by NTP (chrony, systemd-timesyncd)"
    if apart_s > CLOCKS_APART_S_MAX:
        return Finding("clock", State.WRONG, f"{apart_s:.1f} s between this machine and the database", cure)
    if heard_at is not None and heard_at > after + HEARD_AHEAD_MAX:
        return Finding(
            "clock",
            State.WRONG,
            f"a tracker was heard at {heard_at:%Y-%m-%d %H:%M:%S}Z, which lies ahead",
            cure,
        )
    return Finding("clock", State.OK, "this machine and the database agree")
