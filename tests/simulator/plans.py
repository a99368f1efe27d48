"""Plans as the command makes them, with a few values of a test's own."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tracker_protocols import BY_NAME
from tracker_protocols.protocol import Transport
from tracker_server.simulator.plan import Plan, check

START = datetime(2025, 3, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def plan(protocol: str = "gt06", address: tuple[str, int] = ("127.0.0.1", 9), **values: Any) -> Plan:
    spoken = BY_NAME[protocol]
    given: dict[str, Any] = {
        "protocol": spoken,
        "host": address[0],
        "port": address[1],
        "transport": spoken.transports[0],
        "devices": 3,
        "fixes": 10,
        "start": START,
        "timeout_s": 5.0,
        **values,
    }
    given["transport"] = Transport(given["transport"])
    return check(Plan(**given), NOW)
