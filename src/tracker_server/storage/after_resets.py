"""The one-hour rule (R112): a tracker that was told to restart and sends no correct position for an hour goes to support.

Support is told what is known of the line, and of nobody where the tracker is: it may be hidden.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import structlog
from psycopg import AsyncConnection

from tracker_server.alerts.letters import SupportLetter, encode
from tracker_server.pipeline.dispatcher import EMAIL
from tracker_server.storage.invoices import read_seller
from tracker_server.storage.outbox import NewMessage, enqueue

log = structlog.get_logger(__name__)

PATIENCE: Final = timedelta(hours=1)
# what was sent earlier is not looked at any more: whoever was down that long knows more
LATEST: Final = timedelta(days=1)
AT_ONCE_MAX: Final = 500

DUE: LiteralString = """
SELECT q.id, q.device_id, d.account_id, d.unique_id, d.name, a.name, a.zone, q.sent_at, q.answered_at, s.contact_at,
       coalesce(m.state, 'removed'), m.reason, coalesce(p.reports, 0), coalesce(p.correct, 0), p.protocol,
       (SELECT count(*) FROM core.telemetry t
        WHERE t.device_id = q.device_id AND t.received_at > q.sent_at AND t.sent_at > q.sent_at - interval '1 day')
FROM core.command_queue q
JOIN core.devices d ON d.id = q.device_id
JOIN core.accounts a ON a.id = d.account_id
JOIN core.device_state s ON s.device_id = d.id
LEFT JOIN core.management m ON m.device_id = d.id
LEFT JOIN LATERAL (
    SELECT count(*) AS reports, count(*) FILTER (WHERE p.valid AND p.fixed_at > q.sent_at) AS correct, max(p.protocol) AS protocol
    FROM core.positions p
    WHERE p.device_id = q.device_id AND p.fixed_at > q.sent_at - interval '1 day' AND p.received_at > q.sent_at
) p ON true
WHERE q.type = 'rebootDevice' AND q.looked_at IS NULL AND q.sent_at <= %(until)s AND q.sent_at > %(since)s
ORDER BY q.sent_at LIMIT %(at_most)s FOR UPDATE OF q SKIP LOCKED
"""
LOOKED: LiteralString = "UPDATE core.command_queue SET looked_at = %s, silent = %s WHERE id = %s"


async def look_after_resets(connection: AsyncConnection[Any], now: datetime) -> list[str]:
    """Look at every tracker whose hour is over; answers those of which support was told."""
    flagged: list[str] = []
    async with connection.transaction():
        asked = {"until": now - PATIENCE, "since": now - LATEST, "at_most": AT_ONCE_MAX}
        rows = await (await connection.execute(DUE, asked)).fetchall()
        if not rows:
            return []
        support = (await read_seller(connection)).party.email
        for row in rows:
            number, _, account_id, unique_id, *_ = row
            correct = row[13]
            await connection.execute(LOOKED, [now, not correct, number])
            if correct:
                continue
            flagged.append(unique_id)
            log.warning("no correct position for an hour after a restart", tracker=unique_id)
            if support:
                key = f"support:reset:{number}:{EMAIL}"
                message = NewMessage(key, EMAIL, support, account_id, encode(_letter(row)), now)
                await enqueue(connection, [message], now)
    return flagged


def _letter(row: tuple[Any, ...]) -> SupportLetter:
    _, _, _, unique_id, name, account, zone, sent_at, answered_at, contact_at, state, reason, *counts = row
    reports, _, protocol, others = counts
    return SupportLetter(
        tracker=name or unique_id,
        unique_id=unique_id,
        account=account,
        zone=zone,
        reset_at=sent_at,
        answered_at=answered_at,
        contact_at=contact_at,
        state=state if reason is None else f"{state} ({reason})",
        protocol=protocol or "",
        without_fix=reports,
        others=others,
    )
