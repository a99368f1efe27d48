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

LIVE_S = 0.5
LINE_S = 5.0


class Display:
    """Writes to standard error, so that standard output holds the result alone."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._console = Console(stderr=True)
        self._seen = 0
        self._seen_at = now_s()

    def preparing(self) -> Callable[[int], None]:
        """To be told how many devices' packets are ready."""
        if not self._console.is_terminal:
            return lambda _: None
        devices = self._fleet.plan.devices
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
                sys.stderr.write("  ".join(f"{name} {value}" for name, value in self._values()) + "\n")
                sys.stderr.flush()
        with Live(self._table(), console=self._console, auto_refresh=False, transient=True) as live:
            while True:
                await asyncio.sleep(LIVE_S)
                live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        plan = self._fleet.plan
        table = Table(title=f"{plan.protocol.name} → {plan.host}:{plan.port}", show_header=False)
        table.add_column(style="bold")
        table.add_column(justify="right", min_width=24)
        for name, value in self._values():
            table.add_row(name, value)
        return table

    def _values(self) -> list[tuple[str, str]]:
        plan, score = self._fleet.plan, self._fleet.score
        now = now_s()
        done = score.fixes_answered + score.fixes_unanswerable
        rate = (done - self._seen) / max(now - self._seen_at, 1e-6)
        self._seen, self._seen_at = done, now
        latency = score.latency
        faults = score.wrong + score.unasked + score.timeouts
        share = done / plan.fixes_in_all * 100 if plan.fixes_in_all else 100.0
        return [
            ("done", f"{done:,} of {plan.fixes_in_all:,} ({share:.0f} %)"),
            ("fixes/s", f"{rate:,.0f}"),
            (
                "answer p50/p99",
                f"{latency.percentile_s(50) * 1e3:.1f}/{latency.percentile_s(99) * 1e3:.1f} ms",
            ),
            ("connections", f"{score.connected:,} of {plan.devices:,}, broken {score.breaks:,}"),
            ("errors", f"{faults:,}"),
        ]
