"""Notices of money through the database: once each and level, whenever the server looks, in their customer's words."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

from tests.storage.rows import query
from tests.storage.test_billing_store import Operator, operating
from tracker_server.alerts.letters import decode
from tracker_server.alerts.wording import worded
from tracker_server.billing.agenda import next_due
from tracker_server.billing.commands import Connect, HoldCollection, PayTerm, Suspend, Switch, TopUp
from tracker_server.billing.engine import act, settle
from tracker_server.billing.notices import next_look, notices_due
from tracker_server.billing.state import open_account
from tracker_server.billing.tariffs import Mode, Price, Tariff
from tracker_server.config import Settings, Storage
from tracker_server.metrics import Metrics
from tracker_server.storage.database import Database, Role
from tracker_server.storage.notice_clock import NoticeClock
from tracker_server.storage.tariffs import add_price, read_tariffs

DAY = timedelta(days=1)
JANUARY = datetime(2027, 1, 1, 7, tzinfo=UTC)  # 10:00 in Moscow
STD = Tariff("Std", Mode.BALANCE, (Price(date.min, 31000),))


def on(month: int, day: int, hour: int = 12) -> datetime:
    """An hour of Moscow's in 2027."""
    return datetime(2027, month, day, hour, tzinfo=UTC) - timedelta(hours=3)


class Teller:
    """The account ``A`` of ``operating``, and the clock of notices in our hands."""

    def __init__(self, operator: Operator) -> None:
        self.operator = operator
        self.dsn = operator.dsn
        self.now = JANUARY
        self.metrics = Metrics()
        database = Database(Settings(storage=Storage(dsn=operator.dsn)))
        self.clock = NoticeClock(database, operator.store, self.metrics, lambda: self.now)

    def reachable(self, email: str | None = "a@example.com", messenger: str | None = None, language: str = "en") -> None:  # fmt: skip
        query(
            self.dsn,
            "UPDATE core.accounts SET email = %s, messenger = %s, language = %s WHERE name = 'A'",
            [email, messenger, language],
        )

    async def looks(self, now: datetime) -> list[tuple[str, int, int]]:
        """What is told by a look at this moment: kind, level, amount in minor units."""
        self.now = now
        seen = self._last()
        await self.clock.work_due(self.operator.connection)
        return self.told(seen)

    async def does(self, command: Any, now: datetime) -> None:
        self.now = now
        await self.operator.does(command, now)

    def told(self, after: int = 0) -> list[tuple[str, int, int]]:
        rows = query(
            self.dsn,
            "SELECT kind, level, (payload->>'amount_minor')::bigint AS amount FROM core.notices"
            " WHERE payload IS NOT NULL AND id > %s ORDER BY id",
            [after],
        )
        return [(row["kind"], row["level"], row["amount"]) for row in rows]

    def outbox(self) -> list[dict[str, Any]]:
        return query(
            self.dsn,
            "SELECT key, channel, recipient, account_id, payload, due_at FROM core.outbox WHERE key LIKE 'notice:%%' ORDER BY id",
        )

    def subjects(self) -> list[str]:
        return [worded(decode(row["payload"])).subject for row in self.outbox()]

    def next_look(self) -> datetime | None:
        return query(
            self.dsn, "SELECT next_notice_at FROM core.billing WHERE account_id = %s", [self.operator.account]
        )[0]["next_notice_at"]

    def _last(self) -> int:
        return query(self.dsn, "SELECT coalesce(max(id), 0) AS id FROM core.notices")[0]["id"]


@asynccontextmanager
async def telling(dsn: str) -> AsyncGenerator[Teller]:
    async with operating(dsn) as operator:
        teller = Teller(operator)
        teller.reachable()
        yield teller


@asynccontextmanager
async def three_terms(dsn: str) -> AsyncGenerator[Teller]:
    """Three trackers, paid for a month from January 1 on: their terms end on February 1."""
    async with telling(dsn) as teller:
        await teller.does(TopUp(key="p1", amount_minor=93000), JANUARY)
        await teller.does(Switch(key="w1", tariff="Term"), JANUARY)
        teller.operator.adds("T1", "T2", "T3")
        query(dsn, "UPDATE core.devices SET created_at = %s", [JANUARY])
        await teller.does(PayTerm(key="t1", months=1), JANUARY)
        yield teller


async def test_r99_each_level_once_with_its_amount(postgres_dsn: str) -> None:
    """3 x 310.00 due: 930.00 at T-7, T-3, T-1, T0, T+3, T+7, however often the server looks."""
    async with three_terms(postgres_dsn) as teller:
        found: list[tuple[int, str, int, int]] = []
        for day in range(40):
            for hour in (8, 12):
                moment = on(1, 1, hour) + day * DAY
                found += [(day, *told) for told in await teller.looks(max(moment, JANUARY))]
        assert found == [
            (24, "ending", -7, 93000),
            (28, "ending", -3, 93000),
            (30, "ending", -1, 93000),
            (31, "overdue", 0, 93000),
            (34, "overdue", 3, 93000),
            (38, "overdue", 7, 93000),
        ]
        assert len(teller.outbox()) == 6
        assert teller.subjects()[0] == "RUB\u00a0930.00 to pay by 31 January 2027"
        assert teller.subjects()[3] == "RUB\u00a0930.00 is due since 1 February 2027"
        assert teller.metrics.registry.get_sample_value("tracker_notices_failed_total") == 0


async def test_invariant_31_levels_missed_while_the_server_was_down(postgres_dsn: str) -> None:
    async with three_terms(postgres_dsn) as teller:
        assert await teller.looks(JANUARY) == []
        assert await teller.looks(on(1, 26)) == [("ending", -7, 93000)]
        # down from January 26 to February 9
        assert await teller.looks(on(2, 9)) == [
            ("overdue", -3, 93000),
            ("overdue", -1, 93000),
            ("overdue", 0, 93000),
            ("overdue", 3, 93000),
            ("overdue", 7, 93000),
        ]
        assert await teller.looks(on(2, 9, 13)) == []


async def test_the_clock_sleeps_exactly_until_the_next_level(postgres_dsn: str) -> None:
    async with three_terms(postgres_dsn) as teller:
        await teller.looks(JANUARY)
        assert teller.next_look() == on(1, 25, 9), "nobody is polled: T-7 at 09:00 in Moscow"
        assert await teller.looks(on(1, 25, 9) - timedelta(seconds=1)) == []
        assert await teller.looks(on(1, 25, 9)) == [("ending", -7, 93000)]
        assert teller.next_look() == on(1, 29, 9)


async def test_who_pays_for_one_is_not_told_the_rest_again(postgres_dsn: str) -> None:
    async with three_terms(postgres_dsn) as teller:
        await teller.looks(on(1, 25))
        await teller.does(TopUp(key="p2", amount_minor=31000), on(1, 26))
        await teller.does(PayTerm(key="t2", months=1, device="T2"), on(1, 26))
        assert await teller.looks(on(1, 26)) == [], "T-7 was told to T1 and T3, though T2 was with them"
        assert await teller.looks(on(1, 29)) == [("ending", -3, 62000)]


async def test_who_pays_less_than_is_due_is_told_the_rest_once(postgres_dsn: str) -> None:
    """Two months overdue, one is paid: the end moves into the past, and six levels with it. One is told."""
    async with three_terms(postgres_dsn) as teller:
        for day in range(50):
            await teller.looks(JANUARY + day * DAY)
        await teller.does(TopUp(key="p2", amount_minor=93000), on(3, 10))
        await teller.looks(on(3, 10))
        before = teller.told()
        await teller.does(PayTerm(key="t2", months=1), on(3, 10))
        assert await teller.looks(on(3, 10)) == [("overdue", 7, 93000)]
        assert len(teller.told()) == len(before) + 1
        assert await teller.looks(on(3, 11)) == []


async def test_a_tracker_that_was_never_paid_is_told_too(postgres_dsn: str) -> None:
    async with telling(postgres_dsn) as teller:
        await teller.does(Switch(key="w1", tariff="Term"), JANUARY)
        teller.operator.adds("T1")
        query(postgres_dsn, "UPDATE core.devices SET created_at = %s", [JANUARY])
        await teller.operator.settles(JANUARY)
        assert await teller.looks(JANUARY) == [("overdue", 0, 31000)]
        assert await teller.looks(JANUARY + 3 * DAY) == [("overdue", 3, 31000)]


async def test_r99_a_balance_that_will_not_last(postgres_dsn: str) -> None:
    """332.14: the window to February 1, then two days at 11.07; T1 will be blocked on February 3."""
    async with telling(postgres_dsn) as teller:
        await teller.does(TopUp(key="p1", amount_minor=33214), JANUARY)
        teller.operator.adds("T1")
        query(postgres_dsn, "UPDATE core.devices SET created_at = %s", [JANUARY])
        await teller.operator.settles(JANUARY)
        found: list[tuple[int, str, int, int]] = []
        for day in range(45):
            found += [(day, *told) for told in await teller.looks(on(1, 1, 11) + day * DAY)]
        assert [(day, kind, level) for day, kind, level, _ in found] == [
            (26, "low", -7),
            (30, "low", -3),
            (32, "low", -1),
            (33, "blocked", 0),
            (36, "blocked", 3),
            (40, "blocked", 7),
        ]
        assert teller.subjects()[0] == "T1 will be blocked on 3 February 2027"
        assert teller.subjects()[3] == "T1 is blocked"
        assert teller.outbox()[3]["payload"]["amount_minor"] == 1107
        assert [row["kind"] for row in query(postgres_dsn, "SELECT DISTINCT kind FROM core.ledger")] != [
            "sms"
        ]
        assert not any(entry[0] == "sms" for entry in teller.operator.ledger()), "R72: never debited"


def test_the_bound_on_looking_ahead_never_comes_too_late() -> None:
    """However much there is on the balance, T-7 is told on its day: no level is slept through."""
    for days in (1, 9, 20, 37, 60):
        state = open_account(
            currency="EUR", zone="Europe/Madrid", tariff="Std", tariffs={"Std": STD}, at=JANUARY
        )
        state = act(state, TopUp(key="p1", amount_minor=2 * 31000 + 2 * 1107 * days), JANUARY).state
        for name in ("T1", "T2"):
            state = act(state, Connect(device=name, priority=1), JANUARY).state
        now, sent, told = JANUARY, set[str](), dict[int, date]()
        while len(told) < 4:
            state, _ = settle(state, now)
            for notice in notices_due(state, now, sent):
                sent |= set(notice.covers)
                told[notice.level] = state.date_at(now)
                assert now == notice.falls_at, "at the very hour"
            following = next_look(state, now)
            # as the server does: what is blocked arms another look
            due = next_due(state)
            now = min(instant for instant in (following, due) if instant is not None)
            assert now < JANUARY + 200 * DAY
        assert told[-7] + 7 * DAY == told[-3] + 3 * DAY == told[-1] + DAY == told[0]


async def test_blocked_and_paid_is_told_at_once_and_only_once(postgres_dsn: str) -> None:
    """The notice is in the transaction of the payment: no clock has to run."""
    async with telling(postgres_dsn) as teller:
        await teller.does(TopUp(key="p1", amount_minor=31000), JANUARY)
        teller.operator.adds("T1", "T2")
        query(postgres_dsn, "UPDATE core.devices SET created_at = %s", [JANUARY])
        await teller.operator.settles(JANUARY)
        assert await teller.looks(JANUARY) == [("blocked", 0, 31000)]
        seen = len(teller.told())
        await teller.does(TopUp(key="p2", amount_minor=31000), JANUARY + DAY)
        assert teller.told()[seen:] == [("unblocked", 0, 0)]
        assert teller.subjects()[-1] == "T2 can be seen again"
        assert teller.outbox()[-1]["due_at"] == JANUARY + DAY
        await teller.does(TopUp(key="p2", amount_minor=31000), JANUARY + DAY)
        assert await teller.looks(JANUARY + 3 * DAY) == []
        assert len(teller.told()) == seen + 1


async def test_a_new_block_arms_the_levels_again(postgres_dsn: str) -> None:
    async with telling(postgres_dsn) as teller:
        await teller.does(TopUp(key="p1", amount_minor=31000), JANUARY)
        teller.operator.adds("T1")
        query(postgres_dsn, "UPDATE core.devices SET created_at = %s", [JANUARY])
        await teller.operator.settles(JANUARY)
        assert ("blocked", 0, 1107) in await teller.looks(on(2, 1, 11))
        await teller.does(TopUp(key="p2", amount_minor=1107), on(2, 1, 12))
        assert await teller.looks(on(2, 1, 12)) == [("low", -1, 31000)], (
            "paid until tomorrow: told once, not thrice"
        )
        assert await teller.looks(on(2, 2, 12)) == [("blocked", 0, 1107)]


async def test_r102_collection_hold(postgres_dsn: str) -> None:
    async with three_terms(postgres_dsn) as teller:
        await teller.looks(JANUARY)
        await teller.does(HoldCollection(key="h1", until=date(2027, 2, 5)), on(1, 20))
        for day in range(20, 36):
            assert await teller.looks(on(1, 1) + day * DAY) == []
        assert await teller.looks(on(2, 6)) == [], "those of that time do not come later"
        assert await teller.looks(on(2, 8)) == [("overdue", 7, 93000)]


async def test_r108_a_pause_ends_by_itself(postgres_dsn: str) -> None:
    async with telling(postgres_dsn) as teller:
        await teller.does(TopUp(key="p1", amount_minor=100000), JANUARY)
        teller.operator.adds("T1")
        query(postgres_dsn, "UPDATE core.devices SET created_at = %s, name = 'White van'", [JANUARY])
        await teller.operator.settles(JANUARY)
        await teller.does(Suspend(key="s1", device="T1", last=date(2027, 1, 20)), JANUARY)
        assert await teller.looks(on(1, 14, 8)) == []
        assert await teller.looks(on(1, 14, 9)) == [("resuming", -7, 0)]
        assert teller.subjects() == ["The pause of White van (T1) ends on 21 January 2027"]


async def test_each_way_to_reach_an_account(postgres_dsn: str) -> None:
    async with three_terms(postgres_dsn) as teller:
        teller.reachable("a@example.com", "+34600111222", "ru")
        await teller.looks(on(1, 25))
        rows = teller.outbox()
        assert [(row["channel"], row["recipient"]) for row in rows] == [
            ("email", "a@example.com"),
            ("messenger", "+34600111222"),
        ]
        assert teller.subjects() == ["К оплате 930,00\u00a0₽ до 31 января 2027\u202fг. включительно"] * 2


async def test_an_account_without_an_address_is_told_in_its_own_list_only(postgres_dsn: str) -> None:
    async with three_terms(postgres_dsn) as teller:
        teller.reachable(None)
        assert await teller.looks(on(1, 25)) == [("ending", -7, 93000)]
        assert teller.outbox() == []


async def test_a_price_change_moves_the_end_of_the_money(postgres_dsn: str) -> None:
    async with telling(postgres_dsn) as teller:
        await teller.does(TopUp(key="p1", amount_minor=62000), JANUARY)
        teller.operator.adds("T1")
        query(postgres_dsn, "UPDATE core.devices SET created_at = %s", [JANUARY])
        await teller.operator.settles(JANUARY)
        await teller.looks(JANUARY)
        assert teller.next_look() == JANUARY + 20 * DAY, "31000 pay 27 days for sure: looked at 7 days before"
        tariffs = await read_tariffs(teller.operator.connection)
        await add_price(
            teller.operator.connection, tariffs["Std"].id, Price(date(2027, 1, 15), 31000 * 28, 500)
        )
        await teller.looks(JANUARY + DAY)
        # 310.00 a day from February 1 on: one is paid, and the second is not
        assert teller.next_look() == on(1, 26, 9)


async def test_free_accounts_are_never_looked_at(postgres_dsn: str) -> None:
    async with telling(postgres_dsn) as teller:
        await teller.does(Switch(key="w1", tariff="Free"), JANUARY)
        teller.operator.adds("T1")
        await teller.operator.settles(JANUARY)
        assert await teller.looks(JANUARY) == []
        assert teller.next_look() is None


async def test_two_processes_tell_once(postgres_dsn: str) -> None:
    import asyncio

    database = Database(Settings(storage=Storage(dsn=postgres_dsn)))
    async with three_terms(postgres_dsn) as teller:
        await teller.looks(JANUARY)
        teller.now = on(1, 25)
        async with await database.connect(Role.CORE) as one, await database.connect(Role.CORE) as other:
            await asyncio.gather(teller.clock.work_due(one), teller.clock.work_due(other))
        assert teller.told() == [("ending", -7, 93000)]
        assert len(teller.outbox()) == 1


async def test_an_upgrade_tells_what_is_due_now_and_not_the_past(postgres_dsn: str) -> None:
    """As the migration leaves accounts that were there: armed at the moment of the upgrade."""
    async with three_terms(postgres_dsn) as teller:
        await teller.operator.settles(on(2, 6))
        query(
            postgres_dsn, "UPDATE core.billing SET next_notice_at = %s, armed_at = %s", [on(2, 6), on(2, 6)]
        )
        assert await teller.looks(on(2, 6)) == [("overdue", 3, 93000)]
        assert await teller.looks(on(2, 8)) == [("overdue", 7, 93000)]
