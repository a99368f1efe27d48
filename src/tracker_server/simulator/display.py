"""How a run goes, while it goes: a live table on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tracker_server.simulator.conversation import now_s
from tracker_server.simulator.fleet import Fleet
from tracker_server.simulator.histogram import Histogram
from tracker_server.simulator.run import Run

LIVE_S = 0.5
LINE_S = 5.0
COLUMNS = ("done", "fixes/s", "answer p50/p99", "connections", "troubles", "errors", "left")


class Display:
    """Writes to standard error, so that standard output holds the result alone."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._console = Console(stderr=True)
        self._seen: dict[Fleet, int] = {}
        self._seen_at = now_s()

    def preparing(self) -> Callable[[int], None]:
        """To be told how many devices' packets are ready."""
        if not self._console.is_terminal:
            return lambda _: None
        devices = self._run.devices
        step = max(1, devices // 50)

        def told(ready: int) -> None:
            if ready % step == 0 or ready == devices:
                end = "\n" if ready == devices else "\r"
                sys.stderr.write(f"making packets ready: {ready:,} of {devices:,} devices{end}")
                sys.stderr.flush()

        return told

    async def run(self) -> None:
        """Show, for ever."""
        if not self._console.is_terminal:
            while True:
                await asyncio.sleep(LINE_S)
                for name, row in self._rows():
                    values = "  ".join(
                        f"{column} {value}" for column, value in zip(COLUMNS, row, strict=True)
                    )
                    sys.stderr.write(f"{name}: {values}\n" if len(self._run.fleets) > 1 else f"{values}\n")
                sys.stderr.flush()
        with Live(self._table(), console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                await asyncio.sleep(LIVE_S)
                live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        table = Table()
        table.add_column("fleet", style="bold")
        for column in COLUMNS:
            table.add_column(column, justify="right")
        for name, row in self._rows():
            table.add_row(name, *row)
        return table

    def _rows(self) -> list[tuple[str, tuple[str, ...]]]:
        now = now_s()
        passed_s = max(now - self._seen_at, 1e-6)
        self._seen_at = now
        rows: list[tuple[str, tuple[str, ...]]] = []
        for fleet in self._run.fleets:
            plan = fleet.plan
            rows.append((f"{plan.protocol.name} → {plan.host}:{plan.port}", self._values(fleet, passed_s)))
        return rows

    def _values(self, fleet: Fleet, passed_s: float) -> tuple[str, ...]:
        plan, score = fleet.plan, fleet.score
        done = score.fixes_answered + score.fixes_unanswerable
        rate = (done - self._seen.get(fleet, 0)) / passed_s
        self._seen[fleet] = done
        latency: Histogram = score.latency
        faults = score.wrong + score.unasked + score.timeouts + score.late
        share = done / plan.fixes_in_all * 100 if plan.fixes_in_all else 100.0
        left = (plan.fixes_in_all - done) / rate if rate > 0 else 0.0
        return (
            f"{done:,} of {plan.fixes_in_all:,} ({share:.0f} %)",
            f"{rate:,.0f}",
            f"{latency.percentile_s(50) * 1e3:.1f}/{latency.percentile_s(99) * 1e3:.1f} ms",
            f"{score.connected:,} of {plan.devices:,}, broken {score.breaks:,}",
            f"{sum(score.troubles.values()):,}",
            f"{faults:,}",
            f"{left:,.0f} s",
        )
