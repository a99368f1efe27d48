"""The shapes of geofences as frozen values, and how coordinates from outside become them.

Edges are straight in longitude and latitude (RFC 7946 §3.1.1). A step of more than 180° between two
vertices is the short way round, so 179.99 followed by −179.99 crosses the antimeridian; longitudes may
also run on past 180; and a shape cut at 180° (§3.1.9) is joined again, so that the cut is no edge.
Positions are (longitude, latitude) in degrees, in one frame that is continuous over the shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from tracker_server.later import np, shapely
from tracker_server.model.schedule import Schedule
from tracker_server.track.fences.errors import FenceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Position = tuple[float, float]
Line = tuple[Position, ...]

VERTICES_MAX: Final = 1_000_000  # of one fence: 16 MB; more is a mistaken file. Refused whole, never thinned
RADIUS_MAX_M: Final = 5_000_000.0  # an eighth of the way round the earth: beyond it inside and outside blur
WIDTH_MAX_M: Final = 20_000.0  # nearness to a line is looked up on a map: 2 m off at 10 km and 70° north
LONGITUDE_ABS_MAX: Final = 540.0  # one turn past the antimeridian: more is another unit, not a longitude


class Circle(Struct, frozen=True, tag="circle"):
    """All places within ``radius_m`` metres of the centre."""

    latitude: float
    longitude: float
    radius_m: float


class Corridor(Struct, frozen=True, tag="corridor"):
    """All places within half of ``width_m`` metres of one of the lines; round at the ends."""

    lines: tuple[Line, ...]
    width_m: float


class Ring(Struct, frozen=True):
    """One polygon: its outer ring and its holes, each closed (the last position is the first)."""

    outer: Line
    holes: tuple[Line, ...] = ()


class Area(Struct, frozen=True, tag="area"):
    """One or several polygons."""

    polygons: tuple[Ring, ...]


Shape = Circle | Corridor | Area


class Fence(Struct, frozen=True, kw_only=True):
    """A geofence. It counts for fixes from ``since_us`` until before ``until_us`` (None: for ever) that were received
    from ``drawn_us`` on (None: whenever), so that history does not change when a fence is drawn or removed.
    ``dwell_s``: seconds inside that make an event. ``schedule``: when its events are told; None: always.
    """

    id: int
    name: str
    shape: Shape
    speed_limit_mps: float | None = None
    dwell_s: float | None = None
    since_us: int | None = None
    until_us: int | None = None
    drawn_us: int | None = None
    schedule: Schedule | None = None


def circle(latitude: float, longitude: float, radius_m: float) -> Circle:
    """A circle, or FenceError. ``longitude`` may be written past 180."""
    longitude, latitude = position(longitude, latitude, "centre")
    if not (math.isfinite(radius_m) and 0 < radius_m <= RADIUS_MAX_M):
        raise FenceError(
            "radius", f"{radius_m} is no radius; write metres above 0 and up to {RADIUS_MAX_M:.0f}"
        )
    if abs(longitude) > 180.0:
        longitude = (longitude + 180.0) % 360.0 - 180.0
    return Circle(latitude, longitude, float(radius_m))


def corridor(lines: Sequence[Sequence[Position]], width_m: float) -> Corridor:
    """A corridor, or FenceError. ``width_m`` is its full width."""
    if not (math.isfinite(width_m) and 0 < width_m <= WIDTH_MAX_M):
        raise FenceError(
            "width",
            f"{width_m} is no width; write the full width in metres, above 0 and up to {WIDTH_MAX_M:.0f}",
        )
    if not lines:
        raise FenceError("line", "has no positions; write two or more")
    _limit(sum(len(line) for line in lines))
    whole: list[Line] = []
    for number, line in enumerate(lines):
        where = f"line {number + 1}"
        if len(line) < 2:
            raise FenceError(where, f"has {len(line)} positions; a line has two or more")
        whole.append(unwrapped(_positions(line, where)))
    return Corridor(tuple(_joined(whole)), float(width_m))


def area(polygons: Sequence[Sequence[Sequence[Position]]]) -> Area:
    """Polygons, each a list of rings of which the first is the outer one, or FenceError. Parts that were cut
    at the antimeridian are joined again.
    """
    if not polygons:
        raise FenceError("polygon", "has no rings; write an outer ring of four or more positions")
    _limit(sum(len(ring) for rings in polygons for ring in rings))
    made: list[shapely.Polygon] = []
    for number, rings in enumerate(polygons):
        prefix = f"polygon {number + 1}, " if len(polygons) > 1 else ""
        made.append(_polygon(rings, prefix))
    west, east = _touches_west(made), _touches_east(made)
    if west and east:
        shifted = [shapely.transform(part, _one_turn_east) if part in west else part for part in made]
        return area_of(shapely.union_all(shifted))
    if len(made) > 1:
        # Parts may overlap or touch: their union has no inner edges.
        return area_of(shapely.union_all(made))
    return area_of(made[0])


def area_of(geometry: shapely.Geometry) -> Area:
    """The polygons of a geometry that is known to be valid."""
    parts = [
        part
        for part in shapely.get_parts(geometry)
        if isinstance(part, shapely.Polygon) and not part.is_empty
    ]
    return Area(
        tuple(Ring(_line(part.exterior), tuple(_line(hole) for hole in part.interiors)) for part in parts)
    )


def geometry_of(shape: Area) -> shapely.Geometry:
    """The polygons as a geometry in degrees."""
    parts = [shapely.Polygon(ring.outer, ring.holes) for ring in shape.polygons]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def position(longitude: float, latitude: float, where: str) -> Position:
    """A checked position, or FenceError."""
    if not math.isfinite(latitude) or abs(latitude) > 90:
        swapped = (
            "; are longitude and latitude swapped?" if abs(latitude) <= 180 and abs(longitude) <= 90 else ""
        )
        raise FenceError(where, f"latitude {latitude} is not between -90 and 90{swapped}")
    if not math.isfinite(longitude) or abs(longitude) > LONGITUDE_ABS_MAX:
        raise FenceError(where, f"longitude {longitude} is not between -180 and 180, nor one turn past them")
    return (float(longitude), float(latitude))


def unwrapped(line: Sequence[Position]) -> Line:
    """The same positions with longitudes that go on past ±180 where a step takes the short way round."""
    out = [line[0]]
    turn = 0.0
    for (before, _), (longitude, latitude) in pairwise(line):
        step = longitude - before
        if abs(step) > 180.0:
            turn -= math.copysign(360.0 * round(abs(step) / 360.0), step)
        out.append((longitude + turn, latitude))
    return tuple(out)


def _one_turn_east(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    return positions + np.array([360.0, 0.0])


def _limit(vertices: int) -> None:
    if vertices > VERTICES_MAX:
        raise FenceError(
            "shape", f"has {vertices} vertices, more than {VERTICES_MAX}; split it into several fences"
        )


def _positions(line: Sequence[Position], where: str) -> list[Position]:
    return [
        position(longitude, latitude, f"{where}, vertex {number + 1}")
        for number, (longitude, latitude) in enumerate(line)
    ]


def _line(ring: shapely.LineString) -> Line:
    return tuple((float(x), float(y)) for x, y in shapely.get_coordinates(ring).tolist())


def _ring(ring: Sequence[Position], where: str) -> Line:
    if len(ring) < 4:
        raise FenceError(where, f"has {len(ring)} positions; a closed ring has four or more")
    checked = _positions(ring, where)
    if checked[0][1] != checked[-1][1] or (checked[0][0] - checked[-1][0]) % 360.0 != 0.0:
        raise FenceError(
            f"{where}, vertex {len(ring)}", "the ring is not closed; repeat its first position as its last"
        )
    flat = unwrapped(checked)
    if flat[0][0] != flat[-1][0]:
        raise FenceError(
            where, "goes round a pole; cut it at longitude 180 and lead it along latitude 90 or -90"
        )
    # Round the whole world from -180 to 180 in one step is meant as it stands: there is no shorter way.
    world = max(p[0] for p in checked) - min(p[0] for p in checked) == 360.0
    if world and shapely.Polygon(flat).area == 0.0:
        return tuple(checked)
    return flat


def _polygon(rings: Sequence[Sequence[Position]], prefix: str) -> shapely.Polygon:
    if not rings:
        raise FenceError(f"{prefix}outer ring", "is missing; write four or more positions")
    outer = _ring(rings[0], f"{prefix}outer ring")
    west = min(x for x, _ in outer)
    holes: list[Line] = []
    for number, hole in enumerate(rings[1:]):
        flat = _ring(hole, f"{prefix}hole {number + 1}")
        # The hole may be written one turn away from its polygon.
        turn = 360.0 * math.floor((min(x for x, _ in flat) - west) / 360.0)
        holes.append(tuple((x - turn, y) for x, y in flat))
    made = shapely.Polygon(outer, holes)
    if not shapely.is_valid(made):
        raise _invalid(made, rings, prefix)
    return made


def _invalid(made: shapely.Polygon, rings: Sequence[Sequence[Position]], prefix: str) -> FenceError:
    """The error of a polygon that crosses itself, naming the vertex nearest to the trouble."""
    reason = str(shapely.is_valid_reason(made))
    text, _, place = reason.partition("[")
    try:
        x, y = (float(part) for part in place.rstrip("]").split()[:2])
    except ValueError:
        return FenceError(
            f"{prefix}outer ring", f"{reason}; draw rings that do not cross or touch themselves"
        )
    names = ["outer ring", *(f"hole {number}" for number in range(1, len(rings)))]
    flats = [made.exterior.coords, *(hole.coords for hole in made.interiors)]
    _, name, vertex = min(
        (math.hypot(px - x, py - y), name, number)
        for name, flat in zip(names, flats, strict=False)
        for number, (px, py) in enumerate(flat, 1)
    )
    return FenceError(
        f"{prefix}{name}, vertex {vertex}",
        f"{text.lower()} near {x:.6f} {y:.6f}; draw rings that do not cross or touch themselves",
    )


def _touches_west(parts: Sequence[shapely.Polygon]) -> list[shapely.Polygon]:
    return [part for part in parts if part.bounds[0] == -180.0 and part.bounds[2] < 180.0]


def _touches_east(parts: Sequence[shapely.Polygon]) -> list[shapely.Polygon]:
    return [part for part in parts if part.bounds[2] == 180.0 and part.bounds[0] > -180.0]


def _joined(lines: Sequence[Line]) -> list[Line]:
    """Lines that end at −180 moved one turn east where others end at 180, so that they meet."""
    lowest = [min(x for x, _ in line) for line in lines]
    highest = [max(x for x, _ in line) for line in lines]
    if 180.0 not in highest or -180.0 not in lowest:
        return list(lines)
    return [
        tuple((x + 360.0, y) for x, y in line) if low == -180.0 and high < 180.0 else line
        for line, low, high in zip(lines, lowest, highest, strict=True)
    ]
