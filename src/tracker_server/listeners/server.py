"""All listening sockets of a server: opened together, swept for the silent, drained together."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from msgspec import Struct
from prometheus_client import Counter

from tracker_protocols import BY_NAME
from tracker_protocols.model import Frame
from tracker_protocols.protocol import Protocol, Transport
from tracker_server.config import Limits, Listener, Settings
from tracker_server.listeners.door import Door
from tracker_server.metrics import Metrics, ProtocolMetrics
from tracker_server.pipeline.ingest import Ingest

if TYPE_CHECKING:
    from tracker_server.listeners.connection import Connection
    from tracker_server.listeners.udp import UdpListener

SWEEP_S = 5.0
BACKLOG = 4_096  # devices that knock at the same moment after an outage of the carrier
DRAIN_S_MAX = 20.0
FREE_S_MAX = 15.0  # for processes of a server that was killed: they commit, answer and go
FREE_POLL_S = 0.2
UDP_BUFFER_BYTES = 8 * 1024 * 1024  # the kernel gives at most net.core.rmem_max


class ListenError(Exception):
    """An address cannot be listened on. The message names the setting."""


FramesOf = Callable[[bytes, datetime], list[Frame]]
Traced = Callable[[str, FramesOf], FramesOf]
"""A protocol's name and how its bytes become frames: the same, with somebody who looks on."""


class Shared:
    """What all connections of one protocol and transport share."""

    __slots__ = (
        "closed",
        "connections",
        "door",
        "ingest",
        "limits",
        "loop",
        "metrics",
        "protocol",
        "proxy_protocol",
        "refusal",
        "stopping",
        "traced",
        "transport",
    )

    def __init__(
        self, protocol: Protocol, transport: Transport, ingest: Ingest, common: Common, *, proxy: bool
    ) -> None:
        self.protocol = protocol
        self.transport = transport.value
        self.ingest = ingest
        self.limits: Limits = common.limits
        self.door = common.door
        self.metrics: ProtocolMetrics = common.metrics.of_protocol(protocol.name)
        self.closed: Counter = common.metrics.connections_closed
        self.proxy_protocol = proxy
        self.traced = common.traced
        self.refusal = b""
        self.connections: set[Connection] = set()
        self.loop = asyncio.get_running_loop()
        self.stopping = False


class Common(Struct):
    """What all listeners share."""

    limits: Limits
    door: Door
    metrics: Metrics
    traced: Traced | None = None


class Listening(Struct, frozen=True):
    """One open address."""

    protocol: str
    transport: str
    host: str
    port: int
    tls: bool


class Listeners:
    """Opens what the settings name."""

    def __init__(self, settings: Settings, ingest: Ingest, metrics: Metrics, *, first: bool = True) -> None:
        """``first``: no other process may have these ports open yet, but those of this server's that are just ending."""
        self._first = first
        limits = settings.limits
        door = Door(limits.connections_max, limits.connections_per_address_max, metrics)
        self._settings = settings
        self._ingest = ingest
        self.common = Common(limits, door, metrics)
        self._servers: list[asyncio.Server] = []
        self._udp: list[UdpListener] = []
        self._shared: list[Shared] = []
        self.open_addresses: list[Listening] = []

    def trace(self, traced: Traced) -> None:
        """Have somebody look on at the reading of frames; before ``open``."""
        self.common.traced = traced

    async def open(self) -> None:
        """Listen. Raises ListenError."""
        for name, listener in self._settings.listeners.items():
            if not listener.port:
                continue
            for transport in BY_NAME[name].transports:
                if transport is Transport.MQTT:
                    continue  # the endpoint and the brokers bring those
                try:
                    await self._open(BY_NAME[name], transport, listener)
                except (OSError, ssl.SSLError) as error:
                    raise ListenError(
                        f"listeners.{name}: {transport.value} {listener.host}:{listener.port} cannot be opened: "
                        f"{error.strerror or error}; set listeners.{name}.port to another port, or 0 for off"
                    ) from None

    async def _open(self, protocol: Protocol, transport: Transport, listener: Listener) -> None:
        from tracker_server.listeners.http import REFUSAL, HttpConnection
        from tracker_server.listeners.tcp import TcpConnection
        from tracker_server.listeners.udp import UdpListener

        loop = asyncio.get_running_loop()
        shared = Shared(protocol, transport, self._ingest, self.common, proxy=listener.proxy_protocol)
        self._shared.append(shared)
        hosts = [host.strip() for host in listener.host.split(",")]
        several = self._settings.workers > 1
        if several and self._first:
            kind = socket.SOCK_DGRAM if transport is Transport.UDP else socket.SOCK_STREAM
            for host in hosts:
                await free(host, listener.port, kind)
        if transport is Transport.UDP:
            for host in hosts:
                listening = udp_socket(host, listener.port, shared_port=several)
                _, udp = await loop.create_datagram_endpoint(lambda: UdpListener(shared), sock=listening)
                self._udp.append(udp)
        else:
            kind = HttpConnection if transport is Transport.HTTP else TcpConnection
            shared.refusal = REFUSAL if transport is Transport.HTTP else b""
            context = tls_context(listener.tls_cert, listener.tls_key)
            server = await loop.create_server(
                lambda: kind(shared),
                hosts,
                listener.port,
                ssl=context,
                backlog=BACKLOG,
                reuse_address=True,
                reuse_port=several,
            )
            self._servers.append(server)
        for host in hosts:
            tls = bool(listener.tls_cert) and transport is not Transport.UDP
            self.open_addresses.append(Listening(protocol.name, transport.value, host, listener.port, tls))

    async def sweep(self) -> None:
        """Close the silent, for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            for shared in self._shared:
                for connection in list(shared.connections):
                    connection.sweep(now)
            for udp in self._udp:
                udp.sweep(now)

    def stop_reading(self) -> None:
        """Take nothing more in; what was read stays owed."""
        for server in self._servers:
            server.close()
        for shared in self._shared:
            shared.stopping = True
            for connection in list(shared.connections):
                connection.finish("server stops")

    async def close(self) -> None:
        """After the last commit: wait until answers have gone out, then close what is left."""
        answering = [connection.ended for shared in self._shared for connection in shared.connections]
        if answering:
            await asyncio.wait(answering, timeout=DRAIN_S_MAX)
        for shared in self._shared:
            for connection in list(shared.connections):
                connection.close("server stops")
        for udp in self._udp:
            udp.close()


async def free(host: str, port: int, kind: socket.SocketKind) -> None:
    """Wait until nobody listens there. Where ports are shared, a second server would take half of the first one's
    devices without a word. Raises OSError.
    """
    until = asyncio.get_running_loop().time() + FREE_S_MAX
    while True:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as probe:
            if kind is socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if probe.family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE or asyncio.get_running_loop().time() > until:
                    raise
            else:
                return
        await asyncio.sleep(FREE_POLL_S)


def udp_socket(host: str, port: int, *, shared_port: bool = False) -> socket.socket:
    """A bound UDP socket with as much room for a burst as the system gives. ``shared_port``: other processes of ours
    listen there, too. Raises OSError.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if shared_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, UDP_BUFFER_BYTES)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind((host, port))
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def tls_context(cert: str, key: str) -> ssl.SSLContext | None:
    """A server's TLS context; None where there is no certificate."""
    if not cert:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context
