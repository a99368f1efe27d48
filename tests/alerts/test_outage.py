"""An hour in which nobody can be reached, on a clock of our own: SMTP, SMPP, the HTTP gateway and a webhook's receiver are
away, each in its own way, while events go on. Nothing is lost, nothing is told twice to whoever keeps keys, each
tracker's events come in their order, and an SMS that waited too long has become an e-mail, once.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.alerts.http_peer import HttpPeer
from tests.alerts.test_sms_money import MINUTE, TO, Norte
from tests.alerts.world import MAIL, NOON, Recipient, event
from tests.notify.mail_server import MailServer
from tests.servers.smpp_server import SmppServer
from tests.storage.rows import query
from tracker_server.alerts.rules import Rule
from tracker_server.config import Settings, Smtp, Storage
from tracker_server.config_alerts import Alerts, Smpp, Sms, SmsHttp, Webhooks
from tracker_server.notify import smpp
from tracker_server.notify.messages import message_id
from tracker_server.notify.smpp import SmppProvider
from tracker_server.notify.sms import SmsChannel
from tracker_server.notify.sms_http import HttpGateway
from tracker_server.notify.smtp import SmtpChannel
from tracker_server.notify.webhook import WebhookChannel
from tracker_server.pipeline.alert_book import AlertBook
from tracker_server.pipeline.dispatcher import Channel, TemporaryError
from tracker_server.pipeline.sms import SmsProvider
from tracker_server.pipeline.trackers import Trackers
from tracker_server.storage.alert_outbox import AlertWriter
from tracker_server.storage.alert_rules import add_rule, read_households
from tracker_server.storage.database import Database, Role

VANS = 3
STEP = 3 * MINUTE
BEGINS, ENDS, LAST = 2, 22, 26  # steps: the outage, and the last event
GIVE_UP = timedelta(seconds=Sms().give_up_s)


class Street:
    """An account with three vans, whose events a rule tells by every channel, on the office's clock."""

    def __init__(self, at: Norte, writer: AlertWriter) -> None:
        self.at = at
        self.writer = writer
        self.devices = [row["id"] for row in query(at.dsn, "SELECT id FROM core.devices ORDER BY id")]
        self.happened: dict[int, tuple[int, datetime]] = {}  # event to tracker and moment

    async def happens(self) -> None:
        """An event of each van at this moment, written as the track engine's transaction does."""
        now = self.at.clock.now
        new = [
            event(
                id=len(self.happened) + number + 1,
                device_id=device,
                account_id=self.at.account,
                name=f"Van {number}",
                occurred_at=now,
            )
            for number, device in enumerate(self.devices)
        ]
        self.happened |= {one.id: (one.device_id, now) for one in new}
        async with self.at.connection.transaction():
            await self.writer.write_alerts(self.at.connection, new, now)

    async def passes(self) -> None:
        """Deliver what is due, then move the clock on."""
        await self.at.delivers()
        self.at.clock.now += STEP

    def left(self) -> list[dict[str, Any]]:
        return query(
            self.at.dsn,
            "SELECT channel, error FROM core.outbox WHERE event_id IS NOT NULL AND delivered_at IS NULL"
            " AND withheld IS DISTINCT FROM 'replaced'",
        )

    def keys(self, channel: str) -> dict[str, int]:
        """The keys of a channel's messages, each with its event."""
        found = query(
            self.at.dsn,
            "SELECT key, event_id FROM core.outbox WHERE channel = %s AND event_id IS NOT NULL"
            " AND withheld IS DISTINCT FROM 'replaced'",
            [channel],
        )
        return {row["key"]: row["event_id"] for row in found}

    def in_order(self, events: list[int]) -> bool:
        """Whether the events of each tracker came in their order."""
        lanes: dict[int, list[int]] = {}
        for one in events:
            lanes.setdefault(self.happened[one][0], []).append(one)
        return all(lane == sorted(lane) for lane in lanes.values())


@asynccontextmanager
async def street(dsn: str, rule: Rule, *channels: Callable[[Norte], Channel]) -> AsyncGenerator[Street]:
    database = Database(Settings(storage=Storage(dsn=dsn)))
    async with await database.connect(Role.CORE) as connection:
        at = Norte(dsn, connection)
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute(
                "INSERT INTO core.devices (unique_id, account_id, name, test, created_at)"
                " SELECT 'T' || n, %s, 'Van ' || n, false, '2027-01-01' FROM generate_series(4, 2 + %s) n",
                [at.account, VANS],
            )
        await at.has(100_000)
        await add_rule(connection, at.account, rule)
        book = AlertBook()
        book.put_all(await read_households(connection))
        opened = [made(at) for made in channels]
        at.dispatcher = at.made(*opened)
        try:
            yield Street(at, AlertWriter(book, Trackers(), Alerts(sms_per_day_max=1_000), at.metrics))
        finally:
            for channel in opened:
                await channel.close()
            await at.desk.close()


@pytest.fixture
def mail() -> MailServer:
    return MailServer()


@pytest.fixture
def peer() -> Generator[HttpPeer]:
    with HttpPeer().running() as running:
        yield running


def smtp(server: MailServer) -> Callable[[Norte], Channel]:
    settings = Smtp(host="127.0.0.1", port=server.port, tls="none", sender="a@example.com", timeout_s=5.0)
    return lambda _: SmtpChannel(settings)


def sms(provider: SmsProvider, settings: Sms) -> Callable[[Norte], Channel]:
    return lambda at: SmsChannel(settings, provider, at.desk, at.clock)


def mailed(at: Street, server: MailServer) -> list[int]:
    """The events that a mailbox tells of, which drops a second mail of the same Message-ID."""
    event_of = {message_id(key, "example.com"): one for key, one in at.keys("email").items()}
    known = dict.fromkeys(str(mail["Message-ID"]) for mail in server.taken)
    return [event_of[name] for name in known if name in event_of]


async def test_mail_and_webhook(postgres_dsn: str, mail: MailServer, peer: HttpPeer) -> None:
    """The mail server takes one and breaks the line, refuses, says later, and is gone; the receiver answers 503, takes one
    and answers 500 all the same, or nothing.
    """
    rule = Rule(
        types=MAIL.types,
        channels=("email", "webhook"),
        always=True,
        recipients=(
            Recipient("email", "a@example.com"),
            Recipient("webhook", f"http://127.0.0.1:{peer.port}/"),
        ),
    )
    settings = Webhooks(private_addresses=True, timeout_s=1.0)
    with ExitStack() as up:
        up.enter_context(mail.running())
        async with street(
            postgres_dsn, rule, smtp(mail), lambda at: WebhookChannel(settings, at.clock)
        ) as at:
            for step in range(LAST + 1):
                await at.happens()
                if step == BEGINS:
                    mail.drop_after_taking = True
                    peer.answers = [(500, "taken, or so it seems")] * 8
                if step == BEGINS + 3:
                    mail.drop_after_taking = False
                    mail.answers = ["451 4.7.1 later"] * 3
                    peer.hang_s = 2.0
                if step == BEGINS + 4:
                    up.close()
                    peer.hang_s = 0.0
                if BEGINS + 4 <= step < ENDS:
                    peer.answers = [(503, "")] * 50
                if step == ENDS:
                    up.enter_context(mail.running())
                    peer.answers = []
                await at.passes()
            while at.left() and at.at.clock.now < NOON + timedelta(hours=3):
                await at.passes()
            assert at.left() == []
            told = mailed(at, mail)
            assert sorted(told) == sorted(at.happened), "each, once"
            assert at.in_order(told)
            assert len(mail.taken) > len(told), "some came twice, with the same Message-ID"
            hooks: dict[str, int] = {}
            for _, _, headers, body in peer.asked:
                hooks.setdefault(headers["Idempotency-Key"], json.loads(body)["event"]["id"])
            assert sorted(hooks.values()) == sorted(at.happened)
            assert at.in_order(list(hooks.values()))


async def sms_or_mail(
    at: Street, mail: MailServer, texts: Callable[[], list[str]], *, ended: datetime
) -> None:
    """What an hour without the provider comes to: each event is told once, by SMS or by e-mail, and paid accordingly."""
    while at.left() and at.at.clock.now < NOON + timedelta(hours=3):
        await at.passes()
    assert at.left() == []
    moments = {
        f"{name} {moment:%H:%M}": one
        for one, (device, moment) in at.happened.items()
        for name in [f"Van {at.devices.index(device)}"]
    }
    by_sms: list[int] = []
    for text in texts():
        found = re.search(r"(Van \d).* (\d\d:\d\d)", text)
        assert found, text
        by_sms.append(moments[f"{found[1]} {found[2]}"])
    by_mail = mailed(at, mail)
    assert sorted(by_sms + by_mail) == sorted(at.happened), "each event once, one way or the other"
    assert at.in_order(by_sms)
    assert at.in_order(by_mail)
    began = NOON + BEGINS * STEP
    for one in by_mail:
        moment = at.happened[one][1]
        assert began <= moment <= ended - GIVE_UP + STEP, "only what waited for too long"
    for one, (_, moment) in at.happened.items():
        if began <= moment <= ended - GIVE_UP - STEP:
            assert one in by_mail, "nobody waits an hour for an SMS"
    debits = [amount for kind, amount, _ in at.at.ledger() if kind == "sms"]
    back = [amount for kind, amount, _ in at.at.ledger() if kind == "reversal"]
    assert sum(debits) + sum(back) == -500 * len(by_sms)


async def test_an_smpp_server(postgres_dsn: str, mail: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It throttles, then it is gone."""
    monkeypatch.setattr(smpp, "BIND_S", 0.2)
    server = SmppServer()
    rule = Rule(types=MAIL.types, channels=("sms",), always=True, recipients=(Recipient("sms", TO),))
    chosen = Smpp(host="127.0.0.1", port=server.port, system_id="tracker", password="secret", per_second=500)
    provider = SmppProvider(chosen, "Norte", None)

    async def bound() -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    return await provider.ready()
                except TemporaryError:
                    await asyncio.sleep(0.05)

    with mail.running(), ExitStack() as up:
        await asyncio.to_thread(up.enter_context, server.running())
        settings = Sms(provider="smpp", smpp=chosen)
        async with street(postgres_dsn, rule, sms(provider, settings), smtp(mail)) as at:
            await bound()
            for step in range(LAST + 1):
                await at.happens()
                if step == BEGINS:
                    server.behave(receipt="none", statuses=[0x58] * 4)
                if step == BEGINS + 1:
                    await asyncio.to_thread(up.close)
                if step == ENDS:
                    await asyncio.to_thread(up.enter_context, server.running())
                    await bound()
                await at.passes()
            ended = NOON + ENDS * STEP
            await sms_or_mail(at, mail, lambda: [part["text"] for part in server.taken], ended=ended)


async def test_a_gateway(postgres_dsn: str, mail: MailServer, peer: HttpPeer) -> None:
    """It fails at each request for an hour."""
    rule = Rule(types=MAIL.types, channels=("sms",), always=True, recipients=(Recipient("sms", TO),))
    chosen = SmsHttp(url=f"http://127.0.0.1:{peer.port}/send?to={{to}}", body="{text}", timeout_s=5.0)
    settings = Sms(provider="http", http=chosen)
    taken: list[str] = []
    with mail.running():
        provider = HttpGateway(chosen, "Norte")
        async with street(postgres_dsn, rule, sms(provider, settings), smtp(mail)) as at:
            for step in range(LAST + 1):
                await at.happens()
                seen = len(peer.asked)
                fails = BEGINS <= step < ENDS
                peer.answers = [(503, "out of order")] * 1_000 if fails else []
                await at.passes()
                if not fails:
                    taken += [body.decode() for _, _, _, body in peer.asked[seen:]]
            seen = len(peer.asked)
            await sms_or_mail(
                at,
                mail,
                lambda: taken + [body.decode() for _, _, _, body in peer.asked[seen:]],
                ended=NOON + ENDS * STEP,
            )
