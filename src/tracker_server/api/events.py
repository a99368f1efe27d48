"""One event by its number. Lists of events are a report."""

from __future__ import annotations

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import not_found
from tracker_server.api.event_shape import Event, event_shape
from tracker_server.model.people import Right
from tracker_server.storage.reports_api import events_numbered

routes = Routes("Events")


@routes.get("/events/{id}", needs=Right.READ, objects={"id": Kind.EVENT}, answers=Event)
async def get_event(call: Call[None, None]) -> Event:
    """One event of a tracker that may be seen."""
    async with call.services.pools.display() as connection:
        rows = await events_numbered(connection, [call.id])
    if not rows:
        raise not_found(f"event {call.id}")
    return event_shape(rows[0])
