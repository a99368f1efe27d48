"""What this installation knows of its backups: which it made or checked, when, and whether one was proven.

Kept in ``backups.json`` in the data directory and not in the database, which it must outlive.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from tracker_server.model.reading import UnreadableError, read_json
from tracker_server.storage.backup_file import Backup, BackupError, check

FILE = "backups.json"


class Known(Struct, frozen=True):
    """A backup. ``created_at``: the moment of its snapshot. ``verified_at``: when its checksums held last.
    ``drilled_at``: when it was last restored into a scratch database and found well there.
    """

    path: str
    created_at: datetime
    size_bytes: int
    rows: int
    sha256: str
    verified_at: datetime
    drilled_at: datetime | None = None


class Catalogue:
    """The file, as one process uses it."""

    def __init__(self, data_dir: Path) -> None:
        self._file = data_dir.absolute() / FILE

    def known(self) -> list[Known]:
        """All whose files are there, oldest snapshot first. Raises BackupError."""
        try:
            found = read_json(self._file.read_bytes(), list[Known])
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BackupError(f"{self._file}: cannot be read: {error.strerror}") from None
        except UnreadableError as error:
            raise BackupError(
                f"{self._file}: cannot be read: {error}; remove it, then `tracker-server backup verify` each backup"
            ) from None
        there = (one for one in found if Path(one.path).is_file())
        return sorted(there, key=lambda one: one.created_at)

    def last_verified(self) -> Known | None:
        """The newest snapshot."""
        known = self.known()
        return known[-1] if known else None

    def last_good(self, but: Path) -> Known | None:
        """The newest, other than this one, whose checksums hold now."""
        for one in reversed(self.known()):
            if one.path == str(but.absolute()):
                continue
            try:
                check(Path(one.path))
            except BackupError:
                continue
            return one
        return None

    def note(self, backup: Backup, *, drilled: bool) -> None:
        """Its checksums held just now; with ``drilled``, it was restored as well."""
        now = datetime.now(UTC)
        path = str(backup.path.absolute())

        def change(known: list[Known]) -> list[Known]:
            before = next((one for one in known if one.path == path and one.sha256 == backup.sha256), None)
            one = Known(
                path=path,
                created_at=backup.manifest.created_at,
                size_bytes=backup.size_bytes,
                rows=backup.manifest.rows,
                sha256=backup.sha256,
                verified_at=now,
                drilled_at=now if drilled else before.drilled_at if before else None,
            )
            return [*(other for other in known if other.path != path), one]

        self._change(change)

    def forget(self, path: Path) -> None:
        """It is not there any more, or no good."""
        self._change(lambda known: [one for one in known if one.path != str(path.absolute())])

    def _change(self, change: Callable[[list[Known]], list[Known]]) -> None:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                text = msgspec.json.format(msgspec.json.encode(change(self.known())))
                fresh = self._file.with_suffix(".new")
                fresh.write_bytes(text + b"\n")
                fresh.rename(self._file)
        except OSError as error:
            raise BackupError(f"{self._file}: cannot be written: {error.strerror}") from None

    @contextmanager
    def _locked(self) -> Generator[None]:
        """One process at a time changes it."""
        door = os.open(self._file.with_suffix(".door"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(door, fcntl.LOCK_EX)
            yield
        finally:
            os.close(door)
