"""The same questions as the index asks of whole batches, for one fix and one fence: a lone fix is answered in a
tenth of the time that arrays of one element take. The tests hold both to the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import shapely

from tracker_server.track.fences.prepared import Prepared
from tracker_server.track.fences.shapes import Circle, Corridor
from tracker_server.track.geodesy import ECCENTRICITY, EQUATOR_RADIUS_M, LATITUDE_MAX, distance_m

# What a fix is to a fence.
OUTSIDE: Final = 0  # beyond the edge by more than the margin
NEAR_OUTSIDE: Final = 1
NEAR_INSIDE: Final = 2
INSIDE: Final = 3  # inside by more than the margin

PAIRS_MAX: Final = 6  # up to so many pairs one by one, above that as arrays: measured, they meet at about ten

_geos: Any = shapely


def map_point(longitude: float, latitude: float) -> tuple[float, float, float, float]:
    """Map metres east and north, map metres for one metre on the ground, and the sine of the latitude."""
    radians = math.radians(min(max(latitude, -LATITUDE_MAX), LATITUDE_MAX))
    sine = math.sin(radians)
    y = math.atanh(sine) - ECCENTRICITY * math.atanh(ECCENTRICITY * sine)
    factor = math.sqrt(1.0 - (ECCENTRICITY * sine) ** 2) / math.cos(radians)
    return EQUATOR_RADIUS_M * math.radians(longitude), EQUATOR_RADIUS_M * y, factor, sine


def side_of(fence: Prepared, latitude: float, longitude: float, margin_m: float) -> int:
    """On which side of a fence a fix is; the longitude in the fence's own frame."""
    shape = fence.fence.shape
    if isinstance(shape, Circle):
        inside_m = shape.radius_m - distance_m(shape.latitude, shape.longitude, latitude, longitude)
        return _by_distance(fence, inside_m, margin_m)
    x, y, factor, sine = map_point(longitude, latitude)
    if isinstance(shape, Corridor):
        edge_x, edge_y = _on_corridor(fence, x, y)
        # Measured from the point, where the factor is known.
        apart_m = _ground_m(edge_x - x, edge_y - y, 0.0, factor, sine)
        return _by_distance(fence, fence.half_m - apart_m, margin_m)
    point = _geos.points((x, y))
    if _geos.intersects_xy(fence.geometry, longitude, latitude):
        near = _geos.dwithin(fence.edge, point, min(margin_m, fence.inner_m) * factor)
        return NEAR_INSIDE if near else INSIDE
    return NEAR_OUTSIDE if _geos.dwithin(fence.edge, point, margin_m * factor) else OUTSIDE


def _ground_m(dx: float, dy: float, y_from: float, factor: float, sine: float) -> float:
    """Metres on the ground of a step on the map; see ``map_to_ground_m``."""
    return math.hypot(dx, dy) / (factor * math.exp(sine * (y_from + dy / 2) / EQUATOR_RADIUS_M))


def _by_distance(fence: Prepared, inside_m: float, margin_m: float) -> int:
    if inside_m >= 0.0:
        return INSIDE if inside_m > min(margin_m, fence.inner_m) else NEAR_INSIDE
    return OUTSIDE if -inside_m > margin_m else NEAR_OUTSIDE


def nearest_on_way(
    begin: tuple[float, float], end: tuple[float, float], place: tuple[float, float]
) -> tuple[float, float]:
    """Where on the straight way a place is nearest to it; all on the map."""
    (x, y), (end_x, end_y) = begin, end
    along_x, along_y = end_x - x, end_y - y
    squared = along_x * along_x + along_y * along_y
    if squared == 0.0:
        return begin
    share = ((place[0] - x) * along_x + (place[1] - y) * along_y) / squared
    share = min(max(share, 0.0), 1.0)
    return x + share * along_x, y + share * along_y


def _on_corridor(fence: Prepared, x: float, y: float) -> tuple[float, float]:
    """The nearest place of a corridor's line, on the map."""
    if not fence.legs:
        return tuple(
            shapely.get_coordinates(_geos.shortest_line(fence.edge, _geos.points((x, y))))[0].tolist()
        )
    best, best_m2 = (0.0, 0.0), math.inf
    for begin, end in fence.legs:
        near = nearest_on_way(begin, end, (x, y))
        apart_m2 = (near[0] - x) ** 2 + (near[1] - y) ** 2
        if apart_m2 < best_m2:
            best, best_m2 = near, apart_m2
    return best


def is_passed(fence: Prepared, way: Sequence[float]) -> bool:
    """Whether a way (longitude and latitude from, to, in the fence's own frame) meets the fence."""
    from_longitude, from_latitude, longitude, latitude = way
    if fence.geometry is not None:
        line = _geos.linestrings([(from_longitude, from_latitude), (longitude, latitude)])
        return bool(_geos.intersects(fence.geometry, line))
    x, y, factor, sine = map_point(longitude, latitude)
    from_x, from_y, _, _ = map_point(from_longitude, from_latitude)
    if fence.centre is not None:
        at_x, at_y = fence.centre
        near_x, near_y = nearest_on_way((from_x, from_y), (x, y), fence.centre)
    else:
        line = _geos.linestrings([(from_x, from_y), (x, y)])
        ends = shapely.get_coordinates(_geos.shortest_line(fence.edge, line)).tolist()
        (at_x, at_y), (near_x, near_y) = ends
    return _ground_m(near_x - at_x, near_y - at_y, at_y - y, factor, sine) <= fence.half_m
