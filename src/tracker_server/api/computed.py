"""Computed attributes: expressions over a shown position, applied where it is shown, from memory."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final

import structlog
from msgspec import Struct
from msgspec.json import encode

from tracker_server.api.access import Access
from tracker_server.api.values import iso
from tracker_server.model.expression import Expression, ExpressionError
from tracker_server.storage.computed import computed_of_devices, latest_shown
from tracker_server.storage.database import AWAY
from tracker_server.storage.pools import Pools

log = structlog.get_logger(__name__)

FIELDS: Final = frozenset({"altitude", "speed", "course", "address", "accuracy", "valid"})
"""What of the position itself may be computed; its place and time are the receiver's."""
RETRY_S: Final = 1.0
INTEGER_MAX: Final = 2**53
KNOTS_PER_MPS: Final = 3600 / 1852


class Formula(Struct, frozen=True):
    """``type``: string, number or boolean."""

    attribute: str
    expression: Expression
    type: str

    def value(self, position: dict[str, Any]) -> Any:
        """Over a position as the API shows it; None: it has none."""
        return typed(self.expression.value({**position["attributes"], **position}), self.type)


def typed(value: Any, kind: str) -> Any:
    """As the attribute's type has it, or None."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = value if abs(value) <= INTEGER_MAX else None  # what JSON's readers take for a number
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    match kind:
        case "boolean":
            return bool(value)
        case "number":
            return value if isinstance(value, int | float) else None
        case _:
            return value if isinstance(value, str) else encode(value).decode()


class Computed:
    """Runs for as long as the server does: reads all again after each change to people and what they keep."""

    def __init__(self, access: Access, pools: Pools) -> None:
        self._access = access
        self._pools = pools
        self._of: dict[int, tuple[Formula, ...]] = {}
        self._stale = asyncio.Event()

    def apply(self, device_id: int, position: dict[str, Any]) -> None:
        """Add a tracker's computed attributes to a position as the API shows it (``attributes`` is changed in place)."""
        for formula in self._of.get(device_id, ()):
            value = formula.value(position)
            if value is None:
                continue
            target = position if formula.attribute in FIELDS else position["attributes"]
            target[formula.attribute] = value

    def has(self, device_id: int) -> bool:
        """Whether there is anything to compute."""
        return device_id in self._of

    async def run(self) -> None:
        """Read, and read again."""
        unwatch = self._access.watch(lambda _: self._stale.set())
        try:
            while True:
                self._stale.clear()
                try:
                    await self.read()
                except AWAY as error:
                    log.warning("computed attributes are not read", error=str(error).strip())
                    await asyncio.sleep(RETRY_S)
                    continue
                await self._stale.wait()
        finally:
            unwatch()

    async def read(self) -> None:
        """All that are linked to trackers."""
        async with self._pools.core() as connection:
            rows = await computed_of_devices(connection)
        read: dict[int, Formula | None] = {}
        found: dict[int, list[Formula]] = {}
        for row in rows:
            if row.id not in read:
                try:
                    read[row.id] = Formula(row.attribute, Expression(row.expression), row.type)
                except ExpressionError:
                    read[row.id] = None  # an older version took what this one does not
            formula = read[row.id]
            if formula is not None:
                found.setdefault(row.device_id, []).append(formula)
        self._of = {device: tuple(formulas) for device, formulas in found.items()}


async def latest_position(pools: Pools, device_id: int) -> dict[str, Any] | None:
    """A tracker's latest position with the fields that an expression may ask for; speeds in knots."""
    async with pools.display() as connection:
        row = await latest_shown(connection, device_id)
    if row is None:
        return None
    return {
        "attributes": row["attributes"],
        "deviceId": device_id,
        "protocol": row["protocol"],
        "fixTime": iso(row["fixed_at"]),
        "valid": row["valid"],
        "latitude": row["latitude"],
        "longitude": row["longitude"],
        "altitude": row["altitude_m"] or 0.0,
        "speed": (row["speed_mps"] or 0.0) * KNOTS_PER_MPS,
        "course": row["course_deg"] or 0.0,
        "accuracy": row["accuracy_m"] or 0.0,
    }
