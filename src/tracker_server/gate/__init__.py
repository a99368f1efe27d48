"""Who is hidden, since when and why. Pure: the moment is an argument. Ingest never asks here.

A block hides a tracker from its customer; it is never a reason to refuse, drop or answer otherwise.
Blocks are independent of each other: a tracker is visible when no block is in force.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class BlockReason(StrEnum):
    """Why a tracker is hidden. Reasons do not know of each other; lifting one leaves the others."""

    HOLD = "hold"  # the operator's own
    BILLING = "billing"  # what is due is not paid
    SUSPENSION = "suspension"  # the customer's pause
    TEST_EXPIRED = "test_expired"  # a test tracker's time is over


class Block(Struct, frozen=True):
    """In force from ``since`` until ``until`` (None: until it is lifted). ``since`` may lie ahead: a block
    that begins by time needs no event to begin.
    """

    reason: str  # a BlockReason, or one that a newer version of this program set
    since: datetime
    until: datetime | None = None
    note: str = ""

    def in_force(self, now: datetime) -> bool:
        """Whether it hides at ``now``; the first instant counts, the last does not."""
        return self.since <= now and (self.until is None or now < self.until)


class Visible(Struct, frozen=True):
    """Nothing hides it. ``until``: the next instant at which that may change by time alone."""

    until: datetime | None = None


class Hidden(Struct, frozen=True):
    """Hidden by ``blocks``, of which the earliest began at ``since``."""

    blocks: tuple[Block, ...]
    since: datetime


def decide(blocks: Iterable[Block], now: datetime) -> Visible | Hidden:
    """Whether a tracker may be shown at ``now``."""
    blocks = tuple(blocks)
    hiding = tuple(block for block in blocks if block.in_force(now))
    if hiding:
        return Hidden(hiding, min(block.since for block in hiding))
    return Visible(min((block.since for block in blocks if block.since > now), default=None))
