"""A picture of a way: the track, where it stood and how long, the fences near it. SVG or PNG, made without a map."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from io import BytesIO
from itertools import pairwise
from typing import Any, Final, Protocol

from tracker_server.exports.cells import iso
from tracker_server.pipeline.batch import micros
from tracker_server.track.engine import Mark, step
from tracker_server.track.fences.index import EMPTY
from tracker_server.track.fences.shapes import Area, Circle, Corridor, Shape
from tracker_server.track.observation import Observation, arranged
from tracker_server.track.settings import TrackSettings
from tracker_server.track.state import State

GAP: Final = timedelta(minutes=10)  # nobody knows the way between fixes further apart: no line is drawn
MARGIN: Final = 0.08  # of the picture's side, around the way
LABELS_MAX: Final = 40  # stops and fences that are named; more cover each other
METRES_PER_DEGREE: Final = 111_195.0
BLUE, ORANGE, GREEN, RED, GREY = "#1f5fbf", "#e07b00", "#2e8b57", "#c0392b", "#8a8f98"


class Named(Protocol):
    """A fence as it is stored."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> Shape: ...


def picture(
    form: str,
    title: str,
    fixes: Sequence[Mapping[str, Any]],
    stops: Sequence[Mapping[str, Any]],
    fences: Sequence[Named],
) -> bytes:
    """The file: ``form`` is svg or png."""
    given, fixes = len(fixes), believed(fixes)
    absurd = f", {given - len(fixes)} absurd ones left out" if given > len(fixes) else ""

    def draw(axes: Any) -> None:
        box = _box([*fixes, *stops], fences)
        drawn = 0
        for fence in fences:
            drawn += _draw_fence(axes, fence, box, named=drawn < LABELS_MAX)
        _draw_way(axes, fixes)
        _draw_stops(axes, stops)
        _draw_ends(axes, fixes)
        _frame(axes, box, f"{title}: {len(fixes)} fixes{absurd}")
        if fixes:
            axes.legend(loc="upper right", frameon=False)

    return _file(form, (10, 8), 150, draw)


def sketch(
    title: str, fixes: Sequence[Mapping[str, Any]], fences: Sequence[Named], place: tuple[float, float]
) -> bytes:
    """A small PNG for a message, without words but the title's and the fences': how a tracker came to a place
    (latitude, longitude).
    """
    fixes = believed(fixes)
    latitude, longitude = place

    def draw(axes: Any) -> None:
        here = [{"latitude": latitude, "longitude": longitude}]
        box = _box([*fixes, *here], fences)
        for fence in fences:
            _draw_fence(axes, fence, box, named=True)
        _draw_way(axes, fixes)
        axes.plot(longitude, latitude, "o", color=RED, markersize=9, markeredgecolor="white", zorder=5)
        _frame(axes, box, title)

    return _file("png", (6, 4.5), 110, draw)


def _file(form: str, size: tuple[float, float], dpi: int, draw: Callable[[Any], None]) -> bytes:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    made = BytesIO()
    with rc_context({"svg.hashsalt": "tracker", "font.size": 8}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        figure.savefig(made, format=form, dpi=dpi, metadata={"Date": None} if form == "svg" else None)
    return made.getvalue()


def believed(fixes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those whose place the track engine accepts: one jump of 500 km would make a dot of the day."""
    seen = {
        (micros(one["fixed_at"]), number): Observation(
            micros(one["fixed_at"]), number, micros(one["received_at"]), one["latitude"], one["longitude"]
        )
        for number, one in enumerate(fixes)
    }
    marks: list[Mark] = []
    step(State(), arranged(seen.values()), TrackSettings(), EMPTY, marks)
    return [fixes[mark.digest] for mark in marks if mark.place == "accepted"]


def _box(seen: Sequence[Mapping[str, Any]], fences: Sequence[Named]) -> tuple[float, float, float, float]:
    """West, south, east, north: the way with a margin; the fences, where there is no way."""
    places = [(one["longitude"], one["latitude"]) for one in seen]
    if not places:
        places = [place for fence in fences for place in _outline(fence.shape)]
    west, east = min(x for x, _ in places), max(x for x, _ in places)
    south, north = min(y for _, y in places), max(y for _, y in places)
    stretch = _stretch((south + north) / 2)
    side = max((east - west) / stretch, north - south, 0.002)
    x, y = (west + east) / 2, (south + north) / 2
    half_x = max((east - west) / 2, side * stretch * 0.4) + side * stretch * MARGIN
    half_y = max((north - south) / 2, side * 0.4) + side * MARGIN
    return x - half_x, y - half_y, x + half_x, y + half_y


def _stretch(latitude: float) -> float:
    """How many degrees of longitude are as long as one of latitude."""
    return 1 / max(math.cos(math.radians(latitude)), 0.01)


def _draw_way(axes: Any, fixes: Sequence[Mapping[str, Any]]) -> None:
    for part in _unbroken(fixes):
        axes.plot(
            [one["longitude"] for one in part],
            [one["latitude"] for one in part],
            color=BLUE, linewidth=1.6, marker="." if len(part) == 1 else None, zorder=3,
        )  # fmt: skip


def _unbroken(fixes: Sequence[Mapping[str, Any]]) -> Iterable[list[Mapping[str, Any]]]:
    """The way in parts, cut where it is not known."""
    part: list[Mapping[str, Any]] = list(fixes[:1])
    for before, after in pairwise(fixes):
        turned = abs(after["longitude"] - before["longitude"]) > 180
        if after["fixed_at"] - before["fixed_at"] > GAP or turned:
            yield part
            part = []
        part.append(after)
    if part:
        yield part


def _outline(shape: Shape) -> list[tuple[float, float]]:
    """The outer edge, or the middle line of a corridor."""
    match shape:
        case Circle():
            stretch = _stretch(shape.latitude)
            radius = shape.radius_m / METRES_PER_DEGREE
            turns = [2 * math.pi * n / 90 for n in range(91)]
            return [
                (shape.longitude + radius * stretch * math.cos(t), shape.latitude + radius * math.sin(t))
                for t in turns
            ]
        case Corridor():
            return [place for line in shape.lines for place in line]
        case Area():
            return [place for ring in shape.polygons for place in ring.outer]


def _band(corridor: Corridor, latitude: float) -> Iterable[list[tuple[float, float]]]:
    """The edge of a corridor in its width, as wide as it is at this latitude."""
    import shapely

    stretch = _stretch(latitude)
    flat = [shapely.LineString([(x / stretch, y) for x, y in line]) for line in corridor.lines]
    band = shapely.union_all(flat).buffer(corridor.width_m / 2 / METRES_PER_DEGREE)
    for part in shapely.get_parts(band):
        yield [(x * stretch, y) for x, y in part.exterior.coords]


def _draw_fence(axes: Any, fence: Named, box: tuple[float, float, float, float], *, named: bool) -> int:
    """Draw it where it reaches into the picture; answers 1 if it does."""
    outline = _outline(fence.shape)
    west, south, east, north = box
    xs, ys = [x for x, _ in outline], [y for _, y in outline]
    if max(xs) < west or min(xs) > east or max(ys) < south or min(ys) > north:
        return 0
    match fence.shape:
        case Corridor():
            for part in _band(fence.shape, (south + north) / 2):
                axes.fill(*zip(*part, strict=True), color=GREEN, alpha=0.12, zorder=1)
                axes.plot(*zip(*part, strict=True), color=GREEN, linewidth=1, zorder=1)
        case Area():
            for ring in fence.shape.polygons:
                axes.fill(*zip(*ring.outer, strict=True), color=GREEN, alpha=0.12, zorder=1)
                for line in (ring.outer, *ring.holes):
                    axes.plot(*zip(*line, strict=True), color=GREEN, linewidth=1, zorder=1)
        case Circle():
            axes.fill(xs, ys, color=GREEN, alpha=0.12, zorder=1)
            axes.plot(xs, ys, color=GREEN, linewidth=1, zorder=1)
    if named:
        shown = [(x, y) for x, y in outline if west <= x <= east and south <= y <= north]
        x, y = max(shown, key=lambda place: place[1]) if shown else ((west + east) / 2, south)
        axes.annotate(
            fence.name, (x, y), (0, 3), textcoords="offset points", color=GREEN, ha="center",
            annotation_clip=True, parse_math=False,
        )  # fmt: skip
    return 1


def _draw_stops(axes: Any, stops: Sequence[Mapping[str, Any]]) -> None:
    for number, stop in enumerate(stops):
        axes.plot(stop["longitude"], stop["latitude"], "o", color=ORANGE, markersize=7, zorder=4)
        if number < LABELS_MAX:
            axes.annotate(
                f"{stop['started_at']:%H:%M}, {_lasted(stop['started_at'], stop['ended_at'])}",
                (stop["longitude"], stop["latitude"]), (7, -3), textcoords="offset points", color=ORANGE,
            )  # fmt: skip


def _lasted(began: datetime, ended: datetime | None) -> str:
    if ended is None:
        return "still there"
    minutes = round((ended - began).total_seconds() / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _draw_ends(axes: Any, fixes: Sequence[Mapping[str, Any]]) -> None:
    for number, fix in enumerate([*fixes[:1], *fixes[1:][-1:]]):
        axes.plot(
            fix["longitude"], fix["latitude"], "^" if number == 0 else "s", color=RED, markersize=7, zorder=5,
            label=f"{'first' if number == 0 else 'last'} fix, {iso(fix['fixed_at'])}",
        )  # fmt: skip


def _frame(axes: Any, box: tuple[float, float, float, float], title: str) -> None:
    west, south, east, north = box
    axes.set_xlim(west, east)
    axes.set_ylim(south, north)
    axes.set_aspect(_stretch((south + north) / 2))
    axes.grid(visible=True, color="#e6e8eb", linewidth=0.6, zorder=0)
    axes.tick_params(colors=GREY)
    axes.ticklabel_format(useOffset=False)
    for edge in axes.spines.values():
        edge.set_color("#d0d4d9")
    axes.set_title(title, parse_math=False, wrap=True)
    metres = (north - south) * METRES_PER_DEGREE / 5
    nice = 10 ** math.floor(math.log10(metres))
    nice *= next(step for step in (5, 2, 1) if metres / nice >= step)
    length = nice / METRES_PER_DEGREE * _stretch((south + north) / 2)
    x, y = west + (east - west) * 0.03, south + (north - south) * 0.03
    axes.plot([x, x + length], [y, y], color="black", linewidth=2, zorder=6)
    axes.annotate(
        f"{nice / 1000:g} km" if nice >= 1000 else f"{nice:g} m", (x + length / 2, y), (0, 4),
        textcoords="offset points", ha="center", zorder=6,
    )  # fmt: skip
