"""Database servers that all test processes of a checkout share, and fresh databases on them.

Each process that uses one holds a shared lock; the first starts it, the last stops it and takes its data
away. A process that is killed loses its lock with its life: the next run finds the server, takes it over,
drops the databases that were left, and stops it in the end.

A fresh database is a copy of one that was migrated once: about 20 ms. It belongs to ``tracker``, who may
log in and make roles but is no superuser, as an operator's database user should be.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql

from tests.servers.memory import MEMORY, folder
from tests.servers.ports import free_port
from tests.servers.waiting import missing
from tracker_server.app import prepare
from tracker_server.config import Settings, Storage
from tracker_server.storage.database import Database
from tracker_server.storage.embedded import Embedded, EmbeddedError
from tracker_server.storage.migrate import known_migrations

CHECKOUT = Path(__file__).parents[2]
OWNER = "tracker"
FRESH = "fresh_"
TEMPLATE = "template_"

SETTINGS = (
    "listen_addresses = '127.0.0.1'",
    "unix_socket_directories = ''",
    "max_connections = 200",
    "fsync = off",  # what a test stores need not survive the machine
    "synchronous_commit = off",
    "full_page_writes = off",
    "max_wal_size = 256MB",
    "timezone = 'UTC'",
    "log_timezone = 'UTC'",
)


class SharedPostgres(ABC):
    """One server for all test processes of this checkout."""

    name: str

    def __init__(self) -> None:
        checkout = hashlib.sha256(os.fsencode(CHECKOUT)).hexdigest()[:8]
        self.home = folder() / f"tracker-test-{os.geteuid()}-{checkout}" / self.name
        self._use: int | None = None
        self._numbers = count(1)
        self._password = ""
        self._port = 0

    # ------------------------------------------------------------------ the server

    @abstractmethod
    def start(self, port: int, password: str) -> None:
        """Start it on 127.0.0.1, with new data, superuser ``postgres`` and this password."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it where it runs, and take its data away."""

    def acquire(self) -> None:
        """Have it running until ``release``."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self._door():
            use = os.open(self.home / "use", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            alone = _locked(use)
            if not self._find():
                self.stop()
                self._port, self._password = free_port(), secrets.token_hex(16)
                self.start(self._port, self._password)
                with self._superuser() as connection:
                    connection.execute(
                        sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(
                            sql.Identifier(OWNER), self._password
                        )
                    )
                state = os.open(self.home / "state", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                os.write(state, json.dumps([self._port, self._password]).encode())
                os.close(state)
            if alone:
                self._drop_leftovers()
            fcntl.flock(use, fcntl.LOCK_SH)
            self._use = use

    def release(self) -> None:
        """Stop using it."""
        assert self._use is not None
        with self._door():
            if _locked(self._use):
                self.stop()
                (self.home / "state").unlink()
            os.close(self._use)
            self._use = None

    def dsn_of(self, database: str, user: str = OWNER) -> str:
        """The URI of one of its databases."""
        return f"postgresql://{user}:{self._password}@127.0.0.1:{self._port}/{database}"

    @property
    def superuser_dsn(self) -> str:
        """For what an ordinary owner may not do."""
        return self.dsn_of("postgres", "postgres")

    @contextmanager
    def _door(self) -> Generator[None]:
        """One process at a time starts, stops, or makes the template."""
        door = os.open(self.home / "door", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(door, fcntl.LOCK_EX)
            yield
        finally:
            os.close(door)

    def _find(self) -> bool:
        """Whether it runs already, started by another process."""
        try:
            self._port, self._password = json.loads((self.home / "state").read_text())
            self._superuser().close()
        except (OSError, ValueError, psycopg.OperationalError):
            return False
        return True

    def _superuser(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self.superuser_dsn, autocommit=True, connect_timeout=10)

    # ------------------------------------------------------------------ its databases

    def create(self, *, migrated: bool = True) -> str:
        """A fresh database, with today's shape or empty; answers its owner's DSN."""
        name = f"{FRESH}{os.getpid()}_{next(self._numbers)}"
        template = self._template() if migrated else "template1"
        with self._superuser() as connection:
            connection.execute(
                # copying files costs two thirds of writing the copy to the log
                sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {} STRATEGY file_copy").format(
                    sql.Identifier(name), sql.Identifier(template), sql.Identifier(OWNER)
                )
            )
        return self.dsn_of(name)

    def drop(self, dsn: str) -> None:
        """Take one of its databases away, whoever is connected."""
        with self._superuser() as connection:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                    sql.Identifier(dsn.rpartition("/")[2])
                )
            )

    @contextmanager
    def database(self, *, migrated: bool = True) -> Generator[str]:
        """``create`` and ``drop``."""
        dsn = self.create(migrated=migrated)
        try:
            yield dsn
        finally:
            self.drop(dsn)

    def _template(self) -> str:
        """The migrated database that is copied; made anew where a migration has changed."""
        shape = hashlib.sha256("".join(m.checksum for m in known_migrations()).encode()).hexdigest()[:12]
        name = f"{TEMPLATE}{shape}"
        with self._door(), self._superuser() as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                return name
            half = f"{FRESH}{name}"  # swept away if we are killed before it is whole
            for statement in ("DROP DATABASE IF EXISTS {}", "CREATE DATABASE {} OWNER " + OWNER):
                connection.execute(sql.SQL(cast("Any", statement)).format(sql.Identifier(half)))
            settings = Settings(storage=Storage(dsn=self.dsn_of(half)))
            with ThreadPoolExecutor(1) as beside:  # a fixture may run where a loop is set up already
                beside.submit(lambda: asyncio.run(prepare(Database(settings), settings))).result()
            connection.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(half), sql.Identifier(name))
            )
        return name

    def _drop_leftovers(self) -> None:
        """Databases of a run that was killed."""
        with self._superuser() as connection:
            found = connection.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [FRESH]
            )
            names = [name for (name,) in found.fetchall()]
        for name in names:
            self.drop(self.dsn_of(name))


class PlainPostgres(SharedPostgres):
    """PostgreSQL without TimescaleDB, reached by DSN over TCP: the programs of the embedded wheel."""

    name = "postgres"

    def start(self, port: int, password: str) -> None:
        """See ``SharedPostgres.start``."""
        tools = Embedded(self.home)
        try:
            tools.home.mkdir(parents=True, exist_ok=True)
            tools._prepare_user()
        except EmbeddedError as error:
            missing("a plain PostgreSQL", str(error))
        words = tools.home / "password"
        words.write_text(password)
        if tools._user:
            shutil.chown(words, tools._user)
        tools._run(
            "initdb", "-D", tools.cluster, "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={words}",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        )  # fmt: skip
        with (tools.cluster / "postgresql.conf").open("a") as conf:
            conf.write("\n".join(("", *SETTINGS, f"port = {port}", "")))
        tools._run("pg_ctl", "start", "-D", tools.cluster, "-w", "-t", "60", "-l", tools.log_file)

    def stop(self) -> None:
        """See ``SharedPostgres.stop``."""
        tools = Embedded(self.home)
        if (tools.cluster / "postmaster.pid").exists():
            tools._run("pg_ctl", "stop", "-D", tools.cluster, "-m", "immediate", "-w", check=False)
        shutil.rmtree(tools.home, ignore_errors=True)


class TimescaleDB(SharedPostgres):
    """TimescaleDB from Debian's packages, in the chroot of ``scripts/timescaledb``."""

    name = "timescaledb"
    script = CHECKOUT / "scripts" / "timescaledb"

    def start(self, port: int, password: str) -> None:
        """See ``SharedPostgres.start``."""
        data = self._data()
        if folder() == MEMORY:
            data.parent.mkdir(parents=True, exist_ok=True)
            # where nobody may mount, the disk will do
            _quietly("mount", "-t", "tmpfs", "-o", "mode=0755", "tracker-test", str(data.parent))
        self._run("start", str(port), str(data), password=password)

    def stop(self) -> None:
        """See ``SharedPostgres.stop``."""
        data = self._data()
        if (data / "postmaster.pid").exists():
            self._run("stop", str(data), check=False)
        if data.parent.is_mount():
            _quietly("umount", "--lazy", str(data.parent))
        shutil.rmtree(data.parent, ignore_errors=True)

    def _data(self) -> Path:
        return Path(self._run("path")) / "srv" / self.home.parent.name / "data"

    def _run(self, *arguments: str, password: str = "", check: bool = True) -> str:
        done = subprocess.run(
            [self.script, *arguments],
            env={**os.environ, "PGPASSWORD": password},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{self.script} {arguments[0]}: {done.stderr}"
        return done.stdout.strip()

    @classmethod
    def require(cls) -> None:
        """Skip or fail where it cannot run."""
        cure = "as root, `make timescaledb` (debootstrap, 700 MB, a minute), then the tests as root: it is a chroot"
        if (
            os.geteuid() != 0
            or subprocess.run([cls.script, "path"], capture_output=True, check=False).returncode
        ):
            missing("TimescaleDB", cure)


def _quietly(*command: str) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
