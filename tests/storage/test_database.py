"""How a connection waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tracker_server.config import load
from tracker_server.storage.database import Database, Role
from tracker_server.storage.pools import Pools


async def test_who_listens_sleeps_until_somebody_speaks(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Database(load(environment={"TRACKER_STORAGE__DSN": postgres_dsn}).settings)
    loop = asyncio.get_running_loop()
    woken = 0
    really = loop.add_reader

    def counted(fd: Any, wakeup: Callable[..., object], *given: Any) -> None:
        nonlocal woken
        woken += 1
        really(fd, wakeup, *given)

    async with await database.connect(Role.OWNER) as listening, await database.connect(Role.OWNER) as other:
        await listening.execute("LISTEN somebody")
        monkeypatch.setattr(loop, "add_reader", counted)
        assert not [one async for one in listening.notifies(timeout=1.0)]
        assert woken == 1, "it looked once, and slept"
        await other.execute("NOTIFY somebody, 'now'")
        heard = [one.payload async for one in listening.notifies(timeout=60, stop_after=1)]
    assert heard == ["now"]


async def test_a_pool_hands_out_what_lives_without_asking_the_database(postgres_dsn: str) -> None:
    database = Database(load(environment={"TRACKER_STORAGE__DSN": postgres_dsn}).settings)
    pools = Pools(database)
    await pools.open()
    asked = "SELECT query FROM pg_stat_activity WHERE pid = %s"
    try:
        async with pools.core() as connection:
            await connection.execute("SELECT 'the last word'")
            first = connection.info.backend_pid
        async with pools.core() as connection, await database.connect(Role.OWNER) as owner:
            assert connection.info.backend_pid == first
            row = await (await owner.execute(asked, [first])).fetchone()
            assert row == ("SELECT 'the last word'",)
        async with await database.connect(Role.OWNER) as owner:
            await owner.execute("SELECT pg_terminate_backend(%s, 60000)", [first])
        async with pools.core() as connection:
            assert connection.info.backend_pid != first
            assert await (await connection.execute("SELECT 1")).fetchone() == (1,)
    finally:
        await pools.close()
