"""Fences in files, whatever the format: read whole or not at all, written so that they are read back the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from tracker_server.track.fences.drawn import NO_METRES, Drawn, Metres
from tracker_server.track.fences.errors import FenceError
from tracker_server.track.fences.geojson import document_of, read_geojson, write_geojson
from tracker_server.track.fences.gpx import read_gpx
from tracker_server.track.fences.kml import read_kml, write_kml
from tracker_server.track.fences.shapes import Circle, Corridor, Shape
from tracker_server.track.fences.wkt import Axes, read_wkt_lines, write_wkt_lines

HEAD_BYTES: Final = 4_096  # before its first element a file has no more than a declaration and comments
_GPX: Final = re.compile(rb"<(?:\w+:)?gpx[\s>]")


class Kept(Protocol):
    """A fence as it is stored."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Shape: ...
    @property
    def attributes(self) -> dict[str, Any]: ...
    @property
    def speed_limit_mps(self) -> float | None: ...
    @property
    def dwell_s(self) -> float | None: ...


def read(data: bytes, form: str, axes: str = Axes.LON_LAT, metres: Metres = NO_METRES) -> list[Drawn]:
    """All fences of a file; ``form`` is geojson, kml, gpx or wkt, ``axes`` WKT's order, ``metres`` for lines and points that
    tell none. Raises FenceError.
    """
    match form:
        case "geojson":
            return read_geojson(data, metres)
        case "kml":
            return read_kml(data, metres)
        case "gpx":
            return read_gpx(data, metres)
        case _:
            try:
                return read_wkt_lines(data.decode(), Axes(axes), metres)
            except UnicodeDecodeError as error:
                raise FenceError("", f"this is no text in UTF-8: {error.reason}") from None


def form_of(data: bytes) -> str:
    """The format, by what a file begins with."""
    begin = data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if begin == b"<":
        return "gpx" if _GPX.search(data[:HEAD_BYTES]) else "kml"
    return "geojson" if begin == b"{" else "wkt"


def written(drawn: Sequence[Drawn], form: str, axes: str = Axes.LON_LAT) -> str:
    """A file of all of them."""
    match form:
        case "geojson":
            return write_geojson(drawn)
        case "kml":
            return write_kml(drawn)
        case _:
            return write_wkt_lines(drawn, Axes(axes))


def drawn_of(fence: Kept) -> Drawn:
    """A fence on its way into a file."""
    more = {"speed_limit_mps": fence.speed_limit_mps, "dwell_s": fence.dwell_s}
    told = {key: value for key, value in more.items() if value is not None}
    return Drawn(fence.name, fence.shape, {**fence.attributes, **told})


def of_geojson(data: bytes, name: str, *, width_m: float | None = None) -> Shape:
    """The shape of a file of one: a geometry, a Feature, or a FeatureCollection with one feature. Raises FenceError."""
    document = document_of(data)
    if not isinstance(document, dict):
        raise FenceError("", "is no GeoJSON object")
    feature: Any = document
    if document.get("type") == "FeatureCollection":
        features: Any = document.get("features")
        if not isinstance(features, list) or len(features) != 1:
            raise FenceError("features", "are not one; `fence import` takes a file of several")
        feature = features[0]
    if isinstance(feature, dict):
        of: dict[str, Any] = feature
        if of.get("type") != "Feature":
            of = {"type": "Feature", "geometry": of}
        properties: Any = of.get("properties")
        told: dict[str, Any] = properties if isinstance(properties, dict) else {}
        more = {} if width_m is None else {"width_m": width_m}
        feature = {**of, "properties": {**told, **more, "name": name}}
    return read_geojson(msgspec.json.encode({"type": "FeatureCollection", "features": [feature]}))[0].shape


def vertices(shape: Shape) -> int:
    """How many positions it was drawn with."""
    match shape:
        case Circle():
            return 1
        case Corridor():
            return sum(len(line) for line in shape.lines)
        case _:
            return sum(len(ring.outer) + sum(map(len, ring.holes)) for ring in shape.polygons)
