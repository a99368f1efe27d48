"""The operator's routes, alert rules, and what people changed."""

from __future__ import annotations

from typing import Any

import httpx

from tests.api.people import World
from tests.servers.waiting import wait_until

RULE: dict[str, Any] = {
    "description": "fences", "type": "geofenceEnter", "always": True, "notificators": "web", "calendarId": 0, "commandId": 0,
    "attributes": {"throttle": 60, "quiet": "22:00-07:00", "ours": "kept"},
}  # fmt: skip


def knock(world: World, unique_id: str, times: int) -> None:
    host, port = world.running.addresses["osmand"]
    for number in range(times):
        answer = httpx.get(
            f"http://{host}:{port}/",
            params={"id": unique_id, "lat": 41.5, "lon": 2.25, "timestamp": 1_767_340_800 + number},
        )
        assert answer.status_code == 200, answer.text


def test_who_knocks_is_added_and_his_fixes_come_home(world: World) -> None:
    knock(world, "700001", 3)
    account = world.account()
    with world.signed_in("staff") as staff, world.signed_in("owner", account) as owner:

        def unknown() -> list[dict[str, Any]]:
            return [one for one in staff.get("/api/unknown").json() if one["uniqueId"] == "700001"]

        (one,) = wait_until("the frames to be kept", unknown)
        assert (one["protocol"], one["frames"], one["reports"]) == ("osmand", 3, 3)
        assert owner.get("/api/unknown").status_code == 403
        assert owner.get("/api/quarantine").status_code == 403
        added = staff.post("/api/unknown/700001/add", json={"accountId": account, "name": "Van"})
        assert added.status_code == 200, added.text
        assert added.json()["replayed"] == 3
        assert added.json()["device"]["name"] == "Van"
        assert unknown() == []
        (device,) = owner.get("/api/devices").json()
        assert (device["uniqueId"], device["positionId"] > 0) == ("700001", True)
        assert staff.post("/api/unknown/700001/add", json={}).status_code == 400


def test_who_knocks_is_dropped(world: World) -> None:
    knock(world, "700002", 2)
    with world.signed_in("staff") as staff:
        wait_until("the frames to be kept", lambda: "700002" in staff.get("/api/unknown").text)
        page = staff.get("/api/quarantine", params={"limit": 1}).json()
        assert len(page["frames"]) == 1
        following = staff.get("/api/quarantine", params={"limit": 1, "cursor": page["next"]}).json()
        assert following["frames"][0]["id"] < page["frames"][0]["id"]
        assert staff.post("/api/unknown/700002/drop").json() == {"frames": 2}
        assert staff.post("/api/unknown/700002/drop").status_code == 404


def test_health_and_statistics(world: World) -> None:
    with world.signed_in("staff") as staff, world.signed_in("owner", world.account()) as owner:
        health = staff.get("/api/health/server").json()
        assert (health["ready"], health["problems"]) == (True, [])
        assert health["databaseBytes"] > 1_000_000
        assert health["databaseVersion"][:2].isdigit()
        (row,) = staff.get(
            "/api/statistics", params={"from": "2020-01-01T00:00:00Z", "to": "2090-01-01T00:00:00Z"}
        ).json()
        assert row["requests"] > 0
        assert row["activeUsers"] > 0
        assert staff.get("/api/statistics", params={"to": "2020-01-01T00:00:00Z"}).json() == []
        assert staff.get("/api/statistics", params={"to": "yesterday"}).status_code == 400
        for path in ("health/server", "statistics"):
            assert owner.get(f"/api/{path}").status_code == 403


def test_the_servers_choices_are_an_administrators(world: World) -> None:
    with world.signed_in("admin") as admin, world.signed_in("staff") as staff, world.nobody() as nobody:
        before = nobody.get("/api/server").json()
        assert staff.put("/api/server", json=before).status_code == 403
        changed = admin.put(
            "/api/server", json={**before, "zoom": 7, "announcement": "Hello", "registration": True}
        ).json()
        assert (changed["zoom"], changed["announcement"], changed["registration"]) == (7, "Hello", False)
        assert nobody.get("/api/server").json() == changed
        assert admin.put("/api/server", json=before).json() == before
        assert "Europe/Madrid" in staff.get("/api/server/timezones").json()


def test_what_people_changed_is_written_down(world: World) -> None:
    account = world.account()
    with (
        world.signed_in("owner", account) as owner,
        world.signed_in("admin") as admin,
        world.signed_in("staff") as staff,
    ):
        group = owner.post("/api/groups", json={"name": "g"}).json()["id"]
        owner.put(f"/api/groups/{group}", json={"name": "h"})
        owner.delete(f"/api/groups/{group}")
        who = owner.get("/api/session").json()["id"]
        rows = [row for row in admin.get("/api/audit").json() if row["userId"] == who]
        told = [(row["actionType"], row["objectType"], row["objectId"]) for row in rows]
        assert told == [
            ("remove", "group", group),
            ("edit", "group", group),
            ("create", "group", group),
            ("login", "", 0),
        ]
        assert rows[0]["address"] == "127.0.0.1"
        assert admin.get("/api/audit", params={"to": "2020-01-01T00:00:00Z"}).json() == []
        assert staff.get("/api/audit").status_code == 403
        assert owner.get("/api/audit").status_code == 403


def test_a_rules_life(world: World) -> None:
    account = world.account()
    with world.signed_in("owner", account) as owner, world.signed_in("owner", world.account()) as other:
        added = owner.post("/api/notifications", json=RULE)
        assert added.status_code == 200, added.text
        rule = added.json()
        assert rule == {"id": rule["id"], "accountId": account, **RULE}
        place = f"/api/notifications/{rule['id']}"
        assert owner.put(place, json=rule).json() == rule
        assert owner.get("/api/notifications").json() == [rule]
        assert other.get("/api/notifications").json() == []
        assert other.put(place, json=rule).status_code == other.delete(place).status_code == 404
        assert world.sql("SELECT rule->'throttle_s' FROM core.alert_rules WHERE id = %s", rule["id"]) == [
            (60,)
        ]
        foreign = world.device(world.account())
        bad: list[tuple[dict[str, Any], int]] = [
            ({"type": "teleported"}, 400), ({"notificators": "pigeon"}, 400), ({"notificators": ""}, 400),
            ({"attributes": {"quiet": "noon"}}, 400), ({"attributes": {"deviceIds": [foreign]}}, 404),
            ({"attributes": {"deviceIds": "x"}}, 400), ({"calendarId": 999_999}, 404), ({"notificators": "sms"}, 400),
            ({"attributes": {"picture": True}}, 400),
        ]  # fmt: skip
        for change, status in bad:
            assert owner.post("/api/notifications", json={**RULE, **change}).status_code == status, change
        device = world.device(account)
        quiet = owner.post("/api/notifications", json={**RULE, "always": False, "attributes": {}}).json()
        pair = {"deviceId": device, "notificationId": quiet["id"]}
        assert owner.post("/api/permissions", json=pair).status_code == 204
        assert owner.get("/api/notifications", params={"deviceId": device}).json() == [quiet]
        types = [one["type"] for one in owner.get("/api/notifications/types").json()]
        assert {"allEvents", "geofenceEnter", "alarm"} <= set(types)
        assert {"type": "web"} in owner.get("/api/notifications/notificators").json()
        assert owner.post("/api/notifications/test/web").status_code == 204
        assert owner.post("/api/notifications/test").status_code == 400, "no mail is set up here"
        assert owner.delete(place).status_code == 204
        assert owner.get(place).status_code == 404
