"""Reports that people keep, and what their calendars make due: an event that is over is a period to report."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import msgspec
import structlog
from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.model.schedule import ScheduleError, ended_within
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.outbox import NewMessage, enqueue

log = structlog.get_logger(__name__)

CHANNEL: Final = "report"
LOOK_S: Final = 20.0  # how late an event's end may be noticed
RETRY_S: Final = 1.0
AT_ONCE_MAX: Final = 100
AHEAD: Final = timedelta(days=32)  # a calendar is looked at once a month at least
PERIODS_MAX: Final = 31  # of one report after an outage; what is older is not mailed any more

DUE: LiteralString = """
SELECT r.id, r.account_id, r.user_id, r.type, r.description, r.attributes, r.done_to, c.data, a.zone, u.email,
       ARRAY(SELECT l.owner_id FROM core.links l WHERE l.kind = 'report' AND l.object_id = r.id AND l.owner = 'device'),
       ARRAY(SELECT l.owner_id FROM core.links l WHERE l.kind = 'report' AND l.object_id = r.id AND l.owner = 'group')
FROM core.reports r
JOIN core.accounts a ON a.id = r.account_id
LEFT JOIN core.calendars c ON c.id = r.calendar_id
LEFT JOIN core.users u ON u.id = r.user_id
WHERE r.next_at <= %(now)s ORDER BY r.next_at, r.id LIMIT %(at_most)s FOR UPDATE OF r SKIP LOCKED
"""
DONE: LiteralString = "UPDATE core.reports SET done_to = %s, next_at = %s WHERE id = %s"


class ReportOrder(Struct, frozen=True, rename="camel", tag="report"):
    """A report to be made and mailed, as the outbox keeps it: made at the moment of sending, in the user's name."""

    report: str
    user_id: int
    since: datetime
    until: datetime
    description: str = ""
    device_ids: tuple[int, ...] = ()
    group_ids: tuple[int, ...] = ()
    fence_ids: tuple[int, ...] = ()
    types: tuple[str, ...] = ()
    daily: bool = False
    form: str = "xlsx"


class _Saved(Struct, frozen=True):
    id: int
    account_id: int
    user_id: int | None
    type: str
    description: str
    attributes: dict[str, Any]
    done_to: datetime
    calendar: str | None
    zone: str
    email: str | None
    device_ids: list[int]
    group_ids: list[int]


async def order(
    connection: AsyncConnection[Any],
    key: str,
    wanted: ReportOrder,
    email: str,
    account_id: int | None,
    now: datetime,
) -> None:
    """Have it mailed; the same key twice is one mail."""
    message = NewMessage(
        key=key,
        channel=CHANNEL,
        recipient=email,
        account_id=account_id,
        device_id=None,
        payload=msgspec.to_builtins(wanted),
        due_at=now,
    )
    await enqueue(connection, [message], now)


class ReportClock:
    """Runs for as long as the server does. Several processes may: a report's row lets one of them work on it."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def run(self) -> None:
        """Look, sleep, look; a defect of ours is told and tried again."""
        while True:
            pause_s = LOOK_S
            try:
                async with await self._database.connect(Role.CORE) as connection:
                    while await self.work_due(connection) == AT_ONCE_MAX:
                        pass
            except AWAY as error:
                log.warning("saved reports wait for the database", error=str(error).strip())
                pause_s = RETRY_S
            except Exception:
                log.exception("saved reports met a defect of ours")
            await asyncio.sleep(pause_s)

    async def work_due(self, connection: AsyncConnection[Any]) -> int:
        """Order what is due; answers how many reports were looked at."""
        now = self._now()
        async with connection.transaction():
            found = await connection.execute(DUE, {"now": now, "at_most": AT_ONCE_MAX})
            rows = [_Saved(*row) for row in await found.fetchall()]
            for saved in rows:
                next_at: datetime | None = None
                if saved.calendar is not None and saved.email and saved.user_id is not None:
                    try:
                        next_at = await self._look(connection, saved, saved.calendar, saved.email, now)
                    except ScheduleError as error:
                        log.warning("a report's calendar cannot be read", report=saved.id, error=str(error))
                await connection.execute(DONE, [now, next_at, saved.id])
        return len(rows)

    async def _look(
        self, connection: AsyncConnection[Any], saved: _Saved, calendar: str, email: str, now: datetime
    ) -> datetime:
        """Order each period that is over; answers when there may be another."""
        assert saved.user_id is not None
        for begins, ends in ended_within(calendar, saved.zone, saved.done_to, now)[-PERIODS_MAX:]:
            wanted = order_of(
                saved.type,
                saved.user_id,
                begins,
                ends - timedelta(microseconds=1),
                saved.description,
                saved.attributes,
                (saved.device_ids, saved.group_ids),
            )
            await order(
                connection, f"report:{saved.id}:{ends.isoformat()}", wanted, email, saved.account_id, now
            )
        coming = ended_within(calendar, saved.zone, now, now + AHEAD)
        return coming[0][1] if coming else now + AHEAD


def order_of(
    report: str,
    user_id: int,
    since: datetime,
    until: datetime,
    description: str,
    attributes: dict[str, Any],
    linked: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> ReportOrder:
    """What a saved report's attributes say: ``deviceIds``, ``groupIds``, ``geofenceIds``, ``types``, ``daily``, ``format``.
    ``linked``: trackers and groups that are linked to it besides.
    """
    return ReportOrder(
        report=report,
        user_id=user_id,
        since=since,
        until=until,
        description=description,
        device_ids=(*_numbers(attributes.get("deviceIds")), *linked[0]),
        group_ids=(*_numbers(attributes.get("groupIds")), *linked[1]),
        fence_ids=_numbers(attributes.get("geofenceIds")),
        types=tuple(str(one) for one in attributes.get("types") or ()),
        daily=bool(attributes.get("daily")),
        form="csv" if attributes.get("format") == "csv" else "xlsx",
    )


def _numbers(given: Any) -> tuple[int, ...]:
    return tuple(one for one in given if isinstance(one, int)) if isinstance(given, list) else ()


async def keep_for(connection: AsyncConnection[Any], report_id: int, user_id: int) -> None:
    """Whose report it is: in his name it is made, and to him it goes."""
    await connection.execute("UPDATE core.reports SET user_id = %s WHERE id = %s", [user_id, report_id])


async def begin_anew(connection: AsyncConnection[Any], report_id: int) -> None:
    """After a change it is mailed for what ends from now on."""
    await connection.execute(
        "UPDATE core.reports SET done_to = now(), next_at = now() WHERE id = %s", [report_id]
    )


async def user_of_order(connection: AsyncConnection[Any], user_id: int) -> tuple[str, str] | None:
    """The language of his account and its zone; None: there is no such user."""
    found = await connection.execute(
        "SELECT coalesce(a.language, 'en'), coalesce(a.zone, 'UTC') FROM core.users u"
        " LEFT JOIN core.accounts a ON a.id = u.account_id WHERE u.id = %s",
        [user_id],
    )
    return await found.fetchone()
