"""uvicorn in our own loop: no signals of its own, no logs of its own."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from tracker_server.config import Api

BACKLOG = 1_024
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


def make_server(app: Starlette, api: Api) -> ApiServer:
    """A server of this application, with TLS where the settings name a certificate."""
    return ApiServer(
        uvicorn.Config(
            app,
            loop="none",
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
