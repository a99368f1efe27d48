"""E-mail over SMTP: TLS, authentication, connections kept for the next mail, and what each refusal means."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from email.message import EmailMessage
from typing import Final

from aiosmtplib import (
    SMTP,
    SMTPException,
    SMTPNotSupported,
    SMTPRecipientRefused,
    SMTPRecipientsRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from tracker_server.alerts.letters import LetterError, decode
from tracker_server.config import Smtp
from tracker_server.model import address
from tracker_server.notify.geocoder import Geocoder, wording_of
from tracker_server.notify.messages import mail_of, mail_with_file
from tracker_server.notify.picture import Pictures
from tracker_server.pipeline.dispatcher import EMAIL, Outgoing, PermanentError, TemporaryError

AT_ONCE: Final = 8  # mails on their way; providers let one sender have ten connections or so
KEPT_S: Final = 10.0  # for so long: servers close idle connections, some after less than a minute
CLOSING_S_MAX: Final = 2.0  # for a farewell
SERVICE_NOT_AVAILABLE: Final = 421  # RFC 5321 §3.8: may come at any time, in answer to anything


class SmtpChannel:
    """The channel ``email``."""

    name = EMAIL
    at_once = AT_ONCE

    def __init__(
        self, settings: Smtp, geocoder: Geocoder | None = None, pictures: Pictures | None = None
    ) -> None:
        self._geocoder = geocoder
        self._pictures = pictures
        self._settings = settings
        self._sender = address.sender(settings.sender, "smtp.from")
        self._kept: list[tuple[SMTP, float]] = []

    async def send(self, message: Outgoing) -> None:
        """Hand one mail over. Raises TemporaryError, PermanentError."""
        try:
            wording = await wording_of(message, self._geocoder)
            picture = None
            if self._pictures is not None:
                picture = await self._pictures.of(message, decode(message.payload), wording.subject)
            mail = mail_of(message, self._sender, wording, picture)
        except LetterError as error:
            raise PermanentError(f"the message cannot be worded: {error}") from error
        async with self._connection() as smtp:
            await self._hand_over(smtp, mail, message.recipient)

    async def send_file(
        self, message: Outgoing, subject: str, text: str, file: tuple[bytes, str, str, str]
    ) -> None:
        """Hand over one mail with an attachment: its bytes, media type and subtype, and name. Raises as ``send``."""
        mail = mail_with_file(message, self._sender, subject, text, file)
        async with self._connection() as smtp:
            await self._hand_over(smtp, mail, message.recipient)

    async def close(self) -> None:
        """Let go of the connections kept."""
        while self._kept:
            await self._part(self._kept.pop()[0])

    # ------------------------------------------------------------------ one mail

    async def _hand_over(self, smtp: SMTP, mail: EmailMessage, recipient: str) -> None:
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await smtp.send_message(mail, sender=self._sender.addr_spec, recipients=[recipient])
        except SMTPRecipientsRefused as error:
            raise self._of_answer(error.recipients[0]) from error
        except SMTPSenderRefused as error:
            # it is our own address that is refused, so nobody's mail would get through
            raise TemporaryError(f"the sender is refused: {self._said(error)}", down=True) from error
        except SMTPResponseException as error:
            raise self._of_answer(error) from error
        except SMTPNotSupported as error:
            raise PermanentError(str(error)) from error
        except TimeoutError as error:
            raise TemporaryError(
                f"the server did not take the mail within {self._settings.timeout_s:g} s"
            ) from error
        except (SMTPException, OSError) as error:
            raise TemporaryError(f"the connection broke: {self._clean(str(error))}") from error
        except ValueError as error:
            raise PermanentError(f"no address that can be written to: {error}") from error

    def _of_answer(
        self, error: SMTPResponseException | SMTPRecipientRefused
    ) -> TemporaryError | PermanentError:
        """RFC 5321 §4.2.1: 4yz may succeed later, 5yz will not."""
        if error.code == SERVICE_NOT_AVAILABLE:
            return TemporaryError(self._said(error), down=True)
        if error.code >= 500:
            return PermanentError(self._said(error))
        return TemporaryError(self._said(error))

    def _said(self, error: SMTPResponseException) -> str:
        return self._clean(f"{error.code} {error.message}")

    def _clean(self, text: str) -> str:
        """What a peer said, as one line without our password."""
        line = " ".join(text.split())
        return line.replace(self._settings.password, "…") if self._settings.password else line

    # ------------------------------------------------------------------ connections

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[SMTP]:
        """One that answers; kept afterwards, unless the mail did not end in a state that both sides know."""
        smtp = await self._kept_one() or await self._connect()
        try:
            yield smtp
        except PermanentError:
            await self._keep(smtp)
            raise
        except BaseException:
            smtp.close()
            raise
        else:
            await self._keep(smtp)

    async def _kept_one(self) -> SMTP | None:
        while self._kept:
            smtp, kept_at = self._kept.pop()
            if smtp.is_connected and asyncio.get_running_loop().time() - kept_at < KEPT_S:
                with suppress(SMTPException, OSError):
                    await smtp.noop(timeout=CLOSING_S_MAX)
                    return smtp
            await self._part(smtp)
        return None

    async def _keep(self, smtp: SMTP) -> None:
        if smtp.is_connected and len(self._kept) < AT_ONCE:
            self._kept.append((smtp, asyncio.get_running_loop().time()))
        else:
            await self._part(smtp)

    async def _part(self, smtp: SMTP) -> None:
        with suppress(SMTPException, OSError):
            await smtp.quit(timeout=CLOSING_S_MAX)
        smtp.close()

    async def _connect(self) -> SMTP:
        """Raises TemporaryError: whatever is wrong here keeps every mail back, so no mail is to blame."""
        chosen = self._settings
        smtp = SMTP(
            hostname=chosen.host,
            port=chosen.port,
            username=chosen.user or None,
            password=chosen.password or None,
            use_tls=chosen.tls == "tls",
            start_tls=chosen.tls == "starttls",
            tls_context=self._trust() if chosen.tls != "none" else None,
            timeout=chosen.timeout_s,
        )
        try:
            async with asyncio.timeout(chosen.timeout_s):
                await smtp.connect()
        except TimeoutError as error:
            smtp.close()
            text = f"{chosen.host}:{chosen.port} did not let us in within {chosen.timeout_s:g} s"
            raise TemporaryError(text, down=True) from error
        except (SMTPException, OSError) as error:
            smtp.close()
            text = f"{chosen.host}:{chosen.port} does not let us in: {self._clean(str(error))}"
            raise TemporaryError(text, down=True) from error
        return smtp

    def _trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._settings.tls_ca:
            context.load_verify_locations(self._settings.tls_ca)
        return context
