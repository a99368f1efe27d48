"""The monthly report by mail: the outbox's channel ``monthly``. It is made at the moment of sending, through the gate as it stands then."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from tracker_server.config import Smtp
from tracker_server.notify.smtp import SmtpChannel
from tracker_server.papers.monthly import monthly_letter, monthly_pdf
from tracker_server.pipeline.dispatcher import Channel, Outgoing, PermanentError, TemporaryError
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.monthly import CHANNEL, MonthlyOrder, read_month


class MonthlyChannel:
    """Makes and mails one report after another."""

    name = CHANNEL
    at_once = 1

    def __init__(self, database: Database, smtp: SmtpChannel) -> None:
        self._database = database
        self._smtp = smtp

    async def send(self, message: Outgoing) -> None:
        """Make one and hand it over. Raises TemporaryError, PermanentError."""
        try:
            order = msgspec.convert(message.payload, MonthlyOrder)
        except msgspec.ValidationError as error:
            raise PermanentError(f"the order cannot be read: {error}") from error
        try:
            async with (
                await self._database.connect(Role.CORE) as core,
                await self._database.connect(Role.DISPLAY) as display,
            ):
                report = await read_month(core, display, order.account_id, order.month, datetime.now(UTC))
        except AWAY as error:
            raise TemporaryError(str(error).strip(), down=True) from error
        subject, text = monthly_letter(report)
        name = f"report-{order.month:%Y-%m}.pdf"
        await self._smtp.send_file(message, subject, text, (monthly_pdf(report), "application", "pdf", name))

    async def close(self) -> None:
        """See ``Channel.close``."""
        await self._smtp.close()


def monthly_channels(smtp: Smtp, database: Database) -> dict[str, Channel]:
    """The channel, where e-mail is set up."""
    return {CHANNEL: MonthlyChannel(database, SmtpChannel(smtp))} if smtp.host else {}
