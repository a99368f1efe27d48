"""What the engine says in BQ86: numbers of SAE J1979 mode 01, each with its value, one behind the other."""

from __future__ import annotations

from collections.abc import Callable

from tracker_protocols.model import Attributes

_Reading = tuple[str, Callable[[int], float]]

_SIZES = {0x01: 4, 0x0C: 2, 0x10: 2, 0x07: 2, 0x1F: 2, 0x21: 2, 0x31: 2, 0x42: 2, 0x5E: 2} | dict.fromkeys(
    (0x04, 0x05, 0x06, 0x0B, 0x0D, 0x0E, 0x0F, 0x11, 0x2F, 0x33, 0x46), 1
)
_READINGS: dict[int, _Reading] = {
    0x04: ("engineLoad", lambda value: round(value * 100 / 255, 1)),
    0x05: ("coolantTemp", lambda value: value - 40),
    0x0C: ("rpm", lambda value: value / 4),
    0x0D: ("obdSpeed", lambda value: value),
    0x11: ("throttle", lambda value: round(value * 100 / 255, 1)),
    0x2F: ("fuelLevel", lambda value: round(value * 100 / 255, 1)),
    0x42: ("power", lambda value: value / 1000),
    0x5E: ("fuelConsumption", lambda value: value / 20),
}


def read(digits: bytes) -> Attributes:
    """The readings, as far as the numbers are known: the size of an unknown one is unknown too."""
    data = bytes.fromhex(digits.decode("ascii"))
    attributes: Attributes = {}
    at = 0
    while at < len(data):
        size = _SIZES.get(data[at])
        if size is None or at + 1 + size > len(data):
            break
        reading = _READINGS.get(data[at])
        if reading:
            name, value = reading
            attributes[name] = value(int.from_bytes(data[at + 1 : at + 1 + size], "big"))
        at += 1 + size
    return attributes
