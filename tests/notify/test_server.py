"""The whole way with the real server: a payment, kill -9, an SMTP server that is down, and the mail comes all the same."""

from __future__ import annotations

from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

import pytest

from tests.notify.mail_server import PASSWORD, USER, MailServer, let_in
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query


@pytest.fixture
def mail() -> MailServer:
    return MailServer()


@pytest.fixture
def started(server: Servers, postgres_dsn: str, mail: MailServer) -> Callable[[], Running]:
    def start(**more: Any) -> Running:
        settings = {
            "smtp.host": "127.0.0.1",
            "smtp.port": mail.port,
            "smtp.tls": "none",
            "smtp.from": "Tracking <billing@example.com>",
            "smtp.timeout_s": 2,
            **more,
        }
        return server(settings, dsn=postgres_dsn, protocols=["osmand"])

    return start


def ok(running: Running, *arguments: str) -> str:
    done = running.cli(*arguments)
    assert done.returncode == 0, done
    return done.stdout


def a_blocked_tracker(running: Running) -> None:
    """T1 of account Norte, which owes its connection fee of 310.00."""
    query(
        running.dsn,
        "WITH t AS (INSERT INTO core.tariffs (name, currency, mode) VALUES ('Std', 'EUR', 'balance') RETURNING id),"
        " p AS (INSERT INTO core.tariff_prices (tariff_id, since, monthly_minor) SELECT id, '-infinity', 31000 FROM t),"
        " a AS (INSERT INTO core.accounts (name, zone, currency, tariff_id, email, language)"
        "       SELECT 'Norte', 'Europe/Madrid', 'EUR', id, 'norte@example.com', 'es' FROM t RETURNING id)"
        " INSERT INTO core.devices (unique_id, account_id, name) SELECT 'T1', id, 'T1' FROM a",
    )
    query(running.dsn, "NOTIFY tracker_billing")
    wait_until(
        "the block",
        lambda: query(running.dsn, "SELECT reason FROM core.blocks WHERE reason = 'billing'") or None,
    )


def outbox(running: Running) -> list[dict[str, Any]]:
    return query(
        running.dsn, "SELECT attempts, error, delivered_at IS NOT NULL AS delivered FROM core.outbox"
    )


def all_delivered(running: Running) -> bool:
    return all(row["delivered"] for row in outbox(running))


def of(mails: list[EmailMessage], words: str) -> list[EmailMessage]:
    return [mail for mail in mails if words in str(mail["Subject"])]


def test_kill_9_between_the_payment_and_its_mail(started: Callable[[], Running], mail: MailServer) -> None:
    running = started()
    a_blocked_tracker(running)
    ok(running, "billing", "topup", "Norte", "310.00", "--key", "p1")
    wait_until("an attempt", lambda: any(row["attempts"] for row in outbox(running)))
    running.kill()
    assert mail.taken == []
    with mail.running():
        running.launch()
        again = wait_until("the mail", lambda: of(mail.taken, "vuelve a verse") or None)
        wait_until("it to be marked", lambda: all_delivered(running))
        running.stop()
    assert len(again) == 1
    assert again[0]["To"] == "norte@example.com"
    body = again[0].get_body(("plain",))
    assert body is not None
    assert "- T1" in body.get_content()


def test_kill_9_while_the_mail_server_holds_the_line(
    started: Callable[[], Running], mail: MailServer
) -> None:
    running = started()
    with mail.running():
        mail.hang = True
        a_blocked_tracker(running)
        ok(running, "billing", "topup", "Norte", "310.00", "--key", "p1")
        wait_until("a mail in hand", lambda: mail.tried or None)
        running.kill()
        mail.hang = False
        running.launch()
        wait_until("the mail", lambda: of(mail.taken, "vuelve a verse") or None)
        wait_until("all to be marked", lambda: all_delivered(running))
        running.stop()
        assert len(of(mail.taken, "vuelve a verse")) == 1


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
def test_no_secret_is_told(started: Callable[..., Running], mail: MailServer) -> None:
    running = started(**{"smtp.user": USER, "smtp.password": PASSWORD})
    with mail.running(authenticator=let_in, auth_required=True, auth_require_tls=False):
        a_blocked_tracker(running)
        ok(running, "billing", "topup", "Norte", "310.00", "--key", "p1")
        wait_until("the mail", lambda: of(mail.taken, "vuelve a verse") or None)
    wrong = dict(running.settings)
    running.stop()
    running.settings["smtp.password"] = "another-secret-password"
    running.launch()
    with mail.running(authenticator=let_in, auth_required=True, auth_require_tls=False):
        query(running.dsn, "UPDATE core.outbox SET delivered_at = NULL, next_at = now()")
        query(running.dsn, "NOTIFY tracker_outbox")
        wait_until("the refusal", lambda: any("535" in (row["error"] or "") for row in outbox(running)))
        shown = running.cli("config", "show", "--format", "json").stdout
        listed = ok(running, "outbox", "list", "--format", "json")
        test = running.cli("outbox", "test", "email", "a@example.com")
    assert test.returncode == 1
    assert "535" in test.stderr
    for text in (running.log.read_text(), running.out.read_text(), shown, listed, test.stderr, test.stdout):
        assert PASSWORD not in text
        assert "another-secret-password" not in text
    assert wrong["smtp.password"] == PASSWORD


def test_the_metrics(started: Callable[[], Running], mail: MailServer) -> None:
    import urllib.request

    running = started()
    a_blocked_tracker(running)

    def metrics() -> dict[str, float]:
        with urllib.request.urlopen(f"{running.api}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith(("tracker_outbox", "tracker_notices"))
        }

    ok(running, "billing", "topup", "Norte", "310.00", "--key", "p1")
    wait_until("what waits", lambda: metrics()["tracker_outbox_waiting"] > 0 and metrics()["tracker_outbox_oldest_seconds"] > 0)  # fmt: skip
    with mail.running():
        wait_until(
            "delivery", lambda: metrics().get('tracker_outbox_delivered_total{channel="email"}', 0) > 0, 60
        )
        wait_until("an empty outbox", lambda: metrics()["tracker_outbox_waiting"] == 0, 40)
        running.stop()
