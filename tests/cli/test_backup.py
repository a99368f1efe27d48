"""``tracker-server backup`` as an operator uses it, and what ``doctor`` says of backups."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.servers.memory import fresh_folder
from tests.servers.serve import Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import count, query
from tests.storage.saved import content, fill
from tracker_server.storage.embedded import Embedded

ADD = ("device", "add", "356307042441013", "--account", "default")


@pytest.fixture
def folder() -> Generator[Path]:
    """Of databases: not pytest's own folder, which is private to us."""
    made = fresh_folder("tracker-backup-")
    yield made
    for home in made.glob("*/postgres"):
        left = Embedded(home.parent)
        left.acquire()
        left.release()
    shutil.rmtree(made, ignore_errors=True)


def flip(path: Path, at: int) -> None:
    broken = bytearray(path.read_bytes())
    broken[at] ^= 1
    path.write_bytes(broken)


# ---------------------------------------------------------------------- there and back


def test_create_verify_list_restore(both_homes: Terminal) -> None:
    both_homes.ok(*ADD)
    said = both_homes.ok("backup", "create", "a.zip")
    assert said.startswith("a.zip: ")
    assert said.endswith("checksums hold\n")
    (made,) = both_homes.json("backup", "list")
    assert made["path"] == str(both_homes.folder / "a.zip")
    assert made["drilled_at"] is None
    assert "restored for proof" in both_homes.ok("backup", "verify", "a.zip")
    assert both_homes.json("backup", "list")[0]["drilled_at"] is not None
    before = content(both_homes.dsn)
    both_homes.ok("device", "remove", ADD[2])
    assert "the database is not empty: core.journal has rows; --replace" in both_homes.refused(
        "backup", "restore", "a.zip", "--skip-drill"
    )
    assert "rows restored, as of" in both_homes.ok("backup", "restore", "a.zip", "--replace", "--skip-drill")
    assert content(both_homes.dsn) == before


def test_an_account_alone_makes_a_database_that_is_not_empty(terminal: Terminal) -> None:
    terminal.ok("backup", "create", "a.zip")
    terminal.ok("backup", "restore", "a.zip", "--skip-drill")
    query(
        terminal.dsn,
        "INSERT INTO core.accounts (name, zone, currency, tariff_id) SELECT 'Acme', 'UTC', 'EUR', id FROM core.tariffs",
    )
    assert "it has accounts or tariffs" in terminal.refused("backup", "restore", "a.zip", "--skip-drill")


async def test_reinstalled_and_restored_it_serves_as_before(server: Servers) -> None:
    """R118 with everything embedded: saved while it serves, the data directory gone, restored, served again."""
    running = server(protocols=["osmand"])
    await fill(running.dsn, fixes=500)
    before = content(running.dsn)
    file = str(running.home / "all.zip")
    made = running.cli("backup", "create", file)
    assert made.returncode == 0, made.stderr
    held = running.cli("backup", "restore", file, "--replace", "--skip-drill")
    assert held.returncode == 1
    assert "the database is in use by tracker-server" in held.stderr
    assert "stop `tracker-server serve`" in held.stderr
    running.stop()
    shutil.rmtree(running.data_dir)
    done = running.cli("backup", "restore", file)
    assert done.returncode == 0, done.stderr
    running.launch()
    after = content(running.dsn)
    for table in (
        "positions",
        "telemetry",
        "events",
        "devices",
        "quarantine",
        "tariffs",
        "accounts",
        "tariff_prices",
    ):
        assert after[table] == before[table], table
    verified = running.cli("billing", "verify")
    assert verified.returncode == 0, verified.stderr


# ---------------------------------------------------------------------- refused


def test_what_cannot_be_made(bare: Terminal, postgres_dsn: str) -> None:
    assert "there is no database in" in bare.refused("backup", "create", "a.zip")
    bare.set(storage__dsn=postgres_dsn)
    assert "FILE: there is no folder" in bare.wrong("backup", "create", "nowhere/a.zip")
    bare.ok("backup", "create", "a.zip")
    assert "a.zip: there is such a file already; choose another name" in bare.refused(
        "backup", "create", "a.zip"
    )


def test_a_database_before_its_first_migration_has_nothing_to_save(bare: Terminal, empty_dsn: str) -> None:
    bare.set(storage__dsn=empty_dsn)
    assert "there is nothing to save" in bare.refused("backup", "create", "a.zip")


def test_a_damaged_file_is_refused_and_the_last_good_one_named(terminal: Terminal) -> None:
    """R119."""
    terminal.ok(*ADD)
    for name in ("first.zip", "second.zip", "third.zip"):
        terminal.ok("backup", "create", name)
    for name in ("second.zip", "third.zip"):
        flip(terminal.folder / name, 60)
    for command in (("verify", "third.zip"), ("restore", "third.zip", "--replace")):
        said = terminal.refused("backup", *command)
        assert "third.zip: damaged: data/core." in said
        assert f"the last good one is {terminal.folder / 'first.zip'} of " in said
    flip(terminal.folder / "first.zip", 60)
    assert "no good backup is known here" in terminal.refused("backup", "verify", "first.zip")
    assert count(terminal.dsn, "core.devices") == 1


def test_a_file_of_another_kind_is_refused(terminal: Terminal) -> None:
    (terminal.folder / "letter.txt").write_text("Dear customer,")
    assert "letter.txt: is no backup; `tracker-server backup create` makes one" in terminal.refused(
        "backup", "restore", "letter.txt"
    )
    assert "No such file" in terminal.refused("backup", "verify", "nowhere.zip")


def test_a_list_of_backups_that_cannot_be_read_is_named(terminal: Terminal) -> None:
    (terminal.folder / "data").mkdir()
    (terminal.folder / "data" / "backups.json").write_text("[{")
    assert "backups.json: cannot be read" in terminal.refused("backup", "list")


def test_the_newest_backup_is_listed_first(terminal: Terminal) -> None:
    for name in ("before.backup", "after.backup"):
        terminal.ok("backup", "create", name)
    assert [Path(row["path"]).name for row in terminal.json("backup", "list")] == [
        "after.backup",
        "before.backup",
    ]


# ---------------------------------------------------------------------- a copy for analysis


def test_a_quarantined_copy_reads_and_does_nothing_else(
    terminal: Terminal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R120."""
    terminal.ok(*ADD)
    terminal.ok("backup", "create", "a.zip")
    copy = str(folder / "copy")
    assert "go not together" in terminal.wrong(
        "backup", "restore", "a.zip", "--replace", "--quarantine", copy
    )
    terminal.ok("backup", "restore", "a.zip", "--skip-drill", "--quarantine", copy)
    assert "is not empty; name a new directory" in terminal.refused(
        "backup", "restore", "a.zip", "--skip-drill", "--quarantine", copy
    )
    monkeypatch.delenv("TRACKER_STORAGE__DSN")
    (tracker,) = terminal.json("device", "list", "--data-dir", copy)
    assert tracker["unique_id"] == ADD[2]
    assert "the database takes no writes" in terminal.refused("device", "remove", ADD[2], "--data-dir", copy)
    assert "is a quarantined copy of" in terminal.refused(
        "backup", "restore", "a.zip", "--skip-drill", "--replace", "--data-dir", copy
    )
    serving = terminal.program("serve", "--data-dir", copy)
    out, err = serving.communicate(timeout=30)
    assert (serving.returncode, out) == (1, b"")
    assert b"listens to no device, sends nothing and debits nobody" in err


# ---------------------------------------------------------------------- what doctor says


def finding(terminal: Terminal) -> tuple[str, str]:
    rows = json.loads(terminal("doctor", "--format", "json").out)
    (row,) = [row for row in rows if row["check"] == "backup"]
    return row["state"], row["detail"]


def test_doctor_warns_of_a_backup_older_than_a_day(terminal: Terminal) -> None:
    """R122."""
    assert finding(terminal) == ("warning", "none has been made or verified here")
    terminal.ok("backup", "create", "a.zip")
    assert finding(terminal)[0] == "ok"
    file = terminal.folder / "data" / "backups.json"
    (known,) = json.loads(file.read_text())
    for hours, state in ((23, "ok"), (25, "warning")):
        known["created_at"] = (datetime.now(UTC) - timedelta(hours=hours)).isoformat()
        file.write_text(json.dumps([known]))
        assert finding(terminal) == (state, f"the last verified one, {known['path']}, is {hours} hours old")
    (terminal.folder / "a.zip").unlink()
    assert finding(terminal)[0] == "warning"
    terminal.set(backup__every_hours=0)
    assert finding(terminal) == ("ok", "the server's own are off (backup.every_hours = 0)")
    file.write_text("[{")
    assert finding(terminal)[0] == "warning"


def test_interrupted_it_leaves_neither_a_half_file_nor_a_scratch_database(
    terminal: Terminal, folder: Path
) -> None:
    terminal.ok("backup", "create", "a.zip")
    verifying = terminal.program("backup", "verify", "a.zip", TMPDIR=str(folder))
    wait_until("the scratch database", lambda: list(folder.glob("tracker-drill-*/postgres/postgres.use")))
    verifying.send_signal(signal.SIGINT)
    verifying.communicate(timeout=60)
    assert verifying.returncode == 130
    assert list(folder.iterdir()) == []
