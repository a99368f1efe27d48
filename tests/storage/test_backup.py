"""Saved, proven, put back: equal on both homes and across them, whole or not at all, and no changed byte gets by."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg.errors import RestrictViolation

from tests.servers.postgres import SharedPostgres
from tests.servers.serve import PROGRAM
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tests.storage.saved import NASTY, content, database_of, fill, nothing, put_back, rules, save, verified
from tracker_server.config import Backup as BackupSettings
from tracker_server.config import Settings, Storage
from tracker_server.metrics import Metrics
from tracker_server.storage import backup_job
from tracker_server.storage.backup_catalogue import Catalogue, Known
from tracker_server.storage.backup_drill import drill
from tracker_server.storage.backup_file import (
    SEAL_BYTES,
    Backup,
    BackupError,
    BadBackupError,
    DamagedError,
    check,
)
from tracker_server.storage.backup_keeper import BackupKeeper, drill_due, due
from tracker_server.storage.database import Role
from tracker_server.storage.migrate import known_migrations, migrate

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def other_dsn(home: SharedPostgres) -> Generator[str]:
    """A second fresh database in the same home."""
    with home.database() as dsn:
        yield dsn


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "all.zip"


# ---------------------------------------------------------------------- there and back


async def assert_equal(source: dict[str, str], dsn: str) -> None:
    assert content(dsn) == source
    async with await database_of(dsn).connect(Role.OWNER) as connection:
        assert await verified(connection) == []


async def test_wiped_and_restored_everything_is_equal(home_dsn: str, other_dsn: str, path: Path) -> None:
    """R118: positions, telemetry, events, trackers, money, blocks, quarantine: the same, and the rules in force again."""
    await fill(home_dsn)
    before = content(home_dsn)
    fresh_rules = rules(other_dsn)
    backup = await save(home_dsn, path)
    assert before["positions"].startswith("20000 ")
    await put_back(other_dsn, backup)
    await assert_equal(before, other_dsn)
    assert rules(other_dsn) == fresh_rules
    assert query(other_dsn, "SELECT name FROM core.devices WHERE unique_id = 'T0001'") == [{"name": NASTY}]


async def test_it_goes_from_one_home_into_the_other(
    postgres_dsn: str, timescaledb_dsn: str, tmp_path: Path
) -> None:
    for source, target in ((postgres_dsn, timescaledb_dsn), (timescaledb_dsn, postgres_dsn)):
        if source == postgres_dsn:
            await fill(source)
        before = content(source)
        backup = await save(source, tmp_path / f"{len(before)}-{source == postgres_dsn}.zip")
        await put_back(target, backup, replace=True)
        await assert_equal(before, target)
        chunks = query(timescaledb_dsn, "SELECT count(*) AS n FROM show_chunks('core.positions')")
        assert chunks[0]["n"] > 50, "they are hypertables still"


async def test_numbers_go_on_and_the_journal_stays_append_only(home_dsn: str, path: Path) -> None:
    await fill(home_dsn, fixes=100)
    backup = await save(home_dsn, path)
    last = query(
        home_dsn,
        "SELECT (SELECT max(id) FROM core.devices) AS device, (SELECT max(id) FROM core.positions) AS position,"
        " (SELECT max(id) FROM core.quarantine) AS frame",
    )[0]
    query(
        home_dsn,
        "INSERT INTO core.accounts (name, zone, currency, tariff_id) VALUES ('later', 'UTC', 'EUR', 1)",
    )
    await put_back(home_dsn, backup, replace=True)
    assert query(home_dsn, "SELECT 1 AS one FROM core.accounts WHERE name = 'later'") == []
    added = query(
        home_dsn,
        "INSERT INTO core.devices (unique_id, account_id, name) VALUES ('new', 1, 'new') RETURNING id",
    )[0]["id"]
    assert added == last["device"] + 1
    assert query(home_dsn, "SELECT 1 AS one FROM core.device_state WHERE device_id = %s", [added]), (
        "its trigger is on"
    )
    assert query(home_dsn, "SELECT nextval('core.position_ids') AS n")[0]["n"] > last["position"]
    for statement in (
        "DELETE FROM core.journal",
        "UPDATE core.journal SET at = now()",
        "TRUNCATE core.journal",
    ):
        with pytest.raises(RestrictViolation):
            query(home_dsn, statement)


async def test_triggers_of_growing_tables_are_off_meanwhile_and_back_afterwards(
    home_dsn: str, path: Path
) -> None:
    """TimescaleDB cannot disable those; no migration has one yet."""
    await fill(home_dsn, fixes=10)
    query(
        home_dsn,
        "CREATE FUNCTION core.no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;"
        "CREATE TRIGGER no BEFORE INSERT ON core.events FOR EACH ROW EXECUTE FUNCTION core.no()",
    )
    before, in_force = content(home_dsn), rules(home_dsn)
    await put_back(home_dsn, await save(home_dsn, path), replace=True)
    assert content(home_dsn) == before
    assert rules(home_dsn) == in_force
    with pytest.raises(psycopg.errors.RaiseException):
        query(home_dsn, "INSERT INTO core.events (device_id, type, occurred_at) VALUES (1, 'enter', now())")


async def test_an_older_databases_backup_is_brought_to_todays_shape(
    empty_dsn: str, home: SharedPostgres, path: Path
) -> None:
    async with await database_of(empty_dsn).connect(Role.OWNER) as owner:
        await migrate(owner, timescaledb=True, migrations=known_migrations()[:1])
    query(
        empty_dsn,
        "INSERT INTO core.tariffs (name, currency, monthly_minor) VALUES ('Old', 'EUR', 700);"
        "INSERT INTO core.accounts (name, zone, currency, tariff_id) VALUES ('old', 'UTC', 'EUR', 1);"
        "INSERT INTO core.devices (unique_id, account_id, name) VALUES ('T1', 1, 'T1');"
        "SELECT core.ensure_days(ARRAY[current_date]);"
        "INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)"
        " VALUES (1, now(), now(), 7, 52.5, 13.25, true, 'gt06')",
    )
    backup = await save(empty_dsn, path)
    with home.database() as target:
        fresh_rules = rules(target)
        await put_back(target, backup)
        assert rules(target) == fresh_rules
        assert query(target, "SELECT monthly_minor FROM core.tariff_prices") == [{"monthly_minor": 700}]
        assert query(target, "SELECT latitude FROM display.positions") == [{"latitude": 52.5}]
        numbers = [
            row["number"] for row in query(target, "SELECT number FROM public.tracker_migrations ORDER BY 1")
        ]
        assert numbers == [migration.number for migration in known_migrations()]


async def test_a_newer_programs_backup_is_refused(postgres_dsn: str, path: Path) -> None:
    query(postgres_dsn, "INSERT INTO public.tracker_migrations VALUES (9999, 'later', 'x')")
    backup = await save(postgres_dsn, path)
    query(postgres_dsn, "DELETE FROM public.tracker_migrations WHERE number = 9999")
    with pytest.raises(BackupError, match="migration 9999; this program knows"):
        await put_back(postgres_dsn, backup)


# ---------------------------------------------------------------------- one moment


async def test_a_server_that_writes_meanwhile_is_in_it_up_to_one_commit(home_dsn: str, path: Path) -> None:
    """Each transaction writes 10 positions and 10 telemetry rows: both tables hold the same whole batches."""
    await fill(home_dsn, fixes=5_000)
    query(home_dsn, "DELETE FROM core.telemetry")
    query(home_dsn, "DELETE FROM core.positions WHERE protocol = 'osmand'")
    stop = asyncio.Event()
    batches = 0

    async def writes() -> None:
        nonlocal batches
        async with await database_of(home_dsn).connect(Role.CORE) as core:
            while not stop.is_set():
                async with core.transaction():
                    for table, column in (("positions", "fixed_at"), ("telemetry", "sent_at")):
                        place = ", latitude, longitude, valid" if table == "positions" else ", kind"
                        values = ", 1, 1, true" if table == "positions" else ", 'report'"
                        statement = (
                            f"INSERT INTO core.{table} (device_id, {column}, received_at, digest, protocol{place})"
                            f" SELECT 1, now() + g * interval '1 ms', now(), %s * 100 + g, 'osmand'{values}"
                            " FROM generate_series(1, 10) g"
                        )
                        await core.execute(statement.encode(), [batches])
                batches += 1
                if batches == 3:
                    begun.set()

    begun = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writes())
        await begun.wait()
        backup = await save(home_dsn, path)
        written = batches
        stop.set()
    with zipfile.ZipFile(path) as archive:
        lines = [
            archive.read(f"data/core.{name}.copy").decode().splitlines()
            for name in ("positions", "telemetry")
        ]
    positions, telemetry = ([line for line in table if "\tosmand\t" in line] for table in lines)
    assert len(positions) == len(telemetry)
    assert len(positions) % 10 == 0
    assert 30 <= len(positions) <= written * 10
    assert batches * 10 > len(positions), "it went on while the backup was made"
    assert backup.manifest.rows >= 5_020


# ---------------------------------------------------------------------- nothing bad gets by


async def test_one_flipped_byte_anywhere_is_found_and_its_part_named(postgres_dsn: str, path: Path) -> None:
    """R119."""
    await fill(postgres_dsn, fixes=300)
    flip_bytes(await save(postgres_dsn, path))


def flip_bytes(backup: Backup) -> None:
    path = backup.path
    whole = path.read_bytes()
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    places = {table.member: table.raw for table in backup.manifest.tables}
    cases = [
        (name, chance.randrange(begin, end)) for name, (begin, end, _) in places.items() for _ in range(4)
    ]
    behind = max(end for _, end, _ in places.values())
    cases += [("", chance.randrange(behind, len(whole))) for _ in range(60)]
    cases += [("", len(whole) - 1), ("", len(whole) - SEAL_BYTES), ("", behind)]
    for member, at in cases:
        broken = bytearray(whole)
        broken[at] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        with pytest.raises(DamagedError) as caught:
            check(path)
        if member:
            assert caught.value.member == member, at
        else:
            assert caught.value.member not in places, at
    path.write_bytes(whole)
    assert check(path) == backup


async def test_a_file_cut_short_and_a_file_of_another_kind_are_refused(postgres_dsn: str, path: Path) -> None:
    await save(postgres_dsn, path)
    cut_short(path)


def cut_short(path: Path) -> None:
    whole = path.read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, SEAL_BYTES, 4):
        path.write_bytes(whole[:size])
        with pytest.raises(DamagedError, match="cut short"):
            check(path)
    path.write_bytes(b"")
    with pytest.raises(BackupError, match="is no backup"):
        check(path)
    path.write_text("a letter " * 100)
    with pytest.raises(BackupError, match="is no backup"):
        check(path)
    with pytest.raises(BackupError, match="No such file"):
        check(path.with_name("nowhere"))


def rewritten(backup: Backup, path: Path, table: str, change: dict[bytes, bytes]) -> Backup:
    """A backup whose sums all fit, but whose rows are not those that were saved: as a faulty program would write."""
    from tracker_server.storage.backup_file import writing

    tables = []
    with writing(path) as writer:
        for one in backup.manifest.tables:
            text = b"".join(backup.blocks(one))
            if one.name == table:
                for old, new in change.items():
                    assert old in text
                    text = text.replace(old, new, 1)
            with writer.member(one.member) as member:
                member.write(text)
            rows = text.count(b"\n")
            tables.append(
                msgspec.structs.replace(
                    one,
                    rows=rows,
                    size_bytes=len(text),
                    sha256=hashlib.sha256(text).hexdigest(),
                    raw=writer.cut(),
                )
            )
        writer.close(msgspec.structs.replace(backup.manifest, tables=tuple(tables)))
    return check(path)


async def test_rows_that_the_database_refuses_or_that_are_others_leave_all_as_it_was(
    home_dsn: str, path: Path
) -> None:
    await fill(home_dsn, fixes=100)
    backup = await save(home_dsn, path)
    before, in_force = content(home_dsn), rules(home_dsn)
    cases = {
        "refers to nobody": ("devices", {b"\tT0002\t2\t": b"\tT0002\t77\t"}, "violates foreign key"),
        "another balance": ("accounts", {b"Europe/Moscow": b"Europe/Madrid"}, "others than those saved"),
        "no such number": ("devices", {b"\tT0003\t2\t": b"\tT0003\tx\t"}, "invalid input syntax"),
        "one too few": ("blocks", {b"operator": b"operatoR"}, "others than those saved"),
    }
    for name, (table, change, said) in cases.items():
        bad = rewritten(backup, path.with_name(f"{name}.zip"), table, change)
        with pytest.raises(DamagedError, match=said) as caught:
            await put_back(home_dsn, bad, replace=True)
        assert caught.value.member == f"data/core.{table}.copy"
        assert content(home_dsn) == before
        assert rules(home_dsn) == in_force


async def test_the_drill_finds_money_that_does_not_add_up(home_dsn: str, path: Path) -> None:
    await fill(home_dsn, fixes=100)
    settings = Settings(storage=Storage(dsn=home_dsn))
    await drill(await save(home_dsn, path), settings, nothing)
    query(home_dsn, "UPDATE core.billing SET facts = facts + 1 WHERE facts > 0")
    bad = await save(home_dsn, path.with_name("bad.zip"))
    with pytest.raises(BadBackupError, match="not consistent: account 'A'"):
        await drill(bad, settings, nothing)


# ---------------------------------------------------------------------- all or nothing


def begin_restore(path: Path, data_dir: Path, dsn: str) -> subprocess.Popen[bytes]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRACKER_")}
    return subprocess.Popen(
        [PROGRAM, "backup", "restore", str(path), "--replace", "--skip-drill", "--data-dir", str(data_dir)],
        env={**environment, "TRACKER_STORAGE__DSN": dsn},
    )


async def test_killed_in_the_middle_the_database_is_as_it_was(
    home_dsn: str, home: SharedPostgres, path: Path, tmp_path: Path
) -> None:
    with home.database() as source:
        await fill(source, fixes=60_000)
        await save(source, path)
    await fill(home_dsn, fixes=200)
    before, in_force = content(home_dsn), rules(home_dsn)
    process = begin_restore(path, tmp_path, home_dsn)

    def loading() -> bool:
        assert process.poll() is None, "it was done before it could be killed"
        return bool(
            query(
                home_dsn,
                'SELECT 1 AS one FROM pg_stat_activity WHERE datname = current_database() AND query LIKE \'COPY "core"."positions"%%\'',
            )
        )

    wait_until("positions to be loaded", loading)
    process.kill()
    process.wait()
    wait_until(
        "its connection to end",
        lambda: (
            not query(
                home_dsn,
                "SELECT 1 AS one FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tracker-server%%'",
            )
        ),
    )
    assert content(home_dsn) == before
    assert rules(home_dsn) == in_force


async def test_one_that_holds_a_table_is_waited_for_and_then_named(
    postgres_dsn: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tracker_server.storage.backup_restore.LOCK_WAIT", "100ms")
    backup = await save(postgres_dsn, path)
    with psycopg.connect(postgres_dsn) as holder:
        holder.execute("SELECT 1 AS one FROM core.devices")
        with pytest.raises(BackupError, match="somebody else reads or writes"):
            await put_back(postgres_dsn, backup)


async def test_create_leaves_no_half_file(
    postgres_dsn: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the middle."""
    await fill(postgres_dsn, fixes=100)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BackupError, match="No space left"):
        await save(postgres_dsn, path)
    assert list(path.parent.iterdir()) == []


async def test_the_file_is_its_owners_only(postgres_dsn: str, path: Path) -> None:
    backup = await save(postgres_dsn, path)
    assert os.stat(backup.path).st_mode & 0o777 == 0o600  # noqa: PTH116  (of a coroutine, pathlib would be too)


# ---------------------------------------------------------------------- the server's own


def known(age: timedelta, drilled: timedelta | None = None) -> Known:
    proven = None if drilled is None else NOW - drilled
    return Known("/x", NOW - age, 1, 1, "", NOW - age, proven)


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("ages", "every_hours", "failed", "expected"),
    [
        ((), 24, None, True),
        ((), 0, None, False),
        ((23 * HOUR,), 24, None, False),
        ((23.5 * HOUR,), 24, None, True),
        ((50 * HOUR, 1 * HOUR), 24, None, False),
        ((50 * HOUR,), 24, 0.5 * HOUR, False),
        ((50 * HOUR,), 24, 1 * HOUR, True),
        ((50 * HOUR,), 0, None, False),
    ],
)
def test_when_one_is_due(
    ages: tuple[timedelta, ...], every_hours: int, failed: timedelta | None, *, expected: bool
) -> None:
    failed_at = None if failed is None else NOW - failed
    assert due([known(age) for age in ages], every_hours, failed_at, NOW) is expected


def test_once_a_week_one_is_proven() -> None:
    day = timedelta(days=1)
    assert drill_due([], NOW)
    assert drill_due([known(day)], NOW)
    assert not drill_due([known(8 * day, 6 * day), known(day)], NOW)
    assert drill_due([known(8 * day, 7 * day), known(day)], NOW)


async def test_the_server_makes_keeps_and_proves_its_own(postgres_dsn: str, tmp_path: Path) -> None:
    """R122, with the process that does it."""
    await fill(postgres_dsn, fixes=100)
    settings = Settings(data_dir=tmp_path / "data", storage=Storage(dsn=postgres_dsn))
    metrics = Metrics()
    keeper = BackupKeeper(settings, metrics, after_start_s=0)

    def newest() -> float:
        return metrics.registry.get_sample_value("tracker_backup_verified_timestamp_seconds") or 0.0

    running = asyncio.create_task(keeper.run())
    until = asyncio.get_running_loop().time() + 60
    while not newest():
        assert asyncio.get_running_loop().time() < until
        await asyncio.sleep(0.05)
    running.cancel()
    (one,) = Catalogue(settings.data_dir).known()
    assert one.drilled_at is not None
    assert Path(one.path).parent == tmp_path / "data" / "backups"
    assert newest() == one.created_at.timestamp()
    await put_back(postgres_dsn, check(Path(one.path)), replace=True)


async def test_too_many_are_removed_oldest_first_and_other_files_are_not(
    postgres_dsn: str, tmp_path: Path
) -> None:
    folder = tmp_path / "elsewhere"
    settings = Settings(
        data_dir=tmp_path, storage=Storage(dsn=postgres_dsn), backup=BackupSettings(dir=str(folder), keep=2)
    )
    folder.mkdir()
    for name in (
        "tracker-20200101T000000Z.zip",
        "tracker-20200102T000000Z.zip",
        "tracker-20200103T000000Z.zip.part",
    ):
        (folder / name).write_text("old")
    (folder / "mine.zip").write_text("by hand")
    made = await backup_job.make(settings, with_drill=False)
    assert made is not None
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["mine.zip", "tracker-20200102T000000Z.zip", made.path.name]


async def test_of_two_processes_one_makes_it(postgres_dsn: str, tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, storage=Storage(dsn=postgres_dsn))
    async with await database_of(postgres_dsn).connect(Role.OWNER) as other:
        await other.execute("SELECT pg_advisory_lock(%s)", [backup_job.LOCK])
        assert await backup_job.make(settings, with_drill=False) is None


def run_job(settings: Settings) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tracker_server.storage.backup_job"],
        input=backup_job.encode(backup_job.Order(settings, drill=False)),
        capture_output=True,
        check=False,
    )


async def test_why_none_was_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    settings = Settings(data_dir=tmp_path, backup=BackupSettings(dir=str(tmp_path / "taken" / "below")))
    done = run_job(settings)
    assert done.returncode == 1
    assert b"backup.dir" in done.stdout
    keeper = BackupKeeper(settings, Metrics(), after_start_s=0)
    with pytest.raises(BackupError, match=r"backup\.dir"):
        await keeper._make(drill=False)


async def test_a_server_that_stops_meanwhile_leaves_no_half_backup(postgres_dsn: str, tmp_path: Path) -> None:
    """The job is stuck at a table that somebody holds; the server goes, and takes the job along."""
    settings = Settings(data_dir=tmp_path, storage=Storage(dsn=postgres_dsn))
    keeper = BackupKeeper(settings, Metrics(), after_start_s=0)
    waiting = "SELECT 1 AS one FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with psycopg.connect(postgres_dsn) as holder:
        holder.execute("LOCK TABLE core.positions IN ACCESS EXCLUSIVE MODE")
        running = asyncio.create_task(keeper.run())
        until = asyncio.get_running_loop().time() + 60
        while not await asyncio.to_thread(query, postgres_dsn, waiting):
            assert asyncio.get_running_loop().time() < until
            await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert list((tmp_path / "backups").iterdir()) == []
    assert Catalogue(tmp_path).known() == []
