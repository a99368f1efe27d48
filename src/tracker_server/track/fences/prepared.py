"""One geofence made ready to be asked: what the index holds of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from tracker_server.later import np, shapely
from tracker_server.track.fences.shapes import Area, Circle, Corridor, Fence, Line, Shape, geometry_of
from tracker_server.track.geodesy import EQUATOR_RADIUS_M, Floats, geod, mercator, mercator_factor

MARGIN_MAX_M: Final = 100.0  # the most that hysteresis may ask for: how far beyond a fence its box reaches
MAP_TOLERANCE_M: Final = 0.05  # how far an edge on the map may lie from the straight one in degrees
METRES_PER_DEGREE_MIN: Final = 110_500.0  # of latitude, at the equator; more elsewhere: boxes come out larger
METRES_PER_DEGREE_MAX: Final = 111_700.0  # of latitude at the poles, of longitude at the equator

CIRCLE, AREA, CORRIDOR = 0, 1, 2

Box = tuple[float, float, float, float]
"""West, south, east, north in degrees, in the shape's own frame of longitudes."""


LEGS_MAX: Final = 16  # up to so many are looked at one by one, which beats asking a library
Point = tuple[float, float]


class Leg(NamedTuple):
    """A straight piece of a line on the map, and the rectangle around it."""

    begin: Point
    end: Point
    west: float
    south: float
    east: float
    north: float


class Prepared:
    """A fence with its geometry in degrees and its edge on the map, both with their own spatial index.

    ``centre``: of a circle, on the map. ``legs``: of a corridor's line, on the map, where they are few. ``half_m``: radius of
    a circle, half the width of a corridor. ``box``: grown by the largest margin, in the fence's own frame; ``tight``: with no
    margin at all. ``inner_m``: the most that a fix has to be inside to be surely inside. It is half of
    the fence's own depth, so that a fence smaller than the hysteresis can be entered at all.
    """

    __slots__ = (
        "_lean",
        "box",
        "boxes",
        "centre",
        "edge",
        "fence",
        "geometry",
        "half_m",
        "inner_m",
        "kind",
        "legs",
        "tight",
    )  # fmt: skip

    def __init__(self, fence: Fence) -> None:
        self.fence = fence
        shape = fence.shape
        self.geometry: shapely.Geometry | None = None
        self.edge: shapely.Geometry | None = None
        self.centre: tuple[float, float] | None = None
        self.half_m = 0.0
        self.legs: Sequence[Leg] = ()
        match shape:
            case Circle():
                self.kind = CIRCLE
                self.half_m, self.inner_m = shape.radius_m, shape.radius_m / 2
                x, y = mercator(np.array([shape.longitude]), np.array([shape.latitude]))
                self.centre = float(x[0]), float(y[0])
            case Area():
                self.kind = AREA
                self.geometry = geometry_of(shape)
                self.edge = shapely.multilinestrings([_on_map(line) for line in _rings(shape)])
                self.inner_m = _depth_m(shape, self.geometry) / 2
            case Corridor():
                self.kind = CORRIDOR
                self.edge = shapely.multilinestrings([_on_map(line) for line in shape.lines])
                if shapely.get_num_coordinates(self.edge) <= LEGS_MAX:
                    lines = [shapely.get_coordinates(line).tolist() for line in shapely.get_parts(self.edge)]
                    self.legs = [_leg(*ends) for line in lines for ends in pairwise(line)]
                self.half_m, self.inner_m = shape.width_m / 2, shape.width_m / 4
        for geometry in (self.geometry, self.edge):
            if geometry is not None:
                shapely.prepare(geometry)
        self.box = _own_box(shape)
        self._lean = _lean(self.box)
        self.tight = self.shrunk(MARGIN_MAX_M)
        self.boxes = boxes_of(self.box)

    def shrunk(self, metres: float) -> Box:
        """The box, with so much of its margin taken off for certain."""
        west, south, east, north = self.box
        rise, widening = self._lean
        rise, widening = metres * rise, metres * widening
        return west + widening, south + rise, east - widening, north - rise


def _leg(begin: Sequence[float], end: Sequence[float]) -> Leg:
    (x, y), (to_x, to_y) = begin, end
    return Leg((x, y), (to_x, to_y), min(x, to_x), min(y, to_y), max(x, to_x), max(y, to_y))


def _rings(shape: Area) -> list[Line]:
    return [line for ring in shape.polygons for line in (ring.outer, *ring.holes)]


def _on_map(line: Line) -> shapely.LineString:
    return shapely.LineString(np.column_stack(mercator(*densified(line))))


def densified(line: Sequence[tuple[float, float]]) -> tuple[Floats, Floats]:
    """Longitudes and latitudes with vertices added until edges on the map are straight in degrees too, to
    within ``MAP_TOLERANCE_M``. An edge bends on the map by its rise squared times the tangent of its latitude.
    """
    points = np.asarray(line, dtype=np.float64)
    longitude, latitude = points[:, 0], points[:, 1]
    rise = np.radians(np.abs(np.diff(latitude)))
    rise[np.diff(longitude) == 0.0] = 0.0  # a meridian is straight on the map
    highest = np.radians(np.minimum(np.maximum(np.abs(latitude[:-1]), np.abs(latitude[1:])), 89.0))
    bend_m = rise**2 / 8 * np.tan(highest) * EQUATOR_RADIUS_M
    pieces = np.maximum(1, np.ceil(np.sqrt(bend_m / MAP_TOLERANCE_M))).astype(np.int64)
    if pieces.sum() == len(pieces):
        return longitude, latitude
    edge = np.repeat(np.arange(len(pieces)), pieces)
    part = (np.arange(len(edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces)) / np.repeat(pieces, pieces)
    out = [np.append(axis[edge] + part * np.diff(axis)[edge], axis[-1]) for axis in (longitude, latitude)]
    return out[0], out[1]


def _depth_m(shape: Area, geometry: shapely.Geometry) -> float:
    """How far the deepest place inside lies from the edge; where that is more than twice the largest
    margin, only a lower bound (area by length of edge), which is cheap.
    """
    area_m2 = length_m = 0.0
    for ring in shape.polygons:
        for number, line in enumerate((ring.outer, *ring.holes)):
            x, y = zip(*line, strict=True)
            size, length = geod().polygon_area_perimeter(x, y)
            area_m2 += abs(size) if number == 0 else -abs(size)
            length_m += length
    bound_m = max(area_m2, 0.0) / length_m if length_m else 0.0
    if bound_m >= 2 * MARGIN_MAX_M:
        return bound_m
    deepest = 0.0
    for part in shapely.get_parts(geometry):
        longitude, latitude = shapely.get_coordinates(part).T
        x, y = mercator(longitude, latitude)
        flat = shapely.set_coordinates(part, np.column_stack([x, y]))
        west, south, east, north = flat.bounds
        # GEOS looks for the circle to within the tolerance; a twentieth of the narrow side is enough for half of it
        narrow = min(east - west, north - south)
        found = shapely.maximum_inscribed_circle(flat, tolerance=max(narrow / 20, 1e-3))
        factor = float(mercator_factor(latitude.mean(keepdims=True))[0])
        deepest = max(deepest, float(shapely.length(found)) / factor)
    return max(deepest, bound_m)


def boxes_of(own: Box) -> list[tuple[Box, float]]:
    """The boxes in which a fix may concern a fence with this one, each within −180…180 and with the turn in degrees that
    leads from there to the fence's own frame.
    """
    west, south, east, north = own
    south, north = max(south, -90.0), min(north, 90.0)
    if east - west >= 360.0:
        # More than once round: every longitude, in each turn in which the shape has something.
        first, last = math.floor((west + 180.0) / 360.0), math.ceil((east - 180.0) / 360.0)
        return [((-180.0, south, 180.0, north), 360.0 * turn) for turn in range(first, last + 1)]
    boxes: list[tuple[Box, float]] = []
    for turn in range(math.floor((west + 180.0) / 360.0), math.floor((east + 180.0) / 360.0) + 1):
        shift = 360.0 * turn
        part = (max(west - shift, -180.0), south, min(east - shift, 180.0), north)
        boxes.append((part, shift))
    return boxes


def _own_box(shape: Shape) -> Box:
    match shape:
        case Circle(latitude=latitude, longitude=longitude, radius_m=radius_m):
            return _grown((longitude, latitude, longitude, latitude), radius_m + MARGIN_MAX_M)
        case Corridor(lines=lines, width_m=width_m):
            return _grown(_bounds(list(lines)), width_m / 2 + MARGIN_MAX_M)
        case Area():
            return _grown(_bounds([ring.outer for ring in shape.polygons]), MARGIN_MAX_M)


def _bounds(lines: list[Line]) -> Box:
    longitude = [x for line in lines for x, _ in line]
    latitude = [y for line in lines for _, y in line]
    return min(longitude), min(latitude), max(longitude), max(latitude)


def _lean(box: Box) -> tuple[float, float]:
    """Degrees of latitude and of longitude in a metre, nowhere in the box more than there really are."""
    west, south, east, north = box
    rise = 1.0 / METRES_PER_DEGREE_MAX
    if east - west >= 360.0:
        return rise, 0.0  # it reaches round a pole whatever its margin
    lowest = 0.0 if south <= 0.0 <= north else min(abs(south), abs(north))
    return rise, rise / math.cos(math.radians(lowest))


def _grown(box: Box, metres: float) -> Box:
    """A box that holds every place within ``metres`` of the given one."""
    west, south, east, north = box
    rise = metres / METRES_PER_DEGREE_MIN
    south, north = south - rise, north + rise
    if south <= -90.0 or north >= 90.0:
        return min(west, -180.0), south, max(east, 180.0), north
    # A circle of angular radius r at latitude p reaches asin(sin r / cos p) to the east.
    highest = math.radians(max(abs(box[1]), abs(box[3])))
    reach = min(1.0, math.sin(math.radians(min(rise, 89.0))) / math.cos(highest))
    widened = math.degrees(math.asin(reach)) * 1.01  # the sphere's figure, on the ellipsoid
    return west - widened, south, east + widened, north
