"""Papers in the database: one for each payment, numbered without gaps, never changed, sent once."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from tests.storage.rows import query
from tests.storage.test_billing_store import DAY, JANUARY, Operator, operating
from tracker_server.billing.commands import Chargeback, Done, Refund, TopUp
from tracker_server.config import Settings, Storage
from tracker_server.storage.database import Database, Role
from tracker_server.storage.invoices import read_paper, read_statement


def papers(dsn: str) -> list[tuple[str, int]]:
    rows = query(dsn, "SELECT name, amount_minor FROM core.invoices ORDER BY id")
    return [(row["name"], row["amount_minor"]) for row in rows]


async def test_r100_one_invoice_for_each_payment_received(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        assert papers(postgres_dsn) == []
        for _ in range(3):
            await operator.does(TopUp(key="evt_1", amount_minor=50000, means="card"))
        assert papers(postgres_dsn) == [("I2027-000001", 50000)]


async def test_r101_numbers_have_no_gaps_whoever_pays_at_once(postgres_dsn: str) -> None:
    """Twenty payments at once on as many connections; every third is rolled back after its number was taken."""
    async with operating(postgres_dsn) as operator:
        database = Database(Settings(storage=Storage(dsn=postgres_dsn)))

        async def pay(number: int) -> None:
            async with (
                await database.connect(Role.CORE) as connection,
                connection.transaction(force_rollback=number % 3 == 0),
            ):
                command = TopUp(key=f"p{number}", amount_minor=1000 + number)
                await operator.store.act(connection, operator.account, command, JANUARY)

        await asyncio.gather(*(pay(number) for number in range(20)))
        rows = query(postgres_dsn, "SELECT number, paper, amount_minor FROM core.invoices ORDER BY number")
        assert [row["number"] for row in rows] == list(range(1, 14))
        for row in rows:
            assert sum(line["amount_minor"] for line in row["paper"]["lines"]) == row["amount_minor"]
        paid = query(postgres_dsn, "SELECT sum(amount_minor) AS s FROM core.ledger WHERE kind = 'topup'")
        assert paid[0]["s"] == sum(row["amount_minor"] for row in rows)


async def test_refunds_and_chargebacks_have_credit_notes_with_numbers_of_their_own(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="a", amount_minor=50000))
        await operator.does(TopUp(key="b", amount_minor=20000))
        assert await operator.does(Refund(key="r", amount_minor=30000)) == Done()
        assert await operator.does(Chargeback(key="c", payment="a")) == Done()
        assert papers(postgres_dsn)[2:] == [("C2027-000001", -30000), ("C2027-000002", -40000)]
        found = await read_paper(operator.connection, name="C2027-000001")
        assert found is not None
        assert [(line.of, line.amount_minor) for line in found[0].lines] == [("b", -20000), ("a", -10000)]


async def test_papers_take_no_change(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="a", amount_minor=50000))
    for statement in (
        "UPDATE core.invoices SET number = 2",
        "DELETE FROM core.invoices",
        "TRUNCATE core.invoices CASCADE",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation):
            query(postgres_dsn, statement)


async def test_an_invoice_goes_out_by_mail_once(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        query(
            postgres_dsn, "UPDATE core.accounts SET email = 'a@example.com', language = 'es' WHERE name = 'A'"
        )
        for _ in range(2):
            await operator.does(TopUp(key="a", amount_minor=50000))
        rows = query(postgres_dsn, "SELECT recipient, payload FROM core.outbox WHERE key LIKE 'paper:%%'", [])
        assert [(row["recipient"], row["payload"]["paper"]["number"]) for row in rows] == [
            ("a@example.com", "I2027-000001")
        ]
        assert rows[0]["payload"]["paper"]["language"] == "es"


async def test_a_statement_continues_where_the_last_one_ended(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="a", amount_minor=50000))
        operator.adds("T1")
        await operator.settles(JANUARY)
        await operator.settles(JANUARY + 40 * DAY)
        january = await _statement(operator, "2027-01-01", "2027-01-31")
        february = await _statement(operator, "2027-02-01", "2027-02-28")
        assert (january.opening_minor, january.closing_minor) == (0, 19000)
        assert february.opening_minor == january.closing_minor
        assert february.closing_minor == february.opening_minor + sum(february.sums().values())
        assert set(january.sums()) == {"topup", "connection"}


async def _statement(operator: Operator, first: str, last: str) -> Any:
    from datetime import date

    return await read_statement(
        operator.connection, operator.account, date.fromisoformat(first), date.fromisoformat(last)
    )
