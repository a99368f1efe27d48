"""The outbox over a real database: at least once, in order, with growing pauses, and nothing given up in silence."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection

from tests.notify.mail_server import MailServer
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_server.alerts.letters import TestLetter, encode
from tracker_server.config import Settings, Smtp, Storage
from tracker_server.metrics import Metrics
from tracker_server.notify.smtp import SmtpChannel
from tracker_server.pipeline.dispatcher import (
    DOWN_MAX,
    PAUSE_MAX,
    Channel,
    Delivered,
    Dispatcher,
    Failed,
    Held,
    Outgoing,
    PermanentError,
    Postponed,
    TemporaryError,
    pause,
)
from tracker_server.storage.database import Database, Role
from tracker_server.storage.outbox import (
    NewMessage,
    Outbox,
    OutboxDesk,
    drop,
    enqueue,
    messages,
    prune,
    retry,
)

NOON = datetime(2027, 2, 15, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


class Office:
    """An outbox, and a dispatcher whose clock is in our hands."""

    def __init__(self, dsn: str, connection: AsyncConnection[Any]) -> None:
        self.dsn = dsn
        self.connection = connection
        self.outbox = Outbox(Database(Settings(storage=Storage(dsn=dsn))))
        self.clock = Clock()
        self.metrics = Metrics()
        self.desk = OutboxDesk(connection, connection)
        self._numbers = itertools.count(1)
        self._open: list[SmtpChannel] = []

    def smtp(self, server: MailServer) -> SmtpChannel:
        """The e-mail channel to a server, until the end of the test."""
        made = SmtpChannel(Smtp(host="127.0.0.1", port=server.port, tls="none", sender="a@example.com"))
        self._open.append(made)
        return made

    async def close(self) -> None:
        for channel in self._open:
            await channel.close()

    def dispatcher(self, *channels: Channel, age_max: timedelta = 72 * HOUR) -> Dispatcher:
        return Dispatcher(
            self.outbox,
            {channel.name: channel for channel in channels},
            self.metrics,
            age_max=age_max,
            now=self.clock,
            chance=lambda: 0.0,
        )

    async def writes(self, *recipients: str, account: int | None = None, channel: str = "email", due: datetime | None = None, device: int | None = None) -> None:  # fmt: skip
        letter = encode(TestLetter())
        new = [
            NewMessage(f"m{next(self._numbers)}", channel, to, account, letter, due or self.clock.now, device)
            for to in recipients
        ]
        await enqueue(self.connection, new, self.clock.now)

    async def all_due(self, dispatcher: Dispatcher) -> list[Any]:
        """Deliver all that is due at this moment; answers what became of each attempt."""
        fates: list[Any] = []
        while some := await dispatcher.deliver_due(self.desk):
            fates += some
        return [fate for fate in fates if not isinstance(fate, Held)]

    def rows(self) -> list[tuple[str, str, int]]:
        found = query(
            self.dsn,
            "SELECT key, attempts, CASE WHEN delivered_at IS NOT NULL THEN 'delivered' WHEN failed_at IS NOT NULL"
            " THEN 'failed' ELSE 'waiting' END AS state FROM core.outbox ORDER BY id",
        )
        return [(row["key"], row["state"], row["attempts"]) for row in found]

    def account(self) -> int:
        return query(self.dsn, "SELECT id FROM core.accounts WHERE name = 'default'")[0]["id"]

    def devices(self, count: int) -> list[int]:
        rows = query(
            self.dsn,
            "INSERT INTO core.devices (unique_id, account_id, name) SELECT 'T' || n, a.id, 'T' || n"
            f" FROM core.accounts a, generate_series(1, {count}) n WHERE a.name = 'default' RETURNING id",
        )
        return [row["id"] for row in rows]

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def office(dsn: str) -> AsyncGenerator[Office]:
    database = Database(Settings(storage=Storage(dsn=dsn)))
    async with await database.connect(Role.CORE) as connection:
        opened = Office(dsn, connection)
        try:
            yield opened
        finally:
            await opened.close()


class Recorded:
    """A channel of our own: notes what it is given, and answers what it is told to."""

    at_once = 1

    def __init__(self, name: str = "email") -> None:
        self.name = name
        self.given: list[str] = []
        self.answer: Callable[[Outgoing], Exception | None] = lambda _: None
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Queue[str]()

    async def send(self, message: Outgoing) -> None:
        self.given.append(message.key)
        self.entered.put_nowait(message.key)
        if self.gate is not None:
            await self.gate.wait()
        error = self.answer(message)
        if error is not None:
            raise error

    async def close(self) -> None:
        return


def test_pauses_grow_are_shortened_by_chance_and_end_somewhere() -> None:
    second = timedelta(seconds=1)
    seconds = [pause(n, second, 60 * second, 0.0).total_seconds() for n in range(1, 10)]
    assert seconds == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert pause(4, second, 60 * second, 1.0) == 4 * second
    assert pause(10**6, second, 60 * second, 0.5) == 45 * second


async def test_delivered_once_and_never_again(postgres_dsn: str, mail_server: MailServer) -> None:
    async with office(postgres_dsn) as at:
        await at.writes("a@example.com", "b@example.com")
        dispatcher = at.dispatcher(at.smtp(mail_server))
        assert await at.all_due(dispatcher) == [Delivered(NOON), Delivered(NOON)]
        assert await at.all_due(dispatcher) == []
        assert sorted(mail_server.recipients) == ["a@example.com", "b@example.com"]
        assert at.rows() == [("m1", "delivered", 1), ("m2", "delivered", 1)]
        assert at.metric("tracker_outbox_delivered_total", channel="email") == 2


async def test_the_same_key_is_written_once(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        new = NewMessage("k", "email", "a@example.com", None, {}, NOON)
        await enqueue(at.connection, [new, new], NOON)
        await enqueue(at.connection, [new], NOON)
        assert at.rows() == [("k", "waiting", 0)]


async def test_nothing_is_sent_before_it_is_due(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        channel = Recorded()
        dispatcher = at.dispatcher(channel)
        account = at.account()
        await at.writes("a@example.com", account=account, due=NOON + HOUR)
        await at.writes("a@example.com", account=account)
        await at.all_due(dispatcher)
        assert channel.given == ["m2"], "what is due tomorrow holds up nothing today"
        at.clock.now += HOUR
        await at.all_due(dispatcher)
        assert channel.given == ["m2", "m1"]


async def test_an_hour_without_a_mail_server_delays_and_loses_nothing(postgres_dsn: str) -> None:
    server = MailServer()
    async with office(postgres_dsn) as at:
        dispatcher = at.dispatcher(at.smtp(server))
        account = at.account()
        await at.writes(*["first@example.com"] * 3, account=account)
        await at.writes("second@example.com")
        attempts = 0
        while at.clock.now < NOON + HOUR:
            for fate in await at.all_due(dispatcher):
                assert isinstance(fate, Postponed)
                assert fate.next_at - at.clock.now <= DOWN_MAX
                attempts += 1
            at.clock.now += MINUTE / 2
        assert 30 < attempts < 130, "tried again and again, but not in a frenzy"
        with server.running():
            at.clock.now += DOWN_MAX
            await at.all_due(dispatcher)
        assert {state for _, state, _ in at.rows()} == {"delivered"}
        assert sorted(server.recipients) == ["first@example.com"] * 3 + ["second@example.com"]
        firsts = [mail["Message-ID"] for mail in server.taken if mail["To"] == "first@example.com"]
        assert len(set(firsts)) == 3
        assert at.metric("tracker_outbox_postponed_total", channel="email") == attempts


async def test_a_channel_that_is_down_is_left_alone_for_a_while(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        channel = Recorded()
        channel.answer = lambda _: TemporaryError("nobody there", down=True)
        await at.writes(*(f"{n}@example.com" for n in range(50)))
        dispatcher = at.dispatcher(channel)
        assert len(await at.all_due(dispatcher)) == 1, "the other 49 are not tried"
        assert dispatcher.ready(at.clock.now) == ()
        at.clock.now += DOWN_MAX
        channel.answer = lambda _: None
        assert len(await at.all_due(dispatcher)) == 50


async def test_greylisting(postgres_dsn: str, mail_server: MailServer) -> None:
    async with office(postgres_dsn) as at:
        mail_server.answers = ["451 4.7.1 come back later"] * 3
        await at.writes("grey@example.com")
        dispatcher = at.dispatcher(at.smtp(mail_server))
        pauses: list[float] = []
        for _ in range(3):
            (fate,) = await at.all_due(dispatcher)
            assert isinstance(fate, Postponed)
            assert await at.all_due(dispatcher) == [], "not before its time"
            pauses.append((fate.next_at - at.clock.now).total_seconds())
            at.clock.now = fate.next_at
        assert pauses == [5, 10, 20]
        assert await at.all_due(dispatcher) == [Delivered(at.clock.now)]


async def test_a_permanent_refusal_fails_that_one_and_no_other(
    postgres_dsn: str, mail_server: MailServer
) -> None:
    async with office(postgres_dsn) as at:
        mail_server.answers = ["550 5.1.1 no such user here"]
        await at.writes("gone@example.com", "there@example.com")
        dispatcher = at.dispatcher(at.smtp(mail_server))
        first, second = await at.all_due(dispatcher)
        assert isinstance(first, Failed)
        assert isinstance(second, Delivered)
        (listed,) = [row async for row in messages(at.connection, "failed", None, None)]
        assert (listed["recipient"], listed["error"]) == ("gone@example.com", "550 5.1.1 no such user here")
        assert at.metric("tracker_outbox_failed_total", channel="email") == 1


async def test_one_accounts_messages_keep_their_order(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        channel = Recorded()
        refuse = {"m1"}
        channel.answer = lambda message: TemporaryError("not now") if message.key in refuse else None
        account = at.account()
        await at.writes("a@example.com", "a@example.com", account=account)
        await at.writes("b@example.com")
        dispatcher = at.dispatcher(channel)
        await at.all_due(dispatcher)
        assert channel.given == ["m1", "m3"], "m2 waits behind m1, and keeps nobody else waiting"
        refuse.clear()
        at.clock.now += PAUSE_MAX
        await at.all_due(dispatcher)
        assert channel.given == ["m1", "m3", "m1", "m2"]


async def test_lanes_go_side_by_side_and_each_keeps_its_order(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        channel = Recorded()
        channel.at_once = 10
        channel.gate = asyncio.Event()
        account = at.account()
        await at.writes("a@example.com", "a@example.com", account=account)
        await at.writes("b@example.com")
        dispatcher = at.dispatcher(channel)
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            tasks.create_task(dispatcher.deliver_due(at.desk))
            await channel.entered.get()
            await channel.entered.get()
            assert channel.given == ["m1", "m3"], "m1 is in hand, and m2 is behind it"
            channel.gate.set()
        assert channel.given == ["m1", "m3", "m2"]
        assert {(state, attempts) for _, state, attempts in at.rows()} == {("delivered", 1)}


async def test_trackers_do_not_wait_for_each_other(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        channel = Recorded()
        refuse = {"m1"}
        channel.answer = lambda message: TemporaryError("not now") if message.key in refuse else None
        account, devices = at.account(), at.devices(2)
        for device in (devices[0], devices[1], devices[0]):
            await at.writes("a@example.com", account=account, device=device)
        dispatcher = at.dispatcher(channel)
        await at.all_due(dispatcher)
        assert channel.given == ["m1", "m2"], "m3 is the first tracker's, and waits behind m1"
        await at.writes("a@example.com", account=account, device=devices[0])
        refuse.clear()
        at.clock.now += MINUTE
        await at.all_due(dispatcher)
        assert channel.given[2:] == ["m1", "m3", "m4"], "what was written meanwhile comes last all the same"


async def test_one_process_delivers_and_the_next_takes_over_when_it_dies(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        async with at.outbox.desk() as first:
            await first.take_over()
            async with at.outbox.desk() as second:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.3):
                        await second.take_over()
        async with asyncio.timeout(10), at.outbox.desk() as second:
            await second.take_over()


async def test_what_was_sent_while_the_database_was_away_is_not_sent_again(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        channel = Recorded()
        channel.gate = asyncio.Event()
        await at.writes("a@example.com", "b@example.com")
        running = asyncio.create_task(at.dispatcher(channel).run())
        try:
            async with asyncio.timeout(10):
                await channel.entered.get()
                query(
                    at.dsn,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND"
                    f" pid NOT IN (pg_backend_pid(), {at.connection.info.backend_pid})",
                )
                channel.gate.set()
            await asyncio.to_thread(
                wait_until, "both", lambda: {state for _, state, _ in at.rows()} == {"delivered"}
            )
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert channel.given == ["m1", "m2"]


async def test_an_alert_of_a_tracker_that_was_hidden_meanwhile_is_never_sent(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        (device,) = at.devices(1)
        channel = Recorded()
        channel.answer = lambda _: TemporaryError("not now")
        await at.writes("a@example.com", account=at.account(), device=device)
        query(at.dsn, "UPDATE core.outbox SET event_id = 1")
        dispatcher = at.dispatcher(channel)
        await at.all_due(dispatcher)
        block = f"INSERT INTO core.blocks (device_id, reason, since) VALUES ({device}, 'billing', now() - interval '1 minute')"
        query(at.dsn, block)
        channel.answer = lambda _: None
        at.clock.now += MINUTE
        await at.all_due(dispatcher)
        query(at.dsn, "DELETE FROM core.blocks")
        at.clock.now += MINUTE
        await at.all_due(dispatcher)
        assert channel.given == ["m1"], "neither while it is hidden nor afterwards"
        (row,) = query(at.dsn, "SELECT withheld, attempts FROM core.outbox")
        assert row == {"withheld": "suppressed", "attempts": 1}
        assert await retry(at.connection, [], at.clock.now, every=True) == []


async def test_hundreds_in_a_second_go_out_together(postgres_dsn: str, mail_server: MailServer) -> None:
    async with office(postgres_dsn) as at:
        await at.writes(*(f"{number}@example.com" for number in range(300)))
        dispatcher = at.dispatcher(at.smtp(mail_server))
        await at.all_due(dispatcher)
        assert len(mail_server.taken) == 300
        assert mail_server.connections <= 8, "connections are kept for the next mail"


async def test_what_is_too_old_is_given_up_and_listed(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        channel = Recorded()
        channel.answer = lambda _: TemporaryError("451 later", down=False)
        await at.writes("a@example.com")
        dispatcher = at.dispatcher(channel, age_max=HOUR)
        fates: list[Any] = []
        while not any(isinstance(fate, Failed) for fate in fates):
            fates += await at.all_due(dispatcher)
            at.clock.now += PAUSE_MAX
            assert at.clock.now < NOON + 3 * HOUR
        assert at.clock.now > NOON + HOUR
        assert "given up after 1:00:00: 451 later" in fates[-1].error
        assert at.rows()[0][1] == "failed"
        # tried again, it has all its time again
        assert await retry(at.connection, [], at.clock.now, every=True) == [1]
        assert isinstance((await at.all_due(dispatcher))[0], Postponed)
        channel.answer = lambda _: None
        at.clock.now += PAUSE_MAX
        assert isinstance((await at.all_due(dispatcher))[0], Delivered)
        assert await retry(at.connection, [1], at.clock.now) == [], "what was delivered is not sent again"
        assert await drop(at.connection, [1]) == []


async def test_after_a_long_stop_everything_is_tried_before_it_is_given_up(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        await at.writes("a@example.com")
        at.clock.now += 1000 * HOUR
        assert await at.all_due(at.dispatcher(Recorded())) == [Delivered(at.clock.now)]


async def test_a_channel_that_is_not_set_up(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        await at.writes("+34600111222", channel="messenger")
        dispatcher = at.dispatcher(Recorded())
        assert await at.all_due(dispatcher) == []
        await dispatcher.tidy(at.desk)
        assert at.rows() == [("m1", "waiting", 0)]
        assert at.metric("tracker_outbox_waiting") == 1
        at.clock.now += 72 * HOUR
        assert at.metric("tracker_outbox_oldest_seconds") == 0
        await dispatcher.tidy(at.desk)
        (row,) = [row async for row in messages(at.connection, "failed", None, None)]
        assert row["error"] == "the channel messenger is not set up"
        assert at.metric("tracker_outbox_given_up") == 1


async def test_a_defect_of_ours_is_told_and_does_not_stop_the_others(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        channel = Recorded()
        channel.answer = lambda message: RuntimeError("oops") if message.key == "m1" else None
        await at.writes("a@example.com", "b@example.com")
        fates = await at.all_due(at.dispatcher(channel))
        assert [type(fate) for fate in fates] == [Postponed, Delivered]
        assert fates[0].error == "a defect of ours: RuntimeError"


async def test_old_news_goes(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        channel = Recorded()
        channel.answer = lambda message: PermanentError("no") if message.key == "m1" else None
        await at.writes("a@example.com", "b@example.com")
        dispatcher = at.dispatcher(channel)
        await at.all_due(dispatcher)
        await at.writes("c@example.com")
        assert await prune(at.connection, NOON) == 0
        assert await prune(at.connection, NOON + timedelta(seconds=1)) == 2
        assert at.rows() == [("m3", "waiting", 0)]


async def test_a_running_dispatcher_hears_of_what_is_written(
    postgres_dsn: str, mail_server: MailServer
) -> None:
    async with office(postgres_dsn) as at:
        dispatcher = at.dispatcher(at.smtp(mail_server))
        running = asyncio.create_task(dispatcher.run())
        try:
            for number in range(1, 4):
                await at.writes("a@example.com")
                await asyncio.to_thread(mail_server.wait_for, number, 8.0)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        wait_until("the rows", lambda: {state for _, state, _ in at.rows()} == {"delivered"})


async def test_a_stop_lets_the_mail_in_hand_finish(postgres_dsn: str) -> None:
    async with office(postgres_dsn) as at:
        channel = Recorded()
        channel.gate = asyncio.Event()
        await at.writes("a@example.com")
        running = asyncio.create_task(at.dispatcher(channel).run())
        async with asyncio.timeout(10):
            await channel.entered.get()
            running.cancel()
            await asyncio.sleep(0)
            channel.gate.set()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert at.rows() == [("m1", "delivered", 1)]
