"""What battery management systems say through a tracker: frames BS50 and BS51, in hexadecimal."""

from __future__ import annotations

from tracker_protocols.model import Attributes, BadFrame, Reason

_PACK_BYTES = 86  # as far as the capacities
_CELLS_MAX = 24
_KELVIN_LIKE = 40  # temperatures are told as °C + 40


def read_pack(text: bytes) -> Attributes:
    """BS50: one record of a pack with up to 24 cells, numbers lowest byte first."""
    data = bytes.fromhex(text[: len(text) // 2 * 2].decode("ascii"))
    if len(data) < _PACK_BYTES or data[3] > _CELLS_MAX:
        raise BadFrame(Reason.MALFORMED, f"{len(data)} bytes of a battery pack")

    def word(at: int) -> int:
        return int.from_bytes(data[at : at + 2], "little")

    attributes: Attributes = {f"battery{n + 1}": word(4 + 2 * n) / 1000 for n in range(data[3])}
    attributes |= {
        "charge": data[52] == 0,
        "battery": word(55) / 100,
        "batteryLevel": data[57],
        "cycles": word(63),
        "powerTemp": data[73] - _KELVIN_LIKE,
        "equilibriumTemp": data[74] - _KELVIN_LIKE,
        "calibrationCapacity": word(82) / 100,
        "dischargeCapacity": word(84),
    }
    attributes |= {f"batteryTemp{n + 1}": data[75 + n] - _KELVIN_LIKE for n in range(min(data[72], 4))}
    return attributes


def read_daly(text: bytes) -> Attributes:
    """BS51: the answers of a Daly system, ``90:`` and eight bytes and so on, highest byte first."""
    attributes: Attributes = {}
    for part in text.split(b","):
        number, _, digits = part.partition(b":")
        read = _DALY.get(number)
        if read:
            attributes |= read(bytes.fromhex(digits.decode("ascii")))
    if not attributes:
        raise BadFrame(Reason.MALFORMED, f"no Daly answer in {text[:60]!r}")
    return attributes


def _word(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _charge(data: bytes) -> Attributes:
    return {
        "battery": _word(data, 0) / 10,
        "current": (_word(data, 4) - 30000) / 10,
        "batteryLevel": _word(data, 6) / 10,
    }


def _voltages(data: bytes) -> Attributes:
    return {
        "maxCellVoltage": _word(data, 0) / 1000,
        "maxCellVoltageCount": data[2],
        "minCellVoltage": _word(data, 3) / 1000,
        "minCellVoltageCount": data[5],
    }


def _temperatures(data: bytes) -> Attributes:
    return {
        "maxTemp": data[0] - _KELVIN_LIKE,
        "maxTempCount": data[1],
        "minTemp": data[2] - _KELVIN_LIKE,
        "minTempCount": data[3],
    }


def _switches(data: bytes) -> Attributes:
    return {"charge": data[0] == 1, "remainingCapacity": int.from_bytes(data[4:8], "big") / 1000}


def _cells(data: bytes) -> Attributes:
    """Frames of four-byte-aligned groups: a number from 1, three voltages, a filler."""
    return {
        f"battery{(data[at] - 1) * 3 + cell + 1}": _word(data, at + 1 + 2 * cell) / 1000
        for at in range(0, len(data) - 7, 8)
        for cell in range(3)
        if data[at]
    }


_DALY = {
    b"90": _charge,
    b"91": _voltages,
    b"92": _temperatures,
    b"93": _switches,
    b"95": _cells,
}
