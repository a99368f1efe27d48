"""Connections for requests: few, kept open, each speaking as its role."""

from __future__ import annotations

import select
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from psycopg import AsyncConnection, OperationalError
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from tracker_server.storage.database import Database, Role

CONNECTIONS_MAX = 8  # of each role: on a few cores more only queue inside PostgreSQL
WAIT_S_MAX = 10.0


async def _check(connection: AsyncConnection[Any]) -> None:
    """Raises psycopg.OperationalError where it has ended since its last use. An idle connection is silent: only where
    there is something to hear must the database be asked, which costs each request a round trip.
    """
    heard = select.poll()
    heard.register(connection.fileno(), select.POLLIN)
    if heard.poll(0):
        await AsyncConnectionPool.check_connection(connection)


class Pools:
    """One pool for each role."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pools: dict[Role, AsyncConnectionPool[AsyncConnection[Any]]] = {}

    async def open(self) -> None:
        """Make them; connections come with the first requests."""
        for role in (Role.CORE, Role.DISPLAY):
            pool: AsyncConnectionPool[AsyncConnection[Any]] = AsyncConnectionPool(
                self._database.conninfo(role),
                kwargs={"autocommit": True},
                min_size=0,
                max_size=CONNECTIONS_MAX,
                timeout=WAIT_S_MAX,
                check=_check,
                name=f"requests {role.name.lower()}",
                open=False,
            )
            await pool.open()
            self._pools[role] = pool

    def core(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """What is true; to write, and for what no tracker sent."""
        return self._use(Role.CORE)

    def display(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """What may be shown: every answer that holds something of a tracker is read here."""
        return self._use(Role.DISPLAY)

    @asynccontextmanager
    async def _use(self, role: Role) -> AsyncGenerator[AsyncConnection[Any]]:
        """In autocommit mode, for as long as the block lasts. Raises psycopg.OperationalError."""
        try:
            async with self._pools[role].connection() as connection:
                yield connection
        except PoolTimeout as error:
            raise OperationalError(f"no connection in {WAIT_S_MAX:g} s") from error

    async def close(self) -> None:
        """Give all back."""
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()
