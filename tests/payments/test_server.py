"""Payments through a running server: the webhook, the link, the page that may be closed, the example of the docs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.billing.write_docs import HOWTO
from tests.payments.peers import SECRET, StripePeer, StripeSide, WebhookSide
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_server.payments.states import diagram

TEXT = HOWTO.read_text(encoding="utf-8")


@pytest.fixture
def stripe_peer() -> Generator[StripePeer]:
    peer = StripePeer()
    yield peer
    peer.close()


@pytest.fixture
def shop(server: Servers, postgres_dsn: str, stripe_peer: StripePeer) -> Running:
    side = WebhookSide()
    running = server(
        {
            "payments.webhook.secret": SECRET,
            "payments.webhook.checkout_url": side.settings.checkout_url,
            "payments.stripe.secret_key": "sk_test_very_secret",
            "payments.stripe.webhook_secret": SECRET,
            "payments.stripe.api_url": stripe_peer.url,
            "seller.name": "Northern Telematics",
            "seller.email": "help@example.com",
        },
        dsn=postgres_dsn,
        protocols=["osmand"],
    )
    running.settings["api.public_url"] = running.api
    ok(running, "account", "add", "A", "--currency", "EUR", "--zone", "Europe/Madrid")
    return running


def ok(running: Running, *arguments: str) -> str:
    done = running.cli(*arguments)
    assert done.returncode == 0, done
    return done.stdout.strip()


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def fetch(
    url: str, data: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, str, dict[str, str]]:
    opener = urllib.request.build_opener(NoRedirect)
    request = urllib.request.Request(url, data, {"connection": "close", **(headers or {})})
    try:
        with opener.open(request, timeout=20) as answer:
            return answer.status, answer.read().decode(), dict(answer.headers)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), dict(error.headers)


def test_r97_a_customer_pays_by_a_link_and_closes_the_window(shop: Running, stripe_peer: StripePeer) -> None:
    link = ok(shop, "billing", "link", "A", "310.00")
    payment = link.rpartition("/")[2]
    status, page, headers = fetch(link)
    assert status == 200
    assert "Pay €310.00" in page
    assert "help@example.com" in page, "R123: contacts"
    assert "script-src" not in headers["content-security-policy"]
    assert re.findall(r'action="([^"]+)"', page) == [f"/pay/{payment}/stripe", f"/pay/{payment}/webhook"]
    status, _, headers = fetch(f"{link}/stripe", b"")
    assert (status, headers["location"]) == (303, f"https://pay.example/{payment}")
    back = f"{shop.api}/pay/return?payment={payment}"
    assert "You may close this window" in fetch(back)[1]
    side = StripeSide(stripe_peer.url)
    sent, body = side.paid(payment, 31000, "EUR")
    hook = f"{shop.api}/api/gateways/stripe/webhook"
    forged, _ = side.paid(payment, 31000, "EUR", secret="x" * 20)
    assert fetch(hook, body, forged)[0] == 400
    assert fetch(hook, body, {})[0] == 400
    assert json.loads(ok(shop, "billing", "ledger", "A", "--format", "json")) == []
    assert json.loads(fetch(hook, body, sent)[1]) == {"outcome": "paid"}
    assert json.loads(fetch(hook, body, sent)[1]) == {"outcome": "told before"}
    assert "Paid. Thank you!" in fetch(back)[1]
    assert "Paid. Thank you!" in fetch(link)[1], "the link takes no second payment"
    rows = json.loads(ok(shop, "billing", "payments", "A", "--format", "json"))
    assert [(row["state"], row["amount"], row["gateway"]) for row in rows] == [("paid", "310.00", "stripe")]
    ok(shop, "billing", "refund", "A", "all", "--key", "r1")
    wait_until(
        "the refund at Stripe",
        lambda: query(shop.dsn, "SELECT id FROM core.payouts WHERE state = 'done'") or None,
    )
    path, form, key = stripe_peer.asked[-1]
    assert (path, form["amount"], form["payment_intent"]) == ("/v1/refunds", "31000", f"pi_{payment[:8]}")
    assert key
    assert "sk_test_very_secret" not in shop.log.read_text() + shop.cli("config", "show").stdout
    assert fetch(f"{shop.api}/pay/{'0' * 32}")[0] == 404
    assert fetch(f"{shop.api}/api/gateways/nope/webhook", b"{}")[0] == 404


def test_the_example_of_the_docs(shop: Running, tmp_path: Path) -> None:
    found = re.search(r"<!-- webhook -->\n```sh\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    payment = ok(shop, "billing", "link", "A", "310.00").rpartition("/")[2]
    environment = {**os.environ, "PAYMENT": payment, "SECRET": SECRET, "SERVER": shop.api}
    said = subprocess.run(
        ["bash", "-ec", found[1]], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert json.loads(said.stdout) == {"outcome": "paid"}
    rows = json.loads(ok(shop, "billing", "ledger", "A", "--format", "json"))
    assert [(row["kind"], row["amount"]) for row in rows] == [("topup", "310.00")]


def test_the_diagram_is_printed_from_the_table() -> None:
    found = re.search(r"<!-- payments diagram -->\n```mermaid\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    assert found[1] == diagram(), "python -m tests.billing.write_docs writes it"


def test_what_cannot_be_asked_for(shop: Running) -> None:
    wrong: Callable[..., str] = lambda *arguments: shop.cli(*arguments).stderr  # noqa: E731
    assert "AMOUNT: 0 is nothing" in wrong("billing", "link", "A", "0")
    assert "there is no account named 'B'" in wrong("billing", "link", "B", "1")
    first = ok(shop, "billing", "link", "A", "1", "--key", "k")
    assert ok(shop, "billing", "link", "A", "1", "--key", "k") == first
    assert "--key: 'k' was used for another payment" in wrong("billing", "link", "A", "2", "--key", "k")
    assert "refund 7 is none that failed" in wrong("billing", "payout", "retry", "7")
    assert "NUMBER: 'x' is no number" in wrong("billing", "payout", "done", "x")
    shop.settings["api.public_url"] = ""
    assert "api.public_url: is empty" in wrong("billing", "link", "A", "1")
