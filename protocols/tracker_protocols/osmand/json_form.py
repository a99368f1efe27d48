"""The JSON that the background geolocation SDK posts: one location, or a batch of them.

``{"location": {…} or […], "device_id": …}``, an array of such objects, or a location at the top level
(the SDK's ``rootProperty`` set to ``.``). Minus one in a number means: not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from tracker_protocols.model import (
    Attributes,
    BadFrame,
    DeviceKey,
    Fix,
    Heartbeat,
    Message,
    Reason,
    Reply,
    Report,
    Undecoded,
)
from tracker_protocols.osmand.values import STORED, TEXT_CHARACTERS_MAX, moment, number, pairs
from tracker_protocols.wire.decoder import Decoded
from tracker_protocols.wire.fields import check_place, device_key

LOCATIONS_MAX = 5000  # a phone's store of several days; the SDK sends it whole where batches have no limit
EXTRAS_MAX = 200
ID_NAMES = ("device_id", "deviceid", "deviceId", "id")
GEOFENCE_ALARMS = {"ENTER": "geofenceEnter", "EXIT": "geofenceExit"}
# what the server names itself or what only the transport needs; "_" repeats the location as a query
NOT_ATTRIBUTES = frozenset(
    {"location", "coords", "timestamp", "battery", "activity", "extras", "geofence", "_", "params"}
    | {"is_moving", "is_heartbeat", "uuid", "age", "recorded_at", "timestampMeta", *ID_NAMES}
)

_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder(order=None).encode

Object = dict[str, Any]


def decode(body: bytes, query: str, received_at: datetime) -> Decoded:
    """All locations of one request. In a batch what cannot be read is kept, and does not stop the rest."""
    try:
        tree = _read(body)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise BadFrame(Reason.MALFORMED, f"JSON: {str(error)[:120]}") from None
    found = list(_locations(tree))
    if len(found) > LOCATIONS_MAX:
        raise BadFrame(Reason.TOO_LONG, f"{len(found)} locations")
    if not found:
        return Heartbeat(_device(tree if isinstance(tree, dict) else {}, {}, query), reply=STORED)
    if len(found) == 1:
        envelope, location = found[0]
        return _report(envelope, location, query, received_at, STORED)
    messages: list[Message] = []
    for index, (envelope, location) in enumerate(found):
        reply = STORED if index == len(found) - 1 else None
        try:
            messages.append(_report(envelope, location, query, received_at, reply))
        except (BadFrame, ValueError, ArithmeticError) as error:
            messages.append(_kept(location, error, reply))
    if all(isinstance(message, Undecoded) for message in messages):
        raise BadFrame(Reason.MALFORMED, "no location of the batch can be read")
    return messages


def _locations(tree: object) -> Iterator[tuple[Object, object]]:
    """Each location with the object that it stands in."""
    for envelope in tree if isinstance(tree, list) else [tree]:
        if not isinstance(envelope, dict):
            yield {}, envelope
            continue
        location = envelope.get("location", envelope)
        if isinstance(location, list):
            yield from ((envelope, each) for each in location)
        else:
            yield envelope, location


def _report(
    envelope: Object, location: object, query: str, received_at: datetime, reply: Reply | None
) -> Message:
    if not isinstance(location, dict):
        raise BadFrame(Reason.MALFORMED, "a location that is no object")
    device = _device(envelope, location, query)
    sent_at = moment(location["timestamp"]) if location.get("timestamp") is not None else None
    fix = _fix(_object(location, "coords"), sent_at or received_at)
    attributes = _attributes(location)
    record = _write({name: value for name, value in location.items() if name != "_"})
    if fix is None and sent_at is None and "alarm" not in attributes:
        return Heartbeat(device, attributes, record, reply)
    return Report(device, fix, attributes, record, None, None if fix else sent_at, reply)


def _kept(location: object, error: Exception, reply: Reply | None) -> Undecoded:
    reason = error.reason if isinstance(error, BadFrame) else Reason.MALFORMED
    detail = error.detail if isinstance(error, BadFrame) else str(error)
    try:
        frame = _write(location)
    except OverflowError:  # an integer beyond 64 bits is read, but not written
        frame = repr(location).encode("utf-8", "replace")
    return Undecoded(frame, reason, detail[:200], None, reply)


def _device(envelope: Object, location: Object, query: str) -> DeviceKey:
    """The identifier: beside the location, in it, in its extras, in the URL, or in the ``_`` copy."""
    for place in (envelope, location, _object(location, "extras")):
        for name in ID_NAMES:
            value = place.get(name)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                return device_key(str(value))
    copy = location.get("_", "")
    for name, value in pairs(f"{query}&{copy if isinstance(copy, str) else ''}"):
        if name.lower() in {"id", "deviceid", "device_id"}:
            return device_key(value)
    raise BadFrame(Reason.NO_DEVICE, "no device_id")


def _object(tree: Object, name: str) -> Object:
    value = tree.get(name)
    return value if isinstance(value, dict) else {}


def _known(value: object) -> float | None:
    """A number that is not the SDK's "not known"."""
    read = number(value)
    return None if read is None or read < 0 else read


def _fix(coords: Object, fixed_at: datetime) -> Fix | None:
    if "latitude" not in coords and "longitude" not in coords:
        return None
    latitude, longitude = number(coords.get("latitude")), number(coords.get("longitude"))
    if latitude is None or longitude is None:
        raise BadFrame(Reason.MALFORMED, "coords without latitude or longitude")
    check_place(latitude, longitude)
    if latitude == 0 and longitude == 0:
        return None
    return Fix(
        fixed_at,
        latitude,
        longitude,
        altitude_m=number(coords.get("altitude")),
        speed_mps=_known(coords.get("speed")),
        course_deg=_known(coords.get("heading")),
        accuracy_m=_known(coords.get("accuracy")),
    )


def _attributes(location: Object) -> Attributes:
    """Everything beside the fix, by its usual names; ``extras`` and the app's own members as they are."""
    attributes: Attributes = {}
    for name, value in location.items():
        if name not in NOT_ATTRIBUTES:
            _put(attributes, name, value)
    for name, value in _object(location, "extras").items():
        if name not in ID_NAMES:
            _put(attributes, name, value)
    if isinstance(location.get("is_moving"), bool):
        attributes["motion"] = location["is_moving"]
    battery = _object(location, "battery")
    level = _known(battery.get("level"))
    if level is not None:
        attributes["batteryLevel"] = round(level * 100, 2)
    if isinstance(battery.get("is_charging"), bool):
        attributes["charge"] = battery["is_charging"]
    kind = _object(location, "activity").get("type", location.get("activity"))
    if isinstance(kind, str):
        attributes["activity"] = kind[:TEXT_CHARACTERS_MAX]
    geofence = _object(location, "geofence")
    if geofence:
        _put(attributes, "geofence", geofence.get("identifier"))
        alarm = GEOFENCE_ALARMS.get(str(geofence.get("action")).upper())
        if alarm:
            attributes["alarm"] = alarm
    return attributes


def _put(attributes: Attributes, name: str, value: object) -> None:
    """One attribute, if it is a value at all; objects and arrays as their JSON text."""
    if value is None or len(attributes) >= EXTRAS_MAX:
        return
    if isinstance(value, str):
        value = value[:TEXT_CHARACTERS_MAX]
    elif isinstance(value, dict | list):
        value = _write(value)[:TEXT_CHARACTERS_MAX].decode("utf-8", "ignore")
    attributes[name[:64]] = value
