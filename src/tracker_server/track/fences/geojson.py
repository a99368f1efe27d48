"""Geofences as GeoJSON (RFC 7946): longitude first; a circle is a Point with ``radius_m``, a corridor a
LineString or MultiLineString with ``width_m``, both in the feature's properties.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from tracker_server.model.reading import UnreadableError, read_json
from tracker_server.track.fences.drawn import (
    FEATURES_MAX,
    NO_METRES,
    Drawn,
    Metres,
    checked_name,
    feature_name,
    lines_within_world,
    polygons_within_world,
    shape_of,
)
from tracker_server.track.fences.errors import FenceError
from tracker_server.track.fences.shapes import Area, Circle, Corridor, Position, Shape

_METRES: Final = ("radius_m", "width_m")
_DEPTHS: Final = {"Point": 0, "LineString": 1, "MultiLineString": 2, "Polygon": 2, "MultiPolygon": 3}
_LEVELS: Final = {
    "Point": (),
    "LineString": ("vertex",),
    "MultiLineString": ("line", "vertex"),
    "Polygon": ("ring", "vertex"),
    "MultiPolygon": ("polygon", "ring", "vertex"),
}


def document_of(text: str | bytes) -> Any:
    """What a file says as JSON. Raises FenceError."""
    try:
        return read_json(text)
    except UnreadableError as error:
        raise FenceError("", f"this is no JSON: {error}") from None


def read_geojson(text: str | bytes, given: Metres = NO_METRES) -> list[Drawn]:
    """All features of a FeatureCollection, or the one of a Feature; ``given`` is for those that tell no metres. Raises FenceError, naming feature and
    vertex, if any of them cannot be used.
    """
    document = document_of(text)
    kind = document.get("type") if isinstance(document, dict) else None
    if kind == "FeatureCollection":
        features = document.get("features")
        if not isinstance(features, list):
            raise FenceError("features", "is missing; a FeatureCollection has a list of features")
    elif kind == "Feature":
        features = [document]
    else:
        raise FenceError(
            "type", f"{kind!r} is neither FeatureCollection nor Feature; wrap the geometry in a Feature"
        )
    if len(features) > FEATURES_MAX:
        raise FenceError("features", f"{len(features)} are more than {FEATURES_MAX}; split the file")
    return [_feature(number, feature, given) for number, feature in enumerate(features, 1)]


def _feature(number: int, feature: Any, given: Metres) -> Drawn:
    properties = feature.get("properties") if isinstance(feature, dict) else None
    properties = properties if isinstance(properties, dict) else {}
    try:
        return _drawn(feature, properties, given)
    except FenceError as error:
        raise error.within(feature_name(number, properties.get("name"))) from None


def _drawn(feature: Any, properties: dict[str, Any], given: Metres) -> Drawn:
    if not isinstance(feature, dict) or feature.get("type") != "Feature":
        raise FenceError("", "is no Feature; each entry needs type, geometry and properties")
    name = checked_name(properties.get("name"))
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict):
        raise FenceError("geometry", "is missing; a fence without a place is none")
    return Drawn(name, read_geometry(geometry, properties, given), properties)


def read_geometry(geometry: dict[str, Any], properties: dict[str, Any], given: Metres = NO_METRES) -> Shape:
    """The shape of one geometry object. Raises FenceError."""
    kind = geometry.get("type")
    if kind not in _DEPTHS:
        return shape_of(str(kind), (), None, None)
    metres = {key: _number(properties[key], key) for key in _METRES if properties.get(key) is not None}
    coordinates = _nested(geometry.get("coordinates"), _LEVELS[kind], "")
    return shape_of(
        kind, coordinates, metres.get("radius_m", given.radius_m), metres.get("width_m", given.width_m)
    )


def _nested(value: Any, levels: tuple[str, ...], where: str) -> Any:
    """Positions within lists as deep as ``levels`` names them."""
    if not levels:
        return _position(value, where or "coordinates")
    if not isinstance(value, list):
        raise FenceError(where or "coordinates", f"is {value!r:.40}, not a list; see RFC 7946 §3.1")
    comma = ", " if where else ""
    return [_nested(item, levels[1:], f"{where}{comma}{levels[0]} {n}") for n, item in enumerate(value, 1)]


def _position(value: Any, where: str) -> Position:
    if not isinstance(value, list) or len(value) < 2:
        raise FenceError(where, f"is {value!r:.40}, not a position; write [longitude, latitude]")
    return _number(value[0], f"{where}, longitude"), _number(value[1], f"{where}, latitude")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FenceError(where, f"{value!r:.40} is not a number")
    return float(value)


def write_geojson(drawn: Iterable[Drawn]) -> str:
    """A FeatureCollection that ``read_geojson`` reads back to the same shapes."""
    features = [
        {
            "type": "Feature",
            "properties": {**one.properties, "name": one.name, **metres},
            "geometry": geometry,
        }
        for one in drawn
        for geometry, metres in (_written(one.shape),)
    ]
    return msgspec.json.encode({"type": "FeatureCollection", "features": features}).decode()


def _written(shape: Shape) -> tuple[dict[str, Any], dict[str, float]]:
    match shape:
        case Circle():
            point = {"type": "Point", "coordinates": (shape.longitude, shape.latitude)}
            return point, {"radius_m": shape.radius_m}
        case Corridor():
            lines = lines_within_world(shape)
            return _one_or_many("LineString", lines), {"width_m": shape.width_m}
        case Area():
            return _one_or_many("Polygon", polygons_within_world(shape)), {}


def _one_or_many(kind: str, parts: list[Any]) -> dict[str, Any]:
    if len(parts) == 1:
        return {"type": kind, "coordinates": parts[0]}
    return {"type": f"Multi{kind}", "coordinates": parts}
