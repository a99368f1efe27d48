"""The elements of variable length that codec 8 Extended ends with: text, fault codes, beacons and sensor tags.

Source: Teltonika Telematics wiki, "How to parse Bluetooth beacon data (AVL 385)", "Advanced BLE beacon (AVL
548)", "EYE Sensor (AVL 10829, 11317)".
"""

from __future__ import annotations

from typing import Any

from tracker_protocols.model import BadFrame, Reason
from tracker_protocols.teltonika import io_tables
from tracker_protocols.teltonika.io_elements import names, printable

BEACONS = 385
TAGS = frozenset({548, 10828, 10829, 10831, 11317})
BUTTON = 389
BUTTON_ALARM = 1

NAMED = names(io_tables.VARIABLE)


def read_variable(data: bytes, at: int, event: int, attributes: dict[str, Any]) -> int:
    """Read the last group of a record into ``attributes``; answer where it ends."""
    count = data[at] << 8 | data[at + 1]
    at += 2
    for _ in range(count):
        element_id = data[at] << 8 | data[at + 1]
        begin = at + 4
        at = begin + (data[at + 2] << 8 | data[at + 3])
        if at > len(data):
            raise BadFrame(Reason.MALFORMED, f"element {element_id} runs over the end")
        content = data[begin:at]
        if element_id in NAMED:
            _read_named(element_id, content, attributes)
        elif element_id == BEACONS:
            _read_beacons(content, attributes)
        elif element_id in TAGS:
            _read_tags(content, attributes)
        else:
            if element_id == event == BUTTON and content and content[-1] >> 4 == BUTTON_ALARM:
                attributes["alarm"] = "sos"
            attributes[f"io{element_id}"] = content.hex()
    return at


def _read_named(element_id: int, content: bytes, attributes: dict[str, Any]) -> None:
    name, reading = NAMED[element_id]
    text = None if reading == "hex" else printable(content)
    if text is None:
        if any(content):
            attributes[name if reading == "hex" else f"io{element_id}"] = content.hex()
    else:
        attributes[name] = text.replace(",", " ") if reading == "codes" else text


def _read_beacons(content: bytes, attributes: dict[str, Any]) -> None:
    """After a byte that tells which part of how many parts this is: beacons, each begun by its flags.

    A list that is cut off keeps what was whole.
    """
    at = 1
    index = 1
    while at < len(content):
        flags = content[at]
        names_bytes = 20 if flags >> 4 else 16
        end = at + 2 + names_bytes + (2 if flags & 2 else 0) + (2 if flags & 4 else 0)
        if end > len(content):
            attributes["beaconRest"] = content[at:].hex()
            return
        key = f"beacon{index}"
        name = content[at + 1 : at + 1 + names_bytes]
        if flags >> 4:  # iBeacon
            attributes[f"{key}Uuid"] = name[:16].hex()
            attributes[f"{key}Major"] = int.from_bytes(name[16:18], "big")
            attributes[f"{key}Minor"] = int.from_bytes(name[18:], "big")
        else:  # Eddystone
            attributes[f"{key}Namespace"] = name[:10].hex()
            attributes[f"{key}Instance"] = name[10:].hex()
        at += 1 + names_bytes
        attributes[f"{key}Rssi"] = int.from_bytes(content[at : at + 1], "big", signed=True)
        at += 1
        if flags & 2:
            attributes[f"{key}Battery"] = int.from_bytes(content[at : at + 2], "big") / 100
            at += 2
        if flags & 4:
            attributes[f"{key}Temp"] = int.from_bytes(content[at : at + 2], "big", signed=True)
        at = end
        index += 1


def _read_tags(content: bytes, attributes: dict[str, Any]) -> None:
    """After a header byte: tags, each with its length, then parameters of id, length and value."""
    at = 1
    index = 1
    while at < len(content):
        end = min(at + 1 + content[at], len(content))
        at += 1
        while at + 2 <= end:
            stop = at + 2 + content[at + 1]
            if stop > end:
                break
            _read_tag(f"tag{index}", content[at], content[at + 2 : stop], attributes)
            at = stop
        at = end
        index += 1


def _read_tag(key: str, parameter: int, value: bytes, attributes: dict[str, Any]) -> None:
    """One parameter of a tag. Voltages are mV, temperatures hundredths of a °C, as EYE sensors say them."""
    if not value:
        return
    match parameter:
        case 0:
            attributes[f"{key}Rssi"] = int.from_bytes(value, "big", signed=True)
        case 1:
            attributes[f"{key}Id"] = value.hex()
        case 2:  # the maker's own data: EYE devices put flags and their battery's voltage there
            if value[0] & 0x40:
                attributes[f"{key}LowBattery"] = True
            if value[0] & 0x80 and len(value) > 1:
                attributes[f"{key}Voltage"] = value[1] * 10 + 2000
        case 5:
            attributes[f"{key}Name"] = value.decode("utf-8", "replace").strip("\x00 ")
        case 15:
            attributes[f"{key}Mac"] = value.hex(":")
        case _ if parameter in _TAG_NUMBERS:
            name, signed, divisor = _TAG_NUMBERS[parameter]
            number = int.from_bytes(value, "big", signed=signed)
            attributes[key + name] = number / divisor if divisor > 1 else number
        case _ if parameter in _TAG_FLAGS:
            attributes[key + _TAG_FLAGS[parameter]] = any(value)
        case _:
            attributes[f"{key}Data{parameter}"] = value.hex()


_TAG_NUMBERS = {
    6: ("Temp", True, 100),
    7: ("Humidity", False, 1),
    10: ("MotionCount", False, 1),
    11: ("Pitch", True, 1),
    12: ("Roll", True, 1),
    14: ("Voltage", False, 1),
}
_TAG_FLAGS = {8: "Magnet", 9: "Motion", 13: "LowBattery"}
