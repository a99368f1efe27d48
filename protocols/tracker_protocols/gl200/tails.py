"""What stands behind the place: counters, voltages, battery, inputs and outputs, 1-Wire sensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tracker_protocols.gl200.fields import (
    STATES,
    add_state,
    hours_ms,
    is_hex,
    kilometres,
    percent,
    volts,
)
from tracker_protocols.gl200.kinds import is_two_fields
from tracker_protocols.model import Attributes

GV200: Final = frozenset({b"04", b"35"})
FIXED_REPORT_SIZE: Final = 9  # odometer, hours, two inputs, battery, status, three reserved
SENSORS_MAX: Final = 20  # AC100 takes 19
SENSORS_IN_MASK, FUEL_IN_MASK = 0x02, 0x01
TEMPERATURE_SENSOR: Final = b"1"


def read_tail(
    kind: str, model: bytes, prefix: Sequence[bytes], tail: Sequence[bytes], attributes: Attributes
) -> None:
    """Add what the fields between the place and the sending time say."""
    worn = is_two_fields(prefix)
    _counters(tail, attributes)
    if kind not in {"FRI", "ERI"} and not worn:
        return
    status = next((at for at, text in enumerate(tail) if is_status(text)), None)
    if status is not None and not worn:
        _inputs(tail, 2, status - 1, attributes)
        _battery(tail[status - 1 : status], attributes)
        add_status(tail[status], attributes)
        if kind == "ERI":
            _sensors(prefix, tail[status + 1 :], attributes)
    elif worn:
        behind_counter = bool(tail) and (not tail[0] or b"." in tail[0])
        _battery(tail[1:2] if behind_counter else tail[:1], attributes)
    elif model in GV200:
        _inputs(tail, 2, 5, attributes)
        if len(tail) >= 7 and is_hex(tail[5], 2) and is_hex(tail[6], 2):
            attributes["input"] = int(tail[5], 16)
            attributes["output"] = int(tail[6], 16)
    elif len(tail) == FIXED_REPORT_SIZE:
        _battery(tail[4:5], attributes)


def is_status(text: bytes) -> bool:
    """A motion state, the inputs and the outputs, two hexadecimal digits each; some put four zeros before them."""
    return len(text) in {6, 10} and is_hex(text, len(text)) and text[-6:-4].upper() in STATES


def add_status(text: bytes, attributes: Attributes) -> None:
    """Bit 0 of the inputs is the ignition, bit 1 the first input; bit 0 of the outputs the first output."""
    add_state(text[-6:-4], attributes)
    inputs, outputs = int(text[-4:-2], 16), int(text[-2:], 16)
    attributes["input"], attributes["output"] = inputs, outputs
    attributes["in1"], attributes["in2"] = bool(inputs & 2), bool(inputs & 4)
    attributes["out1"], attributes["out2"] = bool(outputs & 1), bool(outputs & 2)


def _counters(tail: Sequence[bytes], attributes: Attributes) -> None:
    """Odometer and engine hours are the first two, in either order; both have a form of their own."""
    for text in tail[:2]:
        metres = kilometres(text)
        if metres is not None:
            attributes["odometer"] = metres
        elapsed = hours_ms(text)
        if elapsed is not None:
            attributes["hours"] = elapsed


def _inputs(tail: Sequence[bytes], begin: int, end: int, attributes: Attributes) -> None:
    for name, text in enumerate(tail[begin:end], 1):
        voltage = volts(text)
        if voltage is not None:
            attributes[f"adc{name}"] = voltage


def _battery(texts: Sequence[bytes], attributes: Attributes) -> None:
    level = percent(texts[0]) if texts else None
    if level is not None:
        attributes["batteryLevel"] = level


def _sensors(prefix: Sequence[bytes], behind: Sequence[bytes], attributes: Attributes) -> None:
    """1-Wire sensors: serial device, count, then identifier, type and value of each, sixteenths of a degree.

    Where the mask asks for a fuel sensor too, its fields stand between and differ by maker: not read.
    """
    mask = prefix[-4] if len(prefix) >= 4 else b""
    if not is_hex(mask, 8) or int(mask, 16) & (SENSORS_IN_MASK | FUEL_IN_MASK) != SENSORS_IN_MASK:
        return
    count = int(behind[1]) if len(behind) > 1 and behind[1].isdigit() and len(behind[1]) <= 2 else 0
    for sensor in range(min(count, SENSORS_MAX)):
        values = behind[2 + 3 * sensor : 5 + 3 * sensor]
        if len(values) == 3 and values[1] == TEMPERATURE_SENSOR and is_hex(values[2], 4):
            sixteenths = int(values[2], 16)
            attributes[f"temp{sensor + 1}"] = (
                sixteenths - 0x10000 if sixteenths & 0x8000 else sixteenths
            ) / 16
