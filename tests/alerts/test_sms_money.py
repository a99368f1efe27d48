"""R67 to R75 through the outbox: an SMS is charged when it is sent, once, or an e-mail goes instead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from tests.alerts.world import MAIL, NOON, Recipient, event
from tests.notify.test_dispatcher import Clock, Recorded
from tests.storage.rows import query
from tracker_server.alerts.letters import EventNotice, encode
from tracker_server.billing.commands import TopUp
from tracker_server.config import Billing, Settings, Storage
from tracker_server.config_alerts import Alerts, Sms
from tracker_server.metrics import Metrics
from tracker_server.notify.sms import SmsChannel
from tracker_server.pipeline.alert_book import AlertBook
from tracker_server.pipeline.dispatcher import Channel, Dispatcher, PermanentError, TemporaryError
from tracker_server.pipeline.trackers import Trackers
from tracker_server.storage.alert_log import alert_log
from tracker_server.storage.alert_outbox import AlertWriter
from tracker_server.storage.alert_rules import add_rule, read_households
from tracker_server.storage.alert_sms import SmsDesk
from tracker_server.storage.billing_store import BillingStore, settings_of
from tracker_server.storage.database import Database, Role
from tracker_server.storage.outbox import Outbox, OutboxDesk

TO = "+34600111222"
MINUTE = timedelta(minutes=1)
PRICE = (
    "INSERT INTO core.tariff_prices SELECT id, '2027-02-01', 31000, {} FROM core.tariffs WHERE name = 'Std'"
)


class Provider:
    """A provider that takes every SMS until it is told otherwise."""

    at_once = 4

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.answer: Callable[[], Exception | None] = lambda: None
        self.away = False

    def begin(self) -> None: ...

    async def ready(self) -> None:
        if self.away:
            raise TemporaryError("nobody there", down=True)

    async def submit(self, to: str, text: str, key: str) -> tuple[str, ...]:
        error = self.answer()
        if error is not None:
            raise error
        self.taken.append(text)
        return (f"id-{len(self.taken)}",)

    async def close(self) -> None:
        return


class Norte:
    """An account on a tariff with SMS at 5.00 and one tracker, its rule, its provider, and the clock."""

    def __init__(self, dsn: str, connection: AsyncConnection[Any], **settings: Any) -> None:
        self.dsn = dsn
        self.connection = connection
        self.clock = Clock()
        self.provider = Provider()
        self.mail = Recorded()
        self.store = BillingStore(settings_of(Billing(**settings)))
        database = Database(Settings(storage=Storage(dsn=dsn)))
        self.desk = SmsDesk(database, self.store, refund_undelivered=True, now=self.clock)
        self.sms = SmsChannel(Sms(provider="http"), self.provider, self.desk, self.clock)
        self.dispatcher = self.made(self.sms, self.mail)
        self.outbox = OutboxDesk(connection, connection)
        self.metrics = Metrics()
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute("INSERT INTO core.tariffs (name, currency, mode) VALUES ('Std', 'EUR', 'balance')")
            owner.execute(
                "INSERT INTO core.tariff_prices (tariff_id, since, monthly_minor, sms_minor)"
                " SELECT id, '-infinity', 31000, 500 FROM core.tariffs WHERE name = 'Std'"
            )
            owner.execute(
                "INSERT INTO core.accounts (name, zone, currency, tariff_id, email, phone, created_at)"
                " SELECT 'Norte', 'UTC', 'EUR', id, 'norte@example.com', %s, '2027-01-01' FROM core.tariffs WHERE name = 'Std'",
                [TO],
            )
            owner.execute(
                "INSERT INTO core.devices (unique_id, account_id, name, test, created_at)"  # a test tracker has no fee
                " SELECT 'T3', id, 'Van 3', true, '2027-01-01' FROM core.accounts WHERE name = 'Norte'"
            )
        (row,) = query(
            dsn,
            "SELECT d.id, account_id FROM core.devices d JOIN core.accounts a ON a.id = account_id WHERE a.name = 'Norte'",
        )
        self.device, self.account = row["id"], row["account_id"]

    def made(self, *channels: Channel) -> Dispatcher:
        return Dispatcher(
            Outbox(Database(Settings(storage=Storage(dsn=self.dsn)))),
            {channel.name: channel for channel in channels},
            Metrics(),
            age_max=timedelta(hours=72),
            now=self.clock,
            chance=lambda: 0.0,
        )

    async def has(self, minor: int) -> None:
        """Money on the balance."""
        await self.store.act(self.connection, self.account, TopUp(key=f"p{minor}", amount_minor=minor), NOON)

    async def happens(self, count: int = 1) -> None:
        """Events that a rule has told by SMS."""
        await add_rule(self.connection, self.account, replace(MAIL, channels=("sms",)))
        book = AlertBook()
        book.put_all(await read_households(self.connection))
        writer = AlertWriter(book, Trackers(), Alerts(), self.metrics)
        events = [event(id=number, device_id=self.device, account_id=self.account) for number in range(count)]
        async with self.connection.transaction():
            await writer.write_alerts(self.connection, events, NOON)

    async def delivers(self) -> None:
        """All that is due now."""
        while await self.dispatcher.deliver_due(self.outbox):
            pass

    def rows(self) -> list[tuple[str, str]]:
        """Channel and state of each alert; money writes letters of its own."""
        found = query(
            self.dsn,
            "SELECT channel, coalesce(withheld, CASE WHEN failed_at IS NOT NULL THEN 'failed' WHEN delivered_at IS NOT NULL"
            " THEN 'delivered' ELSE 'waiting' END) AS state FROM core.outbox WHERE event_id IS NOT NULL ORDER BY id",
        )
        return [(row["channel"], row["state"]) for row in found]

    def ledger(self) -> list[tuple[str, int, int]]:
        found = query(
            self.dsn,
            f"SELECT kind, amount_minor, balance_minor FROM core.ledger WHERE account_id = {self.account} ORDER BY number",
        )
        return [
            (row["kind"], row["amount_minor"], row["balance_minor"])
            for row in found
            if row["kind"] != "topup"
        ]


@asynccontextmanager
async def norte(dsn: str, **settings: Any) -> AsyncGenerator[Norte]:
    database = Database(Settings(storage=Storage(dsn=dsn)))
    async with await database.connect(Role.CORE) as connection:
        opened = Norte(dsn, connection, **settings)
        try:
            yield opened
        finally:
            await opened.desk.close()


async def test_r67_and_r69_an_sms_is_debited_when_it_is_sent(postgres_dsn: str) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(500)
        await at.happens()
        assert at.ledger() == [], "not when it is written"
        await at.delivers()
        assert at.ledger() == [("sms", -500, 0)]
        assert at.provider.taken == ["Van 3 has entered Depot, 15 Feb 12:00"]
        assert at.rows() == [("sms", "delivered")]
        (row,) = query(at.dsn, "SELECT body, receipts FROM core.outbox WHERE event_id IS NOT NULL")
        assert row == {"body": "Van 3 has entered Depot, 15 Feb 12:00", "receipts": ["id-1"]}


async def test_r68_without_the_money_an_email_goes_instead(postgres_dsn: str) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(499)
        await at.happens()
        await at.delivers()
        assert at.ledger() == []
        assert at.provider.taken == []
        assert at.rows() == [("sms", "replaced"), ("email", "delivered")]
        (mail,) = query(
            at.dsn,
            "SELECT recipient, payload FROM core.outbox WHERE channel = 'email' AND event_id IS NOT NULL",
        )
        assert mail["recipient"] == "norte@example.com"
        assert mail["payload"]["fence"] == "Depot"


async def test_r70_two_alerts_race_for_the_last_of_the_balance(home_dsn: str) -> None:
    async with norte(home_dsn) as at:
        await at.has(500)
        await at.happens(2)
        database = Database(Settings(storage=Storage(dsn=home_dsn)))
        rivals = [SmsDesk(database, at.store, refund_undelivered=True, now=at.clock) for _ in range(2)]
        messages = await at.outbox.due("sms", NOON, (), 10)
        answers = await asyncio.gather(
            *(desk.charge(message, "x") for desk, message in zip(rivals, messages, strict=True))
        )
        assert sorted(answers) == [False, True], "one may be sent"
        assert at.ledger() == [("sms", -500, 0)]
        assert sorted(at.rows()) == [("email", "waiting"), ("sms", "replaced"), ("sms", "waiting")]
        await at.delivers()
        assert sorted(at.rows()) == [("email", "delivered"), ("sms", "delivered"), ("sms", "replaced")]
        assert len(at.provider.taken) == 1
        for desk in rivals:
            await desk.close()


async def test_r71_the_provider_fails_and_the_money_comes_back_once(postgres_dsn: str) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(500)
        at.provider.answer = lambda: TemporaryError("busy")
        await at.happens()
        await at.delivers()
        assert at.ledger() == [("sms", -500, 0)]
        for _ in range(3):
            at.clock.now += MINUTE
            await at.delivers()
        assert at.ledger() == [("sms", -500, 0)], "however often it is tried, one debit"
        at.clock.now += 5 * MINUTE
        await at.delivers()
        assert at.ledger() == [("sms", -500, 0), ("reversal", 500, 500)]
        assert at.rows() == [("sms", "replaced"), ("email", "delivered")]


async def test_r71_a_number_that_does_not_exist(postgres_dsn: str) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(500)
        at.provider.answer = lambda: PermanentError("no such number")
        await at.happens()
        await at.delivers()
        assert at.ledger() == [("sms", -500, 0), ("reversal", 500, 500)]
        assert at.rows() == [("sms", "replaced"), ("email", "delivered")]
        (row,) = query(at.dsn, "SELECT error FROM core.outbox WHERE channel = 'sms'")
        assert row["error"] == "no such number; it went by e-mail"


async def test_a_provider_that_is_away_costs_nothing_and_in_the_end_an_email_goes(postgres_dsn: str) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(500)
        at.provider.away = True
        await at.happens(3)
        while at.clock.now < NOON + 10 * MINUTE:
            await at.delivers()
            at.clock.now += MINUTE / 2
        await at.delivers()
        assert at.ledger() == []
        assert sorted(at.rows()) == [("email", "delivered")] * 3 + [("sms", "replaced")] * 3


async def test_a_crash_between_the_debit_and_the_sending_debits_once(postgres_dsn: str) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(1000)
        await at.happens()
        (message,) = await at.outbox.due("sms", NOON, (), 10)
        assert await at.desk.charge(message, "as it was worded first")
        await at.delivers()
        assert at.ledger() == [("sms", -500, 500)]
        assert at.provider.taken == ["as it was worded first"]


@pytest.mark.parametrize(("state", "back"), [("DELIVRD", False), ("UNDELIV", True), ("ACCEPTD", False)])
async def test_what_the_provider_says_afterwards(postgres_dsn: str, state: str, *, back: bool) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(500)
        await at.happens()
        await at.delivers()
        assert not await at.desk.receipt(["id-9"], state, NOON)
        for _ in range(2):
            assert await at.desk.receipt(["ID-1", "id-1"], state, NOON)
        await at.delivers()
        assert at.ledger() == [("sms", -500, 0), *([("reversal", 500, 500)] if back else [])]
        assert at.rows() == [("sms", "delivered"), *([("email", "delivered")] if back else [])]
        (row,) = query(at.dsn, "SELECT receipt FROM core.outbox WHERE channel = 'sms'")
        assert row["receipt"] == state


async def test_a_receipt_that_never_comes(postgres_dsn: str) -> None:
    """After a time the log says so; nothing is sent again or paid back, and a late receipt still counts."""
    async with norte(postgres_dsn) as at:

        async def log(*, gated: bool) -> list[tuple[str, bool]]:
            found = alert_log(at.connection, gated=gated, receipt_hours=72)
            return [(row["state"], "nobody knows" in (row["error"] or "")) async for row in found]

        await at.has(500)
        await at.happens()
        await at.delivers()
        for hours, said in ((71, ("sent", False)), (73, ("unconfirmed", True))):
            query(at.dsn, "UPDATE core.outbox SET delivered_at = now() - make_interval(hours => %s)", [hours])
            assert [await log(gated=gated) for gated in (False, True)] == [[said]] * 2
        await at.desk.receipt(["id-1"], "ACCEPTD", NOON)
        assert await log(gated=False) == [("unconfirmed", True)], "it is on its way, and that was all"
        await at.delivers()
        assert at.ledger() == [("sms", -500, 0)]
        assert at.rows() == [("sms", "delivered")]
        await at.desk.receipt(["id-1"], "DELIVRD", NOON)
        assert await log(gated=True) == [("delivered", False)]
        query(at.dsn, "UPDATE core.outbox SET receipt = NULL, receipts = NULL")
        assert await log(gated=False) == [("sent", False)], "this provider gives none"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE core.tariffs SET mode = 'free'", "the tariff 'Std' is free and so sends no SMS"),
        (PRICE.format("NULL"), "the tariff 'Std' has no price for SMS"),
        (PRICE.format("50000"), "the balance does not suffice"),
    ],
)
async def test_the_log_says_why_no_sms_went(postgres_dsn: str, change: str, reason: str) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(500)
        query(at.dsn, change)
        await at.happens()
        await at.delivers()
        assert at.provider.taken == []
        assert at.rows() == [("sms", "replaced"), ("email", "delivered")]
        (row,) = query(at.dsn, "SELECT error FROM core.outbox WHERE channel = 'sms'")
        assert row["error"].startswith(reason)


async def test_r72_what_is_no_alert_is_never_debited(postgres_dsn: str) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(500)
        await at.happens(10)
        query(at.dsn, "UPDATE core.outbox SET event_id = NULL")
        await at.delivers()
        assert at.ledger() == []
        assert len(at.provider.taken) == 10


@pytest.mark.parametrize(("unit", "debit"), [("message", -500), ("segment", -1000)])
async def test_r73_segments(postgres_dsn: str, unit: str, debit: int) -> None:
    async with norte(postgres_dsn, sms_unit=unit) as at:
        await at.has(1000)
        await at.happens()
        letter = EventNotice("alarm", "Ж" * 56, "T3", "Norte", "ru", "UTC", NOON, facts={"alarm": "sos"})
        with psycopg.connect(at.dsn) as owner:
            owner.execute(
                "UPDATE core.outbox SET payload = %s WHERE event_id IS NOT NULL",
                [Jsonb(encode(letter))],
            )
        await at.delivers()
        assert len(at.provider.taken[0]) > 70
        assert [amount for _, amount, _ in at.ledger()] == [debit]


async def test_r75_nobody_to_write_to_stands_in_the_log(postgres_dsn: str) -> None:
    async with norte(postgres_dsn) as at:
        query(at.dsn, "UPDATE core.accounts SET email = NULL")
        await at.happens()
        await at.delivers()
        assert at.rows() == [("sms", "undelivered")]
        (row,) = query(at.dsn, "SELECT error FROM core.outbox")
        assert "shown on the page only" in row["error"]


async def test_r42_a_tracker_that_was_blocked_meanwhile_sends_nothing_and_pays_nothing(
    postgres_dsn: str,
) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(500)
        await at.happens()
        query(
            at.dsn,
            f"INSERT INTO core.blocks (device_id, reason, since) VALUES ({at.device}, 'hold', now() - interval '1 hour')",
        )
        await at.delivers()
        assert at.ledger() == []
        assert at.rows() == [("sms", "suppressed")]


async def test_a_rules_own_numbers(postgres_dsn: str) -> None:
    async with norte(postgres_dsn) as at:
        await at.has(1000)
        await at.happens()
        query(at.dsn, "DELETE FROM core.outbox")
        query(at.dsn, "DELETE FROM core.alert_rules")
        rule = replace(
            MAIL,
            channels=("sms",),
            recipients=(Recipient("sms", "+1"), Recipient("sms", "+2"), Recipient("sms", "+3")),
        )
        await add_rule(at.connection, at.account, rule)
        book = AlertBook()
        book.put_all(await read_households(at.connection))
        async with at.connection.transaction():
            writer = AlertWriter(book, Trackers(), Alerts(), at.metrics)
            await writer.write_alerts(
                at.connection, [event(id=9, device_id=at.device, account_id=at.account)], NOON
            )
        await at.delivers()
        assert [balance for _, _, balance in at.ledger()] == [500, 0]
        assert sorted(at.rows()) == [
            ("email", "delivered"),
            ("sms", "delivered"),
            ("sms", "delivered"),
            ("sms", "replaced"),
        ]
