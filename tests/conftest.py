"""Fixtures for all tests: real databases and real servers, on loopback, stopped when they are done with.

``postgres_dsn``, ``timescaledb_dsn``  a fresh migrated database for each test, by DSN over TCP
``home_dsn``                           the test runs twice: once on each of them
``empty_dsn``                          as ``home_dsn``, before the first migration
``embedded_settings``                  settings with an embedded database in a folder of their own
``server``                             call it for a running ``tracker-server serve``

A test that needs a server which this machine has not is skipped, with the way to get it;
``TRACKER_TEST_REQUIRE_ALL=1`` makes it fail instead.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Generator

import pytest
import structlog
from hypothesis import settings

from tests.servers.memory import fresh_folder
from tests.servers.postgres import PlainPostgres, SharedPostgres, TimescaleDB
from tests.servers.serve import Servers
from tracker_server.config import Settings
from tracker_server.storage.embedded import Embedded

settings.register_profile("untimed", deadline=None)  # how long an example takes is the machine's business
settings.load_profile("untimed")

DATABASES = ("postgres_dsn", "timescaledb_dsn", "home_dsn", "empty_dsn")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Of what was skipped, each reason once, with how many tests it kept away."""
    reasons = Counter[str]()
    for report in terminalreporter.getreports("skipped"):
        text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reasons[text.removeprefix("Skipped: ")] += 1
    if reasons:
        terminalreporter.section("skipped here")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count} {'test' if count == 1 else 'tests'}: {reason}")


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Generator[None]:
    """A command that ran in this process has sent the logs to a stream that is closed by the next test."""
    root = logging.getLogger()
    level = root.level
    yield
    if structlog.is_configured():
        structlog.reset_defaults()
        root.handlers[:] = []  # pytest hangs its own on for each phase
        root.setLevel(level)


@pytest.fixture(scope="session")
def postgres_server() -> Generator[SharedPostgres]:
    """PostgreSQL without TimescaleDB; its method ``database`` makes fresh databases."""
    shared = PlainPostgres()
    shared.acquire()
    yield shared
    shared.release()


@pytest.fixture(scope="session")
def timescaledb_server() -> Generator[SharedPostgres]:
    """PostgreSQL with TimescaleDB; its method ``database`` makes fresh databases."""
    TimescaleDB.require()
    shared = TimescaleDB()
    shared.acquire()
    yield shared
    shared.release()


@pytest.fixture
def postgres_dsn(postgres_server: SharedPostgres) -> Generator[str]:
    """A fresh migrated database without TimescaleDB."""
    with postgres_server.database() as dsn:
        yield dsn


@pytest.fixture
def timescaledb_dsn(timescaledb_server: SharedPostgres) -> Generator[str]:
    """A fresh migrated database with TimescaleDB."""
    with timescaledb_server.database() as dsn:
        yield dsn


@pytest.fixture(params=["postgres", "timescaledb"])
def home(request: pytest.FixtureRequest) -> SharedPostgres:
    """Both homes, one after the other."""
    return request.getfixturevalue(f"{request.param}_server")


@pytest.fixture
def home_dsn(home: SharedPostgres) -> Generator[str]:
    """A fresh migrated database on both homes."""
    with home.database() as dsn:
        yield dsn


@pytest.fixture
def empty_dsn(home: SharedPostgres) -> Generator[str]:
    """A fresh database on both homes, before the first migration."""
    with home.database(migrated=False) as dsn:
        yield dsn


@pytest.fixture
def embedded_settings() -> Generator[Settings]:
    """Settings whose database is an embedded one that does not exist yet; what is left running is stopped."""
    data_dir = fresh_folder("tracker-data-")
    yield Settings(data_dir=data_dir)
    if (data_dir / "postgres" / "cluster" / "postmaster.pid").exists():
        left = Embedded(data_dir)
        left.acquire()
        left.release()
    shutil.rmtree(data_dir, ignore_errors=True)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Generator[Servers]:
    """Call it for a running server: ``running = server({"devices.unknown": "register"}, dsn=postgres_dsn)``."""
    for name in DATABASES:
        if name in request.fixturenames:
            # made before the server, so taken away after it: one without its database takes 20 s to stop
            request.getfixturevalue(name)
    servers = Servers()
    yield servers
    servers.close()
