"""``tracker-server db``: the database below."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, refused, run, say, tell
from tracker_server.cli.config import without_password
from tracker_server.cli.output import each, write_object, write_rows

if TYPE_CHECKING:
    from tracker_server.config import Loaded
    from tracker_server.storage.database import Database

app = App(name="db", help="The database: where it is, its shape, its size.")

TABLE_COLUMNS = (
    "table", "kind", "partitions", "rows_estimate", "size_bytes", "oldest_day", "newest_day",
)  # fmt: skip


@app.command
def dsn(*, where: Where = HERE) -> None:
    """Print the database's DSN, as psql takes it. It may hold a password.

    Example: psql "$(tracker-server db dsn)"
    """
    from tracker_server.storage.database import Database

    home = Database(where.load().settings)
    tell(home.dsn)
    if home.embedded and not home.embedded.running():
        say("tracker-server: the embedded database runs while `tracker-server serve` does; start that first")


@app.command
def migrate(*, where: Where = HERE) -> None:
    """Bring the database to the shape that this program needs. `serve` does so at its start.

    Example: tracker-server db migrate
    """
    from tracker_server.app import prepare
    from tracker_server.storage.database import Database

    loaded = where.load()

    async def main() -> None:
        home = Database(loaded.settings)
        await home.open()
        try:
            done = await prepare(home, loaded.settings)
        finally:
            await home.close()
        for migration in done:
            tell(f"migration {migration.number} ({migration.name}) applied")
        if not done:
            tell("the database is up to date")

    run(main)


@app.command
def status(
    *, form: Annotated[Literal["table", "json"], Parameter(name="--format")] = "table", where: Where = HERE
) -> None:
    """Show where the database is, its version, migrations, sizes, and the days that it holds.

    Example: tracker-server db status --format json

    Parameters
    ----------
    form
        Lines for people, JSON (one object) for programs.
    """
    loaded = where.load()

    async def main() -> None:
        async with as_it_is(loaded) as home:
            found = await _status(home)
        tables = found["tables"]
        if form == "json":
            write_object(found, "json")
            return
        head = {name: value for name, value in found.items() if name not in {"tables", "migrations"}}
        migrations = found["migrations"]
        missing = ", ".join(map(str, migrations["missing"])) or "none"
        head["migrations"] = f"{len(migrations['applied'])} applied, missing: {missing}"
        write_object(head, "table")
        await write_rows(each(tables), TABLE_COLUMNS, "table")

    run(main)


@asynccontextmanager
async def as_it_is(loaded: Loaded) -> AsyncGenerator[Database]:
    """The database of these settings, neither made nor migrated. Exit 1 where there is none yet."""
    from tracker_server.storage.database import Database

    home = Database(loaded.settings)
    if home.embedded and not home.embedded.exists():
        refused(
            f"there is no database in {home.embedded.home} yet; `tracker-server serve` makes it, or "
            "`tracker-server db migrate`"
        )
    await home.open()
    try:
        yield home
    finally:
        await home.close()


async def _status(home: Database) -> dict[str, Any]:
    import msgspec

    from tracker_server.storage.database import Role
    from tracker_server.storage.migrate import applied, known_migrations, missing_of
    from tracker_server.storage.status import counts, shape, time_tables

    async with await home.connect(Role.OWNER) as connection:
        done = await applied(connection)
        missing = [migration.number for migration in missing_of(known_migrations(), done)]
        server = await shape(connection)
        tables = [msgspec.structs.asdict(table) for table in await time_tables(connection)] if done else []
        numbers = msgspec.structs.asdict(await counts(connection)) if done else {}
    return {
        "home": "embedded" if home.embedded else "storage.dsn",
        "dsn": without_password(home.dsn),
        "postgresql": server.version,
        "timescaledb": server.timescaledb,
        "timescaledb_license": server.timescaledb_license if server.timescaledb else None,
        "database": server.database,
        "size_bytes": server.size_bytes,
        "migrations": {"applied": sorted(done), "missing": missing},
        **numbers,
        "tables": tables,
    }
