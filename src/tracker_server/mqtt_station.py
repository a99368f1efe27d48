"""What every process consists of in which devices are heard by MQTT: what is known of clients, our own endpoint, the brokers
that we subscribe to, and how devices are told things by these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from msgspec.structs import replace
from psycopg import AsyncConnection

from tracker_protocols.model import DeviceKey
from tracker_server.config_mqtt import MqttBroker
from tracker_server.listeners.broker import Broker, Heir, of_worker, settings_of
from tracker_server.listeners.mqtt.endpoint import ENDPOINT, MqttEndpoint
from tracker_server.listeners.payloads import Routes
from tracker_server.pipeline.mqtt_book import Book
from tracker_server.pipeline.post import Carrier, Post
from tracker_server.station import Station
from tracker_server.storage.database import AWAY, Role
from tracker_server.storage.mqtt_feed import MqttFeed
from tracker_server.storage.mqtt_members import (
    Member,
    is_nobodys,
    put_member,
    read_members,
    remove_member,
)

log = structlog.get_logger(__name__)

AnyBroker = TypeVar("AnyBroker", bound=Broker)


class MqttStation:
    """Beside the station of its process, whose desk tells devices things by it. ``number`` as there."""

    def __init__(self, station: Station, *, number: int = 0) -> None:
        settings = station.settings
        mqtt, ingest, desk = settings.mqtt, station.ingest, station.command_desk
        self._station = station
        self.book: Final = Book(first=not number)
        self._settings = settings_of(mqtt)
        self._feed = MqttFeed(
            station.database,
            self.book,
            first=not number,
            client_ids=(one.client_id for one in self._settings.values()),
        )
        self.endpoint: Final = MqttEndpoint(
            settings, ingest, station.listeners.common, self.book, self._lost, first=not number
        )
        routes = self._routes = Routes(mqtt.routes)
        self._number = number
        self._brokers = [
            self._broker(Broker, name, of_worker(one, number))
            for name, one in self._settings.items()
            if one.group or not number
        ]
        self._heirs: list[Heir] = []

        def post(*carriers: Carrier) -> Post:
            topics = mqtt.commands_topic
            return Post(
                lambda key: (topics.replace("{device}", key), *routes.told_under(key)), carriers, routes.words
            )

        desk.send_by(post(self.endpoint), post(*self._brokers))
        ingest.on_arrival = self._arrived
        self.endpoint.on_ready = desk.look
        for broker in self._brokers:
            broker.on_arrival = desk.arrived
            broker.on_ready = desk.look

    @property
    def readers(self) -> tuple[MqttEndpoint | Broker, ...]:
        """All through which devices are heard."""
        return self.endpoint, *self._brokers, *self._heirs

    async def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Know all clients, then listen. Raises ListenError."""
        station = self._station
        station.beside(tasks, self._feed.run())
        await self._feed.ready.wait()
        await self.endpoint.open()
        station.beside(tasks, self.endpoint.sweep())
        try:
            await self._remember(tasks)
        except AWAY as error:
            log.warning(
                "what brokers keep from earlier is looked after at the next start", error=str(error).strip()
            )
        for broker in self._brokers:
            station.beside(tasks, broker.run())

    def _broker(self, kind: type[AnyBroker], name: str, settings: MqttBroker) -> AnyBroker:
        station = self._station
        return kind(name, settings, station.ingest, self.book, self._routes, station.metrics)

    async def _remember(self, tasks: asyncio.TaskGroup) -> None:
        """What the brokers keep for us from earlier: topics that are not in the settings any more are given up, and what is
        there for a process that is no more, or under a name that is none of ours any more, is taken in by the first one.
        """
        async with await self._station.database.connect(Role.CORE) as connection:
            members = await read_members(connection)
            written = {(one.broker, one.client_id, one.process): one.filters for one in members}
            for broker in self._brokers:
                mine = Member(
                    broker.name, self._settings[broker.name].client_id, self._number, broker.filters
                )
                known = written.get((mine.broker, mine.client_id, mine.process), ())
                broker.stale = tuple(name for name in known if name not in mine.filters)
                await put_member(connection, replace(mine, filters=mine.filters + broker.stale))
                broker.on_given_up = partial(self._given_up, tasks, mine)
        for member in filter(self._is_no_more, members):
            heir = self._broker(Heir, member.broker, self._of_member(member))
            heir.stale = member.filters
            self._heirs.append(heir)
            self._station.beside(tasks, self._inherit(heir, member))

    def _is_no_more(self, member: Member) -> bool:
        if self._number or member.broker not in self._settings:
            return False  # the first process's to look after, or at a broker that we do not know
        return self._of_member(member).client_id not in self._names()

    def _names(self) -> set[str]:
        """By which the processes of this server go at brokers."""
        workers = self._station.settings.workers
        return {
            of_worker(one, process).client_id
            for one in self._settings.values()
            for process in range(workers if one.group else 1)
        }

    def _of_member(self, member: Member) -> MqttBroker:
        return of_worker(replace(self._settings[member.broker], client_id=member.client_id), member.process)

    def _given_up(self, tasks: asyncio.TaskGroup, member: Member) -> None:
        self._station.beside(tasks, self._write(put_member, member))

    async def _inherit(self, heir: Heir, member: Member) -> None:
        """Unless another server that runs on this database goes by its name."""
        try:
            async with await self._station.database.connect(Role.CORE) as connection:
                ours = any(one.client_id == member.client_id for one in self._settings.values())
                if ours or await is_nobodys(connection, member.client_id):
                    await heir.run()
                    await self._write(remove_member, member)
        except AWAY as error:
            self._tell(member, error)

    async def _write(
        self, write: Callable[[AsyncConnection[Any], Member], Awaitable[None]], member: Member
    ) -> None:
        """Where the database is away it stays as it was: the next start finds nothing to do at the broker."""
        try:
            async with await self._station.database.connect(Role.CORE) as connection:
                await write(connection, member)
        except AWAY as error:
            self._tell(member, error)

    def _tell(self, member: Member, error: Exception) -> None:
        log.warning("what a broker keeps is not written down", broker=member.broker, error=str(error).strip())

    def called_another(self, protocol: str, name: str, at: float) -> None:
        """Another process has heard who somebody is: a client of its endpoint, or a device over a connection of its own."""
        if protocol == ENDPOINT.name:
            self.endpoint.came_elsewhere(name, at)
        else:
            self._station.ingest.called_another(protocol, name, at)
            self.book.moved(name)

    def _arrived(self, key: DeviceKey) -> None:
        """Over a connection of its own: the newest way to it."""
        self.book.moved(key)
        self._station.command_desk.arrived(key)

    def _lost(self, devices: Iterable[DeviceKey]) -> None:
        """These have told by a last will that they are gone."""
        for tracker in filter(None, map(self._station.trackers.find, devices)):
            self._station.contact_clock.lost(tracker)
