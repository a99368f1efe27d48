"""``tracker-server billing``: money that comes in and goes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tracker_server.cli.billing_carry import for_account
from tracker_server.cli.common import HERE, Where
from tracker_server.cli.money_values import amount_of, check_amount, key_of
from tracker_server.cli.values import NOTE_CHARACTERS_MAX, line_of_text

if TYPE_CHECKING:
    from tracker_server.billing.commands import AnyCommand
    from tracker_server.storage.billing_rows import AccountRow


def topup(
    account: str,
    amount: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    key: str,
    means: str = "",
    where: Where = HERE,
) -> None:
    """Put money on a customer's balance. What it pays for is unlocked at once.

    Example: tracker-server billing topup "Northern Cargo" 310.00 --key invoice-2026-0117 --means card

    Parameters
    ----------
    account
        The account's name.
    amount
        In the account's currency, such as 310.00.
    key
        The payment's own name. The same payment told again counts once.
    means
        What it was paid with; a refund goes back the same way.
    """
    from tracker_server.billing.commands import TopUp

    check_amount("AMOUNT", amount)
    key = key_of("--key", key)
    means = line_of_text("--means", means, NOTE_CHARACTERS_MAX) if means else ""

    def make(of: AccountRow) -> AnyCommand:
        return TopUp(key=key, amount_minor=amount_of("AMOUNT", amount, of.currency), means=means)

    for_account(account, where.load(), make, "money came in")


def refund(
    account: str,
    amount: Annotated[str, Parameter(name="AMOUNT|all", allow_leading_hyphen=True)],
    /,
    *,
    key: str,
    where: Where = HERE,
) -> None:
    """Note that unused money went back to the customer: the latest payment first, by its own means.

    Example: tracker-server billing refund "Northern Cargo" all --key refund-7

    Parameters
    ----------
    account
        The account's name.
    amount
        In the account's currency; or all that is on the balance.
    key
        The refund's own name. Told again, it counts once.
    """
    from tracker_server.billing.commands import Refund

    if amount != "all":
        check_amount("AMOUNT", amount)
    key = key_of("--key", key)

    def make(of: AccountRow) -> AnyCommand:
        return Refund(
            key=key, amount_minor=None if amount == "all" else amount_of("AMOUNT", amount, of.currency)
        )

    for_account(account, where.load(), make, "money went back")


def chargeback(
    account: str,
    /,
    *,
    payment: str,
    key: str,
    amount: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    where: Where = HERE,
) -> None:
    """Note that a bank took a payment back. What the balance cannot give is owed; the next top-up pays it.

    Example: tracker-server billing chargeback "Northern Cargo" --payment invoice-2026-0117 --key bank-44

    Parameters
    ----------
    account
        The account's name.
    payment
        The key of the top-up.
    key
        The chargeback's own name. Told again, it counts once.
    amount
        A part of the payment. Default: all that has not gone back of it.
    """
    from tracker_server.billing.commands import Chargeback

    if amount is not None:
        check_amount("--amount", amount)
    payment, key = key_of("--payment", payment), key_of("--key", key)

    def make(of: AccountRow) -> AnyCommand:
        taken = None if amount is None else amount_of("--amount", amount, of.currency)
        return Chargeback(key=key, payment=payment, amount_minor=taken)

    for_account(account, where.load(), make, "a payment was taken back")


def withdraw(
    account: str,
    /,
    *,
    statement: str,
    guarantee: Annotated[bool, Parameter(negative="")] = False,
    key: str = "withdrawal",
    where: Where = HERE,
) -> None:
    """Undo a customer's contract within its time: debits come back, the balance is paid out, trackers are hidden.

    Example: tracker-server billing withdraw "Northern Cargo" --statement "I withdraw (mail of 3 March)"

    Parameters
    ----------
    account
        The account's name.
    statement
        The customer's words. A reason is not needed.
    guarantee
        By the guarantee of the first months, instead of the right of withdrawal.
    key
        The withdrawal's own name. Told again, it counts once.
    """
    from tracker_server.billing.commands import Ground, Withdraw

    statement = line_of_text("--statement", statement, NOTE_CHARACTERS_MAX)
    key = key_of("--key", key)
    ground = Ground.GUARANTEE if guarantee else Ground.WITHDRAWAL
    command = Withdraw(key=key, statement=statement, ground=ground)
    for_account(account, where.load(), lambda _: command, "the contract is undone")
