"""Kill -9, a thousand times: ``make chaos ARGS="--kills 1000"``.

In rounds. Each has a seed of its own, counted up from the first, a new database and a new fleet; its kills come a moment after
the fleet is answered again, so that each one meets reports, payments and letters under way; and at its end the judge looks at all
of it. The report is written after each round: what was counted stands when the run is ended early.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.chaos.faults import KILLS
from tests.chaos.run import Course, Verdict, chaos

DEVICES = 60
RATE = 40.0  # fixes a second: what a machine that does other things beside it carries
GAP_S = (0.05, 1.0)
SECONDS_MAX = 3_600.0  # of one round: the fleet has fixes for so long
COUNTED = ("fixes_lost", "fixes_doubled", "alerts_lost", "cents_off")


class Campaign:
    """All rounds so far."""

    def __init__(self, goal: int, folder: Path | None) -> None:
        self.goal = goal
        self.rounds: list[Verdict] = []
        self._folder = folder
        self._begun = time.monotonic()
        self._console = Console()
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("kills"), TimeElapsedColumn(),
            console=self._console, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=goal)

    @property
    def kills(self) -> int:
        """Of the rounds that were judged."""
        return sum(verdict.kills for verdict in self.rounds)

    @property
    def found(self) -> list[str]:
        """Of all rounds."""
        return [f"seed {one.seed}: {sentence}" for one in self.rounds for sentence in one.found]

    async def run(self, seed: int, each: int, *, keep_logs: bool) -> None:
        """Until the goal is reached."""
        with self._progress:
            while self.kills < self.goal:
                course = Course(
                    SECONDS_MAX, kills=min(each, self.goal - self.kills), among=KILLS,
                    devices=DEVICES, rate=RATE, gap_s=GAP_S,
                )  # fmt: skip
                self.judged(await chaos(seed, course, keep_logs=keep_logs, told=self._told))
                seed += 1

    def judged(self, verdict: Verdict) -> None:
        """One round more."""
        self.rounds.append(verdict)
        self._progress.update(self._task, completed=self.kills)
        self._console.print(verdict.told(), highlight=False)
        self._write()

    def _told(self, said: str, verdict: Verdict) -> None:
        kills = self.kills + verdict.kills
        a_minute = kills / max(time.monotonic() - self._begun, 1e-6) * 60
        self._progress.update(
            self._task, completed=kills, description=f"seed {verdict.seed} {said} {a_minute:.1f}/min"
        )
        if not self._console.is_terminal and not sum(verdict.faults.values()) % 10:
            line = f"{datetime.now(UTC):%H:%M:%S} seed {verdict.seed}: {kills} of {self.goal} kills, {a_minute:.1f} a minute"
            self._console.print(line, highlight=False)

    # ------------------------------------------------------------------ what came of it

    def table(self) -> Table:
        """Per kind of kill."""
        table = Table(title=f"{self.kills} kills in {len(self.rounds)} rounds")
        for name in ("what was killed", "times", "kills", "answered again after: median", "at most"):
            table.add_column(name, justify="left" if name.startswith("what") else "right")
        for row in self.rows():
            table.add_row(*row)
        return table

    def rows(self) -> list[tuple[str, ...]]:
        """What the tables show."""
        times, kills = Counter[str](), Counter[str]()
        waited: dict[str, list[float]] = {}
        for verdict in self.rounds:
            times += verdict.faults
            kills += verdict.kills_by
            for name, seconds in verdict.answered_after_s.items():
                waited.setdefault(name, []).extend(seconds)
        return [
            (
                name.removeprefix("kill_").replace("_", " "),
                str(times[name]),
                str(kills[name]),
                f"{statistics.median(waited[name]):.1f} s" if waited.get(name) else "",
                f"{max(waited[name]):.1f} s" if waited.get(name) else "",
            )
            for name in sorted(times)
        ]

    def sums(self) -> dict[str, int]:
        """What was counted, over all rounds."""
        judged = {name: sum(getattr(one.judged, name) for one in self.rounds) for name in (*COUNTED, "again")}
        told = {
            name: sum(getattr(one, name) for one in self.rounds)
            for name in ("answered", "paid", "letters", "alerts")
        }
        return {"kills": self.kills, **told, **judged}

    def markdown(self) -> str:
        """As a page."""
        sums = self.sums()
        lines = [
            f"# {self.kills} kills", "",
            f"Commit {_commit()}, seeds {', '.join(str(one.seed) for one in self.rounds)}.", "",
            f"{sums['answered']:,} fixes answered, {sums['paid']:,} payments, {sums['letters']:,} letters, {sums['alerts']:,} alerts.", "",
            "| lost fixes | doubled fixes | lost alerts and letters | cents off | told twice |", "|---:|---:|---:|---:|---:|",
            "| " + " | ".join(str(sums[name]) for name in (*COUNTED, "again")) + " |", "",
            "| what was killed | times | kills | answered again after: median | at most |", "|---|---:|---:|---:|---:|",
            *("| " + " | ".join(row) + " |" for row in self.rows()), "",
            *(f"- BROKEN: {sentence}" for sentence in self.found),
        ]  # fmt: skip
        return "\n".join(lines).rstrip() + "\n"

    def _write(self) -> None:
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"kills-{self.rounds[0].seed}"
        told = {
            "commit": _commit(),
            "goal": self.goal,
            **self.sums(),
            "rounds": [
                {
                    "seed": one.seed, "seconds": round(one.seconds, 1), "kills": one.kills, "faults": one.faults,
                    "answered": one.answered, "found": one.found,
                }
                for one in self.rounds
            ],
        }  # fmt: skip
        (self._folder / f"{name}.json").write_text(json.dumps(told, indent=2) + "\n")
        (self._folder / f"{name}.md").write_text(self.markdown())

    def tell(self) -> None:
        """At the end."""
        self._console.print(self.table())
        self._console.print(
            ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in self.sums().items())
        )
        for sentence in self.found:
            self._console.print(f"BROKEN: {sentence}", highlight=False)


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def main(seed: int, goal: int, each: int, folder: Path | None, *, keep_logs: bool) -> int:
    """The exit status."""
    if each < 1:
        sys.exit("--round: one kill at least is judged at a time")
    campaign = Campaign(goal, folder)
    with contextlib.suppress(KeyboardInterrupt):  # what was judged is told
        asyncio.run(campaign.run(seed, each, keep_logs=keep_logs))
    campaign.tell()
    return 1 if campaign.found else 0
