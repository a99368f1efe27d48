"""JSON and TOML that others wrote. Whatever is wrong with one, brackets without end too, is one error that says where."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import msgspec


class UnreadableError(ValueError):
    """A text that is not what it should be; the message says what is wrong, and at which byte or line."""


def read_json(text: str | bytes, kind: Any = Any) -> Any:
    """A JSON text as this type. Raises UnreadableError."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from None


def read_toml(file: Path) -> dict[str, Any]:
    """A TOML file. Raises UnreadableError, and OSError where there is none to read."""
    try:
        return tomllib.loads(file.read_text())
    except (tomllib.TOMLDecodeError, UnicodeError, RecursionError) as error:
        raise UnreadableError(str(error)) from None
