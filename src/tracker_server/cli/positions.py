"""``tracker-server positions``: a tracker's history, as its customer may see it or all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from tracker_server.cli.common import HERE, Where, database, run
from tracker_server.cli.history import refuse_unknown, tell_state
from tracker_server.cli.output import closing, write_parts, write_rows
from tracker_server.cli.values import period_of, unique_id_of

HistoryFormat = Literal["table", "json", "csv", "geojson", "gpx", "kml"]
TABLE_COLUMNS = (
    "fixed_at", "latitude", "longitude", "speed_mps", "course_deg", "altitude_m", "valid", "attributes",
)  # fmt: skip


def positions(
    unique_id: str,
    /,
    *,
    since: Annotated[str | None, Parameter(name="--from")] = None,
    until: Annotated[str | None, Parameter(name="--to")] = None,
    viewer: Annotated[Literal["customer", "operator"], Parameter(name="--as")] = "customer",
    form: Annotated[HistoryFormat, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """Show a tracker's history, by the time of its fixes.

    As its customer may see it: nothing while the tracker is blocked. The operator sees all of it, that of
    former owners and removed trackers too. Times are ISO 8601; without a zone they are UTC, a date alone
    is its beginning.

    Example: tracker-server positions 356307042441013 --from 2026-01-31 --to 2026-02-01 --format gpx > day.gpx

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    since
        The first fix at this moment or later.
    until
        The last fix before this moment.
    viewer
        Whose eyes: the customer's, through the gate, or the operator's.
    form
        Table for people; JSON (one array), CSV, GeoJSON, GPX 1.1 or KML 2.2 for programs.
    """
    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    begins, ends = period_of(since, until)
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.devices import rows_of
        from tracker_server.storage.history import (
            COLUMNS,
            OPERATOR_COLUMNS,
            all_positions,
            displayed_positions,
        )

        async with database(loaded) as home:
            async with await home.connect(Role.CORE) as connection:
                devices = await rows_of(connection, unique_id)
                if viewer == "customer":
                    hides_all = loaded.settings.billing.hide_history_while_blocked
                    await tell_state(connection, unique_id, devices, hides_all=hides_all)
                elif not devices:
                    await refuse_unknown(connection, unique_id)
                else:
                    found = all_positions(connection, [d.id for d in devices], begins, ends)
                    await _write(found, unique_id, OPERATOR_COLUMNS, form)
                    return
            async with await home.connect(Role.DISPLAY) as connection:
                found = displayed_positions(connection, devices[-1].id, begins, ends)
                await _write(found, unique_id, COLUMNS, form)

    run(main)


async def _write(
    rows: AsyncIterator[dict[str, Any]], unique_id: str, columns: tuple[str, ...], form: HistoryFormat
) -> None:
    from tracker_server.exports import tracks

    async with closing(rows) as found:
        match form:
            case "table" | "json" | "csv":
                await write_rows(found, columns, form, TABLE_COLUMNS)
            case "geojson":
                await write_parts(tracks.geojson(found, columns))
            case "gpx":
                await write_parts(tracks.gpx([(unique_id, found)]))
            case "kml":
                await write_parts(tracks.kml(unique_id, [(unique_id, found)]))
