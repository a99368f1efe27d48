"""What the server's metrics are called, of which kind they are, and which labels they have."""

from __future__ import annotations

from msgspec import Struct
from prometheus_client import Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from tracker_server.counting import Durations, Tally
from tracker_server.metrics import Metrics


class Shown(Struct, frozen=True):
    """``name``: without the endings of its series."""

    name: str
    labels: tuple[str, ...]
    series: tuple[str, ...]


def shown() -> list[Shown]:
    """All of them."""
    found: list[Shown] = []
    for metric in vars(Metrics()).values():
        match metric:
            case MetricWrapperBase():
                labels = tuple(metric._labelnames)
            case Tally():
                labels = (metric._label,)
            case Durations():
                labels = ()
            case _:
                continue
        match metric:
            case Counter() | Tally():
                endings = ("_total",)
            case Histogram() | Durations():
                endings = ("_bucket", "_count", "_sum")
            case _:
                endings = ("",)
        found.append(Shown(metric._name, labels, tuple(metric._name + ending for ending in endings)))
    return found
