"""Another way to the same answers: geodesics of geographiclib and plain ray casting, slow and simple."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from geographiclib.geodesic import Geodesic

from tracker_server.track.fences.shapes import Area, Circle, Corridor, Position, Shape


def metres(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    return Geodesic.WGS84.Inverse(latitude, longitude, other_latitude, other_longitude, Geodesic.DISTANCE)[
        "s12"
    ]


def in_ring(ring: Sequence[Position], x: float, y: float) -> bool:
    inside = False
    for (x1, y1), (x2, y2) in pairwise(ring):
        if (y1 > y) != (y2 > y) and x < x1 + (y - y1) * (x2 - x1) / (y2 - y1):
            inside = not inside
    return inside


def to_lines_m(
    lines: Sequence[Sequence[Position]], latitude: float, longitude: float, exact_within_m: float
) -> float:
    """Metres to the nearest place of lines whose edges are straight in degrees. A flat guess says which edges can be
    the nearest; on those geodesics are measured in ever finer steps.
    """
    shrink = math.cos(math.radians(latitude))

    def guess(edge: tuple[Position, Position]) -> float:
        (x1, y1), (x2, y2) = [((x - longitude) * shrink, y - latitude) for x, y in edge]
        dx, dy = x2 - x1, y2 - y1
        along = -(x1 * dx + y1 * dy) / (dx * dx + dy * dy)
        along = min(1.0, max(0.0, along))
        return math.hypot(x1 + along * dx, y1 + along * dy)

    edges = [edge for line in lines for edge in pairwise(line) if edge[0] != edge[1]]
    nearest = sorted(edges, key=guess)[:3]
    if guess(nearest[0]) * 111_320 > exact_within_m:
        return guess(nearest[0]) * 111_320
    return min(_to_edge_m(edge, latitude, longitude) for edge in nearest)


def _to_edge_m(edge: tuple[Position, Position], latitude: float, longitude: float) -> float:
    (x1, y1), (x2, y2) = edge
    low, high, best = 0.0, 1.0, float("inf")
    for _ in range(9):
        steps = [low + (high - low) * n / 6 for n in range(7)]
        far = [metres(latitude, longitude, y1 + (y2 - y1) * t, x1 + (x2 - x1) * t) for t in steps]
        nearest = far.index(min(far))
        low, high = steps[max(0, nearest - 1)], steps[min(6, nearest + 1)]
        best = min(best, far[nearest])
    return best


def inside_m(shape: Shape, latitude: float, longitude: float, exact_within_m: float = math.inf) -> float:
    """Metres to the edge, positive inside; beyond ``exact_within_m`` only a flat guess at them."""
    turns = [longitude]
    if abs(longitude) > 170.0:
        turns += [longitude - 360.0, longitude + 360.0]
    match shape:
        case Circle():
            return shape.radius_m - metres(shape.latitude, shape.longitude, latitude, longitude)
        case Corridor():
            return shape.width_m / 2 - min(
                to_lines_m(shape.lines, latitude, x, exact_within_m) for x in turns
            )
        case Area():
            rings = [line for ring in shape.polygons for line in (ring.outer, *ring.holes)]
            inside = any(
                in_ring(ring.outer, x, latitude)
                and not any(in_ring(hole, x, latitude) for hole in ring.holes)
                for ring in shape.polygons
                for x in turns
            )
            edge_m = min(to_lines_m(rings, latitude, x, exact_within_m) for x in turns)
            return edge_m if inside else -edge_m
