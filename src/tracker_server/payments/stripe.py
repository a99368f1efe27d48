"""Stripe: checkout sessions, signed events, refunds. The official library signs, verifies and speaks.

What we ask of Stripe: the events ``checkout.session.completed``, ``checkout.session.async_payment_succeeded``,
``checkout.session.async_payment_failed``, ``checkout.session.expired``, ``refund.created``, ``refund.updated``,
``refund.failed``, ``charge.dispute.funds_withdrawn`` and ``charge.dispute.funds_reinstated``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from tracker_server.config_money import StripeGateway as Settings
from tracker_server.model.money import EXPONENTS
from tracker_server.model.reading import read_json
from tracker_server.payments.events import (
    AnyEvent,
    Failed,
    Paid,
    Refunded,
    RefundFailed,
    Reinstated,
    TakenBack,
)
from tracker_server.payments.port import (
    BadMessageError,
    BadSignatureError,
    Checkout,
    GatewayAwayError,
    GatewayRefusedError,
    Payback,
    Started,
    TakenOver,
)

HEADER: Final = "stripe-signature"
TIMEOUT_S: Final = 30.0
KEY_CHARACTERS_MAX: Final = 255  # Stripe's bound
# Stripe counts these in hundredths although ISO 4217 gives them no decimals (docs.stripe.com/currencies).
IN_HUNDREDTHS: Final = frozenset({"ISK", "UGX"})
DONE: Final = "succeeded"
FAILED: Final = frozenset({"failed", "canceled"})


def to_stripe(amount_minor: int, code: str) -> int:
    """Our minor units as Stripe's. Raises GatewayRefusedError."""
    if code in IN_HUNDREDTHS:
        return amount_minor * 100
    if EXPONENTS[code] > 3:
        raise GatewayRefusedError(f"Stripe takes no {code}; choose another gateway")
    if EXPONENTS[code] == 3 and amount_minor % 10:
        raise GatewayRefusedError(
            f"Stripe takes {code} with two decimals only; the third of this amount must be 0"
        )
    return amount_minor


def from_stripe(amount: int, code: str) -> int:
    """Stripe's minor units as ours. Raises BadMessageError."""
    if code not in EXPONENTS:
        raise BadMessageError(f"currency: {code!r} is none that we know")
    if code not in IN_HUNDREDTHS:
        return amount
    if amount % 100:
        raise BadMessageError(f"amount: {amount} is no whole {code}")
    return amount // 100


class Stripe:
    """See ``Gateway``."""

    name: str = "stripe"
    offers_checkout: bool = True

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def title(self) -> str:
        return self._settings.title

    def _client(self) -> Any:
        import stripe

        return stripe.StripeClient(
            self._settings.secret_key,
            base_addresses={"api": self._settings.api_url},
            http_client=stripe.RequestsClient(timeout=TIMEOUT_S),
            max_network_retries=0,  # whoever calls tries again, with the same key
        )

    async def start(self, checkout: Checkout) -> Started:
        params = {
            "mode": "payment",
            "client_reference_id": checkout.payment,
            "metadata": {"payment": checkout.payment},
            "payment_intent_data": {"metadata": {"payment": checkout.payment}},
            "line_items": [
                {
                    "quantity": 1,
                    "price_data": {
                        "currency": checkout.currency.lower(),
                        "unit_amount": to_stripe(checkout.amount_minor, checkout.currency),
                        "product_data": {"name": checkout.description},
                    },
                }
            ],
            "locale": checkout.language if checkout.language in {"en", "es", "ru"} else "auto",
            "success_url": checkout.return_url,
            "cancel_url": checkout.return_url,
        }
        if checkout.email:
            params["customer_email"] = checkout.email
        session = await _asked(
            self._client().v1.checkout.sessions.create,
            params,
            f"checkout:{checkout.payment}",
        )
        return Started(session.url, session.id)

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> AnyEvent | None:
        import stripe

        try:
            stripe.WebhookSignature.verify_header(
                body.decode("utf-8", "replace"), headers.get(HEADER, ""), self._settings.webhook_secret, 300
            )
        except stripe.SignatureVerificationError as error:
            raise BadSignatureError(f"Stripe-Signature: {error.user_message or error}") from None
        try:
            return _event(read_json(body))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BadMessageError(f"{type(error).__name__}: {error}; is it a snapshot event?") from None

    async def give_back(self, payback: Payback) -> TakenOver:
        if not payback.charge:
            raise GatewayRefusedError(
                "Stripe never told which charge it was; give it back at Stripe's own pages"
            )
        refund = await _asked(
            self._client().v1.refunds.create,
            {
                "payment_intent": payback.charge,
                "amount": to_stripe(payback.amount_minor, payback.currency),
                "metadata": {"key": payback.key, "payment": payback.payment},
            },
            payback.key,
        )
        if refund.status in FAILED:
            raise GatewayRefusedError(f"Stripe says that it {refund.status}")
        return TakenOver(refund.id, done=refund.status == DONE)


async def _asked(ask: Any, params: dict[str, Any], key: str) -> Any:
    """Stripe's answer; the same key gets the same one. In a thread: the library's own asynchronous client is built
    on a call that its HTTP library has deprecated. Raises GatewayAwayError, GatewayRefusedError.
    """
    import stripe

    try:
        return await asyncio.to_thread(ask, params, {"idempotency_key": key[:KEY_CHARACTERS_MAX]})
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise GatewayAwayError(_sentence(error)) from None
    except stripe.StripeError as error:
        if error.http_status is None or error.http_status >= 500 or error.http_status == 409:
            raise GatewayAwayError(_sentence(error)) from None
        raise GatewayRefusedError(_sentence(error)) from None


def _sentence(error: Any) -> str:
    return f"{type(error).__name__}: {error.user_message or str(error).splitlines()[0][:300]}"


def _event(told: dict[str, Any]) -> AnyEvent | None:
    """One of Stripe's events; None where it is not about a payment of ours."""
    kind, about = told["type"], told["data"]["object"]
    known: dict[str, Any] = {
        "id": told["id"],
        "at": datetime.fromtimestamp(told["created"], UTC),
        "payment": (about.get("metadata") or {}).get("payment", ""),
    }
    match kind:
        case "checkout.session.completed" | "checkout.session.async_payment_succeeded":
            if about["payment_status"] != "paid" or about["mode"] != "payment":
                return None  # it will be told when it is
            charge = about["payment_intent"]
            return Paid(
                **{**known, "payment": about.get("client_reference_id") or known["payment"]},
                references=(about["id"], charge),
                charge=charge,
                means=_means(about),
                **_amount(about, "amount_total"),
            )
        case "checkout.session.async_payment_failed":
            return Failed(**known, references=(about["id"],), detail="the payment failed")
        case "checkout.session.expired":
            return Failed(**known, references=(about["id"],), detail="the checkout expired")
        case "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated":
            return _refund(known, about)
        case "charge.dispute.funds_withdrawn" | "charge.dispute.funds_reinstated":
            dispute = TakenBack if kind.endswith("withdrawn") else Reinstated
            return dispute(
                **known, references=_references(about), dispute=about["id"], **_amount(about, "amount")
            )
        case _:
            return None


def _refund(known: dict[str, Any], about: dict[str, Any]) -> AnyEvent | None:
    key = (about.get("metadata") or {}).get("key", "")
    if about["status"] in FAILED:
        detail = about.get("failure_reason") or about["status"]
        return RefundFailed(
            **known, references=_references(about), refund=about["id"], key=key, detail=detail
        )
    if about["status"] != DONE:
        return None
    return Refunded(
        **known, references=_references(about), refund=about["id"], key=key, **_amount(about, "amount")
    )


def _references(about: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name for name in (about.get("payment_intent"), about.get("charge")) if name)


def _amount(about: dict[str, Any], field: str) -> dict[str, Any]:
    code = about["currency"].upper()
    return {"amount_minor": from_stripe(about[field], code), "currency": code}


def _means(about: dict[str, Any]) -> str:
    kinds = about.get("payment_method_types") or []
    return kinds[0] if len(kinds) == 1 else ""
