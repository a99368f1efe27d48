"""Whatever a blocked tracker sends, no command that shows a customer's side prints another byte. The commands come from
the program: a new one has to be put into one of the two lists below, or the test fails.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from tests.cli.history import moments, store
from tests.cli.terminal import Terminal
from tests.cli.test_program import ALL_COMMANDS
from tests.storage.rows import query

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FREE, BLOCKED = "T1", "T2"
PERIOD = ("--from", "2026-03-01", "--to", "2026-03-03")
MADE_AT = re.compile(r'"(at|until)": ?"[^"]*Z"')  # when a forecast was made, and how far ahead it looks
# What a customer may be shown: of each tracker where one is named, of the account otherwise.
OF_A_TRACKER = {
    **dict.fromkeys(("events", "trips", "stops", "visits"), ("table", "json", "csv")),
    "positions": ("table", "json", "csv", "geojson", "gpx", "kml"),
}
OF_AN_ACCOUNT: dict[str, tuple[str, ...]] = {
    "alert list": ("--format", "json"),
    "alert rule list": ("--format", "json"),
    "billing forecast": ("A", "--format", "json"),
    "billing invoices": ("A", "--format", "json"),
    "billing ledger": ("A", "--format", "json"),
    "billing payments": ("A", "--format", "json"),
    "fence export": ("--account", "A"),
    "fence list": ("--format", "json"),
    "proximity list": ("--format", "json"),
}
# Who works on the server itself sees all of it. Each of these either changes something, or speaks to the operator alone.
OPERATORS = {
    "account add", "account list", "account set", "account show", "alert preview", "alert rule add", "alert rule remove",
    "alert rule show", "alert secret", "alert test", "backup create", "backup list", "backup restore", "backup verify",
    "billing activate", "billing back-pay", "billing chargeback", "billing convert", "billing hold-collection", "billing installation", "billing invoice", "billing link", "billing monthly",
    "billing pay-term", "billing payout done", "billing payout list", "billing payout retry", "billing priority",
    "billing refund", "billing resume", "billing run", "billing statement", "billing suspend", "billing switch", "billing topup",
    "billing verify", "billing waive", "billing what-if", "billing withdraw", "billing zone", "command cancel", "command list",
    "command send", "command types", "config check", "config show", "db dsn", "db migrate", "db status", "decode", "device add",
    "device hold", "device import", "device list", "device move", "device release", "device remove", "device show", "doctor",
    "fence add", "fence assign", "fence import", "fence remove", "import traccar", "mqtt login add", "mqtt login list",
    "mqtt login remove", "mqtt send", "mqtt waiting", "outbox drop", "outbox list", "outbox retry", "outbox test", "protocols",
    "proximity add", "proximity remove", "quarantine drop", "quarantine list", "quarantine replay", "serve", "simulate",
    "tariff add", "tariff list", "tariff price", "track explain", "track plot", "track rerun", "track set", "user add",
    "user disable", "user list", "user password", "user remove", "user token", "version",
}  # fmt: skip


def test_each_command_is_the_customers_or_the_operators() -> None:
    names = {" ".join(command) for command in ALL_COMMANDS}
    assert names == {*OF_A_TRACKER, *OF_AN_ACCOUNT} | OPERATORS
    assert not ({*OF_A_TRACKER, *OF_AN_ACCOUNT} & OPERATORS)


def printed(terminal: Terminal) -> dict[str, str]:
    """All that the customer's commands print, of the free tracker, of the blocked one, and of the account."""
    found: dict[str, str] = {}
    for name, forms in OF_A_TRACKER.items():
        for form in forms:
            for unique_id in (FREE, BLOCKED):
                said = terminal(name, unique_id, *PERIOD, "--format", form)
                found[f"{name} {unique_id} {form}"] = f"{said.code}\n{said.out}\n{said.err}"
    for name, words in OF_AN_ACCOUNT.items():
        said = terminal(*name.split(), *words)
        assert said.code == 0, said.err
        found[name] = f"{MADE_AT.sub('', said.out)}\n{said.err}"
    return found


def sends(terminal: Terminal, unique_id: str, minute: int) -> None:
    """Fixes, and what the track engine would find in them."""
    begin = NOON.replace(minute=minute)
    store(terminal.dsn, unique_id, moments(begin, 5))
    for statement in (
        "INSERT INTO core.events (device_id, type, occurred_at, fence_id) SELECT id, 'geofenceEnter', %s, (SELECT min(id) FROM core.fences)",
        (
            "INSERT INTO core.trips (device_id, started_at, ended_at, decided_at, distance_mm, odometer_start_mm, start_latitude,"
            " start_longitude, end_latitude, end_longitude, start_digest, end_digest, speed_max_mps)"
            " SELECT id, %s, timestamptz '2026-03-02', now(), 77000, 0, 52, 21, 52.1, 21.1, 1, 2, 20"
        ),
        "INSERT INTO core.visits (device_id, fence_id, entered_at, decided_at) SELECT id, (SELECT min(id) FROM core.fences), %s, now()",
    ):
        query(terminal.dsn, f"{statement} FROM core.devices WHERE unique_id = %s", [begin, unique_id])


def test_what_a_blocked_tracker_sends_changes_no_line(terminal: Terminal) -> None:
    terminal.ok("account", "add", "A", "--zone", "UTC", "--currency", "EUR", "--tariff", "Free")
    for unique_id in (FREE, BLOCKED):
        terminal.ok("device", "add", unique_id, "--account", "A")
    terminal.ok("fence", "add", "ring", "--account", "A", "--circle", "52.0,21.0,400")
    sends(terminal, FREE, 1)
    terminal.ok("device", "hold", BLOCKED, "--reason", "unpaid")
    before = printed(terminal)
    for minute in (2, 7, 30):
        sends(terminal, BLOCKED, minute)
    after = printed(terminal)
    assert [name for name in before if before[name] != after[name]] == []
    assert "77" in after[f"trips {FREE} json"], "the free one's are there"
    terminal.ok("device", "release", BLOCKED)
    shown = printed(terminal)
    of_the_blocked = {name for name in before if f" {BLOCKED} " in name and not name.startswith("stops")}
    assert {name for name in before if before[name] != shown[name]} >= of_the_blocked
