"""``tracker-server command``: what devices are told, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.output import Format, counted, each, write_rows
from tracker_server.cli.values import Perhaps, Whole, limit_of, unique_id_of

if TYPE_CHECKING:
    from tracker_protocols.wire.command import Command

app = App(name="command", help="Commands to devices: send, list, take back.")

TABLE_COLUMNS = ("id", "unique_id", "state", "type", "attributes", "created_at", "result", "error")
TABLE_ROWS = 100  # the newest, unless --limit says otherwise
HOURS_MAX = 8_760  # a year


@app.command
def send(
    unique_id: str,
    kind: Annotated[str, Parameter(name="TYPE")],
    /,
    *,
    data: str | None = None,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", negative=())] = (),
    hours: Perhaps = None,
    where: Where = HERE,
) -> None:
    """Tell a device something: at once where it is connected to a running server, else as soon as it comes.

    This is the operator's order: of a tracker that is hidden it may stop the engine, but not ask for its place.

    Example: tracker-server command send 356307042441013 engineStop

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    kind
        The command's usual name; `command types` tells which a device knows. custom: its own words.
    data
        The text of a custom command, as the maker's manual has it.
    set_
        Another attribute as NAME=VALUE, such as frequency=60 (may be given several times).
    hours
        How long it waits for the device before it is void. Default: commands.keep_hours.
    """
    from tracker_protocols.wire.command import Command
    from tracker_server.gate.commands import why_not
    from tracker_server.storage.commands import NewCommand, queue
    from tracker_server.storage.database import Role

    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    _check_type(kind)
    attributes: dict[str, Any] = dict(_pair(text) for text in set_)
    if data is not None:
        attributes["data"] = data
    if hours is not None and not 1 <= hours <= HOURS_MAX:
        wrong(f"--hours: {hours} does not fit; write 1 to {HOURS_MAX}")
    loaded = where.load()
    keep = timedelta(hours=hours or loaded.settings.commands.keep_hours)

    async def main() -> None:
        from tracker_server.cli.device import find

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            device = await find(connection, unique_id)
            refusal = why_not(kind, hidden=device.hidden is not None, operator=True)
            if refusal is not None:
                refused(f"UNIQUE_ID: {refusal}")
            await _try_out(connection, device.id, unique_id, Command(kind, attributes))
            expires_at = datetime.now(UTC) + keep
            new = NewCommand(device.id, kind, attributes, expires_at, operator=True, created_by="operator")
            number = await queue(connection, new)
        tell(
            f"command {number} waits for tracker {unique_id!r}; `tracker-server command list` tells what became of it"
        )

    run(main)


def _check_type(kind: str) -> None:
    """Refuse what no language has a word for: of a device that has not reported yet nothing else is known."""
    from tracker_protocols import ALL

    known = sorted({word for protocol in ALL if protocol.commands for word in protocol.commands.types})
    if kind not in known:
        wrong(f"TYPE: {kind[:80]!r} is no command; there are: {', '.join(known)}")


async def _try_out(connection: Any, device_id: int, unique_id: str, command: Command) -> None:
    """Refuse what this device's language cannot say, where it is known which that is."""
    from tracker_protocols import BY_NAME
    from tracker_protocols.wire.command import CommandError
    from tracker_server.storage.commands import protocol_of

    name = await protocol_of(connection, device_id)
    if name is None or name not in BY_NAME:
        return
    commands = BY_NAME[name].commands
    if commands is None:
        refused(f"TYPE: {name}, which tracker {unique_id!r} speaks, knows no commands")
    try:
        commands.encode(unique_id, command, datetime.now(UTC))
    except CommandError as error:
        wrong(str(error).replace("attributes.", "--set ", 1))


def _pair(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        wrong(f"--set: {text!r} is no NAME=VALUE; for example --set frequency=60")
    if value in {"true", "false"}:
        return name, value == "true"
    return name, int(value) if value.isdecimal() else value


@app.command
def types(
    unique_id: str, /, *, form: Annotated[Format, Parameter(name="--format")] = "table", where: Where = HERE
) -> None:
    """List the commands that a device knows, by the protocol of its latest report.

    Example: tracker-server command types 356307042441013

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_protocols import BY_NAME
    from tracker_server.storage.commands import protocol_of
    from tracker_server.storage.database import Role

    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    loaded = where.load()

    async def main() -> None:
        from tracker_server.cli.device import find

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            device = await find(connection, unique_id)
            name = await protocol_of(connection, device.id)
        if name is None:
            refused(
                f"UNIQUE_ID: tracker {unique_id!r} has not reported yet, so its language is not known; "
                "`tracker-server protocols` tells what each knows"
            )
        commands = BY_NAME[name].commands if name in BY_NAME else None
        rows = [{"type": kind, "protocol": name} for kind in (commands.types if commands else ())]
        await write_rows(each(rows), ("type", "protocol"), form)

    run(main)


@app.command(name="list")
def list_(
    unique_id: str | None = None,
    /,
    *,
    viewer: Annotated[Literal["customer", "operator"], Parameter(name="--as")] = "operator",
    limit: Perhaps = None,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List commands and what became of them, newest first.

    A table shows the newest 100 unless --limit is given; JSON and CSV have all.

    Example: tracker-server command list 356307042441013

    Parameters
    ----------
    unique_id
        Only those to this tracker.
    viewer
        Whose eyes: the customer's, through the gate, or the operator's.
    limit
        At most so many.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.commands import COMMAND_COLUMNS, commands
    from tracker_server.storage.database import Role

    wanted = None if unique_id is None else unique_id_of("UNIQUE_ID", unique_id)
    limit = limit_of(limit)
    rows_max = TABLE_ROWS if form == "table" and limit is None else limit
    loaded = where.load()
    gated = viewer == "customer"

    async def main() -> None:
        role = Role.DISPLAY if gated else Role.CORE
        async with database(loaded) as home, await home.connect(role) as connection:
            found = commands(connection, gated=gated, unique_id=wanted, limit=rows_max)
            await write_rows(found, COMMAND_COLUMNS, form, TABLE_COLUMNS)

    run(main)


@app.command
def cancel(*ids: Whole, where: Where = HERE) -> None:
    """Take back commands that have not gone out.

    Example: tracker-server command cancel 17

    Parameters
    ----------
    ids
        Numbers of commands, from the list.
    """
    from tracker_server.storage.commands import cancel as take_back
    from tracker_server.storage.database import Role

    if not ids:
        wrong("ID: is missing; name at least one command, `tracker-server command list` has their numbers")
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            gone = await take_back(connection, list(ids))
        if left := sorted(set(ids) - set(gone)):
            refused(
                f"ID: {', '.join(map(str, left))}: not there, or gone out already; {counted(len(gone), 'command')} taken back"
            )
        tell(f"{counted(len(gone), 'command')} taken back")

    run(main)
