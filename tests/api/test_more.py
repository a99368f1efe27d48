"""Geofences, commands, share links and forgotten passwords, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.people import PASSWORD, World
from tests.servers.waiting import wait_until

AREAS = [
    "CIRCLE (41.5 2.25, 150)",
    "POLYGON ((41.5 2.25, 41.6 2.25, 41.6 2.35, 41.5 2.25))",
    "LINESTRING (41.5 2.25, 41.6 2.35)",
]


@pytest.mark.parametrize("area", AREAS, ids=lambda area: area.partition(" ")[0])
def test_a_geofences_life(world: World, area: str) -> None:
    account = world.account()
    with world.signed_in("owner", account) as owner, world.signed_in("owner", world.account()) as other:
        body = {
            "name": "Depot",
            "description": "north",
            "area": area,
            "attributes": {"speedLimit": 30.0, "color": "red"},
        }
        answer = owner.post("/api/geofences", json=body)
        assert answer.status_code == 200, answer.text
        fence = answer.json()
        for name in ("name", "description"):
            assert fence[name] == body[name]
        attributes: dict[str, object] = {"speedLimit": 30.0, "color": "red"}
        assert attributes.items() <= fence["attributes"].items()
        assert area.partition(" ")[0] == fence["area"].partition(" ")[0]
        assert "41.5 2.25" in fence["area"], "the latitude is first"
        place = f"/api/geofences/{fence['id']}"
        assert owner.get(place).json() == fence
        assert owner.put(place, json=fence).json() == fence
        assert owner.get("/api/geofences").json() == [fence]
        assert other.get("/api/geofences").json() == []
        assert other.get(place).status_code == other.delete(place).status_code == 404
        assert owner.put(place, json={**fence, "name": "New"}).json() == {**fence, "name": "New"}
        assert owner.delete(place).status_code == 204
        assert owner.get(place).status_code == 404


@pytest.mark.parametrize(
    "area", ["", "nonsense", "CIRCLE (41.5 2.25)", "POLYGON ((41.5 2.25))", "POLYGON ((95 2, 96 2, 96 3, 95 2))", "POINT (1 2)"]
)  # fmt: skip
def test_an_area_that_cannot_be_read(world: World, area: str) -> None:
    with world.signed_in("owner", world.account()) as owner:
        answer = owner.post("/api/geofences", json={"name": "x", "area": area})
        assert (answer.status_code, answer.text.partition(":")[0]) == (400, "area")


def test_for_which_trackers_a_fence_counts(world: World) -> None:
    account = world.account()
    van, bus, foreign = world.device(account), world.device(account), world.device(world.account())
    restricted = world.user("manager", account, restricted=True)
    with world.signed_in("owner", account) as owner, world.client(restricted) as half:
        fence = owner.post("/api/geofences", json={"name": "x", "area": AREAS[0]}).json()["id"]
        place = f"/api/geofences/{fence}/devices"
        assert owner.get(place).json() == {"everyone": True, "deviceIds": []}
        both = {"everyone": False, "deviceIds": [van, bus]}
        assert owner.put(place, json=both).json() == both
        assert owner.put(place, json={**both, "deviceIds": [foreign]}).status_code == 404
        assert half.get(place).status_code == half.put(place, json=both).status_code == 404
        user = world.user_id(restricted)
        for pair in ({"userId": user, "geofenceId": fence}, {"userId": user, "deviceId": van}):
            assert owner.post("/api/permissions", json=pair).status_code == 204
        assert half.put(place, json={"everyone": False, "deviceIds": []}).json()["deviceIds"] == []
        assert owner.get(place).json() == {"everyone": False, "deviceIds": [bus]}, "what he may not see stays"
    with world.signed_in("staff") as staff:
        answer = staff.put(place, json={"everyone": False, "deviceIds": [foreign]})
        assert (answer.status_code, answer.text.partition(":")[0]) == (400, "deviceIds")


def test_a_fence_linked_to_a_tracker_is_for_it_alone(world: World) -> None:
    account = world.account()
    one, another = world.device(account), world.device(account)
    with world.signed_in("owner", account) as owner:
        fence = owner.post("/api/geofences", json={"name": "x", "area": AREAS[0]}).json()

        def of(device: int) -> list[int]:
            return [item["id"] for item in owner.get("/api/geofences", params={"deviceId": device}).json()]

        assert of(one) == of(another) == [fence["id"]]
        pair = {"deviceId": one, "geofenceId": fence["id"]}
        assert owner.post("/api/permissions", json=pair).status_code == 204
        assert (of(one), of(another)) == ([fence["id"]], [])
        assert owner.request("DELETE", "/api/permissions", json=pair).status_code == 204
        assert of(one) == []


def test_a_command_is_kept_and_sent(world: World) -> None:
    account = world.account()
    device, hidden = world.device(account), world.device(account)
    world.fix(device, protocol="teltonika")
    world.block(hidden)
    with (
        world.signed_in("owner", account) as owner,
        world.signed_in("owner", account, limit_commands=True) as limited,
    ):
        saved = owner.post("/api/commands", json={
            "description": "stop it", "type": "custom", "attributes": {"data": "getinfo"}}).json()  # fmt: skip
        assert owner.get("/api/commands").json() == [saved]
        types = owner.get("/api/commands/types", params={"deviceId": device}).json()
        assert {"type": "custom"} in types
        assert owner.get("/api/commands/send", params={"deviceId": device}).json() == [saved]
        sent = owner.post("/api/commands/send", json={"id": saved["id"], "deviceId": device})
        assert sent.status_code == 202, "it is not connected"
        assert sent.json()["attributes"] == {"data": "getinfo"}
        assert world.sql("SELECT type, operator FROM core.command_queue WHERE device_id = %s", device) == [
            ("custom", False)
        ]
        for body in (
            {"type": "custom", "deviceId": hidden, "attributes": {"data": "x"}},
            {"type": "custom", "deviceId": 999_999},
        ):
            answer = owner.post("/api/commands/send", json=body)
            assert (answer.status_code, answer.text) == (404, f"there is no tracker {body['deviceId']}")
        assert owner.post("/api/commands/send", json={"type": "fly", "deviceId": device}).status_code == 400
        assert owner.post("/api/commands/send", json={"type": "custom"}).status_code == 400
        assert owner.post("/api/commands/send", json={"deviceId": device}).status_code == 400
        assert (
            limited.post("/api/commands/send", json={"type": "custom", "deviceId": device}).status_code == 403
        )
    with world.signed_in("staff") as staff:
        body = {"type": "custom", "deviceId": hidden, "attributes": {"data": "x"}}
        assert staff.post("/api/commands/send", json=body).status_code == 409, "it may tell its place"


def guest_of(world: World, token: str) -> httpx.Client:
    client = world.nobody()
    client.params = client.params.set("token", token)
    return client


def test_a_guest_sees_one_tracker_and_writes_nothing(world: World) -> None:
    account = world.account()
    shared, other = world.device(account), world.device(account)
    world.fix(shared)
    world.fix(other)
    with world.signed_in("owner", account) as owner:
        end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        answer = owner.post("/api/share/device", data={"deviceId": shared, "expiration": end})
        assert answer.status_code == 200, answer.text
        with guest_of(world, answer.text) as guest:
            me = guest.get("/api/session").json()
            assert (me["temporary"], me["role"], me["email"]) == (True, "guest", "")
            assert [one["id"] for one in guest.get("/api/devices").json()] == [shared]
            assert [one["deviceId"] for one in guest.get("/api/positions").json()] == [shared]
            assert guest.get(f"/api/devices/{other}").status_code == 404
            for path in ("groups", "geofences", "drivers", "calendars", "commands"):
                assert guest.get(f"/api/{path}").json() == []
            for path, body in (
                ("groups", {"name": "x"}),
                ("share/device", {"deviceId": shared}),
                ("session/token", {}),
            ):
                assert guest.post(f"/api/{path}", json=body).status_code == 403
            world.block(shared)
            assert guest.get("/api/devices").json() == []
            assert guest.get(f"/api/devices/{shared}").status_code == 404
            assert guest.get("/api/positions").json() == []
            world.unblock(shared)
            tokens = owner.get("/api/session/tokens").json()
            assert [(one["kind"], one["deviceId"]) for one in tokens] == [("share", shared)]
            assert owner.post("/api/session/token/revoke", data={"id": tokens[0]["id"]}).status_code == 204
            assert guest.get("/api/devices").status_code == 401
        for end in ("2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"):
            answer = owner.post("/api/share/device", data={"deviceId": shared, "expiration": end})
            assert answer.status_code == 400
        foreign = world.device(world.account())
        assert owner.post("/api/share/device", data={"deviceId": foreign}).status_code == 404


def test_r135_a_share_link_goes_dark_with_its_tracker(world: World) -> None:
    """Made while it was shown; unavailable while it is blocked, as if it had never been; and it works again afterwards."""
    account = world.account()
    shared = world.device(account)
    world.fix(shared)
    with world.signed_in("owner", account) as owner:
        made = owner.post("/api/share/device", data={"deviceId": shared})
        with guest_of(world, made.text) as guest:

            def seen() -> tuple[int, list[Any], list[Any]]:
                one = guest.get(f"/api/devices/{shared}").status_code
                devices, positions = guest.get("/api/devices").json(), guest.get("/api/positions").json()
                return one, [d["id"] for d in devices], [p["deviceId"] for p in positions]

            shown = (200, [shared], [shared])
            assert seen() == shown
            world.block(shared)
            assert seen() == (404, [], [])
            never = guest.get("/api/devices/999999999").text
            assert guest.get(f"/api/devices/{shared}").text == never.replace("999999999", str(shared))
            world.unblock(shared)
            assert seen() == shown


def test_a_guest_loses_what_his_host_loses(world: World) -> None:
    account = world.account()
    device = world.device(account)
    email = world.user("manager", account, restricted=True)
    with world.signed_in("owner", account) as owner, world.client(email) as manager:
        pair = {"userId": world.user_id(email), "deviceId": device}
        owner.post("/api/permissions", json=pair)
        with guest_of(world, manager.post("/api/share/device", data={"deviceId": device}).text) as guest:
            assert len(guest.get("/api/devices").json()) == 1
            owner.request("DELETE", "/api/permissions", json=pair)
            assert guest.get("/api/devices").json() == []


def test_r110_a_forgotten_password(world: World) -> None:
    email = world.user("owner", world.account())
    with world.client(email) as before, world.nobody() as nobody:
        told = [
            nobody.post("/api/password/reset", data={"email": who}) for who in (email, "nobody@example.com")
        ]
        assert (
            (told[0].status_code, told[0].content) == (told[1].status_code, told[1].content) == (200, b"{}")
        )
        assert world.sql("SELECT count(*) FROM core.outbox WHERE recipient = 'nobody@example.com'") == [(0,)]
        ((payload,),) = world.sql("SELECT payload FROM core.outbox WHERE recipient = %s", email)
        assert (payload["type"], payload["minutes"]) == ("password", 30)
        token = payload["link"].partition("token=")[2]
        form = {"token": token, "password": "another horse"}
        assert nobody.post("/api/password/update", data={**form, "password": "short"}).status_code == 400
        assert nobody.post("/api/password/update", data=form).status_code == 200
        again = nobody.post("/api/password/update", data=form)
        assert (again.status_code, again.text) == (
            410,
            "token: this link has been used or has ended; ask for another",
        )
        assert before.get("/api/session").status_code == 404
    with world.client(email, "another horse") as client:
        assert client.get("/api/session").status_code == 200


def test_r110_a_reset_link_ends_after_half_an_hour_and_by_the_next(world: World) -> None:
    email = world.user("owner", world.account())

    def asked() -> dict[str, Any]:
        with world.nobody() as nobody:
            nobody.post("/api/password/reset", data={"email": email})
        rows = world.sql("SELECT payload FROM core.outbox WHERE recipient = %s ORDER BY id DESC", email)
        return {"token": rows[0][0]["link"].partition("token=")[2], "password": PASSWORD}

    first, second = asked(), asked()
    with world.nobody() as nobody:
        assert nobody.post("/api/password/update", data=first).status_code == 410
        world.sql(
            "UPDATE core.tokens SET expires_at = now() WHERE kind = 'reset' AND user_id = %s",
            world.user_id(email),
        )
        assert nobody.post("/api/password/update", data=second).status_code == 410
    for _ in range(6):
        asked()
    count = world.sql("SELECT count(*) FROM core.outbox WHERE recipient = %s", email)[0][0]
    assert count == 5, "nobody's box is filled through us"


def test_unlinking_reaches_who_is_signed_in(world: World) -> None:
    account = world.account()
    device = world.device(account)
    email = world.user("viewer", account, restricted=True)
    user = world.user_id(email)
    with world.client(email) as viewer:
        world.sql("INSERT INTO core.links VALUES ('user', %s, 'device', %s)", user, device)
        wait_until("the link to reach him", lambda: len(viewer.get("/api/devices").json()) == 1, 5)
        world.sql("DELETE FROM core.links WHERE owner_id = %s AND owner = 'user'", user)
        wait_until("its end to reach him", lambda: viewer.get("/api/devices").json() == [], 5)
