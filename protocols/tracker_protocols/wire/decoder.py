"""The frame of every decoder: bytes in, messages out; no socket, no clock, no look-up, no exception."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import ClassVar, Final
from urllib.parse import quote, unquote

from tracker_protocols.model import (
    BadFrame,
    DeviceKey,
    Frame,
    HttpRequest,
    Message,
    Reason,
    Reply,
    Undecoded,
)
from tracker_protocols.wire.framing import Framing

Decoded = Message | Sequence[Message]

UNREADABLE = (ValueError, IndexError, KeyError, OverflowError, ArithmeticError, struct.error)
"""What reading past a frame's end raises: it does not hold what it claims. struct.error is no ValueError."""

PUBLISH: Final = "PUBLISH"
"""The method of a request that came as an MQTT publish."""


class Decoder(ABC):
    """One device's conversation, as far as decoding needs to remember it.

    ``device`` is who the connection's login named; a decoder whose frames depend on it reads it here.
    ``noise_bytes`` counts what lay between frames and belonged to none.
    """

    name: ClassVar[str]

    def __init__(self, device: DeviceKey | None = None) -> None:
        self.device = device
        self.noise_bytes = 0

    @abstractmethod
    def decode_frame(self, frame: bytes, received_at: datetime) -> Decoded:
        """What one whole frame means. Raises BadFrame, and nothing else, where it means nothing."""

    def read_frame(self, frame: bytes, received_at: datetime) -> Frame:
        """``decode_frame`` with its refusals as values."""
        try:
            decoded = self.decode_frame(frame, received_at)
        except BadFrame as bad:
            return Frame(frame, (Undecoded(frame, bad.reason, bad.detail, self.device),))
        except UNREADABLE as error:
            return Frame(frame, (Undecoded(frame, Reason.MALFORMED, str(error)[:200], self.device),))
        return Frame(frame, tuple(decoded) if isinstance(decoded, list | tuple) else (decoded,))  # pyright: ignore[reportArgumentType]

    def receive_datagram(self, data: bytes, received_at: datetime) -> list[Frame]:
        """A payload that came whole (UDP): by default one frame."""
        return [self.read_frame(data, received_at)]

    def receive_publish(self, topic: str, payload: bytes, received_at: datetime) -> list[Frame]:
        """A payload that was published under a topic (MQTT): by default as a datagram, whatever the topic."""
        return self.receive_datagram(payload, received_at)


class StreamDecoder(Decoder):
    """A protocol over TCP: a framing, and what a frame means."""

    framing: ClassVar[Framing]

    def __init__(self, device: DeviceKey | None = None) -> None:
        super().__init__(device)
        self._buffer = b""

    def receive_data(self, data: bytes, received_at: datetime) -> list[Frame]:
        """All frames that these bytes complete. A frame's tail may wait here, at most ``framing.size_max``."""
        buffer = self._buffer + data if self._buffer else data
        at, end = 0, len(buffer)
        cut = self.framing.cut
        frames: list[Frame] = []
        while at < end:
            skip, size = cut(buffer, at)
            self.noise_bytes += skip
            at += skip
            if size:
                frames.append(self.read_frame(buffer[at : at + size], received_at))
                at += size
            elif not skip:
                break
        self._buffer = buffer[at:] if at < end else b""
        return frames

    def receive_publish(self, topic: str, payload: bytes, received_at: datetime) -> list[Frame]:
        """A gateway published what it read from a stream: it is cut as a stream is. What is no whole number of
        frames is one frame, as a datagram is; no payload waits for the next one.
        """
        noise_bytes = self.noise_bytes
        frames = self.receive_data(payload, received_at)
        if not self._buffer and self.noise_bytes == noise_bytes:
            return frames
        self._buffer = b""
        if not frames:
            return self.receive_datagram(payload, received_at)
        rest = Undecoded(payload, Reason.MALFORMED, "bytes that belong to no frame", self.device)
        return [*frames, Frame(payload, (rest,))]

    @property
    def waiting_bytes(self) -> int:
        """How much of an unfinished frame is held."""
        return len(self._buffer)


class HttpDecoder(Decoder):
    """A protocol over HTTP: each request is a frame of its own and is always answered."""

    @abstractmethod
    def decode_request(self, request: HttpRequest, received_at: datetime) -> Decoded:
        """What one request means; the last message carries the answer. Raises BadFrame."""

    def read_request(self, request: HttpRequest, received_at: datetime) -> Frame:
        """``decode_request`` with its refusals as values, answered 400."""
        raw = request_bytes(request)
        try:
            decoded = self.decode_request(request, received_at)
        except BadFrame as bad:
            return Frame(raw, (_refused(raw, bad.reason, bad.detail),))
        except UNREADABLE as error:
            return Frame(raw, (_refused(raw, Reason.MALFORMED, str(error)[:200]),))
        return Frame(raw, tuple(decoded) if isinstance(decoded, list | tuple) else (decoded,))  # pyright: ignore[reportArgumentType]

    def receive_publish(self, topic: str, payload: bytes, received_at: datetime) -> list[Frame]:
        """A publish is a request of the method PUBLISH, whose target is the topic."""
        return [self.read_request(HttpRequest(PUBLISH, target_of(topic), {}, payload), received_at)]

    def decode_frame(self, frame: bytes, received_at: datetime) -> Decoded:
        """A request as ``request_bytes`` wrote it: for frames kept in quarantine."""
        return self.decode_request(request_from_bytes(frame), received_at)


def target_of(topic: str) -> str:
    """A topic as a request's target: a space would end it, and it is kept as ISO 8859-1."""
    plain = topic.isascii() and " " not in topic and "%" not in topic and "?" not in topic
    return topic if plain else quote(topic)


def topic_of(target: str) -> str:
    """The reverse of ``target_of``."""
    return unquote(target) if "%" in target else target


def _refused(raw: bytes, reason: Reason, detail: str) -> Undecoded:
    return Undecoded(raw, reason, detail, None, Reply(f"{reason.value}: {detail}\n".encode(), 400))


def request_bytes(request: HttpRequest) -> bytes:
    """The request as HTTP/1.1 text, to be kept where a frame is kept."""
    if not request.headers:
        head_only = f"{request.method} {request.target} HTTP/1.1\r\n\r\n"
        return head_only.encode("latin-1", "replace") + request.body
    head = [f"{request.method} {request.target} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + request.body


def request_from_bytes(raw: bytes) -> HttpRequest:
    """The reverse of ``request_bytes``."""
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    try:
        method, target, _ = first.split(" ")
    except ValueError:
        raise BadFrame(Reason.MALFORMED, "no HTTP request line") from None
    return HttpRequest(method, target, _headers(lines), body)


def _headers(lines: Iterable[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
