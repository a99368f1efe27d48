"""From an empty server to the first tracker on the map, by what a person sees and clicks."""

from __future__ import annotations

import re
import time

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.page.conftest import PASSWORD, Visitor, picture, report
from tests.servers.serve import Servers

pytestmark = pytest.mark.timeout(300)  # a browser draws maps without a graphics card

CLICKS_MAX = 5


def counted(page: Page) -> None:
    """Have the page count what is clicked, across its views."""
    page.add_init_script(
        "addEventListener('click', (event) => {"
        " if (event.isTrusted) sessionStorage.clicks = 1 + Number(sessionStorage.clicks ?? 0) }, true)"
    )


def test_from_the_printed_link_to_the_first_tracker_on_the_map(
    server: Servers, postgres_dsn: str, chromium: Browser
) -> None:
    running = server(dsn=postgres_dsn, protocols=["osmand"])
    link = re.search(r"(/setup\?token=\S+)", running.out.read_text())
    assert link
    visitor = Visitor(chromium, running)
    page = visitor.open("/page/config.json")
    counted(page)
    page.goto(link[1])
    page.get_by_label("Name").fill("Ana")
    page.get_by_label("E-mail").fill("ana@northern.example")
    page.get_by_label("New password").fill(PASSWORD)
    picture(page, "set-up")
    page.get_by_role("button", name="Start").click()

    adding = page.get_by_role("dialog", name="Add a tracker")
    adding.get_by_label("Identifier").fill("356938035643809")
    adding.get_by_label("Name").fill("Van 1")
    expect(page.locator(".spinner")).to_have_count(0)
    picture(page, "add-a-tracker")
    adding.get_by_role("button", name="Add a tracker").click()
    expect(page.get_by_text("Waiting for its first position")).to_be_visible()

    report(running, "356938035643809", 40.4168, -3.7038, speed=20, bearing=70, timestamp=int(time.time()))
    page.get_by_role("button", name="Show on the map").click()
    expect(page.get_by_role("region", name="Van 1")).to_contain_text("40.4168")
    expect(page.locator("canvas.fleet")).to_have_attribute("data-drawn", "1")
    clicks = int(page.evaluate("sessionStorage.clicks"))
    assert clicks <= CLICKS_MAX

    page.reload()
    expect(page.get_by_role("region", name="Van 1")).to_be_visible()
    again = visitor.open(link[1])
    again.get_by_label("Name").fill("Eve")
    again.get_by_label("E-mail").fill("eve@elsewhere.example")
    again.get_by_label("New password").fill(PASSWORD)
    again.get_by_role("button", name="Start").click()
    expect(again.get_by_role("alert")).to_be_visible()  # the link works once
    visitor.close()
