"""A named shape on its way between a file and the account that will own it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec import Struct

from tracker_server.later import shapely
from tracker_server.track.fences.errors import FenceError, NoMetresError
from tracker_server.track.fences.shapes import (
    Area,
    Corridor,
    Line,
    Position,
    Shape,
    area,
    area_of,
    circle,
    corridor,
    geometry_of,
)

NAME_CHARACTERS_MAX: Final = 128  # as devices and accounts: it has to fit a message and a table
DESCRIPTION_CHARACTERS_MAX: Final = 4_000
FEATURES_MAX: Final = 100_000  # of one file; an account's index is built from all of them at once


class Drawn(Struct, frozen=True):
    """One feature of a file. ``properties`` are what the file said beside name and shape."""

    name: str
    shape: Shape
    properties: dict[str, Any] = {}


class Metres(Struct, frozen=True):
    """Of the lines and points of a file that tells none: corridors' full width, circles' radius."""

    width_m: float | None = None
    radius_m: float | None = None


NO_METRES: Final = Metres()


def feature_name(number: int, name: object) -> str:
    """How errors call the feature: by its place in the file, and by its name where it has one."""
    return f'feature {number} "{name}"' if isinstance(name, str) and name else f"feature {number}"


def checked_name(name: object) -> str:
    """The name, or FenceError."""
    if not isinstance(name, str) or not name.strip():
        raise FenceError("name", "is missing; every fence needs a name, events are told by it")
    if len(name.strip()) > NAME_CHARACTERS_MAX:
        raise FenceError("name", f"is longer than {NAME_CHARACTERS_MAX} characters; shorten it")
    return name.strip()


def shape_of(kind: str, coordinates: Sequence[Any], radius_m: float | None, width_m: float | None) -> Shape:
    """A shape of checked coordinate lists, kinds named as in GeoJSON. Raises FenceError."""
    match kind:
        case "Point":
            if radius_m is None:
                raise NoMetresError(
                    "radius_m", "is missing; a Point is a circle and needs its radius in metres"
                )
            longitude, latitude = coordinates
            return circle(latitude, longitude, radius_m)
        case "LineString" | "MultiLineString":
            if width_m is None:
                raise NoMetresError(
                    "width_m", f"is missing; a {kind} is a corridor and needs its full width in metres"
                )
            return corridor([coordinates] if kind == "LineString" else coordinates, width_m)
        case "Polygon":
            return area([coordinates])
        case "MultiPolygon":
            return area(coordinates)
        case _:
            raise FenceError(
                "geometry",
                f"{kind} is no shape of a fence; use Polygon, MultiPolygon, Point with radius_m, "
                "LineString or MultiLineString with width_m",
            )


def polygons_within_world(shape: Area) -> list[list[Line]]:
    """Rings for a file: cut at the antimeridian (RFC 7946 §3.1.9), longitudes within −180…180."""
    geometry = geometry_of(shape)
    west, _, east, _ = shapely.bounds(geometry)
    if west >= -180.0 and east <= 180.0:
        return [[ring.outer, *ring.holes] for ring in shape.polygons]
    cut: list[list[Line]] = []
    for turn in (-360.0, 0.0, 360.0, 720.0):
        world = shapely.box(turn - 180.0, -90.0, turn + 180.0, 90.0)
        rings = area_of(shapely.intersection(geometry, world)).polygons
        cut += [[_moved(line, -turn) for line in (ring.outer, *ring.holes)] for ring in rings]
    return cut


def lines_within_world(shape: Corridor) -> list[Line]:
    """Lines for a file: cut at the antimeridian, longitudes within −180…180."""
    if all(abs(x) <= 180.0 for line in shape.lines for x, _ in line):
        return list(shape.lines)
    whole = shapely.multilinestrings([shapely.linestrings(line) for line in shape.lines])
    cut: list[Line] = []
    for turn in (-360.0, 0.0, 360.0, 720.0):
        part = shapely.intersection(whole, shapely.box(turn - 180.0, -90.0, turn + 180.0, 90.0))
        cut += [
            _moved([(float(x), float(y)) for x, y in line.coords], -turn)
            for line in shapely.get_parts(shapely.line_merge(part))
            if isinstance(line, shapely.LineString) and not line.is_empty
        ]
    return cut


def _moved(line: Sequence[Position], shift: float) -> Line:
    return tuple((x + shift, y) for x, y in line)
