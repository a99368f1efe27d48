"""What every process consists of in which devices are heard by MQTT: what is known of clients, our own endpoint, the brokers
that we subscribe to, and how devices are told things by these.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from tracker_protocols.model import DeviceKey
from tracker_server.listeners.broker import Broker, brokers_of
from tracker_server.listeners.mqtt.endpoint import ENDPOINT, MqttEndpoint
from tracker_server.listeners.payloads import Routes
from tracker_server.pipeline.mqtt_book import Book
from tracker_server.pipeline.post import Carrier, Post
from tracker_server.station import Station
from tracker_server.storage.mqtt_feed import MqttFeed


class MqttStation:
    """Beside the station of its process, whose desk tells devices things by it. ``number`` as there."""

    def __init__(self, station: Station, *, number: int = 0) -> None:
        settings = station.settings
        mqtt, ingest, desk = settings.mqtt, station.ingest, station.command_desk
        self._station = station
        self.book: Final = Book(first=not number)
        self._feed = MqttFeed(station.database, self.book, first=not number)
        self.endpoint: Final = MqttEndpoint(
            settings, ingest, station.listeners.common, self.book, self._lost, first=not number
        )
        routes = Routes(mqtt.routes)
        self._brokers = brokers_of(
            mqtt.broker, mqtt.brokers, ingest, self.book, routes, station.metrics, number
        )

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
        return self.endpoint, *self._brokers

    async def begin(self, tasks: asyncio.TaskGroup) -> None:
        """Know all clients, then listen. Raises ListenError."""
        station = self._station
        station.beside(tasks, self._feed.run())
        await self._feed.ready.wait()
        await self.endpoint.open()
        station.beside(tasks, self.endpoint.sweep())
        for broker in self._brokers:
            station.beside(tasks, broker.run())

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
