"""The month of docs/reference/a-month.md through the database: a clock that looks each hour, and not while the server is down."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from tests.storage.operator_month import (
    CUSTOMERS,
    ENDS,
    FREE,
    HOUR,
    OPENED,
    OUTAGES,
    PAGE,
    TARIFFS,
    Customer,
    in_order,
    of_engine,
    page,
)
from tests.storage.rows import query
from tracker_server.billing.book import Entry, Refused
from tracker_server.billing.commands import Connect
from tracker_server.billing.facts import Booked
from tracker_server.billing.snapshot import load_fact
from tracker_server.billing.state import Settings as BillingSettings
from tracker_server.config import Settings, Storage
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import Database, Role
from tracker_server.storage.tariffs import add_tariff

DUE = "SELECT account_id FROM core.billing WHERE next_due_at <= %s ORDER BY account_id"


async def open_shop(dsn: str, connection: AsyncConnection[Any]) -> dict[str, int]:
    """The tariffs and the customers; answers the accounts."""
    for code, tariffs in TARIFFS.items():
        for tariff in tariffs:
            await add_tariff(connection, tariff, code)
    return {
        customer.name: query(
            dsn,
            "INSERT INTO core.accounts (name, zone, currency, tariff_id, created_at)"
            " SELECT %s, %s, %s, id, %s FROM core.tariffs WHERE name = %s RETURNING id",
            [customer.name, customer.zone, customer.currency, OPENED, customer.tariff],
        )[0]["id"]
        for customer in CUSTOMERS
    }


async def carry_out(
    connection: AsyncConnection[Any],
    store: BillingStore,
    accounts: dict[str, int],
    customer: Customer,
    now: datetime,
) -> None:
    """What a customer has for this hour. A tracker is added as the commands add one: its row, and its account settled."""
    account = accounts[customer.name]
    for deed in in_order(customer):
        if deed.at != now:
            continue
        if isinstance(deed.command, Connect):
            await connection.execute(
                "INSERT INTO core.devices (unique_id, account_id, name, priority, created_at) VALUES (%s, %s, %s, %s, %s)",
                [deed.command.device, account, deed.command.device, deed.command.priority, now],
            )
            await store.settle(connection, account, now)
            continue
        outcome = await store.act(connection, account, deed.command, now)
        assert not isinstance(outcome.answer, Refused), (deed, outcome.answer)


async def test_thirty_days_of_an_operator_fast_forward(postgres_dsn: str) -> None:
    assert FREE.name == "Free", "the tariff that there is from the first start"
    store = BillingStore(BillingSettings())
    database = Database(Settings(storage=Storage(dsn=postgres_dsn)))
    async with await database.connect(Role.CORE) as connection:
        accounts = await open_shop(postgres_dsn, connection)
        now, looked = OPENED, 0
        while now <= ENDS:
            if not any(begins <= now < ends for begins, ends in OUTAGES):
                for customer in CUSTOMERS:
                    await carry_out(connection, store, accounts, customer, now)
                due = [account for (account,) in await (await connection.execute(DUE, [now])).fetchall()]
                if due:
                    assert await store.settle_many(connection, due, now) == {}
                    looked += 1
            now += HOUR
        assert looked > 30, "the clock had work on every day"
        for account in accounts.values():
            await store.settle(connection, account, ENDS)
            assert await store.verify(connection, account) == []
        ledgers = {name: await entries(connection, account) for name, account in accounts.items()}
    for customer in CUSTOMERS:
        engine = [
            (e.transfer.id, e.transfer.at, e.transfer.amount_minor, e.balance_minor)
            for e in of_engine(customer)
        ]
        stored = [
            (e.transfer.id, e.transfer.at, e.transfer.amount_minor, e.balance_minor)
            for e in ledgers[customer.name]
        ]
        assert stored == engine, customer.name
    assert PAGE.read_text(encoding="utf-8") == page(ledgers), (
        "python -m tests.storage.operator_month writes it"
    )


async def entries(connection: AsyncConnection[Any], account: int) -> list[Entry]:
    rows = await connection.execute(
        "SELECT fact::text FROM core.journal WHERE account_id = %s ORDER BY number", [account]
    )
    facts = [load_fact(text.encode()) for (text,) in await rows.fetchall()]
    return [fact.entry for fact in facts if isinstance(fact, Booked)]
