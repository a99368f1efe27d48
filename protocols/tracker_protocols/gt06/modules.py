"""Frames that are lists of modules: 0x70, 0xF1, 0xF2; and the X1's and the Bluetooth clock's fixed ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from tracker_protocols.gt06.alarms import MODULE_EVENTS, add_alarm
from tracker_protocols.gt06.fields import (
    CELL_CID4,
    FIX_BYTES,
    cell_at,
    fix_at,
    fix_of,
    imei_at,
    number,
    time_at,
    unix_time,
)
from tracker_protocols.model import Attributes, Cell, Fix, Network, Reply, Report
from tracker_protocols.wire.fields import MPS_PER_KMH

IMEI: Final = 0x08
CELL: Final = 0x11
TIME: Final = 0x2C
FIX: Final = 0x33


def modules_in(content: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Identifier (2), length (2), value, as long as they are whole."""
    while at + 4 <= len(content):
        end = at + 4 + number(content, at + 2, 2)
        yield number(content, at, 2), content[at + 4 : end]
        at = end


def modular(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x70 of the JM-LL01 and its sisters (protocol 2.1.4): modules, the fix among them."""
    attributes: Attributes = {}
    device = fix = network = sent_at = None
    for module, value in modules_in(content, 0):
        if module == FIX:
            fix = module_fix(value, attributes)
        elif module == CELL:
            network = module_cell(value)
        elif module == TIME:
            sent_at = unix_time(number(value, 0, 4))
        elif module == IMEI and len(value) == 8:
            device = imei_at(value, 0)
        else:
            add_module(module, value, attributes)
    return Report(device, fix, attributes, record, network, sent_at, reply)


def module_fix(value: bytes, attributes: Attributes) -> Fix:
    """Unix time, satellites, altitude (m, signed), latitude, longitude, speed (km/h), course and flags."""
    attributes["sat"] = number(value, 4, 1)
    fix = fix_of(
        unix_time(number(value, 0, 4)),
        number(value, 7, 4),
        number(value, 11, 4),
        value[15] * MPS_PER_KMH,
        number(value, 16, 2),
        attributes,
    )
    return replace(fix, altitude_m=int.from_bytes(value[5:7], "big", signed=True))


def module_cell(value: bytes) -> Network | None:
    """MCC (2), MNC (2), LAC (2), cell identity (3), signal (1)."""
    cid = number(value, 6, 3)
    if not cid:
        return None
    return Network((Cell(number(value, 0, 2), number(value, 2, 2), number(value, 4, 2), cid, value[9]),))


def add_module(module: int, value: bytes, attributes: Attributes) -> None:
    """Modules with one value each. What has no name here is left out."""
    match module:
        case 0x03:
            attributes["iccid"] = value[:10].hex()
        case 0x09 | 0x0A:
            attributes["sat" if module == 0x09 else "satVisible"] = number(value, 0, 1)
        case 0x18:
            attributes["battery"] = number(value, 0, 2) / 100
        case 0x28:
            attributes["hdop"] = number(value, 0, 1) / 10
        case 0x29:
            attributes["index"] = number(value, 0, 4)
        case 0x2A:
            ports = number(value, 0, 1)
            attributes |= {"door": ports & 0x0F != 0, "tamper": ports & 0xF0 != 0}
        case 0x2B:
            attributes["bootReason"] = number(value, 0, 1)
        case 0x2E:
            attributes["odometer"] = number(value, 0, 4)
        case 0x34:
            attributes["event"] = number(value, 0, 1)
            add_alarm(attributes, MODULE_EVENTS.get(value[0]))
        case 0x7F:
            add_tag(value, attributes)
        case _:
            pass


def add_tag(value: bytes, attributes: Attributes) -> None:
    """A Bluetooth tag: identifier (6), voltage (mV), percent, temperature (0.1 °C), humidity (%), status."""
    attributes |= {
        "tag1Id": value[:6].hex(),
        "tag1Battery": number(value, 6, 2) / 1000,
        "tag1BatteryLevel": number(value, 8, 1),
        "tag1Temp": int.from_bytes(value[9:11], "big", signed=True) / 10,
        "tag1Humidity": number(value, 11, 2),
        "tag1Status": number(value, 13, 1),
    }


def peripheral(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0xF2 of the VL842: Unix time, then what the accessories say: identifier (2), length, value. The length
    has two bytes in 0x000A and, where its first byte is 0, elsewhere.
    """
    attributes: Attributes = {}
    sent_at = unix_time(number(content, 0, 4))
    fix, at = None, 4
    while at + 3 <= len(content):
        identifier, size, at = number(content, at, 2), content[at + 2], at + 3
        if identifier == 0x000A or not size:
            size, at = size << 8 | number(content, at, 1), at + 1
        value = content[at : at + size]
        at += size
        if identifier == 0x000A:
            attributes |= {"mac": value[1:7].hex(), "event": number(value, 7, 1)}
            if attributes["event"]:
                attributes["eventData"] = number(value, 8, 1)
            attributes |= {"dataType": number(value, 9, 1), "dataDetails": value[10:].hex()}
        elif identifier == 0x000B and size == 10:
            flags, latitude, longitude = number(value, 0, 2), number(value, 2, 4), number(value, 6, 4)
            fix = fix_of(sent_at, latitude, longitude, 0.0, flags & 0x3FFF, attributes)
        elif identifier == 0x000C:
            attributes["externalBatteryLevel"] = number(value, 0, 1)
            attributes["externalBatteryCharge"] = number(value, 1, 1) > 0
            attributes["externalBatteryCycles"] = number(value, 2, 2)
    return Report(None, fix and replace(fix, speed_mps=None), attributes, record, None, sent_at, reply)


def device_status(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0xF1 of the Jimi 4G trackers: Unix time, then identifier (2), length (1), value."""
    attributes: Attributes = {}
    at = 4
    while at + 3 <= len(content):
        identifier, size = number(content, at, 2), content[at + 2]
        value = content[at + 3 : at + 3 + size]
        at += 3 + size
        match identifier:
            case 0x0001:
                attributes["motion"] = number(value, 0, 1) in {2, 4}
            case 0x0002 | 0x0004 | 0x0007:
                name = {0x0002: "armed", 0x0004: "ignition", 0x0007: "charge"}[identifier]
                attributes[name] = number(value, 0, 1) > 0
            case 0x0005:
                attributes["power"] = number(value, 0, 2) / 100
            case 0x000A:
                attributes["chargeVoltage"] = number(value, 0, 2)
            case 0x000B:
                attributes["batteryTemp"] = number(value, 0, 2) / 10
            case _:
                pass
    return Report(None, None, attributes, record, None, unix_time(number(content, 0, 4)), reply)


def bluetooth_clock(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0xB2: time, signal (signed), MAC, UUID, major, minor, voltage (0.01 V) of a beacon, clocking in or out."""
    attributes: Attributes = {
        "rssi": int.from_bytes(content[6:7], "big", signed=True),
        "tagMac": content[7:13].hex(),
        "tagUuid": content[13:29].hex(),
        "tagMajor": number(content, 29, 2),
        "tagMinor": number(content, 31, 2),
        "tagBattery": number(content, 33, 2) / 100,
        "clock": number(content, 35, 1) >> 2 & 0x0F,
    }
    return Report(None, None, attributes, record, None, time_at(content, 0), reply)


def x1_location(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x34 of the X1: data and alarm words (4), fix, terminal (2), mileage (m), cell, driver (4), inner and
    outer voltage (0.01 V), ports (4), inputs, outputs, analogue inputs (0.01 V) as many as the ports tell.
    """
    attributes: Attributes = {}
    fix = fix_at(content, 4, attributes)
    at = 4 + FIX_BYTES + 2
    attributes["odometer"] = number(content, at, 4)
    network, at = cell_at(content, at + 4, CELL_CID4)
    if driver := number(content, at, 4):
        attributes["driverUniqueId"] = str(driver)
    attributes["battery"] = number(content, at + 4, 2) / 100
    attributes["power"] = number(content, at + 6, 2) / 100
    ports = number(content, at + 8, 4)
    attributes["input"] = number(content, at + 12, 1)
    attributes["output"] = number(content, at + 13, 1)
    for port in range(ports >> 20 & 0x0F):
        attributes[f"adc{port + 1}"] = number(content, at + 14 + 2 * port, 2) / 100
    return Report(None, fix, attributes, record, network, None, reply)
