"""What a benchmark hands back, and what was aimed at."""

from __future__ import annotations

from statistics import median

from msgspec import Struct


class Measure(Struct):
    """One figure: the values of all repetitions, in order. ``better`` says which way is good.

    ``aim`` is what we build towards on two cores shared by devices, server and database; on another
    machine it says nothing, the ratios do.
    """

    name: str
    unit: str
    values: list[float]
    better: str = "less"
    aim: float | None = None
    note: str = ""

    @property
    def middle(self) -> float:
        """The median of the repetitions."""
        return median(self.values)

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches the aim; None where there is none."""
        if self.aim is None:
            return None
        return self.middle <= self.aim if self.better == "less" else self.middle >= self.aim


class Found(Struct):
    """What one benchmark found. ``disturbed`` is the share of the machine that other processes took meanwhile."""

    benchmark: str
    measures: list[Measure]
    disturbed: float | None = None
