"""``tracker-server backup``: all data in one file, proven, and back."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, database, refused, run, say, tell, wrong
from tracker_server.cli.db import as_it_is
from tracker_server.cli.output import Format, each, progress, write_rows

if TYPE_CHECKING:
    from tracker_server.config import Loaded
    from tracker_server.storage.backup_file import Backup, BadBackupError, Tell

app = App(name="backup", help="All data in one file: made while the server runs, proven, put back.")

COLUMNS = ("path", "created_at", "verified_at", "drilled_at", "rows", "size_bytes", "sha256")
TABLE_COLUMNS = COLUMNS[:-1]


@contextmanager
def shown(title: str) -> Generator[Tell]:
    """Progress on a terminal."""
    with progress(title, 1) as bar:
        task = bar.task_ids[0]

        def come_so_far(what: str, done: int, total: int) -> None:
            bar.update(task, description=f"{title} {what}", completed=done, total=max(total, 1))

        yield come_so_far


def summary(backup: Backup) -> str:
    """What a backup holds, in a line."""
    manifest = backup.manifest
    return (
        f"{backup.path}: {manifest.rows:,} rows of {len(manifest.tables)} tables as of "
        f"{manifest.created_at:%Y-%m-%d %H:%M:%S}Z, {backup.size_bytes:,} bytes"
    )


def bad(error: BadBackupError, file: Path, loaded: Loaded) -> NoReturn:
    """Refuse a backup that cannot be relied on, and name one that can."""
    from tracker_server.storage.backup_catalogue import Catalogue

    catalogue = Catalogue(loaded.settings.data_dir)
    catalogue.forget(file)
    good = catalogue.last_good(file)
    if good is None:
        refused(f"{error}; no good backup is known here (`tracker-server backup list`)")
    refused(f"{error}; the last good one is {good.path} of {good.created_at:%Y-%m-%d %H:%M:%S}Z")


def checked(file: Path, loaded: Loaded, *, drill: bool) -> Backup:
    """A backup whose checksums hold and, with ``drill``, that could be restored just now; else exit 1."""
    from tracker_server.storage.backup_catalogue import Catalogue
    from tracker_server.storage.backup_drill import drill as restore_for_proof
    from tracker_server.storage.backup_file import BadBackupError, check

    async def main() -> Backup:
        try:
            backup = check(file)
            if drill:
                with shown("drill") as so_far:
                    await restore_for_proof(backup, loaded.settings, so_far)
        except BadBackupError as error:
            bad(error, file, loaded)
        Catalogue(loaded.settings.data_dir).note(backup, drilled=drill)
        return backup

    return run(main)


@app.command
def create(file: Annotated[Path, Parameter(name="FILE")], /, *, where: Where = HERE) -> None:
    """Save all data as of this moment in a new file, and check the file. The server may run meanwhile.

    Example: tracker-server backup create /backups/monday.zip

    Parameters
    ----------
    file
        A ZIP archive, readable by its owner only. It appears when it is whole.
    """
    from tracker_server.storage.backup import create as save
    from tracker_server.storage.database import Role

    loaded = where.load()
    if not file.absolute().parent.is_dir():
        wrong(f"FILE: there is no folder {file.absolute().parent}; make it first")

    async def main() -> None:
        async with as_it_is(loaded) as home, await home.connect(Role.OWNER) as connection:
            with shown("backup") as so_far:
                await save(connection, file, so_far)

    run(main)
    backup = checked(file, loaded, drill=False)
    tell(f"{summary(backup)}, checksums hold")


@app.command
def verify(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    drill: Annotated[bool, Parameter(negative="--skip-drill")] = True,
    where: Where = HERE,
) -> None:
    """Prove a backup: check every checksum, restore it into a scratch database, compare rows, derive all money anew.

    The scratch database is a PostgreSQL of its own in the temporary directory (TMPDIR), gone afterwards.

    Example: tracker-server backup verify /backups/monday.zip

    Parameters
    ----------
    file
        The backup.
    drill
        Restore it into a scratch database; --skip-drill checks the checksums only.
    """
    loaded = where.load()
    backup = checked(file, loaded, drill=drill)
    proof = "restored for proof: rows, references and accounts are right" if drill else "checksums hold"
    tell(f"{summary(backup)}, {proof}")


@app.command
def restore(
    file: Annotated[Path, Parameter(name="FILE")],
    /,
    *,
    replace: Annotated[bool, Parameter(negative=())] = False,
    drill: Annotated[bool, Parameter(negative="--skip-drill")] = True,
    quarantine: Path | None = None,
    where: Where = HERE,
) -> None:
    """Put a backup back: all of it, or nothing is changed. The server must not run meanwhile.

    Example: tracker-server backup restore /backups/monday.zip

    Parameters
    ----------
    file
        The backup. One that does not verify is refused, and the last good one is named.
    replace
        Throw away what the database holds, once the backup has been loaded whole.
    drill
        Prove it in a scratch database first, as `backup verify` does; --skip-drill checks the checksums only.
    quarantine
        A new directory: make a read-only copy there, for analysis, and leave the database alone. No server
        runs on it, and its database takes no write.
    """
    if quarantine is not None and replace:
        wrong("--replace and --quarantine go not together: a copy for analysis replaces nothing")
    loaded = where.load()
    backup = checked(file, loaded, drill=drill)
    if quarantine is not None:
        _restore_quarantined(backup, quarantine)
    else:
        _restore(backup, loaded, replace=replace)


def _restore_quarantined(backup: Backup, folder: Path) -> None:
    from tracker_server.storage.backup_quarantine import restore_quarantined

    async def main() -> None:
        with shown("restore") as so_far:
            await restore_quarantined(backup, folder, so_far)

    run(main)
    tell(
        f"{backup.manifest.rows:,} rows for reading in {folder}: --data-dir {folder} behind the commands that read"
    )


def _restore(backup: Backup, loaded: Loaded, *, replace: bool) -> None:
    from tracker_server.storage.backup_quarantine import check_in_service
    from tracker_server.storage.backup_restore import restore as put_back
    from tracker_server.storage.database import Role

    settings = loaded.settings

    async def main() -> None:
        check_in_service(settings.data_dir)
        async with database(loaded) as home, await home.connect(Role.OWNER) as connection:
            with shown("restore") as so_far:
                await put_back(
                    connection,
                    backup,
                    replace=replace,
                    begins_with=["default", settings.devices.unknown_account],
                    tell=so_far,
                )

    run(main)
    tell(f"{backup.manifest.rows:,} rows restored, as of {backup.manifest.created_at:%Y-%m-%d %H:%M:%S}Z")
    say(
        "tracker-server: what happened after that moment is not there; devices send again only what was not answered"
    )


@app.command(name="list")
def list_(*, form: Annotated[Format, Parameter(name="--format")] = "table", where: Where = HERE) -> None:
    """List the backups that were made or verified here and are still there, newest first.

    Example: tracker-server backup list --format json

    Parameters
    ----------
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    import msgspec

    from tracker_server.storage.backup_catalogue import Catalogue

    loaded = where.load()

    async def main() -> None:
        known = Catalogue(loaded.settings.data_dir).known()
        rows = each([msgspec.structs.asdict(one) for one in reversed(known)])
        await write_rows(rows, COLUMNS, form, TABLE_COLUMNS)

    run(main)
