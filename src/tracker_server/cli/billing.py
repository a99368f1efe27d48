"""``tracker-server billing``: money on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import App, Parameter

from tracker_server.cli.billing_contract import hold_collection, switch, waive, zone
from tracker_server.cli.billing_gateways import link, payments, payout
from tracker_server.cli.billing_papers import installation, invoice, invoices, monthly, statement
from tracker_server.cli.billing_payments import chargeback, refund, topup, withdraw
from tracker_server.cli.billing_reports import forecast, ledger, settle, verify
from tracker_server.cli.billing_trackers import (
    activate,
    back_pay,
    convert,
    pay_term,
    priority,
    resume,
    suspend,
)

billing = App(name="billing", help="Money: balances, charges, and what they would be.")
for command in (
    topup, ledger, forecast, activate, back_pay, switch, pay_term, suspend, resume, convert, priority,
    refund, chargeback, withdraw, link, payments, payout, invoices, invoice, installation, statement, monthly, zone, waive, hold_collection,
):  # fmt: skip
    billing.command(command)
billing.command(settle, name="run")
billing.command(verify)


@billing.command(name="what-if")
def what_if(file: Annotated[Path, Parameter(name="FILE.json", allow_leading_hyphen=True)]) -> None:
    """Run the billing engine on an imagined history and print its ledger as JSON.

    The file names a currency, a zone, tariffs, a time to start and to end, and dated actions. Nothing
    is stored, and no database is needed.

    Example: tracker-server billing what-if january.json

    Parameters
    ----------
    file
        The imagined history; - reads standard input.
    """
    from tracker_server.billing.what_if import what_if as answer
    from tracker_server.model.money import InvalidValueError

    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        wrong_use(f"FILE.json: {file} cannot be read ({error.strerror}); name a file that can")
    try:
        printed = answer(text)
    except InvalidValueError as error:
        wrong_use(str(error))
    sys.stdout.buffer.write(printed + b"\n")
    sys.stdout.buffer.flush()


def wrong_use(sentence: str) -> NoReturn:
    """Say what is wrong on stderr, exit 2."""
    print(f"tracker-server: {sentence}", file=sys.stderr)  # noqa: T201
    raise SystemExit(2)
