"""A fence is drawn, by the mouse or by keys alone, a tracker drives into it, and the page says so."""

from __future__ import annotations

import time
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, expect

from tests.page.conftest import DESKTOP, PASSWORD, Visitor, picture, report, set_up
from tests.page.keys import Keyboard
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Running, Servers

pytestmark = pytest.mark.timeout(300)  # a browser draws maps without a graphics card

ANA = "ana@northern.example"
VAN, TRUCK = "356938035643809", "356938035643810"
HOME = (40.4168, -3.7038)


@pytest.fixture(scope="module")
def running(postgres_server: SharedPostgres) -> Generator[Running]:
    """One server with one tracker."""
    servers = Servers()
    mailing = {"backup.every_hours": 0, "smtp.host": "127.0.0.1", "smtp.from": "tracks@northern.example"}
    with postgres_server.database() as dsn:
        try:
            running = servers(mailing, dsn=dsn, protocols=["osmand"])
            with set_up(running, ANA) as office:
                office.post("/devices", json={"name": "Van 1", "uniqueId": VAN}).raise_for_status()
            yield running
        finally:
            servers.close()


def test_a_fence_is_drawn_entered_and_told(running: Running, chromium: Browser) -> None:
    now = int(time.time())
    report(running, VAN, 40.60, -3.70, speed=30, timestamp=now - 60)
    visitor = Visitor(chromium, running)
    page = visitor.sign_in("/fences", ANA)
    expect(page.locator("canvas.fleet")).to_have_attribute("data-drawn", "1")
    page.get_by_role("button", name="Circle").click()
    expect(page.get_by_text("Click the centre, then the edge.")).to_be_visible()
    page.mouse.click(800, 400)
    page.mouse.move(830, 420, steps=4)
    page.mouse.click(840, 430)
    asking = page.get_by_role("dialog", name="New fence")
    asking.get_by_label("Name").fill("Depot")
    asking.get_by_text("Shape as text").first.click()
    asking.get_by_role("textbox", name="Shape as text").fill(f"CIRCLE ({HOME[0]} {HOME[1]}, 800)")
    asking.get_by_role("button", name="Save").click()
    expect(page.get_by_role("region", name="Depot")).to_contain_text("Nobody.")

    page.goto("/alerts")
    page.get_by_role("button", name="Add a rule").click()
    rule = page.get_by_role("dialog", name="Add a rule")
    rule.get_by_label("When a tracker").select_option("geofenceEnter")
    rule.get_by_label("Depot").check()
    expect(rule.get_by_label("Mails show a map")).to_be_hidden()
    rule.get_by_role("checkbox", name="E-mail").check()
    rule.get_by_label("Mails show a map").check()
    page.set_viewport_size({"width": DESKTOP[0], "height": 880})  # all of it
    picture(page, "alert-rule")
    page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    rule.get_by_role("button", name="Save").click()
    expect(page.get_by_role("listitem").filter(has_text="Enters a fence")).to_be_visible()
    (kept,) = page.request.get("/api/notifications").json()
    assert (kept["attributes"]["picture"], kept["notificators"]) == (True, "web,mail")

    page.get_by_role("link", name="Fences").click()
    page.get_by_role("button", name="Depot").click()
    for second, latitude in enumerate((40.45, 40.418, 40.4169, 40.4168)):
        report(running, VAN, latitude, HOME[1], speed=20, timestamp=now - 40 + 10 * second)
    expect(page.get_by_role("status").filter(has_text="Depot")).to_be_visible()  # the alert's own sentence
    expect(page.get_by_role("region", name="Depot")).to_contain_text("Van 1")
    picture(page, "fence")

    card = page.get_by_role("region", name="Depot")
    card.get_by_role("button", name="Draw anew").click()
    expect(page.get_by_text("Click the centre, then the edge.")).to_be_visible()
    page.mouse.click(800, 400)
    page.mouse.move(830, 420, steps=4)
    page.mouse.click(840, 430)
    change = page.get_by_role("dialog", name="Change Depot")
    change.get_by_label("Counts for").select_option("These trackers")
    change.get_by_label("Van 1").check()
    change.get_by_role("button", name="Save").click()
    expect(change).to_be_hidden()
    (fence,) = page.request.get("/api/geofences").json()
    assert (fence["name"], ", 800)" in fence["area"]) == ("Depot", False)
    (van,) = page.request.get("/api/devices").json()
    counts = {"everyone": False, "deviceIds": [van["id"]]}
    assert page.request.get(f"/api/geofences/{fence['id']}/devices").json() == counts
    visitor.close()


def test_from_signing_in_to_an_alert_by_keys_alone(running: Running, chromium: Browser) -> None:
    visitor = Visitor(chromium, running)
    page = visitor.open("/")
    keys = Keyboard(page)
    expect(page.get_by_label("E-mail")).to_be_focused()
    page.keyboard.type(ANA)
    keys.write("Password", PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()
    keys.is_kept()

    keys.press("Trackers")
    expect(page.get_by_role("heading", name="Trackers")).to_be_visible()
    keys.press("Add a tracker")
    expect(page.get_by_role("textbox", name="Identifier")).to_be_focused()
    page.keyboard.type(TRUCK)
    keys.write("Name", "Truck 7")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Waiting for its first position")).to_be_visible()
    keys.is_kept()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Add a tracker")).to_be_focused()
    began = int(time.time()) - 600
    report(running, TRUCK, 41.0, -3.70, speed=30, timestamp=began)

    keys.press("Fences")
    expect(page.locator("canvas.fleet")).not_to_have_attribute("data-drawn", "0")
    keys.press("Circle")
    expect(page.get_by_role("button", name="Centre")).to_be_focused()
    page.keyboard.press("ArrowRight")
    keys.to("Edge")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="New fence").get_by_label("Name")).to_be_focused()
    page.keyboard.type("Quay")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Quay")).to_contain_text("Nobody.")
    keys.is_kept()

    keys.press("Alerts")
    keys.press("Add a rule")
    rule = page.get_by_role("dialog", name="Add a rule")
    expect(rule.get_by_label("When a tracker")).to_be_focused()
    page.keyboard.type("enters a fence")
    keys.press("Quay", "Space")
    page.keyboard.press("Enter")
    expect(rule).to_have_count(0)
    keys.is_kept()

    keys.press("Live")
    fences = page.request.get("/api/geofences").json()
    (area,) = (one["area"] for one in fences if one["name"] == "Quay")
    latitude, longitude = map(float, area.removeprefix("CIRCLE (").partition(",")[0].split())
    for step, away in enumerate((0.2, 0.1, 0.0001, 0.0, 0.0)):
        report(running, TRUCK, latitude + away, longitude, speed=40, timestamp=began + 100 + 100 * step)
    expect(page.get_by_role("status").filter(has_text="Truck 7 has entered Quay")).to_be_visible()
    keys.press("Truck 7")
    expect(page.get_by_role("region", name="Truck 7")).to_contain_text("Quay")
    keys.press("Alerts")
    keys.press("Log")
    expect(page.get_by_role("row").filter(has_text="Truck 7 has entered Quay")).to_be_visible()
    keys.is_kept()
    assert keys.lost == []
    visitor.close()
