"""The track engine's own figures: fences asked in batches, beside a linear scan, and CPU for one fix.

``measure()`` returns the values of each by name; run as a script it prints them. Everything is made from a seed.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tracker_server.station import calm_collector
from tracker_server.track.engine import Job, step_many
from tracker_server.track.fences.index import FenceIndex
from tracker_server.track.fences.shapes import Fence, Shape, area, circle, corridor
from tracker_server.track.geodesy import distance_m
from tracker_server.track.observation import Observation
from tracker_server.track.settings import TrackSettings
from tracker_server.track.state import State

SEED = 20_261_123
TRACKERS = 500
REPETITIONS = 5
CITY_DEG = 2.0  # side of the square over which 10,000 fences lie: a region with one of them in three km²
SECOND_US = 1_000_000


def some_fences(count: int, seed: int = SEED) -> tuple[list[Fence], float]:
    """Circles, polygons of 19 to 60 vertices and corridors in equal parts, evenly dense; and the square's side."""
    rng = random.Random(seed)
    side = math.sqrt(count / 10_000) * CITY_DEG
    fences: list[Fence] = []
    for number in range(count):
        latitude, longitude = 50 + rng.random() * side, 10 + rng.random() * side
        shape: Shape
        if number % 3 == 0:
            shape = circle(latitude, longitude, rng.uniform(100, 500))
        elif number % 3 == 1:
            shape = _blob(rng, latitude, longitude)
        else:
            rise = rng.uniform(-0.002, 0.002)
            shape = corridor([[(longitude + 0.003 * n, latitude + rise * n) for n in range(6)]], 60.0)
        fences.append(Fence(id=number + 1, name=f"fence {number + 1}", shape=shape))
    return fences, side


def _blob(rng: random.Random, latitude: float, longitude: float) -> Shape:
    radius, corners = rng.uniform(0.001, 0.004), rng.randint(19, 60)
    ring = [
        (
            longitude + 1.5 * radius * (1 + 0.2 * math.sin(5 * turn)) * math.cos(turn),
            latitude + radius * (1 + 0.2 * math.sin(5 * turn)) * math.sin(turn),
        )
        for turn in (2 * math.pi * n / corners for n in range(corners))
    ]
    return area([[[*ring, ring[0]]]])


def routes(side: float, rounds: int, seed: int = SEED) -> list[list[Observation]]:
    """For each round one fix of each tracker: 10 s apart, at town speeds, turning now and then."""
    rng = random.Random(seed)
    places = [
        [50 + rng.random() * side, 10 + rng.random() * side, rng.random() * 6.3] for _ in range(TRACKERS)
    ]
    out: list[list[Observation]] = []
    for number in range(rounds):
        row: list[Observation] = []
        for place in places:
            speed_mps = rng.uniform(5, 20)
            place[2] += rng.gauss(0, 0.2)
            place[0] += speed_mps * 10 * math.cos(place[2]) / 111_000
            place[1] += speed_mps * 10 * math.sin(place[2]) / 71_000
            at_us = (number + 1) * 10 * SECOND_US
            attributes = {"ignition": True, "power": 13.8, "sat": 11, "batteryLevel": 90}
            row.append(
                Observation(
                    at_us, number, at_us, place[0], place[1], True, speed_mps, math.degrees(place[2]) % 360, None,
                    attributes,
                )
            )  # fmt: skip
        out.append(row)
    return out


class Rate(NamedTuple):
    """So many in a second of one core's time, and in a second of the clock's."""

    cpu: float
    wall: float


def _rate(count: int, work: Callable[[], object]) -> Rate:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Rate(count / (time.process_time() - cpu), count / (time.perf_counter() - wall))


def fences_per_second(count: int, rounds: int) -> tuple[Rate, FenceIndex, float]:
    """Fixes judged, in batches of one fix of each tracker, crossings included."""
    fences, side = some_fences(count)
    index = FenceIndex(fences)
    rows = routes(side, rounds + 1)
    latitude = np.array([[seen.latitude for seen in row] for row in rows], dtype=np.float64)
    longitude = np.array([[seen.longitude for seen in row] for row in rows], dtype=np.float64)
    margin = np.full(TRACKERS, 30.0)

    def judge_all() -> None:
        for n in range(1, rounds + 1):
            index.judge(latitude[n], longitude[n], margin, (latitude[n - 1], longitude[n - 1]))

    judge_all()  # geometries build their own indexes when first asked
    return _rate(rounds * TRACKERS, judge_all), index, side


def linear_scan_per_second(index: FenceIndex, side: float, fixes: int) -> float:
    """The same question without an index: each fix against each fence's box, and within it one geodesic. That is less than
    has to be asked, which flatters the scan.
    """
    shapes = [fence.shape for fence in index.fences]
    boxes = [_rough_box(shape) for shape in shapes]
    row = routes(side, 1)[0][:fixes]

    def scan() -> int:
        inside = 0
        for seen in row:
            latitude, longitude = seen.latitude or 0.0, seen.longitude or 0.0
            for south, west, north, east, centre in boxes:
                if (
                    south <= latitude <= north
                    and west <= longitude <= east
                    and distance_m(latitude, longitude, *centre) < 500
                ):
                    inside += 1
        return inside

    return _rate(len(row), scan).cpu


def _rough_box(shape: Shape) -> tuple[float, float, float, float, tuple[float, float]]:
    index = FenceIndex([Fence(id=1, name="one", shape=shape)])
    west, south, east, north = index.bounds[0].tolist()
    return south, west, north, east, ((south + north) / 2, (west + east) / 2)


def engine_us_per_fix(fences: int, rounds: int, *, together: bool) -> float:
    """Microseconds of CPU that the whole engine takes for one fix: ``together`` one fix of each of the 500 trackers
    in a batch, else each tracker's fixes in frames of 20, alone.
    """
    made, side = some_fences(fences)
    index = FenceIndex(made)
    side = max(side, 0.2)
    settings = TrackSettings(device_speed_limit_mps=25.0)
    rows = routes(side, rounds)
    states = [State() for _ in range(TRACKERS)]

    def batches() -> None:
        nonlocal states
        for row in rows:
            jobs = [Job(state, (seen,), settings) for state, seen in zip(states, row, strict=True)]
            states = [taken.state for taken in step_many(jobs, index)]

    def frames() -> None:
        for tracker in range(TRACKERS):
            state = State()
            for begin in range(0, rounds, 20):
                job = Job(state, [row[tracker] for row in rows[begin : begin + 20]], settings)
                state = step_many([job], index)[0].state

    return 1e6 / _rate(rounds * TRACKERS, batches if together else frames).cpu


def measure(*, quick: bool = False) -> dict[str, list[float]]:
    """All figures. ``quick``: a tenth of the rounds, for a test that only wants to see it run."""
    rounds = 20 if quick else 200
    many = 1_000 if quick else 10_000
    per_second, index, side = fences_per_second(many, rounds)
    figures = {
        f"fences_{many}_fixes_per_s": [per_second.cpu],
        f"fences_{many}_fixes_per_wall_s": [per_second.wall],
        f"fences_{many}_linear_scan_fixes_per_s": [linear_scan_per_second(index, side, 20 if quick else 100)],
    }
    if not quick:
        more = fences_per_second(100_000, rounds)[0]
        figures["fences_100000_fixes_per_s"] = [more.cpu]
        figures["fences_100000_fixes_per_wall_s"] = [more.wall]
        figures["fences_100000_share_of_10000"] = [more.cpu / per_second.cpu]
    for name, together in (("batches_of_500", True), ("frames_of_20", False)):
        figures[f"engine_us_per_fix_{name}"] = [
            engine_us_per_fix(100, 20, together=together) for _ in range(1 if quick else REPETITIONS)
        ]
    return figures


if __name__ == "__main__":
    calm_collector()  # as in a server that has started
    print(json.dumps(measure(quick="--quick" in sys.argv), indent=2))
