"""What single makers put behind the fix and the cell, and frames that only one family sends.

Which family it is, a frame tells by its kind and length alone: see ``COUSINS`` in decoder.py.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from tracker_protocols.gt06.alarms import CODES, LW_CODES, STATUS_ALARMS, add_alarm, add_alarm_code
from tracker_protocols.gt06.fields import (
    CELL_2G,
    CELL_4G,
    CELL_CID4,
    CELL_CID4_WIDE,
    FIX_BYTES,
    add_status,
    add_terminal_information,
    add_voltage_level,
    cell_at,
    fix_at,
    imei_at,
    measured_cell_at,
    number,
)
from tracker_protocols.gt06.locations import Handler, add_upload_tail, without_flag
from tracker_protocols.model import Attributes, Reply, Report

CELL_MNC2: Final = CELL_CID4_WIDE  # 0x11: two bytes of MNC and four of identity, as the SL4X has them
VXT01_ALARMS: Final = STATUS_ALARMS | {7: "overspeed"}


def vxt01_alarm(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x16 of the VXT01: no LBS length, and status bits 5 to 3 with a meaning of their own for 7."""
    attributes: Attributes = {}
    fix = fix_at(content, 0, attributes)
    network, at = cell_at(content, FIX_BYTES, CELL_2G)
    add_terminal_information(attributes, content[at], VXT01_ALARMS)
    add_voltage_level(attributes, content[at + 1])
    attributes["rssi"] = content[at + 2]
    return Report(None, fix, attributes, record, network, None, reply)


def no_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """Nothing is known of what follows the cell."""


def driver_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """An eight-byte driver key."""
    if any(content[at : at + 8]):
        attributes["driverUniqueId"] = content[at : at + 8].hex()


def ibutton_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """0x61: a six-byte iButton, written as a decimal number."""
    attributes["driverUniqueId"] = str(number(content, at, 6))


def vxt01_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """Terminal information, outer voltage in 0.01 V, signal."""
    add_terminal_information(attributes, content[at], VXT01_ALARMS)
    attributes["power"] = number(content, at + 1, 2) / 100
    attributes["rssi"] = content[at + 3]


def s5_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """As the VXT01's, then alarm, fuel, temperature (bit 7: below zero) and mileage in 10 m."""
    add_terminal_information(attributes, content[at])
    attributes["power"] = number(content, at + 1, 2) / 100
    attributes["rssi"] = content[at + 3]
    add_alarm_code(attributes, content[at + 4])
    attributes["oil"] = number(content, at + 5, 2)
    temperature = content[at + 7]
    attributes["temp1"] = -(temperature & 0x7F) if temperature & 0x80 else temperature
    attributes["odometer"] = number(content, at + 8, 4) * 10


def benway_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """One word: bit 15 ignition, 14 input 2, 12 temperature or voltage, 13 the voltage's scale, 9 sign."""
    word = number(content, at, 2)
    attributes["ignition"] = word & 0x8000 != 0
    attributes["in2"] = word & 0x4000 != 0
    if word & 0x1000:
        attributes["temp1"] = -(word & 0x01FF) if word & 0x0200 else word & 0x01FF
    else:
        attributes["adc1"] = word & 0x03FF if word & 0x2000 else (word & 0x03FF) / 10


def card_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """GT06E with a card reader: mileage, length and text of the card, alarm, how it was swiped."""
    attributes["odometer"] = number(content, at, 4)
    size = content[at + 4]
    attributes["card"] = content[at + 5 : at + 5 + size].decode("ascii", "replace").strip("\0 ")


def wetrust_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """As the GT06E's, then alarm, the card's state and the driving time in minutes."""
    card_tail(content, at, attributes)
    at += 5 + content[at + 4]
    add_alarm(attributes, "general" if content[at] else None)
    attributes["cardStatus"] = content[at + 1]
    attributes["drivingTime"] = number(content, at + 2, 2)


def seeworld_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """Upload tail, mileage, travel time, temperature and humidity in hundredths (bit 15: below zero)."""
    at = add_upload_tail(content, at, attributes)
    attributes["odometer"] = number(content, at, 4)
    temperature = number(content, at + 8, 2)
    attributes["temp1"] = (-(temperature & 0x7FFF) if temperature & 0x8000 else temperature) / 100
    attributes["humidity"] = number(content, at + 10, 2) / 100


def meter_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """0x36 with a fix: upload tail, mileage, outer and inner voltage, engine minutes, driver."""
    attributes["ignition"] = content[at] > 0
    attributes["uploadMode"] = content[at + 1]
    attributes["archive"] = content[at + 2] > 0
    attributes["odometer"] = number(content, at + 3, 4)
    attributes["power"] = number(content, at + 7, 2) / 100
    attributes["battery"] = content[at + 9] / 10
    attributes["hours"] = number(content, at + 10, 3) * 60_000
    driver_tail(content, at + 13, attributes)


def sr411_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """0x24 of the SR411: ignition, outer and inner voltage in 0.01 V."""
    attributes["ignition"] = content[at] > 0
    attributes["power"] = number(content, at + 1, 2) / 100
    attributes["battery"] = number(content, at + 3, 2) / 100


def rfid_tail(content: bytes, at: int, attributes: Attributes) -> None:
    """0x17 with a fix: an eight-byte card and whether it is a known one."""
    attributes["driverUniqueId"] = content[at : at + 8].hex()
    if at + 8 < len(content):
        attributes["cardStatus"] = content[at + 8]


def nt_location(*, driver: bool) -> Handler:
    """0x22 and 0x25 of the NT family: where the fix came from, IMEI (8), the device's time (6), the fix, a
    cell behind its length, terminal information, outer voltage (0.01 V), inner (0.1 V), signal, alarm,
    language, mileage (m, 3 bytes), engine minutes (3), and in 0x25 the driver: length, type, key.
    """
    form = CELL_CID4 if driver else CELL_2G

    def handle(content: bytes, record: bytes, reply: Reply | None) -> Report:
        attributes: Attributes = {}
        device = imei_at(content, 1)
        fix = fix_at(content, 15, attributes)
        network, at, _ = measured_cell_at(content, 15 + FIX_BYTES, form)
        add_terminal_information(attributes, content[at])
        attributes["power"] = number(content, at + 1, 2) / 100
        attributes["battery"] = content[at + 3] / 10
        attributes["rssi"] = content[at + 4]
        add_alarm_code(attributes, content[at + 5], CODES)
        attributes["odometer"] = number(content, at + 7, 3)
        attributes["hours"] = number(content, at + 10, 3) * 60_000
        if driver and (size := content[at + 13]) > 1:
            attributes["driverUniqueId"] = content[at + 15 : at + 14 + size].hex()
        return Report(device, fix, attributes, record, network, None, reply)

    return handle


def lw_location(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0xA2 of the LW 4G trackers: fix, long cell, network, terminal information, outer voltage (0.01 V),
    battery level, signal, language, alarm, mileage (m), engine seconds, IMEI (8), inputs (2).
    """
    attributes: Attributes = {}
    fix = fix_at(content, 0, attributes)
    network, at = cell_at(content, FIX_BYTES, CELL_4G)
    add_terminal_information(attributes, content[at + 1])
    attributes["power"] = number(content, at + 2, 2) / 100
    add_voltage_level(attributes, content[at + 4])
    attributes["rssi"] = content[at + 5]
    add_alarm_code(attributes, content[at + 7], LW_CODES)
    attributes["odometer"] = number(content, at + 8, 4)
    attributes["hours"] = number(content, at + 12, 4) * 1000
    attributes["input"] = number(content, at + 24, 2)
    return Report(imei_at(content, at + 16), fix, attributes, record, network, None, reply)


def sl4x_location(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x31 of the SL4X: a cell with two bytes of MNC and four of identity, upload tail, mileage, altitude (m)."""
    attributes: Attributes = {}
    fix = fix_at(content, 0, attributes)
    network, at = cell_at(content, FIX_BYTES, CELL_CID4_WIDE)
    record = without_flag(record, at)
    at = add_upload_tail(content, at, attributes)
    attributes["odometer"] = number(content, at, 4)
    if fix:
        fix = replace(fix, altitude_m=signed(content, at + 4))
    return Report(None, fix, attributes, record, network, None, reply)


def sl4x_alarm(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x32 of the SL4X: a cell as in its 0x31 behind its length, status and alarm, sometimes altitude (m)."""
    attributes: Attributes = {}
    fix = fix_at(content, 0, attributes)
    network, at, _ = measured_cell_at(content, FIX_BYTES, CELL_CID4_WIDE)
    at = add_status(content, at, attributes)
    if fix and len(content) - at >= 2:
        fix = replace(fix, altitude_m=signed(content, at))
    return Report(None, fix, attributes, record, network, None, reply)


def signed(content: bytes, at: int) -> int:
    """Two bytes in two's complement."""
    return int.from_bytes(content[at : at + 2], "big", signed=True)
