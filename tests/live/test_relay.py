"""Two processes on one database; alerts that pages show."""

from __future__ import annotations

import asyncio

import psycopg

from tests.api.people import World
from tests.live.test_socket import of, opened, report, until
from tests.servers.serve import Servers
from tests.servers.waiting import wait_until
from tracker_server.storage.live_relay import LOCK


async def test_what_one_process_commits_reaches_the_sockets_of_the_other(
    postgres_dsn: str, server: Servers
) -> None:
    settings = {"backup.every_hours": 0}
    first = World(await asyncio.to_thread(server, settings, dsn=postgres_dsn, protocols=["osmand"]))
    second = World(await asyncio.to_thread(server, settings, dsn=postgres_dsn, protocols=["osmand"]))
    account = first.account()
    device = first.device(account)
    with second.signed_in("owner", account) as client:
        async with opened(second, client) as socket:
            await asyncio.to_thread(
                wait_until,
                "the second to say that it has a socket",
                lambda: second.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = %s", LOCK),
            )
            for n in range(5):  # until the first has looked, and more
                await asyncio.to_thread(report, first, device, 41 + n / 100)
                await asyncio.sleep(0.5)
            heard = await until(socket, of(device))
            assert heard[-1]["positions"][0]["deviceId"] == device
            first.block(device)
            heard = await until(socket, of(device, "devices"))
            while not heard[-1]["devices"][0]["disabled"]:
                heard = await until(socket, of(device, "devices"))
            assert heard[-1]["devices"][0]["attributes"]["block"]["state"] == "blocked"


async def test_an_alert_for_the_page_is_an_event_with_its_sentence(world: World) -> None:
    account = world.account()
    device, foreign = world.device(account), world.device(world.account())
    hidden = world.device(account)
    world.block(hidden)
    with world.signed_in("viewer", account) as client:
        async with opened(world, client) as socket:
            await socket.recv()
            for one in (foreign, hidden, device):
                _alert(world, one)
            (heard,) = await until(socket, lambda message: "events" in message)
    (event,) = heard["events"]
    assert event["deviceId"] == device
    assert event["type"] == "ignitionOn"
    assert event["attributes"] == {"message": f"Said of {device}"}


def _alert(world: World, device: int) -> None:
    """What an event and a rule that names ``web`` leave behind."""
    with psycopg.connect(world.running.dsn, autocommit=True) as connection:
        connection.execute("SELECT core.ensure_days(ARRAY[now()::date])")
        found = connection.execute(
            "INSERT INTO core.events (device_id, type, occurred_at) VALUES (%s, 'ignitionOn', now()) RETURNING id",
            [device],
        ).fetchone()
        assert found is not None
        stored = connection.execute(
            "INSERT INTO core.outbox (key, channel, recipient, account_id, device_id, payload, created_at, due_at, next_at,"
            " delivered_at, event_id, event_at, event_type, body)"
            " SELECT 'test ' || %(event)s, 'web', 'web', account_id, id, '{}', now(), now(), now(), now(), %(event)s, now(),"
            " 'ignitionOn', 'Said of ' || id FROM core.devices WHERE id = %(device)s RETURNING id",
            {"event": found[0], "device": device},
        ).fetchone()
        assert stored is not None
        connection.execute("SELECT pg_notify('tracker_web', %s)", [str(stored[0])])
