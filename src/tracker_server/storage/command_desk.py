"""Tells devices what waits for them: those that are connected at once, the others as they come; over a connection of
their own, or by MQTT, where a device fetches what it subscribes to.

No frame costs a query: which trackers have something to be told is kept in memory, read whole at the start and
told by NOTIFY. A command is marked as sent after its bytes were handed to the connection, in one transaction that holds
its row; a server that dies in between sends it again, and of several servers only the one with the connection does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from tracker_protocols import BY_NAME
from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import Command, CommandError, Encode
from tracker_server.gate import Hidden, decide
from tracker_server.gate.commands import why_not
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.post import Order, Post
from tracker_server.pipeline.session import Session
from tracker_server.pipeline.trackers import Tracker, Trackers
from tracker_server.storage.commands import (
    devices_with_commands,
    mark_failed,
    mark_offered,
    mark_sent,
    protocol_of,
    waiting,
)
from tracker_server.storage.database import AWAY, Database, Role

log = structlog.get_logger(__name__)

NOTIFIED = "tracker_commands"
RETRY_S = 1.0
LOOK_S = 15.0  # blocks end by time, too, and what they held back may go out then


class CommandDesk:
    """Runs for as long as the server does."""

    def __init__(self, database: Database, ingest: Ingest, trackers: Trackers) -> None:
        self._database = database
        self._post = Post(lambda _: (), ())
        self._ingest = ingest
        self._trackers = trackers
        self._waiting: set[int] = set()
        self._woken = asyncio.Event()
        ingest.on_arrival = self.arrived

    def arrived(self, key: DeviceKey) -> None:
        """A device has said who it is."""
        tracker = self._trackers.find(key)
        if tracker is not None and tracker.id in self._waiting:
            self._woken.set()

    def send_by(self, post: Post) -> None:
        """From now on, for devices that have no connection of their own."""
        self._post = post
        self._ingest.beside = post.reaches

    def look(self) -> None:
        """Somebody has come; who, is to be found out."""
        if self._waiting:
            self._woken.set()

    async def run(self) -> None:
        """Tell, wait, tell; while the database is away, wait for it."""
        while True:
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._listen())
            except* AWAY as errors:
                log.warning("commands wait for the database", error=str(errors.exceptions[0]).strip())
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> None:
        async with (
            await self._database.connect(Role.CORE) as listening,
            await self._database.connect(Role.CORE) as connection,
            asyncio.TaskGroup() as tasks,
        ):
            await listening.execute(f"LISTEN {NOTIFIED}")
            self._waiting = await devices_with_commands(connection)
            tasks.create_task(self._tell_all(connection))
            async for notify in listening.notifies():
                self._waiting.add(int(notify.payload))
                self._woken.set()

    async def _tell_all(self, connection: AsyncConnection[Any]) -> None:
        while True:
            self._woken.clear()  # before it is looked: who is told of meanwhile is looked at again
            for device_id in sorted(self._waiting):
                tracker = self._trackers.by_id(device_id)
                if tracker is None:
                    continue
                session = self._ingest.session_of(tracker.unique_id)
                if session is not None and session.wire.heard_at >= self._post.since(tracker.unique_id):
                    await self._tell(connection, tracker, words_of(session.protocol), Line(session).send)
                elif self._post.reaches(tracker.unique_id):
                    if own := self._post.words(tracker.unique_id):
                        await self._tell(connection, tracker, own.encode, self._post.carry)
                    elif (protocol := await protocol_of(connection, device_id)) is not None:
                        await self._tell(connection, tracker, words_of(protocol), self._post.carry)
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            except TimeoutError:
                self._waiting = await devices_with_commands(connection)

    async def _tell(
        self,
        connection: AsyncConnection[Any],
        tracker: Tracker,
        words: Encode,
        send: Callable[[Order], bool],
    ) -> None:
        """All that waits for one tracker, in order. ``send`` answers whether that is all that there is to do."""
        assert tracker.id is not None
        now = datetime.now(UTC)
        hidden = isinstance(decide(tracker.blocks, now), Hidden)
        sent: list[int] = []
        offered: list[int] = []
        held = False
        self._waiting.discard(
            tracker.id
        )  # before its commands are read: one that comes meanwhile adds it again
        async with connection.transaction():
            for one in await waiting(connection, tracker.id):
                if why_not(one.type, hidden=hidden, operator=one.operator) is not None:
                    held = True
                    continue
                try:
                    data = words(tracker.unique_id, Command(one.type, one.attributes), now)
                except CommandError as error:
                    await mark_failed(connection, one.id, str(error))
                    continue
                if send(Order(one.id, tracker.unique_id, data, one.expires_at)):
                    sent.append(one.id)
                else:
                    offered.append(one.id)
            await mark_sent(connection, sent)
            await mark_offered(connection, offered)
        if held or offered:
            self._waiting.add(tracker.id)
        if sent:
            log.info("commands sent", device=tracker.unique_id, commands=sent)


class Line:
    """A connection that the device has to us."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def send(self, order: Order) -> bool:
        """Hand it over; there is nothing more to wait for."""
        self._session.wire.send(order.data)
        return True


def words_of(name: str) -> Encode:
    """The words of the protocol that the device speaks; of one that has none, each is refused."""
    protocol = BY_NAME.get(name)
    if protocol is not None and protocol.commands is not None:
        return protocol.commands.encode

    def refuse(_device: DeviceKey, _command: Command, _now: datetime) -> bytes:
        raise CommandError(f"type: {name} has no commands; this device cannot be told anything")

    return refuse
