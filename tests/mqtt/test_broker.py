"""Behind a real Mosquitto: what was published while we were away, what nobody can read, and brokers of several kinds."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mqtt.clients import NEW, client
from tests.mqtt.test_endpoint import location, somebody, stored
from tests.mqtt.test_transports import Authority
from tests.servers.mosquitto import Mosquitto
from tests.servers.ports import free_port
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query

LEVEL_AT = 8  # of a short CONNECT: type and length, MQTT with its length, then the level
TOO_NEW = b"\x20\x02\x00\x01"  # 3.1.1's CONNACK: unacceptable protocol version


@contextmanager
def of_old(address: tuple[str, int]) -> Generator[int]:
    """A port where this broker speaks 3.1.1 and nothing newer."""
    door = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = [door]

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            one.close()

    def serve() -> None:
        while True:
            try:
                caller, _ = door.accept()
            except OSError:
                return
            hello = caller.recv(1_000)
            if hello[LEVEL_AT] != 4:
                caller.sendall(TOO_NEW)
                caller.close()
                continue
            broker = socket.create_connection(address)
            broker.sendall(hello)
            open_ones.extend((caller, broker))
            for pair in ((caller, broker), (broker, caller)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield door.getsockname()[1]
    finally:
        door.shutdown(socket.SHUT_RDWR)
        thread.join(30)
        for one in open_ones:
            one.close()


@pytest.fixture
def readable() -> Generator[Path]:
    """A folder that a broker can read that has dropped root."""
    with tempfile.TemporaryDirectory(prefix="tracker-certificates-") as folder:
        yield Path(folder)


def test_through_brokers(server: Servers, postgres_dsn: str, readable: Path) -> None:
    """One that speaks 3.1.1 only, and one over TLS that knows us by our certificate, where we share the work. What was
    published while we were away comes as we come back, and what comes twice is stored once.
    """
    readable.chmod(0o755)
    authority = Authority(readable)
    (cert, key), (our_cert, our_key) = authority.issue("localhost"), authority.issue("tracker-server")
    tls_port = free_port()
    broker = Mosquitto(
        f"listener {tls_port} 127.0.0.1\ncafile {authority.file}\ncertfile {cert}\nkeyfile {key}\n"
        "require_certificate true\nuse_identity_as_username true\n"
    )
    key.chmod(0o644)
    try:
        broker.launch()
        with of_old(broker.address) as old_port:
            settings = readable / "settings.toml"
            settings.write_text(
                f'[devices]\nunknown = "register"\n'
                f'[mqtt.broker]\nurl = "mqtt://127.0.0.1:{old_port}"\ntopics = "owntracks/#"\n'
                f'[mqtt.brokers.tls]\nurl = "mqtts://localhost:{tls_port}"\ntopics = "owntracks/#"\ngroup = "ours"\n'
                f'client_id = "second"\ntls_ca = "{authority.file}"\ntls_cert = "{our_cert}"\ntls_key = "{our_key}"\n'
            )
            _through(server({"config": settings}, dsn=postgres_dsn, protocols=[]), broker)
        told = (broker.home / "log").read_text()
        assert "as tracker-server (p2, c0" in told
        assert "as second (p5, c0" in told
        assert "u'tracker-server'" in told
    finally:
        broker.close()


def _through(running: Running, broker: Mosquitto) -> None:
    topic = f"owntracks/jane/{somebody()}"

    def wait_for(fixes: int) -> None:
        wait_until(f"{fixes} fixes", lambda: len(stored(running, topic)) == fixes, 60)

    with client(broker.address, version=NEW) as phone:
        wait_until("both", lambda: running.log.read_text().count('"subscribed"') == 2, 60)
        phone.publish(topic, location(0))
        wait_for(1)
        running.stop()
        for n in range(1, 6):
            phone.publish(topic, location(n))
        running.launch()
        wait_for(6)
        phone.publish(topic, "no JSON")
        wait_until("it to be kept", lambda: query(running.dsn, "SELECT 1 FROM core.quarantine"))
        wait_until("both again", lambda: running.log.read_text().count('"subscribed"') == 4, 60)
        assert len(stored(running, topic)) == 6
