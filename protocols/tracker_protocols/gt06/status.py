"""Heartbeats: the terminal's status without a place. One that tells an alarm is a report."""

from __future__ import annotations

from tracker_protocols.gt06.alarms import add_alarm_code
from tracker_protocols.gt06.fields import (
    add_status,
    add_status_modules,
    add_terminal_information,
    add_voltage_level,
    number,
)
from tracker_protocols.model import Attributes, Heartbeat, Reply, Report


def sign_of_life(attributes: Attributes, record: bytes, reply: Reply | None) -> Heartbeat | Report:
    """An alarm must be stored before it is answered; the rest is answered at once."""
    if "alarm" in attributes:
        return Report(None, None, attributes, record, reply=reply)
    return Heartbeat(None, attributes, record, reply)


def heartbeat(content: bytes, record: bytes, reply: Reply | None) -> Heartbeat | Report:
    """0x13: terminal information, voltage level, signal, and two bytes that makers use in their own ways.

    Alarm and language (GT06); ``Fxxx``: outer voltage in 0.1 V (LW); with a signal in percent, outer
    voltage in V and language (SEEWORLD). Six bytes: the voltage has two, in 0.01 V (R11).
    """
    attributes: Attributes = {}
    if len(content) < 3:
        return Heartbeat(None, attributes, record, reply)
    add_terminal_information(attributes, content[0])
    if len(content) == 6:
        attributes["power"] = number(content, 1, 2) / 100
        content = content[1:]
    else:
        add_voltage_level(attributes, content[1])
    signal = attributes["rssi"] = content[2]
    if len(content) < 5:
        return sign_of_life(attributes, record, reply)
    code, language = content[3], content[4]
    tenths = (code & 0x0F) << 8 | language
    if code >= 0xF0 and 30 <= tenths < 1024:
        attributes["power"] = tenths / 10
    elif 32 <= signal <= 100 and code >= 5:
        attributes["power"] = code
    else:
        add_alarm_code(attributes, code)
    return sign_of_life(attributes, record, reply)


def obd6_heartbeat(content: bytes, record: bytes, reply: Reply | None) -> Heartbeat | Report:
    """0x13 with 14 bytes: terminal information; satellites of two systems and signal, five bits each;
    alarm, language, battery level, mode, outer voltage (0.01 V), reserved, working time, temperature (0.1 °C).
    """
    attributes: Attributes = {}
    add_terminal_information(attributes, content[0])
    word = number(content, 1, 2)
    attributes["sat"] = (word >> 10 & 0x1F) + (word >> 5 & 0x1F)
    attributes["rssi"] = word & 0x1F
    add_alarm_code(attributes, content[3])
    attributes["batteryLevel"] = content[5]
    attributes["power"] = number(content, 7, 2) / 100
    if content[6] == 4:
        attributes["temp1"] = int.from_bytes(content[12:14], "big", signed=True) / 10
    return sign_of_life(attributes, record, reply)


def asset_heartbeat(content: bytes, record: bytes, reply: Reply | None) -> Heartbeat | Report:
    """0x13 with 16 bytes: information, satellites (2), alarm, language, battery in percent, mode, voltage (2),
    reserved, count and time of work (2 each), temperature in 0.1 °C whose bit 15 means above zero.
    """
    value = number(content, 14, 2)
    temperature = (value & 0x7FFF) / 10
    attributes: Attributes = {
        "batteryLevel": content[5],
        "temp1": temperature if value & 0x8000 else -temperature,
    }
    add_alarm_code(attributes, content[3])
    return sign_of_life(attributes, record, reply)


def voltage_heartbeat(content: bytes, record: bytes, reply: Reply | None) -> Heartbeat:
    """0x23: bit 0 armed, 1 ACC, 2 charging; then, where they are there, battery (0.01 V) and signal."""
    attributes: Attributes = {
        "armed": content[0] & 0x01 != 0,
        "ignition": content[0] & 0x02 != 0,
        "charge": content[0] & 0x04 != 0,
    }
    if len(content) >= 3:
        attributes["battery"] = number(content, 1, 2) / 100
    if len(content) >= 4:
        attributes["rssi"] = content[3]
    return Heartbeat(None, attributes, record, reply)


def modular_heartbeat(content: bytes, record: bytes, reply: Reply | None) -> Heartbeat | Report:
    """0x36 of the Jimi 4G trackers: the status block, then modules."""
    attributes: Attributes = {}
    at = add_status(content, 0, attributes)
    add_status_modules(content, at, attributes)
    return sign_of_life(attributes, record, reply)


def seeworld_heartbeat(content: bytes, record: bytes, reply: Reply | None) -> Heartbeat | Report:
    """0xA3 with seven bytes (GL21L): terminal information, battery level, signal, alarm; ignition, upload
    mode, re-upload flag.
    """
    attributes: Attributes = {}
    add_terminal_information(attributes, content[0])
    add_voltage_level(attributes, content[1])
    attributes["rssi"] = content[2]
    add_alarm_code(attributes, content[3])
    attributes["ignition"] = content[4] > 0
    if content[6]:
        attributes["archive"] = True
    return sign_of_life(attributes, record, reply)


def sign_only(_content: bytes, record: bytes, reply: Reply | None) -> Heartbeat:
    """Answered, and nothing more is known of it: 0x14 (signal of each satellite), 0x08."""
    return Heartbeat(None, {}, record, reply)
