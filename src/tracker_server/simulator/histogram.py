"""Latencies in buckets whose width is at most 1/32 of their value: compact, and cheap to add to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

SUB_BITS: Final = 5
SUB: Final = 1 << SUB_BITS
BUCKETS: Final = SUB * 38  # up to 2^42 microseconds, some 50 days


class Histogram:
    """Counts of durations in whole microseconds."""

    __slots__ = ("counts", "max_us")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.max_us = 0

    def add(self, duration_s: float) -> None:
        """Count one duration; a negative one (a clock's rounding) counts as none."""
        us = int(duration_s * 1e6)
        if us > self.max_us:  # noqa: PLR1730  (max() is a call, and this is the hot path)
            self.max_us = us
        if us >= SUB:
            shift = us.bit_length() - SUB_BITS - 1
            index = (shift << SUB_BITS) + (us >> shift)
            self.counts[index if index < BUCKETS else -1] += 1
        else:
            self.counts[max(0, us)] += 1

    def merge(self, other: Histogram) -> None:
        """Count all of another's too."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.max_us = max(self.max_us, other.max_us)

    def since(self, earlier: Sequence[int]) -> Histogram:
        """What was counted since ``counts`` were ``earlier``; its greatest is that of its bucket."""
        made = Histogram()
        made.counts = [now - then for now, then in zip(self.counts, earlier, strict=True)]
        made.max_us = self.max_us
        return made

    def percentile_s(self, percent: float) -> float:
        """The duration that ``percent`` % of all do not exceed, in seconds: its bucket's upper end; 0 of none."""
        if not (total := self.total):
            return 0.0
        rank = max(1, -(-total * percent // 100))
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if seen >= rank:
                return min(upper_us(index), self.max_us) / 1e6
        return self.max_us / 1e6

    @property
    def total(self) -> int:
        """How many were counted."""
        return sum(self.counts)

    @property
    def max_s(self) -> float:
        """The longest, in seconds."""
        return self.max_us / 1e6


def upper_us(index: int) -> int:
    """The greatest whole number of microseconds that falls into bucket ``index``."""
    if index < 2 * SUB:
        return index
    shift = (index >> SUB_BITS) - 1
    return ((index - (shift << SUB_BITS) + 1) << shift) - 1
