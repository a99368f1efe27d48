"""The console script as a process: its help, its speed, its signals, its place beside a running server."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from cyclopts import App

from tests.cli.terminal import Terminal
from tests.protocols.vectors import all_vectors, play
from tests.servers.serve import PROGRAM, Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import count
from tracker_server import __version__
from tracker_server.cli import reference
from tracker_server.cli.main import app

ROOT = Path(__file__).parents[2]
HEAVY = {
    "psycopg",
    "tracker_protocols",
    "tracker_server.config",
    "uvicorn",
    "starlette",
    "structlog",
    "asyncpg",
}


def commands(group: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, without the groups that only hold others."""
    for name in group:
        if name.startswith("-"):
            continue
        below = list(commands(group[name], (*path, name)))
        yield from below or [(*path, name)]


ALL_COMMANDS = list(commands(app))


def test_the_contracts_commands_are_there() -> None:
    names = {" ".join(command) for command in ALL_COMMANDS}
    assert names >= {
        "serve", "decode", "protocols", "simulate", "account add", "account list", "account show", "device add",
        "device list", "device show", "device remove", "device move", "device import", "device hold",
        "device release", "positions", "quarantine list", "quarantine replay", "quarantine drop", "db dsn",
        "db migrate", "db status", "config show", "config check", "doctor", "version",
    }  # fmt: skip


@pytest.mark.parametrize("command", ALL_COMMANDS, ids=" ".join)
def test_every_help_has_an_example_that_begins_with_the_command(
    bare: Terminal, command: tuple[str, ...]
) -> None:
    said = " ".join(bare.ok(*command, "--help").split())
    assert "Example: " in said
    assert f"tracker-server {' '.join(command)}" in said.partition("Example: ")[2]


def test_version(bare: Terminal) -> None:
    assert bare.ok("version").strip() == __version__
    assert bare.ok("--version").strip() == __version__


def test_wrong_use_exits_2_on_stderr(bare: Terminal) -> None:
    assert 'Unknown command "nope"' in bare.wrong("nope")
    assert "--nope" in bare.wrong("device", "list", "--nope")
    assert 'Unknown command "nope"' in bare.wrong("device", "nope")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["device", "--help"], ["device", "add", "--help"], ["version"]]
)
def test_help_imports_nothing_that_it_does_not_need(arguments: list[str]) -> None:
    """What makes a start slow is what it imports; and asking for help must work where the rest does not."""
    code = (
        "import sys; from tracker_server.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout
    assert HEAVY & set(done.stderr.split()) == set()


@pytest.mark.usefixtures("terminal")
def test_a_list_does_not_import_the_server() -> None:
    code = (
        "import sys; from tracker_server.cli.main import main\n"
        "try: main(['device', 'list'])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stderr.split())
    assert "psycopg" in loaded
    assert {"tracker_server.app", "uvicorn", "starlette", "prometheus_client"} & loaded == set()


@pytest.mark.parametrize("serving", ["tracker_server.logs, tracker_server.app", "tracker_server.worker"])
def test_a_server_loads_what_it_needs(serving: str) -> None:
    """What nobody has asked for yet is not in memory: a fleet that reports and has no fence needs no geometry."""
    code = (
        f"import sys, {serving}\n"
        "from tracker_server.track.engine import step\n"
        "from tracker_server.track.fences.index import EMPTY\n"
        "from tracker_server.track.observation import Observation\n"
        "from tracker_server.track.settings import TrackSettings\n"
        "from tracker_server.track.state import State\n"
        "fixes = [Observation(10_000_000 * n, n, 0, 52.0 + n / 1000, 13.0) for n in range(1, 99)]\n"
        "assert step(State(), fixes, TrackSettings(), EMPTY).state.totals.odometer_mm\n"
        "unwanted = {'rich', 'greenlet', 'numpy', 'shapely', 'pyproj', 'matplotlib', 'stripe', 'authlib'}\n"
        "assert not unwanted & {name.split('.')[0] for name in sys.modules}\n"
        "import greenlet, rich.console"  # they were not taken away from others
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_reader_who_has_seen_enough(terminal: Terminal) -> None:
    """`tracker-server device list --format csv | head -1`"""
    with psycopg.connect(terminal.dsn, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO core.devices (unique_id, name, account_id)"
            " SELECT 'T' || n, repeat('x', 90), min(a.id) FROM core.accounts a, generate_series(1, 5000) n GROUP BY n"
        )
    process = terminal.program("device", "list", "--format", "csv")
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline().startswith(b"id,unique_id,")
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), errors) == (141, b"")


def test_an_impatient_operator(terminal: Terminal) -> None:
    """Ctrl-C while the database lets a command wait: no traceback."""
    terminal.ok("device", "add", "T1")
    with psycopg.connect(terminal.dsn) as other:
        other.execute("LOCK TABLE core.devices IN ACCESS EXCLUSIVE MODE")
        process = terminal.program("device", "remove", "T1")
        with psycopg.connect(terminal.dsn, autocommit=True) as watcher:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            wait_until("the command to wait", lambda: watcher.execute(waiting).fetchone())
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate(timeout=60)
    assert (process.returncode, out, errors) == (130, b"", b"")


# ---------------------------------------------------------------------- beside a running server


def osmand(running: Running, unique_id: str, at: float) -> int:
    host, port = running.addresses["osmand"]
    url = f"http://{host}:{port}/?id={unique_id}&lat=52.1&lon=21&timestamp={at:.0f}&speed=10"
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.status


@pytest.mark.timeout(300)
@pytest.mark.parametrize("home", ["embedded", "dsn"])
def test_a_tracker_in_five_minutes(server: Servers, request: pytest.FixtureRequest, home: str) -> None:
    """Unknown, quarantined, added, replayed, held, released, moved, removed: all beside the running server."""
    dsn = request.getfixturevalue("postgres_dsn") if home == "dsn" else ""
    running = server(dsn=dsn, protocols=["osmand"])
    now = time.time()

    def cli(*arguments: str) -> str:
        said = running.cli(*arguments)
        assert said.returncode == 0, said
        return said.stdout

    def shown(*flags: str) -> int:
        return len(json.loads(cli("positions", "T1", "--format", "json", *flags)))

    def live(*, expected: bool) -> bool:
        """Whether the server has heard that it knows the tracker, or no longer does."""
        before = count(running.dsn, "core.quarantine")
        assert osmand(running, "T1", now - 2_000 - before) == 200
        return (count(running.dsn, "core.quarantine") == before) is expected

    assert [osmand(running, "T1", now - age) for age in (30, 20)] == [200, 200]
    assert "2 frames of it in quarantine" in cli("device", "add", "T1")
    assert "2 of 2 frames replayed: 2 reports stored" in cli("quarantine", "replay", "--device", "T1")
    assert shown() == 2
    wait_until("the server to know the tracker", lambda: live(expected=True), 60)
    cli("quarantine", "replay")
    known = shown()
    cli("device", "hold", "T1", "--reason", "dispute")
    assert osmand(running, "T1", now - 10) == 200, "hidden, never deaf"
    assert (shown(), shown("--as", "operator")) == (0, known + 1)
    cli("device", "release", "T1")
    assert shown() == known + 1
    cli("account", "add", "B")
    cli("device", "move", "T1", "--account", "B")
    assert (shown(), shown("--as", "operator")) == (0, known + 1)
    cli("device", "remove", "T1")
    wait_until("the server to know it no longer", lambda: live(expected=False), 60)
    assert running.cli("positions", "T1").returncode == 1
    with psycopg.connect(cli("db", "dsn").strip()) as connection:
        assert connection.execute("SELECT count(*) FROM core.devices").fetchone() == (2,)


def test_a_port_in_use_is_told_by_serve_and_doctor_alike(bare: Terminal, postgres_dsn: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        bare.set(storage__dsn=postgres_dsn, listeners__gt06__host="127.0.0.1", listeners__gt06__port=port)
        done = subprocess.run(
            [PROGRAM, "serve"], cwd=bare.folder, capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert f"listeners.gt06: tcp 127.0.0.1:{port} cannot be opened" in done.stderr


# ---------------------------------------------------------------------- reference pages


@pytest.mark.parametrize("name", reference.PAGES)
def test_reference_pages_are_current(name: str) -> None:
    assert (ROOT / name).read_text() == reference.PAGES[name](), (
        f"{name} is not current: run `python -m tracker_server.cli.reference`"
    )


def test_they_are_written_in_the_working_directory(tmp_path: Path) -> None:
    code = [sys.executable, "-m", "tracker_server.cli.reference"]
    subprocess.run(code, cwd=tmp_path, check=True, timeout=60)
    for name, page in reference.PAGES.items():
        assert (tmp_path / name).read_text() == page()


def test_common_attributes_are_told() -> None:
    """Names that two or more protocols use are the field's, so their units are told; alarms all are."""
    text = (ROOT / "docs" / "reference" / "attributes.md").read_text()
    told = {word.replace("<N>", "0") for part in text.split("`")[1::2] for word in part.split()}
    speakers: dict[str, set[str]] = {}
    alarms: set[str] = set()
    for vector in all_vectors():
        for message in play(vector):
            for name, value in (getattr(message, "attributes", None) or {}).items():
                general = "".join("0" if c.isdigit() else c for c in name)
                while "00" in general:
                    general = general.replace("00", "0")
                speakers.setdefault(general, set()).add(vector.speaks)
                if name == "alarm":
                    alarms.update(str(value).split(","))
    common = {name for name, protocols in speakers.items() if len(protocols) > 1}
    assert len(common) > 30
    assert common - told == set(), "docs/reference/attributes.md does not tell of these"
    assert alarms - told == set(), "docs/reference/attributes.md does not tell of these alarms"
