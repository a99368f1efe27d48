"""Money, made durable: the pure engine's commands as transactions, one at a time for each account.

A command locks its account's row, reads the state, lets the engine settle and act, and writes what
happened (facts), the new state, when it falls due next, and the blocks that follow from it: all of it or
nothing. The lock is on a row that every command of that account takes, so two commands never see
the same state; the journal's keys are unique in the database besides.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import psycopg
from msgspec.structs import replace
from psycopg import AsyncConnection

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
from tracker_server.billing.snapshot import ids_needed, load_fact
from tracker_server.billing.state import Reveal, Settings, SmsUnit, State, Unlock, WithdrawalAmount
from tracker_server.billing.sweep import sweep
from tracker_server.billing.work import Work
from tracker_server.config import Billing
from tracker_server.config import Settings as AllSettings
from tracker_server.config_money import tax_hundredths
from tracker_server.model.paper import Party, Seller
from tracker_server.storage.billing_audit import block_differences, journal_differences
from tracker_server.storage.billing_blocks import present_blocks
from tracker_server.storage.billing_io import Account, Change, DeviceRow, lock_accounts, request_key, save
from tracker_server.storage.limits import feature_differences
from tracker_server.storage.tariffs import TariffRow
from tracker_server.storage.unpaid import unpaid_differences

PART_ACCOUNTS = 100  # of one transaction; as long as it lasts, their other commands wait

TRACKER = """
UPDATE core.devices SET test = %s, priority = %s
WHERE account_id = %s AND unique_id = %s AND removed_at IS NULL AND (test, priority) IS DISTINCT FROM (%s, %s)
"""


FAULTS = (psycopg.Error, AssertionError, KeyError, ValueError)
"""What may keep one account from being settled: a defect of ours, or a row that somebody changed by hand."""


class UnknownAccountError(Exception):
    """There is no account with that id."""


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
        reveal=Reveal(chosen.reveal),
        charge_difference=chosen.charge_difference,
    )


def seller_of(settings: AllSettings) -> Seller:
    """The operator as it stands on papers."""
    chosen = settings.seller
    return Seller(
        party=Party(chosen.name, chosen.address, chosen.tax_id, chosen.email, chosen.phone, chosen.url),
        tax_name=chosen.tax_name,
        tax_hundredths=tax_hundredths(chosen.tax_percent),
        note=chosen.note,
        invoice_prefix=chosen.invoice_prefix,
        credit_prefix=chosen.credit_prefix,
        zone=settings.billing.zone,
        issue=chosen.invoices,
        hours=chosen.hours,
        holidays=chosen.holidays,
        installation_hours=chosen.installation_hours,
        events_url=chosen.events_url,
    )


class BillingStore:
    """Carries out billing's commands on a connection of the caller's; each call is a transaction, or a part of
    the one that the caller has open.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def act(
        self,
        connection: AsyncConnection[Any],
        account_id: int,
        command: AnyCommand,
        now: datetime,
        *,
        then: Sequence[AnyCommand] = (),
    ) -> Outcome:
        """Settle, then carry out, and ``then`` what goes with it. Raises UnknownAccountError; a refusal is an answer."""
        async with connection.transaction():
            account, tariffs = await self._lock(connection, account_id)
            state = await self._with_ids(connection, account, command)
            if isinstance(command, Waive):
                outcome = act(state, command, now)  # before anything is settled, or there is nothing to waive
                state, facts = reconciled(outcome.state, account.devices, now)
                outcome = replace(outcome, state=state, facts=(*outcome.facts, *facts))
            else:
                state, facts = reconciled(state, account.devices, now)
                outcome = act(state, command, now, then)
                outcome = replace(outcome, facts=(*facts, *outcome.facts))
            await save(connection, [Change(account, outcome.state, outcome.facts)], tariffs)
            if isinstance(command, Convert | Reprioritise) and isinstance(outcome.answer, Done):
                known = outcome.state.devices[command.device]
                await connection.execute(
                    TRACKER,
                    [known.test, known.priority, account_id, command.device, known.test, known.priority],
                )
            return outcome

    async def settle(self, connection: AsyncConnection[Any], account_id: int, now: datetime) -> State:
        """Post what fell due, take in trackers that came and went; answers the state. Raises UnknownAccountError."""
        async with connection.transaction():
            account, tariffs = await self._lock(connection, account_id)
            change = settled(account, now)
            await save(connection, [change], tariffs)
            return change.state

    async def settle_many(
        self, connection: AsyncConnection[Any], account_ids: Sequence[int], now: datetime
    ) -> dict[int, Exception]:
        """Settle many accounts, a hundred in a transaction. One that cannot be settled costs only itself: answers those,
        and why. Raises psycopg.OperationalError.
        """
        failed: dict[int, Exception] = {}
        for at in range(0, len(account_ids), PART_ACCOUNTS):
            part = account_ids[at : at + PART_ACCOUNTS]
            try:
                await self._settle_part(connection, part, now)
            except psycopg.OperationalError:
                raise
            except FAULTS:
                for account_id in part:
                    try:
                        await self.settle(connection, account_id, now)
                    except psycopg.OperationalError:
                        raise
                    except FAULTS as error:
                        failed[account_id] = error
        return failed

    async def _settle_part(
        self, connection: AsyncConnection[Any], account_ids: Sequence[int], now: datetime
    ) -> None:
        async with connection.transaction():
            accounts, tariffs = await lock_accounts(connection, account_ids, self._settings)
            if accounts:
                await save(connection, [settled(account, now) for account in accounts], tariffs)

    async def read(self, connection: AsyncConnection[Any], account_id: int) -> State:
        """The state as it was written last; nothing is settled, nothing is locked for long."""
        async with connection.transaction():
            account, _ = await self._lock(connection, account_id)
            return account.state

    async def verify(self, connection: AsyncConnection[Any], account_id: int) -> list[str]:
        """Derive everything anew from the journal; answers every difference, in words."""
        async with connection.transaction():
            account, _ = await self._lock(connection, account_id)
            if account.opening_json is None:
                return []
            facts = await journal(connection, account_id)
            found = journal_differences(account.name, account.opening, account.state, account.facts, facts)
            known = [one for one in account.trackers if one.unique_id in account.state.devices]
            present = await present_blocks(connection, known)
            found += block_differences(account.name, account.state, known, present)
            found += await unpaid_differences(connection, account.name, account.state, known)
            return found + await feature_differences(connection, account_id, account.name, account.state)

    # ------------------------------------------------------------------ reading

    async def _lock(
        self, connection: AsyncConnection[Any], account_id: int
    ) -> tuple[Account, dict[str, TariffRow]]:
        found, tariffs = await lock_accounts(connection, [account_id], self._settings)
        if not found:
            raise UnknownAccountError(account_id)
        return found[0], tariffs

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
            [account.id, [*needed.book, *map(request_key, needed.requests)]],
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


def settled(account: Account, now: datetime) -> Change:
    """An account with all posted that fell due up to an instant, and its trackers taken in."""
    state, first = settle(account.state, now)
    state, second = reconciled(state, account.devices, now)
    return Change(account, state, (*first, *second))


def reconciled(
    state: State, devices: Sequence[DeviceRow], now: datetime
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


async def journal(connection: AsyncConnection[Any], account_id: int) -> list[AnyFact]:
    """All facts of an account, in order."""
    rows = await connection.execute(
        "SELECT fact::text FROM core.journal WHERE account_id = %s ORDER BY number", [account_id]
    )
    return [load_fact(text.encode()) for (text,) in await rows.fetchall()]


def refused(outcome: Outcome) -> Refused | None:
    """The refusal, if the command was refused."""
    return outcome.answer if isinstance(outcome.answer, Refused) else None
