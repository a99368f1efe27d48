"""The fields that GT06 frames share: moment, fix, cell, terminal status."""

from __future__ import annotations

from datetime import UTC, datetime
from struct import Struct
from typing import Final, NamedTuple

from tracker_protocols.gt06.alarms import CODES, LW_CODES, STATUS_ALARMS, add_alarm, add_alarm_code
from tracker_protocols.model import Attributes, BadFrame, Cell, DeviceKey, Fix, Network, Reason
from tracker_protocols.wire.fields import MPS_PER_KMH, check_place, device_key, moment, moment_from_ms

UNITS_PER_DEGREE: Final = 1_800_000  # latitude and longitude count 1/30000 of a minute
FIX_BYTES: Final = 18

_FIX = Struct(">BBBBBBBIIBH")
_NO_TIME: Final = bytes(6)


def fix_at(content: bytes, at: int, attributes: Attributes) -> Fix | None:
    """Time (6), satellites (1), latitude (4), longitude (4), speed in km/h (1), course and flags (2).

    None where the device has no fix yet and sends zeros for the time (JM-VL03 1.1.2 §3).
    """
    year, month, day, hour, minute, second, satellites, latitude, longitude, speed, flags = _FIX.unpack_from(
        content, at
    )
    attributes["sat"] = satellites & 0x0F
    if not month and content[at : at + 6] == _NO_TIME:
        return None
    return fix_of(
        moment(year, month, day, hour, minute, second),
        latitude,
        longitude,
        speed * MPS_PER_KMH,
        flags,
        attributes,
    )


def fix_of(
    at: datetime, latitude_raw: int, longitude_raw: int, speed_mps: float, flags: int, attributes: Attributes
) -> Fix:
    """Flags: course in bits 0 to 9, 10 north, 11 west, 12 positioned; 14: bit 15 tells the ignition."""
    latitude = latitude_raw / UNITS_PER_DEGREE
    longitude = longitude_raw / UNITS_PER_DEGREE
    if latitude > 90 or longitude > 180:
        check_place(latitude, longitude)
    if flags & 0x4000:
        attributes["ignition"] = flags >= 0x8000
    return Fix(
        at,
        latitude if flags & 0x0400 else -latitude,
        -longitude if flags & 0x0800 else longitude,
        flags & 0x1000 != 0,
        None,
        speed_mps,
        flags & 0x03FF,
    )


def number(content: bytes, at: int, size: int) -> int:
    """An unsigned number, high byte first, that must be there."""
    field = content[at : at + size]
    if len(field) < size:
        raise BadFrame(Reason.MALFORMED, f"{size} bytes wanted at {at}, {len(field)} there")
    return int.from_bytes(field, "big")


def time_at(content: bytes, at: int) -> datetime | None:
    """Year, month, day, hour, minute, second, UTC; None where all are zero."""
    time = content[at : at + 6]
    if len(time) < 6:
        raise BadFrame(Reason.MALFORMED, "no time")
    return None if time == _NO_TIME else moment(*time)


def unix_time(seconds: int) -> datetime:
    """Seconds since 1970-01-01 UTC."""
    return moment_from_ms(seconds * 1000).astimezone(UTC)


def imei_at(content: bytes, at: int) -> DeviceKey:
    """Fifteen digits in eight bytes, the first half byte 0."""
    digits = content[at : at + 8].hex()
    if len(digits) < 16:
        raise BadFrame(Reason.NO_DEVICE, "no IMEI")
    return device_key(digits[1:] if digits[0] == "0" else digits)


class CellForm(NamedTuple):
    """How a cell is written: with one byte of MNC, and with two (bit 15 of the MCC, or always)."""

    narrow: Struct
    wide: Struct
    split_cid: bool = False
    always_wide: bool = False


CELL_2G: Final = CellForm(Struct(">HBHBH"), Struct(">HHHBH"), split_cid=True)
CELL_CID4: Final = CellForm(Struct(">HBHI"), Struct(">HHHI"))
CELL_CID4_WIDE: Final = CellForm(Struct(">HBHI"), Struct(">HHHI"), always_wide=True)
CELL_4G: Final = CellForm(Struct(">HBIQ"), Struct(">HHIQ"))


def cell_at(content: bytes, at: int, form: CellForm) -> tuple[Network | None, int]:
    """MCC, MNC, LAC, cell identity, and where they end; no network where all are zero."""
    layout = form.wide if form.always_wide or content[at] >= 0x80 else form.narrow
    if form.split_cid:
        mcc, mnc, lac, high, low = layout.unpack_from(content, at)
        cid = high << 16 | low
    else:
        mcc, mnc, lac, cid = layout.unpack_from(content, at)
    end = at + layout.size
    if not (lac or cid):
        return None, end
    return Network((Cell(mcc & 0x7FFF, mnc, lac, cid),)), end


def measured_cell_at(content: bytes, at: int, form: CellForm) -> tuple[Network | None, int, int]:
    """A cell behind its length byte; answers the network, where it ends, and the length.

    The length counts itself in most frames and does not in some. 15 and more is the 4G form. A length
    of 0 comes alone, or with 45 bytes of zeros for it (JI09).
    """
    length = content[at]
    if length == 0:
        return None, at + (46 if len(content) >= at + 51 else 1), 0
    network, end = cell_at(content, at + 1, CELL_4G if length >= 15 else form)
    return network, max(end, at + length), length


def add_terminal_information(
    attributes: Attributes, byte: int, alarms: dict[int, str] = STATUS_ALARMS
) -> None:
    """JM-VL03 1.1.2 §2: bit 7 fuel cut, 6 GPS, 5 to 3 alarm, 2 charging, 1 ACC, 0 defence on."""
    attributes["status"] = byte
    attributes["ignition"] = byte & 0x02 != 0
    attributes["charge"] = byte & 0x04 != 0
    attributes["blocked"] = byte & 0x80 != 0
    attributes["armed"] = byte & 0x01 != 0
    if alarm := byte >> 3 & 0x07:
        add_alarm(attributes, alarms.get(alarm))


def add_voltage_level(attributes: Attributes, byte: int) -> None:
    """A level from 0 (off) to 6 (full); other makers write percent; above 100 it is 0.1 V of outer power."""
    if byte <= 6:
        attributes["batteryLevel"] = byte * 100 // 6
    elif byte <= 100:
        attributes["batteryLevel"] = byte
    else:
        attributes["power"] = byte / 10


def add_status(
    content: bytes,
    at: int,
    attributes: Attributes,
    codes: dict[int, str] = CODES,
    *,
    long_codes: bool = False,
) -> int:
    """Terminal information, voltage level, signal, alarm, language; answers where they end."""
    information, level, signal, code, language = content[at : at + 5]
    add_terminal_information(attributes, information)
    add_voltage_level(attributes, level)
    attributes["rssi"] = signal
    if code == 0x19 and level in {6, 100}:
        codes = LW_CODES  # "internal battery low" with a full battery: the LW trackers' acceleration
    add_alarm_code(attributes, code | (language & 0xF0) << 4 if long_codes else code, codes)
    return at + 5


def add_status_modules(content: bytes, at: int, attributes: Attributes) -> None:
    """Modules of identifier (2), length (1), value, behind a Jimi 4G status (0x36, 0x39)."""
    while at + 3 <= len(content):
        module, size = number(content, at, 2), content[at + 2]
        value = content[at + 3 : at + 3 + size]
        at += 3 + size
        if module == 0x0018:
            attributes["battery"] = number(value, 0, 2) / 100
        elif module == 0x0032:
            attributes["startupStatus"] = number(value, 0, 1)
        elif module == 0x006A:
            attributes["batteryLevel"] = number(value, 0, 1)
