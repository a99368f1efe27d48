"""Payments' rows: asked for, begun at a gateway, and what the gateways' messages make of them, each once.

A message and all that follows from it (the balance, the unlocked trackers, the cart's trackers, the invoice) are one
transaction: whoever is killed in the middle of it has done nothing, and the gateway tells it again.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, assert_never

import msgspec
from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tracker_server.billing.book import Refused
from tracker_server.billing.commands import Activate, AnyCommand, Chargeback, Connect, TopUp
from tracker_server.billing.tariffs import Mode
from tracker_server.model.paper import CartLine
from tracker_server.payments.events import AnyEvent, Paid
from tracker_server.payments.states import (
    Action,
    Credit,
    GiveAgain,
    Known,
    Move,
    Nothing,
    PaymentState,
    PayoutDone,
    PayoutFailed,
    TakeBack,
    Wait,
    follow,
)
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.devices import NewDevice, add_devices, connected

OUTCOME_CHARACTERS_MAX = 500

COLUMNS = (
    "id", "account", "gateway", "state", "amount", "currency", "created_at", "paid_at", "means", "detail", "url",
)  # fmt: skip
FIELDS = (
    "id, account_id, key, gateway, state, amount_minor, currency, cart, reference, charge, means, url, detail,"
    " created_at, changed_at, paid_at, gateways"
)
ASK = f"""
INSERT INTO core.payments (id, account_id, key, state, amount_minor, currency, cart, created_at, changed_at)
VALUES (%(id)s, %(account)s, %(key)s, 'open', %(amount)s, %(currency)s, %(cart)s, %(now)s, %(now)s)
ON CONFLICT (account_id, key) WHERE key IS NOT NULL DO NOTHING RETURNING {FIELDS}
"""  # noqa: S608  (our own words)
BY_KEY = f"SELECT {FIELDS} FROM core.payments WHERE account_id = %s AND key = %s"  # noqa: S608
BY_ID = f"SELECT {FIELDS} FROM core.payments WHERE id = %s"  # noqa: S608
BEGIN = f"""
UPDATE core.payments SET gateway = %(gateway)s, reference = %(reference)s, url = %(url)s, changed_at = %(now)s,
    state = CASE WHEN state IN ('open', 'failed') THEN 'pending' ELSE state END,
    gateways = array_remove(gateways, %(gateway)s) || %(gateway)s
WHERE id = %(id)s RETURNING {FIELDS}
"""  # noqa: S608
LIST = """
SELECT p.id, a.name AS account, p.account_id, p.gateway, p.state, p.amount_minor, p.currency, p.created_at, p.paid_at,
       p.means, p.detail, p.url, p.cart
FROM core.payments p JOIN core.accounts a ON a.id = p.account_id
WHERE (%(account)s::bigint IS NULL OR p.account_id = %(account)s)
  AND (%(state)s::text IS NULL OR p.state = %(state)s)
ORDER BY p.created_at DESC, p.id LIMIT %(limit)s
"""
EXPIRE = """
UPDATE core.payments SET state = 'expired', changed_at = %(now)s
WHERE state IN ('open', 'pending') AND created_at < %(before)s
"""
# Told by our id, or by a name of the gateway's. Locked: two messages about one payment come one after the other.
FIND = f"""
SELECT {FIELDS} FROM core.payments
WHERE id = %(payment)s OR (gateway = %(gateway)s AND (reference = ANY(%(names)s) OR charge = ANY(%(names)s)))
ORDER BY id LIMIT 1 FOR NO KEY UPDATE
"""  # noqa: S608
NOTE = """
INSERT INTO core.gateway_events (gateway, id, received_at, event, reference, payment_id, outcome)
VALUES (%(gateway)s, %(id)s, %(now)s, %(event)s, %(reference)s, %(payment)s, 'waiting')
ON CONFLICT DO NOTHING RETURNING id
"""
OUTCOME = """
UPDATE core.gateway_events SET outcome = %(outcome)s, payment_id = coalesce(%(payment)s, payment_id)
WHERE gateway = %(gateway)s AND id = %(id)s
"""
WAITING = """
SELECT event FROM core.gateway_events
WHERE gateway = %(gateway)s AND outcome = 'waiting'
  AND (payment_id = %(payment)s OR reference = ANY(%(names)s)) ORDER BY received_at, id
"""
DISPUTES = """
SELECT event->>'dispute' FROM core.gateway_events
WHERE payment_id = %s AND event->>'type' = 'TakenBack' AND outcome = 'taken back'
"""
PAYOUTS = "SELECT key FROM core.payouts WHERE payment_id = %s"
CHANGE = """
UPDATE core.payments SET state = %(state)s, detail = %(detail)s, changed_at = %(now)s,
    gateway = CASE WHEN %(money)s THEN %(gateway)s ELSE coalesce(gateway, %(gateway)s) END, charge = coalesce(%(charge)s, charge),
    means = coalesce(nullif(%(means)s, ''), means),
    paid_at = CASE WHEN %(state)s = 'paid' THEN coalesce(paid_at, %(now)s) ELSE paid_at END
WHERE id = %(id)s
"""
PAYOUT = """
UPDATE core.payouts SET state = %(state)s, reference = coalesce(%(reference)s, reference), error = %(error)s,
    changed_at = %(now)s
WHERE key = %(key)s AND state <> 'done'
"""
NEXT_PRIORITY = (
    "SELECT coalesce(max(priority), 0) + 1 FROM core.devices WHERE account_id = %s AND removed_at IS NULL"
)


class KeyReusedError(Exception):
    """The key was used for another payment."""


class CartRaceError(Exception):
    """Somebody connected a tracker of the cart at this very moment; told again, the message is carried out."""


class Payment(Struct, frozen=True):
    """A payment's row. ``gateways``: all that its payer was sent to; ``gateway``: the last of them, or where he paid."""

    id: str
    account_id: int
    key: str | None
    gateway: str | None
    state: PaymentState
    amount_minor: int
    currency: str
    cart: list[CartLine]
    reference: str | None
    charge: str | None
    means: str
    url: str
    detail: str
    created_at: datetime
    changed_at: datetime
    paid_at: datetime | None
    gateways: list[str]


def _payment(row: Sequence[Any]) -> Payment:
    values = dict(zip(Payment.__struct_fields__, row, strict=True))
    values["state"] = PaymentState(values["state"])
    values["cart"] = msgspec.convert(values["cart"], list[CartLine])
    return Payment(**values)


# ---------------------------------------------------------------------- asked for


async def ask(
    connection: AsyncConnection[Any],
    account_id: int,
    amount_minor: int,
    currency: str,
    now: datetime,
    *,
    cart: Sequence[CartLine] = (),
    key: str | None = None,
) -> Payment:
    """A payment that a customer is asked for; under the same key, the same one. Raises KeyReusedError."""
    wanted = {
        "id": secrets.token_hex(16),
        "account": account_id,
        "key": key,
        "amount": amount_minor,
        "currency": currency,
        "cart": Jsonb(msgspec.to_builtins(list(cart))),
        "now": now,
    }
    row = await (await connection.execute(ASK.encode(), wanted)).fetchone()
    if row is None:
        row = await (await connection.execute(BY_KEY.encode(), [account_id, key])).fetchone()
        assert row is not None, "it was refused as there already"
        found = _payment(row)
        if (found.amount_minor, found.currency, found.cart) != (amount_minor, currency, list(cart)):
            raise KeyReusedError(key)
        return found
    return _payment(row)


async def read_payment(connection: AsyncConnection[Any], payment_id: str) -> Payment | None:
    """A payment by our id."""
    row = await (await connection.execute(BY_ID.encode(), [payment_id])).fetchone()
    return None if row is None else _payment(row)


async def begun(
    connection: AsyncConnection[Any], payment_id: str, gateway: str, reference: str, url: str, now: datetime
) -> Payment:
    """A gateway has a page for it."""
    values = {"id": payment_id, "gateway": gateway, "reference": reference or None, "url": url, "now": now}
    row = await (await connection.execute(BEGIN.encode(), values)).fetchone()
    assert row is not None, payment_id
    return _payment(row)


async def payments(
    connection: AsyncConnection[Any], account_id: int | None, state: str | None, limit: int | None
) -> AsyncIterator[dict[str, Any]]:
    """Payments, newest first. Amounts are minor units of ``currency``."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        async for row in cursor.stream(LIST, {"account": account_id, "state": state, "limit": limit}):
            yield row


async def expire(connection: AsyncConnection[Any], now: datetime, age_max: timedelta) -> int:
    """Links that are too old; answers how many. Money that comes for them all the same is taken."""
    return (await connection.execute(EXPIRE, {"now": now, "before": now - age_max})).rowcount


# ---------------------------------------------------------------------- told


async def take(
    connection: AsyncConnection[Any], store: BillingStore, gateway: str, event: AnyEvent, now: datetime
) -> str:
    """Do what a gateway's message calls for, and what waited for it; answers what that was, in a word or a sentence.
    Told again, it does nothing.
    """
    async with connection.transaction():
        names = [name for name in event.references if name]
        noted = await connection.execute(
            NOTE,
            {
                "gateway": gateway,
                "id": event.id,
                "now": now,
                "event": Jsonb(msgspec.to_builtins(event)),
                "reference": names[0] if names else None,
                "payment": None,
            },
        )
        if await noted.fetchone() is None:
            return "told before"
        payment = await _find(connection, gateway, event)
        if payment is None:
            return "waiting"
        outcome = await _apply(connection, store, payment, gateway, event, now)
        if isinstance(event, Paid) or outcome != "waiting":
            await _apply_waiting(connection, store, payment.id, gateway, now)
        return outcome


async def _find(connection: AsyncConnection[Any], gateway: str, event: AnyEvent) -> Payment | None:
    values = {"payment": event.payment, "gateway": gateway, "names": list(event.references)}
    row = await (await connection.execute(FIND.encode(), values)).fetchone()
    if row is None:
        return None
    found = _payment(row)
    # one gateway cannot speak of another's payments; but whoever was sent to it before he chose another may pay there after all
    came_back = isinstance(event, Paid) and gateway in found.gateways
    return found if found.gateway in {None, gateway} or came_back else None


async def _apply_waiting(
    connection: AsyncConnection[Any], store: BillingStore, payment_id: str, gateway: str, now: datetime
) -> None:
    """What came too early, in the order in which it came, until nothing more can be done."""
    moved = True
    while moved:
        moved = False
        payment = await read_payment(connection, payment_id)
        assert payment is not None, payment_id
        names = [name for name in (payment.reference, payment.charge) if name]
        rows = await connection.execute(WAITING, {"gateway": gateway, "payment": payment_id, "names": names})
        for (value,) in await rows.fetchall():
            event = msgspec.convert(value, AnyEvent)
            moved |= await _apply(connection, store, payment, gateway, event, now) != "waiting"
            payment = await read_payment(connection, payment_id)
            assert payment is not None, payment_id


async def _apply(
    connection: AsyncConnection[Any],
    store: BillingStore,
    payment: Payment,
    gateway: str,
    event: AnyEvent,
    now: datetime,
) -> str:
    disputes = await (await connection.execute(DISPUTES, [payment.id])).fetchall()
    payouts = await (await connection.execute(PAYOUTS, [payment.id])).fetchall()
    known = Known(
        payment.state,
        payment.amount_minor,
        payment.currency,
        {dispute for (dispute,) in disputes},
        {key for (key,) in payouts},
    )
    action = follow(known, event)
    outcome = await _carry_out(connection, store, payment, gateway, event, action, now)
    await connection.execute(
        OUTCOME,
        {
            "gateway": gateway,
            "id": event.id,
            "payment": payment.id,
            "outcome": outcome[:OUTCOME_CHARACTERS_MAX],
        },
    )
    return outcome


async def _carry_out(
    connection: AsyncConnection[Any],
    store: BillingStore,
    payment: Payment,
    gateway: str,
    event: AnyEvent,
    action: Action,
    now: datetime,
) -> str:
    key = f"pay:{gateway}:{payment.id}"
    match action:
        case Credit():
            detail = await _credit(connection, store, payment, key, event, now)
            await _change(connection, payment, gateway, event, PaymentState.PAID, detail, now)
            return "paid"
        case Move(to=to, detail=detail):
            await _change(connection, payment, gateway, event, to, detail, now)
            return detail or to.value
        case TakeBack(key=back, amount_minor=amount_minor):
            command = Chargeback(key=f"{gateway}:{back}", payment=key, amount_minor=amount_minor)
            return await _act(connection, store, payment, command, now, "taken back")
        case GiveAgain(key=won, amount_minor=amount_minor):
            again = TopUp(key=f"{key}:{won}", amount_minor=amount_minor, means=payment.means or gateway)
            return await _act(connection, store, payment, again, now, "given again")
        case PayoutDone(key=payout, reference=reference):
            values = {"key": payout, "state": "done", "reference": reference, "error": None, "now": now}
            await connection.execute(PAYOUT, values)
            return "refund arrived"
        case PayoutFailed(key=payout, detail=detail):
            values = {"key": payout, "state": "failed", "reference": None, "error": detail, "now": now}
            await connection.execute(PAYOUT, values)
            return f"refund failed: {detail}"
        case Wait():
            return "waiting"
        case Nothing(because=because):
            return f"nothing: {because}"
        case _:
            assert_never(action)


async def _act(
    connection: AsyncConnection[Any],
    store: BillingStore,
    payment: Payment,
    command: AnyCommand,
    now: datetime,
    done: str,
) -> str:
    outcome = await store.act(connection, payment.account_id, command, now)
    return f"refused: {outcome.answer.reason}" if isinstance(outcome.answer, Refused) else done


async def _change(
    connection: AsyncConnection[Any],
    payment: Payment,
    gateway: str,
    event: AnyEvent,
    state: PaymentState,
    detail: str,
    now: datetime,
) -> None:
    await connection.execute(
        CHANGE,
        {
            "id": payment.id,
            "state": state.value,
            "detail": detail,
            "gateway": gateway,
            "charge": (event.charge or None) if isinstance(event, Paid) else None,
            "means": event.means if isinstance(event, Paid) else "",
            "money": isinstance(event, Paid),
            "now": now,
        },
    )


async def _credit(
    connection: AsyncConnection[Any],
    store: BillingStore,
    payment: Payment,
    key: str,
    event: AnyEvent,
    now: datetime,
) -> str:
    """The balance rises, the cart's trackers are connected and paid from it before any other, and what is left
    unlocks. What of the cart cannot be connected any more stays on the balance; answers which, in words.
    """
    means = event.means if isinstance(event, Paid) and event.means else key.split(":")[1]
    taken = await connected(connection, [line.unique_id for line in payment.cart])
    cart = [line for line in payment.cart if line.unique_id not in taken]
    row = await (await connection.execute(NEXT_PRIORITY, [payment.account_id])).fetchone()
    assert row is not None
    state = await store.settle(connection, payment.account_id, now)
    then: list[AnyCommand] = []
    for priority, line in enumerate(cart, row[0]):
        months = 1 if state.tariff.mode is Mode.TERM else None
        then.append(Connect(device=line.unique_id, priority=priority, months=months))
        then.append(Activate(device=line.unique_id))
    command = TopUp(key=key, amount_minor=payment.amount_minor, means=means)
    outcome = await store.act(connection, payment.account_id, command, now, then=then)
    if isinstance(outcome.answer, Refused):
        raise AssertionError(f"a top-up of {key} was refused: {outcome.answer}")
    if cart:
        new = [
            NewDevice(line.unique_id, payment.account_id, line.name or line.unique_id, priority)
            for priority, line in enumerate(cart, row[0])
            if line.unique_id in outcome.state.devices
        ]
        added = await add_devices(connection, new, created_at=outcome.state.settled_to)
        if len(added) < len(new):
            raise CartRaceError
    names = ", ".join(sorted(taken))
    return f"connected meanwhile, so what they would cost stays on the balance: {names}" if taken else ""
