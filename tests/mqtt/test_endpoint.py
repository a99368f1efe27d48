"""The endpoint with real clients: what is acknowledged is stored, and by its right name."""

from __future__ import annotations

import json
import socket
import subprocess
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.e2e.talk import device as speaker
from tests.e2e.talk import fixes
from tests.mqtt.clients import NEW, OLD, Client, client
from tests.servers.mosquitto import tool
from tests.servers.serve import Running
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_server.mqtt import packets
from tracker_server.mqtt.codes import Code, Kind
from tracker_server.mqtt.packets import Connect, Publish, Will

START = int(datetime(2026, 3, 1, 8, tzinfo=UTC).timestamp())


def location(n: int, **more: object) -> str:
    said = {
        "_type": "location",
        "tid": "jp",
        "tst": START + n,
        "lat": 52 + n / 10_000,
        "lon": 21.0,
        "vel": 36,
    }
    return json.dumps(said | more)


def somebody() -> str:
    return uuid.uuid4().hex[:12]


def stored(running: Running, unique_id: str) -> list[dict[str, Any]]:
    return query(
        running.dsn,
        "SELECT p.* FROM core.positions p JOIN core.devices d ON d.id = p.device_id WHERE d.unique_id = %s"
        " ORDER BY fixed_at",
        [unique_id],
    )


def told(running: Running, unique_id: str) -> list[dict[str, Any]]:
    return query(
        running.dsn,
        "SELECT t.* FROM core.telemetry t JOIN core.devices d ON d.id = t.device_id WHERE d.unique_id = %s",
        [unique_id],
    )


def events(running: Running, unique_id: str) -> list[str]:
    rows = query(
        running.dsn,
        "SELECT e.type FROM core.events e JOIN core.devices d ON d.id = e.device_id WHERE d.unique_id = %s",
        [unique_id],
    )
    return [row["type"] for row in rows]


@pytest.mark.parametrize("version", [OLD, NEW], ids=["3.1.1", "5"])
@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_acknowledged_is_stored(running: Running, version: MQTTProtocolVersion, qos: int) -> None:
    topic = f"owntracks/jane/{somebody()}"
    with client(running.addresses["mqtt"], version=version) as phone:
        for n in range(5):
            assert phone.publish(topic, location(n), qos) == 0
            assert len(stored(running, topic)) == n + 1
        assert phone.publish(topic, location(4), qos) == 0  # the same once more
    rows = stored(running, topic)
    assert len(rows) == 5
    assert {(row["protocol"], row["speed_mps"]) for row in rows} == {("owntracks", 10.0)}


def test_qos_0_is_stored_and_not_answered(running: Running) -> None:
    topic = f"owntracks/jane/{somebody()}"
    with client(running.addresses["mqtt"]) as phone:
        phone.publish(topic, location(1), 0)
        wait_until("it to be stored", lambda: stored(running, topic))


@pytest.mark.parametrize("version", ["311", "5"])
def test_mosquitto_pub(running: Running, version: str) -> None:
    host, port = running.addresses["mqtt"]
    name = somebody()
    done = subprocess.run(
        [tool("mosquitto_pub"), "-h", host, "-p", str(port), "-V", version, "-q", "1", "-i", name, "-t", "x/y",
         "-m", json.dumps({"lat": 52.1, "lon": 21.0, "timestamp": START})],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = stored(running, name)  # named by its client id
    assert row["protocol"] == "json"


async def test_aiomqtt(running: Running) -> None:
    import aiomqtt

    host, port = running.addresses["mqtt"]
    topic = f"owntracks/jane/{somebody()}"
    async with aiomqtt.Client(host, port, protocol=aiomqtt.ProtocolVersion.V5) as phone:
        for n in range(3):
            await phone.publish(topic, location(n), qos=2)
    assert len(stored(running, topic)) == 3


async def test_gmqtt(running: Running) -> None:
    import asyncio

    import gmqtt

    host, port = running.addresses["mqtt"]
    topic = f"owntracks/jane/{somebody()}"
    phone: Any = gmqtt.Client(somebody())
    await phone.connect(host, port)
    for n in range(3):
        phone.publish(topic, location(n), qos=1)
    await asyncio.to_thread(wait_until, "them to be stored", lambda: len(stored(running, topic)) == 3)
    await phone.disconnect()


def test_a_payload_that_means_nothing_is_kept_and_told(running: Running) -> None:
    name = somebody()
    with client(running.addresses["mqtt"], version=NEW, client_id=name) as phone:
        assert phone.publish("x/y", b"\x00\x01") == Code.PAYLOAD_INVALID
    rows = query(
        running.dsn, "SELECT reason, detail, transport FROM core.quarantine WHERE unique_id = %s", [name]
    )
    assert [(row["reason"], row["transport"]) for row in rows] in ([], [("undecoded", "mqtt")])
    assert query(
        running.dsn, "SELECT 1 FROM core.quarantine WHERE transport = 'mqtt' AND reason = 'undecoded'"
    )


@pytest.mark.parametrize("version", [OLD, NEW], ids=["3.1.1", "5"])
def test_a_binary_protocol_inside_a_payload(running: Running, version: MQTTProtocolVersion) -> None:
    """A gateway read a GT06 tracker's stream, and publishes what it read; the answers come back to it."""
    imei = f"3563070424410{version:02d}"
    gt06 = speaker("gt06", imei)
    login, report = gt06.login(), gt06.report(fixes(1))
    assert login is not None
    with client(running.addresses["mqtt"], version=version, client_id=somebody()) as gateway:
        gateway.subscribe(f"gw/{imei}/down")
        for outgoing in (login, report):
            assert gateway.publish(f"gw/{imei}/up", outgoing.data) == 0
        answers = [(f"gw/{imei}/down", outgoing.answer) for outgoing in (login, report) if outgoing.answer]
        wait_until("the answers", lambda: gateway.messages == answers)
        assert gateway.publish(f"gw/{imei}/up", login.data[:-3]) in {0, Code.PAYLOAD_INVALID}
    (row,) = stored(running, imei)
    assert row["protocol"] == "gt06"


def test_teltonika_under_its_own_topic(running: Running) -> None:
    imei = "352093089439473"
    said = {
        "state": {
            "reported": {"ts": (START + 9) * 1000, "latlng": "54.66,25.22", "sp": 36, "sat": 9, "239": 1}
        }
    }
    with client(running.addresses["mqtt"], client_id=somebody()) as tracker:
        tracker.subscribe(f"{imei}/commands")
        assert tracker.publish(f"{imei}/data", json.dumps(said)) == 0
        binary = speaker("teltonika", imei).report(fixes(1))
        assert tracker.publish(f"{imei}/data", binary.data) == 0
        wait_until("the answer", lambda: tracker.messages == [(f"{imei}/commands", binary.answer)])
    assert [row["protocol"] for row in stored(running, imei)] == ["teltonika"] * 2


def test_json_by_the_operators_mapping(running: Running) -> None:
    name = somebody()
    said = {
        "bat": 81,
        "data": [{"t": START, "p": [521_000_000, 212_000_000], "v": 36}, {"t": START, "p": ["x", 1]}],
    }
    with client(running.addresses["mqtt"], client_id=name) as esp32:
        assert esp32.publish("esp32/up", json.dumps(said)) == 0
    (row,) = stored(running, name)
    assert (row["latitude"], row["speed_mps"], row["attributes"]) == (52.1, 10.0, {"batteryLevel": 81})
    details = query(running.dsn, "SELECT detail FROM core.quarantine WHERE unique_id = %s", [name])
    assert [one["detail"] for one in details] == ["malformed: latitude (path 'p[0]'): 'x' is no number"]


def test_an_encrypted_phone(running: Running) -> None:
    import base64

    import nacl.secret

    topic = f"owntracks/jane/{somebody()}"
    box = nacl.secret.SecretBox(b"s3cr3t".ljust(32, b"\0"))
    sealed = base64.b64encode(box.encrypt(location(1).encode())).decode()
    with client(running.addresses["mqtt"], version=NEW) as phone:
        assert phone.publish(topic, json.dumps({"_type": "encrypted", "data": sealed})) == 0
        bad = json.dumps({"_type": "encrypted", "data": sealed[:-8] + "AAAAAAA="})
        assert phone.publish(topic, bad) == Code.PAYLOAD_INVALID
    assert len(stored(running, topic)) == 1


def test_half_a_packet_waits_for_the_other_half(running: Running) -> None:
    topic = f"owntracks/jane/{somebody()}"
    stream = packets.connect(Connect(4, somebody(), clean=True, keep_alive_s=60))
    stream += packets.publish(4, Publish(topic, location(1).encode(), 1, 7))
    with socket.create_connection(running.addresses["mqtt"], 20) as raw:
        for at in range(0, len(stream), 11):
            raw.sendall(stream[at : at + 11])
        assert raw.recv(4) == bytes((0x20, 2, 0, 0))
        assert raw.recv(4) == bytes((0x40, 2, 0, 7))
    assert len(stored(running, topic)) == 1


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (b"\x30\x00", b""),  # no CONNECT first
        (bytes((0x10, 12, 0, 4, *b"MQTT", 9, 2, 0, 60, 0, 0)), bytes((0x20, 2, 0, 1))),  # level 9
        (bytes((0x10, 12, 0, 4, *b"MQTT", 4, 0, 0, 60, 0, 0)), bytes((0x20, 2, 0, 2))),  # kept, and nameless
        (b"\x10\xff\xff\xff\xff\x01", b""),  # a length of five bytes
        (b"GET / HTTP/1.1\r\n\r\n", b""),
    ],
)
def test_who_breaks_the_rules_is_told_and_closed(running: Running, said: bytes, answer: bytes) -> None:
    with socket.create_connection(running.addresses["mqtt"], 20) as raw:
        raw.sendall(said)
        got = b""
        try:
            while part := raw.recv(100):
                got += part
        except ConnectionError:
            pass
        assert got == answer


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        (packets.publish(5, Publish("a/+", b"", 1, 1)), Code.TOPIC_NAME_INVALID),
        (packets.publish(5, Publish("a", b"", 1, 0)), Code.PROTOCOL_ERROR),
        (packets.publish(5, Publish("a", bytes(5000), 1, 1)), Code.PACKET_TOO_LARGE),
        (bytes((0x36, 6, 0, 1, 97, 0, 1, 0)), Code.MALFORMED),  # QoS 3
        (bytes((0x32, 8, 0, 1, 97, 0, 1, 2, 0x24, 1)), Code.MALFORMED),  # a property that is not a publish's
        (bytes((0x32, 9, 0, 1, 97, 0, 1, 3, 0x23, 0, 0)), Code.TOPIC_ALIAS_INVALID),
        (
            bytes((0x32, 8, 0, 0, 0, 1, 3, 0x23, 0, 9)),
            Code.PROTOCOL_ERROR,
        ),  # an alias that stands for nothing
        (packets.connect(Connect(5, "again", clean=True, keep_alive_s=0)), Code.PROTOCOL_ERROR),
        (bytes((0x82, 3, 0, 1, 0)), Code.PROTOCOL_ERROR),  # a subscription to nothing
        (bytes((0xF0, 0)), Code.BAD_AUTHENTICATION_METHOD),
        (bytes((0xC1, 0)), Code.MALFORMED),  # flags where there are none
        (bytes((0x32, 5, 0, 1, 0xFF, 0, 1)), Code.MALFORMED),  # no UTF-8
    ],
)
def test_mqtt_5_says_what_was_wrong(running: Running, packet: bytes, code: Code) -> None:
    with socket.create_connection(running.addresses["mqtt"], 20) as raw:
        raw.sendall(packets.connect(Connect(5, somebody(), clean=True, keep_alive_s=60)))
        assert raw.recv(200)[0] >> 4 == Kind.CONNACK
        raw.sendall(packet)
        assert raw.recv(10) == bytes((0xE0, 1, code))
        assert raw.recv(1) == b""


def test_more_than_the_receive_maximum(running: Running) -> None:
    """Five at once are in order; who sends a flood without waiting is told so, and nothing of it is believed lost."""
    name = f"owntracks/jane/{somebody()}"
    flood = b"".join(packets.publish(5, Publish(name, location(n).encode(), 1, n + 1)) for n in range(50))
    with socket.create_connection(running.addresses["mqtt"], 20) as raw:
        raw.sendall(packets.connect(Connect(5, somebody(), clean=True, keep_alive_s=60)))
        raw.recv(200)
        raw.sendall(flood)
        got = b""
        while part := raw.recv(1000):
            got += part
        assert got.endswith(bytes((0xE0, 1, Code.RECEIVE_MAXIMUM_EXCEEDED)))
        acknowledged = got.count(b"\x40\x02\x00")
    assert acknowledged <= len(stored(running, name)) <= 5


def test_the_last_will_tells_that_it_is_offline(running: Running) -> None:
    topic = f"owntracks/jane/{somebody()}"
    lost = Client(running.addresses["mqtt"], client_id=somebody())
    lost.paho.will_set(topic, json.dumps({"_type": "lwt", "tst": START}), 1)
    lost.connect()
    assert lost.publish(topic, location(1)) == 0
    socket_of_it = lost.paho.socket()
    assert isinstance(socket_of_it, socket.socket)
    socket_of_it.shutdown(socket.SHUT_RDWR)
    (row,) = wait_until("the will", lambda: told(running, topic))
    assert row["attributes"] == {"status": "offline"}
    wait_until("the event", lambda: "deviceOffline" in events(running, topic))
    lost.close()


def test_who_came_back_and_is_lost_again_says_his_last_will_once(running: Running) -> None:
    name = somebody()
    topics = [f"owntracks/jane/{somebody()}" for _ in range(2)]
    for topic in topics:
        will = Will(topic, json.dumps({"_type": "lwt", "tst": START}).encode(), 1, delay_s=3)
        said = Connect(5, name, clean=False, keep_alive_s=60, session_expiry_s=60, will=will)
        with socket.create_connection(running.addresses["mqtt"], 20) as raw:
            raw.sendall(packets.connect(said))
            assert raw.recv(200)[0] >> 4 == Kind.CONNACK
    first, last = topics
    wait_until("the will", lambda: told(running, last))
    assert told(running, first) == [], "it was due before"


def test_who_says_goodbye_has_no_will(running: Running) -> None:
    topic = f"owntracks/jane/{somebody()}"
    polite = Client(running.addresses["mqtt"], client_id=somebody())
    polite.paho.will_set(topic, "gone", 1)
    polite.connect()
    assert polite.publish(topic, location(1)) == 0
    polite.close()
    with client(running.addresses["mqtt"]) as other:
        assert other.publish(topic, location(2)) == 0
    assert told(running, topic) == []


def test_the_same_client_again_replaces_the_half_open_one(running: Running) -> None:
    name, topic = somebody(), f"owntracks/jane/{somebody()}"
    first = Client(running.addresses["mqtt"], version=NEW, client_id=name)
    first.paho.will_set(topic, "gone", 1)
    first.paho.reconnect_delay_set(60, 60)
    first.connect()
    with client(running.addresses["mqtt"], version=NEW, client_id=name) as second:
        assert first.gone.wait(20)
        assert second.publish(topic, location(1)) == 0
    first.close()
    assert told(running, topic) == [], "it is not lost: it has come again"
