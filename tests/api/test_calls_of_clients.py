"""Every call of every client of this field, with its parameters and bodies; and of the answer all that it reads."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.api import clients_table
from tests.api.calls import BASIC, BEARER, CLIENTS, ON_THE_ROAD, SHAPES, TOPICS, Ask
from tests.api.people import PASSWORD, World
from tests.api.test_objects import CALENDAR
from tests.live.test_reports import event, fence_of, stop, trip, visit
from tests.servers.waiting import wait_until

MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Scene:
    """A customer with a tracker that was driven for a day, and all that the rows' ``$`` names stand for."""

    def __init__(self, world: World, client: str) -> None:
        self.world = world
        self.client = client
        account = world.account()
        group = world.sql(
            "INSERT INTO core.groups (account_id, name) VALUES (%s, 'Fleet') RETURNING id", account
        )
        calendar = world.sql(
            "INSERT INTO core.calendars (account_id, name, data) VALUES (%s, 'Days', %s) RETURNING id",
            account, CALENDAR,
        )  # fmt: skip
        van = world.device(account, name="Van", category="van", group_id=group[0][0])
        yard = fence_of(world, account)
        trip(
            world,
            van,
            "2026-01-02T08:00:00Z",
            "2026-01-02T08:30:00Z",
            30_000,
            1_000,
            fuel_start=50.0,
            fuel_end=47.5,
        )
        stop(world, van, "2026-01-02T08:30:00Z", "2026-01-02T09:00:00Z", engine_s=600)
        visit(world, van, yard, "2026-01-02T08:10:00Z", "2026-01-02T08:20:00Z")
        world.sql("UPDATE core.positions SET speed_mps = 10, protocol = 'gt06' WHERE device_id = %s", van)
        email = world.user("owner", account)
        self.known: dict[str, Any] = {
            "van": van, "van_id": world.unique_id(van), "new_id": f"{world.unique_id(van)}77", "yard": yard,
            "group": group[0][0], "calendar": calendar[0][0], "email": email, "password": PASSWORD,
            "new_email": f"new-{email}", "friend": world.user_id(world.user("viewer", account)),
            "event": event(world, van, "geofenceEnter", "2026-01-02T08:10:00Z", fence_id=yard),
            "soon": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        }  # fmt: skip
        with world.client(email) as signed_in:
            self.known["bearer"] = signed_in.post("/api/session/token").text
        self.signed: dict[str, httpx.Client] = {}

    def of(self, who: str) -> httpx.Client:
        """Signed in as its client does."""
        if who not in self.signed:
            self.signed[who] = self._signed_in(who)
        return self.signed[who]

    def _signed_in(self, who: str) -> httpx.Client:
        world, way = self.world, CLIENTS[self.client][1]
        if who == "nobody":
            return world.nobody()
        if who in {"admin", "stand-in"}:
            return world.signed_in("admin")
        if who == "leaver":
            return world.client(self.known["email"])
        client = world.client(self.known["email"]) if way not in {BASIC, BEARER} else world.nobody()
        if way == BASIC:
            client.auth = httpx.BasicAuth(self.known["email"], PASSWORD)
        elif way == BEARER:
            client.headers["Authorization"] = f"Bearer {self.known['bearer']}"
        return client

    def close(self) -> None:
        for client in self.signed.values():
            client.close()

    def found(self, name: str) -> Any:
        """What a name stands for."""
        name, _, form = name.partition("|")
        first, *steps = name.split(".")
        value = self.known[first]
        for step in steps:
            value = value[int(step) if step.isdigit() else step]
        return str(value) if form == "text" else value

    def filled(self, value: Any) -> Any:
        """With all names in it."""
        match value:
            case str() if value.startswith("$"):
                return self.found(value[1:])
            case dict():
                return {name: self.filled(one) for name, one in value.items()}
            case list():
                return [self.filled(one) for one in value]
            case _:
                return value

    def ask(self, row: Ask) -> None:
        method, _, path = row.call.partition(" ")
        path = re.sub(r"\{([\w.]+)\}", lambda match: str(self.found(match[1])), path)
        more: dict[str, Any] = {"params": self.filled(dict(row.query))} if row.query else {}
        if row.body is not None:
            more["json"] = self.filled(row.body)
        elif row.form is not None:
            more["data"] = self.filled(dict(row.form))
        elif row.upload is not None:
            more["content"] = row.upload
        client = self.of(row.signed)
        if row.signed == "nobody":
            client.cookies.clear()
        answer = client.request(method, f"/api/{path}", headers=dict(row.headers), **more)
        assert answer.status_code == row.status, f"{answer.status_code} {answer.text[:300]}"
        if row.status == 401:
            assert "www-authenticate" not in answer.headers
            assert "set-cookie" not in answer.headers
        assert answer.content.startswith(row.begins)
        if not row.reads:
            assert answer.content == b""
            return
        if row.reads == "text":
            assert answer.content
            told: Any = answer.text
        else:
            told = answer.json()
            check(told, row.reads, row.call)
        for name, value in row.says.items():
            assert read(told, name) == self.filled(value), name
        if row.keeps:
            self.known[row.keeps] = told


def read(told: Any, name: str) -> Any:
    """By a dotted path, of the first row where it is a list."""
    value = told[0] if isinstance(told, list) else told
    for step in name.split("."):
        value = value[step]
    return pytest.approx(value, abs=1e-4) if isinstance(value, float) else value


def check(value: Any, kind: str, where: str) -> None:
    """That a value is what its reader takes it for. A list has rows, or there is nothing to check."""
    if kind.endswith("?"):
        if value is not None:
            check(value, kind[:-1], where)
        return
    if kind == "[]":
        assert value == [], where
    elif kind.startswith("["):
        assert isinstance(value, list), where
        assert value or where.endswith((".events", ".positions")), f"{where}: an empty list shows nothing"
        for one in value:
            check(one, kind[1:-1], where)
    elif kind in SHAPES:
        for name, inner in SHAPES[kind].items():
            assert name in value, f"{where}: {name} is absent"
            check(value[name], inner, f"{where}.{name}")
    elif "|" in kind:
        assert value in kind.split("|"), where
    else:
        assert PLAIN[kind](value), f"{where}: {value!r} is no {kind}"


PLAIN: dict[str, Any] = {
    "int": lambda value: type(value) is int,
    "number": lambda value: type(value) in {int, float},
    "bool": lambda value: type(value) is bool,
    "text": lambda value: type(value) is str,
    "moment": lambda value: type(value) is str and MOMENT.fullmatch(value),
    "object": lambda value: type(value) is dict,
    "list": lambda value: type(value) is list,
    "pairs": lambda value: all(len(one) == 2 and -180 <= one[0] <= 180 for one in value),
}


@pytest.mark.parametrize("client", [name for name in CLIENTS if name != "osmand"])
def test_every_call(world: World, client: str) -> None:
    scene = Scene(world, client)
    try:
        for rows in TOPICS.values():
            for number, row in enumerate(rows):
                if client in row.by:
                    try:
                        scene.ask(row)
                    except (AssertionError, KeyError, TypeError, ValueError) as error:
                        raise AssertionError(
                            f"{client}: row {number}: {row.call} {dict(row.query)}: {error}"
                        ) from error
    finally:
        scene.close()


@pytest.mark.parametrize("client", ["pytraccar", "web"])
def test_the_socket(world: World, client: str) -> None:
    scene = Scene(world, client)
    signed_in = world.client(scene.known["email"])
    cookie = f"JSESSIONID={signed_in.cookies['JSESSIONID']}"
    url = f"{world.url.replace('http', 'ws')}/api/socket"
    with signed_in, connect(url, additional_headers={"Cookie": cookie}) as socket:
        first = json.loads(socket.recv(timeout=60))
        assert list(first) == ["positions"], "the latest of all comes first"
        check(first["positions"], "[position]", "socket")
        host, port = world.running.addresses["osmand"]
        asked = {"id": scene.known["van_id"], "lat": 41.6, "lon": 2.3, "timestamp": 1767600000}
        assert httpx.get(f"http://{host}:{port}/", params=asked).status_code == 200
        told: dict[str, Any] = {}
        while not {"devices", "positions"} <= told.keys():
            message = json.loads(socket.recv(timeout=60))
            for name, rows in message.items():
                check(rows, f"[{name[:-1]}]", f"socket.{name}")
            told |= message
        assert (told["positions"][0]["latitude"], told["devices"][0]["status"]) == (41.6, "online")


def arrived(owner: httpx.Client, moment: str, told: list[Any]) -> bool:
    """Whether the latest position is that of this moment; ``told``: what is answered."""
    told[:] = owner.get("/api/positions").json()
    return told[0]["fixTime"] == moment


def test_what_phones_send(world: World) -> None:
    scene = Scene(world, "osmand")
    host, port = world.running.addresses["osmand"]
    with world.client(scene.known["email"]) as owner:
        for call, _, request, says in ON_THE_ROAD:
            method = call.partition(" ")[0]
            answer = httpx.request(method, f"http://{host}:{port}/", timeout=30, **scene.filled(request))
            assert answer.status_code == 200, f"{call}: {answer.text}"
            told: list[Any] = []
            wait_until(f"the fix of {call}", partial(arrived, owner, str(says["fixTime"]), told), 30)
            check(told, "[position]", call)
            for name, value in says.items():
                assert read(told, name) == value, f"{call}: {name}"
        assert httpx.get(f"http://{host}:{port}/", params={"lat": 1, "lon": 1}).status_code == 400


def test_the_page_of_clients_is_what_the_table_says() -> None:
    assert clients_table.PAGE.read_text(encoding="utf-8") == clients_table.page(), (
        "python -m tests.api.clients_table"
    )
