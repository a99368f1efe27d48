"""The socket against a real server: what comes, in which order, and what stops coming when."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pytraccar import ApiClient
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.api.people import PASSWORD, World

WITHIN_S = 20.0
BEGUN = datetime.now(UTC) - timedelta(hours=1)
_seconds = itertools.count()  # of two fixes in one second either may be the latest
Message = dict[str, Any]


@asynccontextmanager
async def opened(world: World, client: httpx.Client, **headers: str) -> AsyncGenerator[ClientConnection]:
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    url = f"{world.url.replace('http', 'ws')}/api/socket"
    async with connect(url, additional_headers={"Cookie": cookie, **headers}, max_size=2**24) as socket:
        yield socket


async def until(socket: ClientConnection, wanted: Callable[[Message], bool]) -> list[Message]:
    """All messages up to the first that is wanted."""
    heard: list[Message] = []
    async with asyncio.timeout(WITHIN_S):
        while True:
            heard.append(json.loads(await socket.recv()))
            if wanted(heard[-1]):
                return heard


def of(device: int, key: str = "positions") -> Callable[[Message], bool]:
    name = "deviceId" if key in {"positions", "events"} else "id"
    return lambda message: any(one[name] == device for one in message.get(key) or ())


def report(world: World, device: int, latitude: float = 41.6, at: datetime | None = None) -> None:
    """A fix over the wire."""
    host, port = world.running.addresses["osmand"]
    moment = at or BEGUN + timedelta(seconds=next(_seconds))
    asked = {
        "id": world.unique_id(device),
        "lat": latitude,
        "lon": 2.25,
        "timestamp": int(moment.timestamp()),
    }
    assert httpx.get(f"http://{host}:{port}/", params=asked, timeout=20).status_code == 200


async def reported(world: World, device: int, latitude: float = 41.6, at: datetime | None = None) -> None:
    await asyncio.to_thread(report, world, device, latitude, at)


async def test_the_latest_come_first_and_then_what_changes(world: World) -> None:
    account = world.account()
    device, other = world.device(account), world.device(account)
    world.fix(device)
    foreign = world.device(world.account())
    with world.signed_in("viewer", account) as client:
        async with opened(world, client) as socket:
            first = json.loads(await socket.recv())
            assert list(first) == ["positions"]
            assert [one["deviceId"] for one in first["positions"]] == [device]
            await reported(world, foreign)
            await reported(world, other, 41.625)
            heard = await until(socket, of(other))
            (position,) = [one for one in heard[-1]["positions"] if one["deviceId"] == other]
            assert position["latitude"] == 41.625
            assert position in client.get("/api/positions").json()
            (row,) = [one for one in heard[-1]["devices"] if one["id"] == other]
            assert row["positionId"] == position["id"]
            assert row["disabled"] is False
            assert str(foreign) not in {str(one["deviceId"]) for m in heard for one in m.get("positions", ())}


async def test_a_late_fix_does_not_become_the_latest(world: World) -> None:
    account = world.account()
    device = world.device(account)
    now = datetime.now(UTC)
    with world.signed_in("viewer", account) as client:
        async with opened(world, client) as socket:
            await reported(world, device, 41.5, now)
            await until(socket, of(device))
            await reported(world, device, 10.0, now - timedelta(hours=1))
            await reported(world, device, 41.7, now + timedelta(seconds=2))
            heard = await until(
                socket, lambda m: any(one["latitude"] == 41.7 for one in m.get("positions", ()))
            )
    assert 10.0 not in {one["latitude"] for message in heard for one in message.get("positions", ())}


async def test_a_block_closes_the_mouth_within_a_second(world: World) -> None:
    account = world.account()
    device, other = world.device(account), world.device(account)
    with world.signed_in("owner", account) as owner:
        async with opened(world, owner) as socket:
            await reported(world, device)
            await until(socket, of(device))
            begun = time.monotonic()
            world.block(device)
            heard = await until(socket, of(device, "devices"))
            assert time.monotonic() - begun < 10, "within a second where nobody else needs the machine"
            (row,) = [one for one in heard[-1]["devices"] if one["id"] == device]
            assert (row["disabled"], row["status"], row["positionId"]) == (True, "unknown", 0)
            assert row["attributes"]["block"]["reason"] == "hold"
            assert row["lastUpdate"] is None
            await reported(world, device, 41.75)
            await reported(world, other, 41.8)
            after = await until(socket, of(other))
            assert not any(of(device)(message) for message in after)
            assert "41.75" not in json.dumps(after)
            world.unblock(device)
            back = await until(socket, of(device))
            assert [one["latitude"] for one in back[-1]["positions"] if one["deviceId"] == device] == [41.75]


async def test_a_guest_is_not_told_that_a_tracker_is_blocked(world: World) -> None:
    account = world.account()
    device, other = world.device(account), world.device(account)
    with world.signed_in("viewer", account, restricted=True) as viewer:
        world.sql(
            "INSERT INTO core.links (owner, owner_id, kind, object_id)"
            " SELECT 'user', id, 'device', %s FROM core.users WHERE account_id = %s",
            other,
            account,
        )
        async with opened(world, viewer) as socket:
            await reported(world, other)
            await until(socket, of(other))
            await reported(world, device)
            await reported(world, other, 41.9)
            heard = await until(socket, lambda m: "41.9" in json.dumps(m))
            assert not any(of(device)(message) or of(device, "devices")(message) for message in heard)
            world.sql("DELETE FROM core.links WHERE object_id = %s", other)
            await asyncio.sleep(0.5)
            await reported(world, other, 42.0)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    await until(socket, lambda m: "42.0" in json.dumps(m))


async def test_who_is_out_is_out_at_once(world: World) -> None:
    account = world.account()
    email = world.user("viewer", account)
    with world.client(email) as client:
        async with opened(world, client) as socket:
            await socket.recv()
            world.sql("UPDATE core.users SET disabled = true WHERE email = %s", email)
            with pytest.raises(ConnectionClosed):
                await until(socket, lambda _: False)
            assert socket.close_code == 1008


async def test_nobody_and_other_sites_are_refused(world: World) -> None:
    with world.nobody() as nobody:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(world, nobody):
                pass
        assert refused.value.response.status_code == 401
    with world.signed_in("viewer", world.account()) as client:
        with pytest.raises(InvalidStatus) as refused:
            async with opened(world, client, Origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403


async def test_an_administrator_looks_on_and_nobody_else(world: World) -> None:
    account = world.account()
    device, blocked = world.device(account), world.device(account)
    world.block(blocked)
    with world.signed_in("admin") as admin, world.signed_in("owner", account) as owner:
        async with opened(world, admin) as looking, opened(world, owner) as other:
            for socket in (looking, other):
                await socket.send('{"logs": true}')
                await socket.send("no JSON")
            await asyncio.sleep(0.3)
            await reported(world, blocked, 44.125)
            await reported(world, device, 41.875)
            heard = await until(
                looking, lambda m: "logs" in m and of(device, "positions")({"positions": m["logs"]})
            )
            (line,) = [one for m in heard for one in m.get("logs", ()) if one["deviceId"] == device]
            assert line["uniqueId"] == world.unique_id(device)
            assert line["protocol"] == "osmand"
            assert b"41.875" in bytes.fromhex(line["data"])
            assert not any(one["deviceId"] == blocked for m in heard for one in m.get("logs", ()))
            told = await until(other, of(device))
            assert not any("logs" in message for message in told)


async def test_a_client_that_does_not_read_slows_nobody_and_gets_the_latest(world: World) -> None:
    account = world.account()
    devices = [world.device(account) for _ in range(3)]
    with world.signed_in("viewer", account) as client:
        async with opened(world, client) as slow, opened(world, client) as quick:
            for round_ in range(5):
                for device in devices:
                    await reported(world, device, 41 + round_ / 10)
                await until(quick, of(devices[-1]))
            latest: dict[int, float] = {}
            async with asyncio.timeout(WITHIN_S):
                while set(latest.values()) != {41.4}:
                    message = json.loads(await slow.recv())
                    latest |= {one["deviceId"]: one["latitude"] for one in message.get("positions", ())}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the client's own
async def test_the_client_that_home_automation_uses(world: World) -> None:
    account = world.account()
    device = world.device(account)
    world.fix(device)
    email = world.user("viewer", account)
    host, port = world.url.removeprefix("http://").split(":")
    heard: list[Any] = []
    begun, done = asyncio.Event(), asyncio.Event()

    async def handler(message: Any) -> None:
        heard.append(message)
        begun.set()
        if of(device, "devices")(message):
            done.set()

    import aiohttp

    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        client = ApiClient(
            host=host, port=int(port), username=email, password=PASSWORD, client_session=session, ssl=False
        )
        listening = asyncio.create_task(client.subscribe(handler))
        try:
            async with asyncio.timeout(WITHIN_S):
                await begun.wait()
                await reported(world, device, 41.95)
                await done.wait()
        finally:
            listening.cancel()
    assert heard[0]["positions"][0]["deviceId"] == device
    assert client.subscription_status.value == "disconnected"
