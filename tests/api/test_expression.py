"""Expressions of computed attributes, and how often signing in may fail: pure, so tried without a server."""

from __future__ import annotations

from typing import Any

import pytest

from tracker_server.api.attempts import KEYS_MAX, WINDOW_S, Attempts
from tracker_server.api.computed import typed
from tracker_server.model.expression import Expression, ExpressionError

FIELDS: dict[str, Any] = {"speed": 20.0, "ignition": True, "power": 12.5, "name": "x", "fuel": None}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("speed * 3", 60.0), ("ignition && power > 12", True), ("ignition and not (power gt 13)", True),
        ("power > 13 ? 'high' : 'fine'", "fine"), ("speed > 10 ? power > 20 ? 1 : 2 : 3", 2), ("!ignition == false", True),
        ("fuel == null", True), ("fuel ?: 7", 7), ("empty(fuel)", True), ("'a' + name", "ax"), ("min(speed, power)", 12.5),
        ("-speed + 5 % 3", -18.0), ("round(power * 10) / 10", 12.5), ('"it\\"s"', 'it"s'), ("1e3", 1000.0),
        ("fuel * 2", None), ("nothing", None), ("speed / 0", None), ("'x' * 99999999", None), ("speed < 'a'", None),
    ],
)  # fmt: skip
def test_values(text: str, value: Any) -> None:
    assert Expression(text).value(FIELDS) == value


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "speed +", "speed ** 2", "().__class__", "a.b", "__import__('os')", "open('x')", "lambda: 1", "[1]", "a = 1",
        "x for x in y", "1 if 2 else 3", "speed ? 1", "(speed", "speed)", "'open", "f'{x}'", "speed; 1", "a, b", "!",
        "(" * 60 + "1" + ")" * 60, "1+" * 600 + "1",
    ],
)  # fmt: skip
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(ExpressionError):
        Expression(text)


def test_results_have_the_attributes_type() -> None:
    assert typed(1, "boolean") is True
    assert typed("12", "number") is None
    assert typed(12.5, "string") == "12.5"
    assert typed(True, "string") == "true"
    assert typed(float("inf"), "number") is None
    assert typed(2**70, "number") is None


def test_failures_are_forgotten_with_time() -> None:
    attempts = Attempts(2)
    assert attempts.wait_s("a", 0.0) == 0.0
    attempts.failed("a", 0.0)
    assert attempts.wait_s("a", 1.0) == 0.0
    attempts.failed("a", 10.0)
    assert attempts.wait_s("a", 20.0) == WINDOW_S - 20.0
    assert attempts.wait_s("b", 20.0) == 0.0
    assert attempts.wait_s("a", WINDOW_S + 1) == 0.0, "the first is too long ago"
    attempts.failed("a", WINDOW_S + 2)
    attempts.forget("a")
    assert attempts.wait_s("a", WINDOW_S + 3) == 0.0


def test_a_flood_of_names_costs_a_bounded_memory() -> None:
    attempts = Attempts(1)
    for number in range(KEYS_MAX + 10):
        attempts.failed(str(number), 0.0)
    assert attempts.wait_s("0", 1.0) == 0.0, "the oldest is forgotten"
    assert attempts.wait_s(str(KEYS_MAX + 9), 1.0) > 0
