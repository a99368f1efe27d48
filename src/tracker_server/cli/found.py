"""``tracker-server events``, ``trips``, ``stops`` and ``visits``: what the track engine found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from tracker_server.cli.common import HERE, Where, database, run, wrong
from tracker_server.cli.history import refuse_unknown, tell_state
from tracker_server.cli.output import Format, closing, write_rows
from tracker_server.cli.values import period_of, unique_id_of

if TYPE_CHECKING:
    from tracker_server.storage.track_found import Kind

From = Annotated[str | None, Parameter(name="--from")]
Until = Annotated[str | None, Parameter(name="--to")]
Viewer = Annotated[Literal["customer", "operator"], Parameter(name="--as")]
Form = Annotated[Format, Parameter(name="--format")]

EVENTS = (
    "type", "occurred_at", "fence", "attributes", "superseded", "unique_id", "latitude", "longitude", "decided_at", "stored_at", "id",
)  # fmt: skip
TRIPS = (
    "started_at", "ended_at", "distance_m", "speed_max_mps", "start_latitude", "start_longitude", "end_latitude", "end_longitude",
    "odometer_start_m", "fuel_start", "fuel_end", "driver_unique_id", "unique_id",
)  # fmt: skip
STOPS = ("started_at", "ended_at", "latitude", "longitude", "engine_s", "unique_id")
VISITS = ("fence", "entered_at", "left_at", "fence_id", "unique_id")


def events(  # noqa: PLR0913  (its flags)
    unique_id: str,
    /,
    *,
    since: From = None,
    until: Until = None,
    kinds: Annotated[list[str] | None, Parameter(name="--type")] = None,
    superseded: Annotated[bool, Parameter(negative=())] = False,
    viewer: Viewer = "customer",
    form: Form = "table",
    where: Where = HERE,
) -> None:
    """Show what happened to a tracker, by time: fences entered and left, moves and stops, alarms and the rest.

    As its customer may see it: nothing while the tracker is blocked. What a late fix has shown to be wrong is left out.

    Example: tracker-server events 356307042441013 --from 2026-01-31 --type geofenceEnter --type geofenceExit

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    since
        The first event at this moment or later.
    until
        The last event before this moment.
    kinds
        Only events of this type; may be given again.
    superseded
        With what was found and proved wrong by a fix that came later.
    viewer
        Whose eyes: the customer's, through the gate, or the operator's.
    form
        Table for people; JSON (one array) or CSV for programs.
    """
    from tracker_server.model.event import EventType
    from tracker_server.storage.track_found import Kind

    if unknown := sorted({*(kinds or ())} - {*map(str, EventType)}):
        wrong(f"--type: {unknown[0][:80]!r} is none; there are: {', '.join(EventType)}")
    columns = ("type", "occurred_at", "fence", "attributes", *(["superseded"] if superseded else []))
    _show(
        Kind.EVENTS, unique_id, (since, until), viewer, form, (EVENTS, columns), where,
        types=kinds, superseded=superseded,
    )  # fmt: skip


def trips(
    unique_id: str,
    /,
    *,
    since: From = None,
    until: Until = None,
    viewer: Viewer = "customer",
    form: Form = "table",
    where: Where = HERE,
) -> None:
    """Show a tracker's rides: from one stop to the next, how far and how fast.

    One that goes on has no end yet; its distance is up to the newest report. Rides that reach into the period are shown
    whole.

    Example: tracker-server trips 356307042441013 --from 2026-01-31 --to 2026-02-01

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    since
        Rides that ended after this moment.
    until
        Rides that began before this moment.
    viewer
        Whose eyes: the customer's, through the gate, or the operator's.
    form
        Table for people; JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.track_found import Kind

    shown = ("started_at", "ended_at", "distance_m", "speed_max_mps")
    _show(Kind.TRIPS, unique_id, (since, until), viewer, form, (TRIPS, shown), where)


def stops(
    unique_id: str,
    /,
    *,
    since: From = None,
    until: Until = None,
    viewer: Viewer = "customer",
    form: Form = "table",
    where: Where = HERE,
) -> None:
    """Show where a tracker stood, and how long.

    One that lasts has no end yet. Stops that reach into the period are shown whole.

    Example: tracker-server stops 356307042441013 --from 2026-01-31 --to 2026-02-01

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    since
        Stops that ended after this moment.
    until
        Stops that began before this moment.
    viewer
        Whose eyes: the customer's, through the gate, or the operator's.
    form
        Table for people; JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.track_found import Kind

    shown = ("started_at", "ended_at", "latitude", "longitude", "engine_s")
    _show(Kind.STOPS, unique_id, (since, until), viewer, form, (STOPS, shown), where)


def visits(
    unique_id: str,
    /,
    *,
    since: From = None,
    until: Until = None,
    viewer: Viewer = "customer",
    form: Form = "table",
    where: Where = HERE,
) -> None:
    """Show when a tracker was inside which fence.

    While it is inside, `left_at` is empty. Visits that reach into the period are shown whole, however early they began.

    Example: tracker-server visits 356307042441013 --from 2026-01-31 --to 2026-02-01 --format csv

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    since
        Visits that ended after this moment.
    until
        Visits that began before this moment.
    viewer
        Whose eyes: the customer's, through the gate, or the operator's.
    form
        Table for people; JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.track_found import Kind

    _show(
        Kind.VISITS,
        unique_id,
        (since, until),
        viewer,
        form,
        (VISITS, ("fence", "entered_at", "left_at")),
        where,
    )


def _show(
    kind: Kind,
    unique_id: str,
    period: tuple[str | None, str | None],
    viewer: str,
    form: Format,
    columns: tuple[Sequence[str], Sequence[str]],
    where: Where,
    **more: Any,
) -> None:
    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    begins, ends = period_of(*period)
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.devices import rows_of
        from tracker_server.storage.track_found import displayed, everything

        async with database(loaded) as home:
            async with await home.connect(Role.CORE) as connection:
                devices = await rows_of(connection, unique_id)
                if viewer == "customer":
                    hides_all = loaded.settings.billing.hide_history_while_blocked
                    await tell_state(connection, unique_id, devices, hides_all=hides_all)
                elif not devices:
                    await refuse_unknown(connection, unique_id)
                else:
                    async with closing(
                        everything(connection, kind, [device.id for device in devices], begins, ends, **more)
                    ) as found:
                        await write_rows(found, columns[0], form, columns[1])
                    return
            async with (
                await home.connect(Role.DISPLAY) as connection,
                closing(displayed(connection, kind, [devices[-1].id], begins, ends, **more)) as found,
            ):
                await write_rows(found, columns[0], form, columns[1])

    run(main)
