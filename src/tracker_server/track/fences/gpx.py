"""Geofences from GPX 1.0 and 1.1: a track (``trk``) or route (``rte``) is a corridor, a waypoint (``wpt``) a circle. The file has
no word for metres: how wide and how far is asked of whoever brings it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from xml.etree.ElementTree import Element

from tracker_server.track.fences.drawn import (
    DESCRIPTION_CHARACTERS_MAX,
    FEATURES_MAX,
    NO_METRES,
    Drawn,
    Metres,
    checked_name,
    feature_name,
    shape_of,
)
from tracker_server.track.fences.errors import FenceError
from tracker_server.track.fences.markup import root_of, tag_of
from tracker_server.track.fences.shapes import Position, Shape

_CALLED: Final = {"trk": "Track", "rte": "Route", "wpt": "Waypoint"}


def read_gpx(text: str | bytes, metres: Metres = NO_METRES) -> list[Drawn]:
    """All tracks, routes and waypoints; one without a name is called by its kind and number. Raises FenceError, naming
    which and where.
    """
    root = root_of(text, "GPX")
    found = [(kind, element) for element in root if (kind := tag_of(element)) in _CALLED]
    if not found:
        raise FenceError("", "this file has no track (trk), route (rte) or waypoint (wpt)")
    if len(found) > FEATURES_MAX:
        raise FenceError(
            "", f"{len(found)} tracks, routes and waypoints are more than {FEATURES_MAX}; split the file"
        )
    numbers = dict.fromkeys(_CALLED, 0)
    drawn: list[Drawn] = []
    for kind, element in found:
        numbers[kind] += 1
        name = (element.findtext("{*}name") or "").strip() or f"{_CALLED[kind]} {numbers[kind]}"
        try:
            drawn.append(Drawn(checked_name(name), _shape(kind, element, metres), _properties(element)))
        except FenceError as error:
            raise error.within(feature_name(len(drawn) + 1, name)) from None
    return drawn


def _shape(kind: str, element: Element, metres: Metres) -> Shape:
    if kind == "wpt":
        return shape_of("Point", _position(element, "waypoint"), metres.radius_m, None)
    parts = element.findall("{*}trkseg") if kind == "trk" else [element]
    lines = [_line(part.iterfind("{*}trkpt" if kind == "trk" else "{*}rtept")) for part in parts]
    ways = [
        line for line in lines if len(line) > 1
    ]  # a receiver that was switched on and off leaves a segment of one
    if not ways:
        raise FenceError(kind, "has no two different places; a corridor needs them, remove it from the file")
    if len(ways) == 1:
        return shape_of("LineString", ways[0], None, metres.width_m)
    return shape_of("MultiLineString", ways, None, metres.width_m)


def _line(points: Iterable[Element]) -> list[Position]:
    """The way, with a place where it stood once."""
    line: list[Position] = []
    for number, point in enumerate(points, 1):
        place = _position(point, f"point {number}")
        if not line or place != line[-1]:
            line.append(place)
    return line


def _position(element: Element, where: str) -> Position:
    told = element.get("lat"), element.get("lon")
    try:
        latitude, longitude = (float(each or "") for each in told)
    except ValueError:
        raise FenceError(where, f'lat="{told[0]}" lon="{told[1]}" are no two numbers') from None
    return longitude, latitude


def _properties(element: Element) -> dict[str, Any]:
    description = (element.findtext("{*}desc") or element.findtext("{*}cmt") or "").strip()
    description = description[:DESCRIPTION_CHARACTERS_MAX]
    return {"description": description} if description else {}
