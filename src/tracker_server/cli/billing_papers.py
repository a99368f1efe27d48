"""``tracker-server billing``: invoices, receipts and statements."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tracker_server.cli.billing_carry import find_account
from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.money_values import count_of, date_of
from tracker_server.cli.output import Format, write_rows
from tracker_server.cli.values import line_of_text, moment_of

NUMBER_CHARACTERS_MAX = 40
LIST_MAX = 1_000_000
TABLE_COLUMNS = ("number", "kind", "issued_at", "account", "amount", "currency", "key")


def invoices(
    account: str | None = None,
    /,
    *,
    limit: str = "1000",
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List invoices and credit notes, newest first. Each payment received has one, and each refund.

    Example: tracker-server billing invoices "Northern Cargo" --format csv

    Parameters
    ----------
    account
        Only those of this account. Default: all.
    limit
        At most so many.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    most = count_of("--limit", limit, LIST_MAX, "invoices")
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role
        from tracker_server.storage.invoices import COLUMNS, papers

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = None if account is None else await find_account(connection, account)
            rows = papers(connection, None if found is None else found.id, most)
            await write_rows(_priced(rows), COLUMNS, form, TABLE_COLUMNS)

    run(main)


async def _priced(rows: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    from tracker_server.model.money import currency, format_minor

    async for row in rows:
        yield {**row, "amount": format_minor(row["amount_minor"], currency(row["currency"]))}


def installation(number: str, visit: str, /, *, where: Where = HERE) -> None:
    """Say when the trackers that an invoice connects are installed. Without it the operator gets a mail, once the hours of
    seller.installation_hours are over.

    Example: tracker-server billing installation I2027-000012 2027-03-10T10:00+01:00

    Parameters
    ----------
    number
        The invoice's, as `billing invoices` lists it.
    visit
        The moment, in ISO 8601.
    """
    at = moment_of("VISIT", visit)
    assert at is not None, "it was given"
    loaded = where.load()

    async def main() -> None:
        from datetime import UTC, datetime

        from tracker_server.storage.database import Role
        from tracker_server.storage.installations import schedule

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = await schedule(connection, at, datetime.now(UTC), name=number)
            if found is None:
                refused(
                    f"NUMBER: no visit is owed for {number!r}; one is for an invoice that connects trackers, while "
                    "seller.installation_hours is above 0"
                )
        tell(f"invoice {found}: the visit is at {at.isoformat()}")

    run(main)


def invoice(
    number: str,
    /,
    *,
    out: Path,
    receipt: Annotated[bool, Parameter(negative="")] = False,
    where: Where = HERE,
) -> None:
    """Write an invoice or a credit note as PDF. It is the same file each time.

    Example: tracker-server billing invoice I2026-000012 --out invoice.pdf

    Parameters
    ----------
    number
        As `billing invoices` lists it.
    out
        The file to write.
    receipt
        The receipt for the payment instead of the invoice.
    """
    number = line_of_text("NUMBER", number, NUMBER_CHARACTERS_MAX)
    loaded = where.load()

    async def main() -> bytes:
        from tracker_server.papers.documents import invoice_pdf
        from tracker_server.storage.database import Role
        from tracker_server.storage.invoices import read_paper

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = await read_paper(connection, name=number)
        if found is None:
            refused(
                f"NUMBER: there is no invoice {number!r}; `tracker-server billing invoices` lists them all"
            )
        return invoice_pdf(found[0], receipt=receipt)

    _write(out, run(main))


def statement(
    account: str,
    /,
    *,
    first: Annotated[str, Parameter(name="--from")],
    last: Annotated[str, Parameter(name="--to")],
    out: Path,
    where: Where = HERE,
) -> None:
    """Write a statement of account as PDF: every movement of a period, with the balance before and after.

    Example: tracker-server billing statement "Northern Cargo" --from 2026-01-01 --to 2026-01-31 --out january.pdf

    Parameters
    ----------
    account
        The account's name.
    first
        The first date, in the account's zone.
    last
        The last date; it is part of the period.
    out
        The file to write.
    """
    begins, ends = date_of("--from", first), date_of("--to", last)
    if ends < begins:
        wrong(f"--to: {last} lies before --from {first}; exchange them")
    loaded = where.load()

    async def main() -> bytes:
        from tracker_server.papers.documents import statement_pdf
        from tracker_server.storage.database import Role
        from tracker_server.storage.invoices import TooLongError, read_statement

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = await find_account(connection, account)
            try:
                read = await read_statement(connection, found.id, begins, ends)
            except TooLongError as error:
                refused(f"--to: the period {error}")
        return statement_pdf(read)

    _write(out, run(main))


def monthly(
    account: str,
    /,
    *,
    month: str,
    out: Path,
    where: Where = HERE,
) -> None:
    """Write an account's monthly report as PDF, as it is mailed on the third business day: through the gate as it stands now.

    Example: tracker-server billing monthly "Northern Cargo" --month 2026-01 --out january.pdf

    Parameters
    ----------
    account
        The account's name.
    month
        Year and month, such as 2026-01.
    out
        The file to write.
    """
    first = date_of("--month", f"{month}-01")
    loaded = where.load()

    async def main() -> bytes:
        from datetime import UTC, datetime

        from tracker_server.papers.monthly import monthly_pdf
        from tracker_server.storage.database import Role
        from tracker_server.storage.monthly import read_month

        async with (
            database(loaded) as home,
            await home.connect(Role.CORE) as core,
            await home.connect(Role.DISPLAY) as display,
        ):
            found = await find_account(core, account)
            report = await read_month(core, display, found.id, first, datetime.now(UTC))
        return monthly_pdf(report)

    _write(out, run(main))


def _write(out: Path, made: bytes) -> None:
    try:
        out.write_bytes(made)
    except OSError as error:
        refused(f"--out: {out} cannot be written ({error.strerror}); name a file that can")
    tell(f"{out}: {len(made):,} bytes")
