"""The figures as drawings: rates and CPU beside their aims, and growth along what grows. SVG, no colours that mean anything
alone, the same bytes for the same figures.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import results
from matplotlib import rc_context
from matplotlib.figure import Figure
from measures import Found, Measure

UNITS = {
    "fixes/s": "fixes stored, then answered, in a second",
    "s/1000 fixes": "CPU seconds of server and database for 1,000 fixes",
    "ms": "milliseconds",
    "MB": "memory, MB",
}
ALONG = re.compile(r"^(?P<what>.+?) with (?P<count>[\d,]+) (?P<of>.+)$")


def draw(found: list[Found], folder: Path, name: str) -> list[Path]:
    """``<name>-<unit>.svg``, ``<name>-beside.svg`` and ``<name>-growth.svg``, where there is something to draw; answers
    their paths.
    """
    paths: list[Path] = []
    measures = [measure for each in found for measure in each.measures]
    for unit, title in UNITS.items():
        chosen = [one for one in measures if one.unit == unit and one.aim is not None]
        if chosen:
            paths.append(folder / f"{name}-{unit.replace('/', '-per-').replace(' ', '-')}.svg")
            bars(chosen, title, paths[-1])
    if rates := beside_of(measures):
        paths.append(folder / f"{name}-beside.svg")
        beside(rates, paths[-1])
    if growing := lines_of(measures):
        paths.append(folder / f"{name}-growth.svg")
        growth(growing, paths[-1])
    return paths


def bars(measures: Sequence[Measure], title: str, path: Path) -> None:
    """A bar for each figure's median, its spread as a line, its aim as a mark."""
    with rc_context({"svg.hashsalt": "tracker-server", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 0.8 + 0.45 * len(measures)), layout="constrained")
        axes = figure.add_subplot()
        for row, measure in enumerate(reversed(measures)):
            middle = measure.middle
            spread = [[middle - min(measure.values)], [max(measure.values) - middle]]
            axes.barh(row, middle, color="#5d9fd3", height=0.6, xerr=spread, ecolor="#333333", capsize=2)
            if measure.aim is not None:
                axes.plot([measure.aim, measure.aim], [row - 0.4, row + 0.4], color="#c0392b", linewidth=2)
            axes.annotate(f" {results.figure(middle)}", (max(measure.values), row), va="center", fontsize=8)
        axes.set_yticks(range(len(measures)), [measure.name for measure in reversed(measures)], fontsize=8)
        axes.set_title(f"{title} (red: the aim)", loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})


BESIDE = {
    "stored, then answered": ("tracker-server", "#1f6fb2"),
    "prototype": ("the least server that does this", "#8fbbe0"),
    "floor": ("a bare COPY of the same rows", "#c9c9c9"),
}
"""What is drawn beside each other: the end of a figure's name, what it is called, its colour."""


def beside_of(measures: Sequence[Measure]) -> dict[str, dict[str, Measure]]:
    """By what reported: our rate, the prototype's and the floor's, where all were measured."""
    found: dict[str, dict[str, Measure]] = {}
    for measure in measures:
        name, _, what = measure.name.rpartition(": ")
        if what in BESIDE:
            found.setdefault(name, {})[what] = measure
    return {name: rates for name, rates in found.items() if len(rates) == len(BESIDE)}


def beside(rates: dict[str, dict[str, Measure]], path: Path) -> None:
    """One row for each case, of three bars; the spread as a line."""
    with rc_context({"svg.hashsalt": "tracker-server", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 1.5 * len(rates)), layout="constrained")
        for row, (name, of) in enumerate(rates.items(), 1):
            axes = figure.add_subplot(len(rates), 1, row)
            for at, (what, (called, colour)) in enumerate(reversed(BESIDE.items())):
                measure = of[what]
                middle = measure.middle
                spread = [[middle - min(measure.values)], [max(measure.values) - middle]]
                axes.barh(at, middle, color=colour, height=0.7, xerr=spread, ecolor="#333333", capsize=2)
                axes.annotate(f" {called}: {middle:,.0f}", (max(measure.values), at), va="center", fontsize=8)
            axes.set_yticks([])
            axes.margins(x=0.35)
            axes.set_xlim(left=0)
            axes.set_title(f"{name}: fixes in a second", loc="left", fontsize=10)
            axes.spines[["top", "right", "left"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})


def lines_of(measures: Sequence[Measure]) -> dict[str, list[tuple[float, Measure]]]:
    """Figures that were taken at several sizes: ``<what> with <count> <of>``."""
    found: dict[str, list[tuple[float, Measure]]] = {}
    for measure in measures:
        if match := ALONG.match(measure.name):
            name = f"{match['what']}, {measure.unit}, along {match['of']}"
            found.setdefault(name, []).append((float(match["count"].replace(",", "")), measure))
    return {
        name: sorted(points, key=lambda point: point[0]) for name, points in found.items() if len(points) > 1
    }


def growth(lines: dict[str, list[tuple[float, Measure]]], path: Path) -> None:
    """Each of them along what grows; flat is what we want."""
    with rc_context({"svg.hashsalt": "tracker-server", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 2.4 * len(lines)), layout="constrained")
        for row, (name, points) in enumerate(lines.items(), 1):
            axes = figure.add_subplot(len(lines), 1, row)
            sizes = [max(size, 0.5) for size, _ in points]
            middles = [measure.middle for _, measure in points]
            low = [measure.middle - min(measure.values) for _, measure in points]
            high = [max(measure.values) - measure.middle for _, measure in points]
            axes.errorbar(sizes, middles, yerr=[low, high], marker="o", color="#1f6fb2", capsize=2)
            axes.set_xscale("log")
            axes.set_ylim(bottom=0)
            axes.set_title(name, loc="left", fontsize=9)
            axes.grid(visible=True, linewidth=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})
