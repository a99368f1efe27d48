"""``tracker-server proximity``: pairs of trackers whose distance is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, account_id_of, database, refused, run, tell, wrong
from tracker_server.cli.output import Format, each, write_rows
from tracker_server.cli.values import Whole, unique_id_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

app = App(
    name="proximity", help="Pairs of trackers: told when they come near or part, or when one moves alone."
)

COLUMNS = (
    "id", "kind", "unique_id", "other_unique_id", "account", "limit_m", "hysteresis_m", "stale_s", "near", "created_at",
)  # fmt: skip
TABLE_COLUMNS = ("id", "kind", "unique_id", "other_unique_id", "account", "limit_m", "near")


@app.command
def add(
    unique_id: str,
    other: str,
    /,
    *,
    within: Annotated[float, Parameter(name="--within-m")],
    kind: Literal["zone", "companion"] = "zone",
    hysteresis: Annotated[float, Parameter(name="--hysteresis-m")] = 30.0,
    stale: Annotated[float, Parameter(name="--stale-s")] = 300.0,
    where: Where = HERE,
) -> None:
    """Have the distance of two trackers told of. It counts for fixes from now on.

    A zone tells proximityEnter when they come as near as --within-m, and proximityExit when they part. A companion tells
    unaccompaniedMotion when the first sets off and none of its companions is as near as that.

    Example: tracker-server proximity add 356307042441013 356307042441014 --within-m 300

    Parameters
    ----------
    unique_id
        The first tracker: the events are its own.
    other
        The second, of the same account.
    within
        The limit, in metres.
    kind
        What is told.
    hysteresis
        How far beyond the limit the distance has to be before a zone's side changes, in metres.
    stale
        Seconds after which a tracker's last fix no longer says where it is.
    """
    names = unique_id_of("UNIQUE_ID", unique_id), unique_id_of("OTHER", other)
    for flag, value in (("--within-m", within), ("--stale-s", stale)):
        if not 0 < value < float("inf"):
            wrong(f"{flag}: {value:g} cannot be meant; write a number above 0")
    if not 0 <= hysteresis < float("inf"):
        wrong(f"--hysteresis-m: {hysteresis:g} cannot be meant; write 0 or more")
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.proximities import ProximityError, ProximityKind, add_proximity
        from tracker_server.track.proximity import Zone

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            ids = [
                await _device(connection, field, name)
                for field, name in zip(("UNIQUE_ID", "OTHER"), names, strict=True)
            ]
            try:
                number = await add_proximity(
                    connection, ProximityKind(kind), ids[0], ids[1], Zone(within, hysteresis, stale)
                )
            except ProximityError as error:
                refused(f"UNIQUE_ID, OTHER: {names[0]}, {names[1]}: {error}")
        tell(f"{kind} of {names[0]} and {names[1]} added as {number}")

    run(main)


async def _device(connection: AsyncConnection[Any], field: str, unique_id: str) -> int:
    from tracker_server.storage.devices import rows_of

    rows = [row for row in await rows_of(connection, unique_id) if row.removed_at is None]
    if not rows:
        refused(f"{field}: there is no tracker {unique_id!r}; `tracker-server device list` tells them all")
    return rows[-1].id


@app.command(name="list")
def list_(
    *,
    account: str | None = None,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List pairs of trackers.

    Example: tracker-server proximity list --account "Van Rental"

    Parameters
    ----------
    account
        Only this account's.
    form
        Table for people; JSON (one array) or CSV for programs.
    """
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.accounts import account_ids
        from tracker_server.storage.database import Role
        from tracker_server.storage.proximities import proximities

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            only = None if account is None else await account_id_of(connection, account)
            names = {account_id: name for name, account_id in (await account_ids(connection)).items()}
            found = await proximities(connection, account_id=only)
            rows: list[dict[str, Any]] = [
                {
                    **{name: getattr(row, name) for name in COLUMNS if name != "account"},
                    "account": names[row.account_id],
                }
                for row in found
            ]
            await write_rows(each(rows), COLUMNS, form, TABLE_COLUMNS)

    run(main)


@app.command
def remove(number: Whole, /, *, where: Where = HERE) -> None:
    """Tell no longer of a pair. What was found stays.

    Example: tracker-server proximity remove 3

    Parameters
    ----------
    number
        As `proximity list` tells it.
    """
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.proximities import remove_proximity

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            if not await remove_proximity(connection, number):
                refused(f"there is no pair {number}; `tracker-server proximity list` tells them all")
        tell(f"pair {number} removed")

    run(main)
