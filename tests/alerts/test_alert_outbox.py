"""From stored events to rows of the outbox, over a real database: the gate, age, keys, throttle, budgets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
from msgspec.structs import replace
from psycopg import AsyncConnection

from tests.alerts.world import MAIL, NOON, Recipient, Rule
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_server.alerts.rules import AlertEvent, Household
from tracker_server.aside import let_go
from tracker_server.config import Alerts, Settings, Storage
from tracker_server.gate import Block
from tracker_server.metrics import Metrics
from tracker_server.pipeline.alert_book import AlertBook
from tracker_server.pipeline.trackers import Tracker, Trackers
from tracker_server.storage.alert_feed import AlertFeed
from tracker_server.storage.alert_log import alert_log
from tracker_server.storage.alert_outbox import AlertWriter
from tracker_server.storage.alert_rules import add_rule, read_households
from tracker_server.storage.database import Database, Role
from tracker_server.storage.outbox import Outbox

MINUTE = timedelta(minutes=1)


class World:
    """Account Norte with trackers T1 and T2, and a writer whose clock is in our hands."""

    def __init__(self, dsn: str, database: Database, connection: AsyncConnection[Any]) -> None:
        self.dsn = dsn
        self.database = database
        self.connection = connection
        self.trackers = Trackers()
        self.metrics = Metrics()
        self.book = AlertBook("https://example.com/?event={event}&device={device}")
        self.account = query(
            dsn,
            "INSERT INTO core.accounts (name, zone, currency, tariff_id, email, language)"
            " SELECT 'Norte', 'Europe/Madrid', 'EUR', id, 'norte@example.com', 'es' FROM core.tariffs RETURNING id",
        )[0]["id"]
        self.devices: dict[str, int] = {}
        for name in ("T1", "T2"):
            row = query(
                dsn,
                f"INSERT INTO core.devices (unique_id, account_id, name) VALUES ('{name}', {self.account}, 'Van {name}') RETURNING id",
            )[0]
            self.devices[name] = row["id"]
            self.trackers.add(Tracker(name, row["id"], self.account))

    async def rule(self, rule: Rule = MAIL) -> int:
        made = await add_rule(self.connection, self.account, rule)
        self.book.put_all(await read_households(self.connection))
        return made

    def writer(self, **settings: Any) -> AlertWriter:
        return AlertWriter(self.book, self.trackers, Alerts(**settings), self.metrics)

    def happened(self, kind: str = "geofenceEnter", device: str = "T1", at: datetime = NOON, **more: Any) -> AlertEvent:  # fmt: skip
        """An event as the track engine stores it."""
        query(self.dsn, f"SELECT core.ensure_days(ARRAY['{at.date()}'::date])")
        (row,) = query(
            self.dsn,
            f"INSERT INTO core.events (device_id, type, occurred_at) VALUES ({self.devices[device]}, '{kind}', '{at.isoformat()}')"
            " RETURNING id",
        )
        return AlertEvent(
            id=row["id"],
            device_id=self.devices[device],
            account_id=self.account,
            unique_id=device,
            name=f"Van {device}",
            type=kind,
            occurred_at=at,
            **more,
        )

    async def write(self, *events: AlertEvent, now: datetime = NOON, **settings: Any) -> None:
        async with self.connection.transaction():
            await self.writer(**settings).write_alerts(self.connection, events, now)

    async def rewritten(self, wrong: AlertEvent, *events: AlertEvent) -> None:
        """A late fix: one event is superseded and others take its place, in one transaction."""
        async with self.connection.transaction():
            await self.connection.execute(
                "UPDATE core.events SET superseded = true, superseded_at = now() WHERE id = %s", [wrong.id]
            )
            await self.writer().write_alerts(self.connection, events, NOON)

    def rows(self) -> list[tuple[str, str | None]]:
        """Recipient and why it was withheld, of each message."""
        found = query(self.dsn, "SELECT recipient, withheld FROM core.outbox ORDER BY id")
        return [(row["recipient"], row["withheld"]) for row in found]


@asynccontextmanager
async def world(dsn: str) -> AsyncGenerator[World]:
    database = Database(Settings(storage=Storage(dsn=dsn)))
    async with await database.connect(Role.CORE) as connection:
        yield World(dsn, database, connection)


async def test_an_event_becomes_one_message_for_each_recipient_once(home_dsn: str) -> None:
    async with world(home_dsn) as at:
        rule = await at.rule(
            replace(
                MAIL, recipients=(Recipient("email", "a@example.com"), Recipient("email", "b@example.com"))
            )
        )
        entered = at.happened(
            fence_id=5, fence="Depot", latitude=40.4, longitude=-3.7, attributes={"alarm": "x", "y": [1]}
        )
        await at.write(entered, at.happened("geofenceExit"))
        await at.write(entered)
        (first, second) = query(at.dsn, "SELECT * FROM core.outbox ORDER BY id")
        assert [first["recipient"], second["recipient"]] == ["a@example.com", "b@example.com"]
        assert first["key"] == f"alert:{entered.id}:{rule}:email:a@example.com"
        assert (first["event_type"], first["event_at"], first["fence_id"]) == ("geofenceEnter", NOON, 5)
        assert first["due_at"] == first["next_at"] == NOON
        payload = first["payload"]
        assert payload["fence"] == "Depot"
        assert payload["facts"] == {"alarm": "x"}
        assert payload["place"] == {"latitude": 40.4, "longitude": -3.7}
        assert payload["link"] == f"https://example.com/?event={entered.id}&device={at.devices['T1']}"


async def test_nothing_is_written_of_a_hidden_tracker_and_its_event_says_so(home_dsn: str) -> None:
    async with world(home_dsn) as at:
        await at.rule()
        hidden = at.trackers.by_id(at.devices["T1"])
        assert hidden is not None
        hidden.blocks = (Block("billing", NOON - MINUTE),)
        await at.write(at.happened(), at.happened(device="T2"))
        assert at.rows() == [("norte@example.com", None)]
        events = query(at.dsn, "SELECT device_id, attributes FROM core.events ORDER BY id")
        assert [row["attributes"] for row in events] == [{"suppressed": True}, {}]
        hidden.blocks = (Block("billing", NOON + MINUTE),)
        await at.write(at.happened(at=NOON))
        assert len(at.rows()) == 2, "a block that begins later hides nothing yet"


async def test_what_happened_while_it_was_hidden_is_not_told_later(home_dsn: str) -> None:
    """From the first instant of the block to the last, also of a neighbour; before and after it is told."""
    async with world(home_dsn) as at:
        await at.rule(replace(MAIL, types=("allEvents",)))
        (row,) = query(at.dsn, "SELECT date_trunc('second', now()) AS now")
        now, since = row["now"], row["now"] - 3 * MINUTE
        for name, reason in (("T1", "billing"), ("T1", "hold"), ("T2", "suspension")):
            began = since if reason == "billing" else now - 2 * MINUTE
            values = [at.devices[name], reason, began]
            query(at.dsn, "INSERT INTO core.blocks (device_id, reason, since) VALUES (%s, %s, %s)", values)
        query(
            at.dsn, "UPDATE core.blocks SET since = now() + interval '1 day' WHERE reason = 'billing'"
        )  # paid
        query(at.dsn, "DELETE FROM core.blocks WHERE reason <> 'billing'")
        near = {"other_id": at.devices["T2"]}
        told = [
            at.happened(at=since - timedelta(seconds=1)),
            at.happened(at=now + 10 * MINUTE),
            at.happened("proximityEnter", at=since - MINUTE, attributes=near),
        ]
        silent = [
            at.happened(at=since),
            at.happened(at=now - MINUTE),
            at.happened("geofenceExit", device="T2", at=now - MINUTE),
            at.happened("proximityEnter", at=now - MINUTE, attributes=near),
        ]
        await at.write(*told, *silent, now=now + 10 * MINUTE)
        rows = query(at.dsn, "SELECT event_id FROM core.outbox")
        assert {row["event_id"] for row in rows} == {event.id for event in told}
        marked = query(at.dsn, "SELECT id FROM core.events WHERE attributes ? 'suppressed'")
        assert {row["id"] for row in marked} == {event.id for event in silent}


async def test_an_event_about_a_hidden_neighbour_is_not_told(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        await at.rule(replace(MAIL, types=("allEvents",)))
        neighbour = at.trackers.by_id(at.devices["T2"])
        assert neighbour is not None
        near = {"other_id": at.devices["T2"]}
        await at.write(at.happened("proximityEnter", attributes=near))
        assert len(at.rows()) == 1
        async with Outbox(at.database).desk() as desk:
            assert [message.hidden for message in await desk.due("email", NOON, (), 9)] == [False]
            query(
                at.dsn,
                f"INSERT INTO core.blocks (device_id, reason, since) VALUES ({at.devices['T2']}, 'hold', now())",
            )
            assert [message.hidden for message in await desk.due("email", NOON, (), 9)] == [True]
        async with await at.database.connect(Role.DISPLAY) as display:
            assert [row async for row in alert_log(display, gated=True, receipt_hours=72)] == []
        neighbour.blocks = (Block("hold", NOON - MINUTE),)
        await at.write(at.happened("proximityExit", attributes=near))
        await at.write(
            at.happened("unaccompaniedMotion", attributes={"companion_ids": [at.devices["T2"]]}),
            at.happened("proximityExit", attributes={"other_id": 10**9}),
        )
        assert len(at.rows()) == 1


async def test_old_news_is_told_to_nobody(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        await at.rule()
        await at.write(at.happened(at=NOON - 15 * MINUTE))
        await at.write(at.happened(at=NOON - 15 * MINUTE - timedelta(seconds=1)))
        assert len(at.rows()) == 1
        await at.write(at.happened(at=NOON - 5 * MINUTE), age_max_s=60)
        assert len(at.rows()) == 1


async def test_the_throttle(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        await at.rule(replace(MAIL, types=("allEvents",), throttle_s=600))
        await at.write(at.happened(at=NOON), at.happened(at=NOON + MINUTE))
        await at.write(at.happened(at=NOON + 5 * MINUTE), now=NOON + 5 * MINUTE)
        await at.write(at.happened("geofenceExit", at=NOON + 5 * MINUTE), now=NOON + 5 * MINUTE)
        await at.write(at.happened(device="T2", at=NOON + 5 * MINUTE), now=NOON + 5 * MINUTE)
        await at.write(at.happened(at=NOON + 10 * MINUTE), now=NOON + 10 * MINUTE)
        assert [withheld for _, withheld in at.rows()] == [None, "throttled", "throttled", None, None, None]


async def test_what_moves_in_time_is_not_told_twice(home_dsn: str) -> None:
    async with world(home_dsn) as at:
        await at.rule()
        first = at.happened(fence_id=5)
        await at.write(first)
        moved = at.happened(at=NOON - MINUTE, fence_id=5)
        elsewhere = at.happened(at=NOON - MINUTE, fence_id=6)
        await at.rewritten(first, moved, elsewhere)
        assert [withheld for _, withheld in at.rows()] == [None, "repeated", None]
        again = at.happened(at=NOON - 2 * MINUTE, fence_id=5)
        await at.rewritten(moved, again)
        assert [withheld for _, withheld in at.rows()] == [None, "repeated", None, "repeated"]
        # what happens next is news, however soon after
        await at.write(at.happened(at=NOON + MINUTE, fence_id=5))
        assert at.rows()[-1] == ("norte@example.com", None)


async def test_budgets_are_by_local_day_and_by_the_hour_and_every_overrun_is_logged(
    postgres_dsn: str,
) -> None:
    async with world(postgres_dsn) as at:
        await at.rule(
            replace(MAIL, channels=("email", "sms"), recipients=(Recipient("sms", "+34600111222"),))
        )
        limits = {"sms_per_day_max": 2, "mails_per_hour_max": 3}
        for minute in range(5):
            moment = NOON + minute * MINUTE
            await at.write(at.happened(at=moment), now=moment, **limits)
        told = {
            row["channel"]: (row["sent"], row["over"])
            for row in query(
                at.dsn,
                "SELECT channel, count(*) FILTER (WHERE withheld IS NULL) AS sent,"
                " count(*) FILTER (WHERE withheld = 'budget') AS over FROM core.outbox GROUP BY 1",
            )
        }
        assert told == {"email": (3, 2), "sms": (2, 3)}
        later = NOON + 61 * MINUTE
        await at.write(at.happened(at=later), now=later, **limits)
        midnight = NOON.replace(hour=23)  # 00:00 in Madrid
        await at.write(at.happened(at=midnight), now=midnight, **limits)
        told = query(
            at.dsn,
            "SELECT channel, count(*) AS n FROM core.outbox WHERE withheld IS NULL GROUP BY 1 ORDER BY 1",
        )
        assert [(row["channel"], row["n"]) for row in told] == [("email", 5), ("sms", 3)]


async def test_nobody_to_send_to_stands_in_the_log(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        await at.rule(replace(MAIL, channels=("sms",)))
        await at.write(at.happened())
        assert at.rows() == [("-", "undelivered")]


async def test_no_query_where_no_rule_matches(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        await at.rule()
        event = at.happened("media")
    # the connection is closed: a query would raise
    await at.writer().write_alerts(at.connection, [event], NOON)


async def test_what_the_database_refuses_costs_the_alert_and_not_the_event(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        await at.rule()
        query(at.dsn, "ALTER TABLE core.outbox ADD CHECK (recipient <> 'norte@example.com')")
        async with at.connection.transaction():
            await at.connection.execute("UPDATE core.accounts SET messenger = 'still here'")
            await at.writer().write_alerts(at.connection, [at.happened()], NOON)
        assert query(at.dsn, "SELECT DISTINCT messenger FROM core.accounts") == [{"messenger": "still here"}]
        assert at.metrics.registry.get_sample_value("tracker_alerts_failed_total") == 1


async def test_the_customer_reads_his_log_through_the_gate(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        await at.rule()
        await at.write(at.happened(), at.happened(device="T2"))
        database = Database(Settings(storage=Storage(dsn=postgres_dsn)))
        query(
            at.dsn,
            f"INSERT INTO core.blocks (device_id, reason, since) VALUES ({at.devices['T1']}, 'hold', now() - interval '1 day')",
        )
        async with await database.connect(Role.DISPLAY) as display:
            rows = await (await display.execute("SELECT unique_id FROM display.alerts")).fetchall()
        assert rows == [("T2",)]


async def test_a_rule_of_a_newer_program_is_kept_and_tells_nothing(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        with psycopg.connect(postgres_dsn) as owner:
            owner.execute(
                "INSERT INTO core.alert_rules (account_id, rule) VALUES (%s, '{\"types\": 3}')", [at.account]
            )
        await at.rule()
        await at.write(at.happened())
        assert len(at.rows()) == 1


async def test_the_page_is_told_by_notify_and_the_log_has_it(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        await at.rule(replace(MAIL, channels=("web",)))
        database = Database(Settings(storage=Storage(dsn=postgres_dsn)))
        async with await database.connect(Role.CORE) as listening:
            await listening.execute("LISTEN tracker_web")
            await at.write(at.happened(fence="Depot"))
            told = [notify.payload async for notify in listening.notifies(timeout=10, stop_after=1)]
        (row,) = query(at.dsn, "SELECT id, recipient, body, delivered_at, attempts FROM core.outbox")
        assert told == [str(row["id"])]
        assert row["body"] == "Van T1 ha entrado en Depot"
        assert (row["recipient"], row["delivered_at"], row["attempts"]) == ("web", NOON, 0)


async def test_what_is_linked_to_a_rule_and_who_made_it(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        rule = await at.rule(replace(MAIL, always=False))
        user, outer, inner = (
            query(at.dsn, statement)[0]["id"]
            for statement in (
                (
                    "INSERT INTO core.users (email, name, role, account_id, restricted)"
                    f" VALUES ('u@example.com', 'U', 'viewer', {at.account}, true) RETURNING id"
                ),
                f"INSERT INTO core.groups (account_id, name) VALUES ({at.account}, 'outer') RETURNING id",
                (
                    f"INSERT INTO core.groups (account_id, name, group_id) SELECT {at.account}, 'inner', max(id)"
                    " FROM core.groups RETURNING id"
                ),
            )
        )
        query(at.dsn, f"UPDATE core.devices SET group_id = {inner} WHERE id = {at.devices['T2']}")

        def link(owner: str, owner_id: int, kind: str, object_id: int) -> None:
            query(at.dsn, f"INSERT INTO core.links VALUES ('{owner}', {owner_id}, '{kind}', {object_id})")

        async def told(device: str) -> bool:
            at.book.put_all(await read_households(at.connection))
            return bool(at.book.told(at.happened(device=device), NOON))

        assert not await told("T1")
        link("device", at.devices["T1"], "notification", rule)
        link("group", outer, "notification", rule)
        assert await told("T1")
        assert await told("T2"), "its group is in the linked one"
        query(at.dsn, f"UPDATE core.alert_rules SET user_id = {user}")
        assert not await told("T1"), "its maker sees no tracker yet"
        link("user", user, "group", outer)
        assert not await told("T1")
        assert await told("T2")
        query(at.dsn, "UPDATE core.users SET disabled = true")
        assert not await told("T2")
        query(
            at.dsn,
            "UPDATE core.users SET disabled = false, role = 'admin', account_id = NULL, restricted = false",
        )
        assert await told("T1"), "the operator's people see all"


class Noted(AlertBook):
    """Notes which accounts were read again."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[int] = []

    def put(self, account_id: int, household: Household | None) -> None:
        self.read.append(account_id)
        super().put(account_id, household)


async def test_only_the_rules_that_a_change_concerns_are_read_again(postgres_dsn: str) -> None:
    async with world(postgres_dsn) as at:
        north = at.account
        south: int = query(
            at.dsn,
            "INSERT INTO core.accounts (name, zone, currency, tariff_id) SELECT 'Sur', 'UTC', 'EUR', id FROM core.tariffs RETURNING id",
        )[0]["id"]
        rule = await at.rule()
        await add_rule(at.connection, south, MAIL)
        user, chief = (
            query(
                at.dsn,
                "INSERT INTO core.users (email, name, role, account_id) VALUES (%s, 'U', %s, %s) RETURNING id",
                [email, role, account],
            )[0]["id"]
            for email, role, account in (("u@example.com", "viewer", north), ("o@example.com", "admin", None))
        )
        book = Noted()
        feed = AlertFeed(at.database, book)
        feeding = asyncio.create_task(feed.run())
        await feed.ready.wait()
        assert book.read == []

        async def concerns(statement: str, *accounts: int) -> None:
            """What is told of nobody's rules is not waited for: it would be read with what comes after."""
            query(at.dsn, statement)
            await asyncio.to_thread(wait_until, statement, lambda: len(book.read) >= len(accounts), 60)
            assert sorted(book.read) == sorted(accounts), statement
            book.read.clear()

        device = at.devices["T1"]
        await concerns(f"INSERT INTO core.links VALUES ('device', {device}, 'notification', {rule})", north)
        linked = book.household(north)
        assert linked is not None
        assert linked.rules[0].rule.device_ids == (device,)
        await concerns("DELETE FROM core.links", north)
        await concerns(f"INSERT INTO core.links VALUES ('device', {device}, 'calendar', 1)")
        await concerns(f"INSERT INTO core.links VALUES ('user', {user}, 'device', {device})", north)
        await concerns(f"UPDATE core.users SET account_id = {south} WHERE id = {user}", north, south)
        assert (book.accounts_with({user}), book.accounts_with({chief})) == ({south}, set())
        await concerns(f"UPDATE core.users SET name = 'V' WHERE id = {user}", south)
        await concerns(f"UPDATE core.users SET name = 'V' WHERE id = {chief}")
        await concerns(f"UPDATE core.alert_rules SET user_id = {chief} WHERE id = {rule}", north)
        await concerns(f"UPDATE core.users SET disabled = true WHERE id = {chief}", north)
        await concerns(f"INSERT INTO core.groups (account_id, name) VALUES ({south}, 'G')", south)
        await concerns(f"DELETE FROM core.users WHERE id = {user}", south)
        await let_go([feeding])
