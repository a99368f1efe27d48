"""Our own counting is scraped as that of the library is."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from tracker_server.counting import Durations, Tally

BOUNDS_S = (0.001, 0.5, 1, 30)
SECONDS = (0.0, 0.001, 0.0011, 0.5, 0.9, 29.0, 30.5, 400.0)


def test_durations_are_a_histogram() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("answer_seconds", "How long", BOUNDS_S, ours)
    histogram = Histogram("answer_seconds", "How long", buckets=BOUNDS_S, registry=theirs)
    assert generate_latest(ours) == generate_latest(theirs)
    durations.observe_all(SECONDS[:3])
    durations.observe_all(())
    durations.observe_all(SECONDS[3:])
    for one in SECONDS:
        histogram.observe(one)
    assert generate_latest(ours) == generate_latest(theirs)


def test_a_tally_is_a_counter() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("read_bytes", "How much", "protocol", ours)
    counter = Counter("read_bytes", "How much", ["protocol"], registry=theirs)
    assert generate_latest(ours) == generate_latest(theirs)
    for protocol, count in (("gt06", 12), ("h02", 1), ("gt06", 3)):
        tally.labels(protocol).inc(count)
        counter.labels(protocol).inc(count)
    counter.labels("gl200")
    tally.labels("gl200")
    assert generate_latest(ours) == generate_latest(theirs)
