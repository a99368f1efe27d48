"""What people do seldom: a second factor, a link for a guest, a file of fences, another's place, another tariff."""

from __future__ import annotations

import json
import time
from io import BytesIO
from pathlib import Path

import pytest
from PIL.Image import open as open_image
from playwright.sync_api import Browser, expect
from pyotp.totp import TOTP
from zxingcpp import read_barcodes

from tests.page.conftest import PASSWORD, Visitor, report, set_up
from tests.servers.serve import Servers

pytestmark = pytest.mark.timeout(300)  # a browser draws maps without a graphics card

VAN_1, VAN_2 = "356938035643809", "356938035643817"


def square(name: str, latitude: float, longitude: float) -> dict[str, object]:
    ring = [[longitude + x, latitude + y] for x, y in ((0, 0), (0.01, 0), (0.01, 0.01), (0, 0.01), (0, 0))]
    return {
        "type": "Feature",
        "properties": {"name": name},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }


def read_code(screenshot: bytes) -> str:
    """What a camera reads in a picture."""
    (found,) = read_barcodes(open_image(BytesIO(screenshot)))
    return found.text


def test_what_people_do_seldom(server: Servers, postgres_dsn: str, chromium: Browser, tmp_path: Path) -> None:
    running = server(dsn=postgres_dsn, protocols=["osmand"])
    done = running.cli(
        "tariff", "add", "Daily", "--mode", "balance", "--currency", "EUR", "--monthly", "31.00"
    )
    assert done.returncode == 0, done
    with set_up(running) as office:
        account = office.get("/accounts").json()[0]["id"]
        for number, name in ((VAN_1, "Van 1"), (VAN_2, "Van 2")):
            given = {"name": name, "uniqueId": number, "accountId": account}
            office.post("/devices", json=given).raise_for_status()
            report(running, number, 40.41 + int(number[-1]) / 500, -3.70, timestamp=int(time.time()))
        owner = {"name": "Luis", "email": "luis@northern.example", "password": PASSWORD}
        office.post("/users", json={**owner, "role": "owner", "accountId": account}).raise_for_status()
    visitor = Visitor(chromium, running)
    page = visitor.sign_in("/fences", owner["email"])

    # a file of fences
    file = tmp_path / "fences.geojson"
    places = [square("Yard", 40.41, -3.70), square("Port", 39.46, -0.32)]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": places}))
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Import").click()
    choosing.value.set_files(file)
    expect(page.get_by_text("2 fences imported")).to_be_visible()
    expect(page.get_by_text("Port", exact=True)).to_be_visible()

    # another is dropped on the map
    quay = json.dumps({"type": "FeatureCollection", "features": [square("Quay", 39.45, -0.33)]})
    dragged = page.evaluate_handle(
        "text => { const all = new DataTransfer(); all.items.add(new File([text], 'quay.geojson')); return all }",
        quay,
    )
    page.dispatch_event("body", "dragover", {"dataTransfer": dragged})
    expect(page.get_by_text("Let it go: its fences are imported.")).to_be_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": dragged})
    expect(page.get_by_text("1 fence imported")).to_be_visible()
    expect(page.get_by_text("Let it go: its fences are imported.")).to_have_count(0)
    expect(page.get_by_text("Quay", exact=True)).to_be_visible()

    # a track has no width: it is asked for
    way = "".join(f'<trkpt lat="{39.45 + n / 100}" lon="-0.33"/>' for n in range(3))
    gpx = tmp_path / "morning.gpx"
    gpx.write_text(f'<gpx version="1.1"><trk><name>Morning</name><trkseg>{way}</trkseg></trk></gpx>')
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Import").click()
    choosing.value.set_files(gpx)
    asking = page.get_by_role("dialog", name="Import morning.gpx")
    asking.get_by_label("Width").fill("99999")
    asking.get_by_role("button", name="Import").click()
    expect(asking.get_by_text("99999.0 is no width")).to_be_visible()
    asking.get_by_label("Width").fill("80")
    asking.get_by_role("button", name="Import").click()
    expect(asking).to_have_count(0)
    expect(page.get_by_text("Morning", exact=True)).to_be_visible()

    # a link for a guest, who sees one tracker and nothing else, until it is taken back
    page.goto("/live")
    page.get_by_role("button", name="Van 1").click()
    page.get_by_role("button", name="Share", exact=True).click()
    sharing = page.get_by_role("dialog", name="Share Van 1")
    sharing.get_by_role("button", name="Make the link").click()
    link = sharing.get_by_label("Link").input_value()
    guest = visitor.open(link)
    expect(guest.locator("canvas.fleet")).to_have_attribute("data-drawn", "1")
    expect(guest.get_by_role("button", name="Van 1")).to_be_visible()
    expect(guest.get_by_text("Van 2")).to_have_count(0)
    assert "token" not in guest.url
    page.goto("/settings")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("button", name="Revoke")).to_have_count(0)
    guest.goto(link)
    expect(guest.get_by_text("This link is over, or was taken back.")).to_be_visible()

    # a second factor
    factor = page.get_by_role("region", name="Second factor")
    factor.get_by_role("button", name="Turn on").click()
    turning = page.get_by_role("dialog", name="Second factor")
    secret = turning.get_by_label("Key").input_value()
    assert read_code(turning.get_by_alt_text("QR code").screenshot()) == turning.get_by_role(
        "link", name="Open in the app"
    ).get_attribute("href")
    turning.get_by_label("Code").fill("000000")
    turning.get_by_role("button", name="Turn on").click()
    expect(turning.get_by_text("The code does not fit.")).to_be_visible()
    turning.get_by_label("Code").fill(
        TOTP(secret).at(time.time() - 30)
    )  # each counts once, and one is needed below
    turning.get_by_role("button", name="Turn on").click()
    expect(factor.get_by_role("button", name="Turn off")).to_be_visible()
    again = visitor.open("/")
    again.get_by_label("E-mail").fill(owner["email"])
    again.get_by_label("Password").fill(PASSWORD)
    again.get_by_role("button", name="Sign in", exact=True).click()
    again.get_by_label("Code").fill("000000")
    again.get_by_role("button", name="Sign in", exact=True).click()
    expect(again.get_by_text("That code is wrong or over.")).to_be_visible()
    again.get_by_label("Code").fill(TOTP(secret).now())
    again.get_by_role("button", name="Sign in", exact=True).click()
    expect(again.get_by_role("navigation", name="Main")).to_be_visible()
    page.reload()
    factor.get_by_role("button", name="Turn off").click()
    page.get_by_role("dialog", name="Turn off").get_by_role("button", name="Turn off").click()
    expect(factor.get_by_role("button", name="Turn on")).to_be_visible()

    # another tariff, with what it costs before it is chosen
    page.goto("/money?tab=tariff")
    card = page.get_by_role("listitem").filter(has_text="Daily")
    card.get_by_role("button", name="Choose").click()
    switching = page.get_by_role("dialog", name="Switch to Daily")
    expect(switching.get_by_text("Costs now")).to_be_visible()
    expect(switching.get_by_text("The balance does not cover it")).to_be_visible()
    switching.get_by_role("button", name="Switch").click()
    expect(card.get_by_text("Current")).to_be_visible()

    # a view that does not come says so, and a session that is over is told
    page.route("**/assets/reports-*.js", lambda route: route.fulfill(status=404))
    page.get_by_role("link", name="Reports").click()
    expect(page.get_by_role("heading", name="The server cannot be reached.")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    page.context.clear_cookies()
    page.get_by_role("link", name="Lists").click()
    expect(page.get_by_text("Your session is over.")).to_be_visible()

    # in another's place, which is written down
    desk = visitor.sign_in("/operator?tab=people", "ana@northern.example")
    desk.get_by_role("row").filter(has_text="Luis").get_by_role("button", name="Act as").click()
    expect(desk.get_by_text("You are acting as luis@northern.example.")).to_be_visible()
    desk.get_by_role("button", name="End", exact=True).click()
    expect(desk.get_by_label("E-mail")).to_be_visible()
    visitor.close()
