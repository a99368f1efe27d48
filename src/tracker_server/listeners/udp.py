"""UDP: each datagram is whole. What cannot be taken is counted and dropped, as UDP's senders expect."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import cast

import structlog

from tracker_server.listeners.connection import FRAME_IN_LOG_BYTES_MAX
from tracker_server.listeners.server import Shared
from tracker_server.pipeline.session import Pause, Session

log = structlog.get_logger(__name__)

Address = tuple[str, int]


class Peer:
    """One sender, remembered by its address: the wire below its session."""

    def __init__(self, listener: UdpListener, address: Address) -> None:
        self._listener = listener
        self._address = address
        self._paused = Pause(0)
        self.heard_at = 0.0
        shared = listener.shared
        receive = shared.protocol.decoder().receive_datagram
        self.frames_of = receive if shared.traced is None else shared.traced(shared.protocol.name, receive)
        self.session = Session(shared.protocol.name, shared.transport, f"{address[0]}:{address[1]}", self)

    @property
    def paused(self) -> bool:
        """Whether what it sends is dropped."""
        return bool(self._paused)

    def send(self, *replies: bytes) -> None:
        for reply in replies:
            self._listener.send(reply, self._address)

    def pause(self, why: Pause) -> None:
        self._paused |= why

    def resume(self, why: Pause) -> None:
        self._paused &= ~why

    def finish(self, reason: str) -> None:
        self.pause(Pause.CLOSING)


class UdpListener(asyncio.DatagramProtocol):
    """One protocol's UDP port."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._transport: asyncio.DatagramTransport | None = None
        self._peers: dict[Address, Peer] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        shared = self.shared
        peer = self._peers.get(addr) or self._welcome(addr)
        if peer is None or peer.paused or shared.stopping:
            shared.metrics.datagrams_dropped.inc()
            return
        peer.heard_at = shared.loop.time()
        shared.metrics.received_bytes.inc(len(data))
        try:
            frames = peer.frames_of(data, received_at := datetime.now(UTC))
            shared.metrics.frames.inc(len(frames))
            shared.ingest.receive(peer.session, frames, received_at)
        except Exception:
            shared.metrics.faults.inc()
            log.exception(
                "a defect of ours lost a datagram",
                protocol=shared.protocol.name,
                remote=peer.session.remote,
                data=data[:FRAME_IN_LOG_BYTES_MAX].hex(),
            )
            self._peers.pop(addr, None)

    def error_received(self, exc: Exception) -> None:
        log.debug("UDP error", protocol=self.shared.protocol.name, error=str(exc))

    def send(self, data: bytes, address: Address) -> None:
        """To one sender; a repeat of its question is answered again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, address)

    def sweep(self, now: float) -> None:
        """Forget senders that have been silent for too long."""
        silent = [
            a
            for a, p in self._peers.items()
            if now - p.heard_at > self.shared.limits.idle_s and not p.session.owed
        ]
        for address in silent:
            self.shared.ingest.forget(self._peers.pop(address).session)

    def close(self) -> None:
        """Listen no longer."""
        if self._transport is not None:
            self._transport.close()

    def _welcome(self, address: Address) -> Peer | None:
        if len(self._peers) >= self.shared.limits.udp_peers_max:
            return None
        peer = self._peers[address] = Peer(self, address)
        return peer
