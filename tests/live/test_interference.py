"""Whatever a blocked tracker sends, its customer is answered the same bytes. The routes come from the router."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import httpx

from tests.api.people import World
from tests.live.test_reports import event, fence_of, trip, visit
from tracker_server.api import devices, events, positions, reports

TOPICS = (devices, events, positions, reports)
READ = [
    one for topic in TOPICS for one in topic.routes.all if one.method == "GET" and "{name" not in one.path
]
PERIOD = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-09T00:00:00Z"}
TOLD_OF_A_BLOCK = (
    "waiting",
    "lastContact",
)  # that it is alive, and how much waits: the management row, and no more


def content(answer: httpx.Response) -> Any:
    """What was answered, but for the moments at which files were packed."""
    if answer.content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
            return {name: packed.read(name) for name in packed.namelist() if name != "docProps/core.xml"}
    if answer.headers.get("content-type") == "application/json":
        return _but_for_the_block(answer.json())
    return answer.content


def _but_for_the_block(value: Any) -> Any:
    if isinstance(value, list):
        return [_but_for_the_block(one) for one in value]
    if isinstance(value, dict):
        return {name: _but_for_the_block(one) for name, one in value.items() if name not in TOLD_OF_A_BLOCK}
    return value


def answers(client: httpx.Client, free: int, blocked: int, numbers: dict[str, int]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for endpoint in READ:
        if endpoint.path.endswith("/mail"):
            continue  # answers nothing
        for about, asked in _asked(free, blocked):
            for number in {numbers["free"], numbers["blocked"]} if "{id}" in endpoint.path else {0}:
                path = f"/api{endpoint.path.replace('{id}', str(number))}"
                answer = client.get(path, params=asked)
                unlike = {"date", "content-length"}
                if any(f'"{name}"' in answer.text for name in TOLD_OF_A_BLOCK):
                    unlike.add("etag")  # it is made of the whole answer
                headers = {k: v for k, v in answer.headers.items() if k not in unlike}
                found[f"{path} {about}"] = (answer.status_code, headers, content(answer))
    return found


def _asked(free: int, blocked: int) -> list[tuple[str, dict[str, Any]]]:
    return [
        ("of all", dict(PERIOD)),
        ("of the free", {**PERIOD, "deviceId": free}),
        ("of the blocked", {**PERIOD, "deviceId": blocked}),
    ]


def send_much(world: World, device: int, fence: int, day: int, latitude: float) -> None:
    trip(world, device, f"2026-01-0{day}T08:00:00Z", f"2026-01-0{day}T09:00:00Z", 40_000, 0)
    world.fix(device, f"2026-01-0{day}T10:00:00Z", latitude, attributes='{"sat": 9}')
    visit(world, device, fence, f"2026-01-0{day}T08:00:00Z", None)
    event(world, device, "ignitionOn", f"2026-01-0{day}T08:00:00Z")


def test_r137_what_a_blocked_tracker_sends_changes_no_answer(world: World) -> None:
    account = world.account()
    free, blocked = world.device(account), world.device(account)
    fence = fence_of(world, account)
    send_much(world, free, fence, 2, 41.25)
    send_much(world, blocked, fence, 2, 41.125)
    number = event(world, blocked, "ignitionOff", "2026-01-02T09:00:00Z")
    numbers = {"free": free, "blocked": blocked}
    world.block(blocked)
    with world.signed_in("owner", account) as client:
        before = answers(client, free, blocked, numbers)
        for day in (3, 4, 5):
            send_much(world, blocked, fence, day, 41.625)
        after = answers(client, free, blocked, numbers)
        assert client.get(f"/api/events/{number}").status_code == 404
    assert len(before) > 60
    assert [path for path in before if before[path] != after[path]] == []
    assert sum(status == 200 for status, _, _ in before.values()) > 25
    seen = repr(after)
    assert "41.25" in seen
    assert "41.125" not in seen
    assert "41.625" not in seen
