"""Held: same connection, same bytes back, everything stored, nothing shown. Released: all of it shown."""

from __future__ import annotations

import socket
import urllib.request

from tests.e2e.talk import conversation, device, fixes, talking
from tests.e2e.test_answers import REGISTER
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import count, query

FREE, HELD = "356938035643809", "356938035643817"


def hold(running: Running, unique_id: str) -> None:
    query(
        running.dsn,
        "INSERT INTO core.blocks (device_id, reason, since, note)"
        " SELECT id, 'hold', now(), 'a test' FROM core.devices WHERE unique_id = %s",
        [unique_id],
    )


def release(running: Running, unique_id: str) -> None:
    query(
        running.dsn,
        "DELETE FROM core.blocks USING core.devices d WHERE d.id = device_id AND unique_id = %s",
        [unique_id],
    )


def shown(running: Running, unique_id: str) -> int:
    rows = query(running.dsn, "SELECT count(*) AS n FROM display.positions WHERE unique_id = %s", [unique_id])
    return rows[0]["n"]


def recorded(running: Running, unique_id: str, as_id: str) -> list[bytes]:
    """All that the server says to a device over TCP, UDP and HTTP; ``as_id`` stands for its name in it."""
    heard: list[bytes] = []
    for protocol in ("gt06", "teltonika", "h02", "gps103"):
        with talking(running.addresses[protocol]) as talk:
            for outgoing in conversation(protocol, unique_id, fixes(10)):
                answer = talk.ask(outgoing)
                assert answer == outgoing.answer
                heard.append(answer)
            talk.socket.shutdown(socket.SHUT_WR)
            heard.append(talk.rest())
    speaker = device("teltonika", unique_id)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        udp.connect(running.addresses["teltonika"])
        udp.send(speaker.datagram(fixes(3)).data)
        heard.append(udp.recv(4096))
    host, port = running.addresses["osmand"]
    with talking((host, port)) as talk:
        talk.send(b"GET /?id=%b&lat=1&lon=2&timestamp=1772352000 HTTP/1.0\r\n\r\n" % unique_id.encode())
        heard.append(talk.rest())
    return [answer.replace(unique_id.encode(), as_id.encode()) for answer in heard]


def test_r41_a_held_tracker_hears_what_a_free_one_hears(server: Servers, postgres_dsn: str) -> None:
    running = server(REGISTER, dsn=postgres_dsn)
    for unique_id in (FREE, HELD):
        with urllib.request.urlopen(
            "http://{}:{}/?id={}&lat=0.1&lon=0&timestamp=1772300000".format(
                *running.addresses["osmand"], unique_id
            ),
            timeout=10,
        ) as answer:
            assert answer.status == 200
    hold(running, HELD)
    wait_until("the gate to be heard of", lambda: gate(running) == 1)
    free, held = recorded(running, FREE, "X"), recorded(running, HELD, "X")
    assert free == held
    assert stored(running, FREE) == stored(running, HELD) > 0
    assert shown(running, FREE) == stored(running, FREE)
    assert shown(running, HELD) == 0
    assert query(postgres_dsn, "SELECT unique_id FROM display.devices") == [{"unique_id": FREE}]
    release(running, HELD)
    assert shown(running, HELD) == stored(running, HELD)
    wait_until("the gate to be heard of", lambda: gate(running) == 0)


def stored(running: Running, unique_id: str) -> int:
    rows = query(
        running.dsn,
        "SELECT count(*) AS n FROM core.positions JOIN core.devices d ON d.id = device_id WHERE unique_id = %s",
        [unique_id],
    )
    return rows[0]["n"]


def gate(running: Running) -> int:
    with urllib.request.urlopen(f"{running.api}/metrics", timeout=5) as page:
        lines = page.read().decode().splitlines()
    return sum(int(float(line.split()[-1])) for line in lines if line.startswith("tracker_devices_hidden{"))


def test_a_connection_that_is_held_in_the_middle_goes_on(server: Servers, postgres_dsn: str) -> None:
    running = server(REGISTER, dsn=postgres_dsn, protocols=["gt06"])
    login, *reports, _ = conversation("gt06", HELD, fixes(30))
    with talking(running.addresses["gt06"]) as talk:
        for outgoing in (login, *reports[:10]):
            assert talk.ask(outgoing) == outgoing.answer
        hold(running, HELD)
        for outgoing in reports[10:20]:
            assert talk.ask(outgoing) == outgoing.answer
        assert (stored(running, HELD), shown(running, HELD)) == (20, 0)
        release(running, HELD)
        assert shown(running, HELD) == 20
        for outgoing in reports[20:]:
            assert talk.ask(outgoing) == outgoing.answer
    assert shown(running, HELD) == count(postgres_dsn, "core.positions") == 30


def test_blocks_begin_and_end_by_time_alone(server: Servers, postgres_dsn: str) -> None:
    running = server(REGISTER, dsn=postgres_dsn, protocols=["gt06"])
    with talking(running.addresses["gt06"]) as talk:
        for outgoing in conversation("gt06", HELD, fixes(1)):
            assert talk.ask(outgoing) == outgoing.answer
    block = "INSERT INTO core.blocks (device_id, reason, since, until) SELECT id, %s, now() + %s, now() + %s FROM core.devices"
    query(postgres_dsn, block, ["later", "1 hour", "2 hours"])
    query(postgres_dsn, block, ["over", "-2 hours", "-1 hour"])
    assert shown(running, HELD) == 1
    query(postgres_dsn, block, ["now", "-1 hour", "1 hour"])
    assert shown(running, HELD) == 0
