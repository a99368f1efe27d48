"""The BCD frames behind ``$`` and ``X``; layouts in README.md §BCD frames."""

from __future__ import annotations

from struct import Struct
from typing import Final

from tracker_protocols.h02.framing import LONG_SIZE, OLD_BINARY_MARKER, SHORT_SIZE, frame_size
from tracker_protocols.h02.status import status_attributes
from tracker_protocols.model import Attributes, BadFrame, Cell, DeviceKey, Fix, Network, Reason, Report
from tracker_protocols.wire.fields import MPS_PER_KNOT, check_place, moment

VALID: Final = 0x02
NORTH: Final = 0x04
EAST: Final = 0x08

# Behind the status: alarm flags, reserved, GSM signal, satellites, mileage, country, network, area, cell.
_RADIO = Struct(">xxBBIHBHH")
_VOLTAGE = Struct(">H")
_RADIO_AT, _VOLTAGE_AT = 29, 44
_MCC_MIN, _MCC_MAX = 200, 799  # ITU-T E.212; other makers put other things there

_LEVELS: Final = {1: 0, 2: 10, 3: 20, 4: 60, 5: 80, 6: 100}  # percent


def battery_level(code: int) -> int | None:
    """Percent, from a step of 1 to 6 or from a percentage; 0 and what no device sends: not said."""
    if code in _LEVELS:
        return _LEVELS[code]
    if 6 < code <= 100:
        return code
    return code - 0xF0 if 0xF1 <= code <= 0xF6 else None


def decode_binary(frame: bytes, known: DeviceKey | None) -> Report:
    """One fix. ``known`` is the connection's device: an ``X`` frame's own number is not the device's."""
    if len(frame) < SHORT_SIZE:
        raise BadFrame(Reason.MALFORMED, f"{len(frame)} bytes, at least {SHORT_SIZE} expected")
    begin = 9 if frame_size(frame, 0) == 42 else 6  # an IMEI takes three bytes more
    key = frame[1:begin].hex()[:15]
    digits = frame[begin : begin + 19].hex()
    flags = int(digits[31], 16)
    time, date = int(digits[:6]), int(digits[6:12])
    latitude = _degrees(int(digits[12:20]))
    longitude = _degrees(int(digits[22:31]))
    check_place(latitude, longitude)
    fix = Fix(
        moment(date % 100, date // 100 % 100, date // 10000, time // 10000, time // 100 % 100, time % 100),
        latitude if flags & NORTH else -latitude,
        longitude if flags & EAST else -longitude,
        bool(flags & VALID),
        None,
        int(digits[32:35]) * MPS_PER_KNOT,
        float(int(digits[35:38])),
    )
    status = begin + 19
    attributes = status_attributes(int.from_bytes(frame[status : status + 4], "big"))
    level = battery_level(frame[begin + 10])
    if level is not None:
        attributes["batteryLevel"] = level
    network = _radio(frame, attributes) if begin == 6 and len(frame) >= LONG_SIZE else None
    device = known or key if frame[0] == OLD_BINARY_MARKER else key
    return Report(device, fix, attributes, frame[begin : status + 4], network)


def _degrees(packed: int) -> float:
    """``DDMMmmmm`` or ``DDDMMmmmm`` as one whole number, in degrees."""
    degrees, minutes = divmod(packed, 1_000_000)
    return degrees + minutes / 600_000


def _radio(frame: bytes, attributes: Attributes) -> Network | None:
    """Signal, satellites, mileage and cell, where a possible country shows that this layout is meant."""
    signal, satellites, mileage, mcc, mnc, lac, cid = _RADIO.unpack_from(frame, _RADIO_AT)
    if not _MCC_MIN <= mcc <= _MCC_MAX:
        return None
    attributes["rssi"] = signal
    attributes["sat"] = satellites
    attributes["mileage"] = mileage
    if len(frame) > LONG_SIZE + 1:
        attributes["power"] = _VOLTAGE.unpack_from(frame, _VOLTAGE_AT)[0] / 10
    return Network((Cell(mcc, mnc, lac, cid),)) if lac or cid else None
