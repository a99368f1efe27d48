"""What an account keeps: a plan, a driver, a group and a calendar are made, linked to a tracker, and a tracker is told something."""

from __future__ import annotations

import base64
import time
from collections.abc import Generator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.test_objects import CALENDAR
from tests.page.conftest import Visitor, picture, report, set_up
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # a browser draws maps without a graphics card

ANA = "ana@northern.example"
VAN = "356938035643809"


@pytest.fixture(scope="module")
def office(postgres_server: SharedPostgres) -> Generator[tuple[Running, httpx.Client]]:
    servers = Servers()
    with postgres_server.database() as dsn:
        try:
            running = servers({"backup.every_hours": 0}, dsn=dsn, protocols=["osmand", "gt06"])
            with set_up(running) as client:
                client.post("/devices", json={"name": "Van 1", "uniqueId": VAN}).raise_for_status()
                report(running, VAN, 40.4, -3.7, timestamp=int(time.time()))
                yield running, client
        finally:
            servers.close()


def add(page: Page, tab: str, button: str, name: str, **fields: str) -> None:
    page.goto(f"/lists?tab={tab}")
    page.get_by_role("button", name=button).click()
    dialog = page.get_by_role("dialog", name=button)
    dialog.get_by_label("Name").fill(name)
    for label, value in fields.items():
        dialog.get_by_label(label.replace("_", " "), exact=True).fill(value)
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("listitem").filter(has_text=name)).to_be_visible()


def test_lists_are_kept_and_linked(office: tuple[Running, httpx.Client], chromium: Browser) -> None:
    running, client = office

    def kept(path: str, **query: Any) -> list[dict[str, Any]]:
        return client.get(f"/{path}", params=query).json()

    visitor = Visitor(chromium, running)
    page = visitor.sign_in("/lists", ANA)
    add(page, "groups", "Add a group", "Vans")
    add(page, "drivers", "Add a driver", "Olga", Key="0A1B")
    add(page, "maintenance", "Add a plan", "Oil", Then_each="20000")
    add(page, "calendars", "Add a calendar", "Office hours", To="17:30")
    (plan,), (driver,), (calendar,) = kept("maintenance"), kept("drivers"), kept("calendars")
    assert (plan["type"], plan["period"], driver["uniqueId"]) == ("totalDistance", 20_000_000.0, "0A1B")
    assert "DURATION:PT570M" in base64.b64decode(calendar["data"]).decode()

    page.goto("/trackers")
    page.get_by_role("button", name="Change Van 1").click()
    edit = page.get_by_role("dialog")
    edit.get_by_label("Group").select_option("Vans")
    edit.get_by_label("Oil").check()
    edit.get_by_label("Olga").check()
    edit.get_by_role("button", name="Save").click()
    expect(edit).to_be_hidden()
    device = kept("devices")[0]
    assert device["groupId"] == kept("groups")[0]["id"]
    for path, one in (("maintenance", plan), ("drivers", driver)):
        assert [row["id"] for row in kept(path, deviceId=device["id"])] == [one["id"]]
    page.get_by_role("button", name="Change Van 1").click()
    edit.get_by_label("Olga").uncheck()
    edit.get_by_role("button", name="Save").click()
    expect(edit).to_be_hidden()
    assert kept("drivers", deviceId=device["id"]) == []

    page.goto("/lists?tab=maintenance")
    page.get_by_role("button", name="Delete Oil").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("None yet")).to_be_visible()
    visitor.close()


def test_a_calendar_that_is_changed_keeps_what_it_held(
    office: tuple[Running, httpx.Client], chromium: Browser
) -> None:
    running, client = office
    holidays = (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n"
        "DTSTART;VALUE=DATE:20261225\r\nRRULE:FREQ=YEARLY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    data = base64.b64encode(holidays.encode()).decode()
    client.post("/calendars", json={"name": "Holidays", "data": data}).raise_for_status()
    visitor = Visitor(chromium, running)
    page = visitor.sign_in("/lists", ANA)
    add(page, "calendars", "Add a calendar", "Nights", From="22:00", To="06:00")

    def edit(name: str, **fields: str) -> str:
        """Change it, and answer what it says then."""
        page.get_by_role("button", name=f"Change {name}").click()
        dialog = page.get_by_role("dialog")
        for label, value in fields.items():
            dialog.get_by_label(label, exact=True).fill(value)
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_be_hidden()
        (found,) = (one for one in client.get("/calendars").json() if one["name"] == fields.get("Name", name))
        return base64.b64decode(found["data"]).decode()

    assert edit("Holidays", Name="Feast days") == holidays
    nights = edit("Nights", To="05:30")
    assert "T220000" in nights
    assert "DURATION:PT450M" in nights
    assert "BYDAY=MO,TU,WE,TH,FR\r\n" in nights
    visitor.close()


def test_a_tracker_is_told_something(office: tuple[Running, httpx.Client], chromium: Browser) -> None:
    running, client = office
    client.post("/devices", json={"name": "Truck 7", "uniqueId": "356938035643810"}).raise_for_status()
    visitor = Visitor(chromium, running)
    page = visitor.sign_in("/trackers", ANA)
    page.get_by_role("button", name="Send a command to Truck 7").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Command").select_option("Report in this period")
    dialog.get_by_label("Seconds between reports").fill("60")
    dialog.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Truck 7 is told when it is connected.")).to_be_visible()
    told = running.cli("command", "list", "--format", "json")
    assert "positionPeriodic" in told.stdout, told.stderr
    visitor.close()


def test_a_report_is_read_kept_run_and_removed(
    office: tuple[Running, httpx.Client], chromium: Browser
) -> None:
    running, client = office
    (device,) = (one for one in client.get("/devices").json() if one["name"] == "Van 1")
    calendar = client.post("/calendars", json={"name": "Each day", "data": CALENDAR}).json()
    fence = {"name": "Yard", "area": "CIRCLE (40.4 -3.7, 500)"}
    client.post("/geofences", json=fence).raise_for_status()
    begun = int(time.time()) - 7_200
    for step in range(40):  # 300 m each half a minute
        report(running, VAN, 41.0 + step * 0.0027, -3.7, speed=19.4, timestamp=begun + 30 * step)
    for step in range(20):
        report(running, VAN, 41.1053, -3.7, speed=0, timestamp=begun + 1_200 + 60 * step)
    now = datetime.now(UTC)
    period = {"from": (now - timedelta(days=1)).isoformat(), "to": now.isoformat()}
    wait_until("the trip to be there", lambda: client.get("/reports/trips", params=period).json(), 60)

    visitor = Visitor(chromium, running)
    page = visitor.sign_in("/reports", ANA)
    page.get_by_label("Period").select_option("Last month")
    first, last = (page.get_by_label(label).input_value() for label in ("From day", "To day"))
    assert (first[-2:], date.fromisoformat(last) + timedelta(days=1)) == (
        "01",
        now.astimezone(ZoneInfo("Europe/Madrid")).date().replace(day=1),
    )
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("Nothing in these days")).to_be_visible()
    page.get_by_label("Period").select_option("Last 7 days")
    page.get_by_role("button", name="Show").click()
    rows = page.get_by_role("region", name="Trips").get_by_role("row")
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("Van 1")
    expect(rows.nth(1)).to_contain_text("km/h")
    page.get_by_label("Report", exact=True).select_option("Summary")
    page.get_by_label("Tracker", exact=True).select_option("Van 1")
    page.get_by_label("A row for each day").check()
    with page.expect_download() as loading:
        page.get_by_role("link", name="XLSX").click()
    assert loading.value.path().read_bytes().startswith(b"PK")
    page.get_by_role("button", name="Keep this report").click()
    keeping = page.get_by_role("dialog", name="Keep this report")
    keeping.get_by_label("Name").fill("Each day's sums")
    keeping.get_by_label("Mailed by").select_option("Each day")
    keeping.get_by_role("button", name="Save").click()
    expect(page.get_by_role("listitem").filter(has_text="Each day's sums")).to_be_visible()
    (kept,) = client.get("/reports").json()
    assert (kept["type"], kept["calendarId"]) == ("summary", calendar["id"])
    assert kept["attributes"] == {"deviceIds": [device["id"]], "daily": True, "format": "xlsx"}

    page.reload()
    page.get_by_role("button", name="Run Each day's sums").click()
    expect(page.get_by_role("region", name="Summary").get_by_role("cell", name="Van 1").first).to_be_visible()
    expect(page.get_by_label("A row for each day")).to_be_checked()
    picture(page, "reports")
    page.get_by_role("button", name="Delete Each day's sums").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.get_by_text("None yet.")).to_be_visible()
    assert client.get("/reports").json() == []
    visitor.close()
