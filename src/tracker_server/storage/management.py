"""The management rows: every tracker that somebody manages, why it is not shown, and what would show it again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, LiteralString

from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.model.people import IN_SCOPE, Scope

ROWS: Final[LiteralString] = (
    "SELECT device_id, unique_id, account_id, name, priority, test, state, reason, note, since, due_minor, currency,"  # noqa: S608
    " last_contact, waiting, purge_at, back_pay_minor FROM display.management"
    " WHERE (%(device)s::bigint IS NULL OR device_id = %(device)s) AND "
    + IN_SCOPE
    + " ORDER BY state = 'active', name, unique_id"
)
PURSES = """
SELECT b.account_id, coalesce((b.state #>> '{book,balances,customer}')::bigint, 0),
       -coalesce((b.state #>> '{book,balances,receivable}')::bigint, 0),
       coalesce((
           SELECT sum(k.due_minor) FROM core.devices d JOIN core.blocks k ON k.device_id = d.id
           WHERE d.account_id = b.account_id AND d.removed_at IS NULL AND k.since <= now()
             AND (k.until IS NULL OR now() < k.until)
       ), 0)::bigint
FROM core.billing b WHERE b.account_id = ANY(%s)
"""


WAITING_MAX = 20_000  # as ``core.management`` counts


class ManagedRow(Struct, frozen=True):
    """A tracker as its owner manages it. Amounts are minor units of ``currency``."""

    device_id: int
    unique_id: str
    account_id: int
    name: str
    priority: int
    test: bool
    state: str
    reason: str | None
    note: str | None
    since: datetime | None
    due_minor: int | None
    currency: str
    last_contact: datetime | None
    waiting: int | None
    purge_at: datetime | None
    back_pay_minor: int | None

    @property
    def waiting_more(self) -> bool:
        """Whether more may wait than are counted."""
        return self.waiting is not None and self.waiting >= WAITING_MAX


class Purse(Struct, frozen=True):
    """An account's money: what it can spend, what it owes, what all its blocked trackers owe."""

    balance_minor: int = 0
    owed_minor: int = 0
    due_minor: int = 0

    def topup_minor(self, due_minor: int | None) -> int | None:
        """What has to come in so that this can be paid; None where money does not help."""
        if not due_minor:
            return None
        return max(0, due_minor - self.balance_minor) + self.owed_minor


async def managed(
    display: AsyncConnection[Any], scope: Scope, device_id: int | None = None
) -> list[ManagedRow]:
    """The rows of the trackers in a scope, or of one of them. The connection is the display role's."""
    rows = await display.execute(ROWS, {**scope.parameters(), "device": device_id})
    return [ManagedRow(*row) for row in await rows.fetchall()]


async def purses(core: AsyncConnection[Any], account_ids: Sequence[int]) -> dict[int, Purse]:
    """What these accounts have and owe, as it was settled last."""
    rows = await core.execute(PURSES, [list(account_ids)])
    return {account: Purse(*rest) for account, *rest in await rows.fetchall()}
