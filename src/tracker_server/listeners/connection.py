"""What TCP and HTTP connections of devices have in common: a session, pauses, limits, an end."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast

import structlog

from tracker_protocols.model import Frame
from tracker_server.listeners.proxy_protocol import BadProxyHeaderError, read_header
from tracker_server.pipeline.session import Pause, Session

if TYPE_CHECKING:
    from tracker_server.listeners.server import Shared

log = structlog.get_logger(__name__)

RATE_WINDOW_S = 1.0
RATE_PAUSE_S_MAX = 10.0
SLICE_BYTES = 16_384  # what hostile bytes cost at most before others are served, in decoding
FRAME_IN_LOG_BYTES_MAX = 2_048


class Connection(asyncio.Protocol):
    """One stream of a device. Subclasses turn bytes into frames."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.transport: asyncio.Transport | None = None
        self.session: Session | None = None
        self.ended: asyncio.Future[None] = shared.loop.create_future()
        self.heard_at = 0.0  # of the last byte, on the loop's clock
        self.greeted = False  # something has come
        self._address = ""
        self._entered = False
        self._paused = Pause(0)
        self._finishing = ""
        self._proxy = b"" if shared.proxy_protocol else None
        self._noise = 0  # since the last frame
        self._window_begun = 0.0
        self._window_frames = 0

    @abstractmethod
    def frames_of(self, data: bytes, received_at: datetime) -> list[Frame]:
        """What these bytes complete. Anything it raises is a defect of ours."""

    def take_in(self, session: Session, frames: list[Frame], received_at: datetime) -> None:
        """Hand what ``frames_of`` answered to the pipeline."""
        self.shared.ingest.receive(session, frames, received_at)

    @property
    @abstractmethod
    def noise_bytes(self) -> int:
        """Bytes so far that belonged to no frame."""

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        shared = self.shared
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername") or ("local", 0)
        self._address = str(peer[0])
        self.heard_at = shared.loop.time()
        if shared.stopping or not shared.door.enter(self._address):
            self.transport.abort()
            return
        self._entered = True
        self._begin(f"{peer[0]}:{peer[1]}")

    def _begin(self, remote: str) -> None:
        shared = self.shared
        self.session = Session(shared.protocol.name, shared.transport, remote, self, shared.refusal)
        shared.connections.add(self)
        shared.metrics.connections.inc()
        if shared.traced is not None:
            traced = shared.traced(shared.protocol.name, self.frames_of)
            self.frames_of = traced  # pyright: ignore[reportAttributeAccessIssue]  (its parameters have no names)

    def data_received(self, data: bytes) -> None:
        shared = self.shared
        session = self.session
        if session is None:
            return
        self.heard_at = now = shared.loop.time()
        self.greeted = True
        shared.metrics.received_bytes.inc(len(data))
        if self._proxy is not None:
            data = self._read_proxy_header(data)
            if not data:
                return
        for at in range(0, len(data), SLICE_BYTES):
            if not self._read(session, data[at : at + SLICE_BYTES], now):
                return

    def _read(self, session: Session, data: bytes, now: float) -> bool:
        """Take in a piece that is small enough not to hold up other devices; False: the connection is over."""
        shared = self.shared
        noise = self.noise_bytes
        try:
            frames = self.frames_of(data, received_at := datetime.now(UTC))
            if frames:
                shared.metrics.frames.inc(len(frames))
                self.take_in(session, frames, received_at)
        except Exception:  # noqa: BLE001  (a defect of ours costs one connection)
            self._fault(data)
            return False
        if self.noise_bytes != noise:
            shared.metrics.noise_bytes.inc(self.noise_bytes - noise)
            self._noise = self._noise + self.noise_bytes - noise if not frames else 0
            if self._noise > shared.limits.noise_bytes_max:
                self.close("noise")
                return False
        self._meter(now, len(frames))
        return True

    def eof_received(self) -> bool:
        """The device has said all that it wants to say; it may still wait for answers."""
        self.finish("closed by device")
        return self.transport is not None and self.transport.get_extra_info("sslcontext") is None

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        if not self._entered:
            return
        shared = self.shared
        shared.door.leave(self._address)
        shared.connections.discard(self)
        shared.metrics.connections.dec()
        reason = self._finishing or ("lost" if exc else "closed by device")
        shared.closed.labels(reason).inc()
        if self.session is not None:
            shared.ingest.forget(self.session)
            log.debug(
                "connection ended", device=self.session.device, remote=self.session.remote, reason=reason
            )
            # It points back here: the two would stay until the collector comes, which is seldom.
            self.session = None

    def pause_writing(self) -> None:
        """A device that does not read its answers is not read either."""
        self.pause(Pause.UNANSWERED)

    def resume_writing(self) -> None:
        self.resume(Pause.UNANSWERED)

    # ------------------------------------------------------------------ Wire

    def send(self, *replies: bytes) -> None:
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(replies[0] if len(replies) == 1 else b"".join(replies))
        if self._finishing:
            self._close_when_answered()

    def pause(self, why: Pause) -> None:
        if not self._paused and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self._paused |= why

    def resume(self, why: Pause) -> None:
        was, self._paused = self._paused, self._paused & ~why
        if was and not self._paused and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    def finish(self, reason: str) -> None:
        if not self._finishing:
            self._finishing = reason
            self.pause(Pause.CLOSING)
        self._close_when_answered()

    def _close_when_answered(self) -> None:
        if self.transport is not None and (self.session is None or not self.session.owed):
            self.transport.close()  # what is written still goes out

    def close(self, reason: str) -> None:
        """Close now; answers still owed are not sent, so the device keeps its copy."""
        self._finishing = self._finishing or reason
        if self.transport is not None:
            self.transport.abort()

    # ------------------------------------------------------------------ limits

    def _meter(self, now: float, frames: int) -> None:
        """Above its frames a second a device is read later, not less."""
        if now - self._window_begun >= RATE_WINDOW_S:
            self._window_begun, self._window_frames = now, 0
        self._window_frames += frames
        if self._window_frames > self.shared.limits.messages_per_second_max and not self._paused & Pause.RATE:
            seconds = self._window_frames / self.shared.limits.messages_per_second_max * RATE_WINDOW_S
            self.pause(Pause.RATE)
            at = self._window_begun + min(seconds, RATE_PAUSE_S_MAX)
            self.shared.loop.call_at(at, self.resume, Pause.RATE)

    def sweep(self, now: float) -> None:
        """Close what has been silent for too long. A paused connection is silent by our doing."""
        if self._paused:
            self.heard_at = now
            return
        silent_s = now - self.heard_at
        if silent_s > self.shared.limits.idle_s:
            self.close("idle")
        elif not self.greeted and silent_s > self.shared.limits.login_s:
            self.close("never spoke")

    # ------------------------------------------------------------------ rare ways

    def _read_proxy_header(self, data: bytes) -> bytes:
        assert self._proxy is not None
        self._proxy += data
        try:
            caller = read_header(self._proxy)
        except BadProxyHeaderError as error:
            log.warning("no PROXY header", remote=self._address, error=str(error))
            self.close("no PROXY header")
            return b""
        if caller is None:
            return b""
        rest, self._proxy = self._proxy[caller.size :], None
        if caller.address is not None and self.session is not None:
            self.session.remote = f"{caller.address}:{caller.port}"
            self.shared.door.leave(self._address)
            self._address = caller.address
            if not self.shared.door.enter(self._address):
                self._entered = False
                self.shared.connections.discard(self)
                self.shared.metrics.connections.dec()
                self.close("full")
                return b""
        return rest

    def _fault(self, data: bytes) -> None:
        """A defect of ours, met while serving one device: it costs this connection and nothing else."""
        session = self.session
        self.shared.metrics.faults.inc()
        log.exception(  # noqa: LOG004  (called from the handler above)
            "a defect of ours closed a connection",
            device=session.device if session else None,
            protocol=self.shared.protocol.name,
            remote=session.remote if session else self._address,
            data=data[:FRAME_IN_LOG_BYTES_MAX].hex(),
        )
        self.close("fault")
