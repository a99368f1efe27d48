"""What a server tells a device: a command by the field's usual name, spelt in the device's language.

Pure: whoever holds the connection sends the bytes. A command that a language has no word for, or whose
attributes do not fit, raises CommandError, which names the attribute and the cure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct, field

from tracker_protocols.model import Attributes, DeviceKey

CUSTOM: Final = "custom"
"""The device's own words, in ``data``."""

DATA_CHARACTERS_MAX: Final = 1_000  # the longest command in a maker's manual has some 200
PASSWORD: Final = "123456"  # noqa: S105  (what makers set, and owners should change)

_FIELD = re.compile(r"\{(\w+)\}")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f]")


class Command(Struct, frozen=True):
    """One command: ``type`` by its usual name (``engineStop``, ``positionPeriodic``, ``custom`` …).

    ``attributes``: ``data`` (text), ``frequency`` (seconds), ``enable`` (true or false), ``index``, ``phone``, ``server``,
    ``port``, ``speed`` (km/h), ``timezone`` (hours), ``devicePassword``, as the type needs them.
    """

    type: str
    attributes: Attributes = field(default_factory=dict)


class CommandError(ValueError):
    """A command that cannot be told to this device. The message names the field and the cure."""


Encode = Callable[[DeviceKey, Command, datetime], bytes]
"""Device, command and the moment of sending to bytes. Raises CommandError."""


class Commands(Struct, frozen=True):
    """Which commands a language knows, and how it spells them."""

    types: tuple[str, ...]
    spell: Encode

    def encode(self, device: DeviceKey, command: Command, now: datetime) -> bytes:
        """The bytes to send. Raises CommandError."""
        if command.type not in self.types:
            known = ", ".join(self.types)
            raise CommandError(
                f"type: {command.type!r} is no command of this device's language; it knows {known}"
            )
        return self.spell(device, command, now)


def filled(words: Mapping[str, str], command: Command) -> str:
    """The command's text from ``words``, with ``{name}`` replaced by what the attribute says."""
    return _FIELD.sub(lambda found: read(command, found.group(1)), words[command.type])


def read(command: Command, name: str) -> str:
    """One attribute as text. Raises CommandError where it is missing or does not fit."""
    value = command.attributes.get(name, PASSWORD if name == "devicePassword" else None)
    if value is None or value == "":
        raise CommandError(f"attributes.{name}: is missing; {command.type} needs {_NEEDS.get(name, 'it')}")
    low, high = _RANGES.get(name, (0, 0))
    if high:
        return str(whole(command, name, low, high))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise CommandError(f"attributes.{name}: {value!r} is no text; write {_NEEDS.get(name, 'text')}")
    text = str(value)
    if _FORBIDDEN.search(text) or len(text) > DATA_CHARACTERS_MAX or not text.isascii():
        raise CommandError(
            f"attributes.{name}: takes up to {DATA_CHARACTERS_MAX} printable ASCII characters, without line breaks"
        )
    return text


def whole(command: Command, name: str, low: int, high: int) -> int:
    """An attribute that is a whole number in these bounds, both included. Raises CommandError."""
    value: Any = command.attributes.get(name)
    if isinstance(value, str) and value.lstrip("-").isdecimal():
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise CommandError(f"attributes.{name}: {value!r} does not fit; write a whole number {low} to {high}")
    return value


def enabled(command: Command, name: str = "enable") -> bool:
    """An attribute that is a switch. Raises CommandError where it is neither true nor false."""
    value = command.attributes.get(name)
    if not isinstance(value, bool):
        raise CommandError(f"attributes.{name}: {value!r} does not fit; write true or false")
    return value


_RANGES: Final = {
    "frequency": (1, 86_400),  # a day; less often is no tracking
    "speed": (0, 400),
    "port": (1, 65_535),
    "index": (0, 99),
    "timezone": (-12, 14),
}
_NEEDS: Final = {
    "data": "the text that the device understands",
    "frequency": "seconds between two reports",
    "speed": "km/h",
    "port": "a port, 1 to 65535",
    "server": "a host",
    "phone": "a telephone number",
    "index": "a number from 0",
    "timezone": "hours east of Greenwich",
}
