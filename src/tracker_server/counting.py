"""Metrics that are counted for each read and each frame: without the lock and the look-ups of ``prometheus_client``'s own,
for only one thread counts; scraped the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class Count:
    """One label's."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, by: int = 1) -> None:
        """So many more."""
        self.value += by


class Tally(Collector):
    """A counter with one label."""

    def __init__(self, name: str, documentation: str, label: str, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._counts: dict[str, Count] = {}
        registry.register(self)

    def labels(self, value: str) -> Count:
        """That label's count."""
        return self._counts.setdefault(value, Count())

    def collect(self) -> Iterator[Metric]:
        """As Prometheus has it."""
        family = CounterMetricFamily(self._name, self._documentation, labels=[self._label])
        for value, count in self._counts.items():
            family.add_metric([value], count.value)
        yield family


class Durations(Collector):
    """A histogram that takes all of a batch at once."""

    def __init__(
        self, name: str, documentation: str, bounds_s: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._bounds_s = bounds_s
        self._counts = [0] * (len(bounds_s) + 1)
        self._sum_s = 0.0
        registry.register(self)

    def observe_all(self, seconds: Sequence[float]) -> None:
        """So many values."""
        for one in seconds:
            self._counts[bisect_left(self._bounds_s, one)] += 1
            self._sum_s += one  # in the order in which the library would, so to the last digit its sum

    def collect(self) -> Iterator[Metric]:
        """As Prometheus has it: each bucket counts those of the lower ones, too."""
        names = [floatToGoString(bound) for bound in (*self._bounds_s, float("inf"))]
        counts = list(zip(names, accumulate(self._counts), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, counts, self._sum_s)
