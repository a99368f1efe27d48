"""A session that outlives its connection: what was not finished goes on, both ways; and when it ends."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import pytest

from tests.mqtt.test_commands import order, states
from tests.mqtt.test_endpoint import location, somebody, stored
from tests.servers.serve import Running
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_server.mqtt import packets
from tracker_server.mqtt.codes import Code, Kind
from tracker_server.mqtt.packets import Connect, Publish, Subscribe

VERSIONS: Final = pytest.mark.parametrize("version", [4, 5], ids=["3.1.1", "5"])


class Raw:
    """A client that does exactly what it is told; packets that come are read whole."""

    def __init__(self, peer: socket.socket, version: int) -> None:
        self.socket = peer
        self.version = version

    def send(self, *data: bytes) -> None:
        self.socket.sendall(b"".join(data))

    def read(self) -> bytes:
        """The next packet; fails at the end."""
        head = self._exactly(2)
        assert head[1] < 0x80, "a long packet"
        return head + self._exactly(head[1])

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            assert part, f"closed after {data.hex()}"
            data += part
        return data


@contextmanager
def raw(
    running: Running, name: str, version: int, *, clean: bool = False, expiry_s: int = 3600
) -> Generator[tuple[Raw, bool]]:
    """Connected; and whether the session was there."""
    with socket.create_connection(running.addresses["mqtt"], 30) as peer:
        yield let_in(peer, Connect(version, name, clean=clean, keep_alive_s=60, session_expiry_s=expiry_s))


def let_in(peer: socket.socket, said: Connect) -> tuple[Raw, bool]:
    """The client that has said this; and whether the session was there."""
    one = Raw(peer, said.version)
    one.send(packets.connect(said))
    answer = one.read()
    assert answer[0] >> 4 == Kind.CONNACK
    assert answer[3] == Code.SUCCESS
    return one, bool(answer[2])


@VERSIONS
def test_qos_2_goes_on_where_it_was(running: Running, version: int) -> None:
    """PUBREC lost, PUBCOMP lost, and a publish of which nothing was heard: each is stored once."""
    name, topic = somebody(), f"owntracks/jane/{somebody()}"
    one, two = (Publish(topic, location(n).encode(), 2, n) for n in (1, 2))
    record, release, complete = (
        [packets.acknowledge(version, kind, n) for n in (1, 2)]
        for kind in (Kind.PUBREC, Kind.PUBREL, Kind.PUBCOMP)
    )
    with raw(running, name, version) as (client, present):
        assert not present
        client.send(packets.publish(version, one))
        assert client.read() == record[0]
    with raw(running, name, version) as (client, present):
        assert present
        again = Publish(topic, one.payload, 2, 1, duplicate=True)
        client.send(packets.publish(version, again), packets.publish(version, two))
        assert {client.read(), client.read()} == set(record)
        client.send(release[0])
        assert client.read() == complete[0]
    with raw(running, name, version) as (client, _):
        client.send(release[1])
        assert client.read() == complete[1]
        client.send(release[1])  # it is free again; only MQTT 5 has a word for that
        unknown = packets.acknowledge(5, Kind.PUBCOMP, 2, Code.PACKET_ID_NOT_FOUND)
        assert client.read() == (unknown if version == 5 else complete[1])
    assert len(stored(running, topic)) == 2


@VERSIONS
def test_a_command_that_was_not_acknowledged_comes_again(running: Running, version: int) -> None:
    """With its packet identifier and the mark of a repeat (4.4)."""
    name, device = somebody(), somebody()
    report = f'{{"id":"{device}","lat":52.1,"lon":21.0}}'.encode()
    with raw(running, name, version) as (client, _):
        client.send(packets.publish(version, Publish("x", report, 1, 1)))
        client.send(packets.subscribe(version, Subscribe(2, ((f"{device}/cmd", 1),))))
        assert {client.read()[0] >> 4, client.read()[0] >> 4} == {Kind.PUBACK, Kind.SUBACK}
        order(running, device, "positionSingle")
        first = client.read()
        assert first[0] == 0x32
    with raw(running, name, version) as (client, present):
        assert present
        second = client.read()
        assert second == bytes((0x3A,)) + first[1:]
        assert states(running, device) == ["queued"]
        at = 4 + second[3]
        client.send(packets.acknowledge(version, Kind.PUBACK, second[at] << 8 | second[at + 1]))
        wait_until("it to be known", lambda: states(running, device) == ["sent"])
    with raw(running, name, version) as (client, _):
        client.send(packets.PINGREQ)
        assert client.read() == packets.PINGRESP, "nothing before it"


@VERSIONS
def test_a_second_connection_takes_the_session_over(running: Running, version: int) -> None:
    name, topic = somebody(), f"owntracks/jane/{somebody()}"
    said = packets.publish(version, Publish(topic, location(1).encode(), 2, 9))
    with raw(running, name, version) as (old, _):
        old.send(said)
        assert old.read()[0] >> 4 == Kind.PUBREC
        with raw(running, name, version) as (new, present):
            assert present
            if version == 5:
                assert old.read() == bytes((0xE0, 1, Code.SESSION_TAKEN_OVER))
            assert old.socket.recv(1) == b""
            new.send(packets.acknowledge(version, Kind.PUBREL, 9))
            assert new.read() == packets.acknowledge(version, Kind.PUBCOMP, 9)


def test_how_long_a_session_is_kept(running: Running) -> None:
    """As asked, at most as the setting says; a clean start, and an expiry of 0, end it."""
    name = somebody()

    def kept() -> list[tuple[int, bool]]:
        rows = query(
            running.dsn,
            "SELECT expiry_s, expires_at IS NULL AS here FROM core.mqtt_sessions WHERE client_id = %s",
            [name],
        )
        return [(row["expiry_s"], row["here"]) for row in rows]

    with raw(running, name, 5, expiry_s=60):
        wait_until("it to be written down", lambda: kept() == [(60, True)])
    wait_until("its end to be known", lambda: kept() == [(60, False)])
    with raw(running, name, 5, expiry_s=604_800) as (client, present):
        assert present
        wait_until("the longer time", lambda: kept() == [(604_800, True)])
        client.send(bytes((0xE0, 7, 0, 5, 0x11, 0, 0, 0, 0)))  # DISCONNECT: forget it now
        wait_until("it to be forgotten", lambda: not kept())
    with raw(running, name, 4) as (_, present):
        assert not present
    with raw(running, name, 4, clean=True) as (_, present):
        assert not present
    with raw(running, name, 4) as (_, present):
        assert not present, "the clean session has ended it"


@VERSIONS
def test_over_a_kill_of_the_server(running: Running, version: int) -> None:
    """Only that there is a session survives; what it held of QoS 2 does not, and costs neither a fix nor a second row."""
    name, topic = somebody(), f"owntracks/jane/{somebody()}"
    said = Publish(topic, location(1).encode(), 2, 5)
    with raw(running, name, version) as (client, _):
        client.send(packets.publish(version, said))
        assert client.read()[0] >> 4 == Kind.PUBREC
        written = "SELECT 1 FROM core.mqtt_sessions WHERE client_id = %s"
        wait_until("the session to be written down", lambda: query(running.dsn, written, [name]))
        running.kill()
    running.launch()
    with raw(running, name, version) as (client, present):
        assert present
        again = Publish(topic, said.payload, 2, 5, duplicate=True)
        client.send(packets.publish(version, again))
        assert client.read() == packets.acknowledge(version, Kind.PUBREC, 5)
        client.send(packets.acknowledge(version, Kind.PUBREL, 5))
        assert client.read() == packets.acknowledge(version, Kind.PUBCOMP, 5)
    assert len(stored(running, topic)) == 1
