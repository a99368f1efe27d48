"""Positions, events and states to an operator's broker: what was stored is published, at least once, through the gate.

The queue is written in the transaction that stores; a row goes when the broker has acknowledged it. What belongs to a
hidden tracker goes unsaid, and what the broker keeps of it is taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.config_mqtt import MqttPublish
from tracker_server.metrics import Metrics
from tracker_server.mqtt.address import address_of, topic_of, trust
from tracker_server.mqtt.client import Client, ConnectionEndedError, open_client
from tracker_server.mqtt.codes import Code
from tracker_server.mqtt.packets import MQTT_5, Connect
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.mqtt_outward import (
    done,
    forget_retained,
    note_retained,
    read_fresh,
    read_gone,
    read_queue,
    read_visible,
    take_lead,
)

log = structlog.get_logger(__name__)

BATCH: Final = 500
IDLE_S: Final = 0.25
GATE_S: Final = 0.5  # how often blocks are looked for: they begin and end by time, too
RETRY_S: Final = 2.0
KEEP_ALIVE_S: Final = 30

STATES: Final = {
    "deviceOnline": "online",
    "deviceOffline": "offline",
    "deviceUnknown": "unknown",
    "deviceInactive": "inactive",
}


class Saying(Struct, frozen=True):
    """One publish."""

    topic: str
    payload: bytes
    device_id: int
    retain: bool = False


def position_of(row: dict[str, Any]) -> bytes:
    """A position as JSON."""
    names = {
        "uniqueId": "unique_id",
        "name": "name",
        "fixedAt": "fixed_at",
        "receivedAt": "received_at",
        "latitude": "latitude",
        "longitude": "longitude",
        "altitudeM": "altitude_m",
        "speedMps": "speed_mps",
        "courseDeg": "course_deg",
        "accuracyM": "accuracy_m",
        "valid": "valid",
        "protocol": "protocol",
        "attributes": "attributes",
    }
    return _json({name: row[column] for name, column in names.items()})


def event_of(row: dict[str, Any]) -> bytes:
    """An event as JSON."""
    names = {
        "id": "id",
        "uniqueId": "unique_id",
        "name": "name",
        "type": "type",
        "occurredAt": "occurred_at",
        "fence": "fence",
        "superseded": "superseded",
        "attributes": "attributes",
    }
    return _json({name: row[column] for name, column in names.items()})


def state_of(row: dict[str, Any], state: str, at: datetime) -> bytes:
    """A tracker's state as JSON."""
    return _json({"uniqueId": row["unique_id"], "name": row["name"], "state": state, "since": at})


def discovery_of(settings: MqttPublish, row: dict[str, Any]) -> Saying:
    """Home Assistant's discovery of a device tracker: https://www.home-assistant.io/integrations/device_tracker.mqtt/"""
    unique = f"tracker-server-{row['device_id']}"
    config = {
        "name": None,
        "unique_id": unique,
        "source_type": "gps",
        "json_attributes_topic": topic_of(settings.topic, row, "position"),
        "json_attributes_template": (
            "{{ dict(latitude=value_json.latitude, longitude=value_json.longitude,"
            " gps_accuracy=value_json.accuracyM or 10, battery_level=value_json.attributes.batteryLevel"
            " | default(none), speed=value_json.speedMps) | tojson }}"
        ),
        "device": {"identifiers": [unique], "name": row["name"], "model": row["protocol"]},
    }
    return Saying(
        f"{settings.discovery}/device_tracker/{unique}/config", _json(config), row["device_id"], retain=True
    )


def _json(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value)


class Outward:
    """Runs for as long as the server does, where ``mqtt.publish.url`` is set."""

    def __init__(self, settings: MqttPublish, database: Database, metrics: Metrics) -> None:
        self._settings = settings
        self._kinds = {one.strip() for one in settings.kinds.split(",")}
        self._address = address_of(settings.url)
        self._database = database
        self._up = metrics.mqtt_broker_up.labels("publish")
        self._discovered: set[int] = set()
        self._gate_at = 0.0

    async def run(self) -> None:
        """Publish what waits, for ever; while broker or database are away, wait for them."""
        while True:
            try:
                await self._lead()
            except (*AWAY, ConnectionEndedError) as error:
                log.warning("publishing waits", address=str(self._address), error=str(error).strip())
            self._up.set(0)
            await asyncio.sleep(RETRY_S)

    async def _lead(self) -> None:
        async with await self._database.connect(Role.CORE) as connection:
            if not await take_lead(connection):
                return  # another server of this database publishes
            settings = self._settings
            address = self._address
            said = Connect(
                MQTT_5,
                settings.client_id,
                clean=True,
                keep_alive_s=KEEP_ALIVE_S,
                user=address.user or None,
                password=address.password.encode() or None,
            )
            tls = trust(settings.tls_ca) if address.tls else None
            publisher = await open_client(address.host, address.port, said, tls)
            self._discovered.clear()
            self._up.set(1)
            try:
                while not publisher.ended.done():
                    await self.look_at_gate(connection, publisher)
                    if not await self.publish_some(connection, publisher):
                        await asyncio.sleep(IDLE_S)
                raise ConnectionEndedError(publisher.ended.result())
            finally:
                with suppress(Exception):
                    publisher.close()

    async def publish_some(self, connection: AsyncConnection[Any], publisher: Client) -> int:
        """The oldest that wait; answers how many those were."""
        queued = await read_queue(connection, BATCH)
        if queued:
            visible = await read_visible(connection, queued)
            rows = [(one.kind, visible[one.id]) for one in queued if one.id in visible]
            await self._say(connection, publisher, self.sayings(rows))
            await done(connection, [one.id for one in queued])
        return len(queued)

    def sayings(self, rows: Sequence[tuple[str, dict[str, Any]]]) -> list[Saying]:
        """What these become, in order. Of positions each tracker's latest is kept by the broker."""
        settings = self._settings
        found: list[Saying] = []
        for kind, row in rows:
            device_id = row["device_id"]
            if kind == "event":
                if "event" in self._kinds:
                    found.append(Saying(topic_of(settings.topic, row, "event"), event_of(row), device_id))
                state = STATES.get(row["type"])
                if state and "state" in self._kinds and not row["superseded"]:
                    found.append(self._state(row, state, row["occurred_at"]))
                continue
            newest = bool(row["latest"])  # a late one must not take the place of what is newer
            if settings.discovery and device_id not in self._discovered:
                self._discovered.add(device_id)
                found.append(discovery_of(settings, row))
            if "position" in self._kinds and (newest or settings.history):
                topic = topic_of(settings.topic, row, "position")
                found.append(Saying(topic, position_of(row), device_id, retain=settings.retain and newest))
        return found

    def _state(self, row: dict[str, Any], state: str, at: datetime) -> Saying:
        topic = topic_of(self._settings.topic, row, "state")
        return Saying(topic, state_of(row, state, at), row["device_id"], retain=self._settings.retain)

    async def look_at_gate(self, connection: AsyncConnection[Any], publisher: Client) -> None:
        """Take back what the broker keeps of hidden trackers; say the latest of those that are shown again."""
        now = asyncio.get_running_loop().time()
        if now < self._gate_at:
            return
        self._gate_at = now + GATE_S
        while gone := await read_gone(connection, BATCH):
            await self._all(publisher, [Saying(topic, b"", 0, retain=True) for topic in gone])
            await forget_retained(connection, gone)
            self._discovered.clear()
        if self._settings.retain:
            while fresh := await read_fresh(connection, BATCH):
                sayings = self.sayings([("position", row) for row in fresh])
                if "state" in self._kinds:
                    states = ("offline", "online")  # an offline one's: since it was heard last
                    sayings += [self._state(row, states[row["online"]], row["contact_at"]) for row in fresh]
                await self._say(connection, publisher, sayings)
                if not sayings:
                    break

    async def _say(
        self, connection: AsyncConnection[Any], publisher: Client, sayings: Iterable[Saying]
    ) -> None:
        sayings = list(sayings)
        await note_retained(connection, [(one.topic, one.device_id) for one in sayings if one.retain])
        await self._all(publisher, sayings)

    async def _all(self, publisher: Client, sayings: Iterable[Saying]) -> None:
        """Until the broker has acknowledged all of them. Raises ConnectionEndedError."""
        waiting = [await publisher.publish(s.topic, s.payload, retain=s.retain) for s in sayings]
        for code in [await one for one in waiting]:
            if code >= Code.UNSPECIFIED:
                log.warning("the broker does not take what we publish", code=hex(code))
