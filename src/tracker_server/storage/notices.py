"""Notices of money, written down: once each, in the transaction that finds them due, and into the outbox for
each way in which their account can be reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from tracker_server.alerts.letters import TRACKERS_MAX, Language, MoneyNotice, TrackerLine, encode, spoken
from tracker_server.billing.book import Kind
from tracker_server.billing.facts import AnyFact, Booked
from tracker_server.billing.notices import (
    AGE_MAX,
    Notice,
    NoticeKind,
    next_look,
    notices_due,
    told_and_skipped,
    unblocked_notice,
)
from tracker_server.billing.state import State
from tracker_server.pipeline.dispatcher import EMAIL, MESSENGER
from tracker_server.storage.outbox import NewMessage, enqueue

READ = "SELECT name, language, email, messenger FROM core.accounts WHERE id = %s"
NAMES = """
SELECT unique_id, name FROM core.devices WHERE account_id = %s AND removed_at IS NULL AND unique_id = ANY(%s)
"""
ARMED = "SELECT armed_at FROM core.billing WHERE account_id = %s"
TOLD = """
SELECT unnest(covers) FROM core.notices WHERE account_id = %s AND (kind = 'low' OR falls_at >= %s)
"""
WRITE = """
INSERT INTO core.notices (account_id, key, kind, level, covers, payload, falls_at, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id
"""
# What time alone brings is due since the look that was planned for it, however late it comes; what a command
# brings is due from the command on.
ARM = """
UPDATE core.billing SET armed_at = least(armed_at, next_notice_at, %(moment)s),
    next_notice_at = least(next_notice_at, %(now)s)
WHERE account_id = %(account)s
"""
LOOKED = "UPDATE core.billing SET next_notice_at = %s, armed_at = NULL WHERE account_id = %s"


class Reach(Struct, frozen=True):
    """How an account is written to."""

    name: str
    language: Language
    email: str | None
    messenger: str | None

    @property
    def ways(self) -> list[tuple[str, str]]:
        """Channels and recipients."""
        return [(channel, to) for channel, to in ((EMAIL, self.email), (MESSENGER, self.messenger)) if to]


def foreseen(fact: AnyFact) -> bool:
    """Whether a look ahead has seen it coming: the daily fee moves no notice."""
    return isinstance(fact, Booked) and fact.entry.transfer.kind is Kind.DAILY


async def note_facts(
    connection: AsyncConnection[Any], account_id: int, state: State, facts: Sequence[AnyFact]
) -> None:
    """What follows at once from facts that are just being written: the notice that trackers can be seen again,
    and a look at all other notices. Part of the facts' transaction.
    """
    moments = [fact.at for fact in facts if not foreseen(fact)]
    if not moments:
        return
    now = state.settled_to
    unblocked = unblocked_notice(state, facts, now)
    if unblocked is not None:
        await write(connection, account_id, state, [unblocked], now)
    await connection.execute(ARM, {"account": account_id, "moment": min(moments), "now": now})


async def look(connection: AsyncConnection[Any], account_id: int, state: State, now: datetime) -> int:
    """Write the notices that are due, and when to look again; answers how many were told. The caller has the
    account settled up to ``now`` and locked in the transaction that this is a part of.
    """
    now = max(now, state.settled_to)
    row = await (await connection.execute(ARMED, [account_id])).fetchone()
    told = await (await connection.execute(TOLD, [account_id, now - AGE_MAX])).fetchall()
    due, following = await asyncio.to_thread(evaluated, state, now, {cover for (cover,) in told})
    tell, skipped = told_and_skipped(due, row[0] if row else None)
    await write(connection, account_id, state, tell, now)
    for notice in skipped:
        await connection.execute(WRITE, _row(account_id, notice, None, now))
    await connection.execute(LOOKED, [following, account_id])
    return len(tell)


def evaluated(state: State, now: datetime, told: AbstractSet[str]) -> tuple[list[Notice], datetime | None]:
    """What is due, and when to look again. Looking ahead may take a while; the loop goes on meanwhile."""
    return notices_due(state, now, told), next_look(state, now)


async def write(
    connection: AsyncConnection[Any],
    account_id: int,
    state: State,
    notices: Collection[Notice],
    now: datetime,
) -> None:
    """Notices to be told: their rows, and a message for each way to reach the account."""
    if not notices:
        return
    found = await (await connection.execute(READ, [account_id])).fetchone()
    assert found is not None, "the caller has locked it"
    reach = Reach(*found)
    devices = list({device for notice in notices for device in notice.devices})
    names = dict(await (await connection.execute(NAMES, [account_id, devices])).fetchall())
    for notice in notices:
        payload = encode(letter_of(notice, state, reach, names))
        written = await connection.execute(WRITE, _row(account_id, notice, payload, now))
        if not written.rowcount:
            continue
        due_at = max(now, notice.falls_at)
        key = f"notice:{account_id}:{notice.key}"
        await enqueue(
            connection,
            [
                NewMessage(f"{key}:{channel}", channel, recipient, account_id, payload, due_at)
                for channel, recipient in reach.ways
            ],
            now,
        )


def _row(account_id: int, notice: Notice, payload: Any, now: datetime) -> list[Any]:
    stored = None if payload is None else Jsonb(payload)
    return [
        account_id,
        notice.key,
        notice.kind.value,
        notice.level,
        list(notice.covers),
        stored,
        notice.falls_at,
        now,
    ]


def letter_of(notice: Notice, state: State, reach: Reach, names: dict[str, str]) -> MoneyNotice:
    """A notice as its letter: trackers by the names that the customer gave them."""
    several = len(set(notice.dates)) > 1 or (notice.kind is NoticeKind.LOW)
    dates = notice.dates if several else (None,) * len(notice.devices)
    lines = [
        TrackerLine(_called(device, names.get(device, "")), day)
        for device, day in zip(notice.devices, dates, strict=True)
    ]
    return MoneyNotice(
        kind=notice.kind.value,
        level=notice.level,
        account=reach.name,
        language=spoken(reach.language),
        currency=state.book.currency,
        amount_minor=notice.amount_minor,
        balance_minor=state.book.balance_minor,
        on=notice.on,
        trackers=tuple(lines[:TRACKERS_MAX]),
        count=len(lines),
    )


def _called(unique_id: str, name: str) -> str:
    return unique_id if name in {"", unique_id} else f"{name} ({unique_id})"
