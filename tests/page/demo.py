"""A fleet with something in every view: trips, fences, rules, lists, a ledger, somebody blocked and somebody unknown."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import httpx

from tests.api.test_objects import CALENDAR
from tests.page.conftest import PASSWORD, report, set_up
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until

ADMIN, OWNER, VIEWER = "ana@northern.example", "luis@northern.example", "vera@northern.example"
ZONE = "Europe/Madrid"
FLEET = (
    ("Van 1", "van", 40.4168, -3.7038, 18.0),
    ("Truck 7", "truck", 40.4500, -3.6900, 0.0),
    ("Boat 2", "boat", 40.4000, -3.7300, 9.0),
    ("Bus 12", "bus", 40.4300, -3.7100, 12.0),
)
SHAPES = {
    "Depot": "CIRCLE (40.4168 -3.7038, 900)",
    "Yard": "POLYGON ((40.40 -3.72, 40.40 -3.70, 40.41 -3.70, 40.41 -3.72, 40.40 -3.72))",
    "North road": "LINESTRING (40.42 -3.70, 40.46 -3.68, 40.50 -3.67)",
}
HELD_FOR = "Invoice 17 is unpaid"
TITLE = "Northern Fleet"
# names and notes that somebody gave: they are the same in every language
GIVEN = (
    *(name for name, *_ in FLEET),
    *SHAPES,
    *(
        "Vans",
        "Olga",
        "Oil",
        "Trips of each day",
        "Each day",
        "Daily",
        "Prepaid",
        "Free",
        "default",
        TITLE,
        "Northern",
    ),
    *("Ana", "Luis", "Vera", "FMB920", "osmand", "gt06", HELD_FOR),
)
NOISE = b"these are no words of any tracker\r\n"


@contextmanager
def demo(postgres: SharedPostgres) -> Generator[Running]:
    """A server with all of it; Ana administers it, Luis owns the account, Vera looks on."""
    servers = Servers()
    with postgres.database() as dsn:
        try:
            settings = {
                "backup.every_hours": 0,
                "page.title": TITLE,
                "smtp.host": "127.0.0.1",
                "smtp.from": "tracks@northern.example",
            }
            running = servers(settings, dsn=dsn, protocols=["osmand", "gt06"])
            with set_up(running, ADMIN) as office:
                fill(running, office)
            yield running
        finally:
            servers.close()


def fill(running: Running, office: httpx.Client) -> None:
    """All that the views show."""

    def post(path: str, **value: Any) -> Any:
        answer = office.post(path, json=value)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    for words in (
        ("tariff", "add", "Daily", "--mode", "balance", "--currency", "EUR", "--monthly", "31.00"),
        ("tariff", "add", "Prepaid", "--mode", "term", "--currency", "EUR", "--monthly", "29.00"),
        ("account", "add", "Northern", "--currency", "EUR", "--tariff", "Daily", "--zone", ZONE),
    ):
        done = running.cli(*words)
        assert done.returncode == 0, done
    (account,) = [one["id"] for one in office.get("/accounts").json() if one["name"] == "Northern"]
    for email, name, role in ((OWNER, "Luis", "owner"), (VIEWER, "Vera", "viewer")):
        post("/users", name=name, email=email, password=PASSWORD, role=role, accountId=account)
    post(f"/accounts/{account}/topup", amount="75.00", key="first")
    with httpx.Client(base_url=f"{running.api}/api", timeout=60) as luis:
        luis.post("/session", data={"email": OWNER, "password": PASSWORD}).raise_for_status()
        fill_account(running, luis, account)
    held = next(one for one in office.get("/devices").json() if one["name"] == "Bus 12")
    post(f"/devices/{held['id']}/hold", reason=HELD_FOR)
    report(running, "864717003283581", 41.39, 2.17, timestamp=int(time.time()))
    with socket.create_connection(running.addresses["gt06"], 30) as knocking:
        knocking.sendall(NOISE)
    wait_until("the noise to be kept", lambda: office.get("/quarantine").json()["frames"], 60)


def fill_account(running: Running, luis: httpx.Client, account: int) -> None:
    """What its owner made in it."""

    def post(path: str, **value: Any) -> Any:
        answer = luis.post(path, json=value)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    group = post("/groups", name="Vans")
    calendar = post("/calendars", name="Each day", data=CALENDAR)
    post("/drivers", name="Olga", uniqueId="0A1B")
    post("/maintenance", name="Oil", type="totalDistance", start=10_000_000, period=20_000_000)
    fences = [
        post("/geofences", name=name, area=area, attributes={"color": "#0b5d66"})
        for name, area in SHAPES.items()
    ]
    rule = {"always": True, "notificators": "web,mail", "attributes": {}}
    post("/notifications", type="geofenceEnter", **rule | {"attributes": {"fenceIds": [fences[0]["id"]]}})
    post("/notifications", type="alarm", **rule | {"attributes": {"alarms": ["sos", "powerCut"]}})
    post("/reports", type="trips", description="Trips of each day", calendarId=calendar["id"], attributes={})
    luis.post("/session/token", data={"expiration": "2031-01-01T00:00:00Z"}).raise_for_status()
    for number, (name, category, *_) in enumerate(FLEET):
        given = {"name": name, "category": category, "model": "FMB920", "accountId": account}
        if number < 2:
            given["groupId"] = group["id"]
        post("/devices", uniqueId=f"35693803564{number:04}", **given)
    drive(running)
    now = datetime.now(UTC)
    period = {"from": (now - timedelta(days=1)).isoformat(), "to": now.isoformat()}
    wait_until("a trip to be there", lambda: luis.get("/reports/trips", params=period).json(), 60)


def drive(running: Running) -> None:
    """Each goes out from the depot's south, and some come to stand."""
    now = int(time.time())
    host, port = running.addresses["osmand"]
    for number, (_, _, latitude, longitude, speed) in enumerate(FLEET):
        for step in range(40):
            going = speed if step < 30 else 0.0
            at = latitude - 0.05 + min(step, 30) * 0.00167 * speed / 18
            more = {
                "timestamp": now - 1_200 + 30 * step,
                "speed": going,
                "bearing": 20,
                "batt": 87 - number * 20,
            }
            query = {"id": f"35693803564{number:04}", "lat": at, "lon": longitude, **more}
            # not ``report``: a client for each of so many takes its time
            with urlopen(f"http://{host}:{port}/?{urlencode(query)}", data=b"", timeout=60):
                pass
