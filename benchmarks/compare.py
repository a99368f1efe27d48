"""Did a commit make it slower? ``python benchmarks/compare.py A B``; A and B are result files, or commits that have one.

A figure has become worse where its median is worse by more than ``LEAST`` and the repetitions of both do not overlap; where
there is one repetition only, by more than ``ALONE``. Exit status 1 where one has.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import results
from measures import Measure
from msgspec import Struct, convert
from rich.console import Console
from rich.table import Table

LEAST = 0.05
ALONE = 0.25
SIGNS = {"worse": "[red]worse[/]", "better": "[green]better[/]", "same": "", "new": "new", "gone": "gone"}


class Compared(Struct):
    """One figure in both results."""

    name: str
    unit: str
    before: float | None
    after: float | None
    verdict: str


def found(name: str, folder: Path) -> Path:
    """The file itself, or the newest result of that commit. Raises ValueError."""
    file = Path(name)
    if file.is_file():
        return file
    files = sorted(folder.glob(f"*-{name}*.json"))
    if not files:
        raise ValueError(f"{name}: neither a file nor a commit with a result in {folder}")
    return files[-1]


def read(file: Path) -> tuple[dict[str, Any], dict[str, Measure]]:
    """What stands around the figures, and the figures by name."""
    whole = json.loads(file.read_text())
    figures = {
        f"{each['name']}": convert(each, Measure) for part in whole["found"] for each in part["measures"]
    }
    return whole, figures


def verdict(before: Measure, after: Measure) -> str:
    """``worse``, ``better`` or ``same``."""
    if not before.middle:
        return "same"
    change = after.middle / before.middle - 1
    if before.better == "more":
        change = -change
    alone = min(len(before.values), len(after.values)) < 2
    if abs(change) <= (ALONE if alone else LEAST):
        return "same"
    overlap = min(before.values) <= max(after.values) and min(after.values) <= max(before.values)
    if overlap and not alone:
        return "same"
    return "worse" if change > 0 else "better"


def compare(one: dict[str, Measure], other: dict[str, Measure]) -> list[Compared]:
    """All figures of either."""
    rows: list[Compared] = []
    for name in dict.fromkeys([*one, *other]):
        before, after = one.get(name), other.get(name)
        if before and after:
            rows.append(Compared(name, after.unit, before.middle, after.middle, verdict(before, after)))
        elif before:
            rows.append(Compared(name, before.unit, before.middle, None, "gone"))
        elif after:
            rows.append(Compared(name, after.unit, None, after.middle, "new"))
    return rows


def table(rows: list[Compared]) -> Table:
    """For the terminal."""
    made = Table(title="benchmarks compared")
    for name in ("figure", "before", "after", "unit", "change", ""):
        made.add_column(name, justify="left" if name in {"figure", "unit", ""} else "right")
    for row in rows:
        before, after = ("" if value is None else results.figure(value) for value in (row.before, row.after))
        change = f"{row.after / row.before - 1:+.1%}" if row.before and row.after is not None else ""
        made.add_row(row.name, before, after, row.unit, change, SIGNS[row.verdict])
    return made


def main() -> None:
    """Print the table; exit 1 where something has become worse."""
    parser = argparse.ArgumentParser(description="Did a commit make it slower?")
    parser.add_argument("before", help="a result file, or a commit")
    parser.add_argument("after", help="a result file, or a commit")
    parser.add_argument(
        "--results", type=Path, default=results.HOME / "results", help="folder of the results"
    )
    given = parser.parse_args()
    try:
        (about, one), (about_other, other) = (
            read(found(name, given.results)) for name in (given.before, given.after)
        )
    except ValueError as error:
        sys.exit(str(error))
    console = Console(width=None if Console().is_terminal else 150)
    rows = compare(one, other)
    console.print(table(rows))
    if about["machine"] != about_other["machine"]:
        console.print("[yellow]Not the same machine: only ratios mean something.[/]")
    worse = [row.name for row in rows if row.verdict == "worse"]
    console.print(f"{len(worse)} figures became worse" if worse else "nothing became worse")
    sys.exit(1 if worse else 0)


if __name__ == "__main__":
    main()
