"""A real SMTP server on loopback that can be told to behave badly, and that tells what it took."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.ports import free_port
from tests.servers.waiting import wait_until

USER, PASSWORD = "tracker", "a-password-nobody-may-read"


class MailServer:
    """``answers``: what to say next to RCPT; ``data_answers``: to the mail itself. ``hang`` and ``drop``: to do at
    the next mail. With none of them it takes every mail.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.taken: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.answers: list[str] = []
        self.data_answers: list[str] = []
        self.sender_answers: list[str] = []
        self.hang = False
        self.drop = False
        self.drop_after_taking = False
        self.connections = 0
        self.tried: list[str] = []

    # ------------------------------------------------------------------ as aiosmtpd's handler

    async def handle_EHLO(self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]) -> list[str]:  # noqa: N802  # fmt: skip
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802  # fmt: skip
        if self.sender_answers:
            return self.sender_answers.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]) -> str:  # noqa: N802  # fmt: skip
        self.tried.append(address)
        if self.answers:
            return self.answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.data_answers:
            return self.data_answers.pop(0)
        transport = cast("asyncio.Transport", server.transport)
        if self.drop:
            transport.abort()
            return "250 nobody hears this"
        if self.hang:
            await asyncio.Event().wait()
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.taken.append(mail)
        self.recipients += envelope.rcpt_tos
        if self.drop_after_taking:
            transport.abort()
        return "250 taken"

    # ------------------------------------------------------------------ what was taken

    @property
    def subjects(self) -> list[str]:
        return [str(mail["Subject"]) for mail in self.taken]

    def wait_for(self, count: int, within_s: float = 20.0) -> list[EmailMessage]:
        return wait_until(
            f"{count} mails", lambda: self.taken if len(self.taken) >= count else None, within_s
        )

    @contextmanager
    def running(self, **kwargs: Any) -> Generator[MailServer]:
        """It listens; afterwards the port refuses. May be entered again."""
        controller = Controller(self, hostname="127.0.0.1", port=self.port, **kwargs)
        controller.start()
        try:
            yield self
        finally:
            controller.stop()

    @contextmanager
    def running_tls(self, context: ssl.SSLContext) -> Generator[MailServer]:
        """It listens with TLS from the first byte."""
        with self.running(ssl_context=context) as running:
            yield running


def let_in(
    _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: object
) -> AuthResult:
    good = isinstance(data, LoginPassword) and data == LoginPassword(USER.encode(), PASSWORD.encode())
    return AuthResult(success=good, handled=False)


def certificate(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for 127.0.0.1, and the file of the authority to trust."""
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert, secret = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, secret)
    return context, cert
