"""An account's money: its ledger and outlook, top-ups and refunds by hand, changes of tariff."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

from msgspec import Meta, Struct
from psycopg import AsyncConnection
from starlette.responses import Response

from tracker_server.api.accounts import Account, card_of
from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import bad
from tracker_server.api.money_values import amount_of, date_of, key_of, written
from tracker_server.api.money_words import refusal
from tracker_server.api.values import Number, iso, moment
from tracker_server.billing.book import Refused
from tracker_server.billing.commands import Refund, Switch, TopUp
from tracker_server.billing.engine import act
from tracker_server.billing.forecast import forecast, min_topup_minor
from tracker_server.billing.state import State
from tracker_server.billing.states import FACES, due_minor, standing
from tracker_server.exports.cells import csv_cell, csv_lines
from tracker_server.model.people import Right
from tracker_server.model.why import Why
from tracker_server.storage.audit import note
from tracker_server.storage.billing_rows import account_by_id, ledger, ledger_page
from tracker_server.storage.tariffs import read_tariffs

routes = Routes("An account's money")

LEDGER_MAX: Final = 1_000
FORECAST: Final = timedelta(days=60)
CSV_COLUMNS: Final = (
    "number",
    "at",
    "kind",
    "device",
    "date",
    "amount",
    "balance",
    "currency",
    "key",
    "hash",
)


class LedgerQuery(Struct, rename={"since": "from", "until": "to"}):
    """Which entries, newest first; ``cursor``: ``next`` of the page before."""

    since: str | None = None
    until: str | None = None
    limit: Annotated[int, Meta(ge=1, le=LEDGER_MAX)] = 100
    cursor: Number | None = None


class Entry(Struct, rename="camel"):
    """A movement of money; debits are negative. ``date``: the local date that a daily fee pays."""

    id: int
    at: str | None
    kind: str
    device: str | None
    date: str | None
    amount: str
    balance: str
    currency: str


class Ledger(Struct, rename="camel"):
    """A page of the ledger."""

    entries: list[Entry]
    next: int | None


class Outlook(Struct, rename="camel"):
    """A tracker's future if nobody does anything."""

    unique_id: str
    state: str
    due: str
    blocked_at: str | None
    blocked_on: str | None


class ForecastAnswer(Struct, rename="camel"):
    """How long the money lasts."""

    balance: str
    owed: str
    min_topup: str
    currency: str
    at: str | None
    until: str | None
    balance_then: str
    trackers: list[Outlook]


class TopUpBody(Struct, rename="camel"):
    """Money that came in by another way. ``key`` is the payment's: told again, it counts once."""

    amount: str
    key: str
    means: Annotated[str, Meta(max_length=200)] = ""


class RefundBody(Struct, rename="camel"):
    """How much of the unused money goes back; ``all`` of it."""

    amount: str
    key: str


class Balance(Struct, rename="camel"):
    """What is on the balance now."""

    balance: str
    currency: str


class SwitchQuery(Struct, rename="camel"):
    """To which tariff."""

    tariff_id: Number


class SwitchBody(Struct, rename="camel"):
    """To which tariff, and from which date of the account's on; none: now."""

    tariff_id: Number
    effective: str | None = None


class SwitchDue(Struct, rename="camel"):
    """What a tracker would owe."""

    unique_id: str
    due: str


class SwitchPreview(Struct, rename="camel"):
    """What a change of tariff would do. The change itself costs nothing; ``costNow`` is what would be debited at once."""

    cost_now: str
    monthly: str
    currency: str
    next_allowed: str | None
    effective: str | None
    devices: list[SwitchDue]


@routes.get(
    "/accounts/{id}/ledger",
    needs=Right.BOOKS,
    objects={"id": Kind.ACCOUNT},
    query=LedgerQuery,
    answers=Ledger,
)
async def get_ledger(call: Call[LedgerQuery, None]) -> Ledger:
    """Every movement of money, newest first, with the balance after each."""
    query = call.query
    since, until = _period(query)
    async with call.services.pools.core() as connection:
        rows = await ledger_page(connection, call.id, since, until, query.cursor, query.limit + 1)
    following = rows[query.limit - 1]["number"] if len(rows) > query.limit else None
    return Ledger([_entry(row) for row in rows[: query.limit]], following)


@routes.get(
    "/accounts/{id}/ledger.csv",
    needs=Right.BOOKS,
    objects={"id": Kind.ACCOUNT},
    query=LedgerQuery,
    media=("text/csv",),
)
async def get_ledger_csv(call: Call[LedgerQuery, None]) -> Response:
    """The ledger as a table: oldest first, cells that a spreadsheet would take for formulas made harmless."""
    since, until = _period(call.query)
    line = csv_lines()
    lines = [line(CSV_COLUMNS)]
    async with call.services.pools.core() as connection:
        async for row in ledger(connection, call.id, since, until):
            day = row["day"]
            told = {
                **row,
                "date": None if day is None else day.isoformat(),
                "amount": written(row["amount_minor"], row["currency"]),
                "balance": written(row["balance_minor"], row["currency"]),
            }
            lines.append(line([csv_cell(told[name]) for name in CSV_COLUMNS]))
    headers = {"Content-Disposition": 'attachment; filename="ledger.csv"'}
    return Response(b"".join(lines), media_type="text/csv", headers=headers)


@routes.get(
    "/accounts/{id}/forecast", needs=Right.BOOKS, objects={"id": Kind.ACCOUNT}, answers=ForecastAnswer
)
async def get_forecast(call: Call[None, None]) -> ForecastAnswer:
    """How long the money lasts, which trackers are hidden when, and what would show them all."""
    async with call.services.pools.core() as connection:
        state = await call.services.billing.settle(connection, call.id, call.now)
    now, code = state.settled_to, state.book.currency
    until = now + FORECAST
    ahead = forecast(state, until)
    return ForecastAnswer(
        balance=written(state.book.balance_minor, code),
        owed=written(state.book.receivable_minor, code),
        min_topup=written(min_topup_minor(state, now), code),
        currency=code,
        at=iso(now),
        until=iso(until),
        balance_then=written(ahead.balance_minor, code),
        trackers=[
            Outlook(
                one.device,
                FACES[standing(state, state.devices[one.device], now)].state,
                written(due_minor(state, state.devices[one.device], now), code),
                iso(one.blocked_at),
                None if one.blocked_on is None else one.blocked_on.isoformat(),
            )
            for one in ahead.outlooks
        ],
    )


@routes.post(
    "/accounts/{id}/topup", needs=Right.OPERATE, objects={"id": Kind.ACCOUNT}, body=TopUpBody, answers=Balance
)
async def post_topup(call: Call[None, TopUpBody]) -> Balance:
    """Put money on a balance that came in by another way. What it pays for is shown at once."""
    key = key_of("key", call.body.key)

    def make(code: str) -> TopUp:
        return TopUp(key=key, amount_minor=amount_of("amount", call.body.amount, code), means=call.body.means)

    return await _moved(call, make)


@routes.post(
    "/accounts/{id}/refund",
    needs=Right.OPERATE,
    objects={"id": Kind.ACCOUNT},
    body=RefundBody,
    answers=Balance,
)
async def post_refund(call: Call[None, RefundBody]) -> Balance:
    """Give unused money back, by the means it came with."""
    key = key_of("key", call.body.key)

    def make(code: str) -> Refund:
        text = call.body.amount
        return Refund(key=key, amount_minor=None if text == "all" else amount_of("amount", text, code))

    return await _moved(call, make)


async def _moved(call: Call[Any, Any], make: Any) -> Balance:
    async with call.services.pools.core() as connection, connection.transaction():
        account = await account_by_id(connection, call.id)
        assert account is not None, "authorised"
        command = make(account.currency)
        outcome = await call.services.billing.act(connection, call.id, command, call.now)
        if not isinstance(outcome.answer, Refused):
            detail = {"amount": call.body.amount, "key": call.body.key}
            await note(connection, type(command).__name__.lower(), by=call.principal, kind="account", object_id=call.id, address=call.address, detail=detail)  # fmt: skip
    if isinstance(outcome.answer, Refused):
        raise refusal(outcome.answer)
    return Balance(written(outcome.state.book.balance_minor, account.currency), account.currency)


@routes.get(
    "/accounts/{id}/switch",
    needs=Right.BOOKS,
    objects={"id": Kind.ACCOUNT},
    query=SwitchQuery,
    answers=SwitchPreview,
)
async def get_switch(call: Call[SwitchQuery, None]) -> SwitchPreview:
    """What a change of tariff would cost, tried on a copy of the account; nothing is changed."""
    async with call.services.pools.core() as connection:
        name = await _tariff_name(connection, call.query.tariff_id)
        state = await call.services.billing.settle(connection, call.id, call.now)
    outcome = act(state, Switch(tariff=name), call.now)
    code = state.book.currency
    answer = outcome.answer
    if isinstance(answer, Refused) and answer.next_allowed is None:
        raise refusal(answer)
    after = outcome.state
    tariff = state.tariffs[name]
    return SwitchPreview(
        cost_now=written(state.book.balance_minor - after.book.balance_minor, code),
        monthly=written(tariff.price_on(state.date_at(state.settled_to)).monthly_minor, code),
        currency=code,
        next_allowed=iso(answer.next_allowed) if isinstance(answer, Refused) else None,
        effective=_planned(state),
        devices=[
            SwitchDue(device.id, written(due_minor(after, device, after.settled_to), code))
            for device in after.by_turn()
        ],
    )


@routes.post(
    "/accounts/{id}/switch",
    needs=Right.MONEY,
    objects={"id": Kind.ACCOUNT},
    body=SwitchBody,
    answers=Account,
)
async def post_switch(call: Call[None, SwitchBody]) -> Account:
    """Change the tariff, now or from a date on."""
    day = None if call.body.effective is None else _date(call.body.effective)
    async with call.services.pools.core() as connection:
        name = await _tariff_name(connection, call.body.tariff_id)
        command = Switch(tariff=name, effective=day)
        outcome = await call.services.billing.act(connection, call.id, command, call.now)
        if isinstance(outcome.answer, Refused):
            raise refusal(outcome.answer)
        await note(connection, "switch", by=call.principal, kind="account", object_id=call.id, address=call.address, detail={"tariff": name})  # fmt: skip
        return await card_of(connection, call.id)


# ---------------------------------------------------------------------- parts


def _planned(state: State) -> str | None:
    return None if state.plan is None else state.plan.effective.isoformat()


def _date(text: str) -> date:
    return date_of("effective", text[:10])


def _period(query: LedgerQuery) -> tuple[datetime | None, datetime | None]:
    since = None if query.since is None else moment(query.since, "from")
    until = None if query.until is None else moment(query.until, "to")
    if since and until and until < since:
        raise bad("to", "lies before from; exchange them", Why.PERIOD_REVERSED)
    return since, until


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(
        id=row["number"],
        at=iso(row["at"]),
        kind=row["kind"],
        device=row["device"],
        date=None if row["day"] is None else row["day"].isoformat(),
        amount=written(row["amount_minor"], row["currency"]),
        balance=written(row["balance_minor"], row["currency"]),
        currency=row["currency"],
    )


async def _tariff_name(connection: AsyncConnection[Any], tariff_id: int) -> str:
    tariffs = await read_tariffs(connection)
    name = next((name for name, row in tariffs.items() if row.id == tariff_id), None)
    if name is None:
        raise bad("tariffId", f"there is no tariff {tariff_id}; GET /api/tariffs lists them")
    return name
