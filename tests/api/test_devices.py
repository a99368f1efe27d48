"""Trackers in the shape that clients of this field read, and what is told of hidden ones."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.people import World

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 32
SHAPE = {
    "id", "name", "uniqueId", "status", "disabled", "lastUpdate", "positionId", "groupId", "calendarId", "phone",
    "model", "contact", "category", "expirationTime", "attributes",
}  # fmt: skip


def add(client: httpx.Client, unique_id: str, **more: Any) -> Any:
    answer = client.post("/api/devices", json={"name": "Van", "uniqueId": unique_id, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_its_life(world: World) -> None:
    with world.signed_in("owner", world.account()) as owner:
        group = owner.post("/api/groups", json={"name": "North"}).json()["id"]
        card = {"phone": "+34600", "model": "FMB920", "contact": "Ana", "category": "van", "groupId": group,
                "attributes": {"speedLimit": 50}}  # fmt: skip
        van = add(owner, "800001", **card)
        assert set(van) >= SHAPE
        assert card.items() <= van.items()
        assert (van["status"], van["lastUpdate"], van["positionId"], van["disabled"]) == (
            "unknown",
            None,
            0,
            False,
        )
        place = f"/api/devices/{van['id']}"
        assert owner.get(place).json() == van
        assert owner.put(place, json=van).json() == van, "what was read, written back, changes nothing"
        forged = {
            **van,
            "status": "online",
            "lastUpdate": "2026-01-01T00:00:00Z",
            "positionId": 7,
            "disabled": True,
        }
        assert owner.put(place, json=forged).json() == van, "what the server owns stays"
        assert owner.put(place, json={**van, "name": "Lorry", "groupId": 0}).json() == {
            **van,
            "name": "Lorry",
            "groupId": 0,
        }
        assert owner.put(place, json={"uniqueId": "800002"}).status_code == 400
        assert owner.delete(place).status_code == 204
        assert owner.get(place).status_code == 404
        assert owner.delete(place).status_code == 404
        assert owner.get("/api/devices").json() == []


def test_what_is_refused(world: World) -> None:
    account = world.account()
    with world.signed_in("owner", account) as owner, world.signed_in("owner", world.account()) as other:
        add(owner, "800010")
        for client in (owner, other):
            answer = client.post("/api/devices", json={"name": "x", "uniqueId": "800010"})
            assert (answer.status_code, answer.text) == (
                400,
                "uniqueId: a tracker 800010 is connected already",
            )
        told = owner.post(
            "/api/devices",
            json={"name": "x", "uniqueId": "800010"},
            headers={"Accept": "application/json"},
        )
        assert told.json() == {
            "error": "uniqueId: a tracker 800010 is connected already",
            "reason": "tracker_taken",
            "values": {"field": "uniqueId", "uniqueId": "800010"},
        }
        for body, field in (
            ({"uniqueId": "1"}, "name"), ({"name": "x"}, "uniqueId"), ({"name": "", "uniqueId": "1"}, "name"),
            ({"name": "x", "uniqueId": "a\tb"}, "uniqueId"), ({"name": "x", "uniqueId": "x" * 200}, "uniqueId"),
            ({"name": "x", "uniqueId": "1", "attributes": 7}, "attributes"),
        ):  # fmt: skip
            answer = owner.post("/api/devices", json=body)
            assert (answer.status_code, answer.text.partition(":")[0]) == (400, field)
        group = other.post("/api/groups", json={"name": "theirs"}).json()["id"]
        assert (
            owner.post("/api/devices", json={"name": "x", "uniqueId": "800011", "groupId": group}).status_code
            == 404
        )
        nul = owner.post("/api/devices", json={"name": "a\0b", "uniqueId": "800012"})
        assert nul.status_code == 400
    with world.signed_in("owner", account, device_limit=1) as limited:
        assert limited.post("/api/devices", json={"name": "x", "uniqueId": "800013"}).status_code == 403
    with (
        world.signed_in("viewer", account) as viewer,
        world.signed_in("owner", account, device_readonly=True) as reader,
    ):
        for client in (viewer, reader):
            assert client.post("/api/devices", json={"name": "x", "uniqueId": "800014"}).status_code == 403


def test_the_list_is_asked_for_in_parts(world: World) -> None:
    account = world.account()
    numbers = [world.device(account, name=f"Van {number}") for number in range(5)]
    foreign = world.device(world.account())
    with world.signed_in("owner", account) as owner:

        def ids(**query: Any) -> list[int]:
            return [one["id"] for one in owner.get("/api/devices", params=query).json()]

        assert ids() == numbers
        assert ids(all="true", nonsense="x") == numbers
        assert ids(limit=2, offset=1) == numbers[1:3]
        assert ids(id=[numbers[0], numbers[3], foreign]) == [numbers[0], numbers[3]]
        assert ids(uniqueId=[world.unique_id(numbers[2]), world.unique_id(foreign)]) == [numbers[2]]
        assert ids(keyword="van 4") == [numbers[4]]
        assert ids(keyword="%") == []
        assert owner.get("/api/devices", params={"limit": -1}).status_code == 400
        assert owner.get("/api/devices", params={"userId": 999_999}).status_code == 404
        email = world.user("manager", account, restricted=True)
        owner.post("/api/permissions", json={"userId": world.user_id(email), "deviceId": numbers[1]})
        assert ids(userId=world.user_id(email)) == [numbers[1]]
    with world.signed_in("staff") as staff:
        assert {foreign, *numbers} <= {one["id"] for one in staff.get("/api/devices").json()}


def test_a_hidden_tracker_is_listed_and_nothing_more(world: World) -> None:
    account = world.account()
    device = world.device(account)
    world.fix(device, latitude=41.5)
    with world.signed_in("owner", account) as owner:
        shown = owner.get(f"/api/devices/{device}").json()
        assert shown["positionId"] > 0
        assert shown["lastUpdate"] == "2026-01-02T08:00:00.000Z"
        world.sql(
            "INSERT INTO core.blocks (device_id, reason, since, note) VALUES (%s, 'hold', now(), 'unpaid')",
            device,
        )
        for hidden in (owner.get(f"/api/devices/{device}").json(), owner.get("/api/devices").json()[0]):
            assert (hidden["status"], hidden["lastUpdate"], hidden["positionId"]) == ("unknown", None, 0)
            assert hidden["disabled"] is True
            block = hidden["attributes"]["block"]
            assert set(block) == {
                "state",
                "reason",
                "note",
                "since",
                "due",
                "currency",
                "lastContact",
                "waiting",
            }
            assert (block["reason"], block["lastContact"]) == ("hold", "2026-01-02T08:00:00.000Z")
        assert owner.put(f"/api/devices/{device}", json=hidden).json() == hidden
        world.unblock(device)
        assert owner.get(f"/api/devices/{device}").json() == shown, "nothing of the block was written into it"


def test_a_groups_link_reaches_its_trackers(world: World) -> None:
    account = world.account()
    email = world.user("viewer", account, restricted=True)
    with world.signed_in("owner", account) as owner, world.client(email) as viewer:
        outer = owner.post("/api/groups", json={"name": "outer"}).json()["id"]
        inner = owner.post("/api/groups", json={"name": "inner", "groupId": outer}).json()["id"]
        van = add(owner, "800030", groupId=inner)
        assert viewer.get("/api/devices").json() == []
        pair = {"userId": world.user_id(email), "groupId": outer}
        assert owner.post("/api/permissions", json=pair).status_code == 204
        assert [one["id"] for one in viewer.get("/api/devices").json()] == [van["id"]]
        assert {one["id"] for one in viewer.get("/api/groups").json()} == {outer, inner}
        owner.put(f"/api/devices/{van['id']}", json={"groupId": 0})
        assert viewer.get("/api/devices").json() == []
        assert viewer.get(f"/api/devices/{van['id']}").status_code == 404


def test_a_manager_who_adds_a_tracker_sees_it(world: World) -> None:
    with world.signed_in("manager", world.account(), restricted=True) as manager:
        van = add(manager, "800040")
        assert manager.get("/api/devices").json() == [van]


@pytest.mark.parametrize("content", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF", b"", b"<html>"])
def test_what_is_no_picture_is_not_kept(world: World, content: bytes) -> None:
    account = world.account()
    device = world.device(account)
    with world.signed_in("owner", account) as owner:
        headers = {"Content-Type": "image/png"}
        assert owner.post(f"/api/devices/{device}/image", content=content, headers=headers).status_code == 415


def test_a_picture(world: World) -> None:
    account = world.account()
    device = world.device(account)
    with world.signed_in("owner", account) as owner, world.signed_in("owner", world.account()) as other:
        name = owner.post(f"/api/devices/{device}/image", content=PNG).text
        place = f"/api/media/{world.unique_id(device)}/{name}"
        answer = owner.get(place)
        assert (answer.content, answer.headers["content-type"]) == (PNG, "image/png")
        assert other.get(place).status_code == 404
        assert other.post(f"/api/devices/{device}/image", content=PNG).status_code == 404
        with world.nobody() as nobody:
            assert nobody.get(place).status_code == 401
        again = owner.post(f"/api/devices/{device}/image", content=b"\xff\xd8\xff" + b"\0" * 9).text
        assert again.endswith(".jpg")
        assert owner.get(place).status_code == 404, "the one before is gone"
        for evil in ("..%2f..%2fpg", "x.png", "%2e%2e"):
            assert owner.get(f"/api/media/{world.unique_id(device)}/{evil}").status_code == 404
        assert owner.post(f"/api/devices/{device}/image", content=PNG + b"\0" * 3_000_000).status_code == 413
