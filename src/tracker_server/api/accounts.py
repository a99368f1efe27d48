"""Accounts: who they are, how they are written to, what they have."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType
from psycopg import AsyncConnection

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad, invalid, not_found
from tracker_server.api.money_values import written
from tracker_server.api.values import Number
from tracker_server.billing.commands import ChangeZone
from tracker_server.config import ConfigError, check_zone
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
from tracker_server.storage.tariffs import read_tariffs

routes = Routes("Accounts")

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
        return await card_of(connection, call.id)


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
            raise _taken(name) from None
        await note(connection, "create", by=call.principal, kind="account", object_id=account_id, address=call.address)  # fmt: skip
        return await card_of(connection, account_id)


@routes.put(
    "/accounts/{id}", needs=Right.MONEY, objects={"id": Kind.ACCOUNT}, body=AccountBody, answers=Account
)
async def put_account(call: Call[None, AccountBody]) -> Account:
    """Change how an account is written to and stands on papers; its name and zone only for the operator."""
    body = call.body
    async with call.services.pools.core() as connection, connection.transaction():
        before = await card_of(connection, call.id)
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
                raise _taken(name) from None
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
        return await card_of(connection, call.id)


# ---------------------------------------------------------------------- parts


async def card_of(connection: AsyncConnection[Any], account_id: int) -> Account:
    """As the API tells it. Raises Refusal where there is none."""
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


def _taken(name: str) -> Refusal:
    sentence = f"name: there is an account named {name!r} already"
    return Refusal(409, sentence, why=Why.NAME_TAKEN, values={"name": name})


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
