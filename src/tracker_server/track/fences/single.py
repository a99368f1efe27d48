"""The same questions as the index asks of whole batches, for one fix and one fence: a lone fix is answered in a
tenth of the time that arrays of one element take. The tests hold both to the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from tracker_server.later import shapely
from tracker_server.track.fences.prepared import MARGIN_MAX_M, Leg, Point, Prepared
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
    if _is_beyond(fence, latitude, longitude, margin_m):
        return OUTSIDE
    shape = fence.fence.shape
    if isinstance(shape, Circle):
        inside_m = shape.radius_m - distance_m(shape.latitude, shape.longitude, latitude, longitude)
        return _by_distance(fence, inside_m, margin_m)
    x, y, factor, sine = map_point(longitude, latitude)
    if isinstance(shape, Corridor):
        on_line = _on_corridor(fence, x, y, _reach(fence.half_m + margin_m, factor))
        if on_line is None:
            return OUTSIDE
        # Measured from the point, where the factor is known.
        apart_m = _ground_m(on_line[0] - x, on_line[1] - y, 0.0, factor, sine)
        return _by_distance(fence, fence.half_m - apart_m, margin_m)
    point = _geos.points((x, y))
    if _geos.intersects_xy(fence.geometry, longitude, latitude):
        near = _geos.dwithin(fence.edge, point, min(margin_m, fence.inner_m) * factor)
        return NEAR_INSIDE if near else INSIDE
    return NEAR_OUTSIDE if _geos.dwithin(fence.edge, point, margin_m * factor) else OUTSIDE


def _is_beyond(fence: Prepared, latitude: float, longitude: float, margin_m: float) -> bool:
    """Whether a fix is outside of the fence's box grown by its margin: then it is surely outside of the fence."""
    west, south, east, north = fence.shrunk(MARGIN_MAX_M - margin_m)
    return not (south <= latitude <= north and west <= longitude <= east)


def _may_be_passed(fence: Prepared, way: Sequence[float]) -> bool:
    """Whether a way meets the fence's own box: as a rectangle, and where that is an area's, whose ways are straight in
    degrees, as a line.
    """
    from_x, from_y, x, y = way
    west, south, east, north = fence.tight
    if (
        (x < west and from_x < west)
        or (x > east and from_x > east)
        or (y < south and from_y < south)
        or (y > north and from_y > north)
    ):
        return False
    if fence.geometry is None:
        return True
    along_x, along_y = x - from_x, y - from_y
    aside = ((west + east) / 2 - x) * along_y - ((south + north) / 2 - y) * along_x
    return abs(aside) <= (east - west) / 2 * abs(along_y) + (north - south) / 2 * abs(along_x)


def _ground_m(dx: float, dy: float, y_from: float, factor: float, sine: float) -> float:
    """Metres on the ground of a step on the map; see ``map_to_ground_m``."""
    return math.hypot(dx, dy) / (factor * math.exp(sine * (y_from + dy / 2) / EQUATOR_RADIUS_M))


def _by_distance(fence: Prepared, inside_m: float, margin_m: float) -> int:
    if inside_m >= 0.0:
        return INSIDE if inside_m > min(margin_m, fence.inner_m) else NEAR_INSIDE
    return OUTSIDE if -inside_m > margin_m else NEAR_OUTSIDE


def nearest_on_way(begin: Point, end: Point, place: Point) -> Point:
    """Where on the straight way a place is nearest to it; all on the map."""
    (x, y), (end_x, end_y) = begin, end
    along_x, along_y = end_x - x, end_y - y
    squared = along_x * along_x + along_y * along_y
    if squared == 0.0:
        return begin
    share = ((place[0] - x) * along_x + (place[1] - y) * along_y) / squared
    share = min(max(share, 0.0), 1.0)
    return x + share * along_x, y + share * along_y


def _reach(metres: float, factor: float) -> float:
    """So many metres on the map at most: the factor changes on the way."""
    return metres * factor * (1.01 + 3.0 * metres / EQUATOR_RADIUS_M * factor)


def _legs_near(fence: Prepared, west: float, south: float, east: float, north: float) -> list[Leg]:
    return [
        leg
        for leg in fence.legs
        if leg.west <= east and west <= leg.east and leg.south <= north and south <= leg.north
    ]


def _on_corridor(fence: Prepared, x: float, y: float, reach: float) -> Point | None:
    """The place of a corridor's line that is nearest, on the map; None where the line surely is not within reach."""
    if not fence.legs:
        return tuple(_geos.get_coordinates(_geos.shortest_line(fence.edge, _geos.points((x, y))))[0].tolist())
    best, best_m2 = None, math.inf
    for leg in _legs_near(fence, x - reach, y - reach, x + reach, y + reach):
        near = nearest_on_way(leg.begin, leg.end, (x, y))
        apart_m2 = (near[0] - x) ** 2 + (near[1] - y) ** 2
        if apart_m2 < best_m2:
            best, best_m2 = near, apart_m2
    return best


def is_passed(fence: Prepared, way: Sequence[float]) -> bool:
    """Whether a way (longitude and latitude from, to, in the fence's own frame) meets the fence."""
    if not _may_be_passed(fence, way):
        return False
    from_longitude, from_latitude, longitude, latitude = way
    if fence.geometry is not None:
        line = _geos.linestrings([(from_longitude, from_latitude), (longitude, latitude)])
        return bool(_geos.intersects(fence.geometry, line))
    x, y, factor, sine = map_point(longitude, latitude)
    from_x, from_y, from_factor, _ = map_point(from_longitude, from_latitude)
    if fence.centre is not None:
        at = fence.centre
        near = nearest_on_way((from_x, from_y), (x, y), at)
    else:
        reach = _reach(fence.half_m, max(factor, from_factor))
        ends = _nearest_ends(fence, (from_x, from_y), (x, y), reach)
        if ends is None:
            return False
        at, near = ends
    return _ground_m(near[0] - at[0], near[1] - at[1], at[1] - y, factor, sine) <= fence.half_m


def _nearest_ends(fence: Prepared, begin: Point, end: Point, reach: float) -> tuple[Point, Point] | None:
    """Where a corridor's line is nearest to a way, and where on the way that is, both on the map; None where they surely are
    not within reach.
    """
    if not fence.legs:
        line = _geos.shortest_line(fence.edge, _geos.linestrings([begin, end]))
        at, near = _geos.get_coordinates(line).tolist()
        return at, near
    (x, y), (to_x, to_y) = begin, end
    around = min(x, to_x) - reach, min(y, to_y) - reach, max(x, to_x) + reach, max(y, to_y) + reach
    best, best_m2 = None, math.inf
    for leg in _legs_near(fence, *around):
        if (met := _where_met(begin, end, leg)) is not None:
            return met, met
        for at, near in (
            (leg.begin, nearest_on_way(begin, end, leg.begin)),
            (leg.end, nearest_on_way(begin, end, leg.end)),
            (nearest_on_way(leg.begin, leg.end, begin), begin),
            (nearest_on_way(leg.begin, leg.end, end), end),
        ):
            apart_m2 = (near[0] - at[0]) ** 2 + (near[1] - at[1]) ** 2
            if apart_m2 < best_m2:
                best, best_m2 = (at, near), apart_m2
    return best


def _where_met(begin: Point, end: Point, leg: Leg) -> Point | None:
    """Where a straight way on the map crosses a leg; None where it does not, or is parallel."""
    along_x, along_y = end[0] - begin[0], end[1] - begin[1]
    across_x, across_y = leg.end[0] - leg.begin[0], leg.end[1] - leg.begin[1]
    turn = along_x * across_y - along_y * across_x
    if turn == 0.0:
        return None
    to_x, to_y = leg.begin[0] - begin[0], leg.begin[1] - begin[1]
    share = (to_x * across_y - to_y * across_x) / turn
    leg_share = (to_x * along_y - to_y * along_x) / turn
    if not (0.0 <= share <= 1.0 and 0.0 <= leg_share <= 1.0):
        return None
    return begin[0] + share * along_x, begin[1] + share * along_y
