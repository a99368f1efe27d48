"""Visits that are owed for invoices (R114), the hours of the office (R124), and the way back by a tax number (R117)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from psycopg.types.json import Jsonb

from tests.storage.rows import query
from tests.storage.test_billing_gate import begun
from tests.storage.test_billing_store import Operator, operating
from tracker_server.alerts.letters import decode
from tracker_server.billing.commands import TopUp
from tracker_server.config_money import MoneySettingError, check_money
from tracker_server.config_money import Payments as PaymentSettings
from tracker_server.config_money import Seller as SellerSettings
from tracker_server.model.business_hours import business_hours
from tracker_server.model.paper import CartLine, Seller
from tracker_server.notify.webhook import body_of
from tracker_server.pipeline.dispatcher import Outgoing
from tracker_server.storage.installations import due_at, look_for_installations, schedule
from tracker_server.storage.invoices import SET_SELLER
from tracker_server.storage.payments import ask

MOSCOW = "Europe/Moscow"
INVOICED = datetime(2025, 3, 3, 7, tzinfo=UTC)  # Monday, 10:00 in Moscow
HOUR = timedelta(hours=1)
OFFICE = Seller(
    zone=MOSCOW,
    installation_hours=48,
    hours="Mon-Fri 9:00-18:30",
    events_url="https://crm.example.com/hook",
)


def sells(operator: Operator) -> None:
    """As the server starts with these settings."""
    begun(operator, INVOICED)
    query(operator.dsn, SET_SELLER, [Jsonb(msgspec.to_builtins(OFFICE))])


async def buys(operator: Operator, key: str, at: datetime, *, trackers: bool = True) -> None:
    """A payment through a gateway, for trackers or for the balance."""
    cart = [CartLine(f"{key}-1", 31000, "Van")] if trackers else []
    payment = await ask(operator.connection, operator.account, 31000, "RUB", at, cart=cart)
    await operator.does(TopUp(key=f"pay:webhook:{payment.id}", amount_minor=31000), at)


async def told(operator: Operator, at: datetime) -> list[str]:
    return await look_for_installations(operator.connection, at, "support@example.com")


def waiting(operator: Operator, channel: str) -> list[dict[str, Any]]:
    return query(operator.dsn, "SELECT * FROM core.outbox WHERE channel = %s ORDER BY id", [channel])


async def test_r114_one_alarm_where_no_visit_was_agreed_on_within_48_hours(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        sells(operator)
        await buys(operator, "a", INVOICED)
        await buys(operator, "b", INVOICED)
        await buys(operator, "c", INVOICED, trackers=False)
        assert await schedule(
            operator.connection, INVOICED + 100 * HOUR, INVOICED + HOUR, name="I2025-000002"
        ) == ("I2025-000002")
        assert await schedule(operator.connection, INVOICED, INVOICED, name="I2025-000003") is None, (
            "owes none"
        )
        assert await told(operator, INVOICED + 48 * HOUR - timedelta(seconds=1)) == []
        assert await told(operator, INVOICED + 48 * HOUR) == ["I2025-000001"]
        assert await told(operator, INVOICED + 99 * HOUR) == [], "once"
        (mail,) = waiting(operator, "email")
        assert (mail["recipient"], mail["payload"]["number"]) == ("support@example.com", "I2025-000001")


async def test_r114_each_invoice_is_told_to_the_operators_systems_once(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        sells(operator)
        await buys(operator, "a", INVOICED)
        (row,) = waiting(operator, "webhook")
        assert row["recipient"] == "https://crm.example.com/hook"
        message = Outgoing(
            1, row["key"], "webhook", row["recipient"], 1, row["payload"], INVOICED, INVOICED, 0
        )
        body = json.loads(body_of(message, decode(row["payload"])))
        assert (body["key"], body["type"]) == ("invoice.issued:I2025-000001", "invoice.issued")
        assert body["invoice"] == {
            "number": "I2025-000001", "account": "A", "amount": "310.00", "currency": "RUB",
            "issuedAt": "2025-03-03T07:00:00Z", "trackers": ["Van"],
        }  # fmt: skip


def test_r124_the_clock_of_a_promise_starts_in_business_hours() -> None:
    """Friday 18:31 counts from Monday 9:00; a holiday is no business day; debits and blocks know none of it."""
    hours = business_hours("Mon-Fri 9:00-18:30", "2025-03-10", "seller.")
    assert hours is not None

    def local(day: int, hour: int, minute: int = 0) -> datetime:
        return datetime(2025, 3, day, hour - 3, minute, tzinfo=UTC)

    assert hours.starts(local(14, 18, 31), MOSCOW) == local(17, 9)
    assert hours.starts(local(14, 18, 30), MOSCOW) == local(17, 9), "closed from 18:30 on"
    assert hours.starts(local(14, 18, 29), MOSCOW) == local(14, 18, 29)
    assert hours.starts(local(14, 8), MOSCOW) == local(14, 9)
    assert hours.starts(local(7, 20), MOSCOW) == local(11, 9), "the 10th is a holiday"
    friday = local(14, 18, 31)
    assert due_at(OFFICE, friday) == local(17, 9) + 48 * HOUR
    assert due_at(Seller(installation_hours=48), friday) == friday + 48 * HOUR
    assert due_at(Seller(), friday) is None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"hours": "always"},
            "seller.hours: 'always' is none; write days and times such as Mon-Fri 9:00-18:30",
        ),
        ({"hours": "Fri-Mon 9:00-18:00"}, "seller.hours: "),
        ({"hours": "Mon-Fri 19:00-18:00"}, "seller.hours: "),
        ({"holidays": "Christmas"}, "seller.holidays: 'Christmas' is no date"),
        ({"events_url": "https://x.example"}, "seller.events_secret: has 0 characters"),
        ({"events_url": "x", "events_secret": "s" * 16}, "seller.events_url: 'x' is no address"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MoneySettingError, match="seller") as caught:
        check_money(SellerSettings(**settings), PaymentSettings(), "")
    assert str(caught.value).startswith(sentence)
