"""An event in the shape that clients of this field read."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from tracker_server.api.position_shape import KNOTS_PER_MPS, iso_ms
from tracker_server.storage.reports_api import EventRow

IN_KNOTS: Final = {"speed_mps": "speed", "limit_mps": "speedLimit"}
"""Where the engine names a unit, clients expect a name and knots; ours stand beside theirs."""


class Event(Struct, rename="camel"):
    """Something that happened; ``positionId`` 0 where a clock told it."""

    id: int
    type: str
    event_time: str
    device_id: int
    position_id: int
    geofence_id: int
    maintenance_id: int
    attributes: dict[str, Any]


def event_shape(row: EventRow, message: str | None = None) -> Event:
    """The shape of a row; ``message``: the sentence to show."""
    attributes: dict[str, Any] = msgspec.json.decode(row.attributes)
    for ours, theirs in IN_KNOTS.items():
        value = attributes.get(ours)
        if isinstance(value, int | float):
            attributes[theirs] = round(value * KNOTS_PER_MPS, 5)
    if message is not None:
        attributes["message"] = message
    maintenance = attributes.get("maintenance_id")
    return Event(
        id=row.id,
        type=row.type,
        event_time=iso_ms(row.occurred_at),
        device_id=row.device_id,
        position_id=row.position_id or 0,
        geofence_id=row.fence_id or 0,
        maintenance_id=maintenance if isinstance(maintenance, int) else 0,
        attributes=attributes,
    )


def event_json(row: EventRow, message: str) -> str:
    """One of them, with its sentence."""
    return msgspec.json.encode(event_shape(row, message)).decode()
