"""Fences against an independent oracle: at 70° north, across the antimeridian, with holes; and the index itself."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from geographiclib.geodesic import Geodesic
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.track.oracle import in_ring, inside_m, metres
from tests.track.world import disc, fence, square
from tracker_server.track.fences.errors import FenceError
from tracker_server.track.fences.index import FenceIndex, Hits
from tracker_server.track.fences.shapes import Position, Shape, area, circle, corridor
from tracker_server.track.fences.single import INSIDE, NEAR_INSIDE, NEAR_OUTSIDE, OUTSIDE
from tracker_server.track.geodesy import map_to_ground_m, mercator

CENTRES = [(0.0, 0.0), (50.0, 10.0), (70.0, 25.0), (-55.0, -179.995), (70.0, 179.99), (-12.0, 180.0)]


def star(
    rng: random.Random, latitude: float, longitude: float, radius_m: float, corners: int
) -> list[Position]:
    out = []
    for n in range(corners):
        turn = 2 * math.pi * (n + rng.uniform(0, 0.6)) / corners
        far = radius_m * rng.uniform(0.5, 1.0)
        out.append(
            (
                longitude + far * math.cos(turn) / (111_320 * math.cos(math.radians(latitude))),
                latitude + far * math.sin(turn) / 111_320,
            )
        )
    return [*out, out[0]]


def shape_near(rng: random.Random, latitude: float, longitude: float) -> Shape:
    radius_m = rng.choice([150.0, 800.0, 30_000.0])
    match rng.choice(["circle", "area", "hole", "corridor", "two"]):
        case "circle":
            return circle(latitude, longitude, radius_m)
        case "corridor":
            line = star(rng, latitude, longitude, radius_m, rng.randint(3, 6))[:-1]
            return corridor([line, [line[0], (longitude, latitude)]], rng.choice([40.0, 300.0, 5_000.0]))
        case "hole":
            ring = star(rng, latitude, longitude, radius_m, 9)
            hole = [(longitude + (x - longitude) * 0.4, latitude + (y - latitude) * 0.4) for x, y in ring]
            return area([[ring, hole]])
        case "two":
            ring = star(rng, latitude, longitude, radius_m, 7)
            return area([[ring], [[(x, y + radius_m * 2.2 / 111_320) for x, y in ring]]])
        case _:
            return area([[star(rng, latitude, longitude, radius_m, rng.randint(3, 40))]])


def reach_m(shape: Shape) -> float:
    box = FenceIndex([fence(1, shape)]).bounds[0]
    return metres(box[1], box[0], box[3], box[2]) / 2


def sides(hits: Hits, count: int) -> list[int]:
    out = [OUTSIDE] * count
    for row, side in zip(hits.fix, hits.side, strict=True):
        out[int(row)] = int(side)
    return out


def wrapped(longitude: float) -> float:
    return (longitude + 180.0) % 360.0 - 180.0


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("seed", range(10))
def test_sides_agree_with_the_oracle(seed: int, centre: tuple[float, float]) -> None:
    rng = random.Random(seed)
    margin_m = rng.choice([0.0, 30.0, 100.0])
    shape = shape_near(rng, *centre)
    index = FenceIndex([fence(1, shape)])
    far_m = reach_m(shape)
    latitudes, longitudes = [], []
    for _ in range(12):
        turn, far = rng.uniform(0, 6.3), far_m * math.sqrt(rng.random())
        latitudes.append(centre[0] + far * math.sin(turn) / 111_320)
        longitudes.append(
            wrapped(centre[1] + far * math.cos(turn) / (111_320 * math.cos(math.radians(centre[0]))))
        )
    margins = np.full(12, margin_m)
    found = sides(index.judge(np.array(latitudes), np.array(longitudes), margins), 12)
    for n, side in enumerate(found):
        one = slice(n, n + 1)
        alone = index.judge(np.array(latitudes[one]), np.array(longitudes[one]), margins[one])
        assert sides(alone, 1) == [side], "one by one and as arrays"
        assert index.judge_one(latitudes[n], longitudes[n], margin_m, None)[0] == [(0, side)] * (side > 0)
    for latitude, longitude, side in zip(latitudes, longitudes, found, strict=True):
        true_m = inside_m(shape, latitude, longitude)
        told_m = index.signed_distance_m(0, latitude, longitude)
        assert told_m == pytest.approx(true_m, abs=0.2, rel=1e-5 if abs(true_m) < 5_000 else 3e-3)
        inner_m = min(margin_m, float(index.inner_m[0]))
        if min(abs(true_m), abs(true_m - inner_m), abs(true_m + margin_m)) < 0.3:
            continue  # too near to a limit to be told apart
        if true_m > 0:
            assert side == (INSIDE if true_m > inner_m else NEAR_INSIDE)
        else:
            assert side == (OUTSIDE if -true_m > margin_m else NEAR_OUTSIDE)


def test_a_long_edge_is_straight_in_degrees_not_on_the_map() -> None:
    # From 60° to 70° north the map's straight line lies up to 20 km beside the one that is meant.
    shape = area([[[(0, 60), (40, 70), (40, 60), (0, 60)]]])
    index = FenceIndex([fence(1, shape)])
    for share in (0.1, 0.35, 0.5, 0.8):
        longitude, latitude = 40 * share, 60 + 10 * share
        below, above = latitude - 0.0005, latitude + 0.0005  # 56 m up and down: 20 to 50 m across
        hits = index.judge(np.array([below, above]), np.full(2, longitude), np.full(2, 100.0))
        assert sides(hits, 2) == [NEAR_INSIDE, NEAR_OUTSIDE]


def test_the_map_is_true_near_by() -> None:
    for latitude in (0.0, 45.0, -70.0, 84.0):
        for north, east in ((0.05, 0.0), (0.0, 0.2), (-0.06, 0.1)):
            x, y = mercator(np.array([10.0, 10.0 + east]), np.array([latitude, latitude + north]))
            told_m = map_to_ground_m(x[1:] - x[:1], y[1:] - y[:1], np.array([latitude]))[0]
            true_m = metres(latitude, 10.0, latitude + north, 10.0 + east)
            assert told_m == pytest.approx(true_m, rel=2e-4 if east and abs(latitude) > 80 else 2e-5)


@pytest.mark.parametrize("latitude", [0.0, 70.0, -89.0])
def test_a_circle_is_round_in_metres(latitude: float) -> None:
    index = FenceIndex([fence(1, circle(latitude, 179.999, 5_000.0))])
    for degrees in range(0, 360, 15):
        for radius_m, side in ((4_999.0, NEAR_INSIDE), (5_001.0, NEAR_OUTSIDE), (5_040.0, OUTSIDE)):
            to = Geodesic.WGS84.Direct(latitude, 179.999, degrees, radius_m)
            hits = index.judge(np.array([to["lat2"]]), np.array([to["lon2"]]), np.array([30.0]))
            assert sides(hits, 1) == [side]


def test_a_circle_over_the_pole_holds_all_longitudes() -> None:
    index = FenceIndex([fence(1, circle(89.99, 0.0, 5_000.0))])
    longitudes = np.linspace(-180, 180, 19)
    assert sides(index.judge(np.full(19, 89.99), longitudes, np.full(19, 30.0)), 19) == [INSIDE] * 19


SPELLINGS = {
    "cut at 180": [
        [[(179, 10), (180, 10), (180, 12), (179, 12), (179, 10)]],
        [[(-180, 10), (-179, 10), (-179, 12), (-180, 12), (-180, 10)]],
    ],
    "running on": [[[(179, 10), (181, 10), (181, 12), (179, 12), (179, 10)]]],
    "running on to the west": [[[(-181, 10), (-179, 10), (-179, 12), (-181, 12), (-181, 10)]]],
    "the short way round": [[[(179, 10), (-179, 10), (-179, 12), (179, 12), (179, 10)]]],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_spellings_of_the_antimeridian_are_one_fence(spelling: str) -> None:
    index = FenceIndex([fence(1, area(SPELLINGS[spelling]))])
    longitudes = np.array(
        [178.9, 178.9999, 179.0001, 179.5, 180.0, -180.0, -179.5, -179.0001, -178.9999, -178.9]
    )
    found = sides(index.judge(np.full(10, 11.0), longitudes, np.full(10, 30.0)), 10)
    assert found == [
        OUTSIDE, NEAR_OUTSIDE, NEAR_INSIDE, INSIDE, INSIDE, INSIDE, INSIDE, NEAR_INSIDE, NEAR_OUTSIDE, OUTSIDE,
    ]  # fmt: skip


def test_a_band_round_the_world_is_not_taken_for_nothing() -> None:
    index = FenceIndex([fence(1, area([[[(-180, -5), (180, -5), (180, 5), (-180, 5), (-180, -5)]]]))])
    longitudes = np.array([-180.0, -90.0, 0.0, 179.9])
    assert sides(index.judge(np.zeros(4), longitudes, np.full(4, 30.0)), 4) == [
        NEAR_INSIDE,
        INSIDE,
        INSIDE,
        INSIDE,
    ]  # the seam itself is an edge


def test_a_corridor_cut_at_the_antimeridian_is_one() -> None:
    for lines in (
        [[(179.9, 0), (180, 0)], [(-180, 0), (-179.9, 0)]],
        [[(179.9, 0), (-179.9, 0)]],
        [[(179.9, 0), (180.1, 0)]],
    ):
        index = FenceIndex([fence(1, corridor(lines, 200.0))])
        longitudes = np.array([179.95, 180.0, -180.0, -179.95])
        latitudes = np.array([0.0005, 0.0005, -0.0005, 0.0015])  # 55, 55, 55, 166 m off
        found = sides(index.judge(latitudes, longitudes, np.full(4, 30.0)), 4)
        assert found == [INSIDE, INSIDE, INSIDE, OUTSIDE]


def crossed(hits: Hits) -> list[tuple[int, int]]:
    return sorted(zip(hits.crossed_fix.tolist(), hits.crossed_fence.tolist(), strict=True))


@pytest.mark.parametrize("longitude", [21.0, 179.9995, -180.0])
def test_ways_through_a_fence_are_found_wherever_it_lies(longitude: float) -> None:
    box = [
        (longitude - 0.001, 60),
        (longitude + 0.001, 60),
        (longitude + 0.001, 60.001),
        (longitude - 0.001, 60.001),
    ]
    index = FenceIndex(
        [
            fence(1, area([[[*box, box[0]]]])),
            fence(2, circle(60.0005, longitude, 40.0)),
            fence(3, corridor([[(longitude, 59.9), (longitude, 60.1)]], 20.0)),
            fence(4, circle(60.01, longitude, 40.0)),
        ]
    )
    west, east = wrapped(longitude - 0.01), wrapped(longitude + 0.01)
    place = np.array([60.0005, 60.0005, 60.005, 60.0005])
    before = np.array([60.0005, 60.0005, 60.005, np.nan])
    to = np.array([east, west, east, east])
    since = np.array([west, east, west, np.nan])
    hits = index.judge(place, to, np.full(4, 30.0), (before, since))
    assert not len(hits.fix)
    wanted = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 2)]
    assert crossed(hits) == wanted
    alone = [
        (n, fence_place)
        for n in range(4)
        for _, fence_place in crossed(
            index.judge(
                place[n : n + 1], to[n : n + 1], np.full(1, 30.0), (before[n : n + 1], since[n : n + 1])
            )
        )
    ]
    assert alone == wanted
    single = [
        (n, fence_place)
        for n in range(3)
        for fence_place in index.judge_one(
            float(place[n]), float(to[n]), 30.0, (float(before[n]), float(since[n]))
        )[1]
    ]
    assert single == wanted


def test_a_way_that_ends_inside_is_no_crossing() -> None:
    index = FenceIndex([square(1, 0, 0, 500)])
    inside = np.array([52.002]), np.array([21.003])
    hits = index.judge(*inside, np.full(1, 30.0), (np.array([52.02]), np.array([21.003])))
    assert sides(hits, 1) == [INSIDE]
    assert not crossed(hits)


def test_a_fence_smaller_than_the_margin_can_be_entered() -> None:
    index = FenceIndex([disc(1, 0, 20.0), square(2, 0, 1000, 30.0)])
    assert index.inner_m[0] == 10.0
    assert index.inner_m[1] == pytest.approx(7.5, rel=0.1)
    hits = index.judge(np.array([52.0]), np.array([21.0]), np.array([100.0]))
    assert sides(hits, 1) == [INSIDE]


def test_ten_thousand_vertices_lose_nothing() -> None:
    rng = random.Random(4)
    ring = [
        (
            10 + 0.3 * math.cos(t) * (1 + 0.05 * math.sin(90 * t)),
            48 + 0.2 * math.sin(t) * (1 + 0.05 * math.sin(90 * t)),
        )
        for t in (2 * math.pi * n / 10_000 for n in range(10_000))
    ]
    shape = area([[[*ring, ring[0]]]])
    assert sum(len(part.outer) for part in shape.polygons) == 10_001
    index = FenceIndex([fence(1, shape)])
    points = [(48 + rng.uniform(-0.25, 0.25), 10 + rng.uniform(-0.35, 0.35)) for _ in range(400)]
    latitude, longitude = np.array(points).T
    found = sides(index.judge(latitude, longitude, np.full(400, 30.0)), 400)
    inside = [in_ring([*ring, ring[0]], x, y) for y, x in points]
    assert [side >= NEAR_INSIDE for side in found] == inside
    assert 100 < sum(inside) < 300


def test_an_index_is_changed_without_touching_the_one_in_use() -> None:
    old = FenceIndex([disc(1, 0, 100), disc(2, 5000, 100)])
    new = old.changed(put=[disc(3, 9000, 100), disc(2, 6000, 100)], removed=[1, 77])
    assert [one.id for one in old.fences] == [1, 2]
    assert [one.id for one in new.fences] == [2, 3]
    asked = np.array([52.0]), np.array([21.0]), np.array([30.0])
    assert sides(old.judge(*asked), 1) == [INSIDE]
    assert sides(new.judge(*asked), 1) == [OUTSIDE]
    assert len(FenceIndex()) == 0
    assert sides(FenceIndex().judge(*asked), 1) == [OUTSIDE]


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_a_batch_says_what_each_fix_alone_says(seed: int) -> None:
    rng = random.Random(seed)
    fences = [
        fence(n, shape_near(rng, 52 + rng.gauss(0, 0.01), 21 + rng.gauss(0, 0.01))) for n in range(1, 30)
    ]
    index = FenceIndex(fences)
    latitude = np.array([52 + rng.gauss(0, 0.01) for _ in range(40)])
    longitude = np.array([21 + rng.gauss(0, 0.01) for _ in range(40)])
    margin = np.array([rng.choice([30.0, 60.0, 100.0]) for _ in range(40)])
    way = np.roll(latitude, 1), np.roll(longitude, 1)
    together = index.judge(latitude, longitude, margin, way)
    alone_hits, alone_crossed = set(), set()
    for n in range(40):
        one = slice(n, n + 1)
        hits = index.judge(latitude[one], longitude[one], margin[one], (way[0][one], way[1][one]))
        alone_hits |= {(n, int(f), int(s)) for f, s in zip(hits.fence, hits.side, strict=True)}
        alone_crossed |= {(n, int(f)) for f in hits.crossed_fence}
    assert {(int(r), int(f), int(s)) for r, f, s in zip(*together[:3], strict=True)} == alone_hits
    assert set(crossed(together)) == alone_crossed


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: circle(50, 10, 0), "radius: 0 is no radius"),
        (lambda: circle(50, 10, 6e6), "radius: 6000000.0 is no radius"),
        (lambda: circle(100, 10, 50), "centre: latitude 100 is not between -90 and 90"),
        (lambda: circle(120, 10, 50), "are longitude and latitude swapped"),
        (lambda: corridor([], 50), "line: has no positions"),
        (lambda: corridor([[(1, 2)]], 50), "line 1: has 1 positions"),
        (lambda: corridor([[(1, 2), (2, 3)]], 0), "width: 0 is no width"),
        (lambda: corridor([[(1, 2), (999, 3)]], 10), "line 1, vertex 2: longitude 999"),
        (lambda: area([]), "polygon: has no rings"),
        (lambda: area([[]]), "outer ring: is missing"),
        (lambda: area([[[(0, 0), (1, 1), (0, 0)]]]), "outer ring: has 3 positions"),
        (
            lambda: area([[[(0, 0), (1, 1), (1, 0), (0, 0.5)]]]),
            "outer ring, vertex 4: the ring is not closed",
        ),
        (lambda: area([[[(0, 0), (1, 1), (1, 0), (0, 1), (0, 0)]]]), "vertex 1: self-intersection near 0.5"),
        (
            lambda: area([[[(0, 0), (9, 0), (9, 9), (0, 0)], [(20, 20), (21, 20), (21, 21), (20, 20)]]]),
            "hole 1, vertex",
        ),
        (lambda: area([[[(0, 80), (120, 80), (-120, 80), (0, 80)]]]), "goes round a pole"),
        (lambda: area([[[(0, 0)] * 1_000_001]]), "has 1000001 vertices, more than 1000000"),
    ],
)
def test_shapes_that_cannot_be_used_say_where_and_why(make: object, says: str) -> None:
    assert callable(make)
    with pytest.raises(FenceError) as raised:
        make()
    assert says in str(raised.value)
