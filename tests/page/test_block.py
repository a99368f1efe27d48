"""A tracker is blocked and unlocked while its customer and its operator look on."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Browser, expect

from tests.page.conftest import PASSWORD, Visitor, picture, report, set_up
from tests.servers.serve import Servers

pytestmark = pytest.mark.timeout(300)  # a browser draws maps without a graphics card

VAN_1, VAN_2 = "356938035643809", "356938035643817"


def test_a_block_and_its_end_are_seen_at_once(server: Servers, postgres_dsn: str, chromium: Browser) -> None:
    running = server(dsn=postgres_dsn, protocols=["osmand"])
    with set_up(running) as office:
        account = office.get("/accounts").json()[0]["id"]
        for number, name in ((VAN_1, "Van 1"), (VAN_2, "Van 2")):
            given = {"name": name, "uniqueId": number, "accountId": account}
            office.post("/devices", json=given).raise_for_status()
            report(running, number, 40.41 + int(number[-1]) / 500, -3.70, timestamp=int(time.time()))
        owner = {"name": "Luis", "email": "luis@northern.example", "password": PASSWORD}
        office.post("/users", json={**owner, "role": "owner", "accountId": account}).raise_for_status()

    visitor = Visitor(chromium, running)
    customer = visitor.sign_in("/live", owner["email"])
    drawn = customer.locator("canvas.fleet")
    expect(drawn).to_have_attribute("data-drawn", "2")
    desk = visitor.sign_in("/trackers", "ana@northern.example")
    desk.get_by_role("button", name="Hold Van 1").click()
    asking = desk.get_by_role("dialog", name="Hold Van 1")
    asking.get_by_label("Reason").fill("Invoice 17 is unpaid")
    asking.get_by_role("button", name="Hold", exact=True).click()

    expect(drawn).to_have_attribute("data-drawn", "1")  # nobody touched the customer's page
    expect(customer.get_by_role("button", name="Van 2")).to_be_visible()
    expect(customer.get_by_role("button", name="Van 1")).to_have_count(0)
    report(running, VAN_1, 40.46, -3.66, timestamp=int(time.time()))  # hidden, never deaf
    customer.get_by_role("link", name="Trackers").click()
    row = customer.get_by_role("row").filter(has_text="Van 1")
    expect(row.get_by_role("img", name="Blocked: Held by the operator.")).to_be_visible()
    expect(row).to_contain_text("Invoice 17 is unpaid")
    expect(row).to_contain_text("since")
    picture(customer, "blocked")

    expect(desk.get_by_role("row").filter(has_text="Van 1")).to_contain_text("Invoice 17 is unpaid")
    desk.get_by_role("row").filter(has_text="Van 1").get_by_role("button", name="Release").click()
    expect(row.get_by_role("img")).to_have_count(0)
    customer.get_by_role("link", name="Live").click()
    expect(customer.get_by_role("button", name="Van 1")).to_be_visible()
    expect(customer.locator("canvas.fleet")).to_have_attribute("data-drawn", "2")
    visitor.close()
