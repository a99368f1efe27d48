"""Small helpers for values."""

from __future__ import annotations

from typing import Any, TypeVar, cast

Value = TypeVar("Value")


def clone(value: Value) -> Value:
    """A shallow copy of a Struct: three times faster than ``copy.copy``, and two are made for each fix."""
    return cast("Any", value).__copy__()
