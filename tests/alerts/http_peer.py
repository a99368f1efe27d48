"""An HTTP server on loopback that answers as it is told and keeps what it was sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class HttpPeer:
    """``answers``: status and body of the next requests; afterwards 200 and nothing. ``asked``: all requests; ``taken``:
    the idempotency keys of those that were told so.
    """

    def __init__(self) -> None:
        peer = self
        self.answers: list[tuple[int, str]] = []
        self.headers: dict[str, str] = {}
        self.hang_s = 0.0
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.taken: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(size)
                if len(body) < size:
                    return  # whoever asked has died in the middle
                peer.asked.append((self.command, self.path, dict(self.headers), body))
                time.sleep(peer.hang_s)
                status, text = peer.answers.pop(0) if peer.answers else (200, "")
                if status < 300:
                    peer.taken.append(self.headers.get("Idempotency-Key", ""))
                self.send_response(status)
                for name, value in peer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                return

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                return  # whoever gave up waiting is gone

        self.server = Quiet(("127.0.0.1", 0), Handler)
        self.port = self.server.server_port

    @contextmanager
    def running(self) -> Generator[HttpPeer]:
        thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()
