"""Tells devices what waits for them: those that are connected at once, the others as they come; over a connection of
their own, or by MQTT, where a device fetches what it subscribes to.

No frame costs a query: which trackers have something to be told is kept in memory, read whole at the start and
told by NOTIFY. A command is marked as sent after its bytes were handed to the connection, in one transaction that holds
its row; a server that dies in between sends it again. Of several ways to a device, in whichever process, the newest is
taken: before a device is told anything, all processes of the server are asked when they heard of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog
from psycopg import AsyncConnection

from tracker_protocols import BY_NAME
from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import Command, CommandError, Encode
from tracker_server.gate import Hidden, decide
from tracker_server.gate.commands import why_not
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.newest import Heard, Way, way
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
ASKED_MAX = 1_000  # devices of one question


async def nobody(_devices: Sequence[DeviceKey]) -> list[Mapping[DeviceKey, Heard]]:
    """There are no other processes."""
    return []


class CommandDesk:
    """Runs for as long as the server does."""

    def __init__(self, database: Database, ingest: Ingest, trackers: Trackers) -> None:
        self._database = database
        self._own = self._brokers = Post(lambda _: (), ())
        self._ingest = ingest
        self._trackers = trackers
        self._waiting: set[int] = set()
        self._woken = asyncio.Event()
        self.ask_others: Callable[[Sequence[DeviceKey]], Awaitable[list[Mapping[DeviceKey, Heard]]]] = nobody
        ingest.on_arrival = self.arrived

    def arrived(self, key: DeviceKey) -> None:
        """A device has said who it is."""
        tracker = self._trackers.find(key)
        if tracker is not None and tracker.id in self._waiting:
            self._woken.set()

    def send_by(self, own: Post, brokers: Post) -> None:
        """From now on, for devices that have no connection of their own: by our MQTT endpoint, and by brokers."""
        self._own, self._brokers = own, brokers
        self._ingest.beside = lambda key: own.reaches(key) or brokers.reaches(key)

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
            waiting = sorted(self._waiting)
            for at in range(0, len(waiting), ASKED_MAX):
                await self._tell_some(connection, waiting[at : at + ASKED_MAX])
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            except TimeoutError:
                self._waiting = await devices_with_commands(connection)

    async def _tell_some(self, connection: AsyncConnection[Any], device_ids: Sequence[int]) -> None:
        """Those of these whose newest way is here."""
        trackers = [tracker for one in device_ids if (tracker := self._trackers.by_id(one)) is not None]
        keys = [tracker.unique_id for tracker in trackers]
        heard = self.heard_of(keys)
        here = {key: one for key, one in heard.items() if one.line_at is not None or one.post_at is not None}
        if not here:
            return
        others = await self.ask_others(list(here))
        for tracker in trackers:
            key = tracker.unique_id
            if key not in here:
                continue
            chosen = way(here[key], [one[key] for one in others if key in one])
            session = self._ingest.session_of(key)
            brokers_at = self._brokers.since(key)
            if chosen is Way.LINE and session is not None and session.wire.heard_at >= (brokers_at or 0.0):
                await self._tell(connection, tracker, words_of(session.protocol), Line(session).send)
            elif chosen is Way.LINE and brokers_at is not None:
                await self._post(connection, tracker, self._brokers)
            elif chosen is Way.POST and self._own.reaches(key):
                await self._post(connection, tracker, self._own)

    async def _post(self, connection: AsyncConnection[Any], tracker: Tracker, post: Post) -> None:
        assert tracker.id is not None
        if own := post.words(tracker.unique_id):
            await self._tell(connection, tracker, own.encode, post.carry)
        elif (protocol := await protocol_of(connection, tracker.id)) is not None:
            await self._tell(connection, tracker, words_of(protocol), post.carry)

    def heard_of(self, keys: Sequence[DeviceKey]) -> dict[DeviceKey, Heard]:
        """What this process knows of these devices."""
        now, now_us = time.monotonic(), micros(datetime.now(UTC))
        found: dict[DeviceKey, Heard] = {}
        for key in keys:
            tracker, session = self._trackers.find(key), self._ingest.session_of(key)
            contact_us = 0 if tracker is None else tracker.contact_us
            contact_at = max(0.0, now - (now_us - contact_us) / 1e6)
            lines = (None if session is None else session.wire.heard_at, self._brokers.since(key))
            line_at = max((one for one in lines if one is not None), default=None)
            found[key] = Heard(contact_at, line_at, self._own.since(key))
        return found

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
