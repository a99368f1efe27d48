"""Tariffs, the calculator, and the audit of the books."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct
from starlette.responses import Response

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad, invalid, not_found
from tracker_server.api.money_values import date_of, written
from tracker_server.billing.tariffs import Feature, Mode, Price, Tariff
from tracker_server.billing.what_if import what_if
from tracker_server.model.money import InvalidValueError, currency, parse_minor
from tracker_server.model.people import Right
from tracker_server.model.reading import UnreadableError, read_json
from tracker_server.model.why import Why
from tracker_server.storage.audit import note
from tracker_server.storage.billing_rows import all_accounts
from tracker_server.storage.tariffs import (
    PriceExistsError,
    TariffExistsError,
    TariffRow,
    add_price,
    add_tariff,
    read_tariffs,
    settled_through,
)

routes = Routes("Tariffs")

FIRST_ZONE: Final = "Pacific/Kiritimati"  # where a date begins first on earth: UTC+14
WHAT_IF_BYTES_MAX: Final = 65_536  # a question of a page; larger ones have the command
LIMIT_MAX: Final = 1_000_000  # beyond it none is meant
TRACKER_DAYS_MAX: Final = 50_000  # some seconds of a processor that also has devices to answer


class TariffCard(Struct, rename="camel"):
    """A tariff at today's price; ``nextPrice`` from ``nextSince`` on, where one is set."""

    id: int
    name: str
    mode: str
    monthly: str
    sms: str | None
    currency: str
    history_days: int | None
    fences_max: int | None
    users_max: int | None
    sms_max: int | None
    features: list[str]
    without: list[str]
    next_since: str | None = None
    next_monthly: str | None = None


class TariffBody(Struct, rename="camel"):
    """A new tariff. Without ``sms``, SMS is not offered; without a limit there is none. ``smsMax`` is for a calendar month;
    ``without``: what of the server's own features it leaves out.
    """

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    mode: Literal["balance", "term", "free"]
    monthly: str = "0"
    currency: str | None = None
    sms: str | None = None
    history_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    fences_max: Annotated[int, Meta(ge=0, le=LIMIT_MAX)] | None = None
    users_max: Annotated[int, Meta(ge=0, le=LIMIT_MAX)] | None = None
    sms_max: Annotated[int, Meta(ge=0, le=LIMIT_MAX)] | None = None
    without: list[Literal["sensors", "trips"]] = []
    features: list[Annotated[str, Meta(min_length=1, max_length=60)]] = []


class PriceBody(Struct, rename="camel"):
    """A price from a date on that has not begun anywhere."""

    monthly: str
    since: str
    sms: str | None = None


class Verified(Struct, rename="camel"):
    """Whether the books are as the journal says, and where not."""

    clean: bool
    accounts: int
    differences: list[str]


@routes.get("/tariffs", needs=Right.READ, answers=list[TariffCard])
async def get_tariffs(call: Call[None, None]) -> list[TariffCard]:
    """The tariffs."""
    async with call.services.pools.core() as connection:
        rows = await read_tariffs(connection)
    return [_shape(row, call.now.date()) for row in rows.values()]


@routes.post("/tariffs", needs=Right.OPERATE, body=TariffBody, answers=TariffCard, status=201)
async def post_tariff(call: Call[None, TariffBody]) -> TariffCard:
    """Add a tariff."""
    body = call.body
    code = _currency(body.currency or call.services.settings.billing.currency)
    monthly_minor = _amount("monthly", body.monthly, code)
    if (body.mode == "free") != (monthly_minor == 0):
        raise bad("monthly", "is 0 for a free tariff, and above it for any other")
    sms_minor = None if body.sms is None else _amount("sms", body.sms, code)
    name = " ".join(body.name.split())
    tariff = Tariff(
        name,
        Mode(body.mode),
        (Price(date.min, monthly_minor, sms_minor),),
        (frozenset(Feature) - frozenset(body.without)) | frozenset(body.features) - frozenset(Feature),
        body.history_days,
        body.fences_max,
        body.users_max,
        body.sms_max,
    )
    async with call.services.pools.core() as connection:
        try:
            tariff_id = await add_tariff(connection, tariff, code)
        except TariffExistsError:
            raise Refusal(
                409,
                f"name: there is a tariff named {name!r} already",
                why=Why.NAME_TAKEN,
                values={"name": name},
            ) from None
        await note(connection, "create", by=call.principal, kind="tariff", object_id=tariff_id, address=call.address)  # fmt: skip
    return _shape(TariffRow(tariff_id, code, tariff), call.now.date())


@routes.post(
    "/tariffs/{id}/price",
    needs=Right.OPERATE,
    objects={"id": Kind.TARIFF},
    body=PriceBody,
    answers=TariffCard,
)
async def post_price(call: Call[None, PriceBody]) -> TariffCard:
    """A new price from a date on; what was charged keeps its own."""
    since = date_of("since", call.body.since[:10])
    async with call.services.pools.core() as connection:
        row = next((one for one in (await read_tariffs(connection)).values() if one.id == call.id), None)
        if row is None:
            raise not_found(f"tariff {call.id}")
        if row.free:
            raise bad("monthly", "a free tariff has no price; add another tariff")
        if since <= await settled_through(connection, call.id, FIRST_ZONE):
            raise bad(
                "since",
                f"{since} has begun somewhere, and what was charged keeps its price; name a later date",
            )
        sms = call.body.sms
        price = Price(
            since,
            _amount("monthly", call.body.monthly, row.currency),
            row.tariff.price_on(since).sms_minor if sms is None else _amount("sms", sms, row.currency),
        )
        if not price.monthly_minor:
            raise bad("monthly", "is 0; a tariff that is paid has a price")
        try:
            await add_price(connection, call.id, price)
        except PriceExistsError:
            raise Refusal(409, f"since: the tariff has a price from {since} on already") from None
        await note(connection, "price", by=call.principal, kind="tariff", object_id=call.id, address=call.address)  # fmt: skip
    return _shape(TariffRow(row.id, row.currency, row.tariff.with_price(price)), call.now.date())


@routes.post(
    "/what-if", needs=Right.READ, body=bytes, body_bytes_max=WHAT_IF_BYTES_MAX, answers=dict[str, Any]
)
async def post_what_if(call: Call[None, bytes]) -> Response:
    """The calculator: the real engine on an imagined history. The shape is that of `billing what-if`."""
    _check_size(call.body)
    try:
        printed = await asyncio.to_thread(what_if, call.body)
    except InvalidValueError as error:
        raise Refusal(400, str(error)) from None
    return Response(printed, media_type="application/json")


@routes.get("/billing/verify", needs=Right.OPERATE, answers=Verified)
async def get_verify(call: Call[None, None]) -> Verified:
    """Recompute everything from the journal."""
    found: list[str] = []
    async with call.services.pools.core() as connection:
        accounts = await all_accounts(connection)
        for account in accounts:
            found += await call.services.billing.verify(connection, account.id)
    return Verified(not found, len(accounts), found)


def _shape(row: TariffRow, today: date) -> TariffCard:
    price = row.tariff.price_on(today)
    following = next((one for one in row.tariff.prices if one.since > today), None)
    return TariffCard(
        id=row.id,
        name=row.tariff.name,
        mode=row.tariff.mode.value,
        monthly=written(price.monthly_minor, row.currency),
        sms=None if price.sms_minor is None else written(price.sms_minor, row.currency),
        currency=row.currency,
        history_days=row.tariff.history_days,
        fences_max=row.tariff.fences_max,
        users_max=row.tariff.users_max,
        sms_max=row.tariff.sms_max,
        features=sorted(row.tariff.features - frozenset(Feature)),
        without=sorted(frozenset(Feature) - row.tariff.features),
        next_since=None if following is None else following.since.isoformat(),
        next_monthly=None if following is None else written(following.monthly_minor, row.currency),
    )


class _Span(Struct):
    """Of a question, what its answer costs."""

    start: datetime
    end: datetime
    actions: list[Any] = []


def _check_size(body: bytes) -> None:
    """Refuse what would keep a processor busy. What cannot be read here is told by the calculator itself."""
    try:
        span = read_json(body, _Span)
    except UnreadableError:
        return
    if (span.end - span.start).days * len(span.actions) > TRACKER_DAYS_MAX:
        raise bad(
            "end",
            f"days × actions are more than {TRACKER_DAYS_MAX:,}; ask for less, or use `tracker-server billing what-if`",
        )


def _currency(code: str) -> str:
    try:
        return currency(code).code
    except InvalidValueError as error:
        raise invalid(error) from None


def _amount(field: str, text: str, code: str) -> int:
    try:
        amount_minor = parse_minor(text, currency(code), field)
    except InvalidValueError as error:
        raise invalid(error) from None
    if amount_minor < 0:
        raise bad(field, f"{text!r} is below zero")
    return amount_minor
