"""What operators see and do with messages to customers, and how customers are reached."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator

import pytest

from tests.cli.terminal import Terminal, parts
from tests.notify.mail_server import MailServer
from tests.servers.ports import free_port
from tests.storage.rows import query


@pytest.fixture
def mail_server() -> Generator[MailServer]:
    with MailServer().running() as server:
        yield server


def smtp(terminal: Terminal, port: int) -> None:
    terminal.set(smtp__host="127.0.0.1", smtp__port=port, smtp__tls="none", smtp__timeout_s=5)
    terminal.set(smtp__from="Tracking <billing@example.com>")


def write(terminal: Terminal, count: int = 1, state: str = "", account: str = "default") -> None:
    for _ in range(count):
        query(
            terminal.dsn,
            "INSERT INTO core.outbox (key, channel, recipient, account_id, payload, created_at, due_at, next_at,"
            " delivered_at, failed_at, error, attempts)"
            " SELECT gen_random_uuid(), 'email', 'a@example.com', id, '{\"type\": \"test\"}', now(), now(), now(),"
            " CASE %s WHEN 'delivered' THEN now() END, CASE %s WHEN 'failed' THEN now() END,"
            " CASE %s WHEN 'failed' THEN '550 nobody' END, 1 FROM core.accounts WHERE name = %s",
            [state, state, state, account],
        )


# ---------------------------------------------------------------------- how customers are reached


def test_an_account_has_an_address_and_a_language(terminal: Terminal) -> None:
    terminal.ok("account", "add", "Norte", "--email", "office@example.com", "--language", "es")
    norte = terminal.json("account", "show", "Norte")
    assert (norte["email"], norte["messenger"], norte["language"]) == ("office@example.com", None, "es")
    said = terminal.ok("account", "set", "Norte", "--messenger", "+34600111222", "--language", "ru")
    assert (
        said
        == "account 'Norte': e-mail office@example.com, messenger +34600111222, phone none, language ru\n"
    )
    terminal.ok("account", "set", "Norte", "--email", "")
    assert terminal.json("account", "show", "Norte")["email"] is None
    assert parts(terminal.ok("account", "show", "Norte"))["language"] == "ru"


def test_the_language_where_none_is_named(terminal: Terminal) -> None:
    terminal.set(notices__language="ru")
    terminal.ok("account", "add", "Sever")
    assert terminal.json("account", "show", "Sever")["language"] == "ru"


def test_a_new_address_takes_over_what_waits(terminal: Terminal) -> None:
    terminal.ok("account", "set", "default", "--email", "a@example.com")
    write(terminal)
    write(terminal, state="delivered")
    write(terminal, state="failed")
    terminal.ok("account", "set", "default", "--email", "b@example.com")
    found = {row["state"]: row["recipient"] for row in terminal.json("outbox", "list")}
    assert found == {"waiting": "b@example.com", "delivered": "a@example.com", "failed": "a@example.com"}


def test_what_cannot_be_an_address(terminal: Terminal) -> None:
    for bad in ("nobody", "a@b@c", "a b@example.com", "a@.example", "<a@example.com>", "a@example.com,b@x.y", "a@b..c", "x" * 251 + "@b.c"):  # fmt: skip
        assert "--email:" in terminal.wrong("account", "add", "A", "--email", bad)
    assert "write one, such as office@example.com" in terminal.wrong(
        "account", "set", "default", "--email", "x"
    )
    assert "--messenger: 'a/b' cannot be a messenger's recipient" in terminal.wrong(
        "account", "set", "default", "--messenger", "a/b"
    )
    assert "--language" in terminal.wrong("account", "set", "default", "--language", "de")
    assert "nothing to change" in terminal.wrong("account", "set", "default")
    assert "NAME: there is no account named 'Nobody'" in terminal.refused(
        "account", "set", "Nobody", "--language", "es"
    )


# ---------------------------------------------------------------------- the outbox


def test_messages_are_listed(terminal: Terminal) -> None:
    assert terminal.json("outbox", "list") == []
    write(terminal, 2)
    write(terminal, state="delivered")
    write(terminal, state="failed")
    found = terminal.json("outbox", "list")
    assert [row["state"] for row in found] == ["failed", "delivered", "waiting", "waiting"]
    assert (found[0]["error"], found[0]["recipient"], found[0]["account"]) == ("550 nobody", "a@example.com", "default")  # fmt: skip
    assert found[0]["payload"] == {"type": "test"}
    assert [row["id"] for row in terminal.json("outbox", "list", "--state", "failed")] == [found[0]["id"]]
    assert len(terminal.json("outbox", "list", "--limit", "3")) == 3
    assert "Test message" in terminal.ok("outbox", "list")
    rows = list(csv.DictReader(io.StringIO(terminal.ok("outbox", "list", "--format", "csv"))))
    assert len(rows) == 4


def test_messages_of_one_account(terminal: Terminal) -> None:
    terminal.ok("account", "add", "Norte")
    write(terminal)
    write(terminal, account="Norte")
    assert [row["account"] for row in terminal.json("outbox", "list", "--account", "Norte")] == ["Norte"]
    assert "--account: there is no account named 'X'" in terminal.refused("outbox", "list", "--account", "X")


def test_a_payload_of_another_version_is_still_listed(terminal: Terminal) -> None:
    write(terminal)
    query(terminal.dsn, 'UPDATE core.outbox SET payload = \'{"type": "newer"}\'')
    assert "?" in terminal.ok("outbox", "list")


def test_failed_ones_are_tried_again(terminal: Terminal) -> None:
    write(terminal, 3, state="failed")
    write(terminal, state="delivered")
    first = terminal.json("outbox", "list", "--state", "failed")[-1]["id"]
    assert terminal.ok("outbox", "retry", str(first)) == "1 message to be tried again\n"
    assert [(row["id"], row["attempts"]) for row in terminal.json("outbox", "list", "--state", "waiting")] == [(first, 0)]  # fmt: skip
    assert terminal.ok("outbox", "retry", "--failed") == "2 messages to be tried again\n"
    assert terminal.json("outbox", "list", "--state", "failed") == []
    assert len(terminal.json("outbox", "list", "--state", "delivered")) == 1


def test_messages_are_dropped(terminal: Terminal) -> None:
    write(terminal)
    write(terminal, 2, state="failed")
    waiting = terminal.json("outbox", "list", "--state", "waiting")[0]["id"]
    assert terminal.ok("outbox", "drop", "--failed") == "2 messages deleted\n"
    assert terminal.ok("outbox", "drop", str(waiting)) == "1 message deleted\n"
    assert terminal.json("outbox", "list") == []


def test_which_messages_must_be_said(terminal: Terminal) -> None:
    write(terminal, state="delivered")
    done = terminal.json("outbox", "list")[0]["id"]
    for command in ("retry", "drop"):
        assert "IDS: which messages?" in terminal.wrong("outbox", command)
        assert "IDS: which messages?" in terminal.wrong("outbox", command, "1", "--failed")
        assert "IDS: 0 is no message's number" in terminal.wrong("outbox", command, "0")
        assert f"IDS: no undelivered message has the number {done}" in terminal.refused(
            "outbox", command, str(done)
        )
    assert "--state" in terminal.wrong("outbox", "list", "--state", "lost")
    assert "--limit: 0 is too small" in terminal.wrong("outbox", "list", "--limit", "0")


# ---------------------------------------------------------------------- a test message


def test_a_test_message(terminal: Terminal, mail_server: MailServer) -> None:
    smtp(terminal, mail_server.port)
    said = terminal.ok("outbox", "test", "email", "office@example.com", "--language", "es")
    assert said == "email: handed over for office@example.com\n"
    (mail,) = mail_server.taken
    assert (mail["To"], mail["Subject"]) == ("office@example.com", "Mensaje de prueba")


def test_a_test_message_that_is_not_taken(terminal: Terminal, mail_server: MailServer) -> None:
    smtp(terminal, mail_server.port)
    mail_server.answers = ["550 5.1.1 nobody of that name"]
    assert "refused for good: 550 5.1.1 nobody of that name" in terminal.refused(
        "outbox", "test", "email", "gone@example.com"
    )
    port = free_port()
    smtp(terminal, port)
    told = terminal.refused("outbox", "test", "email", "a@example.com")
    assert f"not delivered: the channel is down [127.0.0.1:{port} does not let us in" in told


def test_a_channel_that_is_not_set_up(bare: Terminal) -> None:
    assert "CHANNEL: email is not set up; the setting smtp.host" in bare.refused(
        "outbox", "test", "email", "a@example.com"
    )
    assert "CHANNEL: there is no channel 'pigeon'; there are: email, sms, messenger, webhook" in bare.wrong(
        "outbox", "test", "pigeon", "x"
    )
    smtp(bare, 25)
    assert "TO: 'nobody' is not an e-mail address" in bare.wrong("outbox", "test", "email", "nobody")


def test_settings_of_mail_are_checked_at_once(bare: Terminal) -> None:
    bare.set(smtp__host="mail.example.com")
    assert "smtp.from: is empty" in bare.wrong("config", "check")
    bare.set(smtp__from="Nobody")
    assert "smtp.from: 'Nobody' is not an e-mail address" in bare.wrong("config", "check")
    bare.set(smtp__from="a@example.com", smtp__tls="maybe")
    assert 'smtp.tls (from environment): \'maybe\' does not fit; write "starttls"' in bare.wrong("config", "check")  # fmt: skip
    bare.set(smtp__tls="starttls")
    shown = {row["key"]: row["value"] for row in bare.json("config", "show")}
    assert shown["smtp.from"] == "a@example.com"
