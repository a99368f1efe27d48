"""The web server of docs/howto/tls-and-proxies.md, with the page's own lines before a running server."""

from __future__ import annotations

import json
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest
from websockets import Origin
from websockets.sync.client import connect

from tests.notify.mail_server import certificate
from tests.servers.ports import free_port
from tests.servers.serve import Running, Servers
from tests.servers.waiting import missing, wait_until

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "tls-and-proxies.md").read_text()
NGINX = re.search(r"^nginx:\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAME = "tracking.example.org"
SITE = f"https://{NAME}"
LIMIT_S = 60


class Front:
    """nginx before a server: its port, and what a client must trust."""

    def __init__(self, running: Running, folder: Path) -> None:
        assert NGINX
        self.running = running
        self.port = free_port()
        _, self.authority = certificate(folder)
        self.trust = ssl.create_default_context(cafile=self.authority)
        text = NGINX[1].replace("listen 443", f"listen 127.0.0.1:{self.port}")
        text = text.replace("/etc/ssl/tracking/fullchain.pem", str(folder / "cert.pem"))
        text = text.replace("/etc/ssl/tracking/privkey.pem", str(folder / "key.pem"))
        text = text.replace("http://127.0.0.1:8082", running.api)
        assert "/etc/ssl" not in text
        assert ":8082" not in text
        places = "".join(
            f"{name}_temp_path {folder / name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = folder / "nginx.conf"
        file.write_text(
            f"daemon off; pid {folder / 'pid'}; error_log {folder / 'error.log'};\n"
            f"events {{}}\nhttp {{ access_log off;\n{places}{text}}}\n"
        )
        command = ["nginx", "-e", folder / "error.log", "-c", file]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until("nginx", self._is_there, 60)

    def _is_there(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def client(self) -> httpx.Client:
        """A browser at the site's name."""
        told = {"Host": NAME, "Origin": SITE}
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.port}", verify=self.trust, headers=told, timeout=LIMIT_S
        )

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(LIMIT_S)


@pytest.fixture
def front(server: Servers, postgres_dsn: str, tmp_path: Path) -> Generator[Front]:
    if shutil.which("nginx") is None:
        missing("nginx", "install the package nginx-light")
    settings = {"api.public_url": SITE, "api.proxies": "127.0.0.1,::1"}
    running = server(settings, dsn=postgres_dsn, protocols=["osmand"])
    front = Front(running, tmp_path)
    yield front
    front.close()


def test_page_api_and_socket_through_nginx(front: Front) -> None:
    for words in (
        ("device", "add", "phone"),
        ("user", "add", "op@example.com", "--role", "admin", "--password-stdin"),
    ):
        done = front.running.cli(*words, stdin="correct horse\n")
        assert done.returncode == 0, done.stderr
    with front.client() as browser:
        assert browser.get("/metrics").status_code == 403
        assert browser.get("/").status_code == 200
        form = {"email": "op@example.com", "password": "correct horse"}
        signed_in = browser.post("/api/session", data=form)
        assert signed_in.status_code == 200, signed_in.text
        cookie = signed_in.headers["set-cookie"]
        assert "Secure" in cookie
        assert (
            browser.post(
                "/api/session", data=form, headers={"Origin": "https://elsewhere.example"}
            ).status_code
            == 403
        )
    with (
        socket.create_connection(("127.0.0.1", front.port), LIMIT_S) as wire,
        connect(
            f"wss://{NAME}/api/socket", sock=wire, ssl=front.trust, server_hostname="127.0.0.1", origin=Origin(SITE),
            additional_headers={"Cookie": cookie.partition(";")[0]}, open_timeout=LIMIT_S,
        ) as heard,
    ):  # fmt: skip
        assert json.loads(heard.recv(LIMIT_S)) == {"positions": []}
        host, port = front.running.addresses["osmand"]
        asked = {"id": "phone", "lat": 41.6, "lon": 2.3, "timestamp": 1767600000}
        assert httpx.get(f"http://{host}:{port}/", params=asked, timeout=LIMIT_S).status_code == 200
        while "positions" not in (told := json.loads(heard.recv(LIMIT_S))):
            pass
        assert told["positions"][0]["latitude"] == 41.6
