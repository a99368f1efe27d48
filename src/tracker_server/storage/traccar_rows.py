"""One row of a Traccar database as what it is with us. Pure; rows are dicts of column names, for versions differ in theirs.

Facts of the other side: speeds are knots, moments are UTC without a zone, ``attributes`` and ``network`` are JSON as text,
areas are WKT with latitude first, and a LINESTRING's ``polylineDistance`` is metres to either side.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tracker_protocols.model import AccessPoint, Attributes, Cell, Fix, Network
from tracker_server.model.reading import UnreadableError, read_json
from tracker_server.storage.fences import NewFence
from tracker_server.storage.users import UserRow
from tracker_server.track.fences.wkt import Axes, read_wkt

Row = Mapping[str, Any]

YEAR_2000: Final = datetime(2000, 1, 1, tzinfo=UTC)  # no fix is from before that
KNOT_MPS: Final = 1852 / 3600
POLYLINE_DISTANCE_M: Final = 25.0  # where a corridor tells none
COMPUTED: Final = frozenset(
    {"distance", "totalDistance"}
)  # of the other server's own; ours computes them itself
PREFERENCES: Final = {
    "map": "map", "latitude": "latitude", "longitude": "longitude", "zoom": "zoom",
    "coordinateformat": "coordinate_format", "poilayer": "poi_layer",
}  # fmt: skip


class BadRowError(ValueError):
    """A row that cannot be brought over; the message says why."""


def json_of(text: Any) -> dict[str, Any]:
    """A column that holds a JSON object as text; empty where it holds none."""
    try:
        value = read_json(text) if text else {}
    except UnreadableError:
        return {}
    return value if isinstance(value, dict) else {}


def moment(value: datetime | None) -> datetime | None:
    """With its zone."""
    return (
        None
        if value is None
        else value.replace(tzinfo=UTC)
        if value.tzinfo is None
        else value.astimezone(UTC)
    )


def fix_of(row: Row, latest: datetime) -> Fix:
    """A position; ``latest``: the last moment that is believed. Raises BadRowError."""
    fixed_at = moment(row["fixtime"])
    latitude, longitude = row["latitude"], row["longitude"]
    if fixed_at is None:
        raise BadRowError("has no fix time")
    if not YEAR_2000 <= fixed_at <= latest:
        raise BadRowError(f"{fixed_at:%Y-%m-%d %H:%M:%S} UTC is before 2000, or ahead of the server's clock")
    if latitude is None or longitude is None or not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise BadRowError(f"latitude {latitude}, longitude {longitude} are no place on Earth")
    speed, accuracy = row.get("speed"), row.get("accuracy")
    return Fix(
        fixed_at=fixed_at,
        latitude=float(latitude),
        longitude=float(longitude),
        valid=bool(row.get("valid", True)),
        altitude_m=_number(row.get("altitude")),
        speed_mps=None if (knots := _number(speed)) is None else knots * KNOT_MPS,
        course_deg=_number(row.get("course")),
        accuracy_m=_number(accuracy) or None,  # 0: not told
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def attributes_of(row: Row) -> Attributes:
    """What the device said, without what the other server had computed."""
    return {name: value for name, value in json_of(row.get("attributes")).items() if name not in COMPUTED}


def network_of(row: Row) -> Network | None:
    """Cells and access points, where they are told."""
    told = json_of(row.get("network"))
    cells = tuple(
        Cell(
            int(cell.get("mobileCountryCode") or 0),
            int(cell.get("mobileNetworkCode") or 0),
            int(cell.get("locationAreaCode") or 0),
            int(cell["cellId"]),
            cell.get("signalStrength"),
        )
        for cell in told.get("cellTowers") or ()
        if isinstance(cell, dict) and isinstance(cell.get("cellId"), int)
    )
    points = tuple(
        AccessPoint(str(point["macAddress"]).lower(), point.get("signalStrength"))
        for point in told.get("wifiAccessPoints") or ()
        if isinstance(point, dict) and point.get("macAddress")
    )
    return Network(cells, points) if cells or points else None


def fence_of(row: Row) -> NewFence:
    """A geofence; it is for those trackers that it is linked to, and for the history that comes with it: when it was drawn
    is not known. Raises BadRowError, FenceError.
    """
    attributes = json_of(row.get("attributes"))
    told = _number(attributes.pop("polylineDistance", None))
    knots = _number(attributes.pop("speedLimit", None))
    area = row.get("area")
    if not area:
        raise BadRowError("has no area")
    shape = read_wkt(area, Axes.LAT_LON, width_m=2 * (told or POLYLINE_DISTANCE_M))
    if row.get("description"):
        attributes["description"] = row["description"]
    return NewFence(
        name=row.get("name") or f"geofence {row['id']}",
        shape=shape,
        speed_limit_mps=knots * KNOT_MPS if knots else None,
        everyone=False,
        attributes=attributes,
        since=YEAR_2000,
    )


def user_of(row: Row, account_id: int, password: str | None) -> UserRow:
    """A user: an administrator is the operator's, anybody else the account's, and sees what was linked to him."""
    administrator = bool(row.get("administrator"))
    readonly = bool(row.get("readonly"))
    return UserRow(
        email=row["email"],
        name=row.get("name") or row["email"],
        role="admin" if administrator else "viewer" if readonly else "manager",
        account_id=None if administrator else account_id,
        restricted=not administrator,
        password=password,
        totp_key=row.get("totpkey") or None,
        readonly=readonly,
        device_readonly=bool(row.get("devicereadonly")),
        limit_commands=bool(row.get("limitcommands")),
        disable_reports=bool(row.get("disablereports")),
        fixed_email=bool(row.get("fixedemail")),
        device_limit=-1 if row.get("devicelimit") is None else row["devicelimit"],
        user_limit=row.get("userlimit") or 0,
        disabled=bool(row.get("disabled")),
        expires_at=moment(row.get("expirationtime")),
        phone=row.get("phone") or "",
        preferences={ours: row[name] for name, ours in PREFERENCES.items() if row.get(name) is not None},
        attributes=json_of(row.get("attributes")),
    )
