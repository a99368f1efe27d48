"""What the database is, told without changing it; and brought to its shape when asked."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.cli.history import moments, store
from tests.cli.terminal import Terminal, parts
from tests.storage.rows import query
from tracker_server.config import Settings
from tracker_server.storage.database import Database
from tracker_server.storage.embedded import ALLOCATOR, Embedded
from tracker_server.storage.migrate import known_migrations

KNOWN = [migration.number for migration in known_migrations()]


def test_the_dsn_is_one_that_libpq_takes(terminal: Terminal) -> None:
    dsn = terminal.ok("db", "dsn").strip()
    assert dsn == terminal.dsn
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM core.accounts").fetchone() == (1,)


def test_the_embedded_databases_dsn_is_told_though_it_does_not_run(
    bare: Terminal, embedded_settings: Settings
) -> None:
    bare.set(data_dir=embedded_settings.data_dir)
    said = bare("db", "dsn")
    assert (said.code, said.out.strip()) == (0, Database(embedded_settings).dsn)
    assert "the embedded database runs while `tracker-server serve` does" in said.err
    assert not Embedded(embedded_settings.data_dir).exists(), "asking makes nothing"


def test_while_somebody_uses_it_there_is_nothing_to_say(bare: Terminal, embedded_settings: Settings) -> None:
    bare.set(data_dir=embedded_settings.data_dir)
    database = Embedded(embedded_settings.data_dir)
    database.acquire()
    try:
        said = bare("db", "dsn")
        assert said.err == ""
        postmaster = (database.cluster / "postmaster.pid").read_text().split()[0]
        given = Path("/proc", postmaster, "environ").read_bytes().decode().split("\0")
        assert {f"{name}={value}" for name, value in ALLOCATOR.items()} <= set(given), (
            "what is freed stays for the next"
        )
        with psycopg.connect(said.out.strip()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        database.release()


def test_migrating_tells_what_it_did(bare: Terminal, empty_dsn: str) -> None:
    bare.set(storage__dsn=empty_dsn)
    assert bare.json("db", "status")["migrations"] == {"applied": [], "missing": KNOWN}
    said = bare.ok("db", "migrate")
    assert [line.split()[1] for line in said.splitlines()] == [str(number) for number in KNOWN]
    assert "migration 1 (core) applied" in said
    assert bare.ok("db", "migrate").strip() == "the database is up to date"
    assert bare.json("db", "status")["migrations"] == {"applied": KNOWN, "missing": []}
    assert [row["name"] for row in bare.json("account", "list")] == ["default"]


def test_other_commands_migrate_where_something_is_missing(bare: Terminal, empty_dsn: str) -> None:
    bare.set(storage__dsn=empty_dsn)
    bare.ok("device", "add", "T1")
    assert bare.json("db", "status")["migrations"]["missing"] == []


def test_a_database_of_a_newer_program_is_left_alone(terminal: Terminal) -> None:
    query(terminal.dsn, "INSERT INTO public.tracker_migrations VALUES (9999, 'later', 'x')")
    for command in (["device", "list"], ["db", "migrate"], ["db", "status"]):
        said = terminal.refused(*command)
        assert f"the database is at migration 9999 and this program knows {KNOWN[-1]}" in said


def test_status_of_both_homes(both_homes: Terminal, request: pytest.FixtureRequest) -> None:
    timescale = "timescaledb" in request.node.name
    both_homes.ok("device", "add", "T1")
    both_homes.ok("device", "add", "T2")
    both_homes.ok("device", "hold", "T2", "--reason", "x")
    today = datetime.now(UTC).replace(microsecond=0)
    store(both_homes.dsn, "T1", moments(today - timedelta(days=3), 40, timedelta(hours=1)))
    store(both_homes.dsn, "T1", moments(datetime(2019, 5, 6, 7, tzinfo=UTC), 3))
    found = both_homes.json("db", "status")
    assert found["home"] == "storage.dsn"
    assert int(found["postgresql"].split(".")[0]) >= 15
    assert (found["timescaledb"] is not None) == timescale
    assert (found["accounts"], found["trackers"], found["blocked"], found["quarantine_frames"]) == (
        1,
        2,
        1,
        0,
    )
    (table,) = [table for table in found["tables"] if table["table"] == "positions"]
    assert table["kind"] == ("hypertable" if timescale else "partitions")
    assert (table["oldest_day"], table["newest_day"]) == (
        "2019-05-06",
        f"{today - timedelta(hours=33):%Y-%m-%d}",
    )
    assert table["partitions"] >= 3
    assert table["size_bytes"] > 8_192
    if not timescale:
        assert table["rows_estimate"] == 43, "small partitions that nobody has analysed are counted"
    assert found["size_bytes"] > table["size_bytes"]
    lines = both_homes.ok("db", "status")
    assert parts(lines)["migrations"].endswith("missing: none")
    assert "positions" in lines


def test_analysed_rows_are_estimated(both_homes: Terminal) -> None:
    both_homes.ok("device", "add", "T1")
    store(both_homes.dsn, "T1", moments(datetime(2026, 3, 1, tzinfo=UTC), 500, timedelta(minutes=5)))
    with psycopg.connect(both_homes.dsn, autocommit=True) as connection:
        connection.execute("ANALYZE core.positions")
    (table,) = [t for t in both_homes.json("db", "status")["tables"] if t["table"] == "positions"]
    assert 400 <= table["rows_estimate"] <= 600
    assert (table["oldest_day"], table["newest_day"]) == ("2026-03-01", "2026-03-02")


def test_the_password_is_not_told(terminal: Terminal) -> None:
    password = terminal.dsn.partition("tracker:")[2].partition("@")[0]
    assert password
    assert password not in terminal.ok("db", "status")
    assert "password=***" in terminal.json("db", "status")["dsn"]


def test_status_where_there_is_none_yet(bare: Terminal, embedded_settings: Settings) -> None:
    bare.set(data_dir=embedded_settings.data_dir)
    said = bare.refused("db", "status")
    assert "there is no database in" in said
    assert "`tracker-server serve` makes it, or `tracker-server db migrate`" in said
    assert not Embedded(embedded_settings.data_dir).exists()


def test_a_database_that_is_away(bare: Terminal) -> None:
    bare.set(storage__dsn="postgresql://127.0.0.1:1/none")
    for command in (
        ["device", "list"],
        ["db", "status"],
        ["db", "migrate"],
        ["positions", "T1"],
        ["account", "list"],
    ):
        said = bare.refused(*command)
        assert "the database does not answer: " in said
        assert "`tracker-server doctor` tells more" in said


def test_a_dsn_that_is_none(bare: Terminal) -> None:
    bare.set(storage__dsn="nonsense")
    assert "storage.dsn: not a PostgreSQL URI or conninfo" in bare.refused("device", "list")


def test_a_data_directory_that_cannot_be_made(bare: Terminal) -> None:
    bare.set(data_dir="/proc/none")
    assert "data_dir: /proc/none/postgres cannot be made" in bare.refused("device", "list")


def test_without_a_server_a_command_starts_the_database_and_stops_it(
    bare: Terminal, embedded_settings: Settings
) -> None:
    bare.set(data_dir=embedded_settings.data_dir)
    process = bare.program("device", "add", "T1")
    out, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b""), "no log lines among what people read"
    assert b"tracker 'T1' added" in out
    home = Embedded(embedded_settings.data_dir)
    assert home.exists()
    assert not (home.cluster / "postmaster.pid").exists(), "nothing is left running"
    assert [row["unique_id"] for row in bare.json("device", "list")] == ["T1"]


def test_commands_at_once_share_the_embedded_database(bare: Terminal, embedded_settings: Settings) -> None:
    """The first one makes and starts it, the last one stops it, none is in another's way."""
    bare.set(data_dir=embedded_settings.data_dir)
    processes: list[subprocess.Popen[bytes]] = [bare.program("device", "add", f"T{n}") for n in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=100)
        assert process.returncode == 0, errors
    assert len(bare.json("device", "list")) == 4
    assert not (Embedded(embedded_settings.data_dir).cluster / "postmaster.pid").exists()
