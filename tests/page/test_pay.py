"""A customer pays on the pages of a payment service, and what was hidden for it is shown."""

from __future__ import annotations

import html
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, expect

from tests.page.conftest import PASSWORD, Visitor, report, set_up
from tests.payments.peers import SECRET, WebhookSide
from tests.servers.ports import free_port
from tests.servers.serve import Running, Servers

pytestmark = pytest.mark.timeout(300)  # a browser draws maps without a graphics card

VAN_1, VAN_2 = "356938035643809", "356938035643817"
START = "http://127.0.0.1:{port}/start?id={{payment}}&sum={{amount}}&cur={{currency}}&back={{return}}"


@contextmanager
def service(port: int, running: Running) -> Generator[None]:
    """A payment service: a page with one button, which tells our server and leads back."""
    side = WebhookSide()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            if self.path.startswith("/start"):
                said = f"<form action=/paid>{asked['sum']} {asked['cur']}"
                said += "".join(
                    f'<input type=hidden name="{name}" value="{html.escape(value)}">'
                    for name, value in asked.items()
                )
                self.answer(200, f"<!doctype html>{said}<button>Pay now</button></form>")
                return
            if not self.path.startswith("/paid"):
                self.answer(404, "")  # a browser asks for an icon
                return
            cents = round(float(asked["sum"]) * 100)
            headers, body = side.paid(asked["id"], cents, asked["cur"], f"evt-{asked['id']}")
            address = f"{running.api}/api/gateways/webhook/webhook"
            with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=60):
                pass
            self.answer(303, "", ("Location", asked["back"]))

        def answer(self, status: int, text: str, *headers: tuple[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(text.encode())))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            return

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield
        listening.shutdown()
        thread.join()


def test_a_blocked_tracker_is_paid_for_and_shown(
    server: Servers, postgres_dsn: str, chromium: Browser
) -> None:
    port = free_port()
    settings = {"payments.webhook.secret": SECRET, "payments.webhook.checkout_url": START.format(port=port)}
    running = server(settings, dsn=postgres_dsn, protocols=["osmand"])
    for words in (
        ("tariff", "add", "Daily", "--mode", "balance", "--currency", "EUR", "--monthly", "31.00"),
        ("account", "add", "Northern", "--currency", "EUR", "--tariff", "Daily"),
    ):
        done = running.cli(*words)
        assert done.returncode == 0, done
    with set_up(running) as office:
        (account,) = [one["id"] for one in office.get("/accounts").json() if one["name"] == "Northern"]
        for number, name in ((VAN_1, "Van 1"), (VAN_2, "Van 2")):
            given = {"name": name, "uniqueId": number, "accountId": account}
            office.post("/devices", json=given).raise_for_status()
            report(running, number, 40.41, -3.70, timestamp=int(time.time()))
        owner = {"name": "Luis", "email": "luis@northern.example", "password": PASSWORD}
        office.post("/users", json={**owner, "role": "owner", "accountId": account}).raise_for_status()

    visitor = Visitor(chromium, running)
    with service(port, running):
        customer = visitor.sign_in("/trackers", owner["email"])
        row = customer.get_by_role("row").filter(has_text="Van 1")
        expect(row.get_by_role("img", name="Blocked")).to_be_visible()
        row.get_by_role("button", name="Activate").click()  # there is no money: what is due is asked for
        asking = customer.get_by_role("dialog", name="Pay for Van 1")
        expect(asking.get_by_label("Amount")).not_to_have_value("")
        asking.get_by_role("button", name="Go on to pay").click()
        customer.get_by_role("button", name="Pay now").click()
        customer.wait_for_url(f"{running.api}/**")
        customer.goto("/trackers")
        expect(row.get_by_role("img")).to_have_count(0)
        expect(row).to_contain_text("active")
        other = customer.get_by_role("row").filter(has_text="Van 2")
        expect(other.get_by_role("img", name="Blocked")).to_be_visible()

        customer.get_by_role("button", name="for all").click()
        asking = customer.get_by_role("dialog", name="Show all trackers again")
        asking.get_by_role("button", name="Go on to pay").click()
        customer.get_by_role("button", name="Pay now").click()
        customer.wait_for_url(f"{running.api}/**")
        customer.goto("/live")
        expect(customer.locator("canvas.fleet")).to_have_attribute("data-drawn", "2")
    visitor.close()
