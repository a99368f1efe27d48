"""Our own MQTT endpoint: its addresses, its clients by name, what is said for those who were lost."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final, cast

import msgspec
import structlog

from tracker_protocols.json import JSON
from tracker_protocols.model import DeviceKey, Frame
from tracker_protocols.protocol import Transport
from tracker_server.config import Settings
from tracker_server.config_mqtt import Mqtt
from tracker_server.listeners.mqtt.connection import MqttConnection, will_frame
from tracker_server.listeners.mqtt.intake import owing
from tracker_server.listeners.payloads import Routes, Talk, fallback_of
from tracker_server.listeners.server import (
    BACKLOG,
    DRAIN_S_MAX,
    SWEEP_S,
    Common,
    ListenError,
    Listening,
    Shared,
    free,
    tls_context,
)
from tracker_server.mqtt.packets import Will
from tracker_server.mqtt.topics import has_wildcards
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.mqtt_book import Book, Mail
from tracker_server.pipeline.replay import NobodyListens
from tracker_server.pipeline.session import Session

log = structlog.get_logger(__name__)

ENDPOINT: Final = msgspec.structs.replace(
    JSON, name="mqtt", title="MQTT", port=1883, transports=(Transport.MQTT,)
)
"""What the metrics and the limits of all listeners call this one; each publish goes by its payload's protocol."""

WILL_DELAY_S_MAX: Final = 86_400
ANY: Final = "#"


class LastWords(NobodyListens):
    """The wire of a will: nobody hears the answer, but it says that the will is stored."""

    def __init__(self, stored: Callable[[], None]) -> None:
        self._stored = stored

    def send(self, *replies: bytes) -> None:
        self._stored()


class MqttShared(Shared):
    """What all clients of the endpoint share."""

    __slots__ = (
        "_subscribers",
        "_wills",
        "book",
        "clients",
        "lost",
        "on_ready",
        "refused",
        "routes",
        "settings",
    )

    def __init__(
        self,
        settings: Mqtt,
        ingest: Ingest,
        common: Common,
        book: Book,
        lost: Callable[[Iterable[DeviceKey]], None],
        on_ready: Callable[[], None],
    ) -> None:
        super().__init__(ENDPOINT, Transport.MQTT, ingest, common, proxy=settings.proxy_protocol)
        self.settings = settings
        self.book = book
        self.lost = lost
        self.on_ready = on_ready
        self._subscribers: dict[str, dict[MqttConnection, None]] = {}  # by topic; with wildcards: under ANY
        self.routes = Routes(settings.routes)
        self.clients: dict[str, MqttConnection] = {}
        self.refused = common.metrics.mqtt_refused
        self._wills: dict[str, tuple[float, asyncio.TimerHandle]] = {}  # not due: when their clients had come

    def replace(self, client: MqttConnection) -> None:
        """It has come; who came under the same name before is half-open, and its session goes on here."""
        old = self.clients.get(client.client_id)
        if old is not None:
            log.info("MQTT client reconnected", client=client.client_id)
            old.keep()
            self._displace(old)

    def came_elsewhere(self, client_id: str, at: float) -> None:
        """Another process has let in a client of this name: who came before under it is half-open, or comes back there."""
        old = self.clients.get(client_id)
        if old is not None and old.came_at < at:
            log.info("MQTT client reconnected to another process", client=client_id)
            self._displace(old)
        will = self._wills.get(client_id)
        if will is not None and will[0] < at:
            self._wills.pop(client_id)[1].cancel()

    def _displace(self, old: MqttConnection) -> None:
        del self.clients[old.client_id]
        self._strike(old, _names(old.filters))
        old.take_over()

    def enter(self, client: MqttConnection) -> None:
        """It is let in."""
        self.clients[client.client_id] = client
        if self.ingest.tell_others is not None:
            self.ingest.tell_others(ENDPOINT.name, client.client_id, client.came_at)
        if client.filters:
            self.subscribed(client)

    def leave(self, client: MqttConnection) -> bool:
        """Its connection has ended; False: it has come again before."""
        if self.clients.get(client.client_id) is not client:
            return False
        del self.clients[client.client_id]
        self._strike(client, _names(client.filters))
        return True

    def subscribed(self, client: MqttConnection) -> None:
        """It has filters, perhaps new ones: commands may wait for it."""
        client.subscribed_at = client.heard_at
        for name in _names(client.filters):
            self._subscribers.setdefault(name, {})[client] = None
        self.on_ready()

    def unsubscribed(self, client: MqttConnection, patterns: Iterable[str]) -> None:
        """It has these filters no longer."""
        left = _names(client.filters)
        self._strike(client, _names(patterns) - left)

    def _strike(self, client: MqttConnection, names: Iterable[str]) -> None:
        for name in names:
            here = self._subscribers.get(name, {})
            here.pop(client, None)
            if not here:
                self._subscribers.pop(name, None)

    def subscriber(self, mail: Mail) -> MqttConnection | None:
        """The client that came last of those that may have it."""
        for name in (mail.topic, ANY):
            for client in reversed(self._subscribers.get(name, {})):
                if client.may_have(mail):
                    return client
        return None

    def will(self, client: MqttConnection, will: Will) -> None:
        """A client was lost: say what it wished to be said, unless it comes back before that is due."""
        delay_s = min(will.delay_s, WILL_DELAY_S_MAX)
        earlier = self._wills.pop(client.client_id, None)
        if earlier is not None:
            earlier[1].cancel()  # it came back before that was due
        assert client.session is not None
        remote = client.session.remote
        if delay_s:
            due = self.loop.call_later(delay_s, self._say, client, will, remote)
            self._wills[client.client_id] = client.came_at, due
        else:
            self._say(client, will, remote)

    def _say(self, client: MqttConnection, will: Will, remote: str) -> None:
        self._wills.pop(client.client_id, None)
        if self.stopping or client.client_id in self.clients:
            return
        now = datetime.now(UTC)
        who = client.who
        try:
            talk = Talk(self.routes, who, fallback_of(who))
            protocol, frame = will_frame(talk, will, fallback_of(who), now)
            if not all(m.device is None or self.book.may_speak(who, m.device) for m in frame.messages):
                return
            devices = {m.device for m in frame.messages if m.device is not None}
            words = LastWords(lambda: self.lost(devices))
            session = Session(protocol, self.transport, remote, words)
            frame = Frame(frame.data, owing(frame.messages, b"stored"))
            self.ingest.receive(session, [frame], now)
        except Exception:
            self.metrics.faults.inc()
            log.exception("a defect of ours lost a last will", client=client.client_id, topic=will.topic)

    def deliver(self, mail: Iterable[Mail]) -> None:
        """Commands have come: to those who are here and have subscribed."""
        for one in mail:
            for client in [*self._subscribers.get(one.topic, ()), *self._subscribers.get(ANY, ())]:
                client.fetch([one])


class MqttEndpoint:
    """Opens what the settings name. ``lost`` is told of devices whose last will is stored."""

    def __init__(
        self,
        settings: Settings,
        ingest: Ingest,
        common: Common,
        book: Book,
        lost: Callable[[Iterable[DeviceKey]], None] = lambda _: None,
        *,
        first: bool = True,
    ) -> None:
        """``first``: see ``Listeners``."""
        self._first = first
        self._several = settings.workers > 1
        self._lost = lost
        self.on_ready: Callable[[], None] = lambda: None
        self._mqtt = settings.mqtt
        self._ingest = ingest
        self._common = common
        self._book = book
        self._servers: list[asyncio.Server] = []
        self._shared: MqttShared | None = None
        self.open_addresses: list[Listening] = []

    async def open(self) -> None:
        """Listen. Raises ListenError."""
        from tracker_server.listeners.mqtt.websocket import WebSocketConnection

        mqtt = self._mqtt
        shared = self._shared = MqttShared(
            mqtt, self._ingest, self._common, self._book, self._lost, self.on_ready
        )
        self._book.on_mail = shared.deliver
        ways: list[tuple[str, str, int, Callable[[], MqttConnection], bool]] = [
            ("mqtt", "port", mqtt.port, lambda: MqttConnection(shared), False),
            ("mqtts", "tls_port", mqtt.tls_port, lambda: MqttConnection(shared), True),
            ("mqttws", "websocket_port", mqtt.websocket_port, lambda: WebSocketConnection(shared), False),
            ("mqttwss", "websocket_tls_port", mqtt.websocket_tls_port, lambda: WebSocketConnection(shared), True),
        ]  # fmt: skip
        hosts = [host.strip() for host in mqtt.host.split(",")]
        for name, key, port, make, tls in ways:
            if not port:
                continue
            try:
                if self._several and self._first:
                    for host in hosts:
                        await free(host, port, socket.SOCK_STREAM)
                context = mqtt_context(mqtt) if tls else None
                server = await asyncio.get_running_loop().create_server(
                    cast("Callable[[], asyncio.Protocol]", make),
                    hosts,
                    port,
                    ssl=context,
                    backlog=BACKLOG,
                    reuse_address=True,
                    reuse_port=self._several,
                )
            except (OSError, ssl.SSLError) as error:
                raise ListenError(
                    f"mqtt.{key}: {mqtt.host}:{port} cannot be opened: {error.strerror or error}; "
                    f"set mqtt.{key} to another port, or 0 for off"
                ) from None
            self._servers.append(server)
            self.open_addresses += [Listening(name, "tcp", host, port, tls) for host in hosts]

    def since(self, mail: Mail) -> float | None:
        """When the client that may have it has subscribed, or come back to a session in which it had."""
        client = self._shared.subscriber(mail) if self._shared is not None else None
        return None if client is None else client.subscribed_at

    def came_elsewhere(self, client_id: str, at: float) -> None:
        """A client has come to another process of the server, at this moment on the monotonic clock."""
        if self._shared is not None:
            self._shared.came_elsewhere(client_id, at)

    def topic(self, mail: Mail) -> str:
        """As the mail says."""
        return mail.topic

    def carry(self, mail: Mail) -> bool:
        """Send it to the client that may have it; False: its device will acknowledge it, and the book is told then."""
        client = self._shared.subscriber(mail) if self._shared is not None else None
        if client is not None and not self._book.told(mail.id):
            client.fetch([mail])
        return False

    async def sweep(self) -> None:
        """Close the silent, for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            for connection in list(self._shared.connections) if self._shared else ():
                connection.sweep(now)

    def stop_reading(self) -> None:
        """Take nothing more in; what was read stays owed."""
        for server in self._servers:
            server.close()
        if self._shared:
            self._shared.stopping = True
            for connection in list(self._shared.connections):
                connection.finish("server stops")

    async def close(self) -> None:
        """After the last commit: wait until acknowledgements have gone out, then close what is left."""
        if self._shared is None:
            return
        answering = [connection.ended for connection in self._shared.connections]
        if answering:
            await asyncio.wait(answering, timeout=DRAIN_S_MAX)
        for connection in list(self._shared.connections):
            connection.close("server stops")


def _names(patterns: Iterable[str]) -> set[str]:
    """Under which names the subscriber of these filters is found."""
    return {ANY if has_wildcards(one) else one for one in patterns}


def mqtt_context(mqtt: Mqtt) -> ssl.SSLContext:
    """A TLS context that asks for a certificate where an authority for them is set, and lets who has none in."""
    context = tls_context(mqtt.tls_cert, mqtt.tls_key)
    assert context is not None
    if mqtt.client_ca:
        context.load_verify_locations(mqtt.client_ca)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context
