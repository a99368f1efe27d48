"""What a tariff allows an account: told where the database refused more, and the features that reports have, written down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection

from tracker_server.billing.facts import AnyFact, Switched
from tracker_server.billing.state import State
from tracker_server.billing.switches import feature_spans
from tracker_server.billing.tariffs import Feature

LIMITS: Final = frozenset({"fences_max", "users_max"})  # as the triggers name them

REMOVE = "DELETE FROM core.features WHERE account_id = ANY(%s)"
ADD = """
INSERT INTO core.features (account_id, feature, spans)
SELECT account_id, feature, spans::tstzmultirange FROM unnest(%s::bigint[], %s::text[], %s::text[]) AS f (account_id, feature, spans)
"""
PRESENT = (
    "SELECT feature, spans = %s::tstzmultirange FROM core.features WHERE account_id = %s AND feature = %s"
)


def limit_told(error: psycopg.errors.CheckViolation) -> str | None:
    """The sentence that names limit and cure; None where the error is another."""
    if error.diag.constraint_name not in LIMITS:
        return None
    return error.diag.message_primary


def spans_text(state: State, feature: str) -> str | None:
    """When reports have a feature, as PostgreSQL writes it; None: always, for no tariff was ever without it."""
    if all(feature in state.tariffs[since.tariff].features for since in state.history):
        return None
    spans = feature_spans(state, feature)
    return (
        "{"
        + ",".join(f"[{span.start.isoformat()},{span.end.isoformat() if span.end else ''})" for span in spans)
        + "}"
    )


async def sync_features(
    connection: AsyncConnection[Any], accounts: Sequence[tuple[int, State, Sequence[AnyFact], bool]]
) -> None:
    """Bring the rows of accounts that are new, or went to another tariff, to their states. Part of the facts' transaction."""
    moved = [
        (account, state)
        for account, state, facts, new in accounts
        if new or any(isinstance(fact, Switched) for fact in facts)
    ]
    if not moved:
        return
    rows = [
        (account, feature.value, spans)
        for account, state in moved
        for feature in Feature
        if (spans := spans_text(state, feature)) is not None
    ]
    await connection.execute(REMOVE, [[account for account, _ in moved]])
    if rows:
        await connection.execute(ADD, [list(column) for column in zip(*rows, strict=True)])


async def feature_differences(
    connection: AsyncConnection[Any], account_id: int, name: str, state: State
) -> list[str]:
    """Where the rows are not those that follow from the state."""
    found: list[str] = []
    for feature in Feature:
        spans = spans_text(state, feature)
        rows = await (await connection.execute(PRESENT, [spans or "{}", account_id, feature])).fetchall()
        same = rows == [(feature.value, True)] if spans is not None else not rows
        if not same:
            found.append(
                f"account {name!r}: when reports have the feature {feature.value!r} is not as its tariffs say"
            )
    return found
