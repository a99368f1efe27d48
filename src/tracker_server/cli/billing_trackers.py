"""``tracker-server billing``: what a customer, or the operator for one, does about trackers and their time."""

from __future__ import annotations

from datetime import date

from tracker_server.cli.billing_carry import Once, for_account, for_tracker
from tracker_server.cli.common import HERE, Where, wrong
from tracker_server.cli.money_values import TERM_MONTHS_LONGEST, count_of, date_of, key_of
from tracker_server.cli.values import BadValueError, parse_priority, unique_id_of


def activate(unique_id: str, /, *, key: Once = None, where: Where = HERE) -> None:
    """Pay what a blocked tracker owes now, before the others' turn.

    Example: tracker-server billing activate 356307042441013

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import Activate

    once = key_of("--key", key)
    for_tracker(unique_id, where.load(), lambda name: Activate(key=once, device=name), "is paid for")


def back_pay(unique_id: str, /, *, key: Once = None, where: Where = HERE) -> None:
    """Pay for the dates on which a tracker was blocked, so that what it sent then is shown: all of them, or none.

    For `billing.reveal = "back_pay"`. `device show` tells the amount.

    Example: tracker-server billing back-pay 356307042441013

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import BackPay

    once = key_of("--key", key)
    for_tracker(unique_id, where.load(), lambda name: BackPay(key=once, device=name), "its time is paid for")


def convert(unique_id: str, /, *, key: Once = None, where: Where = HERE) -> None:
    """Make the test tracker a paying one. On a balance tariff its connection fee falls due at once.

    Example: tracker-server billing convert 356307042441013

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import Convert

    once = key_of("--key", key)
    for_tracker(
        unique_id, where.load(), lambda name: Convert(key=once, device=name), "is a test tracker no longer"
    )


def priority(unique_id: str, priority: str, /, *, key: Once = None, where: Where = HERE) -> None:
    """Change a tracker's turn, from the next debit on: where a balance does not pay for all, smaller ones are paid first.

    Example: tracker-server billing priority 356307042441013 1

    Parameters
    ----------
    unique_id
        The tracker's identifier.
    priority
        From 1 on.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import Reprioritise

    try:
        number = parse_priority(priority)
    except BadValueError as error:
        wrong(f"PRIORITY: {error}")
    once = key_of("--key", key)
    for_tracker(
        unique_id,
        where.load(),
        lambda name: Reprioritise(key=once, device=name, priority=number),
        f"has priority {number}",
    )


def pay_term(
    account: str, months: str, /, *, device: str | None = None, key: Once = None, where: Where = HERE
) -> None:
    """Pay months in advance from the balance, on a term tariff: for one tracker, or for all of the account.

    A term begins where the last one ended. Without a key, each call pays more months.

    Example: tracker-server billing pay-term "Northern Cargo" 6 --key invoice-2026-0117

    Parameters
    ----------
    account
        The account's name.
    months
        1 to 12.
    device
        Only this tracker, by its identifier.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import PayTerm

    number = count_of("MONTHS", months, TERM_MONTHS_LONGEST, "months")
    once, one = key_of("--key", key), _device(device)
    command = PayTerm(key=once, months=number, device=one)
    for_account(account, where.load(), lambda _: command, f"{number} month{'s' * (number > 1)} paid")


def suspend(
    account: str,
    /,
    *,
    device: str | None = None,
    until: str | None = None,
    key: Once = None,
    where: Where = HERE,
) -> None:
    """Pause one tracker or all of an account: hidden, stored and not charged; what is prepaid is frozen.

    Example: tracker-server billing suspend "Northern Cargo" --device 356307042441013 --until 2026-11-30

    Parameters
    ----------
    account
        The account's name.
    device
        Only this tracker, by its identifier.
    until
        The last date of the pause. Default: as long as may be.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import Suspend

    last: date | None = None if until is None else date_of("--until", until)
    command = Suspend(key=key_of("--key", key), device=_device(device), last=last)
    for_account(account, where.load(), lambda _: command, "paused")


def resume(account: str, /, *, device: str | None = None, key: Once = None, where: Where = HERE) -> None:
    """End the pause of one tracker, or of all of an account; what is due then is paid, or blocks.

    Example: tracker-server billing resume "Northern Cargo" --device 356307042441013

    Parameters
    ----------
    account
        The account's name.
    device
        Only this tracker, by its identifier.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import Resume

    command = Resume(key=key_of("--key", key), device=_device(device))
    for_account(account, where.load(), lambda _: command, "paused no longer")


def _device(unique_id: str | None) -> str | None:
    return None if unique_id is None else unique_id_of("--device", unique_id)
