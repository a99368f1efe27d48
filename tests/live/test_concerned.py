"""Whom a change concerns: open sockets whose rights it may have touched are asked again, and no others."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack

import httpx

from tests.api.people import World
from tests.live.test_socket import of, opened, reported, until
from tests.servers.waiting import wait_until
from tracker_server.model.people import EVERYBODY, NOBODY, Concerned, Principal, Role, Scope, concerned


def somebody(
    user_id: int, account_id: int | None = None, *, actor: int | None = None, host: int | None = None
) -> Principal:
    return Principal(
        user_id, "", "", Role.VIEWER, frozenset(), Scope(),
        account_id=account_id, actor_id=actor, host_account_id=host,
    )  # fmt: skip


def test_what_the_database_says() -> None:
    assert concerned("u7") == Concerned(user_id=7)
    assert concerned("a3") == Concerned(account_id=3)
    assert concerned("objects") == NOBODY
    assert concerned("") == concerned("x1") == concerned("u") == concerned("u1x") == EVERYBODY


def test_whom_it_concerns() -> None:
    him, stand_in, guest = somebody(7, 3), somebody(8, 3, actor=7), somebody(9, host=3)
    operator = somebody(1)
    assert [concerned("u7").holds(who) for who in (him, stand_in, guest, operator)] == [
        True,
        True,
        False,
        False,
    ]
    assert [concerned("a3").holds(who) for who in (him, stand_in, guest, operator)] == [
        True,
        True,
        True,
        False,
    ]
    assert not any(
        concerned(word).holds(who) for word in ("objects", "u4", "a4") for who in (him, stand_in, guest)
    )
    assert all(EVERYBODY.holds(who) for who in (him, stand_in, guest, operator))


def asked(world: World) -> int:
    """How often a socket's rights were looked at again."""
    told = httpx.get(f"{world.url}/metrics", timeout=30).text
    found = re.search(r"^tracker_live_asked_total (\S+)$", told, re.MULTILINE)
    return int(float(found[1])) if found else 0


async def test_only_those_concerned_are_asked_again(world: World) -> None:
    account, other = world.account(), world.account()
    device, shared = world.device(account), world.device(account)
    world.device(other)
    email = world.user("viewer", account, restricted=True)
    async with AsyncExitStack() as stack:
        clients = [
            stack.enter_context(client)
            for client in (
                world.signed_in("owner", account), world.signed_in("viewer", account), world.signed_in("owner", other),
                world.signed_in("manager", other), world.signed_in("admin"), world.client(email),
            )
        ]  # fmt: skip
        token = clients[0].post("/api/share/device", data={"deviceId": shared}).text
        guest = stack.enter_context(world.nobody())
        assert guest.get("/api/session", params={"token": token}).status_code == 200
        sockets = [await stack.enter_async_context(opened(world, client)) for client in (*clients, guest)]
        for socket in sockets:
            await socket.recv()
        before = asked(world)

        def counted(what: str, more: int) -> None:
            nonlocal before
            before += more
            wait_until(f"the sockets of {what} to be asked", lambda: asked(world) >= before, 30)
            assert asked(world) == before, f"others were asked, too: {what}"

        world.sql("INSERT INTO core.links VALUES ('user', %s, 'device', %s)", world.user_id(email), device)
        counted("whom a tracker is linked to", 1)
        world.device(other)
        counted("an account that has one tracker more", 2)
        world.sql("INSERT INTO core.groups (account_id, name) VALUES (%s, 'North')", account)
        counted("an account with a new group, a guest's host being of it", 4)
        world.sql("INSERT INTO core.links VALUES ('device', %s, 'driver', 1)", device)
        world.sql("UPDATE core.users SET phone = '1' WHERE email = %s", email)
        counted("him whose user was changed, as a tracker's driver concerns nobody", 1)
        await reported(world, device)
        await until(sockets[5], of(device))
        world.sql("DELETE FROM core.links WHERE object_id = %s AND owner = 'user'", device)
        counted("from whom it was taken", 1)
        await reported(world, device, 43.125)
        await reported(world, shared, 43.25)
        heard = await until(sockets[0], of(shared))
        assert any(of(device)(message) for message in heard)
        await until(sockets[6], of(shared))
        world.sql("INSERT INTO core.links VALUES ('user', %s, 'device', %s)", world.user_id(email), shared)
        heard = await until(sockets[5], of(shared, "devices"))
        assert not any(of(device)(message) for message in heard), "it was taken before"
