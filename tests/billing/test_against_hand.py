"""Random histories, printed by the calculator and by the rules written down a second time: equal, row by row."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.billing.ledger_by_hand import Hand
from tests.billing.moments import PHASES, ZONES, starts, steps
from tracker_server.billing.what_if import what_if

MONTHLY = {"Std": 31000, "Pro": 99999, "Odd": 7, "Free": 0, "Term": 31000, "Year": 12345}
SMS = {"Std": 500, "Pro": 333, "Odd": 1, "Free": 0, "Term": 500, "Year": 1}
TERMS = frozenset({"Term", "Year"})


def money(minor: int) -> str:
    return f"{minor // 100}.{minor % 100:02}"


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    start: datetime = draw(starts)
    at, actions = start, list[dict[str, Any]]()
    for place in range(draw(st.integers(1, 14))):
        at += draw(steps)
        device = draw(st.sampled_from(("T1", "T2", "T3", "T4")))
        amount = draw(st.sampled_from((1, 500, 1107, 2214, 31000, 31500, 62000, 100000, 310000)))
        key = f"p{draw(st.integers(0, place))}" if draw(st.booleans()) else f"p{place}"
        action: dict[str, Any] = draw(
            st.sampled_from((
                {"do": "topup", "amount": money(amount), "key": key},
                {"do": "topup", "amount": money(amount), "key": f"q{place}"},
                {"do": "connect", "device": device, "priority": draw(st.integers(1, 3)), "test": False},
                {"do": "connect", "device": device, "priority": 2, "test": draw(st.integers(0, 3)) == 0},
                {"do": "connect", "device": device, "priority": 1, "test": False, "months": draw(st.integers(0, 13))},
                {"do": "pay_term", "device": device, "months": draw(st.integers(0, 13))},
                {"do": "pay_term", "months": draw(st.integers(1, 3))},
                {"do": "convert", "device": device},
                {"do": "remove", "device": device},
                {"do": "switch", "tariff": draw(st.sampled_from(sorted(MONTHLY)))},
                {"do": "refund", "amount": "all"},
                {"do": "sms"},
            ))
        )  # fmt: skip
        actions.append({"at": at.isoformat(), **action})
    tariffs = {
        name: {
            "monthly": money(MONTHLY[name]),
            "sms": money(SMS[name]),
            **({"mode": "term"} if name in TERMS else {}),
        }
        for name in MONTHLY
    }
    return {
        "currency": "RUB",
        "zone": draw(st.sampled_from(ZONES)),
        "tariff": draw(st.sampled_from(sorted(MONTHLY))),
        "tariffs": tariffs,
        "start": start.isoformat(),
        "end": (at + draw(steps) + timedelta(days=draw(st.sampled_from((0, 40, 90))))).isoformat(),
        "actions": actions,
    }


@settings(
    max_examples=150,
    phases=PHASES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
@given(histories())
def test_the_calculator_agrees_with_the_rules_written_twice(history: dict[str, Any]) -> None:
    answer = json.loads(what_if(json.dumps(history).encode()))
    hand = Hand(
        history["zone"], history["tariff"], {name: (MONTHLY[name], SMS[name]) for name in MONTHLY}, TERMS
    )
    hand.run(history["actions"], *(datetime.fromisoformat(history[name]) for name in ("start", "end")))
    rows = [
        (
            row["at"].replace("Z", "+00:00"),
            row["kind"],
            row["device"],
            row["date"],
            row["amount"],
            row["balance"],
        )
        for row in answer["entries"]
    ]
    expected = [
        (at, kind, device, day, f"{'-' if amount < 0 else ''}{money(abs(amount))}", money(balance))
        for at, kind, device, day, amount, balance in hand.rows
    ]
    assert rows == expected
    assert [(row["action"], row["reason"]) for row in answer["refused"]] == hand.refused
    assert answer["balance"] == money(hand.balance)
