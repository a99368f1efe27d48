"""Reaching the database: which one, as which role, and what its absence looks like."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tracker_server.config import Settings
from tracker_server.storage.embedded import Embedded

STATEMENT_TIMEOUT = "60s"  # of a reader; the writer waits as long as it takes
DEFAULTS = {
    "connect_timeout": "10",
    # a network that swallows packets without a word is noticed within half a minute
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
SERVER_VERSION_MIN = 150_000
LOOK_EVERY_S = 60.0
Result = TypeVar("Result")

AWAY = (psycopg.OperationalError, psycopg.InterfaceError)
"""What psycopg raises when there is nobody to talk to, as opposed to being told no."""


class DatabaseError(Exception):
    """The database cannot be used as it is set up. The message names the setting and the cure."""


class Role(StrEnum):
    """As whom a connection speaks. ``OWNER`` is the DSN's own user: migrations and maintenance."""

    OWNER = ""
    CORE = "tracker_core"
    DISPLAY = "tracker_display"


class PatientConnection(AsyncConnection[Any]):
    """Sleeps until the server speaks. psycopg wakes ten times a second to see whether somebody pressed Ctrl-C, which here is
    heard in another way; a dozen connections that listen would keep an idle machine awake.
    """

    async def wait(
        self, gen: PQGen[Result], interval: float = LOOK_EVERY_S, timeout: float | None = None
    ) -> Result:
        """See ``AsyncConnection.wait``."""
        return await super().wait(gen, LOOK_EVERY_S, timeout)


class Database:
    """One of the two homes: a PostgreSQL by DSN, or the embedded one, which this starts and watches."""

    def __init__(self, settings: Settings, embedded: Embedded | None = None) -> None:
        """``embedded``: where it is being started already."""
        self.embedded = embedded or (None if settings.storage.dsn else Embedded(Path(settings.data_dir)))
        self._dsn = settings.storage.dsn

    @property
    def dsn(self) -> str:
        """A URI or conninfo that psql accepts; it may hold a password."""
        return self.embedded.dsn if self.embedded else self._dsn

    async def open(self) -> None:
        """Make sure that there is a server to connect to. Raises EmbeddedError."""
        if self.embedded:
            await asyncio.to_thread(self.embedded.acquire)

    async def close(self) -> None:
        """Stop using it."""
        if self.embedded:
            await asyncio.to_thread(self.embedded.release)

    async def revive(self) -> None:
        """After it went away: start the embedded one again; a DSN's server is its operator's business."""
        if self.embedded:
            await asyncio.to_thread(self.embedded.ensure_running)

    async def connect(self, role: Role = Role.CORE, **kwargs: Any) -> AsyncConnection[Any]:
        """A connection in autocommit mode that speaks as ``role`` from its first statement, and falls back to
        it on RESET. Raises DatabaseError for a wrong DSN, psycopg.OperationalError where nobody answers.
        """
        return await PatientConnection.connect(self.conninfo(role), autocommit=True, **kwargs)

    def conninfo(self, role: Role) -> str:
        """The DSN with what we add to it."""
        try:
            given = conninfo_to_dict(self.dsn)
        except psycopg.ProgrammingError as error:
            raise DatabaseError(f"storage.dsn: not a PostgreSQL URI or conninfo: {error}") from None
        options = [str(given.get("options") or ""), "-c TimeZone=UTC -c DateStyle=ISO"]
        if role:
            options.append(f"-c role={role.value}")
        if role is Role.DISPLAY:
            options.append(f"-c statement_timeout={STATEMENT_TIMEOUT} -c default_transaction_read_only=on")
        return make_conninfo(
            self.dsn,
            options=" ".join(filter(None, options)),
            **{name: str(given.get(name) or value) for name, value in DEFAULTS.items()},
            application_name=f"tracker-server {role.name.lower()}",
        )


async def check_version(connection: AsyncConnection[Any]) -> None:
    """Refuse a PostgreSQL that is too old."""
    version = connection.info.server_version
    if version < SERVER_VERSION_MIN:
        raise DatabaseError(f"storage.dsn: PostgreSQL {version // 10_000} is too old; 15 or later is needed")
