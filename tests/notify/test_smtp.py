"""The e-mail channel against a real SMTP server in its bad moods: what each of them means, and no secret told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.notify.mail_server import PASSWORD, USER, MailServer, certificate, let_in
from tracker_server.alerts.letters import TestLetter, encode
from tracker_server.config import Smtp
from tracker_server.notify.smtp import SmtpChannel
from tracker_server.pipeline.dispatcher import Outgoing, PermanentError, TemporaryError

NOON = datetime(2027, 2, 15, 12, tzinfo=UTC)


def message(recipient: str = "office@example.com", key: str = "test:1", payload: Any = None) -> Outgoing:
    letter = encode(TestLetter()) if payload is None else payload
    return Outgoing(1, key, "email", recipient, None, letter, NOON, NOON, 0)


@asynccontextmanager
async def channel(server: MailServer, **settings: Any) -> AsyncGenerator[SmtpChannel]:
    chosen: dict[str, Any] = {
        "tls": "none",
        "timeout_s": 5.0,
        "sender": "Tracking <billing@example.com>",
        **settings,
    }
    made = SmtpChannel(Smtp(host="127.0.0.1", port=server.port, **chosen))
    try:
        yield made
    finally:
        await made.close()


async def test_a_mail_is_taken(mail_server: MailServer) -> None:
    async with channel(mail_server) as smtp:
        await smtp.send(message())
    (mail,) = mail_server.taken
    assert mail["From"] == "Tracking <billing@example.com>"
    assert (mail["To"], mail["Subject"]) == ("office@example.com", "Test message")
    assert mail_server.recipients == ["office@example.com"]


async def test_the_connection_serves_many_mails(mail_server: MailServer) -> None:
    async with channel(mail_server) as smtp:
        for number in range(5):
            await smtp.send(message(key=f"test:{number}"))
    assert len(mail_server.taken) == 5
    assert mail_server.connections == 1


async def test_a_mail_whose_acceptance_was_not_heard_goes_again_under_its_id(mail_server: MailServer) -> None:
    async with channel(mail_server) as smtp:
        mail_server.drop_after_taking = True
        with pytest.raises(TemporaryError):
            await smtp.send(message())
        mail_server.drop_after_taking = False
        await smtp.send(message())
    assert len(mail_server.taken) == 2
    assert len({str(mail["Message-ID"]) for mail in mail_server.taken}) == 1, "one message, whoever counts"


async def test_a_server_that_restarted_meanwhile() -> None:
    server = MailServer()
    async with channel(server) as smtp:
        with server.running():
            await smtp.send(message())
        with server.running():
            await smtp.send(message())
    assert len(server.taken) == 2


@pytest.mark.parametrize(
    ("answers", "error", "down", "says"),
    [
        ({"answers": ["550 5.1.1 no such user"]}, PermanentError, False, "550 5.1.1 no such user"),
        ({"answers": ["451 4.7.1 greylisted"]}, TemporaryError, False, "451 4.7.1 greylisted"),
        ({"answers": ["452 4.2.2 mailbox full"]}, TemporaryError, False, "452 4.2.2 mailbox full"),
        ({"data_answers": ["554 5.7.1 looks like spam"]}, PermanentError, False, "554 5.7.1 looks like spam"),
        ({"data_answers": ["451 4.3.0 later"]}, TemporaryError, False, "451 4.3.0 later"),
        ({"answers": ["421 4.3.2 shutting down"]}, TemporaryError, True, "421 4.3.2 shutting down"),
        ({"sender_answers": ["550 5.7.1 not yours"]}, TemporaryError, True, "the sender is refused: 550"),
        ({"sender_answers": ["450 4.7.1 slower"]}, TemporaryError, True, "the sender is refused: 450"),
    ],
)
async def test_what_an_answer_means(
    mail_server: MailServer, answers: dict[str, list[str]], error: type[Exception], *, down: bool, says: str
) -> None:
    for name, said in answers.items():
        setattr(mail_server, name, list(said))
    async with channel(mail_server) as smtp:
        with pytest.raises(error, match=says) as caught:
            await smtp.send(message())
        if isinstance(caught.value, TemporaryError):
            assert caught.value.down is down
        assert mail_server.taken == []
        await smtp.send(message())
    assert len(mail_server.taken) == 1


async def test_a_server_that_hangs(mail_server: MailServer) -> None:
    mail_server.hang = True
    async with channel(mail_server, timeout_s=0.3) as smtp:
        with pytest.raises(TemporaryError, match=r"did not take the mail within 0.3 s") as caught:
            await smtp.send(message())
        assert not caught.value.down
        mail_server.hang = False
        await smtp.send(message())


async def test_a_server_that_drops_the_line(mail_server: MailServer) -> None:
    mail_server.drop = True
    async with channel(mail_server) as smtp:
        with pytest.raises(TemporaryError, match="the connection broke") as caught:
            await smtp.send(message())
        assert not caught.value.down


async def test_nobody_listens() -> None:
    async with channel(MailServer()) as smtp:
        with pytest.raises(TemporaryError, match="does not let us in") as caught:
            await smtp.send(message())
        assert caught.value.down


async def test_a_server_that_never_greets() -> None:
    server = MailServer()
    done = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await done.wait()
        writer.close()

    listening = await asyncio.start_server(silent, "127.0.0.1", server.port)
    async with listening, channel(server, timeout_s=0.3) as smtp:
        with pytest.raises(TemporaryError, match=r"did not let us in within 0.3 s") as caught:
            await smtp.send(message())
        assert caught.value.down
        done.set()


# ---------------------------------------------------------------------- TLS and authentication


async def test_starttls_and_password(tmp_path: Path) -> None:
    context, ca = certificate(tmp_path)
    server = MailServer()
    with server.running(tls_context=context, require_starttls=True, authenticator=let_in, auth_required=True):
        async with channel(server, tls="starttls", tls_ca=str(ca), user=USER, password=PASSWORD) as smtp:
            await smtp.send(message())
        assert len(server.taken) == 1
        async with channel(
            server, tls="starttls", tls_ca=str(ca), user=USER, password="wrong-password"
        ) as smtp:
            with pytest.raises(TemporaryError, match="does not let us in") as caught:
                await smtp.send(message())
            assert caught.value.down
            assert "wrong-password" not in str(caught.value)


async def test_tls_from_the_first_byte(tmp_path: Path) -> None:
    context, ca = certificate(tmp_path)
    server = MailServer()
    with server.running_tls(context):
        async with channel(server, tls="tls", tls_ca=str(ca)) as smtp:
            await smtp.send(message())
    assert len(server.taken) == 1


async def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    context, _ = certificate(tmp_path)
    server = MailServer()
    with server.running(tls_context=context):
        async with channel(server, tls="starttls") as smtp:
            with pytest.raises(TemporaryError, match=r"(?i)certificate") as caught:
                await smtp.send(message())
            assert caught.value.down


async def test_starttls_is_demanded_not_hoped_for(mail_server: MailServer) -> None:
    async with channel(mail_server, tls="starttls") as smtp:
        with pytest.raises(TemporaryError, match=r"(?i)starttls"):
            await smtp.send(message())
    assert mail_server.taken == []


# ---------------------------------------------------------------------- what cannot be sent


async def test_a_payload_of_another_version(mail_server: MailServer) -> None:
    async with channel(mail_server) as smtp:
        with pytest.raises(PermanentError, match="cannot be worded"):
            await smtp.send(message(payload={"type": "from the future"}))


async def test_an_address_in_letters_that_not_every_server_can_read() -> None:
    server = MailServer()
    async with channel(server) as smtp:
        with server.running(enable_SMTPUTF8=False), pytest.raises(PermanentError, match="SMTPUTF8"):
            await smtp.send(message("почта@example.com"))
        assert server.taken == []
        with server.running():
            await smtp.send(message("почта@example.com"))
    assert server.recipients == ["почта@example.com"]
