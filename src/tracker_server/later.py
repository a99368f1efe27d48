"""Libraries that are loaded when they are first needed: numpy and the geometry library are 15 MB, and a server without fences of
which nobody asks positions needs neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


class Later:
    """Stands for a module; of what was asked for once it keeps the answer, so that asking again costs what it costs of a module."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self._name), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import numpy as np
    import shapely
else:
    np, shapely = Later("numpy"), Later("shapely")

__all__ = ["np", "shapely"]
