"""A month of an operator, fast forward: four accounts, both ways of charging, payments, SMS, a switch, a pause, a refund, a
chargeback, and two outages of the server; told as a ledger that an accountant can read.

    python -m tests.storage.operator_month      # writes docs/reference/a-month.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from tracker_server.billing.book import Entry, Kind
from tracker_server.billing.commands import (
    AnyCommand,
    Chargeback,
    Connect,
    PayTerm,
    Refund,
    Resume,
    Sms,
    SmsFailed,
    Suspend,
    Switch,
    TopUp,
)
from tracker_server.billing.engine import act, settle
from tracker_server.billing.facts import AnyFact, Booked
from tracker_server.billing.state import Settings, State, open_account
from tracker_server.billing.tariffs import Feature, Mode, Price, Tariff
from tracker_server.cli.billing_words import ENTRIES
from tracker_server.model.money import currency, format_minor

PAGE: Final = Path(__file__).parents[2] / "docs/reference/a-month.md"
HOUR: Final = timedelta(hours=1)
MONTH: Final = (date(2027, 3, 1), date(2027, 3, 31))
OPENED: Final = datetime(2027, 2, 1, tzinfo=UTC)
ENDS: Final = datetime(2027, 4, 1, 12, tzinfo=UTC)
OUTAGES: Final = (
    (
        datetime(2027, 3, 14, 19, tzinfo=UTC),
        datetime(2027, 3, 15, 6, tzinfo=UTC),
    ),  # over everybody's midnight
    (
        datetime(2027, 3, 27, 22, tzinfo=UTC),
        datetime(2027, 3, 28, 3, tzinfo=UTC),
    ),  # while Madrid changes its clocks
)


def _tariff(name: str, mode: Mode, monthly_minor: int, sms_minor: int | None = None) -> Tariff:
    return Tariff(name, mode, (Price(date.min, monthly_minor, sms_minor),), frozenset(Feature))


TARIFFS: Final = {
    "RUB": (_tariff("Std", Mode.BALANCE, 31000, 500),),
    "CLP": (_tariff("Plan", Mode.TERM, 9990),),
    "EUR": (_tariff("Basic", Mode.BALANCE, 990, 8), _tariff("Pro", Mode.BALANCE, 1990, 8)),
}
FREE: Final = _tariff("Free", Mode.FREE, 0)


class Deed(Struct, frozen=True):
    """Somebody does something, at an hour of UTC; a word for whoever reads the ledger."""

    at: datetime
    command: AnyCommand


class Customer(Struct, frozen=True):
    """An account and all that happens to it."""

    name: str
    zone: str
    currency: str
    tariff: str
    deeds: tuple[Deed, ...]


def _on(month: int, day: int, hour: int, command: AnyCommand) -> Deed:
    return Deed(datetime(2027, month, day, hour, tzinfo=UTC), command)


CUSTOMERS: Final = (
    Customer(
        "Northern Cargo", "Europe/Moscow", "RUB", "Std",
        (
            _on(2, 10, 7, TopUp(key="transfer 1", amount_minor=62000, means="transfer")),
            _on(2, 10, 8, Connect(device="Van 1", priority=1)),
            _on(2, 10, 8, Connect(device="Van 2", priority=2)),
            _on(3, 13, 9, TopUp(key="transfer 2", amount_minor=7000, means="transfer")),
            _on(3, 14, 20, Sms(key="alert 1", device="Van 1")),  # the server is down: carried out as it is back
            _on(3, 23, 10, Sms(key="alert 2", device="Van 2")),
            _on(3, 23, 11, SmsFailed(alert="alert 2", device="Van 2")),
            _on(3, 22, 9, TopUp(key="transfer 3", amount_minor=40000, means="transfer")),
            _on(3, 30, 9, Refund(key="closing Van 2", amount_minor=20000)),
        ),
    ),
    Customer(
        "Transportes Andes", "America/Santiago", "CLP", "Plan",
        (
            _on(2, 15, 14, TopUp(key="webpay 1", amount_minor=19980, means="webpay")),
            _on(2, 15, 15, Connect(device="Camión 1", priority=1)),
            _on(2, 15, 15, Connect(device="Camión 2", priority=2)),
            _on(2, 15, 16, PayTerm(months=1, key="first month")),
            _on(3, 5, 13, Suspend(device="Camión 2", last=date(2027, 3, 14))),
            _on(3, 14, 22, TopUp(key="webpay 2", amount_minor=29970, means="webpay")),  # told again by the gateway
            _on(3, 20, 13, PayTerm(device="Camión 1", months=2, key="renewal 1")),
            _on(3, 12, 13, Resume(device="Camión 2")),
        ),
    ),
    Customer(
        "Flota Iberia", "Europe/Madrid", "EUR", "Basic",
        (
            _on(2, 3, 9, TopUp(key="card 1", amount_minor=5000, means="card")),
            _on(2, 3, 9, Connect(device="Furgo 1", priority=1)),
            _on(2, 20, 9, Connect(device="Furgo 2", priority=2)),
            _on(3, 10, 12, Switch(tariff="Pro", key="more")),
            _on(3, 18, 12, Sms(key="alarm 7", device="Furgo 1")),
            _on(3, 25, 9, TopUp(key="card 2", amount_minor=3000, means="card")),
            _on(3, 29, 9, Chargeback(key="bank 1", payment="card 1")),
            _on(3, 31, 9, TopUp(key="card 3", amount_minor=2000, means="card")),
        ),
    ),
    Customer("Guild of Cyclists", "UTC", "EUR", "Free", (_on(2, 2, 9, Connect(device="Bike", priority=1)),)),
)  # fmt: skip


def carried_out_at(deed: Deed) -> datetime:
    """When: at its hour, or as the server is back, for gateways, alerts and people try again."""
    return next((ends for begins, ends in OUTAGES if begins <= deed.at < ends), deed.at)


def in_order(customer: Customer) -> list[Deed]:
    """By the moment at which each is carried out."""
    return sorted(
        (Deed(carried_out_at(deed), deed.command) for deed in customer.deeds), key=lambda deed: deed.at
    )


def of_engine(customer: Customer) -> list[Entry]:
    """What the engine makes of it where nobody looks between two deeds: how often a worker runs, or that none does, is
    nothing to it.
    """
    tariffs = {one.name: one for one in (*TARIFFS[customer.currency], FREE)}
    state = opening_of(customer, tariffs)
    facts: list[AnyFact] = []
    for deed in in_order(customer):
        outcome = act(state, deed.command, deed.at)
        state = outcome.state
        facts += outcome.facts
    _, last = settle(state, ENDS)
    return [fact.entry for fact in (*facts, *last) if isinstance(fact, Booked)]


def opening_of(customer: Customer, tariffs: dict[str, Tariff]) -> State:
    """The account as it begins."""
    return open_account(
        currency=customer.currency, zone=customer.zone, tariff=customer.tariff, tariffs=tariffs, at=OPENED,
        settings=Settings(),
    )  # fmt: skip


# ---------------------------------------------------------------------- telling

HEAD: Final = """# A month of an operator

Four customers of one operator in March 2027, as their ledgers say. The page is written by `tests/storage/operator_month.py`, and a test
runs the month through the server's own database and clock, hour by hour, to the same entries. [How to read a ledger](../howto/read-a-ledger.md)
tells of the columns. Times are the customer's own.

The server was down twice: on 14 March from 19:00 to 06:00 UTC, over everybody's midnight, and on 28 March while Madrid changed its
clocks. What fell due meanwhile stands at the time at which it fell due; what was asked for meanwhile, once the server was back.
"""
WORDS: Final = {
    "Northern Cargo": (
        "310.00 RUB a month, charged by the day. Both vans were connected on 10 February; their 31 days ended on 13 March at 11:00 with "
        "nothing on the balance, and money came an hour later. The SMS of 14 March waited for the server. On 23 March an SMS could not "
        "be delivered and came back. From 16 to 21 March the balance paid for neither van: hidden, and not charged."
    ),
    "Transportes Andes": (
        "9,990 CLP a month, paid in advance. The terms from 15 February ended on 15 March. Camión 1 was overdue until it was renewed "
        "for two months on 20 March, from 15 March on. Camión 2 was paused from 5 to 12 March, and its term moved by those seven days: "
        "it is overdue since 22 March."
    ),
    "Flota Iberia": (
        "9.90 EUR a month, from 10 March on 19.90 EUR: the change itself cost nothing, and days are charged by the new price. On 29 March the bank "
        "took the first payment back: what the balance could not give was owed, and the next payment paid that first."
    ),
    "Guild of Cyclists": "A free tariff: nothing, ever.",
}
COLUMNS: Final = ("number", "when", "what", "tracker", "for", "in", "out", "balance")


def local(at: datetime, zone: str) -> datetime:
    return at.astimezone(ZoneInfo(zone))


def rows_of(entries: Iterable[Entry], zone: str, code: str) -> Iterator[tuple[str, ...]]:
    """The month's lines."""
    unit = currency(code)
    for entry in entries:
        transfer = entry.transfer
        amount = format_minor(abs(transfer.amount_minor), unit)
        came = transfer.amount_minor > 0
        yield (
            str(entry.number),
            f"{local(transfer.at, zone):%d.%m. %H:%M}",
            ENTRIES[transfer.kind],
            transfer.device or transfer.payment or transfer.id.partition(":")[2],
            "" if transfer.day is None else f"{transfer.day:%d.%m.}",
            amount if came else "",
            "" if came else amount,
            format_minor(entry.balance_minor, unit),
        )


def totals_of(before: int, entries: Sequence[Entry], code: str) -> str:
    """Opening + what came − what went = closing, by kind."""
    unit = currency(code)
    sums = dict.fromkeys(Kind, 0)
    for entry in entries:
        sums[entry.transfer.kind] += entry.transfer.amount_minor
    told = [
        f"{ENTRIES[kind]} {'+' if amount > 0 else '−'} {format_minor(abs(amount), unit)}"
        for kind, amount in sums.items()
        if amount
    ]
    closing = before + sum(sums.values())
    return "; ".join(
        [f"opening {format_minor(before, unit)}", *told, f"closing {format_minor(closing, unit)} {code}"]
    )


def section(customer: Customer, entries: Sequence[Entry]) -> str:
    """A customer's month."""
    first, last = MONTH
    before = [e for e in entries if local(e.transfer.at, customer.zone).date() < first]
    month = [e for e in entries if first <= local(e.transfer.at, customer.zone).date() <= last]
    opening = sum(e.transfer.amount_minor for e in before)
    lines = [f"## {customer.name}", "", f"{customer.zone}, {customer.currency}. {WORDS[customer.name]}", ""]
    if month:
        rows = [COLUMNS, *rows_of(month, customer.zone, customer.currency)]
        widths = [max(len(row[n]) for row in rows) for n in range(len(COLUMNS))]
        lines.append("```")
        for row in rows:
            cells = [
                cell.rjust(width) if n in {0, 5, 6, 7} else cell.ljust(width)
                for n, (cell, width) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join(cells).rstrip())
        lines += ["```", ""]
    lines += [f"{totals_of(opening, month, customer.currency)}.", ""]
    return "\n".join(lines)


def page(ledgers: Mapping[str, Sequence[Entry]]) -> str:
    """The whole page."""
    return "\n".join([HEAD, *(section(customer, ledgers[customer.name]) for customer in CUSTOMERS)])


if __name__ == "__main__":
    told: Any = {customer.name: of_engine(customer) for customer in CUSTOMERS}
    PAGE.write_text(page(told), encoding="utf-8")
