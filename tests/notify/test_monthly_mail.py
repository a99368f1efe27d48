"""The monthly report (R125) on its way: made as it is sent, attached as PDF."""

from __future__ import annotations

import msgspec
import pytest

from tests.notify.mail_server import MailServer
from tests.storage.test_billing_store import operating
from tests.storage.test_monthly import BEGIN, MARCH, read, shop
from tracker_server.api.monthly_mail import MonthlyChannel
from tracker_server.config import Settings, Smtp, Storage
from tracker_server.notify.smtp import SmtpChannel
from tracker_server.papers.monthly import monthly_letter
from tracker_server.pipeline.dispatcher import Outgoing, PermanentError
from tracker_server.storage.database import Database
from tracker_server.storage.monthly import MonthlyOrder


async def test_r125_it_goes_out_as_a_pdf(postgres_dsn: str, mail_server: MailServer) -> None:
    async with operating(postgres_dsn) as operator:
        await shop(operator)
        smtp = SmtpChannel(
            Smtp(host="127.0.0.1", port=mail_server.port, tls="none", sender="Op <op@example.com>")
        )
        channel = MonthlyChannel(Database(Settings(storage=Storage(dsn=postgres_dsn))), smtp)
        order = msgspec.to_builtins(MonthlyOrder(operator.account, MARCH))
        try:
            await channel.send(
                Outgoing(1, "monthly:1", "monthly", "a@example.com", 1, order, BEGIN, BEGIN, 0)
            )
            with pytest.raises(PermanentError, match="cannot be read"):
                await channel.send(
                    Outgoing(1, "x", "monthly", "a@example.com", 1, {"type": "x"}, BEGIN, BEGIN, 0)
                )
        finally:
            await channel.close()
        (mail,) = mail_server.taken
        assert (mail["Subject"], mail["To"]) == ("Monthly report, March 2025", "a@example.com")
        (paper,) = mail.iter_attachments()
        assert (paper.get_content_type(), paper.get_filename()) == ("application/pdf", "report-2025-03.pdf")
        assert paper.get_content().startswith(b"%PDF")
        assert monthly_letter(await read(operator))[1] == "The report of March 2025 is attached.\n"
