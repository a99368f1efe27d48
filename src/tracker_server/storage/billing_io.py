"""Reading accounts under their locks, and writing what became of them: one account or a hundred, in as many statements."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from psycopg import AsyncConnection

from tracker_server.billing.facts import Accepted, AnyFact, Booked
from tracker_server.billing.snapshot import dump_fact, dump_state, load_state
from tracker_server.billing.state import Settings, State, open_account
from tracker_server.storage.billing_blocks import TrackerId, next_look, sync_blocks
from tracker_server.storage.invoices import issue_papers
from tracker_server.storage.limits import sync_features
from tracker_server.storage.notices import note_facts
from tracker_server.storage.payout_rows import write_payouts
from tracker_server.storage.tariffs import TariffRow, read_tariffs
from tracker_server.storage.unpaid import sync_unpaid

# Taken before anything is read: a lock that is waited for in the reading statement itself would see its own
# row as it is now, and the rows joined to it as they were before the wait. No key is changed: whoever adds a
# tracker, and so refers to the account, does not wait. Always in the same order, so that no two wait for each other.
LOCK = "SELECT FROM core.accounts WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE"
READ = """
SELECT a.id, a.name, a.zone, a.currency, t.name, a.created_at, b.opening::text, b.state::text, b.facts
FROM core.accounts a JOIN core.tariffs t ON t.id = a.tariff_id LEFT JOIN core.billing b ON b.account_id = a.id
WHERE a.id = ANY(%s) ORDER BY a.id
"""
DEVICES = """
SELECT account_id, id, unique_id, priority, test, created_at FROM core.devices
WHERE account_id = ANY(%s) AND removed_at IS NULL ORDER BY id
"""
APPEND = """
INSERT INTO core.journal (account_id, number, at, kind, device, key, fact)
SELECT account_id, number, at, kind, device, key, fact::jsonb
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS f (account_id, number, at, kind, device, key, fact)
"""
OPEN = """
INSERT INTO core.billing (account_id, opening, state, facts, settled_to, next_due_at)
SELECT account_id, opening::json, opening::json, 0, settled_to, NULL
FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS o (account_id, opening, settled_to)
"""
SAVE = """
UPDATE core.billing b
SET state = s.state::json, facts = s.facts, settled_to = s.settled_to, next_due_at = s.next_due_at
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::timestamptz[], %s::timestamptz[])
    AS s (account_id, state, facts, settled_to, next_due_at)
WHERE b.account_id = s.account_id
"""
MIRROR = """
UPDATE core.accounts a SET zone = m.zone, tariff_id = m.tariff_id
FROM unnest(%s::bigint[], %s::text[], %s::bigint[]) AS m (id, zone, tariff_id)
WHERE a.id = m.id AND (a.zone, a.tariff_id) IS DISTINCT FROM (m.zone, m.tariff_id)
"""


class DeviceRow(Struct, frozen=True):
    """A tracker's row as far as money asks for it."""

    id: int
    unique_id: str
    priority: int
    test: bool
    created_at: datetime


class Account(Struct, frozen=True):
    """One account as it was read under its lock. ``facts``: the number of the last one written; ``opening_json``: the
    state before the first, None where billing has not opened it yet, and ``state`` is that.
    """

    id: int
    name: str
    state: State
    facts: int
    opening_json: str | None
    devices: tuple[DeviceRow, ...]

    @property
    def opening(self) -> State:
        """The state before the first fact."""
        return self.state if self.opening_json is None else load_state(self.opening_json.encode())

    @property
    def trackers(self) -> list[TrackerId]:
        """Its trackers as the gate knows them."""
        return [TrackerId(device.id, device.unique_id) for device in self.devices]


class Change(Struct, frozen=True):
    """An account, what it became, and by which facts."""

    account: Account
    state: State
    facts: tuple[AnyFact, ...]


async def lock_accounts(
    connection: AsyncConnection[Any], account_ids: Sequence[int], settings: Settings
) -> tuple[list[Account], dict[str, TariffRow]]:
    """Those of these accounts that there are, by id, locked until the caller's transaction ends; and all tariffs."""
    wanted = list(account_ids)
    await connection.execute(LOCK, [wanted])
    rows = await (await connection.execute(READ, [wanted])).fetchall()
    devices: dict[int, list[DeviceRow]] = {account: [] for account in wanted}
    for account, *device in await (await connection.execute(DEVICES, [wanted])).fetchall():
        devices[account].append(DeviceRow(*device))
    tariffs = await read_tariffs(connection)
    found: list[Account] = []
    for account, name, zone, currency, tariff, created_at, opening, state, facts in rows:
        known = {
            one.tariff.name: one.tariff for one in tariffs.values() if one.currency == currency or one.free
        }
        if opening is None:
            read = open_account(
                currency=currency, zone=zone, tariff=tariff, tariffs=known, at=created_at, settings=settings
            )
        else:
            read = replace(load_state(state.encode()), tariffs=known, settings=settings)
        found.append(Account(account, name, read, facts or 0, opening, tuple(devices[account])))
    return found, tariffs


async def save(
    connection: AsyncConnection[Any], changes: Sequence[Change], tariffs: dict[str, TariffRow]
) -> None:
    """Write what happened, the new states, and the blocks, notices and papers that follow. Part of the caller's
    transaction.
    """
    await _append(connection, changes)
    moved = [change for change in changes if change.facts]
    if moved:
        await connection.execute(
            MIRROR,
            [
                [change.account.id for change in moved],
                [change.state.zone for change in moved],
                [tariffs[change.state.tariff.name].id for change in moved],
            ],
        )
    new = [change.account for change in changes if change.account.opening_json is None]
    if new:
        await connection.execute(
            OPEN,
            [
                [account.id for account in new],
                [dump_state(account.state).decode() for account in new],
                [account.state.settled_to for account in new],
            ],
        )
    looks = [next_look(change.state) for change in changes]
    await connection.execute(
        SAVE,
        [
            [change.account.id for change in changes],
            [dump_state(change.state).decode() for change in changes],
            [change.account.facts + len(change.facts) for change in changes],
            [change.state.settled_to for change in changes],
            [None if look is None else look.astimezone(UTC) for look in looks],
        ],
    )
    for change in changes:
        await note_facts(connection, change.account.id, change.state, change.facts)
        await issue_papers(connection, change.account.id, change.facts, change.state.settled_to)
        await write_payouts(connection, change.account.id, change.facts, change.state.settled_to)
    await sync_blocks(connection, [(change.state, change.account.trackers) for change in changes])
    await sync_features(
        connection,
        [(one.account.id, one.state, one.facts, one.account.opening_json is None) for one in changes],
    )
    await sync_unpaid(
        connection, [(change.state, change.account.trackers, change.facts) for change in changes]
    )


async def _append(connection: AsyncConnection[Any], changes: Sequence[Change]) -> None:
    numbered = [
        (change.account.id, change.account.facts + number, fact)
        for change in changes
        for number, fact in enumerate(change.facts, 1)
    ]
    if numbered:
        await connection.execute(
            APPEND,
            [
                [account for account, _, _ in numbered],
                [number for _, number, _ in numbered],
                [fact.at for _, _, fact in numbered],
                [type(fact).__name__ for _, _, fact in numbered],
                [_device_of(fact) for _, _, fact in numbered],
                [_key_of(fact) for _, _, fact in numbered],
                [dump_fact(fact).decode() for _, _, fact in numbered],
            ],
        )


def request_key(request: str) -> str:
    """The journal's key of a request that was carried out."""
    return f"request:{request}"


def _key_of(fact: AnyFact) -> str | None:
    match fact:
        case Booked(entry=entry):
            return entry.transfer.id
        case Accepted(id=request):
            return request_key(request)
        case _:
            return None


def _device_of(fact: AnyFact) -> str | None:
    return fact.entry.transfer.device if isinstance(fact, Booked) else getattr(fact, "device", None)
