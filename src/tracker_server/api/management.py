"""Trackers as their owner manages them: why one is hidden, what shows it again, and the commands for it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final

from msgspec import Meta, Struct
from psycopg import AsyncConnection

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, not_found
from tracker_server.api.money_values import date_of, key_of, written
from tracker_server.api.money_words import refusal
from tracker_server.api.values import iso, moment
from tracker_server.billing.book import Refused
from tracker_server.billing.commands import (
    Activate,
    AnyCommand,
    BackPay,
    Convert,
    Outcome,
    PayTerm,
    Reprioritise,
    Resume,
    Suspend,
)
from tracker_server.billing.reasons import Reason
from tracker_server.billing.states import due_minor
from tracker_server.model.people import Right, Scope
from tracker_server.storage.audit import note
from tracker_server.storage.billing_rows import AccountRow, account_of_device
from tracker_server.storage.devices import hold_device, release_device
from tracker_server.storage.management import ManagedRow, Purse, managed, purses

routes = Routes("Management")

PRIORITY_MAX: Final = 1_000_000
REASON_CHARACTERS_MAX: Final = 500


class Managed(Struct, rename="camel"):
    """A management row. ``due``: what it owes now; ``unlock``, ``unlockAll``: the payment that shows it, or all, again.

    ``lastContact`` is told by the hour and ``waiting`` counts what it sent while hidden: that it lives, never where; of
    fixes older than the block those of 31 days, and no more than 20,000 of all (``waitingMore``: then there may be more). ``backPay``:
    what shows the unpaid time of earlier blocks, where that may be paid for.
    """

    device_id: int
    account_id: int
    unique_id: str
    name: str
    state: str
    reason: str | None
    note: str | None
    since: str | None
    due: str | None
    unlock: str | None
    unlock_all: str | None
    currency: str
    last_contact: str | None
    waiting: int
    test: bool
    priority: int
    purge_at: str | None = None
    back_pay: str | None = None
    waiting_more: bool = False


class PriorityBody(Struct, rename="camel"):
    """Its turn when the money is short: 1 is paid first."""

    priority: Annotated[int, Meta(ge=1, le=PRIORITY_MAX)]


class HoldBody(Struct, rename="camel"):
    """Why, in words that its owner reads."""

    reason: Annotated[str, Meta(min_length=1, max_length=REASON_CHARACTERS_MAX)]


class SuspendBody(Struct, rename="camel"):
    """Through which date of the account's; none: as long as may be."""

    until: str | None = None


class TermBody(Struct, rename="camel"):
    """How many months."""

    months: Annotated[int, Meta(ge=1, le=12)]
    key: str | None = None


@routes.get("/management", needs=Right.DEVICES, answers=list[Managed])
async def get_management(call: Call[None, None]) -> list[Managed]:
    """Every tracker that one manages, hidden or not."""
    return await _rows(call, call.principal.scope)


async def _rows(call: Call[Any, Any], scope: Scope, device_id: int | None = None) -> list[Managed]:
    async with call.services.pools.display() as display:
        rows = await managed(display, scope, device_id)
    async with call.services.pools.core() as core:
        money = await purses(core, list({row.account_id for row in rows}))
    return [_shape(row, money.get(row.account_id, Purse())) for row in rows]


def _shape(row: ManagedRow, purse: Purse) -> Managed:
    def told(amount_minor: int | None) -> str | None:
        return None if amount_minor is None else written(amount_minor, row.currency)

    return Managed(
        device_id=row.device_id,
        account_id=row.account_id,
        unique_id=row.unique_id,
        name=row.name,
        state=row.state,
        reason=row.reason,
        note=row.note,
        since=iso(row.since),
        due=told(row.due_minor),
        unlock=told(purse.topup_minor(row.due_minor)),
        unlock_all=told(purse.topup_minor(purse.due_minor)) if row.due_minor else None,
        currency=row.currency,
        last_contact=iso(row.last_contact),
        waiting=row.waiting or 0,
        test=row.test,
        priority=row.priority,
        purge_at=iso(row.purge_at),
        back_pay=told(row.back_pay_minor),
        waiting_more=row.waiting_more,
    )


async def _one(call: Call[Any, Any]) -> Managed:
    rows = await _rows(call, Scope(everything=True), call.id)
    if not rows:
        raise not_found(f"tracker {call.id}")
    return rows[0]


async def _act(call: Call[Any, Any], make: Any) -> tuple[Outcome, str]:
    """Carry out a command for the account that has the tracker; answers what became of it."""
    async with call.services.pools.core() as connection:
        account, unique_id = await _whose(call, connection)
        command: AnyCommand = make(unique_id)
        outcome = await call.services.billing.act(connection, account.id, command, call.now)
        if not isinstance(outcome.answer, Refused):
            await note(connection, type(command).__name__.lower(), by=call.principal, kind="device", object_id=call.id, address=call.address)  # fmt: skip
        return outcome, unique_id


async def _whose(call: Call[Any, Any], connection: AsyncConnection[Any]) -> tuple[AccountRow, str]:
    found = await account_of_device(connection, call.id)
    if found is None:
        raise not_found(f"tracker {call.id}")
    return found


async def _done(call: Call[Any, Any], make: Any) -> Managed:
    outcome, _ = await _act(call, make)
    if isinstance(outcome.answer, Refused):
        raise refusal(outcome.answer)
    return await _one(call)


@routes.post("/devices/{id}/activate", needs=Right.MONEY, objects={"id": Kind.DEVICE}, answers=Managed)
async def post_activate(call: Call[None, None]) -> Managed:
    """Pay what a hidden tracker owes now, from the balance. 402 where that does not reach: nothing changes."""
    outcome, unique_id = await _act(call, lambda name: Activate(device=name))
    if isinstance(outcome.answer, Refused):
        state = outcome.state
        if outcome.answer.reason is not Reason.INSUFFICIENT_FUNDS:
            raise refusal(outcome.answer)
        due = due_minor(state, state.devices[unique_id], state.settled_to)
        code = state.book.currency
        raise refusal(
            outcome.answer,
            due=written(due, code),
            balance=written(state.book.balance_minor, code),
            currency=code,
        )
    return await _one(call)


@routes.post("/devices/{id}/back-pay", needs=Right.MONEY, objects={"id": Kind.DEVICE}, answers=Managed)
async def post_back_pay(call: Call[None, None]) -> Managed:
    """Pay for the dates on which it was blocked, from the balance: what it sent then is shown. All of them, or 402."""
    return await _done(call, lambda name: BackPay(device=name))


@routes.put(
    "/devices/{id}/priority",
    needs=Right.DEVICES,
    objects={"id": Kind.DEVICE},
    body=PriorityBody,
    answers=Managed,
)
async def put_priority(call: Call[None, PriorityBody]) -> Managed:
    """Change a tracker's turn, from the next debit on."""
    return await _done(call, lambda name: Reprioritise(device=name, priority=call.body.priority))


@routes.post(
    "/devices/{id}/suspend", needs=Right.MONEY, objects={"id": Kind.DEVICE}, body=SuspendBody, answers=Managed
)
async def post_suspend(call: Call[None, SuspendBody]) -> Managed:
    """Pause a tracker: hidden, stored, not charged; what is prepaid stands still."""
    last = None
    if call.body.until is not None:
        async with call.services.pools.core() as connection:
            account, _ = await _whose(call, connection)
        last = await _day(call.body.until, account.zone)
    return await _done(call, lambda name: Suspend(device=name, last=last))


async def _day(text: str, zone: str) -> date:
    """A date, or the account's date of a moment."""
    from zoneinfo import ZoneInfo

    if len(text) <= 10:
        return date_of("until", text)
    return moment(text, "until").astimezone(ZoneInfo(zone)).date()


@routes.post("/devices/{id}/resume", needs=Right.MONEY, objects={"id": Kind.DEVICE}, answers=Managed)
async def post_resume(call: Call[None, None]) -> Managed:
    """End a pause: paid or hidden, never free."""
    return await _done(call, lambda name: Resume(device=name))


@routes.post("/devices/{id}/convert", needs=Right.MONEY, objects={"id": Kind.DEVICE}, answers=Managed)
async def post_convert(call: Call[None, None]) -> Managed:
    """Make the test tracker a paying one."""
    return await _done(call, lambda name: Convert(device=name))


@routes.post(
    "/devices/{id}/pay-term", needs=Right.MONEY, objects={"id": Kind.DEVICE}, body=TermBody, answers=Managed
)
async def post_pay_term(call: Call[None, TermBody]) -> Managed:
    """Pay months in advance, from the balance."""
    key = key_of("key", call.body.key)
    return await _done(call, lambda name: PayTerm(device=name, months=call.body.months, key=key))


@routes.post(
    "/devices/{id}/hold", needs=Right.OPERATE, objects={"id": Kind.DEVICE}, body=HoldBody, answers=Managed
)
async def post_hold(call: Call[None, HoldBody]) -> Managed:
    """Hide a tracker on the operator's word. Apart from billing: no payment shows it again."""
    reason = " ".join(call.body.reason.split())
    if not reason:
        raise Refusal(400, "reason: is empty; say why, for its owner reads it")
    async with call.services.pools.core() as connection:
        await hold_device(connection, call.id, reason)
        await note(
            connection, "hold", by=call.principal, kind="device", object_id=call.id, address=call.address
        )
    return await _one(call)


@routes.post("/devices/{id}/release", needs=Right.OPERATE, objects={"id": Kind.DEVICE}, answers=Managed)
async def post_release(call: Call[None, None]) -> Managed:
    """Lift the operator's hold; what else hides the tracker stays."""
    async with call.services.pools.core() as connection:
        await release_device(connection, call.id)
        await note(
            connection, "release", by=call.principal, kind="device", object_id=call.id, address=call.address
        )
    return await _one(call)
