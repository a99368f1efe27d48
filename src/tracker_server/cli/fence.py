"""``tracker-server fence``: the geofences of an account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, account_id_of, database, refused, run, tell, wrong
from tracker_server.cli.fence_given import ReadFormat, calendar_of, fence_of, read_file, shape_of
from tracker_server.cli.output import Format, counted, each, write_rows
from tracker_server.cli.values import line_of_text, moment_of, unique_id_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tracker_server.storage.fences import FenceRow

app = App(name="fence", help="Geofences: circles, polygons and corridors that events are told of.")

FileFormat = Literal["geojson", "kml", "wkt"]
AxesFlag = Annotated[Literal["lon-lat", "lat-lon"], Parameter(name="--axes")]
COLUMNS = (
    "id", "name", "account", "kind", "vertices", "for", "speed_limit_mps", "dwell_s", "schedule", "since", "until", "created_at",
)  # fmt: skip
TABLE_COLUMNS = ("id", "name", "account", "kind", "vertices", "for", "speed_limit_mps", "dwell_s")


@app.command
def add(  # noqa: PLR0913  (its flags)
    name: str,
    /,
    *,
    account: str,
    wkt: str | None = None,
    axes: AxesFlag = "lon-lat",
    width: Annotated[float | None, Parameter(name="--width-m")] = None,
    geojson: Path | None = None,
    circle: str | None = None,
    speed_limit: Annotated[float | None, Parameter(name="--speed-limit-mps")] = None,
    dwell: Annotated[float | None, Parameter(name="--dwell-s")] = None,
    schedule: Path | None = None,
    since: str | None = None,
    until: str | None = None,
    where: Where = HERE,
) -> None:
    """Draw a fence. It is for all trackers of its account, until it is assigned to some.

    It counts for fixes that come in from now on; with --since in the past, for those of the past as well, once their
    histories are run again (track rerun). Edges are straight in longitude and latitude.

    Example: tracker-server fence add Depot --account "Van Rental" --circle 52.0907,5.1214,150

    Parameters
    ----------
    name
        What events call it.
    account
        Name of the account that it belongs to.
    wkt
        Its shape as Well-Known Text: POLYGON, MULTIPOLYGON, LINESTRING (with --width-m), CIRCLE (x y, metres).
    axes
        Which number of a position in --wkt comes first.
    width
        The full width of a corridor along --wkt's line, in metres.
    geojson
        A file with its shape: a geometry, a Feature, or a FeatureCollection of one.
    circle
        Its shape as LATITUDE,LONGITUDE,METRES.
    speed_limit
        Metres a second; faster within it is told as deviceOverspeed.
    dwell
        Seconds inside after which geofenceDwell is told.
    schedule
        An iCalendar file: events are told while one of its events lasts.
    since
        It counts for fixes from this moment on. Default: any.
    until
        It counts for fixes before this moment. Default: any.
    """
    name = line_of_text("NAME", name, 128)
    shape = shape_of(name, wkt, axes, width, geojson, circle)
    for flag, value in (("--speed-limit-mps", speed_limit), ("--dwell-s", dwell)):
        if value is not None and not value > 0:
            wrong(f"{flag}: {value:g} is too small; write a number above 0")
    begins, ends = moment_of("--since", since), moment_of("--until", until)
    calendar = None if schedule is None else calendar_of(schedule)
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.fences import NewFence, add_fences

        new = NewFence(
            name=name,
            shape=shape,
            speed_limit_mps=speed_limit,
            dwell_s=dwell,
            schedule=calendar,
            since=begins,
            until=ends,
        )
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            account_id = await account_id_of(connection, account)
            if any(one.name == name for one in await _fences(connection, account_id)):
                refused(f"NAME: account {account!r} has a fence {name!r} already; choose another name")
            (fence_id,) = await add_fences(connection, account_id, [new])
        tell(f"fence {name!r} added to account {account!r} as {fence_id}")

    run(main)


@app.command(name="import")
def import_(  # noqa: PLR0913  (its flags)
    file: Path,
    /,
    *,
    account: str,
    axes: AxesFlag = "lon-lat",
    width: Annotated[float | None, Parameter(name="--width-m")] = None,
    radius: Annotated[float | None, Parameter(name="--radius-m")] = None,
    form: Annotated[ReadFormat | None, Parameter(name="--format")] = None,
    replace: Annotated[bool, Parameter(negative=())] = False,
    where: Where = HERE,
) -> None:
    """Draw all fences of a file, or none.

    GeoJSON: each feature with `properties.name`; a circle is a Point with `radius_m`, a corridor a LineString with
    `width_m`, its full width; `speed_limit_mps` and `dwell_s` are read too. KML: the same in ExtendedData. WKT: a line for
    each, its name, a tab, its text. GPX: tracks and routes become corridors, waypoints circles.

    Example: tracker-server fence import routes.gpx --account "Van Rental" --width-m 80 --radius-m 150

    Parameters
    ----------
    file
        The file.
    account
        Name of the account that they belong to.
    axes
        Which number of a position in WKT comes first.
    width
        The full width of corridors, in metres, where the file tells none.
    radius
        The radius of circles, in metres, where the file tells none.
    form
        What the file holds. Default: by its ending.
    replace
        Draw fences anew that the account has already by the same name; else they are a refusal.
    """
    drawn = read_file(file, form, axes, width, radius)
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.fences import TooManyFencesError, add_fences, change_fence

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            account_id = await account_id_of(connection, account)
            known = {one.name: one.id for one in await _fences(connection, account_id)}
            new = [fence_of(one) for one in drawn]
            there = [one for one in new if one.name in known]
            if there and not replace:
                refused(
                    f"{file}: account {account!r} has {there[0].name!r} already"
                    + (f" and {len(there) - 1} more of them" if len(there) > 1 else "")
                    + "; nothing is imported. --replace draws them anew"
                )
            async with connection.transaction():
                for one in there:
                    await change_fence(connection, known[one.name], one)
                try:
                    await add_fences(connection, account_id, [one for one in new if one.name not in known])
                except TooManyFencesError as error:
                    refused(f"{file}: {error}")
        drawn_anew = f", {len(there)} of them drawn anew" if there else ""
        tell(f"{counted(len(new), 'fence')} imported into account {account!r}{drawn_anew}")

    run(main)


@app.command
def export(
    *,
    account: str,
    axes: AxesFlag = "lon-lat",
    form: Annotated[FileFormat, Parameter(name="--format")] = "geojson",
    where: Where = HERE,
) -> None:
    """Write an account's fences, as `fence import` reads them.

    Example: tracker-server fence export --account "Van Rental" --format kml > depots.kml

    Parameters
    ----------
    account
        Name of the account.
    axes
        Which number of a position in WKT comes first.
    form
        GeoJSON, KML 2.2, or WKT (a line for each).
    """
    loaded = where.load()

    async def main() -> list[FenceRow]:
        from tracker_server.storage.database import Role

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            return await _fences(connection, await account_id_of(connection, account))

    rows = run(main)
    from tracker_server.track.fences.files import drawn_of, written

    tell(written([drawn_of(row) for row in rows], form, axes))


@app.command(name="list")
def list_(
    *,
    account: str | None = None,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List fences.

    Example: tracker-server fence list --account "Van Rental"

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
        from tracker_server.storage.fences import assigned, kind_of
        from tracker_server.track.fences.files import vertices

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            ids = await account_ids(connection)
            if account is not None:
                ids = {account: await account_id_of(connection, account)}
            rows: list[dict[str, Any]] = []
            for name, account_id in ids.items():
                mine = await assigned(connection, account_id)
                rows += [
                    {
                        "id": one.id,
                        "name": one.name,
                        "account": name,
                        "kind": kind_of(one.shape),
                        "vertices": vertices(one.shape),
                        "for": "all" if one.everyone else counted(len(mine.get(one.id, ())), "tracker"),
                        "speed_limit_mps": one.speed_limit_mps,
                        "dwell_s": one.dwell_s,
                        "schedule": one.schedule,
                        "since": one.since,
                        "until": one.until,
                        "created_at": one.created_at,
                    }
                    for one in await _fences(connection, account_id)
                ]
        await write_rows(each(rows), COLUMNS, form, TABLE_COLUMNS)

    run(main)


@app.command
def remove(name: str, /, *, account: str, where: Where = HERE) -> None:
    """Remove a fence. What was found with it stays; visits that last end now.

    Example: tracker-server fence remove Depot --account "Van Rental"

    Parameters
    ----------
    name
        Its name, or its number as `fence list` shows it.
    account
        Name of the account that it belongs to.
    """
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.fences import remove_fence

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            fence = await _fence(connection, name, account)
            await remove_fence(connection, fence.id)
        tell(f"fence {fence.name!r} removed")

    run(main)


@app.command
def assign(
    name: str,
    /,
    *unique_ids: str,
    account: str,
    everyone: Annotated[bool, Parameter(negative=())] = False,
    where: Where = HERE,
) -> None:
    """Say which trackers a fence is for: these besides those before, or with --everyone all of the account.

    Example: tracker-server fence assign Depot 356307042441013 356307042441014 --account "Van Rental"

    Parameters
    ----------
    name
        Its name, or its number as `fence list` shows it.
    unique_ids
        The trackers' identifiers.
    account
        Name of the account that it belongs to.
    everyone
        It is for all trackers of the account again.
    """
    if bool(unique_ids) == everyone:
        wrong("UNIQUE_IDS: write the trackers that the fence is for, or --everyone")
    wanted = [unique_id_of("UNIQUE_IDS", one) for one in unique_ids]
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.devices import rows_of
        from tracker_server.storage.fences import assign_fence, unassign_fence

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            fence = await _fence(connection, name, account)
            ids: list[int] = []
            for unique_id in wanted:
                rows = [row for row in await rows_of(connection, unique_id) if row.removed_at is None]
                if not rows or rows[-1].account != account:
                    refused(
                        f"UNIQUE_IDS: account {account!r} has no tracker {unique_id!r}; nothing is assigned"
                    )
                ids.append(rows[-1].id)
            if everyone:
                await unassign_fence(connection, fence.id)
            await assign_fence(connection, fence.id, ids, everyone=everyone)
        whom = "all trackers of the account" if everyone else counted(len(ids), "more tracker")
        tell(f"fence {fence.name!r} is for {whom}")

    run(main)


# ------------------------------------------------------------------------------------------------- their parts


async def _fences(connection: AsyncConnection[Any], account_id: int) -> list[FenceRow]:
    from tracker_server.storage.fences import fences_of

    return await fences_of(connection, account_id)


async def _fence(connection: AsyncConnection[Any], name: str, account: str) -> FenceRow:
    rows = await _fences(connection, await account_id_of(connection, account))
    found = [row for row in rows if row.name == name] or [row for row in rows if str(row.id) == name]
    if not found:
        refused(
            f"NAME: account {account!r} has no fence {name!r}; `tracker-server fence list` tells them all"
        )
    if len(found) > 1:
        refused(
            f"NAME: account {account!r} has {len(found)} fences {name!r}; write the number of one: "
            + ", ".join(str(row.id) for row in found)
        )
    return found[0]
