from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.fuzz.targets import Nowhere
from tracker_protocols.model import Fix
from tracker_server.pipeline.batch import PositionRow
from tracker_server.pipeline.session import Session, Ticket
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage.copy_rows import NULL, encode_json, position_bytes


def row(attributes: dict[str, Any], **measured: Any) -> PositionRow:
    tracker = Tracker("x")
    tracker.id = 1
    fix = Fix(datetime(2026, 1, 1, tzinfo=UTC), 1.0, 2.0, **measured)
    return PositionRow(
        tracker, 1, 2, fix, attributes, None, Ticket(Session("x", "tcp", "x", Nowhere()), b"", 3, b"", 0.0)
    )


@pytest.mark.parametrize("measured", ["altitude_m", "speed_mps", "course_deg", "accuracy_m"])
def test_what_four_bytes_do_not_hold_was_not_measured(measured: str) -> None:
    """One hostile frame must not keep a whole batch from being packed."""
    assert position_bytes(row({}, **{measured: 1e60})) == position_bytes(row({}))
    assert position_bytes(row({}, **{measured: 1e30})) != position_bytes(row({}))
    assert position_bytes(row({})).count(NULL) == 5


def test_a_nul_does_not_cost_its_report() -> None:
    assert encode_json({"a\0": "b\0c", "d": "plain"}) == b'{"a\\ufffd":"b\\ufffdc","d":"plain"}'
    assert b"\\u0000" not in position_bytes(row({"a\0": 1}))
