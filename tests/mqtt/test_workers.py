"""Two processes behind one MQTT port: a client may come to either, and its session goes with it; a broker's group is both."""

from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from tests.e2e.test_workers import counted, owner, processes
from tests.mqtt.clients import client
from tests.mqtt.test_commands import order, states
from tests.mqtt.test_endpoint import location, somebody, stored
from tests.mqtt.test_sessions import Raw, let_in
from tests.servers.mosquitto import Mosquitto
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_server.mqtt import packets
from tracker_server.mqtt.codes import Code, Kind
from tracker_server.mqtt.packets import Connect, Publish, Subscribe, Will

VERSION = 5


@pytest.fixture(scope="module")
def broker() -> Generator[Mosquitto]:
    one = Mosquitto()
    one.launch()
    yield one
    one.close()


@pytest.fixture(scope="module")
def running(postgres_server: SharedPostgres, broker: Mosquitto) -> Generator[Running]:
    servers = Servers()
    settings = {
        "workers": 2,
        "devices.unknown": "register",
        "mqtt.broker.url": broker.url,
        "mqtt.broker.client_id": "us",
        "mqtt.broker.group": "us",
        "mqtt.broker.topics": "owntracks/#",
    }
    with postgres_server.database() as dsn:
        yield servers(settings, dsn=dsn, protocols=["mqtt"])
        servers.close()


@contextmanager
def raw(
    running: Running, number: int, name: str, *, will: Will | None = None, present: bool | None = None
) -> Generator[Raw]:
    """A client of this process, with a session that is kept for an hour. ``present``: wait until it is, or is not, there."""

    def connected() -> Raw | None:
        while True:
            peer = socket.create_connection(running.addresses["mqtt"], 30)
            if owner(running, peer.getsockname()[1]) == number:
                break
            peer.close()
        said = Connect(VERSION, name, clean=False, keep_alive_s=60, session_expiry_s=3600, will=will)
        one, was_there = let_in(peer, said)
        if present is None or was_there == present:
            return one
        peer.close()
        return None

    one = wait_until("its session to be known there", connected)
    with one.socket:
        yield one


def kept(running: Running, name: str) -> list[bool]:
    """Whether its client is here, of the session that is written down."""
    rows = query(
        running.dsn, "SELECT expires_at IS NULL AS here FROM core.mqtt_sessions WHERE client_id = %s", [name]
    )
    return [row["here"] for row in rows]


@pytest.mark.parametrize("first", [0, 1])
def test_a_session_goes_on_in_the_other_process(running: Running, first: int) -> None:
    """What was not acknowledged comes again with its packet identifier, and filters hold."""
    name, device = somebody(), somebody()
    report = f'{{"id":"{device}","lat":52.1,"lon":21.0}}'.encode()
    with raw(running, first, name, present=False) as one:
        one.send(packets.publish(VERSION, Publish("x", report, 1, 1)))
        one.send(packets.subscribe(VERSION, Subscribe(2, ((f"{device}/cmd", 1),))))
        assert {one.read()[0] >> 4, one.read()[0] >> 4} == {Kind.PUBACK, Kind.SUBACK}
        order(running, device, "positionSingle")
        offered = one.read()
        assert offered[0] == 0x32
        wait_until("its session to be written down", lambda: kept(running, name) == [True])
    wait_until("its end to be written down", lambda: kept(running, name) == [False])
    with raw(running, 1 - first, name, present=True) as one:
        again = one.read()
        assert again == bytes((0x3A,)) + offered[1:]
        at = 4 + again[3]
        one.send(packets.acknowledge(VERSION, Kind.PUBACK, again[at] << 8 | again[at + 1]))
        wait_until("it to be known", lambda: states(running, device) == ["sent"])
        order(running, device, "positionSingle")
        assert one.read()[0] == 0x32
        wait_until("the client to be known here", lambda: kept(running, name) == [True])


@pytest.mark.parametrize("first", [0, 1])
def test_who_comes_to_the_other_process_is_half_open_here(running: Running, first: int) -> None:
    """The old connection is closed, and its last will not said."""
    name, device = somebody(), f"owntracks/jane/{somebody()}"
    will = Will(device, b'{"_type":"lwt","tst":1}', 1)
    with raw(running, first, name, will=will) as old, raw(running, 1 - first, name) as new:
        assert old.read() == bytes((0xE0, 1, Code.SESSION_TAKEN_OVER))
        assert old.socket.recv(1) == b""
        new.send(packets.publish(VERSION, Publish(device, location(1).encode(), 1, 1)))
        assert new.read() == packets.puback(1)
        wait_until("it to be here", lambda: kept(running, name) == [True])
    assert len(stored(running, device)) == 1
    assert not query(running.dsn, "SELECT 1 FROM core.telemetry t JOIN core.devices d ON d.id = t.device_id"
                     " WHERE d.unique_id = %s", [device])  # fmt: skip


def test_sessions_of_a_process_that_dies(running: Running) -> None:
    """Nobody has told that their clients are gone: their time begins now. And the client finds it in the first process."""
    name = somebody()
    with raw(running, 1, name) as one:
        one.send(packets.subscribe(VERSION, Subscribe(1, (("a/cmd", 1),))))
        assert one.read()[0] >> 4 == Kind.SUBACK
        wait_until("its session to be written down", lambda: kept(running, name) == [True])
        (worker,) = processes(running)[1:]
        worker.kill()
        wait_until("its end to be written down", lambda: kept(running, name) == [False])
    with raw(running, 0, name, present=True):
        wait_until("the client to be known here", lambda: kept(running, name) == [True])
    wait_until("another worker", lambda: [one for one in processes(running)[1:] if one.pid != worker.pid])
    with raw(running, 1, name, present=True):
        pass


def test_a_group_at_a_broker_is_all_processes(running: Running, broker: Mosquitto) -> None:
    """Each has a session of its own; what one that was killed held comes to its successor."""
    device = f"owntracks/jane/{somebody()}"

    def subscribed() -> int:
        return running.log.read_text().count("owntracks/#")

    wait_until("both to have subscribed", lambda: subscribed() >= 2)
    with client(broker.address) as gateway:
        for n in range(30):
            if n == 15:
                processes(running)[1].kill()
            gateway.publish(device, location(n))
    wait_until("all to be stored", lambda: len(stored(running, device)) == 30, 60.0)


def test_servers_of_one_group_divide_the_work(postgres_server: SharedPostgres, broker: Mosquitto) -> None:
    """Two of them, on one database: each takes some, and what they take is stored once."""
    servers = Servers()
    devices, each = 40, 2
    with postgres_server.database() as dsn:
        both = [
            servers(
                {
                    "devices.unknown": "register",
                    "mqtt.broker.url": broker.url,
                    "mqtt.broker.client_id": name,
                    "mqtt.broker.group": "servers",
                    "mqtt.broker.topics": "owntracks/#",
                },
                dsn=dsn,
                protocols=[],
            )
            for name in ("one", "other")
        ]
        try:
            for one in both:
                wait_until(
                    "it to have subscribed", lambda one=one: "owntracks/#" in one.log.read_text(), 60.0
                )
            with client(broker.address) as gateway:
                for n in range(each):
                    for number in range(devices):
                        gateway.publish(f"owntracks/fleet/{number}", location(n))
            what = "SELECT count(*) AS fixes, count(DISTINCT device_id) AS devices FROM core.positions"
            whole = [{"fixes": devices * each, "devices": devices}]
            wait_until("all to be stored", lambda: query(dsn, what) == whole, 60.0)
            taken = [counted(one, "tracker_fixes_stored_total") for one in both]
        finally:
            servers.close()
    assert min(taken) > 0
    assert sum(taken) == devices * each
