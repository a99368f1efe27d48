"""The doctor finds what is made wrong on purpose, and says what to do; a good installation passes."""

from __future__ import annotations

import csv
import io
import json
import resource
import socket
from collections.abc import Callable, Generator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any, ClassVar

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.cli.terminal import Terminal
from tests.servers.ports import free_port, listening
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Servers
from tests.storage.rows import query
from tracker_server.cli import health, health_database
from tracker_server.config import Settings
from tracker_server.storage.embedded import Embedded

Finding = dict[str, str]


@pytest.fixture
def free(terminal: Terminal) -> Terminal:
    """Every port one that is free."""
    use_free_ports(terminal)
    return terminal


def use_free_ports(terminal: Terminal) -> None:
    terminal.set(**{key.replace(".", "__"): value for key, value in listening().items()})


def findings(terminal: Terminal, code: int) -> dict[str, Finding]:
    said = terminal("doctor", "--format", "json")
    assert said.code == code, said
    found: list[Finding] = json.loads(said.out)
    for one in found:
        assert set(one) == {"check", "state", "detail", "cure"}
        assert one["cure"] or one["state"] == "ok", "whatever is not well has a cure"
    wrong = [one["check"] for one in found if one["state"] == "wrong"]
    assert bool(wrong) == (code == 1)
    assert all(check in said.err for check in wrong)
    return {one["check"]: one for one in found}


def test_a_good_installation(free: Terminal) -> None:
    query(free.dsn, "SELECT core.ensure_days(ARRAY[current_date, current_date + 1])")
    found = findings(free, 0)
    assert set(found) >= {
        "settings", "data directory", "disk space", "file descriptors", "database", "migrations", "gate",
        "partitions", "quarantine", "clock", "server", "ports",
    }  # fmt: skip
    assert {check for check, one in found.items() if one["state"] != "ok"} <= {
        "file descriptors",
        "disk space",
        "backup",
    }
    assert "storage.dsn: PostgreSQL " in found["database"]["detail"]
    assert found["server"]["detail"] == "does not run"
    assert found["ports"]["detail"].endswith(" free")


def test_three_formats(free: Terminal) -> None:
    rows = list(csv.DictReader(io.StringIO(free.ok("doctor", "--format", "csv"))))
    assert rows[0]["check"] == "settings"
    assert "migrations" in free.ok("doctor")


def test_a_wrong_setting_is_all_that_can_be_told(bare: Terminal) -> None:
    bare.set(api__port="many")
    found = findings(bare, 1)
    assert list(found) == ["settings"]
    assert "api.port (from environment): 'many' does not fit" in found["settings"]["detail"]


def test_nothing_is_made_by_looking(bare: Terminal, embedded_settings: Settings) -> None:
    use_free_ports(bare)
    bare.set(data_dir=embedded_settings.data_dir / "new")
    found = findings(bare, 0)
    assert "embedded, made at the first start" in found["database"]["detail"]
    assert "is made at the first start" in found["data directory"]["detail"]
    assert list(embedded_settings.data_dir.iterdir()) == []


def test_an_embedded_database_that_does_not_run_is_tried(bare: Terminal, embedded_settings: Settings) -> None:
    use_free_ports(bare)
    bare.set(data_dir=embedded_settings.data_dir)
    bare.ok("db", "migrate")
    assert "embedded: PostgreSQL" in findings(bare, 0)["database"]["detail"]
    assert not (Embedded(embedded_settings.data_dir).cluster / "postmaster.pid").exists()


def test_an_embedded_database_that_does_not_start(bare: Terminal, embedded_settings: Settings) -> None:
    use_free_ports(bare)
    bare.set(data_dir=embedded_settings.data_dir)
    bare.ok("db", "migrate")
    (Embedded(embedded_settings.data_dir).cluster / "global" / "pg_control").unlink()
    found = findings(bare, 1)
    assert found["database"]["state"] == "wrong"
    assert "postgres.log" in found["database"]["cure"]


def test_a_data_directory_that_cannot_be_written(free: Terminal) -> None:
    free.set(data_dir="/proc/none")
    assert "/proc cannot be written" in findings(free, 1)["data directory"]["detail"]


@pytest.mark.parametrize(("free_bytes_min", "state"), [(0, {"ok", "warning"}), (1 << 60, {"wrong"})])
def test_disk_space(tmp_path: Any, free_bytes_min: int, state: set[str]) -> None:
    assert health.disk_space(tmp_path, free_bytes_min).state in state


def test_too_few_file_descriptors_are_a_warning(free: Terminal) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 40
    free.set(limits__connections_max=hard)
    found = findings(free, 0)["file descriptors"]
    assert (found["state"], "LimitNOFILE=" in found["cure"]) == ("warning", True)
    free.set(limits__connections_max=10)
    assert findings(free, 0)["file descriptors"]["state"] == "ok"


# ---------------------------------------------------------------------- database


@pytest.mark.parametrize(
    ("dsn", "detail"),
    [("postgresql://127.0.0.1:1/none", "Connection refused"), ("nonsense", "not a PostgreSQL URI")],
)
def test_a_database_that_is_not_reached(free: Terminal, dsn: str, detail: str) -> None:
    free.set(storage__dsn=dsn)
    found = findings(free, 1)
    assert detail in found["database"]["detail"]
    assert "migrations" not in found


def test_a_database_that_is_not_migrated_is_left_so(bare: Terminal, empty_dsn: str) -> None:
    use_free_ports(bare)
    bare.set(storage__dsn=empty_dsn)
    found = findings(bare, 0)
    assert (found["migrations"]["state"], "missing: 1 (core)" in found["migrations"]["detail"]) == (
        "warning",
        True,
    )
    assert "gate" not in found
    assert query(empty_dsn, "SELECT to_regnamespace('core') AS core") == [{"core": None}]


def test_a_database_of_a_newer_program(free: Terminal) -> None:
    query(free.dsn, "INSERT INTO public.tracker_migrations VALUES (9999, 'later', 'x')")
    assert "the database is at migration 9999" in findings(free, 1)["migrations"]["detail"]


def test_a_database_that_is_too_old(free: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_database, "SERVER_VERSION_MIN", 990_000)
    found = findings(free, 1)["database"]
    assert (found["detail"].endswith("is too old"), found["cure"]) == (True, "install 15 or later")


@pytest.mark.parametrize(
    "statement",
    [
        "GRANT USAGE ON SCHEMA core TO tracker_display; GRANT SELECT ON core.devices TO tracker_display",
        "GRANT USAGE ON SCHEMA core TO PUBLIC; GRANT SELECT ON core.hidden TO PUBLIC",
    ],
)
def test_a_display_role_that_reads_what_is_below_the_gate(free: Terminal, statement: str) -> None:
    assert findings(free, 0)["gate"]["state"] == "ok"
    with psycopg.connect(free.dsn, autocommit=True) as connection:
        for part in statement.split("; "):
            connection.execute(part.encode())
    found = findings(free, 1)["gate"]
    assert "tracker_display can read core." in found["detail"]
    assert "blocked trackers leak" in found["detail"]
    assert "REVOKE ALL ON SCHEMA core" in found["cure"]


def test_a_role_that_the_databases_user_may_not_speak_as(
    free: Terminal, postgres_server: SharedPostgres
) -> None:
    """A restored dump on another cluster: the roles are there, the membership is not."""
    name = conninfo_to_dict(free.dsn)["dbname"]
    role = f"{name}_user"  # as unique in the cluster as its database
    inside = postgres_server.dsn_of(str(name), "postgres")
    with psycopg.connect(postgres_server.superuser_dsn, autocommit=True) as superuser:
        superuser.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'".encode())
        try:
            parts = conninfo_to_dict(free.dsn)
            free.set(storage__dsn=make_conninfo("", **{**parts, "user": role, "password": "x"}))
            assert "permission denied for table tracker_migrations" in findings(free, 1)["database"]["detail"]
            query(inside, f"GRANT SELECT ON public.tracker_migrations TO {role}")
            found = findings(free, 1)["roles"]
            assert "tracker_core, tracker_display" in found["detail"]
            assert "GRANT tracker_core, tracker_display TO that user" in found["cure"]
        finally:
            query(inside, f"DROP OWNED BY {role}")
            superuser.execute(f"DROP ROLE {role}".encode())


def test_partitions_that_are_not_there_yet(free: Terminal) -> None:
    found = findings(free, 0)["partitions"]
    today = datetime.now(UTC).date()
    assert (found["state"], f"positions {today + timedelta(days=1)}" in found["detail"]) == ("warning", True)


def test_hypertables_need_no_partitions(bare: Terminal, timescaledb_dsn: str) -> None:
    use_free_ports(bare)
    bare.set(storage__dsn=timescaledb_dsn)
    found = findings(bare, 0)
    assert found["partitions"]["state"] == "ok"
    assert "TimescaleDB" in found["database"]["detail"]


@pytest.mark.parametrize(
    ("settings", "code", "state", "detail"),
    [
        ({"rows_max": 100}, 0, "ok", "4 of 100 frames"),
        ({"rows_max": 5}, 0, "warning", "nearly full: 4 of 5 frames"),
        ({"rows_max": 4}, 1, "wrong", "full: 4 of 4 frames; more are refused unanswered"),
        ({"rows_max": 100, "rows_per_device_max": 3}, 0, "warning", "1 identifiers have no room left"),
    ],
)
def test_a_quarantine_that_fills(
    free: Terminal, settings: dict[str, int], code: int, state: str, detail: str
) -> None:
    query(
        free.dsn,
        "INSERT INTO core.quarantine (received_at, unique_id, protocol, transport, remote, reason, reports, frame, digest)"
        " SELECT now(), CASE WHEN n = 4 THEN 'T2' ELSE 'T1' END, 'gt06', 'tcp', 'x', 'undecoded', 1, 'x', n"
        " FROM generate_series(1, 4) n",
    )
    free.set(**{f"quarantine__{name}": value for name, value in settings.items()})
    found = findings(free, code)["quarantine"]
    assert (found["state"], detail in found["detail"]) == (state, True)


def test_a_clock_that_went_back(free: Terminal) -> None:
    free.ok("device", "add", "T1")
    query(free.dsn, "UPDATE core.device_state SET contact_at = now() + interval '2 hours'")
    found = findings(free, 1)["clock"]
    assert "which lies ahead" in found["detail"]
    assert "NTP" in found["cure"]


def test_clocks_that_disagree(free: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(seconds=90)

    monkeypatch.setattr(health_database, "datetime", Late)
    assert "s between this machine and the database" in findings(free, 1)["clock"]["detail"]


# ---------------------------------------------------------------------- ports


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_another_program_has(free: Terminal, kind: socket.SocketKind) -> None:
    port = free_port()
    with closing(socket.socket(socket.AF_INET, kind)) as other:
        other.bind(("127.0.0.1", port))
        if kind is socket.SOCK_STREAM:
            other.listen()
        free.set(listeners__teltonika__port=port)
        found = findings(free, 1)["ports"]
    transport = "tcp" if kind is socket.SOCK_STREAM else "udp"
    assert f"listeners.teltonika: {transport} 127.0.0.1:{port}: Address already in use" in found["detail"]
    assert "set listeners.teltonika.port to another, 0 for off" in found["cure"]


def test_an_address_that_is_not_this_machines(free: Terminal) -> None:
    free.set(listeners__gt06__host="192.0.2.1")
    assert "Cannot assign requested address" in findings(free, 1)["ports"]["detail"]
    free.set(listeners__gt06__host="no.such.host.invalid")
    assert "no.such.host.invalid" in findings(free, 1)["ports"]["detail"]


def test_without_an_api_nobody_can_be_asked(free: Terminal) -> None:
    port = free_port()
    with closing(socket.create_server(("127.0.0.1", port))):
        free.set(api__port=0, listeners__gt06__port=port)
        found = findings(free, 0)["ports"]
    assert (found["state"], "since api.port is 0" in found["detail"]) == ("warning", True)


class Impostor(BaseHTTPRequestHandler):
    answers: ClassVar[dict[str, tuple[int, bytes]]] = {}

    def do_GET(self) -> None:
        status, body = self.answers.get(self.path, (404, b""))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def impostor() -> Generator[Callable[[dict[str, tuple[int, bytes]]], int]]:
    """Something that speaks HTTP; call it with its answers for its port."""
    running: list[HTTPServer] = []

    def start(answers: dict[str, tuple[int, bytes]]) -> int:
        port = free_port()
        server = HTTPServer(("127.0.0.1", port), type("Other", (Impostor,), {"answers": answers}))
        running.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        return port

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "answers", [{}, {"/healthz": (200, b"hello")}, {"/healthz": (200, b'{"alive":false}')}]
)
def test_another_web_server_on_our_port(
    free: Terminal, impostor: Callable[..., int], answers: dict[str, tuple[int, bytes]]
) -> None:
    free.set(api__port=impostor(answers))
    found = findings(free, 1)
    assert found["server"]["detail"] == "does not run"
    assert "api: tcp 127.0.0.1:" in found["ports"]["detail"]


def test_a_server_that_is_not_ready(free: Terminal, impostor: Callable[..., int]) -> None:
    answers = {
        "/healthz": (200, b'{"alive":true}'),
        "/readyz": (503, b'{"ready":false,"problems":["the database is away; reports wait unanswered"]}'),
    }
    free.set(api__port=impostor(answers))
    found = findings(free, 1)
    assert "runs but is not ready: the database is away" in found["server"]["detail"]
    assert found["ports"]["state"] == "ok"


def test_beside_our_own_server(server: Servers, postgres_dsn: str) -> None:
    running = server(dsn=postgres_dsn)
    said = running.cli("doctor", "--format", "json")
    assert said.returncode == 0, said
    found = {one["check"]: one for one in json.loads(said.stdout)}
    assert found["server"]["detail"] == "runs and is ready"
    assert found["ports"]["detail"].endswith("held by our server")
    assert found["partitions"]["state"] == "ok", "a running server makes them ahead"
