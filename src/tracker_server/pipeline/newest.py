"""Which of a device's ways to us is the newest: it is told things over that one. Pure.

Moments are on the monotonic clock, which all processes of a server share.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from typing import Final

from msgspec import Struct

SLACK_S: Final = (
    1.0  # a read and its reports get their times by two clocks, and a busy loop reads one of them late
)


class Heard(Struct, frozen=True, array_like=True):
    """What one process knows of a device. ``contact_at``: when it was heard last, by whatever way; ``line_at``: when its
    newest connection, or a broker, brought anything of it; ``post_at``: since when our own MQTT endpoint can tell it
    things. None: there is no such way.
    """

    contact_at: float = 0.0
    line_at: float | None = None
    post_at: float | None = None

    @property
    def post_seen_at(self) -> float:
        """The latest moment at which it may have spoken to our endpoint: whatever was heard and came over no line."""
        if self.post_at is None:
            return -1.0
        elsewhere = self.contact_at - SLACK_S > (self.line_at or 0.0)
        return max(self.post_at, self.contact_at if elsewhere else 0.0)


class Way(Enum):
    """How this process is to tell it things."""

    LINE = auto()
    POST = auto()


def way(mine: Heard, others: Sequence[Heard]) -> Way | None:
    """None: another process has a newer way to it, or it came last over one by which it can be told nothing. A connection
    that has said nothing while the device was heard otherwise is half open, and a broker takes what nobody fetches: what
    is said there is lost. To our endpoint the device says itself what it got, so an old way may be tried.
    """
    known = (mine, *others)
    contact_at = max(one.contact_at for one in known)
    line_at = max(-1.0 if one.line_at is None else one.line_at for one in known)
    post_at = max(-1.0 if one.post_at is None else one.post_at for one in known)
    if line_at >= max(0.0, contact_at - SLACK_S, post_at):
        return Way.LINE if mine.line_at == line_at else None
    if post_at < 0:
        return None
    return Way.POST if mine.post_seen_at == max(one.post_seen_at for one in known) else None
