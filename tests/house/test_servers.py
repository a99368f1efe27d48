"""The fixtures themselves: what they promise, other tests stand on."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import psycopg
import pytest

from tests.servers.memory import fresh_folder
from tests.servers.ports import free_ports
from tests.servers.postgres import OWNER, SharedPostgres
from tests.servers.serve import PROGRAM, Running, Servers
from tests.servers.waiting import REQUIRE_ALL, wait_until
from tracker_protocols import ALL
from tracker_server.config import Settings
from tracker_server.storage.database import Database, Role
from tracker_server.storage.embedded import Embedded

GT06_LOGIN = bytes.fromhex("78780d01086471700328358100093f040d0a")
GT06_LOGIN_ANSWER = bytes.fromhex("787805010009")  # what comes behind it is a checksum


def test_a_database_is_fresh_migrated_and_of_an_ordinary_owner(home_dsn: str) -> None:
    with psycopg.connect(home_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM core.devices").fetchone() == (0,)
        assert connection.execute("SELECT name FROM core.accounts").fetchall() == [("default",)]
        owner = connection.execute("SELECT rolname, rolsuper FROM pg_roles WHERE rolname = current_user")
        assert owner.fetchone() == (OWNER, False)


def test_databases_do_not_see_each_other(home: SharedPostgres) -> None:
    with home.database() as one, home.database() as other:
        with psycopg.connect(one, autocommit=True) as connection:
            connection.execute("CREATE TABLE mine ()")
        with psycopg.connect(other) as connection:
            assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(one)


def test_timescaledb_is_the_real_one(timescaledb_dsn: str, postgres_dsn: str) -> None:
    ask = "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"
    with psycopg.connect(timescaledb_dsn) as connection:
        assert connection.execute(ask).fetchone() == (1,)
    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute(ask).fetchone() == (0,)


async def test_embedded_settings_lead_to_an_embedded_database(embedded_settings: Settings) -> None:
    database = Database(embedded_settings)
    await database.open()
    try:
        async with await database.connect(Role.OWNER) as connection:
            row = await (await connection.execute("SELECT current_setting('data_directory')")).fetchone()
            assert row == (str(embedded_settings.data_dir.resolve() / "postgres" / "cluster"),)
    finally:
        await database.close()


def test_ports_are_claimed_once() -> None:
    ours = set(free_ports(50))
    assert len(ours) == 50
    code = "from tests.servers.ports import free_ports; print(*free_ports(300))"
    others = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    theirs = set(map(int, others.stdout.split()))
    assert len(theirs) == 300
    assert not ours & theirs


def test_server_answers_and_stops(server: Servers) -> None:
    running = server(protocols=["gt06"])
    assert list(running.addresses) == ["gt06"]
    with socket.create_connection(running.addresses["gt06"], timeout=10) as device:
        device.sendall(GT06_LOGIN)
        assert device.recv(64).startswith(GT06_LOGIN_ANSWER)
    with urllib.request.urlopen(f"{running.api}/healthz", timeout=10) as answer:
        assert answer.status == 200
    running.stop()
    assert running.process is None


def test_server_by_dsn_opens_every_protocol(server: Servers, postgres_dsn: str) -> None:
    running = server(dsn=postgres_dsn)
    assert set(running.addresses) == {"mqtt", *(protocol.name for protocol in ALL)}
    assert running.dsn == postgres_dsn


def test_killed_server_comes_back_with_its_data(server: Servers) -> None:
    running = server({"devices.unknown": "register"}, protocols=["gt06"])
    before = dict(running.addresses)
    with psycopg.connect(running.dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE public.left_behind ()")
    running.kill()
    running.restart()
    assert running.addresses == before
    with psycopg.connect(running.dsn) as connection:
        assert connection.execute("SELECT to_regclass('public.left_behind')::text").fetchone() == (
            "left_behind",
        )


def test_killed_servers_database_is_stopped_when_the_test_ends(server: Servers) -> None:
    running = server(protocols=[])
    running.kill()
    left = Embedded(running.data_dir)
    assert left.running()
    running.close()
    assert not left.running()
    assert not running.home.exists()


def test_killed_database_is_started_again(server: Servers) -> None:
    running = server(protocols=[])
    running.kill_database()

    def answers() -> bool:
        try:
            psycopg.connect(running.dsn, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    wait_until("the embedded database to be back", answers, 30)


def test_who_is_told_to_end_while_it_starts_leaves_no_database_behind() -> None:
    running = Running(fresh_folder("tracker-serve-"), {}, "")
    process = subprocess.Popen(
        [PROGRAM, "serve"], env=running.environment, cwd=running.home, stdin=subprocess.DEVNULL
    )
    wait_until("the database to be begun", (running.data_dir / "postgres" / "postgres.use").exists, 60)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    assert not Embedded(running.data_dir).running()
    running.close()


def test_server_that_cannot_start_says_why(server: Servers) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError, match=rf"(?s)serve ended with 1: .*listeners\.gt06.*{port}"):
            server({"listeners.gt06.port": port}, protocols=["gt06"])


def test_a_server_that_ends_badly_is_told(server: Servers) -> None:
    running = server(protocols=[])
    assert running.process is not None
    running.process.send_signal(signal.SIGKILL)
    with pytest.raises(AssertionError, match="exited -9"):
        running.stop()


@pytest.mark.parametrize(("required", "outcome"), [("0", "skipped=1"), ("1", "errors=1")])
def test_what_is_missing_is_skipped_or_fails(tmp_path: Path, required: str, outcome: str) -> None:
    checkout = Path(__file__).parents[2]
    report = tmp_path / "report.xml"
    test = f"{Path(__file__)}::test_timescaledb_is_the_real_one"
    environment = {**os.environ, REQUIRE_ALL: required, "TRACKER_TEST_CACHE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", f"--junitxml={report}", test],
        env=environment, cwd=checkout, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == int(required), done.stdout
    kind, number = outcome.split("=")
    assert f'{kind}="{number}"' in report.read_text()
    assert "make timescaledb" in report.read_text()
