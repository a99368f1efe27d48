"""``tracker-server billing``: which tariff, which zone, which dates are let off."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tracker_server.cli.billing_carry import Once, for_account
from tracker_server.cli.common import HERE, Where, wrong
from tracker_server.cli.money_values import date_of, key_of, zone_of
from tracker_server.cli.values import NAME_CHARACTERS_MAX, line_of_text


def switch(
    account: str,
    tariff: str,
    /,
    *,
    effective: Annotated[str | None, Parameter(name="--from")] = None,
    key: Once = None,
    where: Where = HERE,
) -> None:
    """Change a customer's tariff, now or from a later date on. The change itself costs nothing.

    From a free tariff to a paid one, every tracker that is no test tracker owes its connection fee.

    Example: tracker-server billing switch "Northern Cargo" Std --from 2026-05-01

    Parameters
    ----------
    account
        The account's name.
    tariff
        The tariff's name.
    effective
        The first date, in the account's zone. Default: now. A later plan takes the place of an earlier one.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import Switch

    tariff = line_of_text("TARIFF", tariff, NAME_CHARACTERS_MAX)
    day = None if effective is None else date_of("--from", effective)
    command = Switch(key=key_of("--key", key), tariff=tariff, effective=day)
    for_account(account, where.load(), lambda _: command, f"tariff {tariff!r}")


def zone(account: str, zone: str, /, *, key: Once = None, where: Where = HERE) -> None:
    """Let a customer's billing dates follow another time zone from now on. No date is charged twice.

    Example: tracker-server billing zone "Northern Cargo" America/Santiago

    Parameters
    ----------
    account
        The account's name.
    zone
        An IANA time zone.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import ChangeZone

    command = ChangeZone(key=key_of("--key", key), zone=zone_of("ZONE", zone))
    for_account(account, where.load(), lambda _: command, f"its days begin by {zone}")


def waive(
    account: str,
    first: Annotated[str, Parameter(name="FROM")],
    last: Annotated[str, Parameter(name="TO")],
    /,
    *,
    key: Once = None,
    where: Where = HERE,
) -> None:
    """Take dates that are not settled yet out of the daily fee; trackers are shown on them, paid or not.

    After an outage of the billing, do it before the server is started again: it settles at once.

    Example: tracker-server billing waive "Northern Cargo" 2026-12-24 2026-12-26

    Parameters
    ----------
    account
        The account's name.
    first
        The first date, in the account's zone.
    last
        The last date.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import Waive

    begins, ends = date_of("FROM", first), date_of("TO", last)
    if ends < begins:
        wrong(f"TO: {last} lies before FROM {first}; exchange them")
    command = Waive(key=key_of("--key", key), first=begins, last=ends)
    for_account(account, where.load(), lambda _: command, f"no daily fee from {begins} to {ends}")


def hold_collection(
    account: str,
    /,
    *,
    until: str | None = None,
    lift: Annotated[bool, Parameter(negative="")] = False,
    key: Once = None,
    where: Where = HERE,
) -> None:
    """Send a customer no reminders before a date. What is due and what is blocked stay as they are.

    Example: tracker-server billing hold-collection "Northern Cargo" --until 2026-04-15

    Parameters
    ----------
    account
        The account's name.
    until
        The first date on which reminders go out again.
    lift
        End the hold now.
    key
        A name for this very request. Asked again under it, nothing happens.
    """
    from tracker_server.billing.commands import HoldCollection

    if (until is None) is not lift:
        wrong("--until: name the date on which reminders go out again, or --lift, and not both")
    day = None if until is None else date_of("--until", until)
    command = HoldCollection(key=key_of("--key", key), until=day)
    done = "reminders go out again" if day is None else f"no reminders before {day}"
    for_account(account, where.load(), lambda _: command, done)
