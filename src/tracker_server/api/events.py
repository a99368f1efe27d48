"""Events: one by its number, and all of them page by page. Those of a period at once are a report."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from msgspec import Meta, Struct, field

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import bad, not_found
from tracker_server.api.event_shape import Event, event_shape
from tracker_server.api.positions import checked_devices
from tracker_server.api.report_makers import ALL_EVENTS
from tracker_server.api.values import Number
from tracker_server.model.event import EPOCH, moment
from tracker_server.model.people import Right
from tracker_server.pipeline.batch import micros
from tracker_server.storage.reports_api import cards_of, events_before, events_numbered

routes = Routes("Events")

PAGE_MAX: Final = 1_000
FOREVER: Final = datetime(9999, 1, 1, tzinfo=UTC)


class EventsQuery(Struct, rename="camel"):
    """Of which trackers (none named: all that one may see), which kinds, when; ``cursor``: as the page before said."""

    device_id: list[Number] = field(default_factory=list)
    type: list[str] = field(default_factory=list)
    since: datetime | None = field(default=None, name="from")
    until: datetime | None = field(default=None, name="to")
    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 100
    cursor: Annotated[str, Meta(max_length=50)] = ""


class Events(Struct):
    """A page, newest first; ``next``: the cursor of the page after it, null: there is none."""

    events: list[Event]
    next: str | None


@routes.get(
    "/events", needs=Right.REPORTS, query=EventsQuery, objects={"deviceId": Kind.SHOWN}, answers=Events
)
async def get_events(call: Call[EventsQuery, None]) -> Events:
    """What happened, newest first, page by page."""
    query, scope = call.query, call.principal.scope
    types = None if not query.type or ALL_EVENTS in query.type else query.type
    before = _moment_of(query.cursor) if query.cursor else (FOREVER, 0)
    async with call.services.pools.display() as connection:
        devices = list(checked_devices(query.device_id)) or [
            card.id for card in await cards_of(connection, scope)
        ]
        rows = await events_before(
            connection,
            scope,
            devices,
            (query.since or EPOCH, query.until or FOREVER),
            before,
            types=types,
            rows_max=query.limit + 1,
        )
    page = rows[: query.limit]
    more = len(rows) > query.limit
    last = f"{micros(page[-1].occurred_at)}.{page[-1].id}" if more else None
    return Events([event_shape(row) for row in page], last)


def _moment_of(cursor: str) -> tuple[datetime, int]:
    """Moment and number of the event that a page ended with. Raises Refusal."""
    told, _, number = cursor.partition(".")
    try:
        return moment(int(told)), int(number)
    except (ValueError, OverflowError):
        raise bad("cursor", "is none of ours; write what the page before gave as next") from None


@routes.get("/events/{id}", needs=Right.READ, objects={"id": Kind.EVENT}, answers=Event)
async def get_event(call: Call[None, None]) -> Event:
    """One event of a tracker that may be seen."""
    async with call.services.pools.display() as connection:
        rows = await events_numbered(connection, [call.id])
    if not rows:
        raise not_found(f"event {call.id}")
    return event_shape(rows[0])
