"""JSON without a mapping: the names that home-made trackers use, at the top or one level below. See README.md."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import msgspec

from tracker_protocols.json.mapping import RECORDS_MAX, message_of, moment_of, number, put
from tracker_protocols.model import (
    Attributes,
    BadFrame,
    DeviceKey,
    Fix,
    Heartbeat,
    Message,
    Reason,
    Reply,
    Undecoded,
)
from tracker_protocols.wire.decoder import UNREADABLE, Decoded
from tracker_protocols.wire.fields import MPS_PER_KMH, MPS_PER_KNOT, check_place, device_key

MEANINGS: Final = {
    **dict.fromkeys(("id", "device_id", "deviceid", "device", "imei", "unique_id", "uniqueid"), "device"),
    **dict.fromkeys(
        ("timestamp", "time", "ts", "tst", "datetime", "fix_time", "fixtime", "fixed_at"), "time"
    ),
    **dict.fromkeys(("lat", "latitude"), "latitude"),
    **dict.fromkeys(("lon", "lng", "long", "longitude"), "longitude"),
    **dict.fromkeys(("alt", "altitude", "ele", "altitude_m"), "altitude"),
    **dict.fromkeys(("speed", "speed_kmh", "kmh"), "speed_kmh"),
    **dict.fromkeys(("speed_mps", "speed_ms"), "speed_mps"),
    **dict.fromkeys(("speed_kn", "speed_knots", "knots"), "speed_kn"),
    **dict.fromkeys(("course", "heading", "bearing", "cog", "course_deg"), "course"),
    **dict.fromkeys(("acc", "accuracy", "accuracy_m"), "accuracy"),
    "valid": "valid",
}
BELOW: Final = frozenset({"gps", "location", "position", "coords", "fix", "data"})
BATTERY: Final = {"batt": "batteryLevel", "battery_level": "batteryLevel", "sats": "sat", "satellites": "sat"}
SPEEDS: Final = {"speed_kmh": MPS_PER_KMH, "speed_mps": 1.0, "speed_kn": MPS_PER_KNOT}

_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder(order="deterministic").encode


def decode(payload: bytes, fallback: DeviceKey | None, received_at: datetime, reply: Reply | None) -> Decoded:
    """One object, or an array of them. Raises BadFrame."""
    try:
        root = _read(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise BadFrame(Reason.MALFORMED, f"JSON: {str(error)[:120]}") from None
    if not isinstance(root, list):
        return _message(root, payload, fallback, received_at, reply)
    if len(root) > RECORDS_MAX:
        raise BadFrame(Reason.TOO_LONG, f"{len(root)} records")
    messages: list[Message] = []
    for number_of, record in enumerate(root):
        owed = reply if number_of + 1 == len(root) else None
        try:
            messages.append(_message(record, _bytes(record), fallback, received_at, owed))
        except BadFrame as bad:
            messages.append(Undecoded(_bytes(record), bad.reason, bad.detail, fallback, owed))
        except UNREADABLE as error:
            messages.append(Undecoded(_bytes(record), Reason.MALFORMED, str(error)[:200], fallback, owed))
    return messages or Heartbeat(fallback, reply=reply)


def _message(
    record: Any, same: bytes, fallback: DeviceKey | None, received_at: datetime, reply: Reply | None
) -> Message:
    if not isinstance(record, dict):
        raise BadFrame(Reason.MALFORMED, "a record that is no object")
    own: dict[str, tuple[str, Any]] = {}
    attributes: Attributes = {}
    _sort(record, own, attributes)
    _, name = own.get("device", ("", None))
    named = isinstance(name, str | int) and not isinstance(name, bool) and name != ""
    device = device_key(str(name)) if named else fallback
    if device is None:
        raise BadFrame(Reason.NO_DEVICE, "device: the payload names none, such as by device_id")
    key, told = own.get("time", ("", None))
    told_at = None
    if told is not None and told != "":
        try:
            told_at = moment_of(told, "auto")
        except (ValueError, OverflowError, TypeError):
            raise BadFrame(Reason.NO_SUCH_MOMENT, f"{key}: {str(told)[:60]!r} is no moment") from None
    fix = _fix(own, told_at or received_at)
    return message_of(device, fix, attributes, same, told_at, reply)


def _sort(node: dict[str, Any], own: dict[str, tuple[str, Any]], attributes: Attributes) -> None:
    """What has a meaning to ``own`` (the first of each), the rest to the attributes."""
    below: list[dict[str, Any]] = []
    for key, value in node.items():
        lower = key.lower()
        meaning = MEANINGS.get(lower)
        if meaning is not None and not isinstance(value, dict | list):
            own.setdefault(meaning, (key, value))
        elif isinstance(value, dict) and lower in BELOW:
            below.append(value)
        else:
            put(attributes, BATTERY.get(lower, key), value)
    for inner in below:
        _sort(inner, own, attributes)


def _fix(own: dict[str, tuple[str, Any]], fixed_at: datetime) -> Fix | None:
    latitude, longitude = _number(own, "latitude"), _number(own, "longitude")
    if latitude is None and longitude is None:
        return None
    if latitude is None or longitude is None:
        raise BadFrame(Reason.MALFORMED, f"{'latitude' if latitude is None else 'longitude'}: is missing")
    check_place(latitude, longitude)
    if latitude == 0 and longitude == 0:
        return None  # so trackers write that they have none
    speed = next((_number(own, name) for name in SPEEDS if name in own), None)
    unit = next((SPEEDS[name] for name in SPEEDS if name in own), 1.0)
    course = _number(own, "course")
    _, valid = own.get("valid", ("", True))
    return Fix(
        fixed_at,
        latitude,
        longitude,
        valid not in {False, "false", "0", "V"},
        _number(own, "altitude"),
        None if speed is None or speed < 0 else speed * unit,
        None if course is None or course < 0 else course,
        _number(own, "accuracy"),
    )


def _number(own: dict[str, tuple[str, Any]], name: str) -> float | None:
    key, value = own.get(name, ("", None))
    if value is None or value == "":
        return None
    read = number(value)
    if read is None:
        raise BadFrame(Reason.MALFORMED, f"{key}: {str(value)[:60]!r} is no number")
    return read


def _bytes(value: Any) -> bytes:
    try:
        return _write(value)
    except OverflowError:  # an integer beyond 64 bits is read, but not written
        return repr(value).encode("utf-8", "replace")
