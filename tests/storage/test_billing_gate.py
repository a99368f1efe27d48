"""Money and the gate: nobody is shown for nothing, whatever somebody wrote into the trackers' rows by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.storage.rows import query
from tests.storage.test_billing_store import DAY, JANUARY, Operator, operating
from tracker_server.billing.book import Refused
from tracker_server.billing.commands import (
    Activate,
    BackPay,
    Convert,
    Done,
    PayTerm,
    Refund,
    Reprioritise,
    Switch,
    TopUp,
    Waive,
    Withdraw,
)
from tracker_server.billing.reasons import Reason
from tracker_server.billing.state import Reveal, Settings
from tracker_server.billing.states import paid_until
from tracker_server.model.money import currency, format_minor
from tracker_server.storage.billing_rows import ledger
from tracker_server.storage.billing_store import BillingStore

MONTH = Path(__file__).with_name("month.txt")
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "read-a-ledger.md"
RUB = currency("RUB")


def due(operator: Operator) -> dict[str, int]:
    rows = query(
        operator.dsn,
        "SELECT unique_id, due_minor FROM core.blocks b JOIN core.devices d ON d.id = b.device_id",
    )
    return {row["unique_id"]: row["due_minor"] for row in rows}


def set_row(operator: Operator, unique_id: str, what: str, value: object) -> None:
    query(operator.dsn, f"UPDATE core.devices SET {what} = %s WHERE unique_id = %s", [value, unique_id])


async def test_r85_an_account_has_one_test_tracker(postgres_dsn: str) -> None:
    """The database holds it, so that a second one is never shown for nothing."""
    async with operating(postgres_dsn) as operator:
        operator.adds("T1", test=True)
        with pytest.raises(psycopg.errors.UniqueViolation, match="devices_test"):
            operator.adds("T2", test=True)
        operator.adds("T2")
        with pytest.raises(psycopg.errors.UniqueViolation, match="devices_test"):
            set_row(operator, "T2", "test", value=True)


MARCH = datetime(2025, 3, 1, 7, tzinfo=UTC)  # 10:00 in Moscow


def begun(operator: Operator, at: datetime) -> None:
    """The account and its trackers are as old as that: what the database takes for now lies after it."""
    query(operator.dsn, "UPDATE core.accounts SET created_at = %s WHERE id = %s", [at, operator.account])
    query(operator.dsn, "UPDATE core.devices SET created_at = %s", [at])


def fixes(operator: Operator, unique_id: str, *at: datetime) -> None:
    """Stored fixes, each received as it was made."""
    query(operator.dsn, "SELECT core.ensure_days(%s::date[])", [[one.date() for one in at]])
    query(
        operator.dsn,
        "INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)"
        " SELECT d.id, at, at, 1, 55, 37, true, 'gt06' FROM core.devices d, unnest(%s::timestamptz[]) at"
        " WHERE unique_id = %s",
        [list(at), unique_id],
    )


def shown(operator: Operator, unique_id: str) -> list[datetime]:
    rows = query(
        operator.dsn, "SELECT fixed_at FROM display.positions WHERE unique_id = %s ORDER BY 1", [unique_id]
    )
    return [row["fixed_at"] for row in rows]


async def test_r55_money_lifts_the_billing_block_and_no_hold(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        operator.adds("T1")
        begun(operator, MARCH)
        fixes(operator, "T1", MARCH)
        await operator.settles(MARCH)
        query(
            operator.dsn,
            "INSERT INTO core.blocks (device_id, reason, since) SELECT id, 'hold', %s FROM core.devices",
            [MARCH],
        )
        assert [reason for _, reason, _ in operator.blocks()] == ["billing", "hold"]
        await operator.does(TopUp(key="p1", amount_minor=31000), MARCH)
        assert [reason for _, reason, _ in operator.blocks()] == ["hold"]
        assert shown(operator, "T1") == [], "still hidden"
        query(operator.dsn, "DELETE FROM core.blocks WHERE reason = 'hold'")
        assert shown(operator, "T1") == [MARCH]


async def test_r86_the_history_of_the_test_time_stays(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        operator.adds("T1", test=True)
        begun(operator, MARCH)
        days = [MARCH + n * DAY for n in range(3)]
        fixes(operator, "T1", *days)
        await operator.does(TopUp(key="p1", amount_minor=31000), MARCH)
        assert shown(operator, "T1") == days
        noon = datetime(2025, 3, 3, 9, tzinfo=UTC)  # 12:00 in Moscow
        assert await operator.does(Convert(device="T1"), noon) == Done()
        state = await operator.store.read(operator.connection, operator.account)
        assert state.devices["T1"].window_until == datetime(2025, 4, 3, 9, tzinfo=UTC)
        assert operator.ledger()[-1] == ("connection", "T1", -31000, 0)
        assert shown(operator, "T1") == days


async def test_r104_full_access_after_regularising(postgres_dsn: str) -> None:
    """Overdue from April 1; what came before it, and what was stored meanwhile, is all there at the payment."""
    async with operating(postgres_dsn) as operator:
        query(
            operator.dsn,
            "UPDATE core.accounts SET tariff_id = (SELECT id FROM core.tariffs WHERE name = 'Term')",
        )
        operator.adds("T1")
        begun(operator, MARCH)
        await operator.does(TopUp(key="p1", amount_minor=62000), MARCH)
        await operator.does(PayTerm(device="T1", months=1, key="t1"), MARCH)
        overdue = datetime(2025, 3, 31, 21, tzinfo=UTC)  # 00:00 in Moscow
        minutes = [overdue + n * timedelta(minutes=1) for n in range(9 * 1440)]
        fixes(operator, "T1", overdue - DAY, *minutes)
        await operator.settles(datetime(2025, 4, 9, 12, tzinfo=UTC))
        assert operator.blocks() == [("T1", "billing", "overdue")]
        assert shown(operator, "T1") == []
        paid = PayTerm(device="T1", months=1, key="t2")
        assert await operator.does(paid, datetime(2025, 4, 10, 7, tzinfo=UTC)) == Done()
        state = await operator.store.read(operator.connection, operator.account)
        assert state.start_of(date(2025, 5, 1)) == paid_until(state, state.devices["T1"])
        # what the database takes for now lies after that term too: the block that will end it is set ahead, at its end
        query(
            operator.dsn,
            "UPDATE core.blocks SET since = 'infinity' WHERE since = %s",
            [paid_until(state, state.devices["T1"])],
        )
        assert shown(operator, "T1") == [overdue - DAY, *minutes]


async def test_d5_unpaid_time_stays_hidden_until_it_is_paid_for(postgres_dsn: str) -> None:
    """Blocked from April 1 to 10: each of the views leaves that out, whoever asks and whenever it came in."""
    async with operating(postgres_dsn) as operator:
        operator.store = BillingStore(Settings(reveal=Reveal.BACK_PAY))
        operator.adds("T1")
        begun(operator, MARCH)
        await operator.does(TopUp(key="p1", amount_minor=31000), MARCH)
        window = datetime(
            2025, 4, 1, 7, tzinfo=UTC
        )  # 10:00 in Moscow: the 31 days are over, and nothing is left
        await operator.settles(window + 3 * DAY)
        assert operator.blocks() == [("T1", "billing", "insufficient_funds")]
        days = [window + (n - 1) * DAY for n in range(12)]
        fixes(operator, "T1", *days)
        for table, columns, values in UNPAID_TIME:
            query(
                operator.dsn,
                f"INSERT INTO core.{table} (device_id, {columns}) SELECT d.id, {values}"
                " FROM core.devices d, unnest(%s::timestamptz[]) at",
                [days],
            )
        await operator.does(TopUp(key="p2", amount_minor=2000), datetime(2025, 4, 10, 7, tzinfo=UTC))
        assert operator.blocks() == []
        unpaid = days[1:10]  # from the block's instant to the beginning of the date that was paid
        for reveal, hidden in (("all", []), ("paid_dates_only", unpaid), ("back_pay", unpaid)):
            query(operator.dsn, "UPDATE core.gate SET reveal = %s", [reveal])
            told = [at for at in days if at not in hidden]
            assert shown(operator, "T1") == told, reveal
            for table, column in (("telemetry", "sent_at"), ("events", "occurred_at"), ("trips", "started_at"), ("stops", "started_at")):  # fmt: skip
                rows = query(operator.dsn, f"SELECT {column} AS at FROM display.{table} ORDER BY 1")
                assert [row["at"] for row in rows] == told, (table, reveal)
        row = query(operator.dsn, "SELECT back_pay_minor FROM display.management")[0]
        assert row == {"back_pay_minor": 9 * 1033 + 3}, (
            "of nine dates, three have the minor unit more: 3, 6 and 9"
        )
        later = datetime(2025, 4, 10, 8, tzinfo=UTC)
        assert await operator.does(BackPay(device="T1"), later) == Refused(Reason.INSUFFICIENT_FUNDS)
        await operator.does(TopUp(key="p3", amount_minor=9300 - 967), later)
        assert await operator.does(BackPay(device="T1", key="b"), later) == Done()
        assert shown(operator, "T1") == days
        assert query(operator.dsn, "SELECT back_pay_minor FROM display.management") == [
            {"back_pay_minor": None}
        ]
        await operator.verified()


UNPAID_TIME = (
    ("telemetry", "sent_at, received_at, digest, kind, protocol", "at, at, 1, 'heartbeat', 'gt06'"),
    ("events", "type, occurred_at, decided_at, digest, stored_at", "'alarm', at, at, 1, at"),
    ("trips", "started_at, ended_at, decided_at, start_latitude, start_longitude, start_digest, end_latitude, end_longitude, end_digest, distance_mm, odometer_start_mm, speed_max_mps, stored_at", "at, at, at, 55, 37, 1, 55, 37, 1, 0, 0, 0, at"),
    ("stops", "started_at, ended_at, decided_at, latitude, longitude, digest, engine_us, stored_at", "at, at, at, 55, 37, 1, 0, at"),
)  # fmt: skip


async def test_what_billing_does_not_take_in_is_hidden(postgres_dsn: str) -> None:
    """A second test tracker that came in where the index was taken away is blocked, until there is room for it."""
    async with operating(postgres_dsn) as operator:
        query(postgres_dsn, "DROP INDEX core.devices_test")
        operator.adds("T1", "T2", test=True)
        await operator.settles(JANUARY)
        assert operator.blocks() == [("T2", "billing", "test_device_exists")]
        since = query(postgres_dsn, "SELECT since FROM core.blocks")
        await operator.settles(JANUARY + DAY)
        assert query(postgres_dsn, "SELECT since FROM core.blocks") == since
        assert await operator.does(Activate(device="T2"), JANUARY + DAY) == Refused(Reason.UNKNOWN_DEVICE)
        set_row(operator, "T1", "test", value=False)
        await operator.settles(JANUARY + DAY)
        assert operator.blocks() == [("T1", "billing", "insufficient_funds")], (
            "T1 pays now, and T2 has its place"
        )
        await operator.verified()


async def test_after_a_withdrawal_nothing_is_shown(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=100000))
        operator.adds("T1")
        await operator.settles(JANUARY)
        await operator.does(Withdraw(key="w", statement="I withdraw"), JANUARY + DAY)
        assert operator.blocks() == [("T1", "billing", "contract_ended")]
        operator.adds("T2")
        await operator.settles(JANUARY + 2 * DAY)
        assert [name for name, *_ in operator.blocks()] == ["T1", "T2"]
        await operator.verified()


async def test_a_tracker_converted_by_hand_pays(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        operator.adds("T1", test=True)
        await operator.settles(JANUARY)
        assert operator.blocks() == []
        set_row(operator, "T1", "test", value=False)
        await operator.settles(JANUARY + DAY)
        assert operator.blocks() == [("T1", "billing", "insufficient_funds")]
        await operator.verified()


async def test_a_paying_tracker_made_a_test_one_by_hand_begins_anew(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        operator.adds("T1")
        await operator.settles(JANUARY)
        set_row(operator, "T1", "test", value=True)
        await operator.settles(JANUARY + DAY)
        assert operator.blocks() == []
        await operator.does(TopUp(key="p1", amount_minor=31000), JANUARY + DAY)
        assert [entry[0] for entry in operator.ledger()] == ["topup"], "a test costs nothing"
        await operator.verified()


async def test_commands_about_a_tracker_are_written_into_its_row(postgres_dsn: str) -> None:
    """Else the next look at the rows would undo them."""
    async with operating(postgres_dsn) as operator:
        operator.adds("T1", test=True)
        await operator.does(Convert(device="T1"))
        assert await operator.does(Reprioritise(device="T1", priority=7)) == Done()
        assert query(postgres_dsn, "SELECT test, priority FROM core.devices") == [
            {"test": False, "priority": 7}
        ]
        before = len(query(postgres_dsn, "SELECT FROM core.journal"))
        await operator.settles(JANUARY + DAY)
        assert len(query(postgres_dsn, "SELECT FROM core.journal")) == before
        await operator.verified()


async def test_what_is_due_follows_the_date(postgres_dsn: str) -> None:
    """R21, R38: 11.07 on most dates of February, 11.08 on each seventh; looked at again at each midnight."""
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=31000))
        operator.adds("T1")
        await operator.settles(JANUARY)
        await operator.settles(JANUARY + 31 * DAY)
        assert due(operator) == {"T1": 1107}
        (row,) = query(postgres_dsn, "SELECT next_due_at FROM core.billing")
        assert row["next_due_at"] == datetime(2027, 2, 1, 21, tzinfo=UTC), "midnight in Moscow"
        await operator.settles(datetime(2027, 2, 6, 21, tzinfo=UTC))
        assert due(operator) == {"T1": 1108}
        await operator.does(TopUp(key="p2", amount_minor=1108), datetime(2027, 2, 7, tzinfo=UTC))
        assert due(operator) == {}


async def test_dates_that_an_outage_left_open_may_be_waived(postgres_dsn: str) -> None:
    """D8: also where a tracker came meanwhile, which by itself settles all."""
    async with operating(postgres_dsn) as operator:
        await operator.does(TopUp(key="p1", amount_minor=40000))
        operator.adds("T1")
        await operator.settles(JANUARY)
        await operator.settles(datetime(2027, 2, 2, 12, tzinfo=UTC))
        operator.adds("T2", test=True)
        waive = Waive(first=date(2027, 2, 3), last=date(2027, 2, 5))
        assert await operator.does(waive, datetime(2027, 2, 6, 9, tzinfo=UTC)) == Done()
        assert [entry[2] for entry in operator.ledger() if entry[0] == "daily"] == [-1107, -1107, -1107]
        assert await operator.does(waive, datetime(2027, 2, 6, 9, tzinfo=UTC)) == Refused(
            Reason.ALREADY_SETTLED
        )
        await operator.verified()


async def test_an_account_that_cannot_be_settled_costs_only_itself(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        rows = query(
            postgres_dsn,
            "INSERT INTO core.accounts (name, zone, currency, tariff_id, created_at)"
            " SELECT 'B' || n, 'UTC', 'RUB', tariff_id, created_at FROM core.accounts, generate_series(1, 3) n"
            " WHERE name = 'A' RETURNING id",
        )
        accounts = [row["id"] for row in rows]
        assert await operator.store.settle_many(operator.connection, accounts, JANUARY) == {}
        query(
            postgres_dsn,
            "UPDATE core.billing SET state = jsonb_set(state::jsonb, '{zone}', '\"Nowhere/Atall\"')::json WHERE account_id = %s",
            [accounts[1]],
        )
        query(
            postgres_dsn,
            "INSERT INTO core.devices (unique_id, account_id, name) SELECT a::text, a, 'x' FROM unnest(%s::bigint[]) a",
            [accounts],
        )
        failed = await operator.store.settle_many(operator.connection, accounts, JANUARY + DAY)
        assert list(failed) == [accounts[1]]
        assert [name for name, *_ in operator.blocks()] == [str(accounts[0]), str(accounts[2])]


async def test_verify_names_a_block_that_was_lifted_by_hand(postgres_dsn: str) -> None:
    async with operating(postgres_dsn) as operator:
        operator.adds("T1")
        await operator.settles(JANUARY)
        query(postgres_dsn, "DELETE FROM core.blocks")
        (found,) = await operator.store.verify(operator.connection, operator.account)
        assert (
            "tracker 'T1' has the block 'billing' as none, and billing says insufficient_funds since 20"
            in found
        )


async def test_a_month_of_an_operator_as_an_accountant_reads_it(postgres_dsn: str) -> None:
    """Thirty days: two paying trackers and a test one, a short balance, a click, a dearer price, a refund.

    ``month.txt`` is what `billing ledger` shows of it.
    """
    async with operating(postgres_dsn) as operator:
        start = datetime(2027, 1, 30, 7, tzinfo=UTC)
        query(postgres_dsn, "UPDATE core.accounts SET created_at = %s", [start - 31 * DAY])
        await operator.does(TopUp(key="invoice-1", amount_minor=62000, means="card"), start - 31 * DAY)
        operator.adds("Van 1", "Van 2")
        query(postgres_dsn, "UPDATE core.devices SET created_at = %s", [start - 31 * DAY])
        await operator.settles(start - 31 * DAY)
        story = {
            3: [TopUp(key="invoice-2", amount_minor=5000, means="card")],
            6: [Activate(device="Van 2")],
            9: [TopUp(key="invoice-3", amount_minor=15000, means="transfer")],
            20: [Switch(key="s1", tariff="Free")],
            21: [Switch(key="s2", tariff="Std"), TopUp(key="invoice-4", amount_minor=40000, means="card")],
            29: [Refund(key="back-1", amount_minor=None)],
        }
        for day in range(30):
            now = start + day * DAY
            for command in story.get(day, []):
                await operator.does(command, now)
            await operator.settles(now + timedelta(hours=2))
        await operator.verified()
        lines = [
            f"{row['number']:>3}  {row['at']:%Y-%m-%d %H:%M}  {row['kind']:<10}  {row['device'] or '':<5}  {row['day'] or ''!s:<10}"
            f"  {format_minor(row['amount_minor'], RUB):>8}  {format_minor(row['balance_minor'], RUB):>8} {row['currency']}"
            async for row in ledger(operator.connection, operator.account, None, None)
        ]
        assert "\n".join(lines) + "\n" == MONTH.read_text()
        assert MONTH.read_text() in PAGE.read_text(), "the page explains this very ledger"
        assert sum(entry[2] for entry in operator.ledger()) == operator.ledger()[-1][3] == 0
