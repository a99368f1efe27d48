"""What one transaction stores: plain rows, each knowing the frame that it came from."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Protocol, TypeAlias

from msgspec import Struct, field

from tracker_protocols.model import Attributes, CommandResult, DeviceKey, Fix, Heartbeat, Network, Report
from tracker_server.pipeline.session import Ticket
from tracker_server.pipeline.trackers import Tracker

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""PostgreSQL's own: moments inside are microseconds since then, as its binary format has them."""


def micros(moment: datetime) -> int:
    """Microseconds since 2000-01-01 UTC."""
    delta = moment - EPOCH
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


Reported: TypeAlias = Report | Heartbeat | CommandResult
"""A message that carries something to store."""


class PositionRow(Struct, gc=False):
    """One fix of a tracker, to be stored once: key (tracker, fixed_us, digest)."""

    tracker: Tracker
    fixed_us: int
    digest: int
    fix: Fix
    attributes: Attributes
    network: Network | None
    ticket: Ticket


class TelemetryRow(Struct, gc=False):
    """One report without a location: key (tracker, sent_us, digest)."""

    tracker: Tracker
    sent_us: int
    digest: int
    kind: str
    attributes: Attributes
    network: Network | None
    ticket: Ticket


class QuarantineRow(Struct, gc=False):
    """A frame kept whole: key (protocol, unique_id, reason, digest of the frame). ``unclaimed``: its reports of devices
    that we do not know, each under the device's name; somebody may add them before the commit.
    """

    unique_id: DeviceKey
    tracker: Tracker | None
    reason: str
    detail: str
    reports: int
    ticket: Ticket
    unclaimed: list[tuple[DeviceKey, Reported]] = field(default_factory=list)


class Batch(Struct):
    """What gathers while the one before commits."""

    positions: list[PositionRow] = field(default_factory=list)
    telemetry: list[TelemetryRow] = field(default_factory=list)
    quarantine: list[QuarantineRow] = field(default_factory=list)
    contacts: set[Tracker] = field(default_factory=set)
    tickets: list[Ticket] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """How many rows it writes."""
        return len(self.positions) + len(self.telemetry) + len(self.quarantine)

    def __bool__(self) -> bool:
        return bool(self.tickets or self.contacts)


class Stored(Struct, frozen=True):
    """What became of a batch. ``repeated`` reports were there already; the database would not have those of
    the ``refused`` tickets, one for each report, which went to quarantine.
    """

    fixes: int = 0
    repeated: int = 0
    refused: tuple[Ticket, ...] = ()


class StoreAwayError(Exception):
    """Nobody answers; nothing was promised. Try the same batch again."""


class Store(Protocol):
    """Where batches go. ``commit`` may be called again with a batch whose fate is unknown: what it stored
    the first time is stored once. Only one commit runs at a time.
    """

    async def known(self, names: Collection[DeviceKey]) -> dict[DeviceKey, Tracker]:
        """The trackers of these names that exist by now. Raises StoreAwayError."""
        ...

    async def commit(self, batch: Batch, account_for_new: str) -> Stored:
        """Store all of it in one transaction, or raise StoreAwayError. A tracker without an id is registered in
        ``account_for_new`` and gets its id.
        """
        ...

    async def revive(self) -> None:
        """Do what can be done to make it answer again. Raises StoreAwayError."""
        ...
