"""What trackers tell beside their place: command results, sensors, the car's computer, batteries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tracker_protocols.gt06.fields import fix_at, number, time_at, unix_time
from tracker_protocols.model import (
    Attributes,
    BadFrame,
    CommandResult,
    Fix,
    Heartbeat,
    Message,
    Reason,
    Reply,
    Report,
)
from tracker_protocols.wire.fields import MPS_PER_KNOT, check_place, finite, moment

POSITION: Final = "Current position!"


def short_result(content: bytes, record: bytes, reply: Reply | None) -> CommandResult:
    """0x15: length, server flag (4), text, language (2)."""
    size = content[0] if content else 0
    text = content[5 : 1 + size].decode("latin-1").strip("\0")
    return CommandResult(None, result_attributes(text), record, None, reply)


def result_attributes(text: str) -> Attributes:
    """The answer as ``result``; ``<ICCID:…>`` as ``iccid``."""
    if text.startswith("<ICCID:"):
        return {"iccid": text[7:27].rstrip(">")}
    return {"result": text} if text else {}


def long_result(content: bytes, record: bytes, reply: Reply | None) -> Sequence[Message] | Message:
    """0x21: server flag (4), coding (1: ASCII, 2: UTF-16), text. A position told in text is a report too."""
    ascii_text = number(content, 4, 1) == 1
    text = content[5:].decode("latin-1" if ascii_text else "utf-16-be", "replace").strip("\0")
    result = CommandResult(None, result_attributes(text), record, None, reply)
    fix = position_in(text) if text.startswith(POSITION) else None
    if fix is None:
        return result
    return [CommandResult(None, {"result": text}, record), Report(None, fix, {}, record, reply=reply)]


def position_in(text: str) -> Fix | None:
    """``Lat:N54.7,Lon:E25.2,Course:126.53,Speed:0.0000,DateTime:2017-05-26  10:27:47``; None: not all there."""
    parts = [part.partition(":") for part in text[len(POSITION) :].split(",")]
    fields = {name: value for name, _, value in parts}
    try:
        latitude, longitude = fields["Lat"], fields["Lon"]
        date, time = fields["DateTime"].split()
        at = moment(*map(int, date.split("-")), *map(int, time.split(":")))
        north = finite(latitude[1:]) * (-1 if latitude[0] == "S" else 1)
        east = finite(longitude[1:]) * (-1 if longitude[0] == "W" else 1)
        check_place(north, east)
        return Fix(
            at,
            north,
            east,
            True,
            None,
            finite(fields["Speed"]) * MPS_PER_KNOT,
            finite(fields["Course"]),
        )
    except (KeyError, ValueError, IndexError, TypeError, BadFrame):
        return None


def voltage(content: bytes, record: bytes, reply: Reply | None) -> Heartbeat:
    """0x94 in a short frame: outer voltage in 0.01 V. Owed no answer."""
    return Heartbeat(None, {"power": number(content, 0, 2) / 100}, record, reply)


def information(content: bytes, record: bytes, reply: Reply | None) -> Heartbeat | Report:
    """0x94 in a long frame: what it is (1), then that. Owed no answer (JM-VL03 1.1.2 §9)."""
    kind, value = number(content, 0, 1), content[1:]
    sent_at = None
    if kind in {0x05, 0x0D} and len(value) > 6 and value[0] != 0x21:  # "!" begins the fuel sensor's text
        sent_at, value = time_at(value, 0), value[6:]
    read = INFORMATION.get(kind)
    if read is None:
        raise BadFrame(Reason.UNKNOWN_KIND, f"0x94, information 0x{kind:02x}")
    attributes = read(value)
    if sent_at or "driverUniqueId" in attributes:
        return Report(None, None, attributes, record, None, sent_at, reply)
    return Heartbeat(None, attributes, record, reply)


def outer_voltage(value: bytes) -> Attributes:
    """0x00: 0.01 V."""
    return {"adc1": number(value, 0, 2) / 100}


SETTINGS: Final = {
    "ALM1": "alarm1Status",
    "ALM2": "alarm2Status",
    "ALM3": "alarm3Status",
    "ALM4": "alarm4Status",
    "STA1": "otherStatus",
    "DYD": "engineStatus",
}


def settings(value: bytes) -> Attributes:
    """0x04: ``ALM1=45;…``, bit fields in hexadecimal (JM-VL03 1.1.2 §9); DYD bit 1: fuel cut."""
    attributes: Attributes = {}
    for pair in value.decode("latin-1").split(";"):
        name, _, text = pair.partition("=")
        if name in SETTINGS:
            attributes[SETTINGS[name]] = int(text, 16)
        elif name == "ICCID" and text:
            attributes["iccid"] = text
    return attributes


def door(value: bytes) -> Attributes:
    """0x05: bit 0 door open, 2 level of the port."""
    flags = number(value, 0, 1)
    return {"door": flags & 0x01 != 0, "io1": flags & 0x04 != 0}


def satellites(value: bytes) -> Attributes:
    """0x09: state of the receiver, how many satellites are used, their signals, how many more are heard …"""
    used = number(value, 1, 1)
    attributes: Attributes = {"gpsStatus": value[0], "sat": used}
    if len(value) > 2 + used:
        attributes["satVisible"] = used + value[2 + used]
    return attributes


def sim_card(value: bytes) -> Attributes:
    """0x0A: IMEI (8), IMSI (8), ICCID (10), a digit in each half byte, the end filled with F."""
    if len(value) < 26:
        raise BadFrame(Reason.MALFORMED, "no ICCID")
    return {"iccid": value[16:26].hex().rstrip("f"), "imsi": value[8:16].hex().lstrip("0")}


def network_or_voltage(value: bytes) -> Attributes:
    """0x0B: one byte tells the network's generation, two the outer voltage in 0.01 V."""
    if len(value) == 1:
        return {"networkTechnology": "4G" if value[0] else "2G"}
    return {"power": number(value, 0, 2) / 100}


def fuel_sensor(value: bytes) -> Attributes:
    """0x0D: ``!AIOIL,02,008.290,029.600,519J,0400,008.430,0,00,AB``: address, output, temperature (°C),
    version, states, level measured, motion, waves, checksum.
    """
    fields = value.decode("latin-1").split(",")
    if fields[0] != "!AIOIL":
        raise BadFrame(Reason.MALFORMED, "no fuel sensor")
    return {"temp1": finite(fields[3]), "fuel": finite(fields[6])}


def card(value: bytes) -> Attributes:
    """0x1B: a card or serial number in text, or header, type, card (4), checksum, footer; or eight bytes."""
    if value[:1].isalpha():
        return {"serial": value.decode("latin-1").strip("\0 \r\n")}
    return {"driverUniqueId": value[2:6].hex()}


def climate(value: bytes) -> Attributes:
    """0x1E: temperature in 0.1 °C and humidity in 0.1 %, four bytes each."""
    return {
        "temp1": int.from_bytes(value[:4], "big", signed=True) / 10,
        "humidity": number(value, 4, 4) / 10,
    }


def self_check(value: bytes) -> Attributes:
    """0x08: text."""
    return {"result": value.decode("latin-1").strip("\0")}


INFORMATION: Final = {
    0x00: outer_voltage,
    0x04: settings,
    0x05: door,
    0x08: self_check,
    0x09: satellites,
    0x0A: sim_card,
    0x0B: network_or_voltage,
    0x0D: fuel_sensor,
    0x1B: card,
    0x1E: climate,
}


def serial_data(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x9B: the device behind the serial port (1), and what it said; bytes that are no text in hexadecimal."""
    data = content[1:]
    if not data:
        raise BadFrame(Reason.MALFORMED, "no data")
    text = data.decode("latin-1")
    printable = all(byte in b"\r\n\t" or 0x20 <= byte < 0x7F for byte in data)
    return Report(None, None, {"result": text.strip() if printable else data.hex()}, record, reply=reply)


TRAILER_BYTES: Final = 12  # satellites, latitude, longitude, speed, course and flags

PIDS: Final[dict[int, tuple[str, float]]] = {
    0x28: ("odometer", 10),  # 0.01 km
    0x2B: ("fuel", 0.01),
    0x2D: ("coolantTemp", 0.01),
    0x35: ("obdSpeed", 0.01),
    0x36: ("rpm", 0.01),
    0x47: ("fuelUsed", 0.01),
    0x49: ("hours", 36_000),  # 0.01 h
}
"""Numbers of the FM08ABC: the first two digits of a key, its value's name, and what one unit is worth."""
VIN: Final = 0x4A


def car_computer(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x65 (trouble codes), 0x66 and 0x8C (values): time, ignition, ``KEY=value,…`` in hexadecimal, and
    behind the text satellites, latitude, longitude, speed, course and flags. Owed no answer.
    """
    attributes: Attributes = {}
    text = content[7:-TRAILER_BYTES].decode("latin-1")
    fix = fix_at(content[:6] + content[-TRAILER_BYTES:], 0, attributes)
    attributes["ignition"] = number(content, 6, 1) > 0
    if record[0] != 0x8C:
        attributes["dtcs" if record[0] == 0x65 else "pids"] = text.strip(",")
        return Report(None, fix, attributes, record, reply=reply)
    for pair in text.split(","):
        key, _, value = pair.partition("=")
        pid = int(key[:2], 16) if value else 0
        if pid in PIDS:
            name, worth = PIDS[pid]
            attributes[name] = round(int(value, 16) * worth, 2)
        elif pid == VIN:
            attributes["vin"] = value
    return Report(None, fix, attributes, record, reply=reply)


def battery(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x40 of the WD-209: serial number (8), Unix time, then the battery's own record."""
    attributes: Attributes = {
        "relativeCapacity": number(content, 12, 1),
        "remainingCapacity": number(content, 13, 2),
        "absoluteCapacity": number(content, 15, 1),
        "fullCapacity": number(content, 16, 2),
        "batteryHealth": number(content, 18, 1),
        "batteryTemp": round(number(content, 19, 2) / 10 - 273.1, 1),
        "current": number(content, 21, 2),
        "battery": number(content, 23, 2) / 1000,
        "cycleIndex": number(content, 25, 2),
    }
    for cell in range(14):
        attributes[f"batteryCell{cell + 1}"] = number(content, 27 + 2 * cell, 2) / 1000
    attributes |= {
        "currentChargeInterval": number(content, 55, 2),
        "maxChargeInterval": number(content, 57, 2),
        "barcode": content[59:75].decode("latin-1").strip("\0 "),
        "batteryVersion": number(content, 75, 2),
        "manufacturer": content[77:93].decode("latin-1").strip("\0 "),
        "batteryStatus": number(content, 93, 4),
        "controllerStatus": number(content, 97, 4),
        "controllerFault": number(content, 101, 4),
    }
    return Report(None, None, attributes, record, None, unix_time(number(content, 8, 4)), reply)
