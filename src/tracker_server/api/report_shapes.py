"""The rows of reports in the shapes that clients of this field read: knots, metres, milliseconds."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from tracker_server.api.event_shape import Event
from tracker_server.api.kept import Name
from tracker_server.api.position_shape import Position
from tracker_server.api.values import Number


class TripItem(Struct, rename="camel"):
    """A ride. One that goes on ends, for now, at its latest fix."""

    device_id: int
    device_name: str
    distance: float  # m
    average_speed: float  # knots
    max_speed: float
    spent_fuel: float
    start_odometer: float  # m
    end_odometer: float
    start_time: str
    end_time: str
    start_position_id: int
    end_position_id: int
    start_lat: float
    start_lon: float
    end_lat: float
    end_lon: float
    start_address: str | None
    end_address: str | None
    duration: int  # ms
    driver_unique_id: str | None
    driver_name: str | None


class StopItem(Struct, rename="camel"):
    """Standing at one place; ``engineHours``: ms with the engine running."""

    device_id: int
    device_name: str
    distance: float
    average_speed: float
    max_speed: float
    spent_fuel: float
    start_odometer: float
    end_odometer: float
    start_time: str
    end_time: str
    position_id: int
    latitude: float
    longitude: float
    address: str | None
    duration: int
    engine_hours: int


class SummaryItem(Struct, rename="camel"):
    """Sums of one tracker over the period, or over one day of it."""

    device_id: int
    device_name: str
    distance: float
    average_speed: float
    max_speed: float
    spent_fuel: float
    start_odometer: float
    end_odometer: float
    start_time: str
    end_time: str
    engine_hours: int  # ms: driving, and standing with the engine running
    trips: int


class VisitItem(Struct, rename="camel"):
    """The time in one geofence, whole, also where the period began in the middle of it; ``endTime`` null: inside."""

    device_id: int
    device_name: str
    geofence_id: int
    geofence_name: str
    start_time: str
    end_time: str | None
    duration: int | None  # ms


class DeviceItem(Struct, rename="camel"):
    """How a tracker stands."""

    device_id: int
    device_name: str
    unique_id: str
    status: str
    last_update: str | None
    fix_time: str | None
    latitude: float | None
    longitude: float | None
    speed: float | None
    course: float | None
    motion: bool | None
    total_distance: float | None


class CombinedItem(Struct, rename="camel"):
    """One tracker's way as ``[longitude, latitude]`` pairs, its events, and the positions of these."""

    device_id: int
    route: list[tuple[float, float]]
    events: list[Event]
    positions: list[Position]


class SavedReport(Struct, rename="camel", kw_only=True):
    """A report that is kept. With a calendar, each of its events that is over is a period to report, mailed to whoever kept
    it. ``attributes``: ``deviceIds``, ``groupIds``, ``geofenceIds``, ``types``, ``daily``, ``format`` (xlsx or csv).
    """

    id: Number = 0
    type: Name
    description: Annotated[str, Meta(max_length=200)] = ""
    calendar_id: Number | None = 0
    attributes: dict[str, Any] | None = {}
    account_id: Number | None = 0
