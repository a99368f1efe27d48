"""Answers: after the commit, in order, to the byte; the same bytes twice are one row."""

from __future__ import annotations

import signal
import socket
import urllib.error
import urllib.request

import psycopg
import pytest

from tests.e2e.talk import conversation, device, fixes, talking
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import count, query
from tracker_protocols import BY_NAME
from tracker_protocols.protocol import Transport
from tracker_protocols.wire.device import Device, HttpDevice

IMEI = "356938035643809"
REGISTER = {"devices.unknown": "register"}
STREAMING = [p.name for p in BY_NAME.values() if Transport.TCP in p.transports]
DATAGRAMS = [p.name for p in BY_NAME.values() if Transport.UDP in p.transports]


def add(running: Running, unique_id: str) -> None:
    """Register a device, and wait until the server has heard of it."""
    query(
        running.dsn,
        "INSERT INTO core.devices (unique_id, name, account_id)"
        " SELECT %s, %s, id FROM core.accounts WHERE name = 'default' RETURNING id",
        [unique_id, unique_id],
    )
    wait_until("the server to know it", lambda: "tracker_devices 1.0" in metrics(running))


def metrics(running: Running) -> list[str]:
    """The lines of /metrics."""
    with urllib.request.urlopen(f"{running.api}/metrics", timeout=5) as page:
        return page.read().decode().splitlines()


@pytest.mark.parametrize("protocol", STREAMING)
def test_over_tcp_each_report_is_stored_and_answered(
    server: Servers, postgres_dsn: str, protocol: str
) -> None:
    running = server(REGISTER, dsn=postgres_dsn, protocols=[protocol])
    of = fixes(20)
    with talking(running.addresses[protocol]) as talk:
        for outgoing in conversation(protocol, IMEI, of):
            assert talk.ask(outgoing) == outgoing.answer
    wait_until("the rows", lambda: count(postgres_dsn, "core.positions") == 20)
    stored = query(
        postgres_dsn, "SELECT fixed_at, latitude, longitude, speed_mps FROM core.positions ORDER BY 1"
    )
    assert [row["fixed_at"] for row in stored] == [fix.fixed_at for fix in of]
    for row, fix in zip(stored, of, strict=True):
        assert row["latitude"] == pytest.approx(fix.latitude, abs=2e-5)
        assert row["longitude"] == pytest.approx(fix.longitude, abs=2e-5)
        assert row["speed_mps"] == pytest.approx(fix.speed_mps, abs=0.3)


@pytest.mark.parametrize("protocol", DATAGRAMS)
def test_over_udp_each_report_is_stored_and_answered(
    server: Servers, postgres_dsn: str, protocol: str
) -> None:
    running = server(REGISTER, dsn=postgres_dsn, protocols=[protocol])
    speaker = device(protocol, IMEI)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as talk:
        talk.settimeout(10)
        talk.connect(running.addresses[protocol])
        for fix in fixes(5):
            outgoing = speaker.datagram([fix])
            talk.send(outgoing.data)
            if outgoing.answer:
                assert talk.recv(4096) == outgoing.answer
                assert count(postgres_dsn, "core.positions") > 0
    wait_until("the rows", lambda: count(postgres_dsn, "core.positions") == 5)


def test_over_http_each_report_is_stored_and_answered(server: Servers, postgres_dsn: str) -> None:
    running = server(REGISTER, dsn=postgres_dsn, protocols=["osmand"])
    speaker = BY_NAME["osmand"].device(IMEI)
    assert isinstance(speaker, HttpDevice)
    host, port = running.addresses["osmand"]
    for number, fix in enumerate(fixes(5), 1):
        request = speaker.report([fix]).request
        with urllib.request.urlopen(f"http://{host}:{port}{request.target}", timeout=10) as answer:
            assert answer.status == 200
        assert count(postgres_dsn, "core.positions") == number
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(f"http://{host}:{port}/?lat=1&lon=1", timeout=10)
    with talking((host, port)) as talk:  # pipelined: answered in order
        requests = b"".join(
            b"GET /?id=P%d&lat=1&lon=%d HTTP/1.1\r\nHost: x\r\n\r\n" % (n, n) for n in range(3)
        )
        talk.send(requests + b"GET /?lat=1&lon=1 HTTP/1.0\r\n\r\n")
        statuses = [line.split()[1] for line in talk.rest().split(b"\r\n") if line.startswith(b"HTTP/1.1")]
        assert statuses == [b"200", b"200", b"200", b"400"]
    assert count(postgres_dsn, "core.positions") == 8


def test_the_same_bytes_over_two_connections_are_one_row_each(server: Servers, postgres_dsn: str) -> None:
    running = server(REGISTER, dsn=postgres_dsn, protocols=["gt06", "teltonika", "h02"])
    for protocol in ("gt06", "teltonika", "h02"):
        said = conversation(protocol, f"{IMEI[:-1]}{len(protocol)}", fixes(50))
        heard: list[bytes] = []
        for _ in range(2):
            with talking(running.addresses[protocol]) as talk:
                heard.append(b"".join(talk.ask(outgoing) for outgoing in said))
        assert heard[0] == heard[1] == b"".join(outgoing.answer for outgoing in said)
    wait_until("the rows", lambda: count(postgres_dsn, "core.positions") == 150)


def test_the_same_bytes_after_a_restart_are_the_same_rows(server: Servers) -> None:
    running = server(REGISTER, protocols=["teltonika"])
    said = conversation("teltonika", IMEI, fixes(50))
    for _ in range(2):
        with talking(running.addresses["teltonika"]) as talk:
            for outgoing in said:
                assert talk.ask(outgoing) == outgoing.answer
        running.restart()
    assert count(running.dsn, "core.positions") == 50


def test_a_heartbeat_does_not_overtake_a_report(server: Servers, postgres_dsn: str) -> None:
    """The table is locked: the report cannot commit, and nothing after it is answered before it."""
    running = server(dsn=postgres_dsn, protocols=["gt06"])
    add(running, IMEI)
    login, report, heartbeat = conversation("gt06", IMEI, fixes(1))
    with talking(running.addresses["gt06"]) as talk, psycopg.connect(postgres_dsn) as other:
        assert talk.ask(login) == login.answer
        other.execute("LOCK core.device_state")
        talk.send(report.data + heartbeat.data)
        assert talk.hears_nothing(0.3)
        other.rollback()
        assert talk.receive(len(report.answer + heartbeat.answer)) == report.answer + heartbeat.answer


def test_a_frame_may_be_cut_anywhere(server: Servers, postgres_dsn: str) -> None:
    running = server(REGISTER, dsn=postgres_dsn, protocols=["gt06"])
    said = conversation("gt06", IMEI, fixes(1))
    stream, owed = b"".join(o.data for o in said), b"".join(o.answer for o in said)
    for cut in range(1, len(stream)):
        with talking(running.addresses["gt06"]) as talk:
            talk.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            talk.send(stream[:cut])
            talk.send(stream[cut:])
            assert talk.receive(len(owed)) == owed
    assert count(postgres_dsn, "core.positions") == 1


def test_a_device_that_closes_its_side_still_gets_its_answers(server: Servers, postgres_dsn: str) -> None:
    """As netcat does at the end of its input."""
    running = server(REGISTER, dsn=postgres_dsn, protocols=["gt06"])
    said = conversation("gt06", IMEI, fixes(30))
    with talking(running.addresses["gt06"]) as talk:
        talk.send(b"".join(outgoing.data for outgoing in said))
        talk.socket.shutdown(socket.SHUT_WR)
        assert talk.rest() == b"".join(outgoing.answer for outgoing in said)


def test_a_reconnect_replaces_the_old_session(server: Servers, postgres_dsn: str) -> None:
    running = server(REGISTER, dsn=postgres_dsn, protocols=["gt06"])
    login = conversation("gt06", IMEI, [])[0]
    with talking(running.addresses["gt06"]) as old, talking(running.addresses["gt06"]) as new:
        assert old.ask(login) == login.answer
        assert new.ask(login) == login.answer
        assert old.rest() == b"", "the old connection is closed"
        assert new.ask(login) == login.answer
    other = conversation("gt06", IMEI[::-1], [])[0]
    with talking(running.addresses["gt06"]) as one, talking(running.addresses["gt06"]) as two:
        assert one.ask(login) == login.answer
        assert two.ask(other) == other.answer
        assert one.ask(login) == login.answer, "another device's login leaves it alone"


def test_sigterm_commits_and_answers_what_was_read(server: Servers, postgres_dsn: str) -> None:
    running = server(dsn=postgres_dsn, protocols=["gt06"])
    add(running, IMEI)
    login, *reports, heartbeat = conversation("gt06", IMEI, fixes(100))
    assert running.process is not None
    with talking(running.addresses["gt06"]) as talk, psycopg.connect(postgres_dsn) as other:
        assert talk.ask(login) == login.answer
        other.execute("LOCK core.device_state")
        talk.send(b"".join(outgoing.data for outgoing in (*reports, heartbeat)))
        read = 'tracker_frames_total{protocol="gt06"} 102.0'
        wait_until("the frames to be read", lambda: read in metrics(running))
        running.process.send_signal(signal.SIGTERM)
        assert talk.hears_nothing(0.3)
        other.rollback()
        assert talk.rest() == b"".join(outgoing.answer for outgoing in (*reports, heartbeat))
    assert running.process.wait(20) == 0
    running.process = None
    assert count(postgres_dsn, "core.positions") == 100


def test_ipv6_and_ipv4_on_one_setting(server: Servers, postgres_dsn: str) -> None:
    running = server(
        {**REGISTER, "listeners.gt06.host": "127.0.0.1,::1"}, dsn=postgres_dsn, protocols=["gt06"]
    )
    port = running.addresses["gt06"][1]
    for host in ("127.0.0.1", "::1"):
        with talking((host, port)) as talk:
            login = conversation("gt06", IMEI, [])[0]
            assert talk.ask(login) == login.answer


def test_every_device_side_is_one_or_the_other() -> None:
    for protocol in BY_NAME.values():
        assert issubclass(protocol.device, Device | HttpDevice)
