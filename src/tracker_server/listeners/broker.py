"""Subscribing to an operator's broker: what it sends is acknowledged once it is stored, and what it may do is a port.

The broker keeps what was not acknowledged while we are away (a persistent session), and sends it again: nothing is
lost over a restart of either side, and what comes twice is stored once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol, TypeAlias

import structlog

from tracker_protocols.model import DeviceKey, Frame, Message
from tracker_server.config_mqtt import MqttBroker
from tracker_server.listeners.mqtt.connection import owing
from tracker_server.listeners.payloads import Routes, Talk
from tracker_server.metrics import Metrics
from tracker_server.mqtt.address import Address, address_of
from tracker_server.mqtt.topics import SHARED
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.mqtt_book import Identity, Mail
from tracker_server.pipeline.session import Pause, Session

log = structlog.get_logger(__name__)

RETRY_S_FIRST: Final = 0.5
RETRY_S_MAX: Final = 30.0
FULL_S: Final = 60.0  # after a publish that could not be kept: until it is asked for again
DEVICES_MAX: Final = 200_000  # behind one broker, of whom something is remembered

Taken: TypeAlias = Callable[[str, bytes], Awaitable[None]]
"""Called for each publish; returns once it may be acknowledged."""


class BrokerAwayError(Exception):
    """The broker cannot be reached, or does not let us in."""


class Subscriber(Protocol):
    """A client of one broker."""

    async def run(self, take: Taken, connected: Callable[[], None]) -> None:
        """Connect, subscribe, and hand over what comes until the connection ends. Raises BrokerAwayError."""
        ...

    async def close(self) -> None:
        """Let go of the connection; the broker keeps what is not acknowledged."""
        ...

    def publish(self, topic: str, payload: bytes) -> None:
        """Say something there, such as a binary protocol's answer."""
        ...


def filters_of(settings: MqttBroker) -> list[str]:
    """What to subscribe to; in a group, each of its servers gets a share."""
    filters = [one.strip() for one in settings.topics.split(",") if one.strip()]
    return [f"{SHARED}{settings.group}/{one}" for one in filters] if settings.group else filters


class BrokerWire:
    """What a session of a broker writes to: the acknowledgement of a publish is the end of its waiting."""

    def __init__(self) -> None:
        self.waiting: dict[bytes, tuple[asyncio.Future[None], str, tuple[bytes, ...]]] = {}
        self.subscriber: Subscriber | None = None
        self.full = asyncio.Event()

    def send(self, *replies: bytes) -> None:
        """Each is the number of a publish."""
        for reply in replies:
            future, topic, answers = self.waiting.pop(reply)
            if topic and self.subscriber is not None:
                for answer in answers:
                    self.subscriber.publish(topic, answer)
            if not future.done():
                future.set_result(None)

    def pause(self, why: Pause) -> None:
        """The broker sends no more than receive_max before the first is acknowledged: that is the pause."""

    def resume(self, why: Pause) -> None:
        """As above."""

    def finish(self, reason: str) -> None:
        """Nobody replaces a broker."""


class BrokerSession(Session):
    """The pipeline's view of one kind of payloads of a broker."""

    __slots__ = ()

    def refuse(self, reply: bytes) -> bytes:
        """No room to keep it: it stays unacknowledged, and is asked for again later."""
        assert isinstance(self.wire, BrokerWire)
        self.wire.waiting.pop(reply, None)
        self.wire.full.set()
        return b""


class Broker:
    """One subscription, for as long as the server runs."""

    def __init__(
        self,
        name: str,
        settings: MqttBroker,
        make: Callable[[MqttBroker, Address], Subscriber],
        ingest: Ingest,
        routes: Routes,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self._settings = settings
        self._address = address_of(settings.url)
        self._make = make
        self._ingest = ingest
        self._talk = Talk(routes, Identity(client_id=settings.client_id), topics_max=DEVICES_MAX)
        self._heard: dict[DeviceKey, None] = {}  # who has reported through it
        self._here = False
        self.on_arrival: Callable[[DeviceKey], None] = lambda _: None
        self._up = metrics.mqtt_broker_up.labels(name)
        self._faults = metrics.of_protocol("mqtt").faults
        self._wire = BrokerWire()
        self._sessions: dict[str, BrokerSession] = {}
        self._main: BrokerSession | None = None
        self._count = 0
        self._stopping = False

    async def run(self) -> None:
        """Until cancelled; whenever the broker is away, again after a while that grows until it lets us in."""
        delay_s = RETRY_S_FIRST
        while True:
            subscriber = self._wire.subscriber = self._make(self._settings, self._address)
            try:
                await self._once(subscriber)
            except BrokerAwayError as error:
                log.warning("broker is away", broker=self.name, address=str(self._address), error=str(error))
            finally:
                if self._here:
                    delay_s = RETRY_S_FIRST  # a broker that begins again is there again soon
                self._here = False
                self._up.set(0)
                with suppress(Exception):
                    await subscriber.close()
            await asyncio.sleep(delay_s * (0.5 + random.random() / 2))  # noqa: S311  (so that many come back apart)
            delay_s = min(delay_s * 2, RETRY_S_MAX)

    async def _once(self, subscriber: Subscriber) -> None:
        self._wire.full.clear()
        living = asyncio.ensure_future(subscriber.run(self._take, self._connected))
        full = asyncio.ensure_future(self._wire.full.wait())
        try:
            await asyncio.wait({living, full}, return_when=asyncio.FIRST_COMPLETED)
            if not living.done():
                log.warning("the quarantine is full; the broker keeps what comes", broker=self.name)
                await asyncio.wait({living}, timeout=FULL_S)
            if living.done():
                await living
        finally:
            for task in (living, full):
                task.cancel()
            await asyncio.gather(living, full, return_exceptions=True)

    def _connected(self) -> None:
        self._here = True
        self._up.set(1)
        log.info(
            "subscribed", broker=self.name, address=str(self._address), topics=filters_of(self._settings)
        )

    async def _take(self, topic: str, payload: bytes) -> None:
        """One publish: returns when it is stored, never when it cannot be."""
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._stopping:
            await stored  # it comes again
        received_at = datetime.now(UTC)
        try:
            meaning = self._talk.read(topic, payload, received_at)
            session = self._sessions.get(meaning.protocol) or self._session(meaning.protocol)
            self._count += 1
            number = self._count.to_bytes(8)
            self._wire.waiting[number] = (stored, meaning.reply_topic, meaning.answers)
            self._hear(meaning.messages)
            frame = Frame(meaning.data, owing(meaning.messages, number))
            self._ingest.receive(session, [frame], received_at)
        except Exception:
            self._faults.inc()
            log.exception("a defect of ours keeps a publish at its broker", broker=self.name, topic=topic)
        await stored

    def _hear(self, messages: Iterable[Message]) -> None:
        for message in messages:
            device = message.device
            if device is not None and device not in self._heard:
                if len(self._heard) >= DEVICES_MAX:
                    self._heard.pop(next(iter(self._heard)))
                self._heard[device] = None
                self.on_arrival(device)

    def takes(self, mail: Mail) -> bool:
        """Whether its device reports through this broker."""
        return self._here and mail.device in self._heard

    def carry(self, mail: Mail) -> bool:
        """Publish it at QoS 1; the broker keeps it for a device that has a session there."""
        assert self._wire.subscriber is not None
        self._wire.subscriber.publish(mail.topic, mail.payload)
        return True

    def _session(self, protocol: str) -> BrokerSession:
        session = BrokerSession(protocol, "mqtt", str(self._address), self._wire)
        session.stored_first = True
        if self._main is None:
            self._main = session
        else:
            session.owed = self._main.owed  # acknowledged in the order in which they came
        self._sessions[protocol] = session
        return session

    def stop_reading(self) -> None:
        """Take nothing more in."""
        self._stopping = True

    async def close(self) -> None:
        """After the last commit."""
        if self._wire.subscriber is not None:
            with suppress(Exception):
                await self._wire.subscriber.close()


def brokers_of(
    first: MqttBroker,
    others: Mapping[str, MqttBroker],
    make: Callable[[MqttBroker, Address], Subscriber],
    ingest: Ingest,
    routes: Routes,
    metrics: Metrics,
) -> list[Broker]:
    """All that have an address."""
    named = {"broker": first, **others}
    return [
        Broker(name, settings, make, ingest, routes, metrics)
        for name, settings in named.items()
        if settings.url
    ]
