"""Money, made durable: the pure engine's commands as transactions, one at a time for each account.

A command locks its account's row, reads the state, lets the engine settle and act, and writes what
happened (facts), the new state, when it falls due next, and the blocks that follow from it: all of it or
nothing. The lock is on a row that every command of that account takes, so two commands never see
the same state; the journal's keys are unique in the database besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from tracker_server.billing.book import Ids, Known, Refused, digest_of
from tracker_server.billing.commands import (
    AnyCommand,
    Connect,
    Convert,
    Done,
    Outcome,
    Remove,
    Reprioritise,
    Waive,
)
from tracker_server.billing.engine import act, carry_out, settle, settle_work
from tracker_server.billing.facts import Accepted, AnyFact, Booked
from tracker_server.billing.snapshot import dump_fact, dump_state, ids_needed, load_fact, load_state
from tracker_server.billing.state import Settings, SmsUnit, State, Unlock, WithdrawalAmount, open_account
from tracker_server.billing.sweep import sweep
from tracker_server.billing.work import Work
from tracker_server.config import Billing
from tracker_server.storage.billing_audit import block_differences, journal_differences
from tracker_server.storage.billing_blocks import TrackerId, next_look, present_blocks, sync_blocks
from tracker_server.storage.notices import note_facts
from tracker_server.storage.tariffs import TariffRow, read_tariffs

# Taken before anything is read: a lock that is waited for in the reading statement itself would see its own
# row as it is now, and the rows joined to it as they were before the wait. No key is changed: whoever adds a
# tracker, and so refers to the account, does not wait.
LOCK = "SELECT FROM core.accounts WHERE id = %s FOR NO KEY UPDATE"
READ = """
SELECT a.name, a.zone, a.currency, t.name, a.created_at, b.opening::text, b.state::text, b.facts
FROM core.accounts a JOIN core.tariffs t ON t.id = a.tariff_id LEFT JOIN core.billing b ON b.account_id = a.id
WHERE a.id = %s
"""
DEVICES = """
SELECT id, unique_id, priority, test, created_at FROM core.devices WHERE account_id = %s AND removed_at IS NULL ORDER BY id
"""
APPEND = """
INSERT INTO core.journal (account_id, number, at, kind, device, key, fact)
SELECT %s, number, at, kind, device, key, fact::jsonb
FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[])
    AS f (number, at, kind, device, key, fact)
"""
SAVE = """
INSERT INTO core.billing AS b (account_id, opening, state, facts, settled_to, next_due_at)
VALUES (%(account)s, %(opening)s, %(state)s, %(facts)s, %(settled_to)s, %(next_due_at)s)
ON CONFLICT (account_id) DO UPDATE SET state = excluded.state, facts = excluded.facts,
    settled_to = excluded.settled_to, next_due_at = excluded.next_due_at
"""
MIRROR = """
UPDATE core.accounts SET zone = %s, tariff_id = %s WHERE id = %s AND (zone, tariff_id) IS DISTINCT FROM (%s, %s)
"""

TRACKER = """
UPDATE core.devices SET test = %s, priority = %s
WHERE account_id = %s AND unique_id = %s AND removed_at IS NULL AND (test, priority) IS DISTINCT FROM (%s, %s)
"""


class UnknownAccountError(Exception):
    """There is no account with that id."""


class Account(Struct, frozen=True):
    """One account as it was read under its lock. ``facts``: the number of the last one written."""

    id: int
    name: str
    opening: State
    state: State
    facts: int
    new: bool


def settings_of(chosen: Billing) -> Settings:
    """The operator's choices as the engine takes them."""
    return Settings(
        switches_per_month_max=chosen.switches_per_month_max,
        sms_unit=SmsUnit(chosen.sms_unit),
        reserve_days=chosen.reserve_days,
        test_days_max=chosen.test_days_max or None,
        withdrawal_days=chosen.withdrawal_days,
        withdrawal_amount=WithdrawalAmount(chosen.withdrawal_amount),
        guarantee_months=chosen.guarantee_months,
        suspension_months_max=chosen.suspension_months_max,
        unlock=Unlock(chosen.unlock),
    )


class BillingStore:
    """Carries out billing's commands on a connection of the caller's; each call is a transaction, or a part of
    the one that the caller has open.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def act(
        self, connection: AsyncConnection[Any], account_id: int, command: AnyCommand, now: datetime
    ) -> Outcome:
        """Settle, then carry out. Raises UnknownAccountError; a refusal is an answer."""
        async with connection.transaction():
            account, tariffs, devices = await self._lock(connection, account_id)
            state = await self._with_ids(connection, account, command)
            if isinstance(command, Waive):
                outcome = act(state, command, now)  # before anything is settled, or there is nothing to waive
                state, facts = self._reconciled(outcome.state, devices, now)
                outcome = replace(outcome, state=state, facts=(*outcome.facts, *facts))
            else:
                state, facts = self._reconciled(state, devices, now)
                outcome = act(state, command, now)
                outcome = replace(outcome, facts=(*facts, *outcome.facts))
            await self._save(connection, account, outcome.state, outcome.facts, tariffs)
            await sync_blocks(connection, outcome.state, [TrackerId(d.id, d.unique_id) for d in devices])
            if isinstance(command, Convert | Reprioritise) and isinstance(outcome.answer, Done):
                known = outcome.state.devices[command.device]
                await connection.execute(
                    TRACKER,
                    [known.test, known.priority, account_id, command.device, known.test, known.priority],
                )
            return outcome

    async def settle(self, connection: AsyncConnection[Any], account_id: int, now: datetime) -> State:
        """Post what fell due, take in trackers that came and went; answers the state."""
        async with connection.transaction():
            account, tariffs, devices = await self._lock(connection, account_id)
            settled, first = settle(account.state, now)
            state, second = self._reconciled(settled, devices, now)
            await self._save(connection, account, state, (*first, *second), tariffs)
            await sync_blocks(connection, state, [TrackerId(d.id, d.unique_id) for d in devices])
            return state

    async def read(self, connection: AsyncConnection[Any], account_id: int) -> State:
        """The state as it was written last; nothing is settled, nothing is locked for long."""
        async with connection.transaction():
            account, _, _ = await self._lock(connection, account_id)
            return account.state

    async def verify(self, connection: AsyncConnection[Any], account_id: int) -> list[str]:
        """Derive everything anew from the journal; answers every difference, in words."""
        async with connection.transaction():
            account, _, devices = await self._lock(connection, account_id)
            if account.new:
                return []
            facts = await journal(connection, account_id)
            found = journal_differences(account.name, account.opening, account.state, account.facts, facts)
            known = [TrackerId(d.id, d.unique_id) for d in devices if d.unique_id in account.state.devices]
            present = await present_blocks(connection, known)
            return found + block_differences(account.name, account.state, known, present)

    # ------------------------------------------------------------------ reading

    async def _lock(
        self, connection: AsyncConnection[Any], account_id: int
    ) -> tuple[Account, dict[str, TariffRow], list[_DeviceRow]]:
        await connection.execute(LOCK, [account_id])
        row = await (await connection.execute(READ, [account_id])).fetchone()
        if row is None:
            raise UnknownAccountError(account_id)
        name, zone, currency, tariff, created_at, opening, state, facts = row
        tariffs = await read_tariffs(connection)
        known = {
            one.tariff.name: one.tariff for one in tariffs.values() if one.currency == currency or one.free
        }
        if opening is None:
            first = open_account(
                currency=currency,
                zone=zone,
                tariff=tariff,
                tariffs=known,
                at=created_at,
                settings=self._settings,
            )
            account = Account(account_id, name, first, first, 0, new=True)
        else:
            read = replace(load_state(state.encode()), tariffs=known, settings=self._settings)
            account = Account(account_id, name, load_state(opening.encode()), read, facts, new=False)
        rows = await (await connection.execute(DEVICES, [account_id])).fetchall()
        return account, tariffs, [_DeviceRow(*device) for device in rows]

    async def _with_ids(
        self, connection: AsyncConnection[Any], account: Account, command: AnyCommand
    ) -> State:
        """The state with those used ids that this command asks for; all others are in the journal only."""
        state = account.state
        needed = ids_needed(state, command)
        if not needed.requests and not needed.book:
            return state
        rows = await connection.execute(
            "SELECT fact::text FROM core.journal WHERE account_id = %s AND key = ANY(%s) ORDER BY number",
            [account.id, [*needed.book, *map(_request_key, needed.requests)]],
        )
        transfers: list[tuple[str, Known]] = []
        requests: list[tuple[str, Known]] = []
        for (value,) in await rows.fetchall():
            match load_fact(value.encode()):
                case Booked(entry=entry):
                    known = Known(digest_of(entry.transfer), entry.transfer.amount_minor)
                    transfers.append((entry.transfer.id, known))
                case Accepted(id=accepted, digest=digest):
                    requests.append((accepted, Known(digest)))
                case _:
                    pass
        return replace(state, book=replace(state.book, ids=Ids(transfers)), requests=Ids(requests))

    # ------------------------------------------------------------------ acting

    def _reconciled(
        self, state: State, devices: Sequence[_DeviceRow], now: datetime
    ) -> tuple[State, tuple[AnyFact, ...]]:
        """Bring billing's trackers to those that there are: whoever adds one need not think of money."""
        there = {device.unique_id: device for device in devices}
        gone: list[AnyCommand] = [Remove(device=name) for name in state.devices if name not in there]
        come: list[AnyCommand] = []
        for device in devices:
            known = state.devices.get(device.unique_id)
            # removed and added again since we looked (R14), or made a test tracker by hand: it begins anew
            if known is not None and (device.created_at > known.connected_at or device.test > known.test):
                gone.append(Remove(device=device.unique_id))
                known = None
            if known is None:
                now = max(now, device.created_at)  # two machines' clocks: connected when it was, not before
                come.append(Connect(device=device.unique_id, priority=device.priority, test=device.test))
                continue
            if known.test and not device.test:
                gone.append(Convert(device=device.unique_id))  # makes room for another test tracker
            if known.priority != device.priority:
                come.append(Reprioritise(device=device.unique_id, priority=device.priority))
        commands = [*gone, *come]
        return take_in(state, commands, now) if commands else (state, ())

    # ------------------------------------------------------------------ writing

    async def _save(
        self,
        connection: AsyncConnection[Any],
        account: Account,
        state: State,
        facts: tuple[AnyFact, ...],
        tariffs: dict[str, TariffRow],
    ) -> None:
        if facts:
            await connection.execute(
                APPEND,
                [
                    account.id,
                    [account.facts + n for n in range(1, len(facts) + 1)],
                    [fact.at for fact in facts],
                    [type(fact).__name__ for fact in facts],
                    [getattr(fact, "device", None) or _device_of(fact) for fact in facts],
                    [_key_of(fact) for fact in facts],
                    [dump_fact(fact).decode() for fact in facts],
                ],
            )
            tariff_id = tariffs[state.tariff.name].id
            await connection.execute(MIRROR, [state.zone, tariff_id, account.id, state.zone, tariff_id])
        due = next_look(state)
        await connection.execute(
            SAVE,
            {
                "account": account.id,
                "opening": Jsonb(account.opening, dumps=dump_state),
                "state": Jsonb(state, dumps=dump_state),
                "facts": account.facts + len(facts),
                "settled_to": state.settled_to,
                "next_due_at": None if due is None else due.astimezone(UTC),
            },
        )
        await note_facts(connection, account.id, state, facts)


def take_in(state: State, commands: Sequence[AnyCommand], now: datetime) -> tuple[State, tuple[AnyFact, ...]]:
    """Carry out many commands at one instant with one sweep behind them all: an import of ten thousand trackers
    is one look at who can be paid, in the owner's order. What is refused is left out.
    """
    work = Work(state)
    settle_work(work, now)
    for command in commands:
        carry_out(work, command, work.state.settled_to)
    sweep(work, work.state.settled_to)
    return work.state, tuple(work.facts)


class _DeviceRow(Struct, frozen=True):
    id: int
    unique_id: str
    priority: int
    test: bool
    created_at: datetime


async def journal(connection: AsyncConnection[Any], account_id: int) -> list[AnyFact]:
    """All facts of an account, in order."""
    rows = await connection.execute(
        "SELECT fact::text FROM core.journal WHERE account_id = %s ORDER BY number", [account_id]
    )
    return [load_fact(text.encode()) for (text,) in await rows.fetchall()]


def _key_of(fact: AnyFact) -> str | None:
    match fact:
        case Booked(entry=entry):
            return entry.transfer.id
        case Accepted(id=request):
            return _request_key(request)
        case _:
            return None


def _request_key(request: str) -> str:
    return f"request:{request}"


def _device_of(fact: AnyFact) -> str | None:
    return fact.entry.transfer.device if isinstance(fact, Booked) else None


def refused(outcome: Outcome) -> Refused | None:
    """The refusal, if the command was refused."""
    return outcome.answer if isinstance(outcome.answer, Refused) else None
