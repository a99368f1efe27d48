"""A backup as a file: a ZIP archive that any tool unpacks, sealed so that one changed byte is found and named.

``data/<schema>.<table>.copy``  a table's rows as PostgreSQL's COPY writes them as text, one line for a row
``manifest.json``               what there is: tables, rows, checksums, sequences, migrations, program (``Manifest``)
the archive's comment           SHA-256 of every byte of the file before the comment

Members come in the order in which they can be loaded; the manifest is the last. It is written to
``<name>.part`` and takes its name when it is whole and on the disk.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from pathlib import Path
from typing import IO, BinaryIO, cast

import msgspec
from msgspec import Struct

from tracker_server.storage.database import DatabaseError

FORMAT = 1
MANIFEST = "manifest.json"
SEAL = b"tracker-server backup; SHA-256 of all bytes before this comment: "
SEAL_BYTES = len(SEAL) + 64
PART = ".part"
READ_BYTES = 1 << 20
MANIFEST_BYTES_MAX = 64 << 20  # a line for each day of each table; a thousand years of them are less
COMPRESSION = 4  # of zlib: about as fast as COPY delivers, and a fifth larger than its best

Tell = Callable[[str, int, int], None]
"""Told how far it has come: what, rows done, rows in all."""


class BackupError(DatabaseError):
    """A backup cannot be made, read or restored. The message names the file and the cure."""


class BadBackupError(BackupError):
    """A backup that must not be relied on."""


class DamagedError(BadBackupError):
    """The file is not what was written. ``member`` says which part of it."""

    def __init__(self, path: Path, member: str, how: str) -> None:
        super().__init__(f"{path}: damaged: {member}: {how}")
        self.member = member


class Migrated(Struct, frozen=True):
    """A migration that the saved database had."""

    number: int
    name: str
    checksum: str


class Table(Struct, frozen=True):
    """A table and its member. ``sha256`` and ``size_bytes`` are of the unpacked member; ``checksum`` does not
    depend on the order of rows (see ``storage.backup``). ``days``: of a table cut by time, those it has rows of.
    ``raw``: where the packed member lies in the file and the SHA-256 of those bytes.
    """

    name: str
    columns: tuple[str, ...]
    rows: int
    checksum: str
    days: tuple[date, ...]
    member: str
    size_bytes: int
    sha256: str
    raw: tuple[int, int, str]


class Sequence(Struct, frozen=True):
    """A sequence and the number that it gives next."""

    name: str
    following: int


class LedgerHead(Struct, frozen=True):
    """Where an account's book ended: the last entry's number, hash and balance."""

    account: str
    number: int
    hash: str
    balance_minor: int


class Manifest(Struct, frozen=True):
    """What a backup holds. ``created_at``: the moment of its snapshot."""

    format: int
    program: str
    created_at: datetime
    postgresql: str
    timescaledb: str | None
    migrations: tuple[Migrated, ...]
    tables: tuple[Table, ...]
    sequences: tuple[Sequence, ...]
    ledger_heads: tuple[LedgerHead, ...]

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(table.rows for table in self.tables)


class Backup(Struct, frozen=True):
    """A file whose checksums held. ``sha256`` is the seal's."""

    path: Path
    manifest: Manifest
    sha256: str
    size_bytes: int

    def blocks(self, table: Table) -> Iterator[bytes]:
        """A table's rows, in blocks of at most 1 MiB. Raises DamagedError where they are not what was written."""
        digest = hashlib.sha256()
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(table.member) as member:
                while block := member.read(READ_BYTES):
                    digest.update(block)
                    yield block
        except OSError as error:
            raise BackupError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        except Exception as error:  # noqa: BLE001  (what zipfile and zlib raise at damage has no common base)
            raise DamagedError(self.path, table.member, f"cannot be unpacked: {error}") from None
        if digest.hexdigest() != table.sha256:
            raise DamagedError(self.path, table.member, "its SHA-256 is not the manifest's")


# ---------------------------------------------------------------------- writing


class _Hashed:
    """The file below, its position, and the hash of what was written since the last ``cut``."""

    def __init__(self, below: IO[bytes]) -> None:
        self._below = below
        self._digest = hashlib.sha256()
        self._begin = self._end = 0

    def write(self, data: bytes) -> int:
        self._digest.update(data)
        self._end += len(data)
        return self._below.write(data)

    def flush(self) -> None:
        self._below.flush()

    def cut(self) -> tuple[int, int, str]:
        """Begin, end and hash of what was written since the last time."""
        found = self._begin, self._end, self._digest.hexdigest()
        self._digest, self._begin = hashlib.sha256(), self._end
        return found


class Member:
    """A member that is being written."""

    def __init__(self, below: IO[bytes]) -> None:
        self._below = below
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes | bytearray) -> None:
        """Append."""
        self._digest.update(data)
        self.size_bytes += len(data)
        self._below.write(data)

    @property
    def sha256(self) -> str:
        """Of all that was appended."""
        return self._digest.hexdigest()


class Writer:
    """A backup that is being written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._hashed = _Hashed(file)
        # no seeking below: what is written once is never changed, so that it can be hashed on its way
        self._archive = zipfile.ZipFile(
            cast("BinaryIO", self._hashed), "w", zipfile.ZIP_DEFLATED, compresslevel=COMPRESSION
        )

    @contextmanager
    def member(self, name: str) -> Generator[Member]:
        """The next member; it is closed behind the block."""
        with self._archive.open(name, "w", force_zip64=True) as below:
            yield Member(below)

    def cut(self) -> tuple[int, int, str]:
        """Where the member that was closed last lies, and its raw bytes' SHA-256."""
        return self._hashed.cut()

    def close(self, manifest: Manifest) -> None:
        """Write the manifest and the directory, and leave room for the seal."""
        with self.member(MANIFEST) as member:
            member.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
        self._archive.comment = bytes(SEAL_BYTES)
        self._archive.close()


@contextmanager
def writing(path: Path) -> Generator[Writer]:
    """Write a new file: there is all of it under its name in the end, or nothing. Raises BackupError."""
    try:
        there = path.exists()
    except OSError as error:
        raise BackupError(f"{path}: cannot be written: {error.strerror or error}") from None
    if there:
        raise BackupError(f"{path}: there is such a file already; choose another name, or remove it")
    part = path.with_name(path.name + PART)
    try:
        part.unlink(missing_ok=True)  # of one that was killed
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)  # all customers' data
        with os.fdopen(descriptor, "w+b") as file:
            yield Writer(file)
            _seal(file)
            os.fsync(file.fileno())
        part.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise BackupError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)


def _seal(file: IO[bytes]) -> None:
    file.flush()
    end = file.seek(0, os.SEEK_END) - SEAL_BYTES
    file.seek(0)
    digest = _sha256(file, end)
    file.seek(end)
    file.write(SEAL + digest.encode())
    file.flush()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(file: IO[bytes], size: int) -> str:
    """Of the next bytes."""
    digest = hashlib.sha256()
    while size > 0 and (block := file.read(min(READ_BYTES, size))):
        digest.update(block)
        size -= len(block)
    return digest.hexdigest()


# ---------------------------------------------------------------------- checking


def check(path: Path) -> Backup:
    """Read all of a file and check every checksum. Raises DamagedError, which names the part, and BackupError."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - SEAL_BYTES, 0))
            seal = file.read()
            file.seek(0)
            sealed = _sha256(file, size - SEAL_BYTES)
    except OSError as error:
        raise BackupError(f"{path}: cannot be read: {error.strerror or error}") from None
    if not seal.startswith(SEAL):
        _check_kind(path)
        raise DamagedError(
            path, "the end of the file", "the seal is missing; the file is cut short or changed"
        )
    if seal != SEAL + sealed.encode():
        member = _damaged_part(path)
        raise DamagedError(path, member, "its bytes are not those that were written")
    manifest = _manifest(path)
    backup = Backup(path, manifest, sealed, size)
    for table in manifest.tables:
        rows = sum(block.count(b"\n") for block in backup.blocks(table))
        if rows != table.rows:
            raise DamagedError(path, table.member, f"{rows} rows, where the manifest tells of {table.rows}")
    return backup


def _check_kind(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            raise BackupError(f"{path}: is no backup; `tracker-server backup create` makes one")


def _manifest(path: Path) -> Manifest:
    text = _manifest_text(path)
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        found = msgspec.json.decode(text, type=dict[str, object]).get("format")
        if found == FORMAT:
            raise DamagedError(path, MANIFEST, str(error)) from None
        manifest = None
    if manifest is None or manifest.format != FORMAT:
        raise BackupError(
            f"{path}: is of another format; use the tracker-server that made it, or a newer one"
        )
    return manifest


def _manifest_text(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive, archive.open(MANIFEST) as member:
        return member.read(MANIFEST_BYTES_MAX)


def _damaged_part(path: Path) -> str:
    """Which part of a file, whose seal is broken, is not what was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            archive.getinfo(MANIFEST)
    except Exception:  # noqa: BLE001  (whatever zipfile raises: its directory cannot be followed)
        return "the directory at the end of the file"
    try:
        manifest = msgspec.json.decode(_manifest_text(path), type=Manifest)
    except Exception:  # noqa: BLE001  (as above: the manifest cannot be unpacked or read)
        return MANIFEST
    with path.open("rb") as file:
        for table in manifest.tables:
            begin, end, digest = table.raw
            file.seek(begin)
            if _sha256(file, end - begin) != digest:
                return table.member
    return f"{MANIFEST} or the directory behind it"
