"""Money in the database: atomic, append-only, the same whoever asks and however often; and the blocks that follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from tests.storage.rows import query
from tracker_server.billing.book import Refused
from tracker_server.billing.commands import (
    Activate,
    AlreadyDone,
    ChangeZone,
    Chargeback,
    Done,
    Refund,
    Sms,
    Suspend,
    Switch,
    TopUp,
    Withdraw,
)
from tracker_server.billing.reasons import Reason
from tracker_server.billing.state import Settings as BillingSettings
from tracker_server.billing.tariffs import Feature, Mode, Price, Tariff
from tracker_server.config import Settings, Storage
from tracker_server.metrics import Metrics
from tracker_server.storage.billing_clock import BillingClock
from tracker_server.storage.billing_store import BillingStore, journal
from tracker_server.storage.database import Database, Role
from tracker_server.storage.tariffs import add_price, add_tariff, read_tariffs

JANUARY = datetime(2027, 1, 1, 7, tzinfo=UTC)  # 10:00 in Moscow
DAY = timedelta(days=1)


class Operator:
    """An account ``A`` on tariff Std (310.00 a month, SMS 5.00, Europe/Moscow), and a hand on its money."""

    def __init__(self, dsn: str, connection: AsyncConnection[Any], account: int) -> None:
        self.dsn = dsn
        self.connection = connection
        self.account = account
        self.store = BillingStore(BillingSettings())

    async def does(self, command: Any, now: datetime = JANUARY) -> Any:
        return (await self.store.act(self.connection, self.account, command, now)).answer

    async def settles(self, now: datetime) -> None:
        await self.store.settle(self.connection, self.account, now)

    def adds(self, *unique_ids: str, test: bool = False) -> None:
        for number, unique_id in enumerate(unique_ids, 1):
            query(
                self.dsn,
                "INSERT INTO core.devices (unique_id, account_id, name, priority, test) VALUES (%s, %s, %s, %s, %s)",
                [unique_id, self.account, unique_id, number, test],
            )

    def ledger(self) -> list[tuple[str, str | None, int, int]]:
        rows = query(
            self.dsn, "SELECT kind, device, amount_minor, balance_minor FROM core.ledger ORDER BY number"
        )
        return [(row["kind"], row["device"], row["amount_minor"], row["balance_minor"]) for row in rows]

    def hidden(self) -> list[str]:
        """Whom a customer does not see, at the moment that the database takes for now."""
        rows = query(
            self.dsn,
            "SELECT unique_id FROM core.devices WHERE removed_at IS NULL"
            " AND unique_id NOT IN (SELECT unique_id FROM display.devices) ORDER BY 1",
        )
        return [row["unique_id"] for row in rows]

    def blocks(self) -> list[tuple[str, str, str]]:
        rows = query(
            self.dsn,
            "SELECT unique_id, reason, note FROM core.blocks b JOIN core.devices d ON d.id = b.device_id ORDER BY 1, 2",
        )
        return [(row["unique_id"], row["reason"], row["note"]) for row in rows]

    async def verified(self) -> None:
        assert await self.store.verify(self.connection, self.account) == []


@asynccontextmanager
async def operating(dsn: str, zone: str = "Europe/Moscow") -> AsyncGenerator[Operator]:
    database = Database(Settings(storage=Storage(dsn=dsn)))
    async with await database.connect(Role.CORE) as connection:
        price = Price(date.min, 31000, 500)
        await add_tariff(
            connection, Tariff("Std", Mode.BALANCE, (price,), frozenset({"sms", *Feature})), "RUB"
        )
        await add_tariff(
            connection, Tariff("Term", Mode.TERM, (Price(date.min, 31000),), frozenset(Feature)), "RUB"
        )
        found = await connection.execute(
            "INSERT INTO core.accounts (name, zone, currency, tariff_id, created_at)"
            " SELECT 'A', %s, 'RUB', id, %s FROM core.tariffs WHERE name = 'Std' RETURNING id",
            [zone, JANUARY - DAY],
        )
        row = await found.fetchone()
        assert row
        yield Operator(dsn, connection, row[0])


async def test_the_first_example_of_the_rules(postgres_dsn: str) -> None:
    """R9, R10: 1000.00 in, connected: 690.00; the 31 days pay nothing; then 11.07 a day; February sums to 310.00."""
    async with operating(postgres_dsn) as operator:
        assert await operator.does(TopUp(key="p1", amount_minor=100000)) == Done()
        operator.adds("T1")
        await operator.settles(JANUARY)
        await operator.settles(JANUARY + 31 * DAY - timedelta(seconds=1))
        assert operator.ledger() == [("topup", None, 100000, 100000), ("connection", "T1", -31000, 69000)]
        await operator.settles(JANUARY + 31 * DAY)
        assert operator.ledger()[2:] == [("daily", "T1", -1107, 67893)]
        await operator.settles(datetime(2027, 2, 28, 20, 59, tzinfo=UTC))
        assert len(operator.ledger()) == 2 + 28
        assert operator.ledger()[-1][3] == 38000
        assert operator.hidden() == []
        await operator.verified()


async def test_r19_a_fee_that_cannot_be_paid_blocks_until_it_is(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=30999))
        operator.adds("T1")
        await operator.settles(JANUARY)
        assert operator.hidden() == [] or operator.blocks() == [("T1", "billing", "insufficient_funds")]
        assert operator.blocks() == [("T1", "billing", "insufficient_funds")]
        await operator.does(TopUp(key="p2", amount_minor=1), JANUARY + DAY)
        assert operator.blocks() == []
        assert operator.ledger()[-1] == ("connection", "T1", -31000, 0)
        await operator.verified()


async def test_r25_the_clock_may_run_any_number_of_times_in_parallel(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=1000000))
        operator.adds("T1", "T2", "T3")
        database = Database(Settings(storage=Storage(dsn=postgres_dsn)))
        late = datetime(2027, 3, 5, 12, tzinfo=UTC)

        async def clock() -> None:
            async with await database.connect(Role.CORE) as connection:
                keeper = BillingClock(database, operator.store, Metrics(), lambda: late)
                await keeper.work_due(connection)

        await operator.settles(JANUARY)
        await asyncio.gather(*(clock() for _ in range(4)))
        await clock()
        daily = [entry for entry in operator.ledger() if entry[0] == "daily"]
        assert len(daily) == 3 * (28 + 5)
        await operator.verified()


async def test_r54_a_top_up_delivered_three_times_counts_once(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        database = Database(Settings(storage=Storage(dsn=postgres_dsn)))

        async def deliver() -> Any:
            async with await database.connect(Role.CORE) as connection:
                command = TopUp(key="evt_1", amount_minor=50000)
                return (await operator.store.act(connection, operator.account, command, JANUARY)).answer

        answers = await asyncio.gather(*(deliver() for _ in range(5)))
        assert sorted(type(answer).__name__ for answer in answers) == ["AlreadyDone"] * 4 + ["Done"]
        assert operator.ledger() == [("topup", None, 50000, 50000)]
        other = TopUp(key="evt_1", amount_minor=60000)
        assert await operator.does(other) == Refused(Reason.ID_REUSED)
        await operator.verified()


async def test_fifty_at_once_never_go_below_zero(postgres_dsn: str) -> None:
    """Top-ups, refunds and paid SMS race for one balance."""
    async with operating(postgres_dsn) as operator:
        database = Database(Settings(storage=Storage(dsn=postgres_dsn)))
        await operator.does(TopUp(key="first", amount_minor=10000))

        async def one(number: int) -> Any:
            commands = (
                TopUp(key=f"p{number}", amount_minor=700),
                Sms(key=f"s{number}", text="hello"),
                Refund(key=f"r{number}", amount_minor=900),
            )
            async with await database.connect(Role.CORE) as connection:
                return (
                    await operator.store.act(connection, operator.account, commands[number % 3], JANUARY)
                ).answer

        await asyncio.gather(*(one(number) for number in range(50)))
        balances = [entry[3] for entry in operator.ledger()]
        assert min(balances) >= 0
        assert sum(entry[2] for entry in operator.ledger()) == balances[-1]
        await operator.verified()


async def test_r70_two_alerts_race_for_the_last_sms(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=500))
        database = Database(Settings(storage=Storage(dsn=postgres_dsn)))

        async def alert(key: str) -> str:
            async with await database.connect(Role.CORE) as connection:
                answer = (
                    await operator.store.act(connection, operator.account, Sms(key=key), JANUARY)
                ).answer
                assert isinstance(answer, Done)
                return str(answer.delivery)

        assert sorted(await asyncio.gather(alert("a1"), alert("a2"))) == ["email", "sms"]
        assert operator.ledger()[-1] == ("sms", None, -500, 0)


async def test_a_refused_command_writes_nothing_and_may_be_asked_again(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        assert await operator.does(Refund(key="r1", amount_minor=1)) == Refused(Reason.INSUFFICIENT_FUNDS)
        await operator.does(TopUp(key="p1", amount_minor=1))
        assert await operator.does(Refund(key="r1", amount_minor=1)) == Done()
        assert await operator.does(Refund(key="r1", amount_minor=1)) == AlreadyDone()
        await operator.verified()


async def test_r57_a_chargeback_leaves_a_debt_and_no_negative_balance(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=50000))
        operator.adds("T1")
        await operator.settles(JANUARY)
        await operator.does(Chargeback(key="c1", payment="p1"))
        assert operator.ledger()[-1][3] == 0
        await operator.does(TopUp(key="p2", amount_minor=45000))
        assert operator.ledger()[-1][3] == 45000 - 31000
        await operator.verified()


async def test_switches_zones_pauses_and_the_end_survive_the_database(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=1000000, means="card A"))
        operator.adds("T1", "T2")
        await operator.settles(JANUARY)
        await operator.does(Switch(key="w1", tariff="Free"), JANUARY + DAY)
        await operator.does(Switch(key="w2", tariff="Std"), JANUARY + 2 * DAY)
        refused = await operator.does(Switch(key="w3", tariff="Free"), JANUARY + 3 * DAY)
        assert refused.reason is Reason.SWITCH_LIMIT
        await operator.does(ChangeZone(key="z1", zone="America/Santiago"), JANUARY + 4 * DAY)
        await operator.does(Suspend(key="s1", device="T2", last=date(2027, 1, 20)), JANUARY + 5 * DAY)
        assert operator.blocks() == [("T2", "suspension", "suspended")]
        await operator.verified()
        await operator.settles(JANUARY + 40 * DAY)
        assert operator.blocks() == []
        account = query(postgres_dsn, "SELECT zone FROM core.accounts WHERE name = 'A'")
        assert account == [{"zone": "America/Santiago"}]
        await operator.does(Withdraw(key="x1", statement="I withdraw"), JANUARY + 41 * DAY)
        await operator.verified()


async def test_a_term_ends_by_time_alone(postgres_dsn: str) -> None:
    """The block is set ahead with its instant: no clock has to run for the gate to close."""
    now = datetime.now(UTC)
    async with operating(postgres_dsn) as operator:
        query(postgres_dsn, "UPDATE core.accounts SET created_at = %s", [now - 40 * DAY])
        await operator.does(TopUp(key="p1", amount_minor=1000000), now - 39 * DAY)
        await operator.does(Switch(key="w1", tariff="Term"), now - 39 * DAY)
        operator.adds("T1")
        query(postgres_dsn, "UPDATE core.devices SET created_at = %s", [now - 39 * DAY])
        await operator.settles(now - 39 * DAY)
        assert operator.hidden() == ["T1"], "no term was ever paid"
        from tracker_server.billing.commands import PayTerm

        await operator.does(PayTerm(key="t1", months=1), now - 39 * DAY)
        assert operator.blocks() == [("T1", "billing", "overdue")]
        assert operator.hidden() == ["T1"], "its end has passed, and nobody settled"
        await operator.does(PayTerm(key="t2", months=1), now)
        assert operator.hidden() == []


async def test_trackers_that_come_and_go_are_taken_in(postgres_dsn: str) -> None:
    """R14: removed and added again between two looks of the clock is still a new connection."""
    async with operating(postgres_dsn) as operator:
        now = datetime.now(UTC)
        query(postgres_dsn, "UPDATE core.accounts SET created_at = now() - interval '1 day'")
        await operator.does(TopUp(key="p1", amount_minor=100000), now)
        operator.adds("T1", "T2")
        await operator.settles(now)
        await operator.settles(now)
        query(postgres_dsn, "UPDATE core.devices SET removed_at = now() WHERE unique_id = 'T1'")
        operator.adds("T1")
        await operator.settles(datetime.now(UTC))
        await operator.settles(datetime.now(UTC))
        connections = [entry[1] for entry in operator.ledger() if entry[0] == "connection"]
        assert connections == ["T1", "T2", "T1"]
        query(postgres_dsn, "UPDATE core.devices SET removed_at = now() WHERE removed_at IS NULL")
        await operator.settles(datetime.now(UTC))
        assert (await operator.store.read(operator.connection, operator.account)).devices == {}
        await operator.verified()


async def test_a_price_change_leaves_the_past(postgres_dsn: str) -> None:
    """R7: 310.00 becomes 330.00 from March 1."""
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=1000000))
        operator.adds("T1")
        await operator.settles(JANUARY)
        tariffs = await read_tariffs(operator.connection)
        await add_price(operator.connection, tariffs["Std"].id, Price(date(2027, 3, 1), 33000, 500))
        await operator.settles(datetime(2027, 3, 1, 12, tzinfo=UTC))
        assert [entry[2] for entry in operator.ledger()[-2:]] == [-1108, -1064]
        await operator.verified()


async def test_the_journal_takes_no_change(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=100))
        for statement in (
            "UPDATE core.journal SET at = now()",
            "DELETE FROM core.journal",
            "TRUNCATE core.journal",
            "UPDATE core.tariff_prices SET monthly_minor = 1",
        ):
            with pytest.raises(psycopg.Error, match=r"append-only|permission denied"):
                query(postgres_dsn, statement)
            with pytest.raises(psycopg.Error, match=r"append-only|permission denied"):
                await operator.connection.execute(statement.encode())
        wrong = "INSERT INTO core.journal (account_id, number, at, kind, key, fact) VALUES (%s, 99, now(), 'Booked', 'k', %s)"
        for fact, constraint in (
            (
                '{"entry": {"balance_minor": 0, "transfer": {"kind": "gift", "postings": []}}}',
                "no_other_kind",
            ),
            (
                '{"entry": {"balance_minor": 0, "transfer": {"kind": "daily", "postings": [{"amount_minor": 1}]}}}',
                "sums_to_zero",
            ),
            (
                '{"entry": {"balance_minor": -1, "transfer": {"kind": "daily", "postings": []}}}',
                "never_below_zero",
            ),
        ):
            with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
                query(postgres_dsn, wrong, [operator.account, fact])


async def test_verify_names_what_was_tampered_with(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=50000))
        operator.adds("T1")
        await operator.settles(JANUARY)
        query(
            postgres_dsn,
            "UPDATE core.billing SET state = jsonb_set(state::jsonb, '{book,balances,customer}', '99999')::json WHERE account_id = %s",
            [operator.account],
        )
        (found,) = await operator.store.verify(operator.connection, operator.account)
        assert "customer is 99999, and the journal says 19000" in found


async def test_manual_activation(postgres_dsn: str) -> None:
    """R53: what is due for a tracker that was never paid is the connection fee."""
    async with operating(postgres_dsn) as operator:
        operator.adds("T1")
        await operator.settles(JANUARY)
        assert await operator.does(Activate(device="T1")) == Refused(Reason.INSUFFICIENT_FUNDS)
        assert operator.ledger() == []
        await operator.verified()


async def test_every_fact_is_read_back_as_it_was_written(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=100000, means="Überweisung Ж"))
        operator.adds("T1")
        outcome = await operator.store.act(
            operator.connection, operator.account, Activate(device="T1"), JANUARY
        )
        facts = await journal(operator.connection, operator.account)
        assert facts[-len(outcome.facts) :] == list(outcome.facts)
