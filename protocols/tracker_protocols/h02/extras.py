"""What makers append behind the status of a text report: cells, battery, mileage, neighbours.

The manuals know three forms (README.md §Behind the status); a form is told by its shape. What no form
explains is kept as ``io1``, ``io2`` … by its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from tracker_protocols.h02.binary import battery_level
from tracker_protocols.model import Attributes, BadFrame, Cell, Network, Reason

_MCC_MIN, _MCC_MAX = 200, 799  # ITU-T E.212
_ICCID_DIGITS_MIN, _ICCID_DIGITS_MAX = 18, 20  # ITU-T E.118


def number(text: bytes) -> float | None:
    """A decimal number from 0 to a million; anything else is not said."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < 1e6 else None


def whole(text: bytes) -> int | None:
    """A decimal whole number, not negative; anything else is not said."""
    return int(text) if text.isdigit() and len(text) < 19 else None


def cell_number(text: bytes, base: int = 10) -> int:
    """One number of a cell: 36 bits at most (NR), never negative. Raises BadFrame, ValueError."""
    value = int(text, base)
    if not 0 <= value < 1 << 36:
        raise BadFrame(Reason.OUT_OF_RANGE, f"cell {text[:24]!r}")
    return value


def signal_level(text: bytes) -> int | None:
    """A signal in dBm where negative, else by the maker's scale."""
    level = number(text.strip().lstrip(b"-"))
    if level is None or level > 999:
        return None
    return -int(level) if text.strip().startswith(b"-") else int(level)


def iccid(text: bytes) -> str | None:
    """A SIM's number without its filler (``F`` or ``?``)."""
    digits = text.strip().rstrip(b"fF?")
    return (
        digits.decode()
        if digits.isdigit() and _ICCID_DIGITS_MIN <= len(digits) <= _ICCID_DIGITS_MAX
        else None
    )


def cell_of(values: Sequence[bytes], base: int | None = None) -> Cell | None:
    """Country, network, area and cell; None where they are no cell.

    Nothing says whether they are decimal: the country is where it exists as a decimal number, and area and
    cell are unless a letter shows that they are not; otherwise all four are hexadecimal.
    """
    mcc_text, mnc_text, lac_text, cid_text = values
    mcc_base = area_base = base
    if mcc_base is None:
        mcc_base = 10 if mcc_text.strip().isdigit() and _MCC_MIN <= int(mcc_text) <= _MCC_MAX else 16
        area_base = 10 if mcc_base == 10 and lac_text.isdigit() and cid_text.isdigit() else 16
    try:
        mcc, mnc = int(mcc_text, mcc_base), int(mnc_text, mcc_base)
        lac, cid = int(lac_text, area_base or 10), int(cid_text, area_base or 10)
    except ValueError:
        return None
    if not (_MCC_MIN <= mcc <= _MCC_MAX and 0 <= mnc <= 999 and 0 <= lac < 1 << 32 and 0 <= cid < 1 << 36):
        return None
    return Cell(mcc, mnc, lac, cid)


def network_of(*cells: Cell | None) -> Network | None:
    """The cells that are some."""
    heard = tuple(cell for cell in cells if cell and (cell.lac or cell.cid))
    return Network(heard) if heard else None


def read_extras(values: Sequence[bytes], attributes: Attributes) -> tuple[Network | None, float | None]:
    """The fields behind the status: attributes are added; answers the network and the altitude in metres."""
    count = len(values)
    if count == 6 and b"." in values[2]:
        return _read_engine(values, attributes)
    if count > 5 and len(values[0]) < 3 and values[1].isdigit() and count == 4 + 2 * int(values[1]):
        return _read_stations(values, attributes), None
    if b"-" in values[-1] and count >= 4:
        return _read_request(values, attributes), None
    network, read = None, 0
    if count >= 4:
        cell = cell_of(values[:4])
        if cell:
            read = 4
            network = network_of(cell)
            if (
                count > 4
                and len(values[4]) == 1
                and (level := battery_level(values[4][0] - 0x30)) is not None
            ):
                attributes["batteryLevel"] = level
                read = 5
    for at in range(read, count):
        value = values[at].strip()
        if not value:
            continue
        if len(value) >= _ICCID_DIGITS_MIN and (card := iccid(value)):
            attributes["iccid"] = card
        elif at < 16:
            attributes[f"io{at + 1}"] = value.decode("latin-1")[:64]
    return network, None


def _read_engine(values: Sequence[bytes], attributes: Attributes) -> tuple[Network | None, float | None]:
    """Mileage in metres, temperature in °C, fuel, altitude in metres, area and cell in hexadecimal."""
    odometer, fuel = whole(values[0]), number(values[2])
    if odometer is not None:
        attributes["odometer"] = odometer
    with suppress(ValueError):
        attributes["temp1"] = int(values[1])
    if fuel is not None:
        attributes["fuel"] = fuel
    try:
        cell = Cell(
            0, 0, cell_number(values[4], 16), cell_number(values[5], 16)
        )  # the country goes without saying
        return network_of(cell), float(int(values[3]))
    except ValueError:
        return None, None


def _read_stations(values: Sequence[bytes], attributes: Attributes) -> Network | None:
    """HuaSunTek V1: battery, count, country, network, then area and cell as often as counted."""
    _set_level(values[0], attributes)
    pairs = zip(values[4::2], values[5::2], strict=False)
    return network_of(*(cell_of((values[2], values[3], lac, cid), 10) for lac, cid in pairs))


def _read_request(values: Sequence[bytes], attributes: Attributes) -> Network | None:
    """HuaSunTek VI1 and ALRM: own cell, battery, neighbours ``area-cell-signal`` behind bars; hexadecimal."""
    cells = [cell_of(values[:4], 16)]
    if len(values) > 5:
        _set_level(values[4], attributes)
    if cells[0]:
        own = cells[0]
        for neighbour in values[-1].split(b"|")[:16]:
            parts = neighbour.strip().split(b"-")
            try:
                lac, cid = cell_number(parts[0], 16), cell_number(parts[1], 16)
                signal = signal_level(parts[2])
            except (ValueError, IndexError):
                continue
            cells.append(Cell(own.mcc, own.mnc, lac, cid, signal))
    return network_of(*cells)


def _set_level(text: bytes, attributes: Attributes) -> None:
    """A percentage of two digits at most: 99 is the manual's word for full."""
    level = whole(text.strip())
    if level is not None and level <= 100:
        attributes["batteryLevel"] = 100 if level == 99 else level
