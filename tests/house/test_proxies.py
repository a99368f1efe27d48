"""The web servers of docs/howto/tls-and-proxies.md, with the page's own lines before a running server."""

from __future__ import annotations

import json
import os
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
CADDY = re.search(r"^Caddy passes .*?:\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAME = "tracking.example.org"
SITE = f"https://{NAME}"
LIMIT_S = 60


def nginx(port: int, api: str, folder: Path) -> list[str]:
    """The page's lines, on this port and with these certificates."""
    assert NGINX
    text = NGINX[1].replace("listen 443", f"listen 127.0.0.1:{port}")
    text = text.replace("/etc/ssl/tracking/fullchain.pem", str(folder / "cert.pem"))
    text = text.replace("/etc/ssl/tracking/privkey.pem", str(folder / "key.pem"))
    text = text.replace("http://127.0.0.1:8082", api)
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
    return ["nginx", "-e", str(folder / "error.log"), "-c", str(file)]


def caddy(port: int, api: str, folder: Path) -> list[str]:
    """The page's lines; a certificate of ours stands for the one that it would fetch."""
    assert CADDY
    head = f"{NAME} {{\n"
    assert CADDY[1].startswith(head)
    text = CADDY[1].replace(
        head,
        f"https://{NAME}:{port} {{\n    bind 127.0.0.1\n    tls {folder / 'cert.pem'} {folder / 'key.pem'}\n",
    )
    text = text.replace("127.0.0.1:8082", api.removeprefix("http://"))
    assert ":8082" not in text
    file = folder / "Caddyfile"
    file.write_text(f"{{\n    admin off\n    auto_https disable_redirects\n}}\n{text}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)]


CONFIGURED = {"nginx": nginx, "caddy": caddy}
PACKAGES = {"nginx": "nginx-light", "caddy": "caddy"}


class Front:
    """A web server before ours: its port, and what a client must trust."""

    def __init__(self, name: str, running: Running, folder: Path) -> None:
        self.running = running
        self.port = free_port()
        _, self.authority = certificate(folder)
        self.trust = ssl.create_default_context(cafile=self.authority)
        command = CONFIGURED[name](self.port, running.api, folder)
        home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        with (folder / "said").open("w") as said:
            self.process = subprocess.Popen(
                command, env=os.environ | home, stdin=subprocess.DEVNULL, stdout=said, stderr=said
            )
        wait_until(name, self._is_there, 60)

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


@pytest.fixture(params=CONFIGURED)
def front(
    request: pytest.FixtureRequest, server: Servers, postgres_dsn: str, tmp_path: Path
) -> Generator[Front]:
    name: str = request.param
    if shutil.which(name) is None:
        missing(name, f"install the package {PACKAGES[name]}")
    settings = {"api.public_url": SITE, "api.proxies": "127.0.0.1,::1"}
    running = server(settings, dsn=postgres_dsn, protocols=["osmand"])
    front = Front(name, running, tmp_path)
    yield front
    front.close()


def test_page_api_and_socket_through_a_web_server(front: Front) -> None:
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
