"""Saved reports: kept by their users, ordered by their calendars, made as they are mailed."""

from __future__ import annotations

import base64
import io
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import msgspec
import openpyxl
import pytest

from tests.api.people import World
from tests.live.test_reports import DAY, trip
from tests.notify.mail_server import MailServer
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Servers
from tests.servers.waiting import wait_until
from tracker_server.api.access import Access
from tracker_server.api.report_mail import ReportChannel
from tracker_server.config import Settings, Smtp, Storage
from tracker_server.model.schedule import ScheduleError, ended_within
from tracker_server.notify.smtp import SmtpChannel
from tracker_server.pipeline.dispatcher import Outgoing, PermanentError
from tracker_server.storage.database import Database, Role
from tracker_server.storage.pools import Pools
from tracker_server.storage.saved_reports import ReportClock, ReportOrder

DAILY = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VEVENT
UID:1
DTSTART;TZID=Europe/Madrid:20260101T000000
DTEND;TZID=Europe/Madrid:20260102T000000
RRULE:FREQ=DAILY
END:VEVENT
END:VCALENDAR
"""
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def mail() -> MailServer:
    return MailServer()


@pytest.fixture(scope="module")
def mailing(postgres_server: SharedPostgres, mail: MailServer) -> Generator[World]:
    servers = Servers()
    settings: dict[str, Any] = {
        "backup.every_hours": 0, "smtp.host": "127.0.0.1", "smtp.port": mail.port, "smtp.tls": "none",
        "smtp.from": "Tracking <reports@example.com>", "smtp.timeout_s": 5,
    }  # fmt: skip
    with postgres_server.database() as dsn:
        try:
            yield World(servers(settings, dsn=dsn, protocols=["osmand"]))
        finally:
            servers.close()


def test_events_that_are_over() -> None:
    after, until = NOON - timedelta(days=2), NOON
    found = ended_within(DAILY, "UTC", after, until)
    assert [(begins.isoformat(), ends.isoformat()) for begins, ends in found] == [
        ("2026-03-02T00:00:00+01:00", "2026-03-03T00:00:00+01:00"),
        ("2026-03-03T00:00:00+01:00", "2026-03-04T00:00:00+01:00"),
    ]
    assert ended_within(DAILY, "UTC", found[-1][1], found[-1][1]) == []
    with pytest.raises(ScheduleError):
        ended_within("nothing", "UTC", after, until)


def calendar(client: Any) -> int:
    body = {"name": "Days", "data": base64.b64encode(DAILY.encode()).decode()}
    return client.post("/api/calendars", json=body).json()["id"]


def test_kept_changed_and_removed(world: World) -> None:
    account = world.account()
    with world.signed_in("owner", account) as client, world.signed_in("owner", world.account()) as other:
        days = calendar(client)
        body = {
            "type": "trips",
            "description": "Daily trips",
            "calendarId": days,
            "attributes": {"daily": True},
        }
        kept = client.post("/api/reports", json=body).json()
        assert kept | {"id": 0} == {**body, "id": 0, "accountId": account}
        assert client.get("/api/reports").json() == [kept]
        assert other.get("/api/reports").json() == []
        assert other.get(f"/api/reports/{kept['id']}").status_code == 404
        assert other.delete(f"/api/reports/{kept['id']}").status_code == 404
        changed = client.put(f"/api/reports/{kept['id']}", json={**kept, "type": "stops"}).json()
        assert changed["type"] == "stops"
        wrong = client.post("/api/reports", json={**body, "type": "dreams"})
        assert (wrong.status_code, wrong.text[:5]) == (400, "type:")
        foreign = other.post("/api/reports", json={**body, "calendarId": days})
        assert foreign.status_code == 404
        assert client.delete(f"/api/reports/{kept['id']}").status_code == 204
        assert client.get(f"/api/reports/{kept['id']}").status_code == 404


async def test_a_calendar_orders_each_period_once(world: World) -> None:
    account = world.account()
    with world.signed_in("owner", account) as client:
        kept = client.post("/api/reports", json={"type": "summary", "calendarId": calendar(client)}).json()
        device = world.device(account)
        client.post("/api/permissions", json={"deviceId": device, "reportId": kept["id"]}).raise_for_status()
    database = Database(Settings(storage=Storage(dsn=world.running.dsn)))
    world.sql("UPDATE core.reports SET done_to = %s, next_at = %s", NOON - timedelta(days=2), NOON)
    clock = ReportClock(database, lambda: NOON)
    async with await database.connect(Role.CORE) as connection:
        assert await clock.work_due(connection) >= 1
        assert await clock.work_due(connection) == 0
        world.sql("UPDATE core.reports SET done_to = %s, next_at = %s", NOON - timedelta(days=2), NOON)
        await clock.work_due(connection)
    orders = world.sql(
        "SELECT payload FROM core.outbox WHERE channel = 'report' AND account_id = %s ORDER BY id", account
    )
    assert [(one["since"], one["until"]) for (one,) in orders] == [
        ("2026-03-02T00:00:00+01:00", "2026-03-02T23:59:59.999999+01:00"),
        ("2026-03-03T00:00:00+01:00", "2026-03-03T23:59:59.999999+01:00"),
    ]
    assert [one["deviceIds"] for (one,) in orders] == [[device], [device]]
    (next_at,) = world.sql("SELECT next_at FROM core.reports WHERE id = %s", kept["id"])[0]
    assert next_at == datetime(2026, 3, 4, 23, tzinfo=UTC), "midnight in Madrid"


def later(world: World) -> None:
    """What has just been ordered has been tried once in vain, and waits for ``now``."""
    wait_until(
        "it to wait",
        lambda: world.sql(
            "UPDATE core.outbox SET next_at = now() + interval '1 hour'"
            " WHERE delivered_at IS NULL AND attempts > 0 RETURNING id"
        ),
        within_s=90,
    )


def now(world: World) -> None:
    world.sql("UPDATE core.outbox SET next_at = now()")
    world.sql("NOTIFY tracker_outbox")


def test_a_report_is_made_as_it_is_sent(mailing: World, mail: MailServer) -> None:
    """Ordered while the mail server is down; blocked meanwhile; what arrives has nothing of it."""
    account = mailing.account()
    free, blocked = mailing.device(account), mailing.device(account)
    for device in (free, blocked):
        trip(mailing, device, "2026-01-02T08:00:00Z", "2026-01-02T09:00:00Z", 40_000, 0)
    email = mailing.user("owner", account)
    with mailing.client(email) as client:
        assert client.get("/api/reports/trips/mail", params=DAY).status_code == 204
    later(mailing)
    mailing.block(blocked)
    with mail.running():
        now(mailing)
        (letter,) = mail.wait_for(1, within_s=90)
    assert letter["To"] == email
    assert letter["Subject"].startswith("Report: trips, 2026-01-02 01:00 – 2026-01-03 00:59")
    assert rows_of(letter) == [free]
    assert "Blocked trackers that are not in it: 1." in text_of(letter)


def test_an_announcement_reaches_those_whom_one_manages(mailing: World, mail: MailServer) -> None:
    account = mailing.account()
    owner = mailing.user("owner", account)
    viewer = mailing.user("viewer", account, attributes='{"language": "es"}')
    mailing.user("viewer", account, disabled=True)
    foreign = mailing.user_id(mailing.user("owner", mailing.account()))
    said = {"subject": "Roadworks", "body": "The A2 is closed.\n\nTake the A7."}
    before = len(mail.taken)
    with mailing.client(owner) as client, mailing.client(viewer) as reader, mail.running():
        place = "/api/notifications/send/mail"
        channels = client.get("/api/notifications/notificators", params={"announcement": True}).json()
        assert {"type": "mail"} in channels
        assert {"type": "web"} not in channels
        assert client.post(place, json=said, params={"userId": foreign}).status_code == 404
        assert client.post(place, json={"subject": "x"}).text.startswith("body:")
        assert client.post("/api/notifications/send/web", json=said).status_code == 400
        assert reader.post(place, json=said).status_code == 403
        assert client.post(place, json=said).status_code == 204
        both = mail.wait_for(before + 2, within_s=90)[before:]
        assert {one["To"] for one in both} == {owner, viewer}
        assert {one["Subject"] for one in both} == {"Roadworks"}
        assert "The A2 is closed.\n\nTake the A7." in text_of(both[0]).replace("\r\n", "\n")
        digest = {"subject": "Again", "digest": "Short"}
        assert client.post(place, json=digest, params={"userId": mailing.user_id(viewer)}).status_code == 204
        assert mail.wait_for(before + 3, within_s=90)[-1]["To"] == viewer


def text_of(letter: EmailMessage) -> str:
    part = letter.get_body(("plain",))
    assert part is not None
    return part.get_content()


def rows_of(letter: EmailMessage) -> list[int]:
    (file,) = letter.iter_attachments()
    sheet = openpyxl.load_workbook(io.BytesIO(file.get_content())).active
    assert sheet is not None
    return [row[0].value for row in sheet.iter_rows(min_row=2) if isinstance(row[0].value, int)]  # pyright: ignore[reportReturnType]


async def test_whoever_lost_his_rights_gets_none(world: World) -> None:
    account = world.account()
    database = Database(Settings(storage=Storage(dsn=world.running.dsn)))
    access = Access(database, Pools(database), session_days=1)
    channel = ReportChannel(database, access, SmtpChannel(Smtp(host="127.0.0.1", sender="a@example.com")))
    for columns in ({"disable_reports": True}, {"disabled": True}):
        user = world.user_id(world.user("owner", account, **columns))
        wanted = ReportOrder("trips", user, NOON - timedelta(days=1), NOON)
        message = Outgoing(
            1, "key", "report", "a@example.com", account, msgspec.to_builtins(wanted), NOON, NOON, 0
        )
        with pytest.raises(PermanentError, match="may read no reports any more"):
            await channel.send(message)
    access.close()


def test_without_a_mail_server_nothing_is_promised(world: World) -> None:
    with world.signed_in("owner", world.account()) as client:
        answer = client.get("/api/reports/trips/mail", params=DAY)
    assert (answer.status_code, answer.text[:9]) == (409, "smtp.host")
