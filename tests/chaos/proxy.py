"""A proxy before PostgreSQL that can cut every connection at the worst moment: around a COMMIT."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum

COMMIT = b"COMMIT"


class Cut(Enum):
    """Where the next COMMIT is cut."""

    BEFORE = "the commit never arrives"
    AFTER = "it arrives, and its answer never comes back"


class Proxy:
    """Listens on loopback, forwards to a socket of PostgreSQL."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()
        self._armed: Cut | None = None
        self.cut = asyncio.Event()
        self.port = 0

    async def open(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = int(self._server.sockets[0].getsockname()[1])

    def arm(self, cut: Cut) -> None:
        """Cut at the next COMMIT that anybody sends."""
        self.cut.clear()
        self._armed = cut

    def cut_all(self) -> None:
        """Cut every connection now."""
        for pair in list(self._pairs):
            pair.cancel()

    async def close(self) -> None:
        """Listen no longer."""
        self.cut_all()
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs.add(task)
        upstream: asyncio.StreamWriter | None = None
        try:
            from_database, upstream = await asyncio.open_unix_connection(self._socket)
            both = [
                asyncio.create_task(self._pump(reader, upstream, watched=True)),
                asyncio.create_task(self._pump(from_database, writer, watched=False)),
            ]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in both:
                    one.cancel()
        except (OSError, asyncio.CancelledError):
            pass  # nobody there, or cut: the caller sees its connection end
        finally:
            self._pairs.discard(task)
            for end in (writer, upstream):
                if end is not None:
                    with contextlib.suppress(Exception):
                        end.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, watched: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if watched and self._armed is not None and COMMIT in data:
                    how, self._armed = self._armed, None
                    self.cut.set()
                    if how is Cut.AFTER:
                        sink.write(data)
                        await sink.drain()
                    return
                sink.write(data)
                await sink.drain()
