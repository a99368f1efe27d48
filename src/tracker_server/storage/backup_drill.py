"""The proof that a backup can be used: it is restored into a database of its own, and looked at there."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection, sql
from psycopg.conninfo import make_conninfo

from tracker_server.config import Settings, Storage
from tracker_server.storage.backup_file import Backup, BackupError, BadBackupError, Tell
from tracker_server.storage.backup_restore import check_fits, load
from tracker_server.storage.billing_store import BillingStore, settings_of
from tracker_server.storage.database import Database, Role
from tracker_server.storage.embedded import Embedded, EmbeddedError

log = structlog.get_logger(__name__)

PROBLEMS_TOLD_MAX = 5
PREFIX = "tracker-drill-"


async def drill(backup: Backup, settings: Settings, tell: Tell) -> None:
    """Restore into a scratch database, with its foreign keys and checks in force, compare rows and checksums, and
    derive every account's state from its journal anew. Raises BackupError, which tells what is wrong.
    """
    check_fits(backup)
    async with _scratch(settings) as connection:
        async with connection.transaction():
            await load(connection, backup, tell)
        problems = await billing_problems(connection, settings)
    if problems:
        more = f" and {len(problems) - PROBLEMS_TOLD_MAX} more" if len(problems) > PROBLEMS_TOLD_MAX else ""
        raise BadBackupError(
            f"{backup.path}: it can be restored, but its billing is not consistent: "
            f"{'; '.join(problems[:PROBLEMS_TOLD_MAX])}{more}"
        )


async def billing_problems(connection: AsyncConnection[Any], settings: Settings) -> list[str]:
    """What ``billing verify`` finds, of all accounts."""
    store = BillingStore(settings_of(settings.billing))
    rows = await (await connection.execute("SELECT id FROM core.accounts ORDER BY id")).fetchall()
    return [found for (account,) in rows for found in await store.verify(connection, account)]


@asynccontextmanager
async def _scratch(settings: Settings) -> AsyncGenerator[AsyncConnection[Any]]:
    """An empty database: in a PostgreSQL of its own, or, on a platform that has none, beside the real one."""
    try:
        Embedded(settings.data_dir).check_platform()
    except EmbeddedError:
        beside = _beside(settings)
    else:
        beside = _of_its_own()
    async with beside as connection:
        yield connection


@asynccontextmanager
async def _of_its_own() -> AsyncGenerator[AsyncConnection[Any]]:
    await asyncio.to_thread(_sweep)
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix=PREFIX)
    home = Database(Settings(data_dir=Path(folder)))
    try:
        await home.open()
        async with await home.connect(Role.OWNER) as connection:
            yield connection
    finally:
        await home.close()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _sweep() -> None:
    """Stop and remove what drills left that were killed; those that run hold their lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            use = os.open(folder / "postgres" / "postgres.use", os.O_RDWR)
        except OSError:
            continue  # it is being made, or somebody else's
        try:
            fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        finally:
            os.close(use)
        left = Embedded(folder)
        try:
            left.acquire()
            left.release()
        except EmbeddedError as error:
            log.warning("a drill's leftover does not stop", folder=str(folder), error=str(error))
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def _beside(settings: Settings) -> AsyncGenerator[AsyncConnection[Any]]:
    real = Database(settings)
    name = f"tracker_drill_{secrets.token_hex(6)}"
    async with await real.connect(Role.OWNER) as owner:
        try:
            await owner.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        except psycopg.errors.InsufficientPrivilege:
            raise BackupError(
                "the scratch restore needs a database: let the user of storage.dsn make one (ALTER ROLE … CREATEDB), "
                "verify on a machine with the embedded PostgreSQL, or check the sums only: --skip-drill"
            ) from None
        try:
            scratch = Database(
                Settings(storage=Storage(dsn=make_conninfo(settings.storage.dsn, dbname=name)))
            )
            async with await scratch.connect(Role.OWNER) as connection:
                yield connection
        finally:
            await owner.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
