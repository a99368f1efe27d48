"""What was answered is in the table, once: whoever is killed, at whatever moment."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from tests.e2e.fleet import Fleet
from tests.e2e.talk import Talk, conversation, fixes, talking
from tests.e2e.test_answers import IMEI, REGISTER, add, metrics
from tests.listeners.test_proxy_protocol import header
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import count, query

KILLS = 4


def stored(dsn: str) -> list[tuple[str, datetime]]:
    rows = query(
        dsn, "SELECT unique_id, fixed_at FROM core.positions p JOIN core.devices d ON d.id = p.device_id"
    )
    return [(row["unique_id"], row["fixed_at"]) for row in rows]


async def settle(fleet: Fleet, running: Running) -> None:
    """Everything that was answered is there, and nothing twice."""
    found = stored(running.dsn)
    assert len(found) == len(set(found)), "a fix is stored twice"
    lost = fleet.answered - set(found)
    assert not lost, f"{len(lost)} answered fixes are not stored, such as {sorted(lost)[:3]}"


@pytest.mark.parametrize(("protocol", "size"), [("gt06", 1), ("teltonika", 10)])
@pytest.mark.parametrize("victim", ["server", "database", "both"])
async def test_kill_9_loses_nothing_that_was_answered(
    server: Servers, protocol: str, size: int, victim: str
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    running = server(REGISTER, protocols=[protocol])
    fleet = Fleet(protocol, running.addresses[protocol], devices=20, packets=150, size=size)
    driving = asyncio.create_task(fleet.run())
    for kill in range(KILLS):
        threshold = fleet.total * (kill + chance.random()) / KILLS * 0.8
        await asyncio.wait(
            [driving, asyncio.ensure_future(fleet.reached(threshold))], return_when="FIRST_COMPLETED"
        )
        if victim in {"database", "both"}:
            running.kill_database()
        if victim in {"server", "both"}:
            await asyncio.to_thread(running.kill)
            await asyncio.to_thread(running.launch)
    await driving
    await settle(fleet, running)
    assert len(fleet.answered) == fleet.total
    assert fleet.reconnects or victim == "database"


async def test_kill_9_right_after_the_last_answer(server: Servers) -> None:
    running = server(REGISTER, protocols=["teltonika"])
    fleet = Fleet("teltonika", running.addresses["teltonika"], devices=50, packets=20, size=10)
    await fleet.run()
    running.kill()
    running.kill_database()
    await asyncio.to_thread(running.launch)
    await settle(fleet, running)
    assert count(running.dsn, "core.positions") == fleet.total


def test_without_the_database_nothing_is_answered_and_nobody_is_closed(
    server: Servers, postgres_dsn: str
) -> None:
    """Reading stops at the bound, readiness tells, and everything goes on when it is back."""
    running = server({"ingest.queue_rows_max": 100}, dsn=postgres_dsn, protocols=["gt06"])
    add(running, IMEI)
    login, *reports, _ = conversation("gt06", IMEI, fixes(5000))
    with talking(running.addresses["gt06"]) as talk:
        assert talk.ask(login) == login.answer
        assert talk.ask(reports[0]) == reports[0].answer
        with psycopg.connect(postgres_dsn) as other:
            other.execute("LOCK core.device_state")
            talk.socket.setblocking(False)
            sent = 0
            stream = b"".join(outgoing.data for outgoing in reports[1:])
            sent = push(talk, stream, sent)
            frames = read_frames(running)
            assert frames < 4000, "it read on without a bound"
            assert read_frames(running) == frames, "it is still reading"
            other.rollback()
        talk.socket.settimeout(20)
        talk.send(stream[sent:])
        owed = b"".join(outgoing.answer for outgoing in reports[1:])
        assert talk.receive(len(owed)) == owed
    assert count(postgres_dsn, "core.positions") == 5000


def push(talk: Talk, stream: bytes, sent: int) -> int:
    """As much as the socket takes."""
    while sent < len(stream):
        try:
            sent += talk.socket.send(stream[sent : sent + 65_536])
        except BlockingIOError:
            break
    return sent


def read_frames(running: Running) -> int:
    """Frames read so far, once that number has stood still."""
    before = -1

    def same() -> int | None:
        nonlocal before
        (line,) = [m for m in metrics(running) if m.startswith('tracker_frames_total{protocol="gt06"}')]
        last, before = before, int(float(line.split()[-1]))
        return before if last == before else None

    return wait_until("the server to stop reading", same)


def test_readiness_fails_while_the_database_is_away(server: Servers) -> None:
    running = server(REGISTER, protocols=["gt06"])
    assert ready(running) == 200
    assert health(running) == 200
    with talking(running.addresses["gt06"]) as talk:
        login, report, _ = conversation("gt06", IMEI, fixes(1))
        assert talk.ask(login) == login.answer
        running.kill_database()
        wait_until(
            "readiness to fail or the database to be back",
            lambda: ready(running) == 503 or "database is back" in running.tail(),
        )
        assert health(running) == 200
        assert talk.ask(report) == report.answer
    wait_until("readiness", lambda: ready(running) == 200)
    assert count(running.dsn, "core.positions") == 1


def ready(running: Running) -> int:
    return status(f"{running.api}/readyz")


def health(running: Running) -> int:
    return status(f"{running.api}/healthz")


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


# ---------------------------------------------------------------------------------- what comes in is not always a frame


def test_garbage_costs_one_connection_and_nobody_else_notices(server: Servers, postgres_dsn: str) -> None:
    running = server(REGISTER, dsn=postgres_dsn)
    login, *reports, _ = conversation("gt06", IMEI, fixes(20))
    with talking(running.addresses["gt06"]) as good:
        assert good.ask(login) == login.answer
        seed = random.randrange(2**32)
        print("seed", seed)
        chance = random.Random(seed)
        for protocol, address in running.addresses.items():
            for junk in (
                b"\xff" * 1_048_576,
                chance.randbytes(200_000),
                b"*HQ," * 50_000,
                b"GET / HTTP/1.1\r\nX: " + b"y" * 100_000,
            ):
                with talking(address) as bad:
                    bad.socket.settimeout(1)
                    try:
                        bad.send(junk)
                        bad.socket.shutdown(socket.SHUT_WR)
                        bad.rest()
                    except OSError:
                        pass  # closed before it had said all: that is the point
            outgoing = reports.pop(0)
            assert good.ask(outgoing) == outgoing.answer, protocol
        assert running.process is not None
        assert running.process.poll() is None
    assert "a defect of ours" not in running.log.read_text()


def test_connections_from_one_address_are_bounded(server: Servers, postgres_dsn: str) -> None:
    running = server({"limits.connections_per_address_max": 3}, dsn=postgres_dsn, protocols=["gt06"])
    login = conversation("gt06", IMEI, [])[0]
    inside = [Talk(running.addresses["gt06"]) for _ in range(3)]
    for number, talk in enumerate(inside):
        mine = conversation("gt06", f"{IMEI[:-1]}{number}", [])[0]
        assert talk.ask(mine) == mine.answer
    with talking(running.addresses["gt06"]) as fourth:
        assert fourth.rest() == b""
    inside.pop().close()
    wait_until("room", lambda: 'tracker_connections{protocol="gt06"} 2.0' in metrics(running))
    with talking(running.addresses["gt06"]) as fourth:
        assert fourth.ask(login) == login.answer
    for talk in inside:
        talk.close()
    assert 'tracker_connections_refused_total{reason="connections_per_address_max"} 1.0' in metrics(running)


def test_a_silent_connection_is_closed(server: Servers, postgres_dsn: str) -> None:
    running = server({"limits.idle_s": 1.0}, dsn=postgres_dsn, protocols=["gt06"])
    login = conversation("gt06", IMEI, [])[0]
    with talking(running.addresses["gt06"]) as talk:
        assert talk.ask(login) == login.answer
        assert talk.rest() == b""
    assert 'tracker_connections_closed_total{reason="idle"} 1.0' in metrics(running)


def test_a_chatterbox_is_read_later_not_less(server: Servers, postgres_dsn: str) -> None:
    running = server({**REGISTER, "limits.messages_per_second_max": 50}, dsn=postgres_dsn, protocols=["gt06"])
    said = conversation("gt06", IMEI, fixes(150))
    with talking(running.addresses["gt06"]) as talk:
        talk.send(b"".join(outgoing.data for outgoing in said))
        owed = b"".join(outgoing.answer for outgoing in said)
        assert talk.receive(len(owed)) == owed
    assert count(postgres_dsn, "core.positions") == 150


# ---------------------------------------------------------------------------------- around the stream


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost, made now."""
    import datetime as dt

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    home = tmp_path_factory.mktemp("tls")
    cert, secret = home / "cert.pem", home / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert, secret


def test_tls_by_two_settings(server: Servers, postgres_dsn: str, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    tls = {f"{section}.tls_cert": cert for section in ("listeners.gt06", "listeners.osmand", "api")}
    tls |= {f"{section}.tls_key": key for section in ("listeners.gt06", "listeners.osmand", "api")}
    running = server({**REGISTER, **tls}, dsn=postgres_dsn, protocols=["gt06", "osmand"])
    trusting = ssl.create_default_context(cafile=str(cert))
    with talking(running.addresses["gt06"]) as talk:
        talk.socket = trusting.wrap_socket(talk.socket, server_hostname="localhost")
        for outgoing in conversation("gt06", IMEI, fixes(3)):
            assert talk.ask(outgoing) == outgoing.answer
    port = running.addresses["osmand"][1]
    url = f"https://localhost:{port}/?id={IMEI}&lat=1&lon=2&timestamp=1772352000"
    with urllib.request.urlopen(url, timeout=10, context=trusting) as answer:
        assert answer.status == 200
    api = running.api.replace("127.0.0.1", "localhost")
    assert api.startswith("https:")
    with urllib.request.urlopen(f"{api}/healthz", timeout=10, context=trusting) as answer:
        assert answer.status == 200
    assert count(postgres_dsn, "core.positions") == 4


def test_proxy_protocol_tells_who_calls(server: Servers, postgres_dsn: str) -> None:
    running = server({"listeners.gt06.proxy_protocol": True}, dsn=postgres_dsn, protocols=["gt06"])
    said = conversation("gt06", IMEI, fixes(2))
    with talking(running.addresses["gt06"]) as talk:
        head = header("192.0.2.7", 4711)
        talk.send(head[:9])
        talk.send(head[9:] + said[0].data)
        assert talk.receive(len(said[0].answer)) == said[0].answer
        for outgoing in said[1:]:
            assert talk.ask(outgoing) == outgoing.answer
    wait_until("the frames", lambda: count(postgres_dsn, "core.quarantine") >= 2)
    assert {row["remote"] for row in query(postgres_dsn, "SELECT remote FROM core.quarantine")} == {
        "192.0.2.7:4711"
    }
    with talking(running.addresses["gt06"]) as talk:
        talk.send(said[0].data)
        assert talk.rest() == b"", "a stream without a header is refused"
