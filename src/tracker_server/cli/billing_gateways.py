"""``tracker-server billing``: links to pay, payments through gateways, refunds on their way back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tracker_server.cli.billing_carry import find_account
from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.money_values import amount_of, check_amount, count_of, key_of, written
from tracker_server.cli.output import Format, write_rows

if TYPE_CHECKING:
    from psycopg import AsyncConnection

LIST_MAX = 1_000_000
ID_MAX = 10**9 - 1
State = Literal["open", "pending", "paid", "failed", "expired", "mismatch"]
PayoutState = Literal["waiting", "sent", "done", "failed"]

payout = App(name="payout", help="Refunds that go back through the gateways they came by.")


def link(
    account: str,
    amount: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    key: str | None = None,
    where: Where = HERE,
) -> None:
    """Make a link on which a customer pays an amount, to be sent to him. It works for payments.link_hours.

    Example: tracker-server billing link "Northern Cargo" 310.00 --key reminder-2026-03

    Parameters
    ----------
    account
        The account's name.
    amount
        In the account's currency, such as 310.00.
    key
        A name for this very request. Asked again under it, it is the same link.
    """
    check_amount("AMOUNT", amount)
    name = key_of("--key", key) or None
    loaded = where.load()
    settings = loaded.settings
    base = settings.api.public_url.rstrip("/")
    if not base:
        wrong("api.public_url: is empty; set the address under which customers reach this server")

    async def main() -> str:
        from tracker_server.storage.database import Role
        from tracker_server.storage.payments import KeyReusedError, ask

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = await find_account(connection, account)
            amount_minor = amount_of("AMOUNT", amount, found.currency)
            if not amount_minor:
                wrong(f"AMOUNT: {amount} is nothing; name an amount above zero")
            try:
                made = await ask(
                    connection, found.id, amount_minor, found.currency, datetime.now(UTC), key=name
                )
            except KeyReusedError:
                refused(f"--key: {key!r} was used for another payment; choose another one")
        return f"{base}/pay/{made.id}"

    tell(run(main))


def payments(
    account: str | None = None,
    /,
    *,
    state: State | None = None,
    limit: str = "1000",
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List payments that customers were asked for, newest first, and what became of each.

    One in state mismatch brought another amount or currency than was asked for: nothing was put on the balance; look at it,
    then `billing topup`, or give it back at the gateway.

    Example: tracker-server billing payments --state mismatch

    Parameters
    ----------
    account
        Only those of this account. Default: all.
    state
        Only those in this state.
    limit
        At most so many.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    most = count_of("--limit", limit, LIST_MAX, "payments")
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.payments import COLUMNS
        from tracker_server.storage.payments import payments as rows

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = None if account is None else await find_account(connection, account)
            listed = rows(connection, None if found is None else found.id, state, most)
            await write_rows(_priced(listed), COLUMNS, form)

    run(main)


@payout.command(name="list")
def list_(
    *,
    state: PayoutState | None = None,
    limit: str = "1000",
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List refunds that go back through gateways, newest first.

    waiting: to be handed over. sent: the gateway has it. done: it arrived. failed: the gateway refused, and says why.

    Example: tracker-server billing payout list --state failed

    Parameters
    ----------
    state
        Only those in this state.
    limit
        At most so many.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    most = count_of("--limit", limit, LIST_MAX, "refunds")
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.payouts import COLUMNS, payouts

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            await write_rows(_priced(payouts(connection, state, most)), COLUMNS, form)

    run(main)


@payout.command
def retry(number: str, /, *, where: Where = HERE) -> None:
    """Hand a refund that failed to its gateway again.

    Example: tracker-server billing payout retry 7

    Parameters
    ----------
    number
        Its id, as `billing payout list` tells it.
    """
    from tracker_server.storage.payouts import retry_payout

    _change(number, where, retry_payout, "it is tried again", "none that failed")


@payout.command
def done(number: str, /, *, where: Where = HERE) -> None:
    """Note that a refund was given back by hand.

    Example: tracker-server billing payout done 7

    Parameters
    ----------
    number
        Its id, as `billing payout list` tells it.
    """
    from tracker_server.storage.payouts import payout_done

    _change(number, where, payout_done, "it is done", "none that failed or is on its way")


def _change(number: str, where: Where, change: Any, said: str, what: str) -> None:
    wanted = count_of("NUMBER", number, ID_MAX, "a refund")
    loaded = where.load()

    async def main() -> bool:
        from tracker_server.storage.database import Role

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            return await _changed(connection, change, wanted)

    if not run(main):
        refused(f"NUMBER: refund {wanted} is {what}; `tracker-server billing payout list` tells them all")
    tell(f"refund {wanted}: {said}")


async def _changed(connection: AsyncConnection[Any], change: Any, number: int) -> bool:
    return await change(connection, number, datetime.now(UTC))


async def _priced(rows: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    async for row in rows:
        yield {**row, "amount": written(row["amount_minor"], row["currency"]).split()[0]}
