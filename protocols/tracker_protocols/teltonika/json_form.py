"""Codec JSON: a record as the shadow of a device, published by MQTT; the device is named by its topic or certificate.

Source: Teltonika Telematics wiki, "Codec JSON" and "Getting started with AWS IoT Core" (topics, the example record):
``{"state": {"reported": {"ts": 1692706456000, "latlng": "54.66,25.22", "sp": 0, "239": 1}}}``. Elements stand under the
numbers of their AVL ids; a number does not tell its width, so an id means what it means in the narrowest that is known.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from tracker_protocols.json.mapping import number, put
from tracker_protocols.model import BadFrame, DeviceKey, Fix, Message, Reason, Report
from tracker_protocols.teltonika.avl import LAYOUTS
from tracker_protocols.teltonika.io_elements import Element
from tracker_protocols.teltonika.io_meaning import ZONES, read_long, read_short
from tracker_protocols.wire.fields import MPS_PER_KMH, check_place, moment_from_ms

CODEC_8E: Final = 0x8E
EIGHT_BYTES: Final = 8
OWN: Final = frozenset({"ts", "latlng", "alt", "ang", "sat", "sp", "evt", "pr"})

_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder(order="deterministic").encode


def _known() -> dict[int, tuple[int, Element]]:
    """Each element by its id, with the width that it has."""
    found: dict[int, tuple[int, Element]] = {}
    for group in LAYOUTS[CODEC_8E].groups:
        for element_id, element in group.table.items():
            found.setdefault(element_id, (group.width, element))
    return found


KNOWN: Final = _known()


def decode(payload: bytes, device: DeviceKey | None) -> Message:
    """One record. Raises BadFrame."""
    try:
        tree = _read(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise BadFrame(Reason.MALFORMED, f"JSON: {str(error)[:120]}") from None
    state = tree.get("state") if isinstance(tree, dict) else None
    record = state.get("reported") if isinstance(state, dict) else None
    if not isinstance(record, dict):
        raise BadFrame(Reason.MALFORMED, "state.reported: no object is there")
    told = number(record.get("ts"))
    if told is None:
        raise BadFrame(Reason.NO_SUCH_MOMENT, f"ts: {str(record.get('ts'))[:40]!r} is no time")
    moment = moment_from_ms(round(told))
    attributes = _attributes(record)
    network = _elements(record, attributes)
    satellites = number(record.get("sat"))
    fix = None
    if "latlng" in record:
        latitude, longitude = _place(record["latlng"])
        speed = number(record.get("sp"))
        fix = Fix(
            moment,
            latitude,
            longitude,
            satellites != 0,  # without satellites the device repeats the place that it knew last
            number(record.get("alt")),
            None if speed is None else speed * MPS_PER_KMH,
            number(record.get("ang")),
        )
    return Report(device, fix, attributes, _write(record), network, None if fix else moment)


def _place(text: Any) -> tuple[float, float]:
    north, _, east = str(text).partition(",")
    latitude, longitude = number(north), number(east)
    if latitude is None or longitude is None:
        raise BadFrame(Reason.MALFORMED, f"latlng: {str(text)[:40]!r} is no place")
    check_place(latitude, longitude)
    return latitude, longitude


def _attributes(record: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, key in (("priority", "pr"), ("sat", "sat")):
        put(found, name, record.get(key))
    if record.get("evt"):
        put(found, "event", record["evt"])
    return found


def _elements(record: dict[str, Any], attributes: dict[str, Any]) -> Any:
    """As ``avl`` reads them; what is no whole number is kept as it is."""
    short: dict[int, int] = {}
    long: dict[int, int] = {}
    for key, value in record.items():
        if key in OWN:
            continue
        if not key.isdecimal() or type(value) is not int or value < 0:
            put(attributes, f"io{key}" if key.isdecimal() else key, value)
            continue
        element_id = int(key)
        width, element = KNOWN.get(element_id, (0, (f"io{element_id}", None)))
        name, convert = element
        if not name:
            (long if width == EIGHT_BYTES else short)[element_id] = value
        elif (read := value if convert is None else convert(value)) is not None:
            attributes[name] = read
    event = record.get("evt")
    network = read_short(short, event if isinstance(event, int) else 0, attributes, ZONES) if short else None
    if long:
        read_long(long, attributes)
    return network
