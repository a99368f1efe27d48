"""How a run went, second by second."""

from __future__ import annotations

import asyncio
import time

from msgspec import Struct

from tracker_server.simulator.score import Score

EVERY_S = 1.0
MOMENTS_MAX = 100_000  # a little more than a day


class Moment(Struct, frozen=True):
    """One step, that ends ``at_s`` seconds after the first packet: rates in fixes a second, answers' latencies
    within the step, and what had been counted until then.
    """

    at_s: float
    answered_per_s: float
    sent_packets_per_s: float
    connected: int
    p50_s: float
    p99_s: float
    faults: int
    troubles: int


class Timeline:
    """Looks at a run's score once a second."""

    def __init__(self, score: Score) -> None:
        self.moments: list[Moment] = []
        self._score = score
        self._at_s = 0.0
        self._answered = self._sent = 0
        self._counts = list(score.latency.counts)

    async def run(self) -> None:
        """Look, for ever."""
        while len(self.moments) < MOMENTS_MAX:
            await asyncio.sleep(EVERY_S)
            if self._score.zero:
                self.look(time.monotonic())

    def look(self, now: float | None = None) -> None:
        """Write down what has passed since the last look; ``now`` (monotonic) where it is not the run's end."""
        score = self._score
        at_s = (score.last_at if now is None else now) - score.zero
        passed_s = at_s - self._at_s
        answered = score.fixes_answered + score.fixes_unanswerable
        if passed_s <= 0 or (now is None and answered == self._answered):
            return
        recent = score.latency.since(self._counts)
        self.moments.append(
            Moment(
                round(at_s, 3),
                (answered - self._answered) / passed_s,
                (score.packets_sent - self._sent) / passed_s,
                score.connected,
                recent.percentile_s(50),
                recent.percentile_s(99),
                score.wrong + score.unasked + score.timeouts + score.breaks,
                sum(score.troubles.values()),
            )
        )
        self._at_s, self._answered, self._sent = at_s, answered, score.packets_sent
        self._counts = list(score.latency.counts)
