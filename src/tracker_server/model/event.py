"""What the track engine finds in a tracker's history: events, trips, stops and visits, as frozen values.

Moments are whole microseconds since 2000-01-01 UTC, as the database has them; ``moment`` makes datetimes
of them. Distances that are summed are whole millimetres, so that a sum does not depend on the order in
which its parts were added. Every finding has ``decided_us``: the moment of the observation at which the
engine was sure, which is what a run over a part of the history replaces findings by.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from msgspec import Struct

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
SECOND_US = 1_000_000


def moment(at_us: int) -> datetime:
    """The datetime of a count of microseconds since 2000-01-01 UTC."""
    return EPOCH + timedelta(microseconds=at_us)


class EventType(StrEnum):
    """The kinds of event by the names that clients of this field already read; ``geofenceDwell`` is ours."""

    COMMAND_RESULT = "commandResult"
    DEVICE_ONLINE = "deviceOnline"
    DEVICE_UNKNOWN = "deviceUnknown"
    DEVICE_OFFLINE = "deviceOffline"
    DEVICE_INACTIVE = "deviceInactive"
    QUEUED_COMMAND_SENT = "queuedCommandSent"
    DEVICE_MOVING = "deviceMoving"
    DEVICE_STOPPED = "deviceStopped"
    DEVICE_OVERSPEED = "deviceOverspeed"
    DEVICE_FUEL_DROP = "deviceFuelDrop"
    DEVICE_FUEL_INCREASE = "deviceFuelIncrease"
    GEOFENCE_ENTER = "geofenceEnter"
    GEOFENCE_EXIT = "geofenceExit"
    GEOFENCE_CROSSED = "geofenceCrossed"
    GEOFENCE_DWELL = "geofenceDwell"
    PROXIMITY_ENTER = "proximityEnter"
    PROXIMITY_EXIT = "proximityExit"
    UNACCOMPANIED_MOTION = "unaccompaniedMotion"
    ALARM = "alarm"
    IGNITION_ON = "ignitionOn"
    IGNITION_OFF = "ignitionOff"
    MAINTENANCE = "maintenance"
    DRIVER_CHANGED = "driverChanged"
    MEDIA = "media"


class Event(Struct, frozen=True, gc=False, tag_field="finding", tag="event"):
    """Something happened at ``occurred_us``, told by the report of that moment with ``digest`` (None: by the clock).

    ``attributes`` are JSON's values, with the unit in the name.
    """

    type: EventType
    occurred_us: int
    decided_us: int
    fence_id: int | None = None
    digest: int | None = None
    attributes: dict[str, Any] = {}


class Place(Struct, frozen=True, gc=False):
    """Where and by which report: degrees (WGS 84), and the digest that with the moment names the fix."""

    latitude: float
    longitude: float
    digest: int


class Trip(Struct, frozen=True, gc=False, tag_field="finding", tag="trip"):
    """A ride from one stop to the next; ``ended_us`` is None while it goes on.

    ``odometer_start_mm`` is the tracker's total at the start; ``speed_max_mps`` the highest speed told.
    ``fuel_start`` and ``fuel_end`` are litres, None where the device tells none.
    """

    started_us: int
    ended_us: int | None
    decided_us: int
    start: Place
    end: Place
    distance_mm: int
    odometer_start_mm: int
    speed_max_mps: float
    fuel_start: float | None = None
    fuel_end: float | None = None
    driver_unique_id: str | None = None


class Stop(Struct, frozen=True, gc=False, tag_field="finding", tag="stop"):
    """Standing at one place; ``ended_us`` is None while it lasts. ``engine_us``: engine time within it."""

    started_us: int
    ended_us: int | None
    decided_us: int
    place: Place
    engine_us: int = 0


class Visit(Struct, frozen=True, gc=False, tag_field="finding", tag="visit"):
    """The time in one geofence: from the first fix inside to the first fix outside; None while inside."""

    fence_id: int
    entered_us: int
    left_us: int | None
    decided_us: int


Finding = Event | Trip | Stop | Visit

_ENCODER = msgspec.json.Encoder(order="deterministic")


def identity(finding: Finding) -> bytes:
    """What makes two findings the same, whenever they were decided: everything else they say."""
    return _ENCODER.encode(msgspec.structs.replace(finding, decided_us=0))
