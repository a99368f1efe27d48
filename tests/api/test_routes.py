"""No route goes without: each says what it needs, and is held to it."""

from __future__ import annotations

import re
from itertools import pairwise

from tests.api.people import World
from tracker_server.api.authorise import Endpoint, Open
from tracker_server.api.endpoints import ENDPOINTS
from tracker_server.api.openapi import describe
from tracker_server.model.people import RIGHTS, Right, Role, rights_of

OPEN = {
    ("GET", "/openapi.json"),
    ("GET", "/server"),
    ("GET", "/gateways"),
    ("POST", "/gateways/{name}/webhook"),
    ("GET", "/session"),
    ("POST", "/session"),
    ("DELETE", "/session"),
    ("GET", "/gateways"),
    ("POST", "/gateways/{name}/webhook"),
    ("GET", "/setup"),
    ("GET", "/session/openid/auth"),
    ("GET", "/session/openid/callback"),
    ("POST", "/password/reset"),
    ("POST", "/reactivate"),
    ("POST", "/password/update"),
    ("POST", "/setup"),
}


def name_of(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def test_what_is_open_to_anybody_is_listed_here() -> None:
    assert {(one.method, one.path) for one in ENDPOINTS if isinstance(one.needs, Open)} == OPEN


def test_each_route_is_there_once_and_has_a_name_of_its_own() -> None:
    places = [name_of(one) for one in ENDPOINTS]
    assert len(set(places)) == len(places)
    names = [one.name for one in ENDPOINTS]
    assert len(set(names)) == len(names), "operationId"


def test_ids_in_paths_are_objects() -> None:
    for endpoint in ENDPOINTS:
        for name in re.findall(r"\{(\w+)\}", endpoint.path):
            if name != "uniqueId" and (name == "id" or name.endswith("Id")):
                assert name in endpoint.objects or isinstance(endpoint.needs, Open), name_of(endpoint)


def test_nobody_is_let_in(world: World) -> None:
    with world.nobody() as nobody:
        for endpoint in ENDPOINTS:
            if isinstance(endpoint.needs, Open) or endpoint.method == "SOCKET":
                continue  # sockets have tests of their own
            path = re.sub(r"\{\w+\}", "1", endpoint.path)
            answer = nobody.request(endpoint.method, f"/api{path}")
            assert answer.status_code == 401, name_of(endpoint)
            assert "www-authenticate" not in answer.headers
            assert "set-cookie" not in answer.headers


def test_roles_grow() -> None:
    order = [Role.GUEST, Role.VIEWER, Role.MANAGER, Role.OWNER, Role.STAFF, Role.ADMIN]
    for less, more in pairwise(order):
        assert RIGHTS[less] < RIGHTS[more]


def test_marks_take_rights_away() -> None:
    assert Right.WRITE not in rights_of(Role.OWNER, readonly=True)
    assert Right.READ in rights_of(Role.OWNER, readonly=True)
    assert Right.DEVICES not in rights_of(Role.OWNER, device_readonly=True)
    assert Right.WRITE in rights_of(Role.OWNER, device_readonly=True)
    assert Right.COMMANDS not in rights_of(Role.OWNER, limit_commands=True)
    assert Right.REPORTS not in rights_of(Role.OWNER, disable_reports=True)
    assert rights_of(Role.OWNER, granted=frozenset({"read"})) == {Right.READ}
    assert rights_of(Role.VIEWER, granted=frozenset({"read", "administer"})) == {Right.READ}


def test_the_description_has_every_route() -> None:
    described = describe(ENDPOINTS)
    for endpoint in ENDPOINTS:
        if endpoint.method != "SOCKET":
            assert endpoint.method.lower() in described["paths"][f"/api{endpoint.path}"]


def test_paths_that_there_are_not(world: World) -> None:
    with world.nobody() as nobody:
        long = [f"/api/devices/{'9' * digits}" for digits in (20, 90, 5_000)]
        for path in ("/api/nothing", "/api", "/api/", "/api/session/x/y", "/api/session/abc", *long):
            answer = nobody.get(path)
            assert answer.status_code == 404, path
            assert "html" not in answer.headers["content-type"]
        answer = nobody.patch("/api/session")
        assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, POST")


def test_headers_of_every_answer(world: World) -> None:
    with world.nobody() as nobody:
        for path in ("/api/server", "/api/nothing", "/healthz", "/nothing.js"):
            headers = nobody.get(path).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "'unsafe" not in headers["content-security-policy"]
            assert headers["x-frame-options"] == "DENY"
