"""What is kept of a tracker's last reports: packed, a few batches together, and enough to run them again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tests.track.world import random_day
from tracker_protocols.model import Fix
from tracker_server.pipeline.track_book import (
    PAST_MAX,
    PAST_REPORTS,
    PAST_REPORTS_MAX,
    Change,
    Deep,
    Entry,
    Ground,
    Past,
    packed_reports,
    take,
)
from tracker_server.pipeline.trackers import Tracker
from tracker_server.track.observation import Observation, arranged, observation
from tracker_server.track.state import State, settled

NOON_US = 800_000_000_000_000
GROUNDS = {1: Ground()}


def report(n: int, **attributes: Any) -> Observation:
    """One of every ten seconds, on the way north."""
    fix = Fix(datetime(2026, 1, 1, tzinfo=UTC), 41.0 + n / 1_000, 2.0, speed_mps=11.0, course_deg=0.0)
    at_us = NOON_US + n * 10_000_000
    return observation(at_us, n, at_us + 700_000, fix, attributes)


def fed(entry: Entry, *batches: Sequence[Observation]) -> Entry:
    """After these batches, none of which needs more than is kept."""
    tracker = Tracker("T1", 1, 1)
    for one in batches:
        (change,), deep = take({tracker: list(one)}, {1: entry}, GROUNDS)
        assert isinstance(change, Change)
        assert not deep
        entry = change.entry
    return entry


def test_reports_come_out_as_they_went_in() -> None:
    day = arranged(random_day(3))[:20]
    odd = report(1, deep={"list": [1, 2.5, None, True, "ж"]}, low=-(2**63), high=2**63 - 1, text="")
    silent = Observation(NOON_US, -5, NOON_US)
    for reports in ([odd], [silent, odd], day):
        past = Past(State(), packed_reports(reports), len(reports), ())
        assert past.reports() == reports
        more = past.with_more(packed_reports([silent]), 1, ())
        assert (more.reports(), more.count) == ([*reports, silent], len(reports) + 1)


def test_single_reports_go_together_and_few_are_kept() -> None:
    entry = fed(Entry(0, State()), *([report(n)] for n in range(5 * PAST_REPORTS)))
    assert [past.count for past in entry.past] == [PAST_REPORTS] * PAST_MAX
    kept = [seen for past in entry.past for seen in past.reports()]
    assert kept == [report(n) for n in range((5 - PAST_MAX) * PAST_REPORTS, 5 * PAST_REPORTS)]
    long = [report(n) for n in range(100, 101 + PAST_REPORTS_MAX)]
    assert fed(entry, long).past == []


def test_a_late_report_within_a_run_is_as_one_in_time() -> None:
    reports = [report(n) for n in range(3 * PAST_REPORTS)]
    for late in range(2 * PAST_REPORTS, 3 * PAST_REPORTS - 1):
        on_time = fed(Entry(0, State()), *([one] for one in reports))
        others = [[one] for at, one in enumerate(reports) if at != late]
        assert settled(fed(Entry(0, State()), *others, [reports[late]]).state) == settled(on_time.state)


def test_what_cannot_be_packed_is_not_kept() -> None:
    """A number of any length may stand in JSON; what comes late after it is run from the database."""
    entry = fed(Entry(0, State()), [report(1)], [report(2, odd=2**70)])
    assert entry.past == []
    changes, (deep,) = take({Tracker("T1", 1, 1): [report(0)]}, {1: entry}, GROUNDS)
    assert isinstance(deep, Deep)
    assert (changes, deep.from_us) == ([], report(0).at_us)
