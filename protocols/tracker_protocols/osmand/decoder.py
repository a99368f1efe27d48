"""OsmAnd over HTTP: a query or a form (speed in knots), or the JSON of Traccar Client 9 and later (m/s).

Source: https://www.traccar.org/osmand/ (both formats) and the Location schema of the background
geolocation SDK that the JSON comes from (transistorsoft, HTTP POST schema).
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from urllib.parse import quote

from tracker_protocols.model import (
    AccessPoint,
    Attributes,
    BadFrame,
    Cell,
    Fix,
    Heartbeat,
    HttpRequest,
    Message,
    Network,
    Reason,
    Report,
)
from tracker_protocols.osmand import json_form
from tracker_protocols.osmand.values import (
    STORED,
    TEXT_CHARACTERS_MAX,
    access_point,
    cell,
    moment,
    number,
    pairs,
    typed,
    yes_or_no,
)
from tracker_protocols.wire.decoder import PUBLISH, Decoded, HttpDecoder
from tracker_protocols.wire.fields import MPS_PER_KNOT, check_place, device_key

# what a parameter means, by its name in lower case; anything else is an attribute
MEANINGS = {
    "id": "id",
    "deviceid": "id",
    "device_id": "id",
    "timestamp": "timestamp",
    "valid": "valid",
    "lat": "lat",
    "lon": "lon",
    "location": "location",
    "altitude": "altitude",
    "speed": "speed",
    "bearing": "bearing",
    "heading": "bearing",
    "accuracy": "accuracy",
}
NUMBERS = {"hdop": "hdop", "batt": "batteryLevel"}
SWITCHES = frozenset({"charge", "ignition", "motion", "blocked", "archive", "armed"})


class OsmandDecoder(HttpDecoder):
    """Every request names its device and is answered 200 with an empty body once it is stored, or 400."""

    name: ClassVar[str] = "osmand"

    def decode_request(self, request: HttpRequest, received_at: datetime) -> Decoded:
        query = request.target.partition("?")[2].partition("#")[0]
        body = request.body
        if request.method == PUBLISH:
            query = f"id={quote(self.device)}" if self.device else ""  # where the payload names nobody
        if body:
            if body.lstrip()[:1] in {b"{", b"["}:
                return json_form.decode(body, query, received_at)
            form = body.decode("utf-8", "replace").strip()
            query = f"{query}&{form}" if query else form
        return decode_query(query, received_at)


def decode_query(query: str, received_at: datetime) -> Message:
    """One report from names and values. The last of several equal names counts, except cell and wifi."""
    own: dict[str, str] = {}
    attributes: Attributes = {}
    cells: list[Cell] = []
    points: list[AccessPoint] = []
    for name, value in pairs(query):
        lower = name.lower()
        meaning = MEANINGS.get(lower)
        if meaning:
            own[meaning] = value
        elif lower == "cell":
            if found := cell(value):
                cells.append(found)
        elif lower == "wifi":
            if point := access_point(value):
                points.append(point)
        else:
            _read_attribute(attributes, name, lower, value)
    if "id" not in own:
        raise BadFrame(Reason.NO_DEVICE, "neither id nor deviceid")
    device = device_key(own["id"])
    sent_at = moment(own["timestamp"]) if "timestamp" in own else None
    fix = _fix(own, sent_at or received_at)
    network = Network(tuple(cells), tuple(points)) if cells or points else None
    record = query.encode("utf-8", "replace")
    if fix is None and sent_at is None and network is None and "alarm" not in attributes:
        return Heartbeat(device, attributes, record, STORED)
    return Report(device, fix, attributes, record, network, None if fix else sent_at, STORED)


def _read_attribute(attributes: Attributes, name: str, lower: str, value: str) -> None:
    known = NUMBERS.get(lower)
    if known:
        read = number(value)
        if read is not None:
            attributes[known] = read
    elif lower == "driveruniqueid":
        attributes["driverUniqueId"] = value[:TEXT_CHARACTERS_MAX]
    elif lower in SWITCHES and (switch := yes_or_no(value)) is not None:
        attributes[lower] = switch
    else:
        attributes[name[:64]] = typed(value[:TEXT_CHARACTERS_MAX])


def _fix(own: dict[str, str], fixed_at: datetime) -> Fix | None:
    """The fix, or None where no place is named, or where it is 0, 0: so apps write that they have none."""
    if "location" in own:
        north, _, east = own["location"].partition(",")
    else:
        north, east = own.get("lat"), own.get("lon")
        if north is None and east is None:
            return None
    latitude, longitude = number(north), number(east)
    if latitude is None or longitude is None:
        raise BadFrame(Reason.MALFORMED, f"no place: {north!r}, {east!r}")
    check_place(latitude, longitude)
    if latitude == 0 and longitude == 0:
        return None
    get = own.get
    speed = number(get("speed"))
    return Fix(
        fixed_at,
        latitude,
        longitude,
        yes_or_no(own["valid"]) is True if "valid" in own else True,
        number(get("altitude")),
        None if speed is None or speed < 0 else speed * MPS_PER_KNOT,
        _course(number(get("bearing"))),
        number(get("accuracy")),
    )


def _course(degrees: float | None) -> float | None:
    return None if degrees is None or degrees < 0 else degrees
