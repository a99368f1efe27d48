"""The benchmarks: ``python benchmarks/run.py [--only NAME] [--seconds S]``. See README.md in this folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import decode
import ingest
import many
import results
from measures import Found
from rich.console import Console

import mqtt

NAMED: dict[str, Callable[[float], Found]] = {
    "decode": lambda _: decode.run(),
    **{f"ingest-{name}": partial(ingest.run, case) for name, case in ingest.CASES.items()},
    "mqtt": mqtt.run,
    "slow": many.slow,
    "idle": lambda _: many.idle(),
    "start": lambda _: many.start(),
}
SECONDS = 5.0


def main() -> None:
    """Run what is asked for, print the table, write the files."""
    parser = argparse.ArgumentParser(
        description="Measure the server. The short set takes less than five minutes."
    )
    parser.add_argument(
        "--only", action="append", choices=list(NAMED), help="this benchmark alone; may be given again"
    )
    parser.add_argument(
        "--seconds", type=seconds, default=SECONDS, help="length of each measured run (default: 5)"
    )
    parser.add_argument(
        "--results", type=Path, default=results.HOME / "results", help="folder for the result files"
    )
    given = parser.parse_args()
    console = Console(width=None if Console().is_terminal else 140)
    about = results.circumstances()
    found: list[Found] = []
    failed: list[str] = []
    for name in given.only or NAMED:
        console.print(f"[bold]{name}[/] …")
        try:
            found.append(NAMED[name](given.seconds))
        except RuntimeError as error:
            failed.append(name)
            console.print(f"[red]{name} failed:[/] {error}")
    console.print(results.table(found))
    console.print(results.disturbances(found))
    for path in results.write(found, about, given.results):
        console.print(f"written: {path}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def seconds(text: str) -> float:
    """A length that makes sense."""
    value = float(text)
    if not 1 <= value <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 600")
    return value


if __name__ == "__main__":
    main()
