"""The delivery log of alerts: to whom, through which channel, when, and what became of each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from tracker_server.alerts.letters import LetterError, decode
from tracker_server.alerts.wording import worded
from tracker_server.model.people import IN_SCOPE, OTHERS_IN_SCOPE, Scope
from tracker_server.pipeline.dispatcher import DOWN
from tracker_server.pipeline.sms import DELIVERED, FAILED

COLUMNS: Final = (
    "id", "at", "type", "account", "unique_id", "channel", "recipient", "state", "attempts", "error", "text",
    "created_at", "delivered_at", "receipt",
)  # fmt: skip
STATES: Final = ("waiting", "sent", "unconfirmed", "delivered", "failed", "suppressed", "throttled", "budget", "repeated", "replaced", "undelivered")  # fmt: skip

# An SMS is sent when the provider took it over, and delivered when he says so. One who says such things and has not said
# it in time has lost the receipt, or the SMS: nobody knows.
_UNCONFIRMED: LiteralString = """l.channel = 'sms' AND l.receipt_due AND l.receipt IS DISTINCT FROM %(good)s
    AND NOT coalesce(l.receipt = ANY(%(bad)s), false) AND l.withheld IS NULL AND l.failed_at IS NULL
    AND l.delivered_at < now() - make_interval(hours => %(receipt_hours)s)"""
_STATE: LiteralString = f"""
CASE WHEN l.withheld IS NOT NULL THEN l.withheld WHEN l.failed_at IS NOT NULL OR l.receipt = ANY(%(bad)s) THEN 'failed'
     WHEN l.delivered_at IS NULL THEN 'waiting' WHEN l.channel <> 'sms' OR l.receipt = %(good)s THEN 'delivered'
     WHEN {_UNCONFIRMED} THEN 'unconfirmed' ELSE 'sent' END"""
_ERROR: LiteralString = f"""
CASE WHEN {_UNCONFIRMED} THEN format('no receipt came in %%s hours: nobody knows whether it arrived', %(receipt_hours)s::int)
     ELSE {{error}} END"""
# Why a channel of the operator's is down names his servers.
_SHOWN: LiteralString = rf"regexp_replace(l.error, '({DOWN}) \[.*\]', '\1')"
_SELECT: LiteralString = f"""
SELECT * FROM (
    SELECT l.id, l.event_at AS at, l.event_type AS type, {{account}} AS account, l.account_id, l.device_id, l.unique_id,
           l.channel, l.recipient, {_STATE} AS state, l.attempts, {_ERROR} AS error, l.body, l.payload, l.created_at,
           l.delivered_at, l.receipt, l.rule_id, l.event_id, l.other_ids
    FROM {{log}} l
) found
WHERE (%(device)s::text IS NULL OR unique_id = %(device)s) AND (%(device_ids)s::bigint[] IS NULL OR device_id = ANY(%(device_ids)s))
  AND (%(account)s::text IS NULL OR account = %(account)s) AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s) AND (%(until)s::timestamptz IS NULL OR created_at <= %(until)s)
  AND (%(before)s::bigint IS NULL OR id < %(before)s) AND {IN_SCOPE} AND {{others}}
ORDER BY id DESC LIMIT %(limit)s
"""  # noqa: S608  (our own words)
_EVERYTHING: LiteralString = """(SELECT o.*, o.receipts IS NOT NULL AS receipt_due, d.unique_id FROM core.outbox o JOIN core.devices d ON d.id = o.device_id
                                WHERE o.event_id IS NOT NULL)"""
_NAME: LiteralString = "(SELECT name FROM core.accounts a WHERE a.id = l.account_id)"


async def alert_log(  # noqa: PLR0913  (each narrows the list)
    connection: AsyncConnection[Any],
    *,
    gated: bool,
    receipt_hours: int,
    scope: Scope | None = None,
    device: str | None = None,
    device_ids: list[int] | None = None,
    account: str | None = None,
    state: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    before: int | None = None,
) -> AsyncIterator[dict[str, Any]]:
    """Alerts as ``COLUMNS`` and ids, newest first. ``gated``: as the customer may see them, which asks for the role
    DISPLAY; an account's name is not told there.
    """
    log, name, error = ("display.alerts", "NULL::text", _SHOWN) if gated else (_EVERYTHING, _NAME, "l.error")
    values = {
        **(scope or Scope(everything=True)).parameters(),
        "device": device,
        "device_ids": device_ids,
        "account": account,
        "state": state,
        "since": since,
        "until": until,
        "limit": limit,
        "before": before,
        "receipt_hours": receipt_hours,
        "bad": list(FAILED),
        "good": DELIVERED,
    }
    async with connection.cursor(row_factory=dict_row) as cursor:
        async for row in cursor.stream(
            _SELECT.format(log=log, account=name, error=error, others=OTHERS_IN_SCOPE if gated else "true"),
            values,
        ):
            yield {**row, "text": text_of(row)}


def text_of(row: dict[str, Any]) -> str:
    """As it was sent, else as it would be worded now."""
    if row["body"]:
        return row["body"]
    try:
        return worded(decode(row["payload"])).line
    except LetterError:
        return "?"
