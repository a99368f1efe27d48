"""``tracker-server track``: why the engine decided as it did, a picture of a day, settings, running history again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, account_id_of, database, refused, run, tell, wrong
from tracker_server.cli.found import From, Until, Viewer
from tracker_server.cli.history import refuse_unknown, tell_state
from tracker_server.cli.output import counted
from tracker_server.cli.values import moment_of, period_of, unique_id_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tracker_server.storage.database import Database
    from tracker_server.storage.devices import DeviceRow

app = App(name="track", help="The track engine: why it decided, pictures, settings, histories run again.")

FIXES_MAX = 200_000  # of one picture: a month at one in ten seconds; more is one blot


@app.command
def explain(unique_id: str, /, *, at: str, where: Where = HERE) -> None:
    """Tell why the engine decided as it did at a report: with numbers, in sentences. The operator's view.

    Example: tracker-server track explain 356307042441013 --at 2026-01-31T08:15:00

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    at
        The last report of this moment or before is explained.
    """
    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    moment = moment_of("--at", at)
    assert moment is not None
    loaded = where.load()

    async def main() -> str:
        from tracker_server.pipeline.batch import micros
        from tracker_server.storage.database import Role
        from tracker_server.storage.track_grounds import engine_settings, read_ground
        from tracker_server.storage.track_tell import history_until
        from tracker_server.track.explain import explained

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            device = await _device(connection, unique_id)
            ground = await read_ground(
                connection, await _account_id(connection, device), engine_settings(loaded.settings)
            )
            state, reports = await history_until(connection, device.id, moment)
        return explained(reports, micros(moment), ground.settings_of(device.id), ground.fences, state)

    tell(run(main).rstrip())


@app.command
def plot(
    unique_id: str,
    /,
    *,
    since: From = None,
    until: Until = None,
    output: Path = Path("track.svg"),
    viewer: Viewer = "customer",
    where: Where = HERE,
) -> None:
    """Draw a tracker's way with its stops and the fences near it. Nothing is fetched from anywhere.

    Example: tracker-server track plot 356307042441013 --from 2026-01-31 --to 2026-02-01 --output day.png

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    since
        The first fix at this moment or later.
    until
        The last fix before this moment.
    output
        The picture: .svg or .png.
    viewer
        Whose eyes: the customer's, through the gate, or the operator's.
    """
    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    period = period_of(since, until)
    if output.suffix.lower() not in {".svg", ".png"}:
        wrong(f"--output: {output}: write a name that ends in .svg or .png")
    loaded = where.load()

    async def main() -> tuple[list[Any], list[Any], list[Any]]:
        from tracker_server.storage.database import Role

        async with database(loaded) as home:
            async with await home.connect(Role.CORE) as connection:
                from tracker_server.storage.devices import rows_of

                devices = await rows_of(connection, unique_id)
                if viewer == "customer":
                    hides_all = loaded.settings.billing.hide_history_while_blocked
                    await tell_state(connection, unique_id, devices, hides_all=hides_all)
                elif not devices:
                    await refuse_unknown(connection, unique_id)
            return await _drawn(home, devices[-1], period, viewer)

    fixes, stops, fences = run(main)
    if not fixes:
        refused(f"UNIQUE_ID: nothing of tracker {unique_id!r} is to be seen in that period")
    from tracker_server.papers.track_plot import picture

    try:
        output.write_bytes(picture(output.suffix[1:].lower(), unique_id, fixes, stops, fences))
    except OSError as error:
        refused(f"--output: {output}: cannot be written: {error.strerror}")
    tell(
        f"{output}: {counted(len(fixes), 'position')}, {counted(len(stops), 'stop')}, {counted(len(fences), 'fence')}"
    )


async def _drawn(
    home: Database, device: DeviceRow, period: tuple[Any, Any], viewer: str
) -> tuple[list[Any], list[Any], list[Any]]:
    """Fixes, stops and fences to be drawn."""
    from tracker_server.storage import history, track_found
    from tracker_server.storage.database import Role
    from tracker_server.storage.fences import displayed_fences, fences_of

    customer = viewer == "customer"
    async with await home.connect(Role.DISPLAY if customer else Role.CORE) as connection:
        rows = (
            history.displayed_positions(connection, device.id, *period)
            if customer
            else history.all_positions(connection, [device.id], *period)
        )
        fixes: list[Any] = []
        async for row in rows:
            if row["valid"]:
                fixes.append(row)
            if len(fixes) > FIXES_MAX:
                refused(f"--from, --to: more than {FIXES_MAX} fixes; choose a shorter period")
        read = track_found.displayed if customer else track_found.everything
        stops = [row async for row in read(connection, track_found.Kind.STOPS, [device.id], *period)]
    async with await home.connect(Role.CORE) as connection:
        account_id = await _account_id(connection, device)
        fences = await fences_of(connection, account_id)
    if customer:
        async with await home.connect(Role.DISPLAY) as connection:
            fences = await displayed_fences(connection, account_id)
    return fixes, stops, fences


@app.command(name="set")
def set_(
    values: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    device: str | None = None,
    account: str | None = None,
    where: Where = HERE,
) -> None:
    """Give an account or a tracker settings of its own. They hold from its next report on; the past stays.

    The tracker's word goes before the account's, the account's before the server's. Names and meanings stand in
    docs/explanation/track-engine.md.

    Example: tracker-server track set stop_duration_s=300 device_speed_limit_mps=25 --device 356307042441013

    Parameters
    ----------
    values
        NAME=VALUE; NAME= takes it back.
    device
        The tracker's identifier.
    account
        The account's name.
    """
    if (device is None) == (account is None):
        wrong("write --device or --account, whose settings they are")
    changes = dict(_pair(one) for one in values)
    loaded = where.load()

    async def main() -> dict[str, Any]:
        from tracker_server.storage import track_tell
        from tracker_server.storage.database import Role
        from tracker_server.track.overrides import OverrideError, checked

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            if device is not None:
                owner = (await _device(connection, unique_id_of("--device", device))).id
                known = await track_tell.settings_of_device(connection, owner)
                write = track_tell.set_of_device
            else:
                assert account is not None
                owner = await account_id_of(connection, account)
                known = await track_tell.settings_of_account(connection, owner)
                write = track_tell.set_of_account
            new = {name: value for name, value in {**known, **changes}.items() if value is not None}
            try:
                checked(new)
            except OverrideError as error:
                wrong(f"VALUES: {error}")
            await write(connection, owner, new)
            return new

    said = run(main)
    whose = f"tracker {device!r}" if device else f"account {account!r}"
    tell(f"{whose}: " + (", ".join(f"{name}={value}" for name, value in said.items()) or "as the server's"))


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        wrong(f"VALUES: {text!r} is not NAME=VALUE; for example stop_duration_s=300")
    if not value:
        return name, None
    try:
        return name, float(value) if "." in value or "e" in value.lower() else int(value)
    except ValueError:
        return name, value


@app.command
def rerun(
    *unique_ids: str,
    since: From = None,
    everything: Annotated[bool, Parameter(name="--all", negative=())] = False,
    where: Where = HERE,
) -> None:
    """Run histories again: with today's settings and fences, from a moment or from their beginning on.

    It is queued, and a running server works it off beside its devices; it may be stopped at any time and goes on where
    it was. What is found to be wrong is superseded; nobody is told of old events.

    Example: tracker-server track rerun 356307042441013 --from 2026-01-01

    Parameters
    ----------
    unique_ids
        The trackers' identifiers.
    since
        From this moment on. Default: all that is stored.
    everything
        All trackers.
    """
    if bool(unique_ids) == everything:
        wrong("UNIQUE_IDS: write the trackers whose history is run again, or --all")
    wanted = [unique_id_of("UNIQUE_IDS", one) for one in unique_ids]
    begins = moment_of("--from", since)
    loaded = where.load()

    async def main() -> int:
        from tracker_server.model.event import EPOCH
        from tracker_server.storage.database import Role
        from tracker_server.storage.devices import devices
        from tracker_server.storage.track_tell import queue

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            if everything:
                ids = [one.id async for one in devices(connection)]
            else:
                ids = [(await _device(connection, one)).id for one in wanted]
            return await queue(connection, ids, begins or EPOCH)

    tell(f"{counted(run(main), 'history')} queued; the server works them off")


async def _device(connection: AsyncConnection[Any], unique_id: str) -> DeviceRow:
    from tracker_server.storage.devices import rows_of

    devices = await rows_of(connection, unique_id)
    if not devices:
        await refuse_unknown(connection, unique_id)
    return devices[-1]


async def _account_id(connection: AsyncConnection[Any], device: DeviceRow) -> int:
    from tracker_server.storage.accounts import account_ids

    return (await account_ids(connection))[device.account]
