"""``tracker-server device``: the trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tracker_server.cli.billing_carry import settled_words
from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.device_import import import_
from tracker_server.cli.device_rows import COLUMNS, TABLE_COLUMNS, block_row, device_row, reason_words
from tracker_server.cli.output import Format, counted, mapped, write_object, write_rows
from tracker_server.cli.values import (
    NAME_CHARACTERS_MAX,
    NOTE_CHARACTERS_MAX,
    BadValueError,
    line_of_text,
    parse_priority,
    unique_id_of,
)
from tracker_server.exports.cells import iso

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tracker_server.storage.devices import DeviceRow

app = App(name="device", help="Trackers: who has which, and which are held.")
app.command(import_, name="import")


@app.command
def add(
    unique_id: str,
    /,
    *,
    account: str = "default",
    name: str | None = None,
    priority: str = "1",
    test: bool = False,
    where: Where = HERE,
) -> None:
    """Add a tracker. From its next report on it is stored and shown.

    Taken over from another account, it shows what it sends from now on; the former owner's stays hidden.

    Example: tracker-server device add 356307042441013 --account default --name "Van 7"

    Parameters
    ----------
    unique_id
        The identifier by which the tracker names itself: an IMEI, a serial number, a chosen name.
    account
        Name of the account that it belongs to.
    name
        What people call it. Default: the identifier.
    priority
        From 1 on; where a balance does not pay for all, smaller ones are paid first.
    test
        A test device, which costs nothing.
    """
    from tracker_server.storage.accounts import account_ids
    from tracker_server.storage.database import Role
    from tracker_server.storage.devices import DeviceExistsError, NewDevice, TestDeviceExistsError, add_device
    from tracker_server.storage.quarantine_rows import count_frames

    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    name = unique_id if name is None else line_of_text("--name", name, NAME_CHARACTERS_MAX)
    try:
        priority_number = parse_priority(priority)
    except BadValueError as error:
        wrong(f"--priority: {error}")
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            account_id = _account_id(await account_ids(connection), account)
            try:
                device_id = await add_device(
                    connection, NewDevice(unique_id, account_id, name, priority_number, test)
                )
            except DeviceExistsError:
                owner = (await find(connection, unique_id)).account
                refused(
                    f"UNIQUE_ID: tracker {unique_id!r} exists already, in account {owner!r}; "
                    f"`tracker-server device move {unique_id} --account …` changes that"
                )
            except TestDeviceExistsError:
                refused(_second_test(account))
            paid = await settled_words(connection, loaded, account_id, unique_id)
            tell(f"tracker {unique_id!r} added to account {account!r} (id {device_id}){_and(paid)}")
            frames = await count_frames(connection, unique_id)
            if frames:
                tell(
                    f"{counted(frames, 'frame')} of it in quarantine: "
                    f"`tracker-server quarantine replay --device {unique_id}` brings home what they tell"
                )

    run(main)


def _second_test(account: str) -> str:
    return (
        f"--account: {account!r} has a test tracker already, and an account has one; "
        "`tracker-server billing convert` makes that one a paying one, `device remove` takes it away"
    )


def _and(words: str | None) -> str:
    """What money says of it, behind what was done."""
    return f"; {words}" if words else ""


def _account_id(known: dict[str, int], account: str) -> int:
    if account not in known:
        from difflib import get_close_matches

        near = get_close_matches(account, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else "`tracker-server account list` tells them all"
        refused(f"--account: there is no account named {account!r}; {hint}")
    return known[account]


async def find(connection: AsyncConnection[Any], unique_id: str) -> DeviceRow:
    """The tracker of that identifier that is connected, or a refusal, exit 1."""
    from tracker_server.storage.devices import rows_of

    rows = await rows_of(connection, unique_id)
    if not rows:
        refused(f"UNIQUE_ID: there is no tracker {unique_id!r}; `tracker-server device list` tells them all")
    if rows[-1].removed_at is not None:
        refused(
            f"UNIQUE_ID: tracker {unique_id!r} was removed at {iso(rows[-1].removed_at)}; "
            f"`tracker-server device add {unique_id} --account …` adds it again"
        )
    return rows[-1]


# ---------------------------------------------------------------------- lists


@app.command(name="list")
def list_(
    *,
    account: str | None = None,
    removed: Annotated[bool, Parameter(negative="")] = False,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List the trackers: whose, whether blocked, why and since when, last heard.

    Example: tracker-server device list --account default --format csv

    Parameters
    ----------
    account
        Only this account's.
    removed
        The removed ones, too.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.accounts import account_ids
    from tracker_server.storage.database import Role
    from tracker_server.storage.devices import devices

    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            if account is not None:
                _account_id(await account_ids(connection), account)
            found = devices(connection, account=account, removed=removed)
            await write_rows(mapped(found, device_row), COLUMNS, form, TABLE_COLUMNS)

    run(main)


@app.command
def show(
    unique_id: str, /, *, form: Annotated[Format, Parameter(name="--format")] = "table", where: Where = HERE
) -> None:
    """Show one tracker: its account, its blocks, the rows that it had before.

    Example: tracker-server device show 356307042441013

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    form
        Lines for people, JSON (one object) or CSV for programs.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.devices import rows_of
    from tracker_server.storage.quarantine_rows import count_frames

    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            rows = await rows_of(connection, unique_id)
            frames = await count_frames(connection, unique_id)
        if not rows:
            waiting = f"; {counted(frames, 'frame')} of it in quarantine" if frames else ""
            refused(
                f"UNIQUE_ID: there is no tracker {unique_id!r}{waiting}; `tracker-server device add` adds it"
            )
        *former, current = rows
        write_object(
            {
                **device_row(current),
                "blocks": [block_row(block) for block in current.blocks],
                "former": [
                    {"account": row.account, "created_at": row.created_at, "removed_at": row.removed_at}
                    for row in former
                ],
                "quarantine_frames": frames,
            },
            form,
        )

    run(main)


# ---------------------------------------------------------------------- changes


@app.command
def remove(unique_id: str, /, *, where: Where = HERE) -> None:
    """Remove a tracker: its customer sees it no longer, and its new reports go to quarantine.

    Nothing that it sent is deleted; the operator still reads it (positions --as operator).

    Example: tracker-server device remove 356307042441013

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    """
    from tracker_server.storage.accounts import account_ids
    from tracker_server.storage.database import Role
    from tracker_server.storage.devices import remove_device

    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            device = await find(connection, unique_id)
            if await remove_device(connection, device.id) is None:
                refused(f"UNIQUE_ID: tracker {unique_id!r} was removed just now by somebody else")
            accounts = await account_ids(connection)
            await settled_words(connection, loaded, accounts[device.account], unique_id)
        tell(f"tracker {unique_id!r} removed from account {device.account!r}; what it sent is kept")

    run(main)


@app.command
def move(unique_id: str, /, *, account: str, where: Where = HERE) -> None:
    """Move a tracker into another account's hands, which see what it sends from now on and nothing older.

    Example: tracker-server device move 356307042441013 --account "Northern Cargo"

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    account
        Name of the account that it belongs to from now on.
    """
    from tracker_server.storage.accounts import account_ids
    from tracker_server.storage.database import Role
    from tracker_server.storage.devices import TestDeviceExistsError, move_device

    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            accounts = await account_ids(connection)
            account_id = _account_id(accounts, account)
            device = await find(connection, unique_id)
            if device.account == account:
                tell(f"tracker {unique_id!r} is in account {account!r} already; nothing was changed")
                return
            try:
                new_id = await move_device(connection, device.id, account_id)
            except TestDeviceExistsError:
                refused(_second_test(account))
            if new_id is None:
                refused(f"UNIQUE_ID: tracker {unique_id!r} was removed just now by somebody else")
            await settled_words(connection, loaded, accounts[device.account], unique_id)
            paid = await settled_words(connection, loaded, account_id, unique_id)
            now = await find(connection, unique_id)
        on_hold = any(block.reason == "hold" for block in now.blocks)
        held = f"; it stays on hold: `tracker-server device release {unique_id}`" if on_hold else ""
        tell(
            f"tracker {unique_id!r} moved from account {device.account!r} to {account!r} (id {new_id})"
            f"{_and(paid)}{held}"
        )

    run(main)


@app.command
def hold(unique_id: str, /, *, reason: str, where: Where = HERE) -> None:
    """Hide a tracker from its customer. It keeps its connection, its answers and its storage.

    This is the operator's own block, apart from billing's: no payment lifts it.

    Example: tracker-server device hold 356307042441013 --reason "ownership in dispute"

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    reason
        Why, in your words; the customer's management row shows it.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.devices import hold_device

    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    reason = line_of_text("--reason", reason, NOTE_CHARACTERS_MAX)
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            device = await find(connection, unique_id)
            held = await hold_device(connection, device.id, reason)
        if held.former_note is None:
            tell(f"tracker {unique_id!r} is on hold since {iso(held.since)}: {reason}")
        elif held.former_note == reason:
            tell(f"tracker {unique_id!r} was on hold already, since {iso(held.since)}: {reason}")
        else:
            tell(
                f"tracker {unique_id!r} was on hold already, since {iso(held.since)}; "
                f"its reason is now: {reason} (it was: {held.former_note})"
            )

    run(main)


@app.command
def release(unique_id: str, /, *, where: Where = HERE) -> None:
    """Lift the operator's hold. All that the tracker sent meanwhile is there to be read at once.

    Example: tracker-server device release 356307042441013

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    """
    from tracker_server.storage.accounts import account_ids
    from tracker_server.storage.database import Role
    from tracker_server.storage.devices import release_device

    unique_id = unique_id_of("UNIQUE_ID", unique_id)
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            device = await find(connection, unique_id)
            lifted = await release_device(connection, device.id)
            accounts = await account_ids(connection)
            await settled_words(connection, loaded, accounts[device.account], unique_id)
            device = await find(connection, unique_id)
        if lifted is None:
            tell(f"tracker {unique_id!r} is not on hold; nothing was changed")
        else:
            tell(
                f"tracker {unique_id!r} is on hold no longer (it was since {iso(lifted.since)}: {lifted.note})"
            )
        if device.hidden:
            rest = ", ".join(
                f"{reason_words(block)} since {iso(block.since)}" for block in device.hidden.blocks
            )
            tell(f"it stays hidden for other reasons: {rest}")

    run(main)
