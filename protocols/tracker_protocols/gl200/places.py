"""The block that every report with a place has, whatever stands before and behind it.

Accuracy, speed, azimuth, altitude, longitude, latitude, UTC time, country, network, area, cell, and one field
more. Which fields come before depends on kind, model and firmware; longitude, latitude and a time of fourteen
digits in a row are found in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tracker_protocols.gl200.fields import is_hex, is_moment, kilometres, moment_of, number
from tracker_protocols.model import AccessPoint, Attributes, Cell, Fix, Network
from tracker_protocols.wire.fields import MPS_PER_KMH, check_place

_MCC_MIN, _MCC_MAX = 200, 799  # ITU-T E.212
_BEFORE: Final = 4  # accuracy, speed, azimuth, altitude
_EMPTY: Final = 6  # speed, azimuth, altitude, longitude, latitude, time
_CELL: Final = 4
_ACCESS_POINT: Final = 5  # MAC, signal, three reserved
APPENDED: Final = {b"01": (True, 1), b"02": (False, 1), b"03": (True, 2)}
"""Behind the cell: the mask of what is appended. Whether satellites are told first, and how many fields there are."""


class Place(NamedTuple):
    """One block: its fields are ``fields[begin:end]``. ``fix`` is None where the receiver had nothing to tell."""

    begin: int
    end: int
    fix: Fix | None
    attributes: Attributes
    network: Network | None


def find_places(fields: Sequence[bytes], begin: int, stop: int, *, doubtful: bool = False) -> list[Place]:
    """All blocks between these fields. ``doubtful``: an accuracy of 0 makes a fix not valid."""
    found: list[Place] = []
    at = begin + _BEFORE
    while at + 3 <= stop:
        if is_moment(fields[at + 2]) and b"." in fields[at] and b"." in fields[at + 1]:
            place = _read(fields, at, stop, doubtful=doubtful)
            found.append(place)
            at = place.end + _BEFORE
        else:
            at += 1
    return found


def find_empty(fields: Sequence[bytes], begin: int, stop: int) -> Place | None:
    """A block without a place: an accuracy, six empty fields, and a cell or as many empty fields."""
    for at in range(begin, stop - _EMPTY - _CELL):
        cell = at + 1 + _EMPTY
        if not fields[at].isdigit() or any(fields[at + 1 : cell]):
            continue
        values = fields[cell : cell + _CELL]
        if _is_country(values[0]) or not any(values):
            attributes: Attributes = {"hdop": float(fields[at])}
            end = _behind(fields, cell + _CELL, stop, attributes)
            return Place(at, end, None, attributes, _network(values, ()))
    return None


def _read(fields: Sequence[bytes], at: int, stop: int, *, doubtful: bool) -> Place:
    """The block whose longitude is ``fields[at]``."""
    longitude, latitude = float(fields[at]), float(fields[at + 1])
    check_place(latitude, longitude)
    accuracy = number(fields[at - 4])
    speed = number(fields[at - 3])
    attributes: Attributes = {}
    if accuracy is not None:
        attributes["hdop"] = accuracy
    nowhere = not accuracy and longitude == latitude == 0  # not even a last place is known
    fix = (
        None
        if nowhere
        else Fix(
            moment_of(fields[at + 2]),
            latitude,
            longitude,
            not doubtful or bool(accuracy),
            number(fields[at - 1]),
            None if speed is None or speed < 0 else speed * MPS_PER_KMH,
            number(fields[at - 2]),
        )
    )
    behind = at + 3
    heard, behind = _access_points(fields, behind, stop)
    if behind + _CELL > stop:
        return Place(at - _BEFORE, min(behind, stop), fix, attributes, None)
    network = _network(fields[behind : behind + _CELL], heard)
    end = _behind(fields, behind + _CELL, stop, attributes)
    return Place(at - _BEFORE, end, fix, attributes, network)


def _behind(fields: Sequence[bytes], at: int, stop: int, attributes: Attributes) -> int:
    """The field behind the cell: reserved, an odometer, or the mask of what is appended. Answers where it ends."""
    if at >= stop:
        return stop
    metres = kilometres(fields[at])
    if metres is not None:
        attributes["odometer"] = metres
        return at + 1
    satellites, count = APPENDED.get(fields[at], (False, 0))
    if satellites and at + 1 < stop and fields[at + 1].isdigit() and len(fields[at + 1]) <= 2:
        attributes["sat"] = int(fields[at + 1])
    return min(at + 1 + count, stop)


def _access_points(fields: Sequence[bytes], at: int, stop: int) -> tuple[tuple[AccessPoint, ...], int]:
    """A count and as many access points, where Wi-Fi is told before the cell."""
    if at + 1 >= stop or not fields[at].isdigit() or not is_hex(fields[at + 1], 12):
        return (), at
    end = at + 1 + _ACCESS_POINT * int(fields[at])
    if end > stop:
        return (), at
    heard: list[AccessPoint] = []
    for each in range(at + 1, end, _ACCESS_POINT):
        address = fields[each].decode("ascii").lower()
        signal = fields[each + 1]
        heard.append(
            AccessPoint(
                ":".join(address[i : i + 2] for i in range(0, len(address), 2)),
                int(signal) if signal else None,
            )
        )
    return tuple(heard), end


def _is_country(text: bytes) -> bool:
    return text.isdigit() and len(text) <= 4 and _MCC_MIN <= int(text) <= _MCC_MAX


def cell_of(values: Sequence[bytes], signal: int | None = None) -> Cell | None:
    """Country and network decimal, area and cell hexadecimal; None where they are no cell."""
    mcc, mnc, lac, cid = values
    if not _is_country(mcc) or not mnc.isdigit() or len(mnc) > 4 or not lac.isalnum() or not cid.isalnum():
        return None
    if len(lac) > 8 or len(cid) > 9 or lac.upper() == cid.upper() == b"FFFF":
        return None
    return Cell(int(mcc), int(mnc), int(lac, 16), int(cid, 16), signal)


def _network(values: Sequence[bytes], heard: tuple[AccessPoint, ...]) -> Network | None:
    cell = cell_of(values)
    return Network((cell,) if cell else (), heard) if cell or heard else None
