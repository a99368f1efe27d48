"""Trackers change hands without anybody seeing what was another's; holds and releases may be repeated."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.cli.history import moments, store
from tests.cli.terminal import Terminal, parts
from tests.storage.rows import query

LONG_AGO = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rows_of(terminal: Terminal, unique_id: str) -> list[dict[str, Any]]:
    return query(
        terminal.dsn,
        "SELECT d.*, a.name AS account FROM core.devices d JOIN core.accounts a ON a.id = d.account_id"
        " WHERE unique_id = %s ORDER BY d.id",
        [unique_id],
    )


def test_a_tracker_is_added_with_all_that_is_said(terminal: Terminal) -> None:
    terminal.ok("account", "add", "A")
    said = terminal.ok(
        "device", "add", "356307042441013", "--account", "A", "--name", "Van 7", "--priority", "3", "--test"
    )
    assert said.startswith("tracker '356307042441013' added to account 'A'")
    (row,) = terminal.json("device", "list")
    assert (row["name"], row["account"], row["priority"], row["test"]) == ("Van 7", "A", 3, True)
    assert (row["state"], row["reason"], row["since"], row["owned_since"]) == ("active", None, None, None)


def test_a_tracker_goes_to_the_account_default_under_its_own_name(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T1")
    (row,) = terminal.json("device", "list")
    assert (row["name"], row["account"], row["priority"], row["test"]) == ("T1", "default", 1, False)


def test_an_identifier_is_connected_once(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T1")
    said = terminal.refused("device", "add", "T1")
    assert "UNIQUE_ID: tracker 'T1' exists already, in account 'default'" in said
    assert "`tracker-server device move T1" in said
    assert len(rows_of(terminal, "T1")) == 1


@pytest.mark.parametrize("bad", ["", " ", "x" * 65, "a\tb", "a\nb", "\x1b[31m", "a\x85b"])
def test_an_identifier_that_no_device_could_send_is_refused(terminal: Terminal, bad: str) -> None:
    assert "UNIQUE_ID: " in terminal.wrong("device", "add", bad)
    assert terminal.json("device", "list") == []


def test_what_cannot_be_meant_is_refused_by_its_flag(terminal: Terminal) -> None:
    for bad in ("0", "-1", "1.5", "x", "1000001", "9" * 30):
        assert f"--priority: '{bad}' is no priority" in terminal.wrong(
            "device", "add", "T1", f"--priority={bad}"
        )
    assert "--name: is empty" in terminal.wrong("device", "add", "T1", "--name", " ")
    assert "--reason: is empty" in terminal.wrong("device", "hold", "T1", "--reason", "")
    assert "--reason: has 501 characters" in terminal.wrong("device", "hold", "T1", "--reason", "x" * 501)
    assert "--reason requires an argument" in terminal.wrong("device", "hold", "T1")
    assert "--account requires an argument" in terminal.wrong("device", "move", "T1")


def test_an_account_that_is_not_there_is_named_with_its_nearest(terminal: Terminal) -> None:
    said = terminal.refused("device", "add", "T1", "--account", "defualt")
    assert "--account: there is no account named 'defualt'; did you mean 'default'?" in said
    assert "--account: there is no account named 'Z'" in terminal.refused("device", "list", "--account", "Z")
    terminal.ok("device", "add", "T1")
    assert "--account: there is no account" in terminal.refused("device", "move", "T1", "--account", "Z")


@pytest.mark.parametrize(
    "command",
    [("show",), ("remove",), ("move", "--account", "default"), ("hold", "--reason", "x"), ("release",)],
)
def test_a_tracker_that_is_not_there(terminal: Terminal, command: tuple[str, ...]) -> None:
    name, *flags = command
    assert "UNIQUE_ID: there is no tracker 'T9'" in terminal.refused("device", name, "T9", *flags)


@pytest.mark.parametrize("command", [("remove",), ("move", "--account", "default"), ("release",)])
def test_a_tracker_that_was_removed(terminal: Terminal, command: tuple[str, ...]) -> None:
    name, *flags = command
    terminal.ok("device", "add", "T1")
    terminal.ok("device", "remove", "T1")
    said = terminal.refused("device", name, "T1", *flags)
    assert "UNIQUE_ID: tracker 'T1' was removed at 20" in said
    assert "`tracker-server device add T1" in said


# ---------------------------------------------------------------------- changing hands


def test_r139_taken_over_from_another_account_it_shows_nothing_older(terminal: Terminal) -> None:
    """R139: the new owner sees none of the old owner's points, and late ones from before go to neither."""
    for account in ("A", "B"):
        terminal.ok("account", "add", account)
    terminal.ok("device", "add", "T1", "--account", "A")
    store(terminal.dsn, "T1", moments(LONG_AGO, 5))
    terminal.ok("device", "remove", "T1")
    before = datetime.now(UTC)
    terminal.ok("device", "add", "T1", "--account", "B")
    _, new = rows_of(terminal, "T1")
    assert before <= new["owned_since"] <= datetime.now(UTC)
    late = moments(before - timedelta(minutes=5), 3)
    store(terminal.dsn, "T1", late, received_at=datetime.now(UTC) + timedelta(seconds=1))
    soon = datetime.now(UTC) + timedelta(seconds=2)
    store(terminal.dsn, "T1", [soon])
    assert len(terminal.json("positions", "T1")) == 1
    assert len(terminal.json("positions", "T1", "--as", "operator")) == 9


def test_added_again_by_the_account_that_had_it(terminal: Terminal) -> None:
    """Nobody was in between: what comes from the time between is its own."""
    terminal.ok("device", "add", "T1")
    terminal.ok("device", "remove", "T1")
    terminal.ok("device", "add", "T1")
    former, new = rows_of(terminal, "T1")
    assert former["removed_at"] is not None
    assert new["owned_since"] is None


def test_back_in_the_first_accounts_hands_the_second_ones_stay_hidden(terminal: Terminal) -> None:
    for account in ("A", "B"):
        terminal.ok("account", "add", account)
    for account in ("A", "B", "A"):
        terminal.ok("device", "add", "T1", "--account", account)
        terminal.ok("device", "remove", "T1")
    terminal.ok("device", "add", "T1", "--account", "A")
    first, second, third, again = rows_of(terminal, "T1")
    assert first["owned_since"] is None
    assert second["owned_since"] < third["owned_since"]
    assert again["owned_since"] == third["owned_since"], "what bounded it then bounds it now"


def test_moving_ends_one_row_and_begins_another_at_the_same_instant(terminal: Terminal) -> None:
    terminal.ok("account", "add", "B")
    terminal.ok("device", "add", "T1", "--name", "Van", "--priority", "4", "--test")
    store(terminal.dsn, "T1", moments(LONG_AGO, 3))
    assert len(terminal.json("positions", "T1")) == 3
    terminal.ok("device", "move", "T1", "--account", "B")
    former, new = rows_of(terminal, "T1")
    assert former["removed_at"] == new["owned_since"]
    assert (new["account"], new["removed_at"]) == ("B", None)
    assert (new["name"], new["priority"], new["test"]) == ("Van", 4, True)
    assert terminal.json("positions", "T1") == []
    assert len(terminal.json("positions", "T1", "--as", "operator")) == 3
    assert [row["account"] for row in terminal.json("device", "show", "T1")["former"]] == ["default"]


def test_moving_to_where_it_is_changes_nothing(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T1")
    assert "is in account 'default' already; nothing was changed" in terminal.ok(
        "device", "move", "T1", "--account", "default"
    )
    assert len(rows_of(terminal, "T1")) == 1


def test_a_hold_moves_with_its_tracker_and_other_blocks_do_not(terminal: Terminal) -> None:
    terminal.ok("account", "add", "B")
    terminal.ok("device", "add", "T1")
    terminal.ok("device", "hold", "T1", "--reason", "ownership in dispute")
    query(
        terminal.dsn,
        "INSERT INTO core.blocks (device_id, reason, since) SELECT id, 'insufficient_funds', now() FROM core.devices",
    )
    assert "it stays on hold" in terminal.ok("device", "move", "T1", "--account", "B")
    shown = terminal.json("device", "show", "T1")
    assert [block["reason"] for block in shown["blocks"]] == ["hold"]
    assert (shown["state"], shown["reason"]) == ("blocked", "hold")


# ---------------------------------------------------------------------- hold and release


def test_hold_and_release_may_be_repeated(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T1")
    assert "is on hold since 20" in terminal.ok("device", "hold", "T1", "--reason", "theft")
    (since,) = [row["since"] for row in query(terminal.dsn, "SELECT since FROM core.blocks")]
    assert "was on hold already, since 20" in terminal.ok("device", "hold", "T1", "--reason", "theft")
    said = terminal.ok("device", "hold", "T1", "--reason", "court")
    assert "its reason is now: court (it was: theft)" in said
    (block,) = query(terminal.dsn, "SELECT reason, since, until, note FROM core.blocks")
    assert block == {"reason": "hold", "since": since, "until": None, "note": "court"}
    said = terminal.ok("device", "release", "T1")
    assert "is on hold no longer (it was since 20" in said
    assert query(terminal.dsn, "SELECT FROM core.blocks") == []
    assert "is not on hold; nothing was changed" in terminal.ok("device", "release", "T1")


def test_a_hold_that_has_run_out_begins_anew(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T1")
    query(
        terminal.dsn,
        "INSERT INTO core.blocks (device_id, reason, since, until, note)"
        " SELECT id, 'hold', '2026-01-01', '2026-01-02', 'old' FROM core.devices",
    )
    terminal.ok("device", "hold", "T1", "--reason", "new")
    (block,) = query(terminal.dsn, "SELECT since, until, note FROM core.blocks")
    assert block["until"] is None
    assert block["since"].year >= datetime.now(UTC).year
    assert terminal.json("device", "show", "T1")["state"] == "blocked"


def test_release_tells_what_still_hides_it(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T1")
    terminal.ok("device", "hold", "T1", "--reason", "x")
    query(
        terminal.dsn,
        "INSERT INTO core.blocks (device_id, reason, since) SELECT id, 'insufficient_funds', now() FROM core.devices",
    )
    (listed,) = terminal.json("device", "list")
    assert listed["reason"] == "hold, insufficient_funds"
    assert "it stays hidden for other reasons: insufficient_funds since 20" in terminal.ok(
        "device", "release", "T1"
    )


# ---------------------------------------------------------------------- lists


def test_the_list_tells_state_and_contact(terminal: Terminal) -> None:
    for unique_id in ("T1", "T2", "T3"):
        terminal.ok("device", "add", unique_id)
    store(terminal.dsn, "T1", moments(LONG_AGO, 2))
    terminal.ok("device", "hold", "T2", "--reason", "x")
    terminal.ok("device", "remove", "T3")
    one, two = terminal.json("device", "list")
    assert (one["unique_id"], one["state"], one["latest_fixed_at"]) == (
        "T1",
        "active",
        "2026-03-01T12:00:10Z",
    )
    assert (two["unique_id"], two["state"], two["reason"]) == ("T2", "blocked", "hold")
    assert two["since"].endswith("Z")
    everything = terminal.json("device", "list", "--removed")
    assert [row["state"] for row in everything] == ["active", "blocked", "removed"]
    table = terminal.ok("device", "list")
    assert "blocked" in table
    assert "T3" not in table


def test_the_list_of_one_account(terminal: Terminal) -> None:
    terminal.ok("account", "add", "A")
    terminal.ok("device", "add", "T1", "--account", "A")
    terminal.ok("device", "add", "T2")
    assert [row["unique_id"] for row in terminal.json("device", "list", "--account", "A")] == ["T1"]


def test_names_cannot_steer_a_spreadsheet_or_a_terminal(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T1", "--name", '=HYPERLINK("http://x")')
    query(terminal.dsn, "UPDATE core.devices SET unique_id = %s", ["\x1b[2J\u202eT1"])
    (row,) = csv.DictReader(io.StringIO(terminal.ok("device", "list", "--format", "csv")))
    assert row["name"] == '\'=HYPERLINK("http://x")'
    table = terminal.ok("device", "list")
    assert "\\x1b[2J\\x202eT1" in table
    assert "\x1b" not in table


def test_one_tracker_in_full(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T1")
    terminal.ok("device", "hold", "T1", "--reason", "theft")
    shown = terminal.json("device", "show", "T1")
    (block,) = shown["blocks"]
    assert (block["reason"], block["until"], block["note"]) == ("hold", None, "theft")
    assert shown["former"] == []
    assert shown["quarantine_frames"] == 0
    assert parts(terminal.ok("device", "show", "T1"))["state"] == "blocked"
