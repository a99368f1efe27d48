"""Accounts and their money: balance, ledger, outlook, top-ups and refunds by hand, changes of tariff."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

from msgspec import UNSET, Meta, Struct, UnsetType
from psycopg import AsyncConnection
from starlette.responses import Response

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad, invalid, not_found
from tracker_server.api.money_values import amount_of, date_of, key_of, written
from tracker_server.api.money_words import refusal
from tracker_server.api.values import Number, iso, moment
from tracker_server.billing.book import Refused
from tracker_server.billing.commands import ChangeZone, Refund, Switch, TopUp
from tracker_server.billing.engine import act
from tracker_server.billing.forecast import forecast, min_topup_minor
from tracker_server.billing.state import State
from tracker_server.billing.states import FACES, due_minor, standing
from tracker_server.config import ConfigError, check_zone
from tracker_server.exports.cells import csv_cell, csv_lines
from tracker_server.model.address import email, messenger
from tracker_server.model.money import InvalidValueError, currency
from tracker_server.model.people import Right
from tracker_server.model.why import Why
from tracker_server.storage.accounts import (
    AccountExistsError,
    Contact,
    account_cards,
    add_account,
    change_account,
    set_bearer,
    set_contact,
)
from tracker_server.storage.audit import note
from tracker_server.storage.billing_rows import account_by_id, ledger, ledger_page
from tracker_server.storage.tariffs import read_tariffs

routes = Routes("Accounts")

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
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Account(Struct, rename="camel"):
    """A customer. ``balance`` and ``minTopup`` (what shows all its trackers again) in ``currency``."""

    id: int
    name: str
    zone: str
    currency: str
    language: str
    email: str
    messenger: str
    tariff_id: int
    tariff: str
    mode: str
    balance: str
    min_topup: str | None
    devices: int
    blocked: int
    address: str = ""
    country: str = ""
    tax_id: str = ""


class AccountBody(Struct, rename="camel", kw_only=True):
    """What may be said of an account. Its currency is for ever; its tariff is changed by a switch."""

    name: Name | UnsetType = UNSET
    zone: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    language: str | UnsetType = UNSET
    email: str | UnsetType = UNSET
    messenger: str | UnsetType = UNSET
    tariff_id: Number | UnsetType = UNSET
    address: Annotated[str, Meta(max_length=1_000)] | UnsetType = UNSET


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


@routes.get("/accounts", needs=Right.BOOKS, answers=list[Account])
async def get_accounts(call: Call[None, None]) -> list[Account]:
    """The accounts: one's own, or all for the operator."""
    own = call.principal.account_id
    if not call.principal.operator and own is None:
        return []
    async with call.services.pools.core() as connection:
        rows = await account_cards(connection, None if call.principal.operator else [own or 0])
    return [_shape(row) for row in rows]


@routes.get("/accounts/{id}", needs=Right.BOOKS, objects={"id": Kind.ACCOUNT}, answers=Account)
async def get_account(call: Call[None, None]) -> Account:
    """One account."""
    async with call.services.pools.core() as connection:
        return await _card(connection, call.id)


@routes.post("/accounts", needs=Right.OPERATE, body=AccountBody, answers=Account, status=201)
async def post_account(call: Call[None, AccountBody]) -> Account:
    """Add a customer. Without a currency, zone or tariff: the settings' own, and the tariff that costs nothing."""
    body, settings = call.body, call.services.settings
    name = _name(body)
    if name is None:
        raise bad("name", "is missing; every account has a name of its own", Why.MISSING)
    zone = body.zone if isinstance(body.zone, str) else settings.billing.zone
    code = body.currency if isinstance(body.currency, str) else settings.billing.currency
    _check(zone, code)
    contact = Contact(
        _address(email, "email", body.email) or "",
        _address(messenger, "messenger", body.messenger) or "",
        _language(body.language) or settings.notices.language,
    )
    async with call.services.pools.core() as connection:
        tariff_id = await _tariff(connection, body.tariff_id, code)
        try:
            account_id = await add_account(
                connection, name, zone=zone, currency=code, tariff_id=tariff_id, contact=contact
            )
        except AccountExistsError:
            raise Refusal(
                409,
                f"name: there is an account named {name!r} already",
                why=Why.NAME_TAKEN,
                values={"name": name},
            ) from None
        await note(connection, "create", by=call.principal, kind="account", object_id=account_id, address=call.address)  # fmt: skip
        return await _card(connection, account_id)


@routes.put(
    "/accounts/{id}", needs=Right.MONEY, objects={"id": Kind.ACCOUNT}, body=AccountBody, answers=Account
)
async def put_account(call: Call[None, AccountBody]) -> Account:
    """Change how an account is written to and stands on papers; its name and zone only for the operator."""
    body = call.body
    async with call.services.pools.core() as connection, connection.transaction():
        before = await _card(connection, call.id)
        name = _name(body)
        zone = body.zone if isinstance(body.zone, str) and body.zone != before.zone else None
        if (name not in {None, before.name} or zone) and not call.principal.operator:
            raise Refusal(403, "name, zone: only the operator changes them")
        if isinstance(body.currency, str) and body.currency != before.currency:
            raise bad("currency", "cannot be changed: the ledger is in it; add another account")
        if name is not None and name != before.name:
            try:
                await change_account(connection, call.id, name=name)
            except AccountExistsError:
                raise Refusal(
                    409,
                    f"name: there is an account named {name!r} already",
                    why=Why.NAME_TAKEN,
                    values={"name": name},
                ) from None
        await set_contact(
            connection,
            name or before.name,
            email=_address(email, "email", body.email),
            messenger=_address(messenger, "messenger", body.messenger),
            language=_language(body.language),
        )
        if isinstance(body.address, str):
            await set_bearer(connection, name or before.name, address=body.address.strip())
        if zone:
            _check(zone, before.currency)
            await call.services.billing.act(connection, call.id, ChangeZone(zone=zone), call.now)
        await note(connection, "edit", by=call.principal, kind="account", object_id=call.id, address=call.address)  # fmt: skip
        return await _card(connection, call.id)


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
        return await _card(connection, call.id)


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


async def _card(connection: AsyncConnection[Any], account_id: int) -> Account:
    rows = await account_cards(connection, [account_id])
    if not rows:
        raise not_found(f"account {account_id}")
    return _shape(rows[0])


def _shape(row: dict[str, Any]) -> Account:
    due_now, owed, balance = row.pop("due_minor"), row.pop("owed_minor"), row.pop("balance_minor")
    code = row["currency"]
    least = written(max(0, due_now - balance) + owed, code) if due_now else None
    return Account(**row, balance=written(balance, code), min_topup=least)


def _name(body: AccountBody) -> str | None:
    if not isinstance(body.name, str):
        return None
    name = " ".join(body.name.split())
    if not name:
        raise bad("name", "is empty; write what the account is called", Why.MISSING)
    return name


def _check(zone: str, code: str) -> None:
    try:
        check_zone("zone", zone)
        currency(code)
    except ConfigError as error:
        raise Refusal(400, str(error)) from None
    except InvalidValueError as error:
        raise invalid(error) from None


def _language(text: str | UnsetType) -> str | None:
    if not isinstance(text, str):
        return None
    if text not in {"en", "es", "ru"}:
        raise bad("language", f"{text!r} is none that we write; en, es or ru")
    return text


def _address(check: Any, field: str, text: str | UnsetType) -> str | None:
    if not isinstance(text, str):
        return None
    if not text.strip():
        return ""
    try:
        return str(check(text, field))
    except InvalidValueError as error:
        raise invalid(error) from None


async def _tariff(connection: AsyncConnection[Any], tariff_id: int | UnsetType, code: str) -> int:
    tariffs = await read_tariffs(connection)
    if not isinstance(tariff_id, int):
        return next(row.id for row in tariffs.values() if row.free)
    row = next((row for row in tariffs.values() if row.id == tariff_id), None)
    if row is None or (row.currency != code and not row.free):
        raise bad("tariffId", f"there is no tariff {tariff_id} in {code}; GET /api/tariffs lists them")
    return row.id


async def _tariff_name(connection: AsyncConnection[Any], tariff_id: int) -> str:
    tariffs = await read_tariffs(connection)
    name = next((name for name, row in tariffs.items() if row.id == tariff_id), None)
    if name is None:
        raise bad("tariffId", f"there is no tariff {tariff_id}; GET /api/tariffs lists them")
    return name
