"""The table of cells answers as the tree of the same boxes does."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import shapely

from tracker_server.track.engine import ONE_BY_ONE_MAX
from tracker_server.track.fences.cells import BOXES_MAX, WIDE_MAX, Cells
from tracker_server.track.fences.index import FenceIndex
from tracker_server.track.fences.shapes import Fence, Shape, area, circle, corridor


def cells_of(corners: list[tuple[float, float, float, float]]) -> tuple[Cells, shapely.STRtree]:
    bounds = np.array(corners, dtype=np.float64)
    tree = shapely.STRtree(shapely.box(*bounds.T))
    return Cells(tree, bounds, np.arange(len(corners), dtype=np.float64), np.arange(len(corners)) * 7), tree


@pytest.mark.parametrize("wide", [0, WIDE_MAX, WIDE_MAX + 1])
@pytest.mark.parametrize("centre", [(0.0, 0.0), (-70.3, -33.4), (179.9, 89.9)])
def test_a_way_meets_the_same_boxes_by_cells_and_by_tree(centre: tuple[float, float], wide: int) -> None:
    rng = random.Random(f"{centre}{wide}")
    x, y = centre
    corners = []
    for number in range(200):
        west, south = x + rng.uniform(-0.1, 0.1), y + rng.uniform(-0.1, 0.1)
        size = rng.uniform(0.2, 20.0) if number < wide else rng.uniform(0.0, 0.05)
        corners.append((west, south, west + size, south + size * rng.random()))
    cells, tree = cells_of(corners)
    met = 0
    for _ in range(400):
        begin_x, begin_y = x + rng.uniform(-0.12, 0.12), y + rng.uniform(-0.12, 0.12)
        far = rng.choice([0.0, 0.001, 0.02, 0.3])
        end_x, end_y = begin_x + rng.uniform(-far, far), begin_y + rng.uniform(-far, far)
        wanted = sorted(tree.query(shapely.LineString([(begin_x, begin_y), (end_x, end_y)])).tolist())
        found = sorted(cells.met(begin_x, begin_y, end_x, end_y))
        assert found == [(7 * n, float(n)) for n in wanted]
        met += len(found)
    assert met


def test_a_box_that_begins_where_a_fix_is_is_met() -> None:
    cells, _ = cells_of([(0.01, 0.01, 0.02, 0.02)])
    for x, y in ((0.01, 0.01), (0.02, 0.02), (0.015, 0.02)):
        assert list(cells.met(x, y, x, y)) == [(0, 0.0)]
    assert not cells.met(0.0099, 0.015, 0.0099, 0.015)


def test_too_many_boxes_are_left_to_the_tree() -> None:
    corners = [(n * 0.001, 0.0, n * 0.001 + 0.0005, 0.001) for n in range(BOXES_MAX + 1)]
    cells, _ = cells_of(corners)
    assert list(cells.met(5.0001, 0.0005, 5.0002, 0.0005)) == [(35_000, 5_000.0)]


def shape_of(rng: random.Random, latitude: float, longitude: float) -> Shape:
    kind = rng.randrange(3)
    if kind == 0:
        return circle(latitude, longitude, rng.uniform(20, 500))
    if kind == 1:
        ring = [
            (
                longitude + 0.003 * math.cos(turn) * rng.uniform(0.5, 1),
                latitude + 0.002 * math.sin(turn) * rng.uniform(0.5, 1),
            )
            for turn in (2 * math.pi * n / 9 for n in range(9))
        ]
        return area([[[*ring, ring[0]]]])
    legs = rng.choice([2, 5, 40])
    line = [(longitude + 0.001 * n, latitude + rng.uniform(0, 0.001)) for n in range(legs)]
    return corridor([line], rng.uniform(20, 200))


@pytest.mark.parametrize("seed", range(6))
def test_fixes_one_by_one_get_the_answers_of_arrays(seed: int) -> None:
    rng = random.Random(seed)
    latitude, longitude = rng.choice([(52.0, 21.0), (-33.9, 179.98), (78.2, 15.6), (0.0, 0.0)])
    fences = [
        Fence(
            id=n,
            name=str(n),
            shape=shape_of(rng, latitude + rng.uniform(-0.03, 0.03), longitude + rng.uniform(-0.03, 0.03)),
        )
        for n in range(1, 61)
    ]
    index = FenceIndex(fences)
    count = 8 * ONE_BY_ONE_MAX
    latitudes = np.array([latitude + rng.uniform(-0.03, 0.03) for _ in range(count)])
    longitudes = np.array([longitude + rng.uniform(-0.019, 0.019) for _ in range(count)])
    before = (
        latitudes + np.array([rng.uniform(-0.004, 0.004) for _ in range(count)]),
        longitudes + np.array([rng.choice([0.0, rng.uniform(-0.004, 0.004)]) for _ in range(count)]),
    )
    margins = np.array([rng.choice([0.0, 30.0, 100.0, rng.uniform(0.0, 100.0)]) for _ in range(count)])
    hits = index.judge(latitudes, longitudes, margins, before)
    together = {
        n: (
            sorted((int(place), int(side)) for fix, place, side in zip(*hits[:3], strict=True) if fix == n),
            sorted(int(place) for fix, place in zip(*hits[3:], strict=True) if fix == n),
        )
        for n in range(count)
    }
    assert any(near for near, _ in together.values())
    assert any(crossed for _, crossed in together.values())
    for n in range(count):
        way = float(before[0][n]), float(before[1][n])
        alone = index.judge_one(float(latitudes[n]), float(longitudes[n]), float(margins[n]), way)
        assert (sorted(alone[0]), sorted(alone[1])) == together[n]
