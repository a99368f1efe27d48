"""What an account keeps: list, add, change, remove, link, of each kind alike."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.api.people import World

CALENDAR = base64.b64encode(
    b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//x//\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\n"
    b"DTSTART:20260101T080000Z\r\nDTEND:20260101T180000Z\r\nRRULE:FREQ=DAILY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
).decode()
KINDS: dict[str, dict[str, Any]] = {
    "groups": {"name": "North", "groupId": 0, "attributes": {"speedLimit": 50}},
    "drivers": {"name": "Ana", "uniqueId": "A-1", "attributes": {}},
    "maintenance": {"name": "Oil", "type": "totalDistance", "start": 0.0, "period": 10_000_000.0, "attributes": {}},
    "calendars": {"name": "Work", "data": CALENDAR, "attributes": {}},
    "attributes/computed": {
        "description": "km/h", "attribute": "kmh", "expression": "speed * 1.852", "type": "number", "priority": 1,
    },
}  # fmt: skip
LINKS = {"groups": "groupId", "drivers": "driverId", "maintenance": "maintenanceId", "calendars": "calendarId",
         "attributes/computed": "attributeId"}  # fmt: skip

each = pytest.mark.parametrize("kind", KINDS)


@each
def test_its_life(world: World, kind: str) -> None:
    account = world.account()
    with world.signed_in("owner", account) as owner, world.signed_in("viewer", account) as viewer:
        added = owner.post(f"/api/{kind}", json={"id": 12345, **KINDS[kind]})
        assert added.status_code == 200, added.text
        one = added.json()
        assert one == {"id": one["id"], "accountId": account, **KINDS[kind]}
        assert one["id"] != 12345
        place = f"/api/{kind}/{one['id']}"
        assert viewer.get(place).json() == one
        assert viewer.get(f"/api/{kind}").json() == [one]
        assert viewer.post(f"/api/{kind}", json=KINDS[kind]).status_code == 403
        assert viewer.put(place, json=one).status_code == 403
        assert viewer.delete(place).status_code == 403
        assert owner.put(place, json=one).json() == one, "what was read, written back, changes nothing"
        word = "description" if "description" in one else "name"
        assert owner.put(place, json={**one, word: "Other"}).json() == {**one, word: "Other"}
        assert owner.delete(place).status_code == 204
        assert owner.get(place).status_code == 404
        assert owner.delete(place).status_code == 404


@each
def test_another_accounts_is_not_there(world: World, kind: str) -> None:
    with (
        world.signed_in("owner", world.account()) as owner,
        world.signed_in("owner", world.account()) as other,
    ):
        one = owner.post(f"/api/{kind}", json=KINDS[kind]).json()
        place = f"/api/{kind}/{one['id']}"
        assert other.get(f"/api/{kind}").json() == []
        for answer in (other.get(place), other.put(place, json=one), other.delete(place)):
            assert answer.status_code == 404
        theirs = other.post(f"/api/{kind}", json={**KINDS[kind], "accountId": one["accountId"]})
        assert theirs.status_code == 404
        assert owner.get(place).json() == one


@each
def test_a_restricted_user_sees_what_is_linked_to_him(world: World, kind: str) -> None:
    account = world.account()
    email = world.user("manager", account, restricted=True)
    with world.signed_in("owner", account) as owner, world.client(email) as user:
        one = owner.post(f"/api/{kind}", json=KINDS[kind]).json()
        assert user.get(f"/api/{kind}").json() == []
        pair = {"userId": world.user_id(email), LINKS[kind]: one["id"]}
        assert owner.post("/api/permissions", json=pair).status_code == 204
        assert user.get(f"/api/{kind}").json() == [one]
        assert owner.get(f"/api/{kind}", params={"userId": world.user_id(email)}).json() == [one]
        assert owner.request("DELETE", "/api/permissions", json=pair).status_code == 204
        assert user.get(f"/api/{kind}").json() == []
        own = user.post(f"/api/{kind}", json={**KINDS[kind], "name": "Mine", "uniqueId": "M"}).json()
        assert user.get(f"/api/{kind}").json() == [own], "what he made is his"


@each
def test_what_is_missing_is_named(world: World, kind: str) -> None:
    with world.signed_in("owner", world.account()) as owner:
        for name in ("name", "uniqueId", "type", "data", "attribute", "expression"):
            if name in KINDS[kind]:
                body = {key: value for key, value in KINDS[kind].items() if key != name}
                answer = owner.post(f"/api/{kind}", json=body)
                assert (answer.status_code, answer.text) == (400, f"{name}: is missing")
        answer = owner.post(f"/api/{kind}", json={**KINDS[kind], "attributes": 7, "expression": 7})
        assert answer.status_code == 400
        for body in (b"", b"{", b"[]", b"\xff", b"null", b"[" * 100_000):
            assert owner.post(f"/api/{kind}", content=body).status_code == 400


def test_the_operator_names_the_account_or_takes_default(world: World) -> None:
    account = world.account()
    with world.signed_in("staff") as staff:
        assert (
            staff.post("/api/groups", json={"name": "a", "accountId": account}).json()["accountId"] == account
        )
        default = world.sql("SELECT id FROM core.accounts WHERE name = 'default'")[0][0]
        assert staff.post("/api/groups", json={"name": "b"}).json()["accountId"] == default
        assert staff.post("/api/groups", json={"name": "c", "accountId": 999_999}).status_code == 404


def test_a_group_is_not_in_itself(world: World) -> None:
    with world.signed_in("owner", world.account()) as owner:
        outer = owner.post("/api/groups", json={"name": "outer"}).json()
        inner = owner.post("/api/groups", json={"name": "inner", "groupId": outer["id"]}).json()
        assert inner["groupId"] == outer["id"]
        for group in (outer["id"], inner["id"]):
            answer = owner.put(f"/api/groups/{outer['id']}", json={**outer, "groupId": group})
            assert answer.status_code == 400
            assert "groupId" in answer.text
        assert owner.post("/api/groups", json={"name": "x", "groupId": 999_999}).status_code == 404


def test_a_driver_of_the_same_identifier_is_refused(world: World) -> None:
    with world.signed_in("owner", world.account()) as owner:
        owner.post("/api/drivers", json=KINDS["drivers"])
        assert owner.post("/api/drivers", json={**KINDS["drivers"], "name": "Eva"}).status_code == 409


def test_a_calendar_is_icalendar(world: World) -> None:
    with world.signed_in("owner", world.account()) as owner:
        for data in ("%%%", base64.b64encode(b"hello").decode(), base64.b64encode(b"\xff\xfe").decode(), ""):
            answer = owner.post("/api/calendars", json={"name": "x", "data": data})
            assert answer.status_code == 400, data
            assert answer.text.startswith("data:")


def test_a_computed_attribute_is_tried(world: World) -> None:
    account = world.account()
    device, hidden = world.device(account), world.device(account)
    world.fix(device, speed_mps=10.0, attributes='{"power": 12.5, "ignition": true}')
    world.fix(hidden, speed_mps=10.0)
    world.block(hidden)
    with world.signed_in("owner", account) as owner:

        def tried(expression: str, kind: str = "number", of: int = device) -> tuple[int, str]:
            body = {"attribute": "x", "expression": expression, "type": kind, "description": ""}
            answer = owner.post("/api/attributes/computed/test", params={"deviceId": of}, json=body)
            return answer.status_code, answer.text

        assert tried("round(speed * 1.852)") == (200, "36")
        assert tried("ignition && power > 12", "boolean") == (200, "true")
        assert tried("power > 13 ? 'high' : 'fine'", "string") == (200, "fine")
        assert tried("nothing * 2") == (204, "")
        assert tried("speed +")[0] == 400
        assert tried("__import__('os')")[0] == 400
        assert tried("speed", of=hidden)[0] == 404
        assert owner.post("/api/attributes/computed", json={
            "attribute": "x", "expression": "a.b", "type": "number"}).status_code == 400  # fmt: skip


def test_links_need_both_ends(world: World) -> None:
    account, other = world.account(), world.account()
    email = world.user("manager", account, restricted=True)
    device, foreign = world.device(account), world.device(other)
    user = world.user_id(email)
    with (
        world.signed_in("owner", account) as owner,
        world.client(email) as restricted,
        world.signed_in("manager", account) as manager,
    ):
        assert owner.post("/api/permissions", json={"deviceId": device, "userId": user}).status_code == 204
        assert owner.post("/api/permissions", json={"userId": user, "deviceId": foreign}).status_code == 404
        assert manager.post("/api/permissions", json={"userId": user, "deviceId": device}).status_code == 403
        assert (
            restricted.post("/api/permissions", json={"userId": user, "deviceId": device}).status_code == 403
        )
        for body in ({"userId": user}, {"userId": user, "x": 1}, {"driverId": 1, "geofenceId": 1}, {}):
            assert owner.post("/api/permissions", json=body).status_code == 400
        group = owner.post("/api/groups", json={"name": "g"}).json()["id"]
        assert owner.post("/api/permissions", json={"deviceId": device, "groupId": group}).status_code == 400
        bulk = [{"userId": user, "deviceId": device}, {"userId": user, "deviceId": foreign}]
        assert owner.post("/api/permissions/bulk", json=bulk).status_code == 404, "all or none"
        assert owner.request("DELETE", "/api/permissions/bulk", json=bulk[:1]).status_code == 204
    with world.signed_in("admin") as admin:
        driver = admin.post("/api/drivers", json={**KINDS["drivers"], "accountId": other}).json()["id"]
        answer = admin.post("/api/permissions", json={"deviceId": device, "driverId": driver})
        assert answer.status_code == 400, "two customers' objects"
