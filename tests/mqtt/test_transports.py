"""TLS with certificates as identities, WebSocket, and a tracker that is hidden and notices nothing."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.talk import talking
from tests.mqtt.clients import NEW, OLD, Client, client
from tests.mqtt.test_endpoint import location, somebody, stored
from tests.servers.ports import free_port
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Running, Servers
from tracker_server.mqtt import packets
from tracker_server.mqtt.codes import Code
from tracker_server.mqtt.packets import Connect, Publish


class Authority:
    """Signs certificates for names, all in one folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.file = self._write("ca", self._sign("test authority", self._key, ca=True), self._key)[0]

    def issue(self, name: str) -> tuple[Path, Path]:
        """The files of a certificate and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        return self._write(name, self._sign(name, key, ca=False), key)

    def _sign(self, name: str, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def _write(
        self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> tuple[Path, Path]:
        cert_file, key_file = self.home / f"{name}.pem", self.home / f"{name}.key"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert_file, key_file


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def running(postgres_server: SharedPostgres, authority: Authority) -> Generator[Running]:
    cert, key = authority.issue("localhost")
    settings = {
        "devices.unknown": "register",
        "mqtt.tls_port": free_port(),
        "mqtt.websocket_port": free_port(),
        "mqtt.websocket_tls_port": free_port(),
        "mqtt.tls_cert": cert,
        "mqtt.tls_key": key,
        "mqtt.client_ca": authority.file,
    }
    servers = Servers()
    with postgres_server.database() as dsn:
        yield servers(settings, dsn=dsn, protocols=["mqtt"])
        servers.close()


def over_tls(running: Running, authority: Authority, name: str | None, **more: Any) -> Client:
    _, port = running.addresses[more.pop("over", "mqtts")]
    one = Client(("localhost", port), version=NEW, **more)
    cert, key = authority.issue(name) if name else (None, None)
    one.paho.tls_set(
        ca_certs=str(authority.file),
        certfile=cert and str(cert),
        keyfile=key and str(key),
        cert_reqs=ssl.CERT_REQUIRED,
    )
    return one


def test_a_certificate_is_an_identity(running: Running, authority: Authority) -> None:
    name = somebody()
    device = over_tls(running, authority, name).connect()
    assert device.publish("some/topic", '{"lat": 52.1, "lon": 21.0}') == 0
    assert len(stored(running, name)) == 1
    assert device.publish("owntracks/jane/phone", location(1)) == Code.NOT_AUTHORIZED
    device.close()


def test_tls_without_a_certificate(running: Running, authority: Authority) -> None:
    topic = f"owntracks/jane/{somebody()}"
    phone = over_tls(running, authority, None).connect()
    assert phone.publish(topic, location(1), 2) == 0
    phone.close()
    assert len(stored(running, topic)) == 1


@pytest.mark.parametrize("version", [OLD, NEW], ids=["3.1.1", "5"])
def test_over_websocket(running: Running, version: Any) -> None:
    topic = f"owntracks/jane/{somebody()}"
    with client(running.addresses["mqttws"], version=version, transport="websockets") as phone:
        for n in range(5):
            assert phone.publish(topic, location(n, filler="x" * 300 * n), 1 + n % 2) == 0
    assert len(stored(running, topic)) == 5


def test_over_websocket_and_tls(running: Running, authority: Authority) -> None:
    topic = f"owntracks/jane/{somebody()}"
    phone = over_tls(running, authority, None, over="mqttwss", transport="websockets").connect()
    assert phone.publish(topic, location(1)) == 0
    phone.close()
    assert len(stored(running, topic)) == 1


def test_websocket_without_the_subprotocol(running: Running) -> None:
    ask = b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    ask += b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    with talking(running.addresses["mqttws"]) as talk:
        talk.send(ask)
        assert talk.rest().startswith(b"HTTP/1.1 400")


def test_a_hidden_tracker_notices_nothing(running: Running) -> None:
    """The same bytes, hidden or not; and all of it is there when it is shown again."""
    topic = f"owntracks/jane/{somebody()}"

    def conversation(first: int) -> bytes:
        with talking(running.addresses["mqtt"]) as talk:
            talk.send(packets.connect(Connect(5, "phone", clean=True, keep_alive_s=60)))
            for n in range(5):
                talk.send(packets.publish(5, Publish(topic, location(first + n).encode(), 1 + n % 2, n + 1)))
                talk.send(packets.PINGREQ)
            talk.send(packets.publish(5, Publish(topic, b"no JSON", 1, 6)))
            talk.send(packets.GOODBYE)
            return talk.rest()

    shown = conversation(0)
    assert len(stored(running, topic)) == 5
    assert running.cli("device", "hold", topic, "--reason", "unpaid").returncode == 0
    hidden = conversation(5)
    assert sorted(hidden) == sorted(shown)
    assert len(stored(running, topic)) == 10
    seen = running.cli("positions", topic, "--format", "json").stdout
    assert '"latitude"' not in seen
    assert running.cli("device", "release", topic).returncode == 0
    assert running.cli("positions", topic, "--format", "json").stdout.count('"latitude"') == 10
