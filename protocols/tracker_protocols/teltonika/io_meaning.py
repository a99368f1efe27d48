"""What elements mean together: alarms, the driver, the SIM card, the vehicle, the cells around.

These are the elements that the tables of ``io_tables`` and ``io_professional`` leave for later: those of up to
four bytes in ``short``, those of eight in ``long``.
"""

from __future__ import annotations

from typing import Any

from tracker_protocols.model import Cell, Network
from tracker_protocols.teltonika.io_elements import printable

ALARMS = {
    236: "general",
    243: "idle",
    246: "tow",
    247: "accident",
    249: "jamming",
    251: "idle",
    252: "powerCut",
    520: "tampering",
}
"""Alarm wherever the element is not zero: it says what is, not what happened."""

ENDINGS = {252: "powerRestored", 390: "powerOn"}
"""Alarm where the record was made because the element became zero."""

HAPPENINGS = {242: "fallDown", 255: "overspeed", 318: "jamming", 390: "powerOff"}
"""Alarm where the record was made because the element became other than zero."""

GREEN_DRIVING = {1: "hardAcceleration", 2: "hardBraking", 3: "hardCornering"}

AMBER_ALERT_OVER = 3  # nobody stopped the countdown: the wearer needs help

ZONE_CHANGES = {0: "geofenceExit", 1: "geofenceEnter", 3: "overspeed"}
"""Left, entered, overspeed ended (no alarm), overspeed began (FMB AVL ID list, Geofence zone 01)."""

_ZONE_IDS = (
    *(*range(155, 160), *range(61, 66), 70, 88, *range(91, 100), 153, 154),
    *(*range(190, 199), 208, 209, *range(216, 232)),
)
ZONES = {element_id: zone for zone, element_id in enumerate(_ZONE_IDS, 1)}
"""Geofence zones 1 to 50 of the FMB family by element id."""

ZONES_CODEC_16 = {element_id: zone for zone, element_id in enumerate((*range(155, 175), *range(327, 357)), 1)}
"""Geofence zones 1 to 50 of the FM63 family, where the same ids have other meanings."""

NAMES = {
    175: "autoGeofence",
    205: "cid",
    206: "lac",
    236: "alarmEvent",
    242: "manDown",
    246: "towing",
    247: "crash",
    249: "gsmJamming",
    251: "idling",
    252: "unplugged",
    253: "greenDrivingType",
    255: "overspeedSpeed",
    318: "gnssJamming",
    400: "amberAlert",
    520: "tamper",
    636: "lteCid",
}
"""What is kept beside an alarm, or where it was none: the element as the device says it."""

CELLS = ((287, 288, 289, 1200), (290, 291, 292, 1201), (293, 294, 295, 1202), (296, 297, 298, 1203))
"""Elements with area code, cell id, signal and network code of each neighbour cell (TAT100 and its kin)."""


def read_short(
    short: dict[int, int], event: int, attributes: dict[str, Any], zones: dict[int, int]
) -> Network | None:
    """Add what these elements say to ``attributes``; answer the cells."""
    network = _network(short, attributes) if 206 in short or 287 in short else None
    if 86 in short:  # the FMS block of the professional models, where 87 is the tank and not the odometer
        attributes["fuelUsed"] = short.pop(86)
        if 87 in short:
            attributes["fuelLevel"] = short.pop(87)
    if 87 in short:
        attributes["obdOdometer"] = short.pop(87)
    if short:
        alarms: list[str] = []
        for element_id, value in short.items():
            if alarm := _alarm(element_id, value, event, zones):
                alarms.append(alarm)
            if element_id in zones:
                attributes[f"geofence{zones[element_id]}"] = value
            else:
                attributes[NAMES.get(element_id) or f"io{element_id}"] = value
        if alarms:
            attributes["alarm"] = ",".join(alarms)
    return network


def _alarm(element_id: int, value: int, event: int, zones: dict[int, int]) -> str | None:
    if element_id == 253:
        return GREEN_DRIVING.get(value)
    if value and element_id in ALARMS and element_id not in zones:
        return ALARMS[element_id]
    if element_id == 175:
        return "geofenceEnter" if value else "geofenceExit" if event == 175 else None
    if element_id != event:
        return None
    if element_id in zones:
        return ZONE_CHANGES.get(value)
    if element_id == 400:
        return "sos" if value == AMBER_ALERT_OVER else None
    return (HAPPENINGS if value else ENDINGS).get(element_id)


def _network(short: dict[int, int], attributes: dict[str, Any]) -> Network | None:
    operator = attributes.get("operator", 0)
    mcc, mnc = divmod(operator, 1000 if operator > 99_999 else 100)
    cells: tuple[Cell, ...] = ()
    if 206 in short and (205 in short or 636 in short):
        gsm_cid = short.pop(205, 0)
        cells = (Cell(mcc, mnc, short.pop(206), short.pop(636, 0) or gsm_cid),)
    if 287 in short:
        for lac_id, cid_id, signal_id, mnc_id in CELLS:
            if lac_id in short and cid_id in short:
                place = mcc, short.pop(mnc_id, mnc), short.pop(lac_id), short.pop(cid_id)
                cells += (Cell(*place, short.pop(signal_id, None)),)
    return Network(cells) if cells else None


def read_long(long: dict[int, int], attributes: dict[str, Any]) -> None:
    """Add what the eight-byte elements say: SIM card, vehicle and driver."""
    if 11 in long:  # the first twelve digits of a SIM card's number, and the rest of it
        rest = long.pop(14, None)
        attributes["iccid"] = f"{long.pop(11)}{rest:08d}" if rest else str(long.pop(11))
    if 14 in long:
        attributes["iccid2"] = str(long.pop(14))
    _join(long, (219, 220, 221), "iccid", attributes)
    _join(long, (231, 232), "registration", attributes)
    _join(long, (105, 106, 107), "vin", attributes)
    if vin := _join(long, (233, 234), "vin", attributes):
        last = attributes.pop("oilLevel", 0)  # the seventeenth character, under an id that others use for oil
        attributes["vin"] = vin + chr(last) if 0x20 < last < 0x7F else vin
    if "vin" in attributes:
        attributes["vin"] = attributes["vin"][:17]
    _driver(long, attributes)
    for element_id, value in long.items():
        attributes[f"io{element_id}"] = value


def _driver(long: dict[int, int], attributes: dict[str, Any]) -> None:
    """Whoever is named by a tachograph's card, by an iButton or by an RFID card, in this order."""
    key = long.pop(78, 0)
    if key:  # the wire carries the key's eight bytes last byte first
        attributes["driverUniqueId"] = key.to_bytes(8, "little").hex().upper()
    for element_id in (207, 217, 451, 452, 453, 454):
        card = long.pop(element_id, 0)
        if card:
            attributes.setdefault("driverUniqueId", f"{card:016X}")
            attributes[f"rfid{element_id}"] = f"{card:016X}"
    for parts in ((195, 196), (147, 148), (129, 130, 131)):
        _join(long, parts, "driverUniqueId", attributes)
    for parts in ((197, 198), (149, 150)):
        _join(long, parts, "driver2UniqueId", attributes)


def _join(long: dict[int, int], parts: tuple[int, ...], name: str, attributes: dict[str, Any]) -> str | None:
    """Text that is spread over several elements; all zero means that there is none."""
    if parts[0] not in long:
        return None
    data = b"".join(long.pop(part, 0).to_bytes(8, "big") for part in parts)
    text = printable(data)
    if text:
        attributes[name] = text.strip()
    elif any(data):
        attributes[name] = data.hex()
    return text
