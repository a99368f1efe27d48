"""The delivery log of alerts, and how one would be worded. The rules are ``/notifications``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct, field

from tracker_server.alerts.letters import Language
from tracker_server.alerts.rules import RuleError, kinds_of
from tracker_server.alerts.samples import sample
from tracker_server.alerts.wording import worded
from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import bad
from tracker_server.config import ConfigError, check_zone
from tracker_server.model.event import EventType
from tracker_server.model.people import Right
from tracker_server.notify.messages import html_of, text_of
from tracker_server.storage.alert_log import alert_log

routes = Routes("Alerts")

LIMIT_MAX = 1_000


class LogQuery(Struct, frozen=True, kw_only=True):
    """Which alerts; ``cursor``: only those before the one of this ``id``, the last of the page before."""

    device_id: list[int] = field(default_factory=list, name="deviceId")
    since: datetime | None = field(default=None, name="from")
    until: datetime | None = field(default=None, name="to")
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] = 100
    cursor: Annotated[int, Meta(ge=0, le=2**62)] = 0


class LoggedAlert(Struct, frozen=True, rename="camel"):
    """One message, and what became of it."""

    id: int
    at: datetime
    type: str
    event_id: int
    device_id: int
    channel: str
    recipient: str
    state: str
    attempts: int
    error: str | None
    created_at: datetime
    delivered_at: datetime | None
    text: str


class PreviewBody(Struct, frozen=True):
    """An event of a kind, made up."""

    type: str
    language: Language = "en"
    alarm: str = ""
    zone: str = "UTC"


class Preview(Struct, frozen=True):
    """How it would be told: by mail, and as an SMS."""

    subject: str
    text: str
    html: str
    sms: str


@routes.get(
    "/alerts/log",
    needs=Right.REPORTS,
    objects={"deviceId": Kind.SHOWN},
    query=LogQuery,
    answers=list[LoggedAlert],
)
async def get_alert_log(call: Call[LogQuery, None]) -> list[LoggedAlert]:
    """Alerts of the trackers that may be seen, newest first: sent, waiting, or why not."""
    query = call.query
    async with call.services.pools.display() as connection:
        return [
            LoggedAlert(**{name: row[name] for name in LoggedAlert.__struct_fields__})
            async for row in alert_log(
                connection,
                gated=True,
                receipt_hours=call.services.settings.sms.receipt_hours,
                scope=call.principal.scope,
                device_ids=query.device_id or None,
                since=query.since,
                until=query.until,
                limit=query.limit,
                before=query.cursor or None,
            )
        ]


@routes.post("/alerts/preview", needs=Right.READ, body=PreviewBody, answers=Preview)
async def preview_alert(call: Call[None, PreviewBody]) -> Preview:
    """How an event of a kind would be worded. Nothing is sent."""
    asked = call.body
    try:
        (kind,), alarms = kinds_of([asked.type])
        check_zone("zone", asked.zone)
    except RuleError as error:
        raise bad("type", str(error).removeprefix("type: ")) from None
    except ConfigError as error:
        raise bad("zone", str(error)) from None
    if kind not in set(EventType):
        raise bad("type", f"{kind!r} is no kind of event")
    alarm = alarms[0] if alarms else asked.alarm
    now = datetime.now(UTC).replace(microsecond=0)
    wording = worded(sample(kind, asked.language, asked.zone, now, alarm=alarm))
    return Preview(wording.subject, text_of(wording), html_of(wording), wording.line)
