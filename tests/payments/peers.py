"""The gateways' side, as the conformance suite plays it: messages signed as each signs them, and for Stripe a peer
that speaks the part of its API that we use.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

from tracker_server.config_money import StripeGateway, WebhookGateway
from tracker_server.payments.port import Gateway
from tracker_server.payments.stripe import Stripe
from tracker_server.payments.webhook import Webhook, sign

Signed = tuple[dict[str, str], bytes]
SECRET = "whsec_0123456789abcdef0123456789abcdef"


class StripePeer:
    """Takes checkout sessions and refunds, each key once; ``fails`` with an HTTP status as long as it is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], str]] = []
        self.known: dict[str, dict[str, Any]] = {}
        self.fails = 0
        peer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"])).decode()
                form = dict(parse_qsl(body))
                key = self.headers.get("idempotency-key", "")
                peer.asked.append((self.path, form, key))
                if peer.fails:
                    return self.answer(peer.fails, {"error": {"type": "api_error", "message": "not now"}})
                answer = peer.known.setdefault(key, peer.answer(self.path, form, len(peer.known)))
                return self.answer(200, answer)

            def answer(self, status: int, value: Any) -> None:
                text = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (its base names it so)
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, path: str, form: dict[str, str], number: int) -> dict[str, Any]:
        if path == "/v1/checkout/sessions":
            reference = form["client_reference_id"]
            return {
                "id": f"cs_{reference[:8]}",
                "object": "checkout.session",
                "url": f"https://pay.example/{reference}",
            }
        assert path == "/v1/refunds", path
        return {
            "id": f"re_{number}",
            "object": "refund",
            "status": "succeeded",
            "amount": int(form["amount"]),
        }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class StripeSide:
    """Stripe's messages about a payment."""

    name = "stripe"

    def __init__(self, url: str) -> None:
        self.settings = StripeGateway(secret_key="sk_test_1", webhook_secret=SECRET, api_url=url)
        self.gateway: Gateway = Stripe(self.settings)

    def signed(self, event: str, kind: str, about: dict[str, Any], secret: str = SECRET) -> Signed:
        body = json.dumps(
            {
                "id": event,
                "object": "event",
                "type": kind,
                "created": int(time.time()),
                "data": {"object": about},
            }
        ).encode()
        moment = int(time.time())
        digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
        return {"stripe-signature": f"t={moment},v1={digest}"}, body

    def paid(
        self, payment: str, amount: int, code: str, event: str = "evt_paid", secret: str = SECRET
    ) -> Signed:
        session = {
            "id": f"cs_{payment[:8]}",
            "object": "checkout.session",
            "mode": "payment",
            "payment_status": "paid",
            "client_reference_id": payment,
            "payment_intent": f"pi_{payment[:8]}",
            "amount_total": amount,
            "currency": code.lower(),
            "payment_method_types": ["card"],
            "metadata": {"payment": payment},
        }
        return self.signed(event, "checkout.session.completed", session, secret)

    def failed(self, payment: str, event: str = "evt_failed") -> Signed:
        session = {"id": f"cs_{payment[:8]}", "metadata": {"payment": payment}}
        return self.signed(event, "checkout.session.expired", session)

    def refunded(
        self, payment: str, amount: int, code: str, event: str = "evt_refunded", key: str = ""
    ) -> Signed:
        # made at Stripe's own pages, a refund knows the payment intent and nothing of ours
        metadata = {"key": key, "payment": payment} if key else {}
        about = {
            "id": "re_9", "object": "refund", "payment_intent": f"pi_{payment[:8]}", "amount": amount,
            "currency": code.lower(), "status": "succeeded", "metadata": metadata,
        }  # fmt: skip
        return self.signed(event, "refund.created", about)

    def taken_back(self, payment: str, amount: int, code: str, event: str = "evt_dispute") -> Signed:
        about = {
            "id": "dp_1", "object": "dispute", "payment_intent": f"pi_{payment[:8]}", "amount": amount,
            "currency": code.lower(), "metadata": {},
        }  # fmt: skip
        return self.signed(event, "charge.dispute.funds_withdrawn", about)

    def reinstated(self, payment: str, amount: int, code: str, event: str = "evt_won") -> Signed:
        about = {
            "id": "dp_1", "object": "dispute", "payment_intent": f"pi_{payment[:8]}", "amount": amount,
            "currency": code.lower(), "metadata": {},
        }  # fmt: skip
        return self.signed(event, "charge.dispute.funds_reinstated", about)


class WebhookSide:
    """A service that speaks our own signed messages."""

    name = "webhook"

    def __init__(self, refund_url: str = "") -> None:
        self.settings = WebhookGateway(
            secret=SECRET,
            checkout_url="https://pay.example/{payment}?amount={amount}&currency={currency}&back={return}",
            refund_url=refund_url,
        )
        self.gateway: Gateway = Webhook(self.settings)

    def _signed(self, message: dict[str, Any], secret: str = SECRET) -> Signed:
        body = json.dumps(message).encode()
        return {"x-tracker-signature": sign(secret, body, datetime.now(UTC))}, body

    def _of(self, kind: str, event: str, payment: str, amount: int, code: str, **more: str) -> dict[str, Any]:
        decimal = f"{amount // 100}.{amount % 100:02}"
        return {"id": event, "type": kind, "payment": payment, "amount": decimal, "currency": code, **more}

    def paid(
        self, payment: str, amount: int, code: str, event: str = "evt_paid", secret: str = SECRET
    ) -> Signed:
        return self._signed(self._of("paid", event, payment, amount, code, means="transfer"), secret)

    def failed(self, payment: str, event: str = "evt_failed") -> Signed:
        return self._signed({"id": event, "type": "failed", "payment": payment})

    def refunded(
        self, payment: str, amount: int, code: str, event: str = "evt_refunded", key: str = ""
    ) -> Signed:
        return self._signed(self._of("refunded", event, payment, amount, code, reference="re_9", key=key))

    def taken_back(self, payment: str, amount: int, code: str, event: str = "evt_dispute") -> Signed:
        return self._signed(self._of("charged_back", event, payment, amount, code, reference="dp_1"))

    def reinstated(self, payment: str, amount: int, code: str, event: str = "evt_won") -> Signed:
        return self._signed(self._of("reinstated", event, payment, amount, code, reference="dp_1"))


Side = StripeSide | WebhookSide
