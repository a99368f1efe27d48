"""Geofences as KML 2.2: one Placemark a fence, longitude first. Metres, which KML has no word for, are in
ExtendedData as ``radius_m`` and ``width_m``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final
from xml.etree.ElementTree import Element, SubElement, register_namespace, tostring

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
from tracker_server.track.fences.markup import root_of, tag_of
from tracker_server.track.fences.shapes import Area, Circle, Corridor, Line, Position, Shape

_NAMESPACE: Final = "http://www.opengis.net/kml/2.2"
_METRES: Final = ("radius_m", "width_m")


def read_kml(text: str | bytes, given: Metres = NO_METRES) -> list[Drawn]:
    """All placemarks; ``given`` is for those that tell no metres. Raises FenceError, naming placemark and
    vertex.
    """
    root = root_of(text, "KML")
    placemarks = [element for element in root.iter() if tag_of(element) == "Placemark"]
    if not placemarks:
        raise FenceError("", "this file has no Placemark; export polygons, lines or points")
    if len(placemarks) > FEATURES_MAX:
        raise FenceError("", f"{len(placemarks)} placemarks are more than {FEATURES_MAX}; split the file")
    return [_placemark(number, element, given) for number, element in enumerate(placemarks, 1)]


def _children(element: Element, tag: str) -> Iterator[Element]:
    return (child for child in element if tag_of(child) == tag)


def _text(element: Element, tag: str) -> str | None:
    child = next(_children(element, tag), None)
    return None if child is None else "".join(child.itertext()).strip()


def _placemark(number: int, element: Element, given: Metres) -> Drawn:
    name = _text(element, "name")
    try:
        properties = _properties(element)
        shape = _shape(element, properties, given)
        return Drawn(checked_name(name), shape, {k: v for k, v in properties.items() if k not in _METRES})
    except FenceError as error:
        raise error.within(feature_name(number, name)) from None


def _shape(element: Element, properties: dict[str, Any], given: Metres) -> Shape:
    found = list(_geometries(element))
    if not found:
        raise FenceError("geometry", "is missing; a fence is a Polygon, a LineString or a Point")
    kinds = {kind for kind, _ in found}
    if len(kinds) > 1:
        raise FenceError("geometry", f"mixes {' and '.join(sorted(kinds))}; make one placemark of each kind")
    kind = kinds.pop()
    if kind == "Point" and len(found) > 1:
        raise FenceError("geometry", "has several Points; a circle is one")
    metres = {key: _number(properties[key], key) for key in _METRES if key in properties}
    parts = [coordinates for _, coordinates in found]
    many = len(parts) > 1
    return shape_of(
        f"Multi{kind}" if many else kind,
        parts if many else parts[0],
        metres.get("radius_m", given.radius_m),
        metres.get("width_m", given.width_m),
    )


def _properties(element: Element) -> dict[str, Any]:
    """ExtendedData: Data with a value, and SimpleData of a schema."""
    out: dict[str, Any] = {}
    for extended in _children(element, "ExtendedData"):
        for data in extended.iter():
            name = data.get("name")
            if name and tag_of(data) == "Data":
                out[name] = _text(data, "value") or ""
            elif name and tag_of(data) == "SimpleData":
                out[name] = (data.text or "").strip()
    return out


def _geometries(element: Element) -> Iterator[tuple[str, Any]]:
    for child in element:
        match tag_of(child):
            case "MultiGeometry":
                yield from _geometries(child)
            case "Polygon":
                yield "Polygon", list(_rings(child))
            case "LineString":
                yield "LineString", _coordinates(child, "line")
            case "Point":
                yield "Point", _coordinates(child, "centre")[0]
            case _:
                pass


def _rings(polygon: Element) -> Iterator[list[Position]]:
    outer = next(_children(polygon, "outerBoundaryIs"), None)
    if outer is None:
        raise FenceError("outerBoundaryIs", "is missing; a Polygon has an outer ring")
    holes = _children(polygon, "innerBoundaryIs")
    for number, boundary in enumerate([outer, *holes]):
        where = "outer ring" if number == 0 else f"hole {number}"
        for ring in _children(boundary, "LinearRing"):
            yield _coordinates(ring, where)


def _coordinates(element: Element, where: str) -> list[Position]:
    text = _text(element, "coordinates")
    if not text:
        raise FenceError(where, "has no coordinates; write longitude,latitude pairs")
    out: list[Position] = []
    for number, item in enumerate(text.split(), 1):
        parts = item.split(",")
        if len(parts) not in {2, 3}:
            raise FenceError(f"{where}, vertex {number}", f"{item!r} is not longitude,latitude[,altitude]")
        place = f"{where}, vertex {number}"
        out.append((_number(parts[0], place), _number(parts[1], place)))
    return out


def _number(token: str, where: str) -> float:
    try:
        return float(token)
    except ValueError:
        raise FenceError(where, f"{token!r} is not a number") from None


def write_kml(drawn: Iterable[Drawn]) -> str:
    """A document that ``read_kml`` reads back to the same shapes."""
    register_namespace("", _NAMESPACE)
    root = Element(f"{{{_NAMESPACE}}}kml")
    document = _add(root, "Document")
    for one in drawn:
        placemark = _add(document, "Placemark")
        _add(placemark, "name", one.name)
        metres = _metres(one.shape)
        if metres or one.properties:
            extended = _add(placemark, "ExtendedData")
            for key, value in {**one.properties, **metres}.items():
                data = _add(extended, "Data")
                data.set("name", key)
                _add(data, "value", value if isinstance(value, str) else repr(value))
        _write_shape(placemark, one.shape)
    return tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _metres(shape: Shape) -> dict[str, float]:
    match shape:
        case Circle():
            return {"radius_m": shape.radius_m}
        case Corridor():
            return {"width_m": shape.width_m}
        case Area():
            return {}


def _write_shape(placemark: Element, shape: Shape) -> None:
    match shape:
        case Circle():
            _write_line(_add(placemark, "Point"), ((shape.longitude, shape.latitude),))
        case Corridor():
            lines = lines_within_world(shape)
            parent = placemark if len(lines) == 1 else _add(placemark, "MultiGeometry")
            for line in lines:
                _write_line(_add(parent, "LineString"), line)
        case Area():
            polygons = polygons_within_world(shape)
            parent = placemark if len(polygons) == 1 else _add(placemark, "MultiGeometry")
            for rings in polygons:
                polygon = _add(parent, "Polygon")
                for number, ring in enumerate(rings):
                    boundary = _add(polygon, "innerBoundaryIs" if number else "outerBoundaryIs")
                    _write_line(_add(boundary, "LinearRing"), ring)


def _write_line(parent: Element, line: Line) -> None:
    _add(parent, "coordinates", " ".join(f"{x!r},{y!r}" for x, y in line))


def _add(parent: Element, tag: str, text: str | None = None) -> Element:
    child = SubElement(parent, f"{{{_NAMESPACE}}}{tag}")
    child.text = text
    return child
