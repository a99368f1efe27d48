"""Keeps the MQTT endpoint's book true to the database, and writes down what it notes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import structlog
from psycopg import AsyncConnection

from tracker_server.pipeline.mqtt_book import Book
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.embedded import EmbeddedError
from tracker_server.storage.mqtt_members import hold_names
from tracker_server.storage.mqtt_rows import (
    CHANNEL,
    begin_expiry,
    forget_old,
    read_kept,
    read_logins,
    read_mail,
    read_ways,
    write_changes,
)

log = structlog.get_logger(__name__)

RETRY_S = 1.0
READ_AGAIN_S = 600.0  # commands become void by time


class MqttFeed:
    """Runs for as long as the server does. ``ready``: the book has been read once."""

    def __init__(
        self, database: Database, book: Book, *, first: bool = True, client_ids: Iterable[str] = ()
    ) -> None:
        """``first``: no client is connected to any process yet. ``client_ids``: by which we go at brokers."""
        self._first = first
        self._client_ids = tuple(client_ids)
        self._database = database
        self._book = book
        self._noted = asyncio.Event()
        self._kept_read = False
        self._begun_at = time.monotonic()
        self.ready = asyncio.Event()
        book.on_change = self._noted.set

    async def run(self) -> None:
        """Read all, listen, write; after a break read again, for what was told meanwhile is lost."""
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._listen())
                    tasks.create_task(self._write())
            except* (*AWAY, EmbeddedError) as errors:
                log.warning("the MQTT book waits for the database", error=str(errors.exceptions[0]).strip())
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        async with await self._database.connect(Role.CORE) as connection:
            await connection.execute(f"LISTEN {CHANNEL}")
            await hold_names(connection, self._client_ids)
            if not self._kept_read:
                if self._first:  # of those who were here when the server ended, none is connected
                    await begin_expiry(connection)
                self._book.put_kept(await read_kept(connection))
                self._book.put_ways(await read_ways(connection), self._begun_at)
                self._kept_read = True  # afterwards memory is ahead of the table
            async with await self._database.connect(Role.CORE) as reading:
                while True:
                    await self._read(reading)
                    self.ready.set()
                    async for _ in connection.notifies(timeout=READ_AGAIN_S, stop_after=1):
                        pass

    async def _read(self, connection: AsyncConnection[Any]) -> None:
        await forget_old(connection)
        self._book.put_logins(await read_logins(connection))
        self._book.put_mail(await read_mail(connection))

    async def _write(self) -> None:
        async with await self._database.connect(Role.CORE) as connection:
            self._noted.set()  # what was noted while the database was away
            while True:
                await self._noted.wait()
                self._noted.clear()
                changes = list(self._book.changes)
                if changes:
                    await write_changes(connection, changes)
                    self._book.written(len(changes))
