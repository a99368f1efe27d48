"""Geofences as Well-Known Text. The axis order is always stated: OGC files have longitude first, the field's
API has latitude first, and nothing in the text tells which.

Beside the standard's kinds ``CIRCLE (x y, metres)`` is read and written, as the field's API has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

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
from tracker_server.track.fences.shapes import Area, Circle, Corridor, Line, Position, Shape


class Axes(StrEnum):
    """Which of the two numbers of a position comes first."""

    LON_LAT = "lon-lat"
    LAT_LON = "lat-lon"


_KINDS: Final = {
    "POINT": "Point",
    "LINESTRING": "LineString",
    "MULTILINESTRING": "MultiLineString",
    "POLYGON": "Polygon",
    "MULTIPOLYGON": "MultiPolygon",
}
_LEVELS: Final[dict[str, tuple[str, ...]]] = {
    "POINT": (),
    "LINESTRING": (),
    "MULTILINESTRING": ("line",),
    "POLYGON": ("ring",),
    "MULTIPOLYGON": ("polygon", "ring"),
}
_HEAD: Final = re.compile(r"\s*(?:SRID=4326;)?\s*([A-Z]+)\s*(?:ZM|Z|M)?\s*(?=[(E])(EMPTY)?", re.IGNORECASE)
_TOKEN: Final = re.compile(r"\s*([(),]|[^\s(),]+)")


def read_wkt(text: str, axes: Axes, *, radius_m: float | None = None, width_m: float | None = None) -> Shape:
    """One shape. ``radius_m`` belongs to a POINT, ``width_m`` to a line. Raises FenceError, naming the vertex."""
    head = _HEAD.match(text)
    if head is None:
        raise FenceError(
            "WKT", f"{text[:40]!r} does not begin with a kind and a bracket, such as POLYGON ((…))"
        )
    kind = head[1].upper()
    if head[2]:
        raise FenceError("WKT", f"{kind} is empty; write its positions")
    tokens = _Tokens(text, head.end())
    if kind == "CIRCLE":
        return _circle(tokens, axes)
    if kind not in _KINDS:
        return shape_of(kind, (), None, None)
    coordinates = _nested(tokens, _LEVELS[kind], "", axes)
    tokens.end()
    if kind == "POINT":
        coordinates = coordinates[0]
    return shape_of(_KINDS[kind], coordinates, radius_m, width_m)


class _Tokens:
    """What is left of the text, one token at a time."""

    def __init__(self, text: str, at: int) -> None:
        self._found = _TOKEN.findall(text, at)
        self._next = 0

    @property
    def next(self) -> str:
        """The next token; empty at the end."""
        return self._found[self._next] if self._next < len(self._found) else ""

    def take(self) -> str:
        """The next token, passed over."""
        token = self.next
        self._next += 1
        return token

    def expect(self, wanted: str, where: str) -> None:
        """Pass over this token, or FenceError."""
        if self.next != wanted:
            found = repr(self.next) if self.next else "the end"
            raise FenceError(
                where or "WKT", f"found {found} where {wanted!r} was expected; count the brackets"
            )
        self._next += 1

    def end(self) -> None:
        """FenceError if anything is left."""
        if self.next:
            raise FenceError("WKT", f"{self.next!r} follows the last bracket; write one shape")


def _nested(tokens: _Tokens, levels: tuple[str, ...], where: str, axes: Axes) -> Any:
    """A bracketed list: of lists as ``levels`` names them, at last of positions."""
    tokens.expect("(", where)
    items: list[Any] = []
    comma = ", " if where else ""
    while True:
        name = levels[0] if levels else "vertex"
        inner = f"{where}{comma}{name} {len(items) + 1}"
        items.append(_nested(tokens, levels[1:], inner, axes) if levels else _position(tokens, inner, axes))
        if tokens.next != ",":
            break
        tokens.take()
    tokens.expect(")", where)
    return items


def _position(tokens: _Tokens, where: str, axes: Axes) -> Position:
    numbers: list[float] = []
    while tokens.next and tokens.next not in "(),":
        numbers.append(_number(tokens.take(), where))
    if len(numbers) not in {2, 3, 4}:
        raise FenceError(where, f"has {len(numbers)} numbers; write {axes.value.replace('-', ' ')}")
    first, second = numbers[:2]
    return (first, second) if axes is Axes.LON_LAT else (second, first)


def _number(token: str, where: str) -> float:
    try:
        return float(token)
    except ValueError:
        raise FenceError(where, f"{token!r} is not a number") from None


def _circle(tokens: _Tokens, axes: Axes) -> Shape:
    tokens.expect("(", "circle")
    centre = _position(tokens, "centre", axes)
    tokens.expect(",", "circle")
    radius_m = _number(tokens.take(), "radius")
    tokens.expect(")", "circle")
    tokens.end()
    return shape_of("Point", centre, radius_m, None)


def write_wkt(shape: Shape, axes: Axes) -> str:
    """The text that ``read_wkt`` reads back. A corridor's width is not in it: keep it beside the text."""
    match shape:
        case Circle():
            return f"CIRCLE ({_pair((shape.longitude, shape.latitude), axes)}, {shape.radius_m!r})"
        case Corridor():
            lines = [_list(line, axes) for line in lines_within_world(shape)]
            return f"LINESTRING {lines[0]}" if len(lines) == 1 else f"MULTILINESTRING ({', '.join(lines)})"
        case Area():
            parts = [
                f"({', '.join(_list(ring, axes) for ring in rings)})"
                for rings in polygons_within_world(shape)
            ]
            return f"POLYGON {parts[0]}" if len(parts) == 1 else f"MULTIPOLYGON ({', '.join(parts)})"


def _pair(position: Position, axes: Axes) -> str:
    longitude, latitude = position
    return f"{longitude!r} {latitude!r}" if axes is Axes.LON_LAT else f"{latitude!r} {longitude!r}"


def _list(line: Line, axes: Axes) -> str:
    return f"({', '.join(_pair(position, axes) for position in line)})"


def read_wkt_lines(text: str, axes: Axes, given: Metres = NO_METRES) -> list[Drawn]:
    """A file of lines ``name <tab> WKT [<tab> metres]``; metres are a POINT's radius or a line's full width,
    ``given`` where a line of the file tells none.
    Empty lines and lines that begin with # are passed over. Raises FenceError.
    """
    drawn: list[Drawn] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = line.split("\t")
        try:
            drawn.append(_named(name, rest, axes, given))
        except FenceError as error:
            raise error.within(f"line {number}, {feature_name(len(drawn) + 1, name)}") from None
        if len(drawn) > FEATURES_MAX:
            raise FenceError("", f"there are more than {FEATURES_MAX} fences; split the file")
    return drawn


def _named(name: str, rest: list[str], axes: Axes, given: Metres) -> Drawn:
    if not 1 <= len(rest) <= 2:
        raise FenceError("", "needs a name, a tab, WKT, and for circles and corridors a tab and metres")
    if len(rest) == 2:
        metres = _number(rest[1], "metres")
        given = Metres(metres, metres)
    shape = read_wkt(rest[0], axes, radius_m=given.radius_m, width_m=given.width_m)
    return Drawn(checked_name(name), shape)


def write_wkt_lines(drawn: Iterable[Drawn], axes: Axes) -> str:
    """The file that ``read_wkt_lines`` reads back."""
    lines = [
        "\t".join(
            [one.name.replace("\t", " "), write_wkt(one.shape, axes)]
            + ([repr(one.shape.width_m)] if isinstance(one.shape, Corridor) else [])
        )
        for one in drawn
    ]
    return "\n".join(lines) + "\n"
