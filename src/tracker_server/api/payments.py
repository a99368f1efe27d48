"""Payments: asked for, paid at a gateway, told by it. The gateway's word counts, never the browser's."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import structlog
from msgspec import Struct, field
from starlette.responses import PlainTextResponse, Response

from tracker_server.api.authorise import Kind, Open, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad
from tracker_server.api.money_values import amount_of, unique_id_of
from tracker_server.api.values import iso
from tracker_server.model.money import currency, format_minor
from tracker_server.model.people import Right
from tracker_server.model.why import Why
from tracker_server.payments.events import Paid
from tracker_server.payments.port import (
    BODY_BYTES_MAX,
    BadMessageError,
    BadSignatureError,
    GatewayAwayError,
    GatewayRefusedError,
)
from tracker_server.storage.billing_rows import account_by_id
from tracker_server.storage.checkouts import CartError, begin, priced
from tracker_server.storage.devices import connected
from tracker_server.storage.payments import CartRaceError, KeyReusedError, ask, payments, take

log = structlog.get_logger(__name__)
routes = Routes("Payments")

LIST_MAX: Final = 1_000


class GatewayCard(Struct, rename="camel"):
    """A way to pay. ``currencies``: empty for all."""

    name: str
    title: str
    currencies: list[str]


class CartItem(Struct, rename="camel", forbid_unknown_fields=True):
    """A tracker to be connected once the payment has come."""

    unique_id: str
    name: str = ""


class CheckoutBody(Struct, rename="camel", forbid_unknown_fields=True):
    """What is to be paid. Without ``amount``, what the cart costs; without ``gateway``, a link on which one is chosen."""

    amount: str | None = None
    gateway: str = ""
    devices: list[CartItem] = field(default_factory=list)
    key: str | None = None


class CheckoutAnswer(Struct, rename="camel"):
    """Where to send the payer. ``id`` is the payment's."""

    id: str
    url: str
    amount: str
    currency: str


class PaymentCard(Struct, rename="camel"):
    """A payment as its account sees it."""

    id: str
    gateway: str | None
    state: str
    amount: str
    currency: str
    created_at: str | None
    paid_at: str | None
    url: str
    detail: str


@routes.get("/gateways", needs=Open.ANYBODY, answers=list[GatewayCard])
async def get_gateways(call: Call[None, None]) -> list[GatewayCard]:
    """The ways to pay."""
    return [
        GatewayCard(gateway.name, gateway.title, [])
        for gateway in call.services.gateways.values()
        if gateway.offers_checkout
    ]


@routes.post(
    "/gateways/{name}/webhook",
    needs=Open.SIGNED,
    body=bytes,
    body_bytes_max=BODY_BYTES_MAX,
    answers=dict[str, str],
)
async def post_gateway_webhook(call: Call[None, bytes]) -> Response | dict[str, str]:
    """A gateway tells of a payment. Signed by it; what was told before changes nothing."""
    gateway = call.services.gateways.get(str(call.path["name"]))
    if gateway is None:
        raise Refusal(
            404, f"there is no gateway {call.path['name']!r}; the settings under payments name them"
        )
    try:
        event = gateway.read(dict(call.request.headers), call.body, call.now)
    except (BadSignatureError, BadMessageError) as error:
        log.warning("a gateway's message is refused", gateway=gateway.name, error=str(error))
        raise Refusal(400, str(error)) from None
    if event is None:
        return {"outcome": "none of our business"}
    try:
        async with call.services.pools.core() as connection:
            outcome = await take(connection, call.services.billing, gateway.name, event, call.now)
    except CartRaceError:
        return PlainTextResponse("tell it again", 503, {"Retry-After": "2"})
    kept = not isinstance(event, Paid) or outcome in {"paid", "told before"}
    (log.info if kept else log.warning)(
        "a gateway told", gateway=gateway.name, event_id=event.id, outcome=outcome
    )
    return {"outcome": outcome}


@routes.post(
    "/accounts/{id}/checkout",
    needs=Right.MONEY,
    objects={"id": Kind.ACCOUNT},
    body=CheckoutBody,
    answers=CheckoutAnswer,
    status=201,
)
async def post_checkout(call: Call[None, CheckoutBody]) -> CheckoutAnswer:
    """Begin a payment: for the balance, or for trackers that are connected once it has come."""
    services, body = call.services, call.body
    gateway = services.gateways.get(body.gateway) if body.gateway else None
    if body.gateway and (gateway is None or not gateway.offers_checkout):
        raise bad("gateway", f"{body.gateway!r} is none to pay with; GET /api/gateways lists them")
    async with services.pools.core() as connection:
        account = await account_by_id(connection, call.id)
        assert account is not None, "authorised"
        cart = []
        if body.devices:
            wanted = [(unique_id_of("devices", one.unique_id), one.name.strip()) for one in body.devices]
            taken = await connected(connection, [unique_id for unique_id, _ in wanted])
            if taken:
                raise Refusal(
                    409,
                    f"devices: {min(taken)!r} is connected already; leave it out",
                    why=Why.TRACKER_TAKEN,
                    values={"uniqueId": min(taken)},
                )
            state = await services.billing.settle(connection, call.id, call.now)
            try:
                cart = priced(state, wanted)
            except CartError as error:
                raise bad("devices", str(error)) from None
        cost_minor = sum(line.amount_minor for line in cart)
        if body.amount is None and not cart:
            raise bad("amount", "is missing; say how much, or which devices", Why.MISSING)
        amount_minor = (
            cost_minor if body.amount is None else amount_of("amount", body.amount, account.currency)
        )
        if amount_minor < cost_minor:
            needed = format_minor(cost_minor, currency(account.currency))
            raise bad(
                "amount",
                f"{body.amount} does not reach for the devices; they cost {needed}",
                Why.AMOUNT_SHORT,
                needed=f"{needed} {account.currency}",
            )
        try:
            payment = await ask(
                connection, call.id, amount_minor, account.currency, call.now, cart=cart, key=body.key
            )
        except KeyReusedError:
            raise Refusal(409, "key: was used for another payment; choose another one") from None
        url = payment.url
        if gateway is None:
            url = f"{public_url(call)}/pay/{payment.id}"
        else:
            try:
                url = (await begin(connection, gateway, payment, public_url(call), call.now)).url
            except GatewayAwayError as error:
                raise Refusal(
                    503, f"{gateway.title} does not answer: {error}; try again in a moment"
                ) from None
            except GatewayRefusedError as error:
                raise Refusal(502, f"{gateway.title} refuses: {error}") from None
    amount = format_minor(amount_minor, currency(account.currency))
    return CheckoutAnswer(payment.id, url, amount, account.currency)


@routes.get(
    "/accounts/{id}/payments", needs=Right.BOOKS, objects={"id": Kind.ACCOUNT}, answers=list[PaymentCard]
)
async def get_payments(call: Call[None, None]) -> list[PaymentCard]:
    """What was asked for and what became of it, newest first."""
    async with call.services.pools.core() as connection:
        return [_card(row) async for row in payments(connection, call.id, None, LIST_MAX)]


def public_url(call: Call[Any, Any]) -> str:
    """Where customers reach us: as set, or as this request did."""
    return call.services.settings.api.public_url.rstrip("/") or str(call.request.base_url).rstrip("/")


def _card(row: dict[str, Any]) -> PaymentCard:
    def moment(value: datetime | None) -> str | None:
        return iso(value)

    return PaymentCard(
        id=row["id"],
        gateway=row["gateway"],
        state=row["state"],
        amount=format_minor(row["amount_minor"], currency(row["currency"])),
        currency=row["currency"],
        created_at=moment(row["created_at"]),
        paid_at=moment(row["paid_at"]),
        url=row["url"],
        detail=row["detail"],
    )
