"""From stored events to messages in the outbox, in the transaction that stores the events.

Nothing of a tracker that is hidden becomes a message, then or later: its events are marked as suppressed, and so are those
that are found when it is shown again, but happened while it was not. Only young events are told. What a rule's throttle or an
account's budget keeps back stands in the delivery log all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import structlog
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from tracker_server.alerts.letters import encode
from tracker_server.alerts.rules import EMAIL, NOBODY, SMS, WEB, AlertEvent, Memory, RuleRow, Told
from tracker_server.alerts.wording import worded
from tracker_server.config import Alerts
from tracker_server.gate import Hidden, decide
from tracker_server.metrics import Metrics
from tracker_server.pipeline.alert_book import AlertBook
from tracker_server.pipeline.dispatcher import UNDELIVERED
from tracker_server.pipeline.trackers import Trackers
from tracker_server.storage.database import AWAY

log = structlog.get_logger(__name__)

THROTTLED = "throttled"  # the rule's own pause
REPEATED = "repeated"  # the same thing was told before it was found to have been at another moment
BUDGET = "budget"  # the account has had as many messages as it may

SUPPRESS = """
UPDATE core.events e SET attributes = e.attributes || '{"suppressed": true}'
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[]) AS s (id, device_id, occurred_at)
WHERE e.id = s.id AND e.device_id = s.device_id AND e.occurred_at = s.occurred_at
"""
# of an event there is a row for each tracker that it is about
HIDDEN_THEN = """
SELECT DISTINCT e.id FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[]) AS e (id, device_id, occurred_at)
WHERE EXISTS (SELECT FROM core.lifted l WHERE l.device_id = e.device_id
              AND l.hidden_from <= e.occurred_at AND e.occurred_at < l.hidden_until)
   OR EXISTS (SELECT FROM core.blocks b WHERE b.device_id = e.device_id
              AND b.since <= e.occurred_at AND e.occurred_at < coalesce(b.until, 'infinity'))
"""
WRITE = """
INSERT INTO core.outbox (key, channel, recipient, account_id, device_id, payload, created_at, due_at, next_at, rule_id,
                         event_id, event_at, event_type, fence_id, withheld_at, withheld, error, body, delivered_at, other_ids)
SELECT m.key, m.channel, m.recipient, m.account_id, m.device_id, m.payload, %(now)s, m.due_at, m.due_at, m.rule_id,
       m.event_id, m.event_at, m.event_type, m.fence_id, CASE WHEN m.withheld IS NOT NULL THEN %(now)s END, m.withheld, m.error,
       m.body, CASE WHEN m.channel = 'web' AND m.withheld IS NULL THEN %(now)s END,
       string_to_array(m.others, ' ')::bigint[]
FROM unnest(%(keys)s::text[], %(channels)s::text[], %(recipients)s::text[], %(accounts)s::bigint[], %(devices)s::bigint[],
            %(payloads)s::jsonb[], %(dues)s::timestamptz[], %(rules)s::bigint[], %(events)s::bigint[],
            %(moments)s::timestamptz[], %(types)s::text[], %(fences)s::bigint[], %(withheld)s::text[], %(errors)s::text[],
            %(bodies)s::text[], %(others)s::text[])
    AS m (key, channel, recipient, account_id, device_id, payload, due_at, rule_id, event_id, event_at, event_type,
          fence_id, withheld, error, body, others)
ON CONFLICT (key) DO NOTHING
"""
# What was told of these trackers by these rules: for the throttle the newest moment of each kind; and of what this very
# transaction has superseded, for it turned out to have happened at another moment, that it was told.
TOLD_BEFORE = """
SELECT rule_id, device_id, event_type, max(event_at) FROM core.outbox
WHERE event_id IS NOT NULL AND withheld IS NULL AND rule_id = ANY(%s) AND device_id = ANY(%s) AND event_at > %s
GROUP BY 1, 2, 3
"""
REDATED = """
SELECT DISTINCT o.rule_id, o.device_id, o.event_type, coalesce(o.fence_id, 0), coalesce(o.other_ids, '{}')
FROM core.outbox o
JOIN core.events e ON e.device_id = o.device_id AND e.occurred_at = o.event_at AND e.id = o.event_id
    AND e.superseded AND e.superseded_at = now()
WHERE (o.withheld IS NULL OR o.withheld = 'repeated')
  AND o.rule_id = ANY(%s) AND o.device_id = ANY(%s) AND o.event_at > %s
"""
SPENT = """
SELECT account_id, channel, count(*) FROM core.outbox
WHERE event_id IS NOT NULL AND withheld IS NULL AND (account_id, channel) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))
  AND created_at >= CASE channel WHEN 'sms' THEN %s ELSE %s END
GROUP BY 1, 2
"""


class NewAlert(Struct):
    """A message that is about to be written, and why it would be withheld."""

    event: AlertEvent
    told: Told
    withheld: str | None = None
    error: str | None = None

    @property
    def key(self) -> str:
        """The same for the same event, rule, channel and recipient, however often it is written."""
        return f"alert:{self.event.id}:{self.told.row.id}:{self.told.channel}:{self.told.recipient}"


class AlertWriter:
    """Writes what events become. ``trackers``: the gate in memory."""

    def __init__(self, book: AlertBook, trackers: Trackers, settings: Alerts, metrics: Metrics) -> None:
        self._book = book
        self._trackers = trackers
        self._settings = settings
        self._metrics = metrics

    async def write_alerts(
        self, connection: AsyncConnection[Any], events: Sequence[AlertEvent], now: datetime
    ) -> None:
        """Part of the transaction that the caller has open, in which the events have just been stored. A defect of
        ours, or a row that the database refuses, costs the alerts and not the events, and is told.
        """
        try:
            hidden = [event for event in events if event.hidden or self._is_hidden(event, now)]
            away = {event.id for event in hidden}
            new = list(self._new((event for event in events if event.id not in away), now))
        except Exception:
            log.exception("alerts cannot be decided")
            self._metrics.alerts_failed.inc(len(events))
            return
        if not hidden and not new:
            return
        try:
            async with connection.transaction():
                then = await hidden_then(connection, {alert.event.id: alert.event for alert in new})
                new = [alert for alert in new if alert.event.id not in then]
                hidden += then.values()
                if hidden:
                    await suppress(connection, hidden)
                if new:
                    await write(connection, new, self._book, self._settings, now)
        except AWAY:
            raise
        except psycopg.Error:
            log.exception("alerts cannot be written")
            self._metrics.alerts_failed.inc(len(new))

    def _new(self, events: Iterable[AlertEvent], now: datetime) -> Iterable[NewAlert]:
        oldest = now - timedelta(seconds=self._settings.age_max_s)
        for event in events:
            if event.account_id in self._book and event.occurred_at >= oldest:
                for told in self._book.told(event, now):
                    yield NewAlert(event, told)

    def _is_hidden(self, event: AlertEvent, now: datetime) -> bool:
        """Also where another tracker that it is about is hidden, or is not there any more."""
        return self._hides(event.device_id, now, unknown=False) or any(
            self._hides(device_id, now, unknown=True) for device_id in event.other_ids
        )

    def _hides(self, device_id: int, now: datetime, *, unknown: bool) -> bool:
        tracker = self._trackers.by_id(device_id)
        if tracker is None:
            return unknown
        return bool(tracker.blocks) and isinstance(decide(tracker.blocks, now), Hidden)


async def hidden_then(
    connection: AsyncConnection[Any], events: Mapping[int, AlertEvent]
) -> dict[int, AlertEvent]:
    """Those, by id, that happened while a tracker that they are about was hidden, though all are shown now."""
    if not events:
        return {}
    rows = [
        (event.id, device_id, event.occurred_at)
        for event in events.values()
        for device_id in (event.device_id, *event.other_ids)
    ]
    found = await connection.execute(HIDDEN_THEN, [list(column) for column in zip(*rows, strict=True)])
    return {row[0]: events[row[0]] for row in await found.fetchall()}


async def suppress(connection: AsyncConnection[Any], events: Sequence[AlertEvent]) -> None:
    """Mark events of hidden trackers: nobody was told of them, nor will be."""
    await connection.execute(
        SUPPRESS,
        [
            [event.id for event in events],
            [event.device_id for event in events],
            [event.occurred_at for event in events],
        ],
    )


async def write(
    connection: AsyncConnection[Any], new: list[NewAlert], book: AlertBook, settings: Alerts, now: datetime
) -> None:
    """Messages with their keys: those that are there already are left alone."""
    for alert in new:
        if alert.told.recipient == NOBODY:
            alert.withheld, alert.error = UNDELIVERED, f"there is no address for {alert.told.channel}"
    await _withhold_repeated(connection, new, settings, now)
    await _withhold_over_budget(connection, new, book, settings, now)
    letters = [book.letter(alert.event, alert.told) for alert in new]
    await connection.execute(
        WRITE,
        {
            "now": now,
            "keys": [alert.key for alert in new],
            "channels": [alert.told.channel for alert in new],
            "recipients": [alert.told.recipient for alert in new],
            "accounts": [alert.event.account_id for alert in new],
            "devices": [alert.event.device_id for alert in new],
            "payloads": [Jsonb(encode(letter)) for letter in letters],
            "dues": [alert.told.due_at for alert in new],
            "rules": [alert.told.row.id for alert in new],
            "events": [alert.event.id for alert in new],
            "moments": [alert.event.occurred_at for alert in new],
            "types": [alert.event.type for alert in new],
            "fences": [alert.event.fence_id for alert in new],
            "withheld": [alert.withheld for alert in new],
            "errors": [alert.error for alert in new],
            "bodies": [
                worded(letter).subject if alert.told.channel == WEB else None
                for alert, letter in zip(new, letters, strict=True)
            ],
            "others": [" ".join(map(str, alert.event.other_ids)) or None for alert in new],
        },
    )


async def _withhold_repeated(
    connection: AsyncConnection[Any], new: list[NewAlert], settings: Alerts, now: datetime
) -> None:
    """What the throttle keeps back, and what was told already and has only moved in time."""
    rules = list({alert.told.row.id for alert in new})
    devices = list({alert.event.device_id for alert in new})
    longest = max(alert.told.row.rule.throttle_s for alert in new)
    memory = Memory()
    if longest:
        since = min(alert.event.occurred_at for alert in new) - timedelta(seconds=longest)
        rows = await connection.execute(TOLD_BEFORE, [rules, devices, since])
        memory = Memory({(rule, device, kind): at for rule, device, kind, at in await rows.fetchall()})
    rows = await connection.execute(
        REDATED, [rules, devices, now - 2 * timedelta(seconds=settings.age_max_s)]
    )
    redated = {(*row[:4], tuple(row[4])) for row in await rows.fetchall()}
    fresh: dict[tuple[int, int, str], NewAlert] = {}
    for alert in sorted(new, key=lambda one: one.event.occurred_at):
        event, row = alert.event, alert.told.row
        of_kind = (row.id, event.device_id, event.type)
        if alert.withheld:
            continue
        if (*of_kind, event.fence_id or 0, event.other_ids) in redated:
            alert.withheld, alert.error = REPEATED, "it was told before; a late fix has moved it in time"
        elif memory.too_soon(row, event) or _too_soon_after(fresh.get(of_kind), event, row):
            alert.withheld, alert.error = (
                THROTTLED,
                f"told again after {row.rule.throttle_s} s at the soonest",
            )
        else:
            fresh[of_kind] = alert


def _too_soon_after(before: NewAlert | None, event: AlertEvent, row: RuleRow) -> bool:
    """Of two events that are written together the earlier is told; its other messages are no repeats of it."""
    if before is None or before.event.id == event.id:
        return False
    return event.occurred_at - before.event.occurred_at < timedelta(seconds=row.rule.throttle_s)


async def _withhold_over_budget(
    connection: AsyncConnection[Any], new: list[NewAlert], book: AlertBook, settings: Alerts, now: datetime
) -> None:
    """SMS of the account's local day, mails of the last hour: above the limit a message is logged and not sent."""
    limits = {SMS: settings.sms_per_day_max, EMAIL: settings.mails_per_hour_max}
    for account_id in {alert.event.account_id for alert in new}:
        wanted = {
            channel: [
                alert
                for alert in new
                if alert.event.account_id == account_id
                and alert.told.channel == channel
                and not alert.withheld
            ]
            for channel in limits
        }
        asked = [channel for channel, alerts in wanted.items() if alerts]
        if not asked:
            continue
        household = book.household(account_id)
        assert household is not None
        zone = ZoneInfo(household.zone)
        midnight = datetime.combine(now.astimezone(zone).date(), time(), zone).astimezone(UTC)
        rows = await connection.execute(
            SPENT, [[account_id] * len(asked), asked, midnight, now - timedelta(hours=1)]
        )
        spent = {channel: count for _, channel, count in await rows.fetchall()}
        for channel in asked:
            room = max(limits[channel] - spent.get(channel, 0), 0)
            for alert in wanted[channel][room:]:
                alert.withheld = BUDGET
                alert.error = f"the account has had {limits[channel]} {'SMS today' if channel == SMS else 'mails in an hour'}"
