"""A run's report as one HTML page that needs nothing beside it: figures, plots and settings."""

from __future__ import annotations

import html
import io
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tracker_server.simulator.report import Report, ScenarioReport, effort, milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; margin: .5rem 0 } td, th { padding: .15rem .8rem .15rem 0; text-align: left }
td.n { text-align: right; font-variant-numeric: tabular-nums }
.bad { color: #b00020; font-weight: 600 } .good { color: #13691f; font-weight: 600 }
svg { max-width: 100%; height: auto }
"""
COLOURS = ("#1f6fb2", "#d1670f", "#2c8a3d", "#a33ea1", "#8a6d1d", "#5a5a5a")


def page_of(report: Report | ScenarioReport) -> str:
    """The whole page."""
    families = report.families if isinstance(report, ScenarioReport) else [report]
    name = report.scenario if isinstance(report, ScenarioReport) else report.settings["protocol"]
    title = f"Simulated fleet: {name}"
    verdict = (
        '<p class="good">Every answer was right.</p>'
        if report.ok
        else '<p class="bad">Not everything was answered rightly.</p>'
    )
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>",
        f"<h1>{html.escape(title)}</h1>{verdict}",
        _table([*_summary(report), ("simulator's CPU, memory", effort(report))]),
        *(f"<figure>{drawing}</figure>" for drawing in plots(families)),
    ]
    for family in families:
        settings = family.settings
        parts.append(f"<h2>{html.escape(settings['protocol'])} → {html.escape(str(settings['target']))}</h2>")
        parts.append(_table(_details(family)))
    return "\n".join(parts) + "\n"


def _summary(report: Report | ScenarioReport) -> list[tuple[str, Any]]:
    return [
        ("seed", report.seed),
        ("fixes answered", f"{report.fixes.answered:,} of {report.fixes.planned:,}"),
        ("sent, no answer owed", f"{report.fixes.unanswerable:,}"),
        (
            "wrong, missing, never sent",
            f"{report.fixes.wrong:,}, {report.fixes.missing:,}, {report.fixes.unsent:,}",
        ),
        ("fixes answered a second", f"{report.answered_per_s:,.0f}"),
        ("length", f"{report.run_s:,.1f} s"),
        ("answer p50 / p90 / p99 / max", milliseconds(report.latency)),
    ]


def _details(report: Report) -> list[tuple[str, Any]]:
    return [
        *_summary(report),
        ("connections, broken", f"{report.connections:,}, {report.connections_broken:,}"),
        ("answers wrong, unasked for, late", f"{report.answers_wrong:,}, {report.answers_unasked:,}, {report.answers_late:,}"),
        *((f"made: {what}", f"{count:,}") for what, count in report.troubles.items()),
        *((f"error: {what}", f"{count:,}") for what, count in report.errors.items()),
        *(("for example", sample) for sample in report.samples),
        *((f"setting: {key}", said(value)) for key, value in report.settings.items() if value is not None),
    ]  # fmt: skip


def said(value: Any) -> str:
    """A setting's value as a scenario's reader would say it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def names(families: Sequence[Report]) -> list[str]:
    """What each is called in a plot: its language, and its transport where the language alone is not one family's."""
    spoken = Counter(family.settings["protocol"] for family in families)
    return [
        f"{family.settings['protocol']} {family.settings['transport']}"
        if spoken[family.settings["protocol"]] > 1
        else family.settings["protocol"]
        for family in families
    ]


def _table(rows: Sequence[tuple[str, Any]]) -> str:
    body = "".join(
        f"<tr><td>{html.escape(name)}<td class=n>{html.escape(str(value))}" for name, value in rows
    )
    return f"<table>{body}</table>"


def plots(families: Sequence[Report]) -> list[str]:
    """Rates, latencies and connections over time, as SVG; none where a run was too short to draw."""
    if not any(len(family.timeline) > 1 for family in families):
        return []
    return [
        _plot(families, "fixes answered (or sent, where no answer is owed) a second", _rates),
        _plot(families, "answer p50 (thin) and p99 (thick) of each second, ms", _latencies, log=True),
        _plot(families, "open connections", _connections),
    ]


def _rates(axes: Axes, family: Report, name: str, colour: str) -> None:
    axes.plot(
        [moment.at_s for moment in family.timeline],
        [moment.answered_per_s for moment in family.timeline],
        color=colour,
        label=name,
    )


def _latencies(axes: Axes, family: Report, name: str, colour: str) -> None:
    shown = [moment for moment in family.timeline if moment.p99_s]
    at_s = [moment.at_s for moment in shown]
    axes.plot(at_s, [moment.p50_s * 1e3 for moment in shown], color=colour, linewidth=0.8)
    axes.plot(at_s, [moment.p99_s * 1e3 for moment in shown], color=colour, linewidth=1.8, label=name)


def _connections(axes: Axes, family: Report, name: str, colour: str) -> None:
    axes.plot(
        [moment.at_s for moment in family.timeline],
        [moment.connected for moment in family.timeline],
        color=colour,
        label=name,
    )


def _plot(families: Sequence[Report], title: str, draw: Any, *, log: bool = False) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"svg.hashsalt": "tracker-server", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(9, 2.6), layout="constrained")
        axes = figure.add_subplot()
        for number, (family, name) in enumerate(zip(families, names(families), strict=True)):
            draw(axes, family, name, COLOURS[number % len(COLOURS)])
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("seconds", fontsize=8)
        axes.grid(visible=True, linewidth=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if log and any(moment.p99_s for family in families for moment in family.timeline):
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        if len(families) > 1:
            axes.legend(fontsize=8, frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    drawing = out.getvalue()
    return drawing[drawing.index("<svg") :]
