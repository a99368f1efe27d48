"""SMS and their money: one transaction debits, or writes the e-mail that goes instead (R67 to R75).

The account's lock makes two alerts that race for the last of a balance one SMS and one e-mail. A key is debited
once, however often it is tried; what comes back comes back once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from tracker_server.billing.book import Refused
from tracker_server.billing.commands import Delivery, Done, Sms, SmsFailed
from tracker_server.billing.reasons import Reason
from tracker_server.billing.sms import used_up
from tracker_server.billing.state import State
from tracker_server.billing.tariffs import Mode
from tracker_server.pipeline.dispatcher import (
    EMAIL,
    REPLACED,
    SUPPRESSED,
    UNDELIVERED,
    Outgoing,
    TemporaryError,
    utc_now,
)
from tracker_server.pipeline.sms import FAILED
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import AWAY, Database, Role

log = structlog.get_logger(__name__)

NO_MONEY = "the balance does not suffice for an SMS"
NO_ADDRESS = "and the account has no e-mail address: it is shown on the page only"

REACH = """
SELECT coalesce(a.email, ''), coalesce(d.unique_id, '') FROM core.outbox o JOIN core.accounts a ON a.id = o.account_id
LEFT JOIN core.devices d ON d.id = o.device_id WHERE o.id = %s
"""
BODY = """
UPDATE core.outbox SET body = %s
WHERE id = %s AND delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL
"""
END = """
UPDATE core.outbox SET withheld_at = %s, withheld = %s, error = left(%s, 500), attempts = attempts + 1
WHERE id = %s AND delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL
"""
INSTEAD = """
INSERT INTO core.outbox (key, channel, recipient, account_id, device_id, payload, created_at, due_at, next_at, rule_id,
                         event_id, event_at, event_type, fence_id)
SELECT key || ':email', %s, %s, account_id, device_id, payload, %s, %s, %s, rule_id, event_id, event_at, event_type, fence_id
FROM core.outbox WHERE id = %s
ON CONFLICT (key) DO NOTHING
"""
RECEIPT = """
UPDATE core.outbox SET receipt = CASE WHEN receipt = ANY(%(failed)s) THEN receipt ELSE %(state)s END, receipt_at = %(at)s
WHERE receipts && %(names)s AND channel = 'sms' RETURNING id, account_id, key, event_id IS NOT NULL, receipt
"""


def why_none(state: State) -> str:
    """Why an alert went by no SMS, and the cure."""
    tariff = state.tariff
    if tariff.mode is Mode.FREE:
        return f"the tariff {tariff.name!r} is free and so sends no SMS; change to one with a price for them"
    if state.price_on(state.date_at(state.settled_to)).sms_minor is None:
        return f"the tariff {tariff.name!r} has no price for SMS and so sends none; change to one that has"
    if used_up(state, state.settled_to):
        return (
            f"the tariff {tariff.name!r} allows {tariff.sms_max} SMS a month, and they are sent; "
            "change to a tariff with more"
        )
    return NO_MONEY


class SmsDesk:
    """See ``SmsOffice``. A connection of its own, one transaction at a time: the account's lock would order them anyway."""

    def __init__(
        self,
        database: Database,
        store: BillingStore,
        *,
        refund_undelivered: bool,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database = database
        self._store = store
        self._refund_undelivered = refund_undelivered
        self._now = now
        self._lock = asyncio.Lock()
        self._connection: AsyncConnection[Any] | None = None

    async def charge(self, message: Outgoing, text: str) -> bool:
        """Debit an alert once; answers whether it is to be sent."""
        assert message.account_id is not None
        now = self._now()
        async with self._transaction() as connection:
            email, device = await self._reach(connection, message.id)
            command = Sms(key=message.key, device=device or None, text=text, has_email=bool(email))
            outcome = await self._store.act(connection, message.account_id, command, now)
            match outcome.answer:
                case Done(delivery=Delivery.EMAIL):
                    await self._send_mail_instead(connection, message.id, email, why_none(outcome.state))
                case Done(delivery=Delivery.IN_APP):
                    await self._end(
                        connection, message.id, UNDELIVERED, f"{why_none(outcome.state)}; {NO_ADDRESS}"
                    )
                case Done(delivery=Delivery.SUPPRESSED):
                    await self._end(connection, message.id, SUPPRESSED, "its tracker is hidden")
                case Refused(reason=Reason.UNKNOWN_DEVICE):
                    await self._end(connection, message.id, UNDELIVERED, "its tracker is gone")
                case _:  # debited now, or at an earlier attempt
                    return bool((await connection.execute(BODY, [text, message.id])).rowcount)
            return False

    async def give_up(self, message: Outgoing, reason: str) -> None:
        """Money back, e-mail instead."""
        assert message.account_id is not None
        async with self._transaction() as connection:
            await self._take_back(connection, message.id, message.account_id, message.key, reason)
        log.warning("an SMS goes by e-mail instead", message=message.id, error=reason)

    async def receipt(self, names: Sequence[str], state: str, at: datetime) -> bool:
        """Note it; where it says that the SMS will never arrive, its money comes back and its e-mail is written."""
        async with self._transaction() as connection:
            rows = await connection.execute(
                RECEIPT, {"names": list(names), "state": state, "at": at, "failed": list(FAILED)}
            )
            found = await rows.fetchall()
            for message_id, account_id, key, alert, noted in found:
                if alert and noted in FAILED and self._refund_undelivered:
                    await self._take_back(
                        connection, message_id, account_id, key, f"the provider says {noted}"
                    )
        return bool(found)

    # ------------------------------------------------------------------ parts of a transaction

    async def _take_back(
        self, connection: AsyncConnection[Any], message_id: int, account_id: int, key: str, reason: str
    ) -> None:
        email, device = await self._reach(connection, message_id)
        # what was never debited is refused as unknown, and that is well
        command = SmsFailed(alert=key, device=device or None, has_email=bool(email))
        await self._store.act(connection, account_id, command, self._now())
        if email:
            await self._send_mail_instead(connection, message_id, email, reason)
        else:
            await self._end(connection, message_id, UNDELIVERED, f"{reason}; {NO_ADDRESS}")

    async def _send_mail_instead(
        self, connection: AsyncConnection[Any], message_id: int, email: str, reason: str
    ) -> None:
        now = self._now()
        await connection.execute(INSTEAD, [EMAIL, email, now, now, now, message_id])
        await self._end(connection, message_id, REPLACED, f"{reason}; it went by e-mail")

    async def _end(self, connection: AsyncConnection[Any], message_id: int, why: str, error: str) -> None:
        await connection.execute(END, [self._now(), why, error.replace("\0", " "), message_id])

    async def _reach(self, connection: AsyncConnection[Any], message_id: int) -> tuple[str, str]:
        row = await (await connection.execute(REACH, [message_id])).fetchone()
        return row or ("", "")

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[AsyncConnection[Any]]:
        async with self._lock:
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = await self._database.connect(Role.CORE)
                async with self._connection.transaction():
                    yield self._connection
            except AWAY as error:
                raise TemporaryError(f"the database is away: {str(error).strip()}", down=True) from error

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
