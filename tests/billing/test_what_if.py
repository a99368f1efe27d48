"""The calculator: its shape to the letter, and what it says of a question that makes no sense."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracker_server.billing.what_if import what_if
from tracker_server.model.money import InvalidValueError

QUESTION: dict[str, Any] = {
    "currency": "RUB",
    "zone": "Europe/Moscow",
    "tariff": "Std",
    "tariffs": {"Std": {"mode": "balance", "monthly": "310.00", "sms": "5.00"}, "Free": {"monthly": "0.00"}},
    "start": "2025-01-01T00:00:00Z",
    "end": "2025-02-02T00:00:00Z",
    "actions": [
        {"at": "2025-01-01T07:00:00Z", "do": "topup", "amount": "1000.00", "key": "p1"},
        {"at": "2025-01-01T07:00:00Z", "do": "connect", "device": "T1", "priority": 1, "test": False},
    ],
}


def ask(*actions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    question = copy.deepcopy(QUESTION) | changes
    question["actions"] += actions
    return json.loads(what_if(json.dumps(question).encode()))


def test_the_shape_to_the_letter() -> None:
    assert ask() == {
        "entries": [
            {
                "at": "2025-01-01T07:00:00Z", "kind": "topup", "device": None, "date": None,
                "amount": "1000.00", "balance": "1000.00",
            },
            {
                "at": "2025-01-01T07:00:00Z", "kind": "connection", "device": "T1", "date": None,
                "amount": "-310.00", "balance": "690.00",
            },
            {
                "at": "2025-02-01T07:00:00Z", "kind": "daily", "device": "T1", "date": "2025-02-01",
                "amount": "-11.07", "balance": "678.93",
            },
            {
                "at": "2025-02-01T21:00:00Z", "kind": "daily", "device": "T1", "date": "2025-02-02",
                "amount": "-11.07", "balance": "667.86",
            },
        ],
        "devices": {"T1": {"state": "active", "reason": None, "due": "0.00", "paid_until": "2025-02-02T21:00:00Z"}},
        "refused": [],
        "balance": "667.86",
    }  # fmt: skip


def test_refused_names_the_action_counted_from_one() -> None:
    switches = [
        {"at": f"2025-01-1{n}T07:00:00Z", "do": "switch", "tariff": ("Free", "Std")[n % 2]} for n in range(3)
    ]
    answer = ask(*switches, {"at": "2025-01-20T07:00:00Z", "do": "remove", "device": "T9"})
    assert answer["refused"] == [
        {"action": 5, "reason": "switch_limit", "next_allowed": "2025-02-01T00:00:00+03:00"},
        {"action": 6, "reason": "unknown_device", "next_allowed": None},
    ]


def test_a_plan_that_lapses_is_refused_where_it_was_asked() -> None:
    answer = ask(
        {"at": "2025-01-02T07:00:00Z", "do": "switch", "tariff": "Free", "effective": "2025-01-20"},
        {"at": "2025-01-03T07:00:00Z", "do": "switch", "tariff": "Free"},
        {"at": "2025-01-04T07:00:00Z", "do": "switch", "tariff": "Std"},
    )
    assert [(row["action"], row["reason"]) for row in answer["refused"]] == [(3, "switch_limit")]


def test_actions_are_taken_by_time_and_then_as_given() -> None:
    answer = ask(
        {"at": "2025-01-01T06:00:00Z", "do": "topup", "amount": "1.00", "key": "early"},
        {"at": "2025-01-01T07:00:00Z", "do": "refund", "amount": "all"},
        {"at": "2025-01-01T07:00:00Z", "do": "topup", "amount": "2.00", "key": "late"},
    )
    assert [entry["amount"] for entry in answer["entries"]] == [
        "1.00",
        "1000.00",
        "-310.00",
        "-691.00",
        "2.00",
    ]
    assert answer["devices"]["T1"] == {
        "state": "blocked", "reason": "insufficient_funds", "due": "11.07", "paid_until": "2025-02-01T07:00:00Z",
    }  # fmt: skip


def test_every_action_is_understood() -> None:
    at = {"at": "2025-01-05T07:00:00Z"}
    answer = ask(
        at | {"do": "connect", "device": "X", "test": True},
        at | {"do": "convert", "device": "X"},
        at | {"do": "activate", "device": "T1"},
        at | {"do": "sms", "device": "T1", "text": "Zone left", "key": "a"},
        at | {"do": "sms", "failed": True},
        at | {"do": "suspend", "device": "T1", "until": "2025-01-20"},
        at | {"do": "resume", "device": "T1"},
        at | {"do": "pay_term", "device": "T1", "months": 3},
        at | {"do": "reprioritise", "device": "T1", "priority": 2},
        at | {"do": "price", "tariff": "Std", "monthly": "330.00", "since": "2025-02-01"},
        at | {"do": "zone", "zone": "America/Santiago"},
        at | {"do": "refund", "amount": "10.00"},
        at | {"do": "chargeback", "payment": "p1", "amount": "1000.00"},
        at | {"do": "remove", "device": "X"},
        at | {"do": "withdraw", "statement": "I withdraw."},
        settings={"reserve_days": 0, "sms_unit": "segment"},
    )
    assert [row["reason"] for row in answer["refused"]] == ["not_a_term_tariff"]
    kinds = [entry["kind"] for entry in answer["entries"]]
    assert kinds[:8] == ["topup", "connection", "connection", "sms", "sms", "reversal", "refund", "reversal"]


def changed(path: str, value: Any) -> dict[str, Any]:
    question: Any = copy.deepcopy(QUESTION)
    place, *steps = path.split("/")
    found = question
    for step in steps:
        found, place = found[int(place) if place.isdigit() else place], step
    if value is ...:
        del found[place]
    else:
        found[int(place) if place.isdigit() else place] = value
    return question


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("currency", "RUR", "currency: 'RUR' is not an ISO 4217 currency"),
        ("currency", ..., "currency: it is missing"),
        ("zone", "Moscow", "zone: 'Moscow' is not an IANA time zone"),
        ("zone", "../etc", "zone: '../etc' is not an IANA time zone"),
        ("zone", "Europe", "zone: 'Europe' is not an IANA time zone"),
        ("tariff", "Gold", "tariff: 'Gold' is not one of Free, Std"),
        ("tariffs", {}, "tariffs: it is not a JSON object of tariffs"),
        ("tariffs/Std/monthly", 310.0, "tariffs.Std.monthly: 310.0 is not an amount; write it in quotes"),
        ("tariffs/Std/monthly", "-1", "tariffs.Std.monthly: a price is not below 0"),
        ("tariffs/Std/sms_max", -1, "tariffs.Std.sms_max: write a whole number from 0"),
        ("tariffs/Std/mode", "prepaid", "tariffs.Std.mode: 'prepaid' is not one of free, balance, term"),
        ("tariffs/Std/mode", "free", "tariffs.Std.monthly: a free tariff costs 0"),
        ("tariffs/Std/smss", "5.00", "tariffs.Std.smss: there is no such field here"),
        ("start", "2025-01-01", "start: '2025-01-01' is not an instant"),
        ("start", 0, "start: 0 is not an instant"),
        ("end", "2024-01-01T00:00:00Z", "end: 2024-01-01T00:00:00+00:00 is before start"),
        ("end", "9999-01-01T00:00:00Z", "end: '9999-01-01T00:00:00Z' is not an instant"),
        ("end", "2300-01-01T00:00:00Z", "end: it is more than 150 years after start"),
        ("actions", {}, "actions: {} is not a list"),
        ("actions/1", 7, "actions[1]: 7 is not a JSON object"),
        ("actions/1/at", "2026-01-01T00:00:00Z", "actions[1].at: 2026-01-01T00:00:00+00:00 is not between start and end"),
        ("actions/1/do", "buy", "actions[1].do: 'buy' is not one of activate, "),
        ("actions/1/device", "", "actions[1].device: '' is no name"),
        ("actions/1/priority", "1", "actions[1].priority: '1' is not a whole number"),
        ("actions/1/test", "no", "actions[1].test: 'no' is neither"),
        ("actions/0/amount", "0.00", "actions[0].amount: it must be more than 0"),
        ("actions/0/amount", "1.001", "actions[0].amount: '1.001' has 3 decimals, but RUB has 2"),
        ("actions/0/amount", ..., "actions[0].amount: it is missing"),
        ("actions/0/amout", "1", "actions[0].amout: there is no such field here"),
        ("settings", {"reserve_days": "x"}, "settings: Expected `int`, got `str`"),
        ("settings", {"reserve_days": -1}, "settings.reserve_days: write a whole number from 0 to 366"),
        ("colour", "red", "colour: there is no such field here"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_named(path: str, value: Any, says: str) -> None:
    with pytest.raises(InvalidValueError) as error:
        what_if(json.dumps(changed(path, value)).encode())
    assert str(error.value).startswith(says), str(error.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[1, 2]", b"\xff\xfe", b"null", b'"x"'])
def test_what_is_no_question(text: bytes) -> None:
    with pytest.raises(InvalidValueError, match=r"^file"):
        what_if(text)


def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "from tracker_server.cli import main; main()",
        "billing",
        "what-if",
        *arguments,
    ]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "question.json"
    file.write_text(json.dumps(QUESTION))
    from_file, from_stdin = run(str(file)), run("-", text=json.dumps(QUESTION))
    assert from_file.returncode == from_stdin.returncode == 0, from_file.stderr
    assert from_file.stdout == from_stdin.stdout
    assert json.loads(from_file.stdout) == ask()


def test_wrong_use_of_the_command(tmp_path: Path) -> None:
    missing, broken = run(str(tmp_path / "none.json")), run("-", text="{")
    assert (missing.returncode, broken.returncode) == (2, 2)
    assert "none.json cannot be read" in missing.stderr
    assert broken.stderr.startswith("tracker-server: file: it is not JSON")
    assert broken.stdout == ""
