"""Enters, exits and visits of random routes through random fences, against the rule written down another way."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from tests.track.oracle import inside_m
from tests.track.test_fences import reach_m, shape_near, wrapped
from tests.track.world import fence, fix, spoken
from tracker_server.model.event import SECOND_US, Event, EventType, Visit
from tracker_server.track.fences.index import FenceIndex
from tracker_server.track.fences.shapes import Fence
from tracker_server.track.observation import Observation, arranged
from tracker_server.track.replay import run
from tracker_server.track.settings import TrackSettings

PLACES = [(52.0, 21.0), (70.0, 25.0), (-17.0, 179.998)]


def route(rng: random.Random, latitude: float, longitude: float) -> list[Observation]:
    heading, out = rng.uniform(0, 6.3), list[Observation]()
    for n in range(70):
        accuracy_m = rng.choice([None, None, 5.0, 25.0])
        out.append(fix(10 * n, (latitude, wrapped(longitude)), 15.0, digest=n, accuracy_m=accuracy_m))
        heading += rng.gauss(0, 0.3) + (math.pi if rng.random() < 0.04 else 0.0)
        way_m = rng.uniform(90, 250)
        latitude += way_m * math.cos(heading) / 111_320
        longitude += way_m * math.sin(heading) / (111_320 * math.cos(math.radians(latitude)))
    return out


def depths_m(one: Fence, day: Sequence[Observation]) -> list[float]:
    """Of each fix the metres to the fence's edge, positive inside; far from it only a guess."""
    found: list[float] = []
    for seen in day:
        assert seen.latitude is not None
        assert seen.longitude is not None
        deep_m = inside_m(one.shape, seen.latitude, seen.longitude, 0.0)
        if abs(deep_m) < 200.0:
            deep_m = inside_m(one.shape, seen.latitude, seen.longitude)
        found.append(deep_m)
    return found


def expected(one: Fence, inner_m: float, day: Sequence[Observation], deep_of: Sequence[float]) -> list[str]:
    """Runs first: cut the day where the side turns; a run counts if any of its fixes is far enough beyond the edge."""
    runs: list[tuple[bool, int, bool]] = []
    for seen, deep_m in zip(day, deep_of, strict=True):
        margin_m = min(max(30.0, 3 * (seen.accuracy_m or 0.0)), 100.0)
        inside = deep_m >= 0
        sure = deep_m > min(margin_m, inner_m) if inside else -deep_m > margin_m
        if runs and runs[-1][0] == inside:
            runs[-1] = (inside, runs[-1][1], runs[-1][2] or sure)
        else:
            runs.append((inside, seen.at_us // SECOND_US, sure))
    lines: list[str] = []
    entered: int | None = None
    for inside, second, sure in runs:
        if sure and inside and entered is None:
            entered = second
            lines.append(f"{second} geofenceEnter fence {one.id}")
        elif sure and not inside and entered is not None:
            lines += [f"{second} geofenceExit fence {one.id}", f"{entered}-{second} visit fence {one.id}"]
            entered = None
    return lines


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("seed", range(4))
def test_enters_exits_and_visits(seed: int, place: tuple[float, float]) -> None:
    rng = random.Random(seed)
    day = route(rng, *place)
    fences: list[Fence] = []
    while len(fences) < 5:
        near = rng.choice(day)
        assert near.latitude is not None
        assert near.longitude is not None
        made = fence(len(fences) + 1, shape_near(rng, near.latitude + rng.gauss(0, 0.003), near.longitude))
        if reach_m(made.shape) < 5_000:
            fences.append(made)
    index = FenceIndex(fences)
    mixed = rng.sample(day, len(day)) + rng.sample(day, 20)
    found = run(arranged(mixed), TrackSettings(), index).found
    kinds = (EventType.GEOFENCE_ENTER, EventType.GEOFENCE_EXIT)
    lines = spoken(
        one for one in found if isinstance(one, Visit) or (isinstance(one, Event) and one.type in kinds)
    )
    wanted = [
        line
        for one in fences
        for line in expected(one, float(index.inner_m[index.places[one.id]]), day, depths_m(one, day))
    ]
    assert sorted(lines) == sorted(wanted)
    assert wanted, f"the route of seed {seed} meets no fence"
