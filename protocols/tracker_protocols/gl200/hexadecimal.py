"""The HEX forms: ``+RSP``, ``+EVT`` and their kept ones with a mask, and records behind ``+`` and a zero byte.

A report by mask has a variable part between state and place that only its type explains; the place is found
by itself, for of all offsets one alone gives a moment, degrees, speed and accuracy that can be.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from tracker_protocols.gl200.fields import add_state
from tracker_protocols.model import Attributes, BadFrame, Cell, DeviceKey, Fix, Network, Reason, Report
from tracker_protocols.wire.checksums import crc16_ccitt
from tracker_protocols.wire.fields import MPS_PER_KMH, check_place, device_key, moment, moment_from_ms

REPORTS: Final = {b"+RSP": False, b"+EVT": False, b"+BSP": True, b"+BVT": True}
"""By header: whether it was kept back."""
MASK: Final = 0x00FC1FBF
NAME_IN_MASK: Final = 0x40
_HEAD = Struct(
    ">4xBIHBHH8sBHBB"
)  # type, mask, length, model, version, firmware, ID, battery, supply, state, satellites
_PLACE = Struct(">BHBHhiiHBBBBBHHHH")  # accuracy, speed (2 and tenths), course, altitude, degrees, time, cell
_VARIABLE_MAX: Final = 24
_TRAILER: Final = 4  # checksum, CR LF

_RECORDS_HEAD: Final = 18
_GNSS: Final = bytes((0x52, 0x16))  # what it is and how long
_GNSS_AT: Final = 25  # before the record's end
_GNSS_PLACE = Struct(">xiiIHBHxHB")


def decode_masked(frame: bytes) -> Report:
    """``+RSP`` … with the mask that all fields known here have. Raises BadFrame."""
    if crc16_ccitt(frame[4:-_TRAILER]) != int.from_bytes(frame[-_TRAILER:-2], "big"):
        raise BadFrame(Reason.CHECKSUM, "CRC-16/CCITT")
    kind, mask, _, _, _, firmware, name, battery, supply, state, satellites = _HEAD.unpack_from(frame)
    if mask & ~NAME_IN_MASK != MASK:
        raise BadFrame(Reason.UNKNOWN_KIND, f"mask {mask:08X}; {MASK:08X} is known")
    begin, place = _find_place(frame)
    accuracy, whole, tenths, course, altitude, longitude, latitude, *rest = place
    year, month, day, hour, minute, second, mcc, mnc, lac, cid = rest
    attributes: Attributes = {
        "type": kind,
        "versionFw": f"{firmware:04X}",
        "batteryLevel": battery,
        "power": supply / 1000,
        "sat": satellites,
        "hdop": accuracy,
    }
    add_state(b"%02X" % state, attributes)
    if REPORTS[frame[:4]]:
        attributes["archive"] = True
    fix = Fix(
        moment(year, month, day, hour, minute, second),
        latitude / 1e6,
        longitude / 1e6,
        accuracy > 0,
        float(altitude),
        (whole + tenths / 10) * MPS_PER_KMH,
        float(course),
    )
    network = _network(mcc, mnc, lac, cid)
    record = frame[4:5] + frame[begin : begin + _PLACE.size]
    return Report(_device(name, named=bool(mask & NAME_IN_MASK)), fix, attributes, record, network)


def _find_place(frame: bytes) -> tuple[int, tuple[int, ...]]:
    """Where the one place stands: behind the number of positions, which must be 1."""
    last = min(_HEAD.size + _VARIABLE_MAX, len(frame) - _PLACE.size - _TRAILER)
    found = [
        (at, place)
        for at in range(_HEAD.size + 1, last + 1)
        if frame[at - 1] == 1 and _is_place(place := _PLACE.unpack_from(frame, at))
    ]
    if len(found) != 1:
        raise BadFrame(Reason.UNKNOWN_KIND, f"{len(found)} places found, one is known to be read")
    return found[0]


def _is_place(place: tuple[int, ...]) -> bool:
    accuracy, whole, tenths, course, altitude, longitude, latitude, year, month, day, hour, minute, second = (
        place[:13]
    )
    return (
        2000 <= year < 2100
        and 1 <= month <= 12
        and 1 <= day <= 31
        and hour < 24
        and minute < 60
        and second < 60
        and -180_000_000 <= longitude <= 180_000_000
        and -90_000_000 <= latitude <= 90_000_000
        and accuracy <= 50
        and whole < 1000
        and tenths < 10
        and course < 360
        and altitude > -1000
    )


def _device(name: bytes, *, named: bool) -> DeviceKey:
    """A name of up to eight characters, or an IMEI: two digits in each byte, as a number, the last one alone."""
    if named:
        return device_key(name.rstrip(b"\x00"))
    if max(name[:7]) > 99 or name[7] > 9:
        raise BadFrame(Reason.NO_DEVICE, name.hex())
    return "".join(f"{two:02d}" for two in name[:7]) + str(name[7])


def _network(mcc: int, mnc: int, lac: int, cid: int) -> Network | None:
    """Country and network are decimal digits, four bits each."""
    country, operator = f"{mcc:x}", f"{mnc:x}"
    if not (country.isdecimal() and operator.isdecimal() and 200 <= int(country) <= 799):
        return None
    return Network((Cell(int(country), int(operator), lac, cid),))


def decode_records(frame: bytes) -> list[Report]:
    """``+``, zero, length, zero, IMEI, model, version; then records, of which those that end in a place are read."""
    key = frame[5:13].hex().lstrip("0")
    if not key.isdecimal():
        raise BadFrame(Reason.NO_DEVICE, frame[5:13].hex())
    at = _RECORDS_HEAD + 1 + frame[_RECORDS_HEAD]
    end = len(frame) - 3  # checksum and the end
    reports: list[Report] = []
    while at < end:
        size = frame[at]
        if size > 0x7F or not size or at + 1 + size > end:
            raise BadFrame(Reason.MALFORMED, f"record of {size} bytes at {at}")
        reports.append(_record(device_key(key), frame[at + 1 : at + 1 + size]))
        at += 1 + size
    if not reports:
        raise BadFrame(Reason.MALFORMED, "no record")
    return reports


def _record(device: DeviceKey, record: bytes) -> Report:
    """Time, number, what it is, and its parts, the place last: 52, 16, 22 bytes, one byte more."""
    if record[-_GNSS_AT : 2 - _GNSS_AT] != _GNSS:
        raise BadFrame(Reason.UNKNOWN_KIND, f"record {record[6]:02X} without a place")
    longitude, latitude, seconds, speed, accuracy, course, altitude, satellites = _GNSS_PLACE.unpack_from(
        record, len(record) - _GNSS_AT + 2
    )
    check_place(latitude / 1e6, longitude / 1e6)
    fix = Fix(
        moment_from_ms(seconds * 1000),
        latitude / 1e6,
        longitude / 1e6,
        accuracy > 0,
        altitude / 10,
        speed / 10 * MPS_PER_KMH,
        float(course),
    )
    attributes: Attributes = {"type": record[6], "hdop": accuracy / 10, "sat": satellites}
    return Report(device, fix, attributes, record[6:])
