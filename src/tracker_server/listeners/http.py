"""HTTP for devices (OsmAnd and friends): small requests, answered in order, after the commit."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus

import httptools
import msgspec

from tracker_protocols.model import Frame, Heartbeat, HttpRequest, Message, Reply
from tracker_protocols.wire.decoder import HttpDecoder
from tracker_server.listeners.connection import Connection
from tracker_server.listeners.server import Shared

HEADER_BYTES_MAX = 16_384
HEADERS_MAX = 100


def response(status: int, body: bytes = b"", *, close: bool = False) -> bytes:
    """A whole HTTP/1.1 response."""
    connection = "Connection: close\r\n" if close else ""
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: text/plain; charset=utf-8\r\n{connection}\r\n"
    )
    return head.encode() + body


REFUSAL = response(
    HTTPStatus.SERVICE_UNAVAILABLE, b"the quarantine is full: ask the operator to add this device\n"
)


class HttpConnection(Connection):
    """One device's connection, which may carry many requests."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        decoder = shared.protocol.decoder()
        assert isinstance(decoder, HttpDecoder)
        self._decoder = decoder
        self._parser = httptools.HttpRequestParser(self)
        self._requests: list[tuple[HttpRequest, bool]] = []
        self._start()

    @property
    def noise_bytes(self) -> int:
        return 0

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        del self._parser  # it calls back here, and needs the collector to be freed with us

    def frames_of(self, data: bytes, received_at: datetime) -> list[Frame]:
        try:
            self._parser.feed_data(data)
        except TooMuchError as error:
            return self._refuse(error.status, f"{error}\n")
        except httptools.HttpParserUpgrade:
            return self._refuse(HTTPStatus.NOT_IMPLEMENTED, "no upgrade is offered here\n")
        except httptools.HttpParserCallbackError as error:
            if isinstance(error.__context__, TooMuchError):
                return self._refuse(error.__context__.status, f"{error.__context__}\n")
            raise
        except httptools.HttpParserError as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, f"not HTTP: {error}\n")
        requests, self._requests = self._requests, []
        frames = [self._frame(request, received_at, keep) for request, keep in requests]
        if requests and not requests[-1][1]:
            self.shared.loop.call_soon(self.finish, "closed by device")
        return frames

    def _frame(self, request: HttpRequest, received_at: datetime, keep_alive: bool) -> Frame:  # noqa: FBT001
        """The request's frame with each reply written out as a response, so that a session need not know HTTP."""
        frame = self._decoder.read_request(request, received_at)
        *others, last = frame.messages or (Heartbeat(),)
        reply = last.reply or Reply(b"")
        written = Reply(response(reply.status, reply.data, close=not keep_alive), reply.status)
        messages: list[Message] = [msgspec.structs.replace(message, reply=None) for message in others]
        return Frame(frame.data, (*messages, msgspec.structs.replace(last, reply=written)))

    def _refuse(self, status: int, sentence: str) -> list[Frame]:
        self.send(response(status, sentence.encode(), close=True))
        self.finish("bad request")
        return []

    # ------------------------------------------------------------------ httptools' callbacks

    def _start(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._header_bytes = 0
        self._body = bytearray()

    def on_message_begin(self) -> None:
        """A request begins."""
        self._start()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        self._count(len(name) + len(value))
        if len(self._headers) > HEADERS_MAX:
            raise TooMuchError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {HEADERS_MAX} headers")

    def on_headers_complete(self) -> None:
        """The body follows; a client that asks first is told to go on."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body += body
        if len(self._body) > self.shared.limits.http_body_bytes_max:
            limit = self.shared.limits.http_body_bytes_max
            raise TooMuchError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {limit} bytes")

    def on_message_complete(self) -> None:
        """A request is whole."""
        method = self._parser.get_method().decode("ascii")
        request = HttpRequest(method, self._target.decode("latin-1"), self._headers, bytes(self._body))
        self._requests.append((request, self._parser.should_keep_alive()))

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_BYTES_MAX:
            raise TooMuchError(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"target and headers are longer than {HEADER_BYTES_MAX} bytes",
            )


class TooMuchError(Exception):
    """A request beyond a limit."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
