"""One backup of the server's own, as a process beside it: ``python -m tracker_server.storage.backup_job``.

Hashing and packing a million rows would keep the server's loop from its devices, so another process does
it, at low priority. It reads the settings as JSON from its standard input, for they may hold a password.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import structlog

from tracker_server import logs
from tracker_server.config import Settings
from tracker_server.storage.backup import create
from tracker_server.storage.backup_catalogue import Catalogue
from tracker_server.storage.backup_drill import drill
from tracker_server.storage.backup_file import PART, Backup, BackupError, check
from tracker_server.storage.database import Database, DatabaseError, Role
from tracker_server.storage.embedded import EmbeddedError

log = structlog.get_logger(__name__)

NICE = 10
LOCK = 7_201_450_085  # of many processes on one database, one makes its backup
NAME = "tracker-{:%Y%m%dT%H%M%SZ}.zip"
NAMES = "tracker-[0-9]*T[0-9]*Z.zip"


class Order(msgspec.Struct, frozen=True):
    """What the server wants of its job. ``drill``: restored into a scratch database as well."""

    settings: Settings
    drill: bool


def encode(order: Order) -> bytes:
    """An order as the job reads it."""
    return msgspec.json.encode(order, enc_hook=str)


def decode(text: bytes) -> Order:
    """The order again."""
    return msgspec.json.decode(text, type=Order, dec_hook=_path)


def _path(kind: type, value: Any) -> Any:
    assert kind is Path, kind
    return Path(value)


def folder_of(settings: Settings) -> Path:
    """Where the server's own backups lie."""
    return Path(settings.backup.dir or settings.data_dir / "backups").absolute()


async def make(settings: Settings, *, with_drill: bool) -> Backup | None:
    """Make one, check it, remove those that are too many. None where another process makes one just now.

    Raises BackupError, DatabaseError, EmbeddedError and psycopg errors.
    """
    folder = folder_of(settings)
    _make_folder(folder)
    home = Database(settings)
    await home.open()
    try:
        async with await home.connect(Role.OWNER) as connection:
            got = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])).fetchone()
            if got is None or not got[0]:
                return None
            for part in folder.glob(NAMES + PART):
                part.unlink()  # of a job that was killed
            path = folder / NAME.format(datetime.now(UTC))
            await create(connection, path, lambda *_: None)
    finally:
        await home.close()
    backup = check(path)
    if with_drill:
        await drill(backup, settings, lambda *_: None)
    catalogue = Catalogue(settings.data_dir)
    catalogue.note(backup, drilled=with_drill)
    for old in sorted(folder.glob(NAMES))[: -settings.backup.keep]:
        old.unlink()
        catalogue.forget(old)
    return backup


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BackupError(f"backup.dir: {folder} cannot be made: {error.strerror}") from None


async def _main(order: Order) -> int:
    task = asyncio.current_task()
    assert task is not None
    # the scratch database of a drill is stopped and removed before we go
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        backup = await make(order.settings, with_drill=order.drill)
    except (DatabaseError, EmbeddedError, psycopg.Error, OSError) as error:
        sys.stdout.write(" ".join(str(error).split()) + "\n")
        return 1
    except asyncio.CancelledError:
        return 1
    if backup is not None:
        log.info(
            "backup made",
            file=str(backup.path),
            rows=backup.manifest.rows,
            size_bytes=backup.size_bytes,
            drilled=order.drill,
        )
    return 0


if __name__ == "__main__":
    os.nice(NICE)
    given = decode(sys.stdin.buffer.read())
    logs.set_up(given.settings.log)
    sys.exit(asyncio.run(_main(given)))
