"""``tracker-server billing``: the ledger, the outlook, settling by hand, and the audit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tracker_server.cli.billing_carry import find_account, store_of
from tracker_server.cli.common import HERE, Where, database, refused, run, say, tell, wrong
from tracker_server.cli.money_values import DAYS_MAX, count_of
from tracker_server.cli.output import Format, progress, write_object, write_rows
from tracker_server.cli.values import moment_of, period_of
from tracker_server.exports.cells import iso

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tracker_server.billing.state import State
    from tracker_server.config import Loaded
    from tracker_server.storage.billing_rows import AccountRow

LEDGER_COLUMNS = (
    "number", "at", "kind", "device", "date", "amount", "balance", "currency", "key", "hash",
)  # fmt: skip
LEDGER_TABLE = ("number", "at", "kind", "device", "date", "amount", "balance", "currency", "key")
AMOUNT_WIDTH = 14  # of the table: sums of one ledger stand under each other


def ledger(
    account: str,
    /,
    *,
    since: Annotated[str | None, Parameter(name="--from")] = None,
    until: Annotated[str | None, Parameter(name="--to")] = None,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """Show every movement of a customer's money, in order, with the balance after each.

    Debits are negative. The date is the local day that a daily fee pays.

    Example: tracker-server billing ledger "Northern Cargo" --from 2026-01-01 --to 2026-02-01 --format csv

    Parameters
    ----------
    account
        The account's name.
    since
        The first entry at this moment or later.
    until
        The last entry before this moment.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    begins, ends = period_of(since, until)
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.billing_rows import ledger as entries
        from tracker_server.storage.database import Role

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = await find_account(connection, account)
            rows = entries(connection, found.id, begins, ends)
            await write_rows(
                _entries(rows, AMOUNT_WIDTH if form == "table" else 0), LEDGER_COLUMNS, form, LEDGER_TABLE
            )

    run(main)


async def _entries(rows: AsyncIterator[dict[str, Any]], width: int) -> AsyncIterator[dict[str, Any]]:
    from tracker_server.model.money import currency, format_minor

    async for row in rows:
        unit = currency(row["currency"])
        day = row.pop("day")
        yield {
            **row,
            "date": None if day is None else day.isoformat(),
            "amount": format_minor(row["amount_minor"], unit).rjust(width),
            "balance": format_minor(row["balance_minor"], unit).rjust(width),
        }


def forecast(
    account: str,
    /,
    *,
    days: str = "60",
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """Say how long a customer's money lasts, which trackers are blocked when, and what would unlock them all.

    What fell due until now is settled first.

    Example: tracker-server billing forecast "Northern Cargo" --days 30

    Parameters
    ----------
    account
        The account's name.
    days
        How far to look ahead: 1 to 366.
    form
        Sentences for people, JSON (one object) or CSV for programs.
    """
    ahead = timedelta(days=count_of("--days", days, DAYS_MAX, "days"))
    loaded = where.load()

    async def main() -> tuple[AccountRow, State]:
        from tracker_server.storage.database import Role

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = await find_account(connection, account)
            return found, await store_of(loaded).settle(connection, found.id, datetime.now(UTC))

    found, state = run(main)
    row = outlook(found, state, state.settled_to + ahead)
    if form != "table":
        write_object(row, form)
        return
    for line in _outlook_lines(row):
        tell(line)


def outlook(account: AccountRow, state: State, until: datetime) -> dict[str, Any]:
    """What an account may expect up to an instant; amounts are decimal strings in ``currency``."""
    from tracker_server.billing.forecast import forecast as look_ahead
    from tracker_server.billing.forecast import min_topup_minor
    from tracker_server.billing.states import FACES, due_minor, standing
    from tracker_server.model.money import currency, format_minor

    now, unit = state.settled_to, currency(state.book.currency)
    ahead = look_ahead(state, until)
    return {
        "account": account.name,
        "balance": format_minor(state.book.balance_minor, unit),
        "owed": format_minor(state.book.receivable_minor, unit),
        "min_topup": format_minor(min_topup_minor(state, now), unit),
        "currency": unit.code,
        "at": now,
        "until": until,
        "balance_then": format_minor(ahead.balance_minor, unit),
        "trackers": [
            {
                "unique_id": one.device,
                "state": FACES[standing(state, state.devices[one.device], now)].state,
                "due": format_minor(due_minor(state, state.devices[one.device], now), unit),
                "blocked_at": None if one.blocked_at is None else one.blocked_at.astimezone(UTC),
                "blocked_on": None if one.blocked_on is None else one.blocked_on.isoformat(),
            }
            for one in ahead.outlooks
        ],
    }


def _outlook_lines(row: dict[str, Any]) -> list[str]:
    code = row["currency"]
    lines = [f"account {row['account']!r}: balance {row['balance']} {code} at {iso(row['at'])}"]
    if row["owed"].strip("0."):
        lines.append(f"owed from a payment that was taken back: {row['owed']} {code}")
    for tracker in row["trackers"]:
        name = tracker["unique_id"]
        if tracker["state"] != "active":
            due = f": {tracker['due']} {code} due" if tracker["due"].strip("0.") else ""
            lines.append(f"{name} is {tracker['state']}{due}")
        elif tracker["blocked_on"] is not None:
            lines.append(f"{name} will be blocked on {tracker['blocked_on']}")
        else:
            lines.append(f"{name} is not blocked before {iso(row['until'])}")
    if row["min_topup"].strip("0."):
        lines.append(f"a top-up of {row['min_topup']} {code} unlocks all now")
    lines.append(f"left at {iso(row['until'])}, if nothing comes in: {row['balance_then']} {code}")
    return lines


def settle(
    *,
    at: str | None = None,
    into_the_future: Annotated[bool, Parameter(negative="")] = False,
    where: Where = HERE,
) -> None:
    """Post what fell due, for every account. A running server does this by itself, at the very instant.

    An entry is never taken out again: a moment that has not come is charged ahead only with
    --into-the-future, and the accounts then stand at that moment until time has caught up.

    Example: tracker-server billing run

    Parameters
    ----------
    at
        Up to this moment. Default: now.
    into_the_future
        Charge ahead of time; it cannot be undone.
    """
    now = datetime.now(UTC)
    moment = moment_of("--at", at) or now
    if moment > now and not into_the_future:
        wrong(
            f"--at: {iso(moment)} has not come yet, and what is charged cannot be undone; "
            "leave --at away, or confirm with --into-the-future"
        )
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            if at is not None:
                await _refuse_the_past(connection, moment)
            await _settle_all(connection, loaded, moment)

    run(main)


async def _refuse_the_past(connection: AsyncConnection[Any], moment: datetime) -> None:
    from tracker_server.storage.billing_rows import settled_beyond

    beyond = await settled_beyond(connection, moment)
    if beyond is not None:
        refused(
            f"--at: account {beyond[0]!r} is settled up to {iso(beyond[1])} already; name that moment or a later one"
        )


async def _settle_all(connection: AsyncConnection[Any], loaded: Loaded, moment: datetime) -> None:
    """One that cannot be settled keeps no other waiting."""
    from tracker_server.storage.billing_rows import due_accounts
    from tracker_server.storage.billing_store import PART_ACCOUNTS

    store = store_of(loaded)
    due = await due_accounts(connection, moment)
    failed: list[str] = []
    with progress("settling", len(due)) as bar:
        for at in range(0, len(due), PART_ACCOUNTS):
            part = {account.id: account.name for account in due[at : at + PART_ACCOUNTS]}
            for account_id, error in (await store.settle_many(connection, list(part), moment)).items():
                failed.append(part[account_id])
                say(f"tracker-server: account {part[account_id]!r} cannot be settled: {error!r}")
            bar.advance(bar.task_ids[0], len(part))
    tell(f"{len(due) - len(failed)} of {len(due)} accounts that were due are settled up to {iso(moment)}")
    if failed:
        refused(f"{len(failed)} accounts cannot be settled; `tracker-server billing verify` tells why")


def verify(account: str | None = None, /, *, where: Where = HERE) -> None:
    """Recompute everything from the journal: balances, blocks, terms, the chain of hashes. Exit 1 on any difference.

    Example: tracker-server billing verify

    Parameters
    ----------
    account
        Only this account. Default: all.
    """
    loaded = where.load()

    async def main() -> tuple[int, list[str]]:
        from tracker_server.storage.billing_rows import all_accounts
        from tracker_server.storage.database import Role

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            one = None if account is None else await find_account(connection, account)
            chosen = await all_accounts(connection) if one is None else [one]
            store = store_of(loaded)
            found: list[str] = []
            with progress("verifying", len(chosen)) as bar:
                for each in chosen:
                    found += await store.verify(connection, each.id)
                    bar.advance(bar.task_ids[0])
            return len(chosen), found

    count, differences = run(main)
    for difference in differences:
        say(f"tracker-server: {difference}")
    if differences:
        refused(f"{len(differences)} differences in {count} accounts; restore a backup, or report it")
    tell(f"{count} account{'s' * (count != 1)}: everything is as the journal says")
