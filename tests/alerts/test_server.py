"""The whole way with the real server: a fix on the wire becomes a mail, an SMS, a webhook, a row of the log."""

from __future__ import annotations

import asyncio
import json
import urllib.parse
import urllib.request
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.alerts.http_peer import HttpPeer
from tests.notify.mail_server import MailServer
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_server.cli.main import main
from tracker_server.config import Settings, Storage, variable_of
from tracker_server.storage.database import Database, Role
from tracker_server.storage.fences import NewFence, add_fences
from tracker_server.track.fences.shapes import Circle

DEPOT = (40.4168, -3.7038)
OUTSIDE = (40.50, -3.70)
KNOWN = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle' AND query ~ 'core.alert_rules'
  AND query_start > (SELECT max(changed_at) FROM core.alert_rules)
"""


@pytest.fixture
def mail() -> Generator[MailServer]:
    with MailServer().running() as server:
        yield server


@pytest.fixture
def peer() -> Generator[HttpPeer]:
    with HttpPeer().running() as running:
        yield running


def settings_for(mail: MailServer, peer: HttpPeer) -> dict[str, Any]:
    return {
        "smtp.host": "127.0.0.1",
        "smtp.port": mail.port,
        "smtp.tls": "none",
        "smtp.from": "Tracking <alerts@example.com>",
        "sms.provider": "http",
        "sms.http.url": f"http://127.0.0.1:{peer.port}/sms",
        "sms.http.body": "{to} {text}",
        "webhooks.private_addresses": "true",
        "alerts.link": "https://example.com/?event={event}",
    }


@pytest.fixture
def running(server: Servers, postgres_dsn: str, mail: MailServer, peer: HttpPeer) -> Running:
    started = server(settings_for(mail, peer), dsn=postgres_dsn, protocols=["osmand"])
    query(
        started.dsn,
        "UPDATE core.accounts SET email = 'office@example.com', language = 'es', zone = 'Europe/Madrid' WHERE name = 'default'",
    )
    query(
        started.dsn,
        "INSERT INTO core.devices (unique_id, account_id, name) SELECT n, id, 'Van ' || n FROM core.accounts, unnest('{T1,T2}'::text[]) n"
        " WHERE name = 'default'",
    )
    asyncio.run(fence(started.dsn))
    return started


async def fence(dsn: str) -> None:
    async with await Database(Settings(storage=Storage(dsn=dsn))).connect(Role.CORE) as connection:
        (account,) = await (
            await connection.execute("SELECT id FROM core.accounts WHERE name = 'default'")
        ).fetchone() or (0,)
        await add_fences(connection, account, [NewFence(name="Depot", shape=Circle(*DEPOT, 500.0))])


def fix(running: Running, device: str, place: tuple[float, float], at: datetime) -> None:
    host, port = running.addresses["osmand"]
    asked = urllib.parse.urlencode(
        {"id": device, "lat": place[0], "lon": place[1], "timestamp": int(at.timestamp())}
    )
    with urllib.request.urlopen(f"http://{host}:{port}/?{asked}", timeout=30) as answer:
        assert answer.status == 200


def enters(running: Running, device: str, at: datetime) -> None:
    """From outside into the depot."""
    for number, place in enumerate((OUTSIDE, DEPOT, DEPOT)):
        fix(running, device, place, at + timedelta(minutes=number))


def ok(running: Running, *arguments: str) -> str:
    done = running.cli(*arguments)
    assert done.returncode == 0, done
    return done.stdout


def log(running: Running) -> dict[tuple[str, str], str]:
    rows = json.loads(ok(running, "alert", "list", "--format", "json"))
    return {
        (row["unique_id"], row["channel"]): row["state"] for row in rows if row["type"] == "geofenceEnter"
    }


def test_a_fix_becomes_a_mail_an_sms_a_webhook_and_a_row_of_the_log(
    running: Running, mail: MailServer, peer: HttpPeer
) -> None:
    hook = f"http://127.0.0.1:{peer.port}/hook"
    added = ok(
        running, "alert", "rule", "add", "--on", "geofenceEnter", "--fence", "Depot", "--channel", "email,webhook,web",
        "--to", "ana@example.com", "--to", hook, "--name", "gate", "--picture",
    )  # fmt: skip
    assert added == "rule 1 added: geofenceEnter by email, webhook, web\n"
    wait_until("the server to know the rule", lambda: query(running.dsn, KNOWN))
    query(
        running.dsn,
        "INSERT INTO core.blocks (device_id, reason, since) SELECT id, 'hold', now() FROM core.devices WHERE unique_id = 'T2'",
    )
    at = datetime.now(UTC) - timedelta(minutes=5)
    enters(running, "T2", at)
    enters(running, "T1", at)
    (one,) = mail.wait_for(1)
    wait_until("the webhook", lambda: peer.asked)
    assert one["Subject"] == "Van T1 ha entrado en Depot"
    assert one["To"] == "ana@example.com"
    body = one.get_body(("plain",))
    assert body is not None
    assert "Lugar: 40.41680, -3.70380" in body.get_content()
    assert "https://example.com/?event=" in body.get_content()
    page = one.get_body(("html",))
    assert page is not None
    (picture,) = [part for part in one.walk() if part.get_content_type() == "image/png"]
    assert (
        f'src="cid:{picture["Content-ID"].strip("<>")}" alt="Van T1 ha entrado en Depot' in page.get_content()
    )
    assert picture.get_content_disposition() == "inline"
    assert picture.get_content().startswith(b"\x89PNG")
    ((_, path, headers, told),) = peer.asked
    assert path == "/hook"
    assert json.loads(told)["geofence"] == "Depot"
    assert headers["Idempotency-Key"].startswith("alert:")
    wait_until(
        "all to be marked",
        lambda: (
            not query(
                running.dsn, "SELECT FROM core.outbox WHERE event_id IS NOT NULL AND delivered_at IS NULL"
            )
        ),
    )
    assert log(running) == {("T1", channel): "delivered" for channel in ("email", "webhook", "web")}
    events = query(
        running.dsn,
        "SELECT d.unique_id, e.attributes FROM core.events e JOIN core.devices d ON d.id = e.device_id"
        " WHERE e.type = 'geofenceEnter' ORDER BY 1",
    )
    assert [(row["unique_id"], row["attributes"].get("suppressed")) for row in events] == [
        ("T1", None),
        ("T2", True),
    ]
    listed = json.loads(ok(running, "alert", "rule", "list", "--format", "json"))
    assert [(row["id"], row["on"], row["fences"], row["devices"], row["name"]) for row in listed] == [
        (1, "geofenceEnter", "Depot", "all", "gate")
    ]
    query(running.dsn, "DELETE FROM core.blocks")
    ok(running, "alert", "rule", "remove", "1")
    wait_until("T1 to leave", lambda: fix(running, "T1", OUTSIDE, datetime.now(UTC)) or True)
    assert len(mail.taken) == 1, "nothing is told of what was blocked, nor by a rule that is gone"


WRONG = [
    ("--on geofenceenter --channel email", "--on: 'geofenceenter' is no kind of event"),
    ("--on geofenceEnter:sos --channel email", "--on: 'geofenceEnter:sos': only alarms"),
    ("--on media --channel pigeon", "--channel: there is no channel 'pigeon'"),
    ("--on media --channel email --to nobody", "--to: 'nobody' is not an e-mail address"),
    (
        "--on media --channel sms,messenger --to +34600111222",
        "--to: '+34600111222': through which channel?",
    ),
    ("--on media --channel webhook", "--to: no URL for the channel webhook"),
    ("--on media --channel command", "--command: is missing"),
    ("--on media --channel sms --picture", "--picture: only mails have pictures"),
    ("--on media --channel email --quiet night", "--quiet: 'night' is no time of the day"),
    ("--on media --channel email --throttle -1", "--throttle: -1 s"),
    ("--on media --channel email --calendar /nowhere.ics", "--calendar: /nowhere.ics: cannot be read"),
    ("--on media --channel email --device T9", "--device: there is no device 'T9'"),
    ("--on media --channel email --fence Home", "--fence: there is no fence 'Home'"),
    ("--on media --channel email --user u@example.com", "--user: there is no user 'u@example.com'"),
    ("--on media --channel email --account Sur", "--account: there is no account 'Sur'"),
]


def test_wrong_use_names_the_flag(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKER_STORAGE__DSN", postgres_dsn)
    for arguments, says in WRONG:
        with pytest.raises(SystemExit) as caught:
            main(["alert", "rule", "add", *arguments.split()])
        assert caught.value.code in {1, 2}
        assert says in capsys.readouterr().err


def test_messages_to_try_the_channels(
    postgres_dsn: str,
    mail: MailServer,
    peer: HttpPeer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for key, value in settings_for(mail, peer).items():
        monkeypatch.setenv(variable_of(key), str(value))
    monkeypatch.setenv("TRACKER_STORAGE__DSN", postgres_dsn)

    def said(*arguments: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["alert", *arguments])
        assert not ended.value.code
        return capsys.readouterr().out

    said("test", "email", "ana@example.com", "--language", "ru")
    said("test", "sms", "+34 600 111 222")
    said("test", "webhook", f"http://127.0.0.1:{peer.port}/")
    assert [one["Subject"] for one in mail.taken] == ["Пробное сообщение"]
    assert [asked[3][:13] for asked in peer.asked] == [b"+34600111222 ", b'{"key":"test:']
    shown = said("preview", "alarm:tow", "--language", "es")
    assert shown.startswith("Van 3: remolcado o movido sin encendido\n")
    assert "SMS (1 part): " in shown
    assert said("preview", "media", "--html").startswith("<!doctype html>")
    first = said("secret", "default")
    assert len(first.strip()) == 64
    assert said("secret", "default", "--new") != first
