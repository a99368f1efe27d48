"""The report with a position (``F``) or with a cell (``L``): fields, clock and the extended tail.

Source: Coban "GPRS PROTOCOL" V0.1 2014-12-12 §4.1, §4.2, §5.1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from tracker_protocols.model import Attributes, BadFrame, Cell, Fix, Network, Reason
from tracker_protocols.wire.fields import MPS_PER_KNOT, check_place, degrees_from_nmea, moment

ODOMETER_METRES_PER_UNIT: Final = 1000  # the OBD tracker counts kilometres

_ONE_DAY = timedelta(days=1)
_HALF_DAY_MINUTES = 720
_NORTH_SOUTH = frozenset({b"N", b"S", b"n", b"s"})
_EAST_WEST = frozenset({b"E", b"W", b"e", b"w"})
_PUNCTUATION = b"/: "
_BOOLEANS = {b"0": False, b"1": True}


def number(text: bytes) -> float | None:
    """A decimal number within a million; anything else is not said."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if -1e6 < value < 1e6 else None


def fixed_at(local: bytes, utc: bytes) -> datetime:
    """The instant of ``yymmddHHMM[SS]`` by the device's clock and ``hhmmss[.sss]`` by the satellites'.

    The date is local, so it may be a day off: the zone is taken to lie within twelve hours. Without the
    satellites' time the local one is taken for UTC, to the minute, as servers of this field do.
    """
    if not local.isdigit():
        local = local.translate(None, _PUNCTUATION)
    clock = utc[:6]
    if len(local) not in {10, 12} or not local.isdigit():
        raise BadFrame(Reason.NO_SUCH_MOMENT, f"local time {local[:20]!r}")
    date, minute_of_day = divmod(int(local[:10]), 10_000)
    year, month, day = date // 10_000, date // 100 % 100, date % 100
    hour, minute = divmod(minute_of_day, 100)
    if len(clock) < 6 or not clock.isdigit():
        return moment(year, month, day, hour, minute)
    utc_number = int(clock)
    utc_hour, utc_minute = utc_number // 10_000, utc_number // 100 % 100
    instant = moment(year, month, day, utc_hour, utc_minute, utc_number % 100)
    ahead = (hour - utc_hour) * 60 + minute - utc_minute
    if ahead > _HALF_DAY_MINUTES:
        return instant + _ONE_DAY
    return instant - _ONE_DAY if ahead <= -_HALF_DAY_MINUTES else instant


def read_position(fields: Sequence[bytes], attributes: Attributes) -> Fix:
    """The fields from the fifth on: UTC, validity, latitude, longitude, speed in knots, course, the tail.

    A hemisphere stands behind its angle, on some firmware before it; a missing one is north or east.
    """
    at = 7
    north = east = b""
    if fields[at] in _NORTH_SOUTH:
        north, at = fields[at], at + 1
    latitude, at = fields[at], at + 1
    if not north and fields[at] in _NORTH_SOUTH:
        north, at = fields[at], at + 1
    if fields[at] in _EAST_WEST:
        east, at = fields[at], at + 1
    longitude, at = fields[at], at + 1
    if not east and len(fields) > at and (fields[at] in _EAST_WEST or not fields[at]):
        east, at = fields[at], at + 1
    y = degrees_from_nmea(latitude, north.upper() or b"N")
    x = degrees_from_nmea(longitude, east.upper() or b"E")
    check_place(y, x)
    rest = fields[at:]
    count = len(rest)
    knots = number(rest[0]) if count else None
    course = number(rest[1]) if count > 1 else None
    altitude = number(rest[2]) if count > 2 and rest[2] else None
    if count > 3:
        read_tail(rest[3:], attributes)
    return Fix(
        fixed_at(fields[2], fields[5]),
        y,
        x,
        fields[6] in {b"A", b"a"},
        altitude,
        None if knots is None else knots * MPS_PER_KNOT,
        course,
    )


def read_tail(values: Sequence[bytes], attributes: Attributes) -> None:
    """Ignition, door, fuel of two sensors in percent, temperature.

    OBD trackers put the odometer into the second fuel's place and DTC reports the fault code. Firmware that
    writes no percent sign means a temperature by the first number, as servers of this field read it.
    """
    ignition = _BOOLEANS.get(values[0])
    if ignition is not None:
        attributes["ignition"] = ignition  # the state now; the keyword told of a change
    if len(values) < 2:
        return
    door = _BOOLEANS.get(values[1])
    if door is not None:
        attributes["door"] = door
    elif values[1]:
        return  # not this layout
    first, second, last = [*values[2:5], b"", b"", b""][:3]
    if first.endswith(b"%"):
        _set(attributes, "fuelLevel", number(first[:-1]))
    elif first:
        degrees = number(first)
        if degrees is not None:
            attributes.setdefault("temp1", int(degrees))
        return
    if second.endswith(b"%"):
        _set(attributes, "fuelLevel2", number(second[:-1]))
    elif second.isdigit() and len(second) < 10:
        attributes["odometer"] = int(second) * ODOMETER_METRES_PER_UNIT
    elif second:
        attributes["dtcs"] = second.decode("latin-1")[:64]
    _set(attributes, "temp1", number(last) if last else None)


def _set(attributes: Attributes, name: str, value: float | None) -> None:
    if value is not None:
        attributes[name] = value


def read_cell(fields: Sequence[bytes], attributes: Attributes) -> Network | None:
    """Without a fix the angles' places hold area and cell in hexadecimal; the country goes without saying."""
    if len(fields) > 14:
        read_tail(fields[14:], attributes)
    try:
        cell = Cell(0, 0, int(fields[7], 16), int(fields[9], 16))
    except (ValueError, IndexError):
        return None
    if not (0 <= cell.lac < 1 << 36 and 0 <= cell.cid < 1 << 36):
        return None  # 36 bits are the most that any network uses
    return Network((cell,)) if cell.lac or cell.cid else None
