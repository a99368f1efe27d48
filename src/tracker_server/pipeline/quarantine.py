"""Why frames are kept aside, and how much room there is for them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from tracker_protocols.model import DeviceKey
from tracker_server.metrics import Metrics


class QuarantineReason(StrEnum):
    """As ``core.quarantine.reason`` has it."""

    UNKNOWN_DEVICE = "unknown device"
    NO_DEVICE = "no device"
    UNDECODED = "undecoded"
    FUTURE = "future"
    PAST = "past"
    REFUSED = "refused by the database"


class KeptFrame(Struct, frozen=True):
    """A frame as it came, and why it was kept. ``unique_id`` is empty where nobody named himself."""

    id: int
    received_at: datetime
    unique_id: DeviceKey
    protocol: str
    transport: str
    remote: str
    reason: str
    frame: bytes


class Room:
    """Counts what is kept, so that strangers cannot fill the disk. Counts are set right by ``recount`` now and
    then; between two recounts a repeat that was stored already is counted once too often.
    """

    def __init__(self, rows_max: int, rows_per_device_max: int, metrics: Metrics) -> None:
        self._rows_max = rows_max
        self._rows_per_device_max = rows_per_device_max
        self._total = 0
        self._of_device: dict[DeviceKey, int] = {}
        self._refused = metrics.quarantine_refused

    def take(self, key: DeviceKey) -> bool:
        """Room for one more frame of this device?"""
        count = self._of_device.get(key, 0)
        if self._total >= self._rows_max or count >= self._rows_per_device_max:
            self._refused.inc()
            return False
        self._total += 1
        self._of_device[key] = count + 1
        return True

    def recount(self, counts: dict[DeviceKey, int]) -> None:
        """What the database holds, by device."""
        self._of_device = dict(counts)
        self._total = sum(counts.values())
