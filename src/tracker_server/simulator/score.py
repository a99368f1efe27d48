"""What all conversations of a run share: the plan, the clock's zero, and what is counted."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tracker_server.simulator.histogram import Histogram
from tracker_server.simulator.ledger import Ledger
from tracker_server.simulator.plan import Plan

SAMPLES_MAX = 5  # of wrong answers, to be shown
WHOLE_RESPONSES_MAX = 64  # a server's responses are few and alike; one that never repeats is parsed each time


class Score:
    """Counts, in fixes where they say fixes. A fix is answered once, however often its packet is sent.

    ``zero`` is the clock's reading (``time.monotonic``) when sending began; ``packet_rate`` packets a
    second of all devices in open loop, else None. ``last_at`` is when the last answer came or, where
    none are owed, the last packet went out.
    """

    __slots__ = (
        "abandoned",
        "breaks",
        "connected",
        "connects",
        "errors",
        "fixes_answered",
        "fixes_unanswerable",
        "fixes_wrong",
        "interrupted",
        "last_at",
        "late",
        "latency",
        "ledger",
        "packet_rate",
        "packets_answered",
        "packets_sent",
        "plan",
        "prepared_in_run_s",
        "resent",
        "samples",
        "timeouts",
        "troubles",
        "unasked",
        "whole_responses",
        "wrong",
        "zero",
    )  # fmt: skip

    def __init__(self, plan: Plan, ledger: Ledger | None) -> None:
        self.plan = plan
        self.ledger = ledger
        self.packet_rate = plan.rate / plan.packet if plan.rate else None
        self.zero = self.last_at = 0.0
        self.latency = Histogram()
        self.packets_sent = self.packets_answered = self.resent = 0
        self.fixes_answered = self.fixes_unanswerable = self.fixes_wrong = 0
        self.wrong = self.unasked = self.timeouts = self.late = 0
        self.connects = self.connected = self.breaks = 0
        self.prepared_in_run_s = 0.0
        self.errors: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()  # what the scenario itself did to packets and connections
        self.abandoned: set[Any] = set()
        self.samples: list[str] = []
        self.whole_responses: dict[bytes, int] = {}
        self.interrupted = False

    def wrong_answer(self, unique_id: str, wanted: bytes, got: bytes) -> None:
        """An answer that is not the one owed."""
        self.wrong += 1
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(f"{unique_id}: wanted {shown(wanted)}, got {shown(got)}")

    def unasked_for(self, unique_id: str, got: bytes) -> None:
        """Bytes when nothing was owed."""
        self.unasked += 1
        if len(self.samples) < SAMPLES_MAX:
            self.samples.append(f"{unique_id}: wanted nothing, got {shown(got)}")

    def keep_response(self, data: bytes, status: int) -> None:
        """These bytes are one whole response with this status: when they come again they need no parsing."""
        if len(self.whole_responses) < WHOLE_RESPONSES_MAX:
            self.whole_responses[data] = status


def shown(data: bytes) -> str:
    """Bytes in hexadecimal, cut to what fits a line."""
    return data[:40].hex() + ("…" if len(data) > 40 else "") or "nothing"
