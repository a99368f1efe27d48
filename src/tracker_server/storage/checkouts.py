"""From what a customer wants to pay to a gateway's page for it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

from tracker_server.billing.state import State
from tracker_server.billing.tariffs import Mode
from tracker_server.model.money import currency, format_minor
from tracker_server.model.paper import CartLine
from tracker_server.payments.port import Checkout, Gateway
from tracker_server.payments.states import PaymentState
from tracker_server.storage.invoices import read_buyer, read_seller
from tracker_server.storage.payments import Payment, begun

CART_MAX: Final = 500  # trackers of one payment
PAYABLE: Final = frozenset({PaymentState.OPEN, PaymentState.PENDING, PaymentState.FAILED})
DESCRIPTIONS: Final = {
    "en": "Tracking services, account {account}",
    "es": "Servicios de rastreo, cuenta {account}",
    "ru": "Услуги мониторинга, счёт {account}",
}


class CartError(ValueError):
    """A cart that cannot be paid; the message says why and what to do."""


def priced(state: State, wanted: Sequence[tuple[str, str]]) -> list[CartLine]:
    """Trackers (identifier, name) at what their connection costs today. Raises CartError."""
    if state.tariff.mode is Mode.FREE:
        raise CartError(f"the tariff {state.tariff.name!r} costs nothing; add the trackers without a payment")
    if len(wanted) > CART_MAX:
        raise CartError(f"{len(wanted)} trackers are too many for one payment; at most {CART_MAX}")
    twice = {unique_id for unique_id, _ in wanted if [one for one, _ in wanted].count(unique_id) > 1}
    if twice:
        raise CartError(f"{min(twice)!r} is in the cart twice; leave one out")
    price_minor = state.price_on(state.date_at(state.settled_to)).monthly_minor
    return [CartLine(unique_id, price_minor, name) for unique_id, name in wanted]


async def begin(
    connection: AsyncConnection[Any], gateway: Gateway, payment: Payment, public_url: str, now: datetime
) -> Payment:
    """Have the gateway's page for a payment; the same one where it has one already. Raises GatewayAwayError,
    GatewayRefusedError.
    """
    if payment.state is PaymentState.PENDING and payment.gateway == gateway.name and payment.url:
        return payment
    buyer = await read_buyer(connection, payment.account_id)
    seller = await read_seller(connection)
    description = DESCRIPTIONS.get(buyer.language, DESCRIPTIONS["en"]).format(account=buyer.party.name)
    started = await gateway.start(
        Checkout(
            payment.id,
            payment.amount_minor,
            payment.currency,
            f"{seller.party.name}: {description}" if seller.party.name else description,
            buyer.language,
            f"{public_url.rstrip('/')}/pay/return?payment={payment.id}",
            buyer.email or "",
        )
    )
    return await begun(connection, payment.id, gateway.name, started.reference, started.url, now)


def in_words(payment: Payment) -> str:
    """``310.00 RUB``."""
    return f"{format_minor(payment.amount_minor, currency(payment.currency))} {payment.currency}"
