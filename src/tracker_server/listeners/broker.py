"""Subscribing to an operator's broker: what it sends is acknowledged once it is stored.

The broker keeps what was not acknowledged while we are away (a persistent session), and sends it again: nothing is
lost over a restart of either side, and what comes twice is stored once.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog
from msgspec import structs

from tracker_protocols.model import DeviceKey, Frame, Message
from tracker_server.config_mqtt import Mqtt, MqttBroker
from tracker_server.listeners.mqtt.intake import hand_in, owing
from tracker_server.listeners.payloads import Routes, Talk
from tracker_server.metrics import Metrics
from tracker_server.mqtt.address import Address, address_of, trust
from tracker_server.mqtt.client import Client, ConnectionEndedError, Taken, VersionRefusedError, open_client
from tracker_server.mqtt.codes import Code, Kind
from tracker_server.mqtt.packets import MQTT_3_1_1, MQTT_5, Connect, Publish, acknowledge, puback, publish
from tracker_server.mqtt.topics import SHARED
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.mqtt_book import Book, Identity, Mail, Way
from tracker_server.pipeline.session import Pause, Session

log = structlog.get_logger(__name__)

RETRY_S_FIRST: Final = 0.5
RETRY_S_MAX: Final = 30.0
FULL_S: Final = 60.0  # after a publish that could not be kept: until it is asked for again
KEEP_ALIVE_S: Final = 30
PACKET_BYTES_MAX: Final = (
    16_777_216  # a broker does not hand us what is longer; no tracker says so much at once
)
QUIET_S: Final = 3.0  # nothing has come for so long, so nothing is left: what is there comes at once
DEVICES_MAX: Final = 200_000  # topics of one broker, of which something is remembered


def filters_of(settings: MqttBroker) -> list[str]:
    """What to subscribe to; in a group, each of its servers gets a share."""
    filters = [one.strip() for one in settings.topics.split(",") if one.strip()]
    return [f"{SHARED}{settings.group}/{one}" for one in filters] if settings.group else filters


class BrokerSession(Session):
    """The pipeline's view of one kind of payloads of a connection to a broker."""

    __slots__ = ()

    def refuse(self, reply: bytes) -> bytes:
        """No room to keep it: it stays unacknowledged, and is asked for again later."""
        assert isinstance(self.wire, Link)
        self.wire.stuck.set()
        return b""


class Link:
    """One connection to a broker: its publishes on their way in, its acknowledgements on their way out.

    ``stuck``: a publish was not taken, and comes again only with the next connection.
    """

    def __init__(
        self,
        broker: str,
        ingest: Ingest,
        talk: Talk,
        hear: Callable[[Iterable[Message], str], None],
        metrics: Metrics,
    ) -> None:
        self.stuck = asyncio.Event()
        self.client: Client | None = None
        self.stopping = False
        self.heard_at = time.monotonic()  # of the last publish
        self._broker = broker
        self._ingest = ingest
        self._talk = talk
        self._hear = hear
        self._faults = metrics.of_protocol("mqtt").faults
        self._sessions: dict[str, BrokerSession] = {}

    def take(self, client: Client, publishes: Sequence[Publish]) -> None:
        """All that one read brought. What is not taken is not acknowledged. A kept session begins before we know that we
        are let in.
        """
        self.client = client
        if self.stopping:
            return  # it comes again
        self.heard_at = time.monotonic()
        received_at = datetime.now(UTC)
        fresh: list[tuple[Session, Frame]] = []
        for said in publishes:
            try:
                self._read(said, received_at, fresh)
            except Exception:  # noqa: BLE001  (a defect of ours costs one publish)
                self._fault(said.topic)
        try:
            hand_in(self._ingest, fresh, received_at)
        except Exception:  # noqa: BLE001  (the rest of this read comes again)
            self._fault(publishes[0].topic)

    def _read(self, said: Publish, received_at: datetime, fresh: list[tuple[Session, Frame]]) -> None:
        meaning = self._talk.read(said.topic, said.payload, received_at)
        messages = meaning.messages
        assert self.client is not None
        version = self.client.version
        answer = b""
        if said.qos == 1:
            answer = puback(said.packet_id)
        elif said.qos:
            answer = acknowledge(version, Kind.PUBREC, said.packet_id)
        if meaning.reply_topic:
            for data in meaning.answers:
                answer += publish(version, Publish(meaning.reply_topic, data))
        if answer:
            messages = owing(messages, answer)
        elif not messages:
            return
        self._hear(meaning.messages, meaning.tells)
        session = self._sessions.get(meaning.protocol) or self._session(meaning.protocol)
        fresh.append((session, Frame(meaning.data, messages)))

    def _fault(self, topic: str) -> None:
        self._faults.inc()
        log.exception("a defect of ours keeps a publish at its broker", broker=self._broker, topic=topic)  # noqa: LOG004
        self.stuck.set()

    def _session(self, protocol: str) -> BrokerSession:
        session = BrokerSession(protocol, "mqtt", self._broker, self)
        session.stored_first = True
        for other in self._sessions.values():
            session.owed = other.owed  # acknowledged in the order in which they came
            break
        self._sessions[protocol] = session
        return session

    @property
    def owes(self) -> bool:
        """Whether something that has come is not acknowledged yet."""
        return any(session.owed for session in self._sessions.values())

    def forget(self) -> None:
        """The connection is gone: what it brought is committed all the same."""
        for session in self._sessions.values():
            self._ingest.forget(session)

    # ------------------------------------------------------------------ Wire

    def send(self, *replies: bytes) -> None:
        """Acknowledgements, with a binary protocol's answers."""
        if self.client is not None:
            self.client.write(b"".join(replies))

    def pause(self, why: Pause) -> None:
        """Of one connection for thousands of devices the bound is receive_max, not that of one device's bytes."""
        if why & Pause.QUEUE and self.client is not None:
            self.client.pause_reading()

    def resume(self, why: Pause) -> None:
        """The queue has room again."""
        if why & Pause.QUEUE and self.client is not None:
            self.client.resume_reading()

    def finish(self, reason: str) -> None:
        """Nobody replaces a broker."""


class Broker:
    """One subscription, for as long as the server runs."""

    def __init__(
        self, name: str, settings: MqttBroker, ingest: Ingest, book: Book, routes: Routes, metrics: Metrics
    ) -> None:
        self.name = name
        self.on_arrival: Callable[[DeviceKey], None] = lambda _: None
        self.on_ready: Callable[[], None] = lambda: None
        self.on_given_up: Callable[[], None] = lambda: None
        self.stale: tuple[str, ...] = ()  # filters of earlier settings, in the session that the broker keeps
        self._settings = settings
        self._address = address_of(settings.url)
        self._ingest = ingest
        self._metrics = metrics
        self._talk = Talk(routes, Identity(client_id=settings.client_id), topics_max=DEVICES_MAX)
        self._book = book
        self._carrying: set[int] = set()  # commands that the broker has not acknowledged yet
        self._version = MQTT_5
        self._link: Link | None = None
        self._here = False
        self._up = metrics.mqtt_broker_up.labels(name)
        self._stopping = False

    @property
    def filters(self) -> tuple[str, ...]:
        """What it subscribes to."""
        return tuple(filters_of(self._settings))

    async def run(self) -> None:
        """Until it is done; whenever the broker is away, again after a while that grows until it lets us in."""
        delay_s = RETRY_S_FIRST
        while True:
            try:
                if await self._once():
                    return
            except VersionRefusedError as error:
                if self._version == MQTT_5:
                    self._version = MQTT_3_1_1
                    continue
                self._tell(error)
            except ConnectionEndedError as error:
                self._tell(error)
            if self._here:
                delay_s = RETRY_S_FIRST  # a broker that begins again is there again soon
            self._here = False
            await asyncio.sleep(delay_s * (0.5 + random.random() / 2))  # noqa: S311  (so that many come back apart)
            delay_s = min(delay_s * 2, RETRY_S_MAX)

    def _tell(self, error: ConnectionEndedError) -> None:
        log.warning("broker is away", broker=self.name, address=str(self._address), error=str(error))

    async def _once(self) -> bool:
        """One connection, until it ends or has to be made anew; True: no other is needed. Raises ConnectionEndedError."""
        link = self._link = Link(self.name, self._ingest, self._talk, self._hear, self._metrics)
        link.stopping = self._stopping
        link.client = client = await self._connect(link.take)
        try:
            return await self._serve(client, link)
        finally:
            self._link = None
            link.forget()
            client.close()

    async def _serve(self, client: Client, link: Link) -> bool:
        """A connection that stands; answers as ``_once``. Raises ConnectionEndedError."""
        stuck = asyncio.ensure_future(link.stuck.wait())
        try:
            await self._subscribe(client)
            await asyncio.wait({client.ended, stuck}, return_when=asyncio.FIRST_COMPLETED)
            if not client.ended.done():
                log.warning("a publish cannot be kept now; its broker keeps it", broker=self.name)
                await asyncio.wait({client.ended}, timeout=FULL_S)
            if client.ended.done():
                raise ConnectionEndedError(client.ended.result())
            return False
        finally:
            self._up.set(0)
            stuck.cancel()

    async def _connect(self, take: Taken, *, clean: bool = False) -> Client:
        settings, address = self._settings, self._address
        said = Connect(
            self._version,
            settings.client_id,
            clean=clean,
            keep_alive_s=KEEP_ALIVE_S,
            user=address.user or None,
            password=address.password.encode() or None,
            session_expiry_s=0 if clean else settings.session_expiry_s,
            receive_max=settings.receive_max,
            packet_bytes_max=PACKET_BYTES_MAX,
        )
        try:
            tls = context_of(settings, address)
        except OSError as error:
            raise ConnectionEndedError(f"its certificates cannot be used: {error}") from None
        return await open_client(address.host, address.port, said, tls, take)

    async def _subscribe(self, client: Client) -> None:
        filters = self.filters
        codes = await client.subscribe(filters)
        if any(code >= Code.UNSPECIFIED for code in codes):
            raise ConnectionEndedError(f"it refuses the subscription: {[hex(code) for code in codes]}")
        if self.stale:
            await client.unsubscribe(self.stale)
            log.info("unsubscribed", broker=self.name, topics=self.stale)
            self.stale = ()
            self.on_given_up()
        self._here = True
        self._up.set(1)
        log.info("subscribed", broker=self.name, address=str(self._address), topics=filters)
        self.on_ready()

    def _hear(self, messages: Iterable[Message], tells: str) -> None:
        ways = self._book.ways
        now = time.monotonic()
        for message in messages:
            device = message.device
            if device is None:
                continue
            way = ways.get(device)
            if way is None or way.topic != tells or way.broker != self.name:
                self._book.heard(Way(device, self.name, tells, now))
                self.on_arrival(device)
            else:
                way.heard_at = now

    def since(self, mail: Mail) -> float | None:
        """When its device has reported through this broker, which is the last one that it has reported through."""
        way = self._book.ways.get(mail.device)
        return way.heard_at if self._here and way is not None and way.broker == self.name else None

    def topic(self, mail: Mail) -> str:
        """That of the route by which its device has reported, else the mail's."""
        return self._book.ways[mail.device].topic.replace("{device}", mail.device) or mail.topic

    def carry(self, mail: Mail) -> bool:
        """Publish it at QoS 1; it is told once the broker has acknowledged it. The broker keeps it for a device that has a
        session there; where it says that nobody has subscribed, the command waits.
        """
        client = self._link.client if self._link is not None else None
        if client is None or mail.id in self._carrying or self._book.told(mail.id):
            return False
        topic = self.topic(mail)
        future = client.offer(topic, mail.payload)
        if future is not None:
            self._carrying.add(mail.id)
            future.add_done_callback(lambda told: self._carried(mail, topic, told))
        return False

    def _carried(self, mail: Mail, topic: str, told: asyncio.Future[int]) -> None:
        self._carrying.discard(mail.id)
        if told.cancelled() or told.exception() is not None:
            return  # the connection has ended; it is said again
        code = told.result()
        if code == Code.SUCCESS:
            self._book.fetched(mail)
        elif code == Code.NO_MATCHING_SUBSCRIBERS:
            log.info("nobody has subscribed there; the command waits", broker=self.name, topic=topic)
        else:
            log.warning("the broker does not take a command", broker=self.name, topic=topic, code=hex(code))

    def stop_reading(self) -> None:
        """Take nothing more in."""
        self._stopping = True
        if self._link is not None:
            self._link.stopping = True

    async def close(self) -> None:
        """After the last commit."""
        if self._link is not None and self._link.client is not None:
            self._link.client.close()


class Heir(Broker):
    """Of a process, or a name, that is no more: what a broker has kept for it is taken in, and its session there is ended."""

    async def _serve(self, client: Client, link: Link) -> bool:
        if client.session_present:
            await client.unsubscribe(self.stale)
            log.info(
                "taking over what a broker kept for a session that is no more ours",
                client_id=self._settings.client_id,
            )
            while link.owes or time.monotonic() - link.heard_at < QUIET_S:
                await asyncio.wait({client.ended}, timeout=QUIET_S / 10)
                if client.ended.done() or link.stuck.is_set():
                    raise ConnectionEndedError("not all of it has come")
        client.close()
        (await self._connect(lambda _client, _publishes: None, clean=True)).close()
        return True


def context_of(settings: MqttBroker, address: Address) -> ssl.SSLContext | None:
    """TLS as the settings want it. Raises OSError where a file cannot be used."""
    if not address.tls:
        return None
    context = trust(settings.tls_ca)
    if settings.tls_cert:
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    return context


def settings_of(mqtt: Mqtt) -> dict[str, MqttBroker]:
    """The brokers that have an address, by name."""
    return {name: one for name, one in {"broker": mqtt.broker, **mqtt.brokers}.items() if one.url}


def of_worker(settings: MqttBroker, number: int) -> MqttBroker:
    """A process's own session at the broker: what is handed to it comes again to it, and to nobody else."""
    return structs.replace(settings, client_id=f"{settings.client_id}-{number}") if number else settings
