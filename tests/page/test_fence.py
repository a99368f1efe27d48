"""A fence is drawn with the mouse, a tracker drives into it, and the page says so."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import Browser, expect

from tests.page.conftest import Visitor, picture, report, set_up
from tests.servers.serve import Servers

pytestmark = pytest.mark.timeout(300)  # a browser draws maps without a graphics card

VAN = "356938035643809"
HOME = (40.4168, -3.7038)


def test_a_fence_is_drawn_entered_and_told(server: Servers, postgres_dsn: str, chromium: Browser) -> None:
    mailing = {"smtp.host": "127.0.0.1", "smtp.from": "tracks@northern.example"}
    running = server(mailing, dsn=postgres_dsn, protocols=["osmand"])
    with set_up(running) as office:
        office.post("/devices", json={"name": "Van 1", "uniqueId": VAN}).raise_for_status()
        now = int(time.time())
        report(running, VAN, 40.60, -3.70, speed=30, timestamp=now - 60)

    visitor = Visitor(chromium, running)
    page = visitor.sign_in("/fences", "ana@northern.example")
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
    picture(page, "alert-rule")
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

    # without a mouse: a circle is put on the map, and moved by its handles
    page.get_by_role("button", name="Circle").press("Enter")
    expect(page.get_by_role("button", name="Centre")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Edge")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(asking.get_by_label("Name")).to_be_focused()
    page.keyboard.type("Quay")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Quay")).to_contain_text("Nobody.")
    drawn = {one["name"]: one["area"] for one in page.request.get("/api/geofences").json()}
    assert drawn["Quay"].startswith("CIRCLE (")
    visitor.close()
