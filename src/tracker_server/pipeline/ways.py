"""What is asked of whoever knows how a tracker came to a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct

from tracker_server.track.fences.shapes import Shape


class NamedShape(Struct, frozen=True):
    """A fence to be drawn."""

    name: str
    shape: Shape


class Way(Struct, frozen=True):
    """Fixes by time (``fixed_at``, ``received_at``, ``latitude``, ``longitude``), and the fence that it is about."""

    fixes: Sequence[Mapping[str, Any]]
    fences: Sequence[NamedShape]


class Ways(Protocol):
    """Ways as the customer may see them."""

    async def way(self, device_id: int, fence_id: int | None, until: datetime) -> Way:
        """The last minutes before a moment; empty where the tracker is hidden. Raises StoreAwayError."""
        ...
