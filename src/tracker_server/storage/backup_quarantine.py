"""A copy for analysis: a backup in a data directory of its own, that reads and does nothing else.

The database refuses every write by itself (``default_transaction_read_only``), and ``serve`` refuses to run
on a data directory that is marked as such a copy.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from psycopg import sql

from tracker_server.config import Settings
from tracker_server.model.reading import UnreadableError, read_json
from tracker_server.storage.backup_file import Backup, BackupError, Tell
from tracker_server.storage.backup_restore import check_fits, load
from tracker_server.storage.database import Database, Role
from tracker_server.storage.embedded import DATABASE

QUARANTINED = "quarantined-copy.json"


class Mark(Struct, frozen=True):
    """Of which backup a quarantined copy is, and since when."""

    backup: str
    created_at: datetime
    restored_at: datetime


def check_in_service(data_dir: Path) -> None:
    """Raises BackupError for a data directory that holds a quarantined copy: nobody may serve from it."""
    file = data_dir / QUARANTINED
    try:
        mark = read_json(file.read_bytes(), Mark)
    except FileNotFoundError:
        return
    except (OSError, UnreadableError) as error:
        raise BackupError(
            f"{file}: cannot be read: {error}; this data directory is a copy for reading only"
        ) from None
    raise BackupError(
        f"data_dir: {data_dir} is a quarantined copy of {mark.backup} ({mark.created_at:%Y-%m-%d %H:%M}Z), for reading "
        "only: it listens to no device, sends nothing and debits nobody; read it with `tracker-server positions`, "
        "`billing ledger` or `db dsn`, and restore that backup elsewhere to serve from it"
    )


async def restore_quarantined(backup: Backup, data_dir: Path, tell: Tell) -> None:
    """Make a copy in a directory that is new or empty, with an embedded database of its own. Raises BackupError."""
    check_fits(backup)
    mark = Mark(str(backup.path.absolute()), backup.manifest.created_at, datetime.now(UTC))
    _make(data_dir, mark)
    home = Database(Settings(data_dir=data_dir))
    await home.open()
    try:
        async with await home.connect(Role.OWNER) as connection:
            async with connection.transaction():
                await load(connection, backup, tell)
            await connection.execute(
                sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(
                    sql.Identifier(DATABASE)
                )
            )
    finally:
        await home.close()


def _make(data_dir: Path, mark: Mark) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if any(data_dir.iterdir()):
            raise BackupError(f"--quarantine: {data_dir} is not empty; name a new directory")
        # first of all, so that no half-made copy can be served either
        (data_dir / QUARANTINED).write_bytes(msgspec.json.format(msgspec.json.encode(mark)) + b"\n")
    except OSError as error:
        raise BackupError(f"--quarantine: {data_dir} cannot be made: {error.strerror}") from None
