"""Any service that can call us: a signed JSON message, and a page of its own to send payers to.

The signature is HMAC-SHA256 over ``<unix seconds>.<body>``, in ``X-Tracker-Signature: t=<unix seconds>,v1=<hex>``.
Our refunds are posted to the service signed in the same way.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta, Struct

from tracker_server.config_money import WebhookGateway as Settings
from tracker_server.model.money import InvalidValueError, currency, format_minor, parse_minor
from tracker_server.model.reading import UnreadableError, read_json
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

HEADER: Final = "x-tracker-signature"
TOLERANCE_S: Final = 300  # between the service's clock and ours, and on the way
TIMEOUT_S: Final = 20.0
_SIGNATURE: Final = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})", re.ASCII)

Name = Annotated[str, Meta(min_length=1, max_length=200)]


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """The body. ``id``: of the message; ``payment``: our id; ``reference``: of a refund or a chargeback."""

    id: Name
    type: Literal["paid", "failed", "refunded", "refund_failed", "charged_back", "reinstated"]
    payment: Name
    amount: str = ""
    currency: str = ""
    reference: str = ""
    means: str = ""
    detail: str = ""
    key: str = ""


def sign(secret: str, body: bytes, now: datetime) -> str:
    """The header's value for a body."""
    moment = str(int(now.timestamp()))
    return f"t={moment},v1={_digest(secret, moment, body)}"


def _digest(secret: str, moment: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()


class Webhook:
    """See ``Gateway``."""

    name: str = "webhook"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def title(self) -> str:
        return self._settings.title

    @property
    def offers_checkout(self) -> bool:
        return bool(self._settings.checkout_url)

    async def start(self, checkout: Checkout) -> Started:
        if not self._settings.checkout_url:
            raise GatewayRefusedError("payments.webhook.checkout_url is empty: nobody can be sent there")
        unit = currency(checkout.currency)
        places = {
            "payment": checkout.payment,
            "amount": format_minor(checkout.amount_minor, unit),
            "currency": unit.code,
            "return": checkout.return_url,
        }
        return Started(
            self._settings.checkout_url.format(**{key: quote(text, safe="") for key, text in places.items()})
        )

    def read(self, headers: Mapping[str, str], body: bytes, now: datetime) -> AnyEvent | None:
        self._check(headers.get(HEADER, ""), body, now)
        try:
            message = read_json(body, Message)
        except UnreadableError as error:
            raise BadMessageError(f"{error}; see docs/howto/take-payments.md") from None
        return _event(message, now)

    def _check(self, header: str, body: bytes, now: datetime) -> None:
        found = _SIGNATURE.fullmatch(header.strip())
        if found is None:
            raise BadSignatureError(
                "X-Tracker-Signature: is missing or none; write t=<unix seconds>,v1=<hex>"
            )
        if not hmac.compare_digest(_digest(self._settings.secret, found[1], body), found[2]):
            raise BadSignatureError("X-Tracker-Signature: does not fit the body and payments.webhook.secret")
        if abs(now.timestamp() - int(found[1])) > TOLERANCE_S:
            raise BadSignatureError(
                f"X-Tracker-Signature: its time is more than {TOLERANCE_S} s from ours; set both clocks"
            )

    async def give_back(self, payback: Payback) -> TakenOver:
        if not self._settings.refund_url:
            raise GatewayRefusedError(
                "payments.webhook.refund_url is empty: give it back by hand, then `billing payout done`"
            )
        import httpx

        unit = currency(payback.currency)
        body = msgspec.json.encode(
            {
                "key": payback.key,
                "payment": payback.payment,
                "amount": format_minor(payback.amount_minor, unit),
                "currency": unit.code,
            }
        )
        headers = {
            "content-type": "application/json",
            "x-tracker-signature": sign(self._settings.secret, body, datetime.now(UTC)),
        }
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as client:
                answer = await client.post(self._settings.refund_url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise GatewayAwayError(f"{type(error).__name__}: {error}") from None
        if answer.status_code >= 500 or answer.status_code in {408, 425, 429}:
            raise GatewayAwayError(f"it answered {answer.status_code}")
        if answer.status_code >= 300:
            raise GatewayRefusedError(f"it answered {answer.status_code}: {answer.text[:200]}")
        return TakenOver(payback.key, done=answer.status_code == 200)


def _event(message: Message, now: datetime) -> AnyEvent:
    known: dict[str, Any] = {"id": message.id, "at": now, "payment": message.payment}
    match message.type:
        case "failed":
            return Failed(**known, detail=message.detail)
        case "refund_failed":
            return RefundFailed(
                **known, refund=message.reference or message.id, key=message.key, detail=message.detail
            )
        case "paid":
            amount_minor, code = _amount(message)
            return Paid(**known, amount_minor=amount_minor, currency=code, means=message.means)
        case "refunded":
            amount_minor, code = _amount(message)
            refund = message.reference or message.id
            return Refunded(**known, refund=refund, key=message.key, amount_minor=amount_minor, currency=code)
        case "charged_back":
            amount_minor, code = _amount(message)
            return TakenBack(**known, dispute=_reference(message), amount_minor=amount_minor, currency=code)
        case "reinstated":
            amount_minor, code = _amount(message)
            return Reinstated(**known, dispute=_reference(message), amount_minor=amount_minor, currency=code)


def _amount(message: Message) -> tuple[int, str]:
    try:
        unit = currency(message.currency)
        amount_minor = parse_minor(message.amount, unit, "amount")
    except InvalidValueError as error:
        raise BadMessageError(str(error)) from None
    if amount_minor <= 0:
        raise BadMessageError(
            f"amount: {message.amount!r} is not above zero; write what moved, without a sign"
        )
    return amount_minor, unit.code


def _reference(message: Message) -> str:
    if not message.reference:
        raise BadMessageError("reference: is empty; write the chargeback's own name")
    return message.reference
