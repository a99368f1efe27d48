"""Reports by mail: the outbox's channel ``report``.

What waits in the outbox is an order, no report. It is made at the moment of sending, in the name of the user to whom it
goes, as he stands then: a tracker that was blocked meanwhile is not in it, and who may read no reports gets none.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.api.access import Access
from tracker_server.api.errors import Refusal
from tracker_server.api.report_files import Sheet, csv_file, xlsx_file
from tracker_server.api.report_makers import Asked, Made, ReportMaker
from tracker_server.config import Smtp
from tracker_server.model.people import Principal, Right
from tracker_server.notify.smtp import SmtpChannel
from tracker_server.pipeline.dispatcher import Channel, Ended, Outgoing, PermanentError, TemporaryError
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.saved_reports import CHANNEL, ReportOrder, user_of_order


class Words(Struct, frozen=True):
    """Of the mail around a report; ``{…}`` as in ``str.format``."""

    subject: str
    text: str
    excluded: str


WORDS: Final[dict[str, Words]] = {
    "en": Words(
        "Report: {title}, {period}",
        "The report “{title}” for {period} is attached. It has {rows} rows.",
        "Blocked trackers that are not in it: {blocked}.",
    ),
    "es": Words(
        "Informe: {title}, {period}",
        "Adjuntamos el informe «{title}» de {period}. Tiene {rows} filas.",
        "Rastreadores bloqueados que no figuran en él: {blocked}.",
    ),
    "ru": Words(
        "Отчёт: {title}, {period}",
        "Во вложении отчёт «{title}» за {period}. Строк: {rows}.",
        "Заблокированные трекеры, которых в нём нет: {blocked}.",
    ),
}


class Doors:
    """As ``Pools``, without keeping connections: for a loop of its own, seldom."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def core(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """What is true."""
        return self._open(Role.CORE)

    def display(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """What may be shown."""
        return self._open(Role.DISPLAY)

    @asynccontextmanager
    async def _open(self, role: Role) -> AsyncGenerator[AsyncConnection[Any]]:
        async with await self._database.connect(role) as connection:
            yield connection


class ReportChannel:
    """Makes and mails them, one at a time."""

    name = CHANNEL
    at_once = 1

    def __init__(self, database: Database, access: Access, smtp: SmtpChannel) -> None:
        self._doors = Doors(database)
        self._access = access
        self._smtp = smtp

    async def send(self, message: Outgoing) -> tuple[str, ...] | Ended | None:
        """See ``Channel.send``."""
        try:
            order = msgspec.convert(message.payload, ReportOrder)
        except msgspec.ValidationError as error:
            raise PermanentError(f"the order cannot be read: {error}") from error
        try:
            async with self._doors.core() as connection:
                principal = await self._access.of_user(connection, order.user_id)
                told = await user_of_order(connection, order.user_id)
            if principal is None or told is None or not principal.may(Right.REPORTS):
                raise PermanentError("its user is gone, or may read no reports any more")
            report = await ReportMaker(self._doors).make(order.report, asked_of(order, principal))
        except Refusal as error:
            raise PermanentError(error.sentence) from error
        except KeyError as error:
            raise PermanentError(f"there is no report {error}") from error
        except AWAY as error:
            raise TemporaryError(str(error).strip(), down=True) from error
        language, zone = told
        sheet = Sheet(report.name, report.kind, report.rows, report.remark)
        whole = csv_file(sheet) if order.form == "csv" else xlsx_file(sheet, report.zone)
        subject, text = worded(order, report, language, zone)
        subtype = "csv" if order.form == "csv" else "vnd.openxmlformats-officedocument.spreadsheetml.sheet"
        file_name = f"{order.report}-{order.since:%Y%m%d}-{order.until:%Y%m%d}.{order.form}"
        await self._smtp.send_file(
            message,
            subject,
            text,
            (whole, "text" if order.form == "csv" else "application", subtype, file_name),
        )
        return None

    async def close(self) -> None:
        """See ``Channel.close``."""
        await self._smtp.close()


def asked_of(order: ReportOrder, principal: Principal) -> Asked:
    """The order, in the name of whoever gets it."""
    return Asked(
        principal=principal,
        since=order.since,
        until=order.until,
        device_ids=frozenset(order.device_ids),
        group_ids=frozenset(order.group_ids),
        fence_ids=frozenset(order.fence_ids),
        types=order.types,
        daily=order.daily,
    )


def worded(order: ReportOrder, report: Made, language: str, zone: str) -> tuple[str, str]:
    """Subject and text."""
    words = WORDS.get(language, WORDS["en"])
    title = order.description or order.report
    facts = {
        "title": " ".join(title.split()),
        "period": f"{_local(order.since, zone)} – {_local(order.until, zone)} ({zone})",
        "rows": len(report.rows),
        "blocked": report.blocked,
    }
    text = words.text.format(**facts)
    if report.blocked:
        text = f"{text}\n\n{words.excluded.format(**facts)}"
    return words.subject.format(**facts), f"{text}\n"


def _local(moment: datetime, zone: str) -> str:
    return f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def report_channels(smtp: Smtp, database: Database, access: Access) -> dict[str, Channel]:
    """The channel, where e-mail is set up."""
    return {CHANNEL: ReportChannel(database, access, SmtpChannel(smtp))} if smtp.host else {}
