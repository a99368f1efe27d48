"""uvicorn in our own loop: no signals of its own, no logs of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tracker_server.config import Api

BACKLOG = 1_024
HEAD_BYTES_MAX = 65_536  # request line and headers; browsers and proxies stay below a tenth of it
TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: 31\r\n\r\nthe request's head is too long\n"
)
WISH_BYTES_MAX = 4_096  # of one message that a socket's client sends


class ApiServer(uvicorn.Server):
    """Stops when it is told to, not at a signal: the server drains its devices first."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    def stop(self) -> None:
        """End ``serve_on``."""
        self.should_exit = True

    async def serve_on(self, listening: list[socket.socket]) -> None:
        """Serve on open sockets until ``stop``."""
        await self.serve(sockets=listening)


class LimitedHttp(HttpToolsProtocol):
    """Uvicorn's own, which reads headers without end, with an end."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A client called."""
        super().connection_made(transport)
        self._head_bytes = 0
        self._in_head = True

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_bytes = 0
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """What comes now is a body."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Refuse a head that goes on for too long; one that ends in the piece in which it began was no burden."""
        going_on = self._in_head
        super().data_received(data)
        if going_on and self._in_head and self.parser is not None and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self.transport.write(TOO_LONG)
                self.transport.close()


def make_server(app: ASGIApp, api: Api) -> ApiServer:
    """A server of this application, with TLS where the settings name a certificate."""
    return ApiServer(
        uvicorn.Config(
            app,
            loop="none",
            http=LimitedHttp,
            lifespan="off",
            log_config=None,
            access_log=False,
            ws="websockets-sansio",
            ws_per_message_deflate=False,  # a window of compression for each of thousands of sockets costs more than bytes
            ws_max_size=WISH_BYTES_MAX,
            server_header=False,
            timeout_graceful_shutdown=5,
            forwarded_allow_ips=api.proxies,
            ssl_certfile=api.tls_cert or None,
            ssl_keyfile=api.tls_key or None,
        )
    )


def open_sockets(api: Api) -> list[socket.socket]:
    """Listen on each of the hosts that ``api.host`` names. Raises OSError."""
    opened: list[socket.socket] = []
    for host in (host.strip() for host in api.host.split(",")):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listening.bind((host, api.port))
        except OSError:
            listening.close()
            raise
        listening.listen(BACKLOG)
        listening.setblocking(False)
        opened.append(listening)
    return opened
