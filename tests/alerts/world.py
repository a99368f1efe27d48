"""An account with a rule, and events as the track engine stores them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tracker_server.alerts.rules import AlertEvent, Household, Person, Recipient, Rule, RuleRow

NOON = datetime(2027, 2, 15, 12, tzinfo=UTC)  # a Monday

MAIL = Rule(types=("geofenceEnter",), channels=("email",), always=True)


def event(kind: str = "geofenceEnter", **changes: Any) -> AlertEvent:
    values: dict[str, Any] = {
        "id": 7,
        "device_id": 3,
        "account_id": 1,
        "unique_id": "T3",
        "name": "Van 3",
        "type": kind,
        "occurred_at": NOON,
        "fence_id": 5,
        "fence": "Depot",
        "latitude": 40.4168,
        "longitude": -3.7038,
    }
    return AlertEvent(**{**values, **changes})


def household(*rules: Rule, **changes: Any) -> Household:
    rows = tuple(
        RuleRow(number, 1, changes.get("user_id"), f"rule {number}", enabled=True, rule=rule)
        for number, rule in enumerate(rules, 1)
    )
    changes.pop("user_id", None)
    values: dict[str, Any] = {
        "id": 1,
        "name": "Norte",
        "zone": "Europe/Madrid",
        "language": "es",
        "email": "office@example.com",
        "rules": rows,
    }
    return Household(**{**values, **changes})


__all__ = ["MAIL", "NOON", "Person", "Recipient", "Rule", "event", "household"]
