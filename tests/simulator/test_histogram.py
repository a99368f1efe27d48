from __future__ import annotations

import math
import random

import pytest

from tracker_server.simulator.histogram import BUCKETS, Histogram, upper_us


@pytest.mark.parametrize("seed", range(5))
def test_percentiles_are_within_one_bucket_of_the_sorted_truth(seed: int) -> None:
    print(f"seed {seed}")
    rng = random.Random(seed)
    durations = [math.exp(rng.uniform(math.log(2e-6), math.log(100))) for _ in range(3_000)]
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    durations.sort()
    for percent in (1, 50, 90, 99, 99.9, 100):
        truth = durations[math.ceil(len(durations) * percent / 100) - 1]
        found = histogram.percentile_s(percent)
        assert truth - 1e-6 <= found <= truth * (1 + 1 / 32) + 1e-6, percent
    assert histogram.max_s == pytest.approx(durations[-1], abs=1e-6)
    assert histogram.total == 3_000


def test_buckets_have_no_gap_and_no_overlap() -> None:
    histogram = Histogram()
    for index in range(BUCKETS - 1):
        upper = upper_us(index)
        assert upper_us(index + 1) > upper
        for us in (upper, upper + 1):
            histogram.counts = [0] * BUCKETS
            histogram.add((us + 0.5) / 1e6)
            assert histogram.counts.index(1) == index + (us > upper)


def test_of_nothing_there_is_nothing_to_say() -> None:
    assert Histogram().percentile_s(99) == 0.0


def test_a_clock_that_steps_back_and_one_that_runs_away_are_counted() -> None:
    histogram = Histogram()
    histogram.add(-0.001)
    histogram.add(1e9)
    assert histogram.total == sum(histogram.counts) == 2
