"""Every view: nothing serious for axe, nothing in the console, all of it by keyboard; and the tutorial's pictures."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.page.conftest import PHONE, Visitor, picture, report, set_up
from tests.page.walk import serious
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # a browser draws maps without a graphics card

ANA = "ana@northern.example"
VIEWS = (
    *("/live", "/live?device=1", "/history?device=1", "/trackers", "/trackers?add=1", "/fences"),
    *("/alerts", "/alerts?tab=log", "/alerts?tab=channels"),
    *("/money", "/money?tab=ledger", "/money?tab=invoices", "/money?tab=tariff", "/money?tab=calculator"),
    *(
        "/operator",
        "/operator?tab=people",
        "/operator?tab=quarantine",
        "/operator?tab=health",
        "/operator?tab=books",
    ),
    *("/lists", "/lists?tab=drivers", "/lists?tab=maintenance", "/lists?tab=calendars"),
    *("/reports", "/settings"),
)
FLEET = (
    ("Van 1", "van", 40.4168, -3.7038, 22),
    ("Truck 7", "truck", 43.60, 1.44, 0),
    ("Boat 2", "boat", 40.70, 2.60, 9),
)


def round_trip() -> list[tuple[float, float, float, float]]:
    """Latitude, longitude, knots and course, each half minute: from the depot to a customer, a stop, and half the way back."""
    _, _, north, east, _ = FLEET[0]
    found: list[tuple[float, float, float, float]] = []
    for step in range(190):
        standing = step < 4 or 80 <= step < 116
        knots = 0.0 if standing else 19 + 11 * math.sin(step / 3) + 5 * math.sin(step / 11)
        course = (65 if step < 100 else 250) + 70 * math.sin(step / 8)
        metres = knots * 1852 / 120
        north += metres * math.cos(math.radians(course)) / 111_320
        east += metres * math.sin(math.radians(course)) / 111_320 / math.cos(math.radians(north))
        found.append((round(north, 6), round(east, 6), round(knots, 1), round(course % 360)))
    return found


@pytest.fixture(scope="module")
def running(postgres_server: SharedPostgres) -> Generator[Running]:
    """One server with a small fleet, a fence, and somebody unknown who knocked."""
    servers = Servers()
    with postgres_server.database() as dsn:
        try:
            running = servers(
                {"backup.every_hours": 0, "page.title": "Northern Fleet"}, dsn=dsn, protocols=["osmand"]
            )
            with set_up(running) as office:
                fence = {
                    "name": "Depot",
                    "area": "CIRCLE (40.4168 -3.7038, 900)",
                    "attributes": {"color": "#0b5d66"},
                }
                office.post("/geofences", json=fence).raise_for_status()
                now = int(time.time())
                for number, (name, category, latitude, longitude, speed) in enumerate(FLEET):
                    unique_id = f"35693803564{number:04}"
                    given = {"name": name, "uniqueId": unique_id, "category": category, "model": "FMB920"}
                    office.post("/devices", json=given).raise_for_status()
                    steps = range(20)
                    way = (
                        round_trip()
                        if number == 0
                        else [(latitude, longitude + n * speed / 6_000, speed, 45) for n in steps]
                    )
                    for step, (north, east, knots, course) in enumerate(way):
                        more = {
                            "timestamp": now - 30 * (len(way) - step),
                            "speed": knots,
                            "bearing": course,
                            "batt": 87 - number * 30,
                        }
                        report(running, unique_id, north, east, **more)
                report(running, "864717003283581", 41.39, 2.17, timestamp=now)
            yield running
        finally:
            servers.close()


@pytest.fixture
def visitor(running: Running, chromium: Browser) -> Generator[Visitor]:
    visitor = Visitor(chromium, running)
    yield visitor
    visitor.close()


def turn_to(page: Page, path: str) -> None:
    """Another view as a link leads to it; it has what it shows."""
    page.evaluate(
        "path => { history.pushState(null, '', path); dispatchEvent(new PopStateEvent('popstate')) }", path
    )
    expect(page).to_have_title(f"{path[1:].partition('?')[0].capitalize()} · Northern Fleet")
    expect(page.locator("#content")).to_be_attached()
    settled(page)


def settled(page: Page) -> None:
    """What the view asked for is there."""
    done = "performance.getEntriesByType('resource').every((one) => one.responseEnd > 0)"
    wait_until("the view's answers", lambda: page.evaluate(done))
    expect(page.locator(".spinner")).to_have_count(0)


def test_axe_finds_nothing_serious(visitor: Visitor) -> None:
    page = visitor.open("/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert serious(page) == []
    page = visitor.sign_in("/live", ANA)
    for path in VIEWS:
        turn_to(page, path)
        assert serious(page) == [], path


def test_every_view_is_reached_by_keyboard(visitor: Visitor) -> None:
    page = visitor.sign_in("/live", ANA)
    expect(page.get_by_role("button", name="Van 1")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    links = page.get_by_role("navigation", name="Main").get_by_role("link")
    for name in links.all_inner_texts():
        link = page.get_by_role("navigation", name="Main").get_by_role("link", name=name.strip())
        link.focus()
        page.keyboard.press("Enter")
        expect(link).to_have_attribute("aria-current", "page")
    turn_to(page, "/live")
    page.get_by_role("button", name="Van 1").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Van 1")).to_be_visible()

    page.goto("/a/b")  # mistyped
    expect(page).to_have_title("There is no such page · Northern Fleet")
    page.get_by_role("link", name="To the map").press("Enter")
    expect(page.get_by_role("button", name="Van 1")).to_be_visible()


def test_the_page_speaks_three_languages_and_keeps_the_choice(visitor: Visitor) -> None:
    page = visitor.sign_in("/settings", ANA)

    def choose(label: str, option: str) -> None:
        with page.expect_response(lambda answer: answer.request.method == "PUT" and answer.ok):
            page.get_by_label(label, exact=True).select_option(option)

    choose("Language", "Español")
    expect(page.get_by_role("heading", name="Ajustes")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Ajustes")).to_be_visible()
    choose("Unidades", "Millas")
    choose("Idioma", "Русский")
    expect(page.get_by_role("heading", name="Настройки")).to_be_visible()
    page.goto("/live?device=1")
    expect(page.get_by_role("region", name="Van 1")).to_contain_text("миль/ч")
    page.goto("/trackers?add=1")  # what the server refuses, too
    dialog = page.get_by_role("dialog", name="Добавить трекер")
    dialog.get_by_label("Номер").fill("356938035640000")
    dialog.get_by_role("button", name="Добавить трекер").click()
    expect(dialog.get_by_role("alert")).to_have_text("Трекер 356938035640000 уже подключён.")
    page.goto("/settings")
    choose("Единицы", "Километры")
    choose("Язык", "English")
    expect(page.get_by_role("heading", name="Settings")).to_be_visible()


def test_the_tutorials_pictures(visitor: Visitor) -> None:
    """What the tutorial shows is what there is."""
    page = visitor.sign_in("/live?device=1", ANA)
    expect(page.get_by_role("region", name="Van 1")).to_contain_text("km/h")
    page.get_by_role("button", name="Show all").click()
    expect(page.locator("canvas.fleet")).to_have_attribute("data-drawn", "3")
    page.wait_for_load_state("networkidle")
    picture(page, "live")
    turn_to(page, "/history?device=1")
    expect(page.get_by_role("region", name="Player")).to_be_visible()
    settled(page)
    picture(page, "history")
    turn_to(page, "/trackers")
    expect(page.get_by_text("864717003283581")).to_be_visible()
    picture(page, "knocked")
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("864717003283581 is added, with 1 position.")).to_be_visible()
    phone = visitor.sign_in("/live", ANA, PHONE, dark=True)
    expect(phone.locator("canvas.fleet")).not_to_have_attribute("data-drawn", "0")
    phone.wait_for_load_state("networkidle")
    picture(phone, "phone")


def test_a_fences_points_are_moved_and_a_file_that_is_too_large_is_not_sent(
    visitor: Visitor, tmp_path: Path
) -> None:
    page = visitor.sign_in("/fences", ANA)
    large = tmp_path / "world.geojson"
    large.write_bytes(b" " * 20_000_001)
    page.get_by_label("Import", exact=True).set_input_files(large)
    expect(page.get_by_role("status").filter(has_text="world.geojson is larger than 20 MB.")).to_be_visible()

    def area(name: str) -> str:
        (found,) = [one for one in page.request.get("/api/geofences").json() if one["name"] == name]
        return found["area"]

    yard = {
        "name": "Yard",
        "area": "POLYGON ((40.40 -3.72, 40.40 -3.68, 40.43 -3.68, 40.43 -3.72, 40.40 -3.72))",
    }
    kept = page.request.post("/api/geofences", data=yard).json()
    page.reload()
    page.get_by_role("button", name="Yard").click()
    card = page.get_by_role("region", name="Yard")
    card.get_by_role("button", name="Move points").click()
    point = page.get_by_role("button", name="Point 3 of 4", exact=True)
    expect(page.get_by_role("button", name="Point 1 of 4", exact=True)).to_be_focused()
    settled(page)
    picture(page, "fence-points")
    at = point.bounding_box()
    assert at is not None
    page.mouse.move(at["x"] + 9, at["y"] + 9)
    page.mouse.down()
    page.mouse.move(at["x"] + 60, at["y"] + 40, steps=5)
    page.mouse.up()
    page.get_by_role("button", name="Add a point after point 1", exact=True).press("Enter")
    expect(page.get_by_role("button", name="Point 2 of 5", exact=True)).to_be_focused()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.get_by_role("button", name="Point 5 of 5", exact=True).press("Delete")
    expect(page.get_by_role("button", name="Point 4 of 4", exact=True)).to_be_focused()
    assert serious(page) == []
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Point 1 of 4", exact=True)).to_have_count(0)
    saved = [tuple(map(float, pair.split())) for pair in area("Yard")[10:-2].split(", ")]
    assert len(saved) == 5
    assert saved[0] == saved[-1] == (40.40, -3.72), "the first stays"
    assert saved[1][0] < 40.40, "the new one was moved south"
    assert saved[2] == (40.40, -3.68), "the second stays, as the third"
    assert saved[3][0] < 40.43, "that was dragged to the south"
    assert saved[3][1] > -3.68, "and to the east"

    page.get_by_role("button", name="Depot").click()
    page.get_by_role("region", name="Depot").get_by_role("button", name="Move points").click()
    page.get_by_role("button", name="Edge", exact=True).press("ArrowRight")
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Edge", exact=True)).to_have_count(0)
    assert area("Depot") == "CIRCLE (40.4168 -3.7038, 900.0)", "Escape changes nothing"
    assert page.request.delete(f"/api/geofences/{kept['id']}").status == 204


def test_a_way_that_is_lost_or_silent_is_told_and_sought_again(visitor: Visitor) -> None:
    page = visitor.sign_in("/trackers", ANA)
    page.clock.install()
    page.reload()
    expect(page.get_by_role("row").filter(has_text="Van 1")).to_be_visible()
    lost = page.get_by_role("status").filter(has_text="Connection lost; trying again · this is as of")
    with page.expect_websocket():
        page.clock.fast_forward(131_000)  # a cable was pulled: there is no farewell
    expect(lost).to_have_count(0)
    page.context.set_offline(True)
    expect(lost).to_be_visible()
    page.context.set_offline(False)
    expect(lost).to_have_count(0)

    # a proxy that lets no socket pass: the page asks instead
    page.add_init_script(
        "WebSocket = class { constructor() { setTimeout(() => this.onclose?.(), 0) } close() {} }"
    )
    page.goto("/live")
    expect(lost).to_be_visible()
    expect(page.get_by_role("button", name="Van 1")).to_be_visible()
    visitor.said = [one for one in visitor.said if "ERR_INTERNET_DISCONNECTED" not in one]


def test_what_is_refused_says_what_to_do_and_nothing_is_sent_twice(visitor: Visitor) -> None:
    page = visitor.sign_in("/lists", ANA)
    held: list[Route] = []
    page.route(
        "**/api/groups",
        lambda route: held.append(route) if route.request.method == "POST" else route.continue_(),
    )
    page.get_by_role("button", name="Add a group").click()
    dialog = page.get_by_role("dialog", name="Add a group")
    dialog.get_by_label("Name").fill("Vans")
    save = dialog.get_by_role("button", name="Save")

    def one(sent: list[Route]) -> Route:
        while not sent:  # until the test's own limit
            page.wait_for_timeout(50)
        return sent.pop(0)

    def refused(says: str, **answer: Any) -> None:
        save.click()
        save.press("Enter")
        expect(save).to_have_attribute("aria-disabled", "true")
        one(held).fulfill(**answer)
        expect(dialog.get_by_role("alert")).to_have_text(says)
        assert held == [], "nothing is sent twice"

    html = {"content_type": "text/html", "body": "<h1>nginx</h1>"}
    full = {"error": "the account has 5 groups, as many as its tariff allows", "reason": "limit"}
    refused("The server is not ready. Try again in a moment.", status=502, **html)
    refused("This is too large.", status=413, **html)
    refused("Too many attempts. Try again in 2 minutes.", status=429, headers={"Retry-After": "61"}, **html)
    refused(full["error"], status=409, json=full)
    save.click()
    one(held).abort()
    expect(dialog.get_by_role("alert")).to_have_text("The server cannot be reached.")
    page.unroute("**/api/groups")
    save.click()
    expect(dialog).to_have_count(0)
    (kept,) = page.request.get("/api/groups").json()
    assert page.request.delete(f"/api/groups/{kept['id']}").status == 204
    visitor.said = [one for one in visitor.said if "Failed to load resource" not in one]
