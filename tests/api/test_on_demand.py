"""What clients of this field ask for now and then, in the very forms in which they ask it."""

from __future__ import annotations

from typing import Any

import httpx

from tests.api.people import World
from tests.live.test_reports import trip

ORIGIN = "https://fleet.example"  # the shared server's api.origins
LISTS = (
    *("attributes/computed", "calendars", "commands", "commands/types", "devices", "drivers", "geofences", "groups"),
    *("maintenance", "notifications", "notifications/notificators", "notifications/types", "orders", "positions"),
    *("reports", "server/timezones", "session/tokens", "users"),
)  # fmt: skip


def test_every_list_of_a_page_is_a_list(world: World) -> None:
    """For each role, and of each of whom an administrator links things to."""
    account = world.account()
    device = world.device(account)
    manager = world.user_id(world.user("manager", account, restricted=True))
    with world.signed_in("owner", account) as owner, world.signed_in("viewer", account) as viewer:
        group = owner.post("/api/groups", json={"name": "North"}).json()["id"]
        for path in LISTS:
            for client in (owner, viewer):
                answer = client.get(f"/api/{path}", params={"all": "true", "excludeAttributes": "true"})
                assert (answer.status_code, type(answer.json())) == (200, list), path
        for name, number in (("userId", manager), ("deviceId", device), ("groupId", group)):
            for path in LISTS:
                answer = owner.get(f"/api/{path}", params={name: number})
                assert (answer.status_code, type(answer.json())) == (200, list), f"{path}?{name}"
    with world.signed_in("admin") as admin:
        for path in (*LISTS, "statistics", "audit"):
            answer = admin.get(f"/api/{path}")
            assert (answer.status_code, type(answer.json())) == (200, list), path


def test_a_slash_at_the_end_changes_nothing(world: World) -> None:
    with world.signed_in("viewer", world.account()) as client:
        assert client.get("/api/devices/").json() == client.get("/api/devices").json() == []
        assert client.get("/api/devices/999999/").status_code == 404


def test_accumulators(world: World) -> None:
    account = world.account()
    device = world.device(account)
    trip(world, device, "2026-01-02T08:00:00Z", "2026-01-02T09:00:00Z", 40_000, 1_000)
    world.sql(
        "UPDATE core.device_state SET odometer_mm = 41000000, engine_us = 7200000000 WHERE device_id = %s",
        device,
    )
    place = f"/api/devices/{device}/accumulators"
    with world.signed_in("manager", account) as client, world.signed_in("owner", world.account()) as other:
        before = client.get("/api/positions").json()[0]["attributes"]
        assert (before["totalDistance"], "hours" in before) == (41_000.0, False)
        body = {"deviceId": device, "totalDistance": 250_041_000.0, "hours": 3_600_000}
        assert client.put(place, json=body).status_code == 204
        latest = client.get("/api/positions").json()[0]["attributes"]
        assert (latest["totalDistance"], latest["hours"]) == (250_041_000.0, 3_600_000)
        world.sql("UPDATE core.device_state SET odometer_mm = 41500000 WHERE device_id = %s", device)
        assert client.get("/api/positions").json()[0]["attributes"]["totalDistance"] == 250_041_500.0
        period = {"from": "2026-01-02T00:00:00Z", "to": "2026-01-03T00:00:00Z", "deviceId": device}
        (ride,) = client.get("/api/reports/trips", params=period).json()
        assert (ride["startOdometer"], ride["endOdometer"], ride["distance"]) == (
            250_001_000,
            250_041_000,
            40_000,
        )
        assert client.put(place, json={"hours": 0}).status_code == 204
        latest = client.get("/api/positions").json()[0]["attributes"]
        assert (latest["totalDistance"], latest["hours"]) == (250_041_500.0, 0)
        assert client.put(place, json={"deviceId": device + 1}).text.startswith("deviceId:")
        assert client.put(place, json={"totalDistance": -1}).status_code == 400
        assert other.put(place, json=body).status_code == 404


def test_a_trackers_expiration_is_kept(world: World) -> None:
    with world.signed_in("owner", world.account()) as owner:
        end = "2030-01-01T00:00:00.000Z"
        made = owner.post(
            "/api/devices", json={"name": "x", "uniqueId": "710001", "expirationTime": end}
        ).json()
        assert made["expirationTime"] == end
        place = f"/api/devices/{made['id']}"
        assert owner.put(place, json={**made, "name": "y"}).json()["expirationTime"] == end
        assert owner.put(place, json={"expirationTime": None}).json()["expirationTime"] is None
        assert owner.put(place, json={"expirationTime": "soon"}).text.startswith("expirationTime:")


def test_a_saved_reports_trackers_are_linked(world: World) -> None:
    account = world.account()
    device = world.device(account)
    with world.signed_in("owner", account) as owner:
        report = owner.post(
            "/api/reports", json={"type": "trips", "description": "rides", "attributes": {}}
        ).json()
        pairs = [{"deviceId": device, "reportId": report["id"]}]
        assert owner.post("/api/permissions/bulk", json=pairs).status_code == 204
        assert owner.get("/api/reports", params={"deviceId": device}).json() == [report]
        assert owner.request("DELETE", "/api/permissions/bulk", json=pairs).status_code == 204
        assert owner.get("/api/reports", params={"deviceId": device}).json() == []


def test_one_position_is_deleted(world: World) -> None:
    account = world.account()
    device = world.device(account)
    for hour in (8, 9):
        world.fix(device, f"2026-01-02T0{hour}:00:00Z")
    with world.signed_in("manager", account) as client, world.signed_in("owner", world.account()) as other:
        period = {"deviceId": device, "from": "2026-01-02T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
        first, second = client.get("/api/positions", params=period).json()
        assert other.delete(f"/api/positions/{second['id']}").status_code == 404
        assert client.delete(f"/api/positions/{second['id']}").status_code == 204
        assert client.delete(f"/api/positions/{second['id']}").status_code == 404
        assert [one["id"] for one in client.get("/api/positions", params=period).json()] == [first["id"]]
        assert [one["id"] for one in client.get("/api/positions").json()] == [first["id"]]


def test_events_page_by_page(world: World) -> None:
    account = world.account()
    device, hidden = world.device(account), world.device(account)
    for minute in range(5):
        for each in (device, hidden):
            kind = "alarm" if minute % 2 else "ignitionOn"
            world.sql(
                "INSERT INTO core.events (device_id, type, occurred_at, attributes) VALUES (%s, %s, %s, '{}')",
                each, kind, f"2026-01-02T08:0{minute // 2}:00.000001Z",
            )  # fmt: skip
    world.block(hidden)

    def pages(client: httpx.Client, **query: Any) -> list[list[dict[str, Any]]]:
        found: list[list[dict[str, Any]]] = []
        cursor: str | None = ""
        while cursor is not None:
            answer = client.get("/api/events", params={**query, "limit": 2, "cursor": cursor})
            assert answer.status_code == 200, answer.text
            found.append(answer.json()["events"])
            cursor = answer.json()["next"]
        return found

    with world.signed_in("viewer", account) as client:
        every = pages(client)
        assert [len(page) for page in every] == [2, 2, 1]
        ids = [one["id"] for page in every for one in page]
        assert ids == sorted(ids, reverse=True)
        assert {one["deviceId"] for page in every for one in page} == {device}
        assert [[one["type"] for one in page] for page in pages(client, type="alarm")] == [["alarm", "alarm"]]
        assert pages(client, to="2026-01-02T08:00:30Z")[0][-1]["id"] == ids[-1]
        assert pages(client, deviceId=device) == every
        assert client.get("/api/events", params={"deviceId": hidden}).status_code == 404
        for cursor in ("x", "1", "9" * 40 + ".1"):
            assert client.get("/api/events", params={"cursor": cursor}).text.startswith("cursor:")


def test_the_older_name_of_a_share_link(world: World) -> None:
    account = world.account()
    device = world.device(account)
    world.fix(device)
    with world.signed_in("owner", account) as owner:
        token = owner.post("/api/devices/share", data={"deviceId": device}).text
    with world.nobody() as guest:
        assert [one["deviceId"] for one in guest.get("/api/positions", params={"token": token}).json()] == [
            device
        ]


def test_what_only_an_administrator_is_told_of_the_server(world: World) -> None:
    with world.signed_in("admin") as admin, world.signed_in("owner", world.account()) as owner:
        assert "trackers: " in admin.get("/api/server/cache").text
        assert admin.post("/api/server/reboot").status_code == 409
        assert (
            owner.get("/api/server/cache").status_code == owner.post("/api/server/reboot").status_code == 403
        )


def test_a_page_of_another_site_that_is_named(world: World) -> None:
    ask = {"Origin": ORIGIN, "Access-Control-Request-Method": "PUT"}
    email = world.user("owner", world.account())
    with world.nobody() as client, world.client(email) as signed_in:
        allowed = client.options("/api/devices", headers=ask)
        assert allowed.status_code == 204
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "PUT" in allowed.headers["access-control-allow-methods"]
        answer = signed_in.get("/api/devices", headers={"Origin": ORIGIN})
        assert (answer.status_code, answer.headers["access-control-allow-credentials"]) == (200, "true")
        assert answer.headers["vary"] == "Origin"
        strange = client.options("/api/devices", headers={**ask, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in strange.headers
        refused = signed_in.get("/api/devices", headers={"Origin": "https://evil.example"})
        assert (refused.status_code, "access-control-allow-origin" in refused.headers) == (403, False)


def test_head_is_a_get_without_a_body(world: World) -> None:
    with world.signed_in("viewer", world.account()) as client:
        for path in ("server", "session", "devices", "positions", "nothing"):
            got, head = client.get(f"/api/{path}"), client.head(f"/api/{path}")
            assert (head.status_code, head.content) == (got.status_code, b""), path
