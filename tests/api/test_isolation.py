"""Every route, from the router, as every role: nothing foreign, and nothing that a hidden tracker sent.

A marked word stands in everything that another account has, and marked values in everything that a hidden tracker sent. Each
route is asked without ids, and with ids of one's own, foreign and hidden; no answer may hold a mark, and nothing foreign
may have changed.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.people import World
from tests.api.test_objects import CALENDAR, KINDS
from tracker_server.api.authorise import Endpoint, Kind, Open
from tracker_server.api.endpoints import ENDPOINTS

FOREIGN = "FoReIgN"
HIDDEN = ("41.987654", "HiDdEn")
BESIDE = "BeSiDe"  # what tells of a tracker of one's own account that was not linked to everybody
PERIOD = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
OBJECTS = {
    Kind.GROUP: "groups", Kind.DRIVER: "drivers", Kind.MAINTENANCE: "maintenance", Kind.CALENDAR: "calendars",
    Kind.ATTRIBUTE: "attributes/computed", Kind.GEOFENCE: "geofences", Kind.COMMAND: "commands",
    Kind.NOTIFICATION: "notifications",
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    **KINDS,
    "geofences": {"name": "x", "area": "CIRCLE (41.5 2.25, 500)"},
    "commands": {"type": "custom", "description": "x", "attributes": {"data": "x"}},
    "notifications": {
        "type": "alarm",
        "always": True,
        "notificators": "web",
        "description": "x",
        "attributes": {},
    },
}
ROLES = ["viewer", "manager", "restricted", "owner", "guest", "staff"]


class Village:
    """Two accounts: ``own`` with a shown and a hidden tracker, and a foreign one. ``ids``: of each kind, by whose."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.own, self.foreign = world.account(), world.account()
        world.sql("UPDATE core.accounts SET name = %s WHERE id = %s", f"{FOREIGN} Ltd", self.foreign)
        self.shown, self.hidden = world.device(self.own), world.device(self.own)
        self.theirs = world.device(self.foreign, name=FOREIGN, unique_id=f"{FOREIGN}1", phone=FOREIGN)
        for hour in (8, 9, 10):
            at = f"2026-01-02T{hour:02}:00:00Z"
            world.fix(self.shown, at, latitude=41.5)
            world.fix(self.hidden, at, latitude=41.987654, attributes='{"secret": "HiDdEn"}')
            world.fix(self.theirs, at, attributes=json.dumps({"secret": FOREIGN}))
        for device in (self.hidden, self.theirs):
            mark = json.dumps({"mark": HIDDEN[1] if device == self.hidden else FOREIGN})
            world.sql(
                "INSERT INTO core.events (device_id, type, occurred_at, attributes) VALUES (%s, 'alarm', %s, %s)",
                device, "2026-01-02T08:30:00Z", mark,
            )  # fmt: skip
        named = json.dumps({"other_id": self.hidden, "mark": HIDDEN[1]})
        world.sql(
            "INSERT INTO core.events (device_id, type, occurred_at, attributes) VALUES (%s, 'proximityEnter', %s, %s)",
            self.shown, "2026-01-02T08:40:00Z", named,
        )  # fmt: skip
        world.block(self.hidden)
        beside, neighbour = world.device(self.own), world.device(self.foreign)
        self.pairs = {
            whose: world.sql(
                "INSERT INTO core.proximities (account_id, kind, device_id, other_id, limit_m)"
                " SELECT account_id, 'zone', id, %s, 100 FROM core.devices WHERE id = %s RETURNING id",
                other, one,
            )[0][0]
            for whose, one, other in (
                ("own", self.shown, beside), ("foreign", self.theirs, neighbour), ("hidden", self.shown, self.hidden),
            )
        }  # fmt: skip
        self.emails = {
            "viewer": world.user("viewer", self.own), "manager": world.user("manager", self.own),
            "restricted": world.user("manager", self.own, restricted=True), "owner": world.user("owner", self.own),
            "staff": world.user("staff"),
        }  # fmt: skip
        stranger = world.user("owner", self.foreign, name=FOREIGN)
        self.ids: dict[Kind, dict[str, int]] = {
            Kind.DEVICE: {"own": self.shown, "foreign": self.theirs, "hidden": self.hidden},
            Kind.SHOWN: {"own": self.shown, "foreign": self.theirs, "hidden": self.hidden},
            Kind.ACCOUNT: {"own": self.own, "foreign": self.foreign},
            Kind.USER: {"own": world.user_id(self.emails["viewer"]), "foreign": world.user_id(stranger)},
            Kind.PROXIMITY: self.pairs,
            Kind.EVENT: {"beside": self._meets(beside)},
        }
        with world.client(stranger) as them, world.client(self.emails["owner"]) as owner:
            for kind, path in OBJECTS.items():
                marked = {**BODIES[path], "name": FOREIGN, "description": FOREIGN, "uniqueId": FOREIGN}
                self.ids[kind] = {
                    "own": owner.post(f"/api/{path}", json=BODIES[path]).json()["id"],
                    "foreign": them.post(f"/api/{path}", json=marked).json()["id"],
                }
            for device in (self.shown, self.hidden):
                pair = {"userId": world.user_id(self.emails["restricted"]), "deviceId": device}
                assert owner.post("/api/permissions", json=pair).status_code == 204
            group = self.ids[Kind.GROUP]["own"]
            world.sql("UPDATE core.devices SET group_id = %s WHERE account_id = %s", group, self.own)
            self.link = owner.post("/api/share/group", data={"groupId": group}).text

    def _meets(self, beside: int) -> int:
        """The shown tracker met one that not everybody may see, and an alert told so."""
        near = json.dumps({"other_id": beside, "mark": BESIDE})
        event = self.world.sql(
            "INSERT INTO core.events (device_id, type, occurred_at, attributes) VALUES (%s, 'proximityEnter', %s, %s)"
            " RETURNING id",
            self.shown, "2026-01-02T08:50:00Z", near,
        )[0][0]  # fmt: skip
        self.world.sql(
            "INSERT INTO core.outbox (key, channel, recipient, account_id, device_id, payload, created_at, due_at, next_at,"
            " delivered_at, event_id, event_at, event_type, body, other_ids) SELECT 'near', 'web', 'web', %s, %s, '{}', t, t, t, t,"
            " %s, t, 'proximityEnter', %s, ARRAY[%s::bigint] FROM (SELECT '2026-01-02T08:50:00Z'::timestamptz AS t) m",
            self.own, self.shown, event, BESIDE, beside,
        )  # fmt: skip
        return event

    def client(self, role: str) -> httpx.Client:
        """Signed in as that."""
        if role != "guest":
            return self.world.client(self.emails[role])
        guest = self.world.nobody()
        guest.headers["Authorization"] = f"Bearer {self.link}"
        return guest

    def foreign_rows(self) -> list[Any]:
        """All of it, to see that it did not change."""
        tables = ("devices", "groups", "drivers", "maintenance", "calendars", "computed_attributes", "fences", "commands",
                  "alert_rules", "users", "accounts", "billing", "journal", "proximities")  # fmt: skip
        found: list[Any] = []
        for table in tables:
            column = "id" if table == "accounts" else "account_id"
            found.append(
                self.world.sql(
                    f"SELECT to_jsonb(t) FROM core.{table} t WHERE {column} = %s ORDER BY t::text",
                    self.foreign,
                )
            )
        return found


@pytest.fixture(scope="module")
def village(world: World) -> Village:
    return Village(world)


def calls(endpoint: Endpoint, village: Village, whose: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and query with ids of that; nothing where the route names no object."""
    in_path = set(re.findall(r"\{(\w+)\}", endpoint.path))
    kinds = {name: kind for name, kind in endpoint.objects.items() if whose in village.ids.get(kind, {})}
    if in_path - {"id"}:
        return
    if "id" in in_path and "id" not in kinds:
        return
    own_path = {"id": village.ids[kinds["id"]][whose]} if "id" in in_path else {}
    path = f"/api{endpoint.path}".replace("{id}", str(own_path.get("id", "")))
    if own_path:
        yield path, dict(PERIOD)
        return
    for name in kinds:
        yield path, {**PERIOD, name: village.ids[kinds[name]][whose]}
    if whose == "own" and not in_path:
        yield path, dict(PERIOD)


def assert_clean(role: str, what: str, answer: httpx.Response) -> None:
    content = answer.content + str(answer.headers).encode()
    if role != "staff":
        assert FOREIGN.encode() not in content, f"{role}: {what} tells of another account"
    for mark in HIDDEN:
        assert mark.encode() not in content, f"{role}: {what} tells of a hidden tracker"
    assert answer.status_code < 500, f"{role}: {what}: {answer.status_code} {answer.text}"


@pytest.mark.parametrize("role", ROLES)
def test_nothing_foreign_and_nothing_hidden_is_told(village: Village, role: str) -> None:
    asked = 0
    with village.client(role) as client:
        for endpoint, whose in itertools.product(ENDPOINTS, ("own", "foreign", "hidden")):
            if endpoint.method != "GET" or endpoint.path in {"/session/{id}", "/openapi.json"}:
                continue
            for path, query in calls(endpoint, village, whose):
                answer = client.get(path, params=query)
                what = f"GET {path}?{query}"
                assert_clean(role, what, answer)
                strange = whose == "foreign" and role != "staff"
                unseen = whose == "hidden" and Kind.SHOWN in endpoint.objects.values()
                if strange or unseen:
                    assert answer.status_code in {400, 403, 404}, f"{role}: {what}: {answer.status_code}"
                asked += 1
    assert asked > 60


@pytest.mark.parametrize("role", ["owner", "viewer", "restricted"])
def test_an_event_of_two_trackers_is_told_to_who_may_see_both(village: Village, role: str) -> None:
    sees = role != "restricted"
    event = village.ids[Kind.EVENT]["beside"]
    with village.client(role) as client:
        for path in ("reports/events", "reports/events/csv", "reports/combined", "alerts/log"):
            answer = client.get(f"/api/{path}", params={**PERIOD, "deviceId": village.shown})
            assert answer.status_code == 200, answer.text
            assert (BESIDE in answer.text) == sees, path
        assert client.get(f"/api/events/{event}").status_code == (200 if sees else 404)


@pytest.mark.parametrize("role", [role for role in ROLES if role != "staff"])
def test_nothing_foreign_is_changed(village: Village, role: str) -> None:
    before = village.foreign_rows()
    asked = 0
    with village.client(role) as client:
        for endpoint in ENDPOINTS:
            if endpoint.method not in {"POST", "PUT", "DELETE"} or isinstance(endpoint.needs, Open):
                continue
            for path, query in calls(endpoint, village, "foreign"):
                body: dict[str, Any] = {
                    "name": "mine",
                    "deviceId": village.theirs,
                    "amount": "1.00",
                    "key": "k",
                }
                answer = client.request(endpoint.method, path, params=query, json=body)
                assert_clean(role, f"{endpoint.method} {path}", answer)
                assert answer.status_code in {400, 403, 404}, (
                    f"{role}: {endpoint.method} {path}: {answer.status_code}"
                )
                asked += 1
        for body in ({"userId": village.ids[Kind.USER]["own"], "deviceId": village.theirs},
                     {"deviceId": village.theirs, "geofenceId": village.ids[Kind.GEOFENCE]["own"]}):  # fmt: skip
            assert client.post("/api/permissions", json=body).status_code in {403, 404}
        share = client.post("/api/share/device", data={"deviceId": village.theirs})
        assert share.status_code in {403, 404}
    assert asked > 20
    assert village.foreign_rows() == before


def test_the_marks_are_there_to_be_found(village: Village) -> None:
    """So that the tests above cannot pass by looking for nothing."""
    with village.client("staff") as staff:
        assert FOREIGN in staff.get("/api/devices").text
        village.world.unblock(village.hidden)
        try:
            told = staff.get("/api/positions").text
            assert all(mark in told for mark in HIDDEN)
        finally:
            village.world.block(village.hidden)
    assert CALENDAR in KINDS["calendars"]["data"]
