"""Money through a real server: blocked within a second and told nothing of it, unlocked within a second and all of
it there; killed in the middle, and not a unit lost, doubled or below zero.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import pytest

from tests.cli.history import moments, store
from tests.e2e.talk import conversation, fixes, talking
from tests.e2e.test_answers import metrics
from tests.e2e.test_gate import recorded, shown, stored
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_server.billing.commands import Refund, Sms, TopUp
from tracker_server.billing.state import Settings as BillingSettings
from tracker_server.storage.billing_store import BillingStore

PAID, UNPAID = "356938035643809", "356938035643817"
SOON_S = 1.0  # from the cause to what every reader sees
KILLS = 3
AT_ONCE = 50
TARIFF = (
    "tariff", "add", "Std", "--mode", "balance", "--currency", "RUB", "--monthly", "310.00", "--sms", "5.00",
)  # fmt: skip


def open_shop(running: Running) -> None:
    """Account ``A`` in Moscow on 310.00 RUB a month."""
    says(running, *TARIFF)
    says(running, "account", "add", "A", "--zone", "Europe/Moscow", "--currency", "RUB", "--tariff", "Std")


def says(running: Running, *words: str) -> str:
    """What a command that must succeed printed."""
    done = running.cli(*words)
    assert done.returncode == 0, done
    return done.stdout


def hidden_by_billing(running: Running) -> float:
    """What the server's own gate, in memory, counts."""
    of_ours = [
        line for line in metrics(running) if line.startswith('tracker_devices_hidden{reason="billing"}')
    ]
    return float(of_ours[0].split()[-1]) if of_ours else 0.0


def within_a_second(what: str, condition: Callable[[], bool]) -> None:
    wait_until(what, condition, SOON_S)


def test_r40_unpaid_is_hidden_and_never_deaf(server: Servers, postgres_dsn: str) -> None:
    running = server(dsn=postgres_dsn)
    open_shop(running)
    says(running, "billing", "topup", "A", "310.00", "--key", "p1")
    assert "paid until 20" in says(running, "device", "add", PAID, "--account", "A", "--priority", "1")
    said = says(running, "device", "add", UNPAID, "--account", "A", "--priority", "2")
    assert "blocked: 310.00 RUB due" in said
    within_a_second("the gate in memory to close", lambda: hidden_by_billing(running) == 1)

    assert recorded(running, PAID, "X") == recorded(running, UNPAID, "X")
    assert stored(running, PAID) == stored(running, UNPAID) > 0
    assert shown(running, PAID) == stored(running, PAID)
    assert shown(running, UNPAID) == 0
    told = running.cli("positions", UNPAID, "--format", "json")
    assert (told.returncode, told.stdout) == (0, "[]\n")
    assert "billing (insufficient_funds) since" in told.stderr

    says(running, "billing", "topup", "A", "310.00", "--key", "p2")
    assert shown(running, UNPAID) == stored(running, UNPAID), "the commit of the top-up is the unlocking"
    within_a_second("the gate in memory to open", lambda: hidden_by_billing(running) == 0)
    assert says(running, "billing", "verify").endswith("as the journal says\n")


def test_an_unknown_tracker_of_a_paid_account_is_hidden_before_long(
    server: Servers, postgres_dsn: str
) -> None:
    """Registered by its first frame: the clock charges or blocks it, whoever added it."""
    settings = {"devices.unknown": "register", "devices.unknown_account": "A", "billing.currency": "RUB"}
    running = server(settings, dsn=postgres_dsn, protocols=["gt06"])
    says(running, *TARIFF)
    says(running, "billing", "switch", "A", "Std")  # the server made the account, on the free tariff
    said = conversation("gt06", UNPAID, fixes(5))
    with talking(running.addresses["gt06"]) as talk:
        for outgoing in said:
            assert talk.ask(outgoing) == outgoing.answer
        within_a_second("the block", lambda: hidden_by_billing(running) == 1)
        assert (stored(running, UNPAID), shown(running, UNPAID)) == (5, 0)
        assert talk.ask(said[-1]) == said[-1].answer
    says(running, "billing", "topup", "A", "310.00", "--key", "p1")
    assert shown(running, UNPAID) == 5


def test_unlocking_touches_as_many_rows_whatever_waits(server: Servers, postgres_dsn: str) -> None:
    """Counted in rows written, not in time: 20 waiting fixes or 200,000."""
    running = server(dsn=postgres_dsn, protocols=["gt06"])
    open_shop(running)
    running.stop()  # its clocks write rows of their own, at moments of their own
    written: dict[int, int] = {}
    for number, waiting in enumerate(
        (5, 20, 200_000)
    ):  # the first payment also begins the series of invoices
        name = f"T{waiting}"
        says(running, "device", "add", name, "--account", "A")
        fill(running.dsn, name, waiting)
        assert (stored(running, name), shown(running, name)) == (waiting, 0)
        before = rows_written(running.dsn)
        says(running, "billing", "topup", "A", "310.00", "--key", f"p{number}")
        written[waiting] = rows_written(running.dsn) - before
        assert shown(running, name) == waiting
    assert written[20] == written[200_000] > 0


def fill(dsn: str, unique_id: str, number: int) -> None:
    query(dsn, "SELECT core.ensure_days(ARRAY[current_date])")
    query(
        dsn,
        "INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)"
        " SELECT d.id, current_date + n * interval '100 ms', clock_timestamp(), n, 52, 21, true, 'gt06'"
        " FROM core.devices d, generate_series(1, %s) n WHERE d.unique_id = %s",
        [number, unique_id],
    )


def rows_written(dsn: str) -> int:
    """Rows that were inserted, updated and deleted in this database so far, the planner's notes aside."""
    with psycopg.connect(dsn, autocommit=True) as connection:

        def read() -> int:
            row = connection.execute(
                "SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables"
            ).fetchone()
            assert row is not None
            return row[0]

        last, since = read(), time.monotonic()
        while time.monotonic() - since < 1.5:  # sessions report what they wrote within a second
            if (now := read()) != last:
                last, since = now, time.monotonic()
            connection.execute("SELECT pg_sleep(0.05)")
        return last


@pytest.mark.parametrize("victim", ["server", "database", "both"])
async def test_kill_9_neither_loses_nor_doubles_money(server: Servers, victim: str) -> None:
    """Fifty hands on one balance: top-ups, debits and refunds, each repeated until it is answered."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    running = server(protocols=["gt06"])
    open_shop(running)
    says(running, "billing", "topup", "A", "1000.00", "--key", "first")
    account = query(running.dsn, "SELECT id FROM core.accounts WHERE name = 'A'")[0]["id"]
    answered: list[str] = []
    progress = asyncio.Condition()

    async def hand(number: int) -> None:
        commands = (
            TopUp(key=f"p{number}", amount_minor=700),
            Sms(key=f"s{number}", text="hello"),
            Refund(key=f"r{number}", amount_minor=900),
        )
        for turn in range(3):
            command = commands[(number + turn) % 3]
            while True:
                try:
                    async with await psycopg.AsyncConnection.connect(
                        running.dsn, autocommit=True
                    ) as connection:
                        outcome = await BillingStore(BillingSettings()).act(
                            connection, account, command, datetime.now(UTC)
                        )
                    break
                except psycopg.OperationalError:
                    await asyncio.sleep(0.1)  # a hand that was cut off asks again
            async with progress:
                answered.append(type(outcome.answer).__name__)
                progress.notify_all()

    hands = [asyncio.create_task(hand(number)) for number in range(AT_ONCE)]
    for kill in range(KILLS):
        wanted = (kill + chance.random()) * 3 * AT_ONCE / KILLS * 0.8
        async with progress:
            await progress.wait_for(lambda wanted=wanted: len(answered) >= wanted)
        if victim in {"database", "both"}:
            running.kill_database()
        if victim in {"server", "both"}:
            await asyncio.to_thread(running.kill)
            await asyncio.to_thread(running.launch)
    await asyncio.gather(*hands)

    rows = query(
        running.dsn, "SELECT amount_minor, balance_minor, key FROM core.ledger ORDER BY account_id, number"
    )
    assert len({row["key"] for row in rows}) == len(rows), "nothing twice"
    assert min(row["balance_minor"] for row in rows) >= 0
    assert sum(row["amount_minor"] for row in rows) == rows[-1]["balance_minor"]
    topups = [row for row in rows if row["key"].startswith("topup:p")]
    assert len(topups) == AT_ONCE, "every top-up counts"
    done = await asyncio.to_thread(running.cli, "billing", "verify")
    assert done.returncode == 0, done.stderr


def test_r47_the_management_row_says_all_but_where(server: Servers, postgres_dsn: str) -> None:
    """R38, R47, R58: read by the role that customers read with."""
    running = server(dsn=postgres_dsn, protocols=["gt06"])
    open_shop(running)
    says(running, "device", "add", UNPAID, "--account", "A", "--name", "Van 7")
    with talking(running.addresses["gt06"]) as talk:
        for outgoing in conversation("gt06", UNPAID, fixes(7, datetime.now(UTC).replace(microsecond=0))):
            assert talk.ask(outgoing) == outgoing.answer
    with psycopg.connect(running.dsn) as customer:
        customer.execute("SET ROLE tracker_display")
        cursor = customer.execute("SELECT * FROM display.management")
        assert cursor.description
        row = dict(zip([column.name for column in cursor.description], cursor.fetchall()[0], strict=True))
    assert (row["unique_id"], row["name"], row["state"], row["reason"]) == (
        UNPAID, "Van 7", "blocked", "insufficient_funds",
    )  # fmt: skip
    assert (row["due_minor"], row["currency"], row["waiting"]) == (31000, "RUB", 7)
    assert row["last_contact"] == datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    assert set(row) == {
        "device_id", "unique_id", "account_id", "name", "priority", "test", "state", "reason", "note", "since",
        "due_minor", "currency", "last_contact", "waiting", "purge_at", "back_pay_minor",
    }  # fmt: skip
    listed = says(running, "device", "list", "--format", "csv").splitlines()
    assert "310.00,RUB,7" in listed[1]


def test_history_from_before_the_block_may_stay(server: Servers, postgres_dsn: str) -> None:
    """billing.hide_history_while_blocked = false: what was received before the block; the operator's hold hides all."""
    running = server({"billing.hide_history_while_blocked": "false"}, dsn=postgres_dsn, protocols=["gt06"])
    open_shop(running)
    says(running, "device", "add", UNPAID, "--account", "A", "--test")
    now = datetime.now(UTC)
    before = len(store_all(running, UNPAID, now))
    says(running, "billing", "convert", UNPAID)
    within_a_second("the block", lambda: hidden_by_billing(running) == 1)
    with talking(running.addresses["gt06"]) as talk:
        for outgoing in conversation("gt06", UNPAID, fixes(7)):
            assert talk.ask(outgoing) == outgoing.answer
    assert (stored(running, UNPAID), shown(running, UNPAID)) == (before + 7, before)
    assert query(postgres_dsn, "SELECT FROM display.devices") == [], "it is not on the map"
    told = running.cli("positions", UNPAID, "--format", "json")
    assert "its customer sees only what was received before" in told.stderr
    says(running, "device", "hold", UNPAID, "--reason", "in dispute")
    assert shown(running, UNPAID) == 0
    says(running, "device", "release", UNPAID)
    running.settings["billing.hide_history_while_blocked"] = "true"
    running.restart()
    assert shown(running, UNPAID) == 0
    says(running, "billing", "topup", "A", "310.00", "--key", "p1")
    assert shown(running, UNPAID) == before + 7


def store_all(running: Running, unique_id: str, now: datetime) -> list[object]:
    return list(store(running.dsn, unique_id, moments(now.replace(minute=0, second=0), 5)))
