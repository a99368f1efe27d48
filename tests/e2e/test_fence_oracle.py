"""Random fences and routes, told shuffled to a real server: ``tracker-server events`` against an oracle that knows
neither the engine nor its libraries. ``TRACKER_TEST_TRACK_ROUNDS`` says how many (1), ``TRACKER_TEST_TRACK_SEED`` which,
``TRACKER_TEST_TRACK_EVERY_S`` how often a parked tracker reports (600).
"""

from __future__ import annotations

import json
import math
import os
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from geographiclib.geodesic import Geodesic

from tests.cli.terminal import Terminal
from tests.e2e.routes import feature, report, second_of, settled
from tests.servers.serve import Servers
from tests.track.oracle import inside_m
from tests.track.test_fences import reach_m, shape_near, star, wrapped
from tests.track.test_visits_oracle import PLACES, depths_m, expected, route
from tests.track.world import fence, fix
from tracker_server.model.event import SECOND_US
from tracker_server.track.fences.index import FenceIndex
from tracker_server.track.fences.shapes import Fence, Shape, area, circle, corridor
from tracker_server.track.observation import Observation

ROUNDS = int(os.environ.get("TRACKER_TEST_TRACK_ROUNDS", "1"))
SEED = int(os.environ.get("TRACKER_TEST_TRACK_SEED") or random.randrange(2**32))
FENCES = 6  # around each route
EVERY_S = int(os.environ.get("TRACKER_TEST_TRACK_EVERY_S", "600"))  # between the fixes of a parked day
EDGE_M = 0.3  # nearer to an edge than this the two ways to reckon may differ
NOISE_M = 10.0


@pytest.fixture
def terminal(
    postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    made = Terminal(tmp_path, monkeypatch, capsys)
    made.set(storage__dsn=postgres_dsn)
    return made


class Near(NamedTuple):
    """A fence, and of each fix of a route the metres to its edge, positive inside."""

    fence: Fence
    deep_m: list[float]


def fences_at(rng: random.Random, day: Sequence[Observation], first_id: int) -> list[Near]:
    """Fences of all shapes near a route; the route has no fix at the very edge of one."""
    found: list[Near] = []
    while len(found) < FENCES:
        at = rng.choice(day)
        assert at.latitude is not None
        assert at.longitude is not None
        made = fence(first_id + len(found), shape_near(rng, at.latitude + rng.gauss(0, 0.003), at.longitude))
        if reach_m(made.shape) > 5_000:
            continue
        deep_m = depths_m(made, day)
        if min(map(abs, deep_m)) > EDGE_M:
            found.append(Near(made, deep_m))
    return found


def plainly(near: Near, day: Sequence[Observation]) -> list[str]:
    """Without hysteresis: an event wherever the next fix is on the other side."""
    lines: list[str] = []
    was = False
    for seen, deep_m in zip(day, near.deep_m, strict=True):
        inside = deep_m > 0
        if inside is not was:
            kind = "geofenceEnter" if inside else "geofenceExit"
            lines.append(f"{seen.at_us // SECOND_US} {kind} {near.fence.name}")
        was = inside
    return lines


def surely(near: Near, day: Sequence[Observation], index: FenceIndex) -> list[str]:
    """With hysteresis, by the rule as it is written down."""
    inner_m = float(index.inner_m[index.places[near.fence.id]])
    return [line for line in expected(near.fence, inner_m, day, near.deep_m) if " visit " not in line]


def events(terminal: Terminal, unique_id: str) -> list[str]:
    told = json.loads(
        terminal.ok(
            "events", unique_id, "--type", "geofenceEnter", "--type", "geofenceExit", "--format", "json"
        )
    )  # fmt: skip
    begin = second_of(Observation(0, 0, 0))
    return [
        f"{datetime.fromisoformat(one['occurred_at']).timestamp() - begin:.0f} {one['type']} {one['fence']}"
        for one in told
    ]


@pytest.mark.timeout(300 + 120 * ROUNDS)
def test_enters_and_exits_of_shuffled_routes(server: Servers, postgres_dsn: str, terminal: Terminal) -> None:
    """Each round is an account with hysteresis and one without, and in each a route at every place."""
    print("TRACKER_TEST_TRACK_SEED", SEED)
    rng = random.Random(SEED)
    running = server(dsn=postgres_dsn, protocols=["osmand"])
    for number in range(ROUNDS):
        routes = [route(rng, *place) for place in PLACES]
        fences = [fences_at(rng, day, 1 + FENCES * n) for n, day in enumerate(routes)]
        file = terminal.folder / "fences.geojson"
        spelled = [rng.choice(["on", "wrapped"]) for _ in routes for _ in range(FENCES)]
        features = [
            feature(one.fence.name, one.fence.shape, spelled=how)
            for one, how in zip((one for near in fences for one in near), spelled, strict=True)
        ]
        file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        names: dict[str, list[str]] = {}
        for kind in ("plain", "sure"):
            account = f"{kind} {number}"
            terminal.ok("account", "add", account)
            terminal.ok("fence", "import", str(file), "--account", account)
            names[kind] = [f"{kind}-{number}-{n}" for n in range(len(routes))]
            for name in names[kind]:
                terminal.ok("device", "add", name, "--account", account)
        terminal.ok(
            "track", "set", "hysteresis_m=0", "hysteresis_accuracy_factor=0", "--account", f"plain {number}"
        )
        with ThreadPoolExecutor() as pool:
            sent = [
                pool.submit(report, running, name, rng.sample(day, len(day)) + rng.sample(day, 15))
                for kind in names
                for name, day in zip(names[kind], routes, strict=True)
            ]
            for done in sent:
                done.result()
        settled(running)
        index = FenceIndex([one.fence for near in fences for one in near])
        for n, day in enumerate(routes):
            plain = [line for one in fences[n] for line in plainly(one, day)]
            sure = [line for one in fences[n] for line in surely(one, day, index)]
            assert sorted(events(terminal, names["plain"][n])) == sorted(plain), (number, n)
            assert sorted(events(terminal, names["sure"][n])) == sorted(sure), (number, n)
            assert plain, "a route that meets no fence proves nothing"


def edge_near(rng: random.Random, shape: Shape, latitude: float, longitude: float) -> tuple[float, float]:
    """A place at most 15 m from a shape's edge: on the way from one that is inside to one that is not."""
    turn = rng.uniform(0, 6.3)
    inner, outer = (latitude, longitude), Geodesic.WGS84.Direct(latitude, longitude, turn * 57.3, 4_000.0)
    low, high = inner, (outer["lat2"], outer["lon2"])
    while True:
        middle = (low[0] + high[0]) / 2, (low[1] + high[1]) / 2
        far_m = inside_m(shape, *middle)
        if abs(far_m) <= 15.0:
            return middle
        low, high = (middle, high) if far_m > 0 else (low, middle)


def square(half_deg: float) -> list[tuple[float, float]]:
    corners = ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))
    return [(180.0 + half_deg * x, -16.0 + half_deg * y) for x, y in corners]


@pytest.mark.timeout(300 + 300 * ROUNDS)
def test_a_parked_day_with_noise_at_an_edge(server: Servers, postgres_dsn: str, terminal: Terminal) -> None:
    """24 hours, shuffled, with 10 m of noise: nothing is entered from outside, nothing is left from inside."""
    print("TRACKER_TEST_TRACK_SEED", SEED)
    rng = random.Random(SEED)
    running = server({"devices.unknown": "register"}, dsn=postgres_dsn, protocols=["osmand"])
    shapes: dict[str, Shape] = {
        "disc": circle(50.0, 20.0, 500.0),
        "road": corridor([[(22.0, 60.0), (22.05, 60.01)]], 300.0),
        "yard": area([[star(rng, -17.0, 180.0, 800.0, 9)]]),
        "ring": area(
            [[square(0.006), square(0.002)]]
        ),  # with a hole of 440 m, across the meridian where days begin
    }
    inside = {
        "disc": (50.0, 20.0),
        "road": (60.005, 22.025),
        "yard": (-17.0, 180.0),
        "ring": (-16.0 + 0.004 * rng.choice([-1, 1]), 180.0),
    }
    features = [feature(name, shape) for name, shape in shapes.items()]
    file = terminal.folder / "fences.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    terminal.ok("fence", "import", str(file), "--account", "default")
    days: dict[str, list[Observation]] = {}
    allowed: dict[str, int] = {}
    for number in range(ROUNDS):
        for name, shape in shapes.items():
            spot = edge_near(rng, shape, *inside[name])
            unique_id = f"{name}-{number}"
            allowed[unique_id] = (
                1 if inside_m(shape, *spot) > 0 else 0
            )  # that it was inside from the beginning
            east = NOISE_M / (111_320 * math.cos(math.radians(spot[0])))
            days[unique_id] = [
                fix(
                    second,
                    (spot[0] + rng.gauss(0, NOISE_M / 111_320), wrapped(spot[1] + rng.gauss(0, east))),
                    0.0,
                    digest=second,
                )
                for second in range(0, 86_400, EVERY_S)
            ]
    with ThreadPoolExecutor() as pool:
        for done in [
            pool.submit(report, running, unique_id, rng.sample(day, len(day)))
            for unique_id, day in days.items()
        ]:
            done.result()
    settled(running)
    for unique_id in days:
        told = events(terminal, unique_id)
        assert len(told) <= allowed[unique_id], (unique_id, told)
        assert all(" geofenceEnter " in line for line in told), (unique_id, told)
        (stop,) = json.loads(terminal.ok("stops", unique_id, "--format", "json"))
        assert stop["ended_at"] is None, "it stands, all the day"
