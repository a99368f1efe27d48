"""docs/howto/use-your-own-postgres.md, played as it stands on a cluster that has never seen us."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.servers.postgres import PlainPostgres, SharedPostgres
from tracker_server.app import prepare
from tracker_server.config import Settings, Storage
from tracker_server.storage.database import Database, Role

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "use-your-own-postgres.md"
MAKE, DEMOTE, BY_HAND = re.findall(r"^```sql\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


class UntouchedPostgres(PlainPostgres):
    """A cluster of a test's own: roles belong to a cluster, and the shared one has ours already."""

    def __init__(self, test: str) -> None:
        self.name = f"untouched-{test}"
        super().__init__()


@pytest.fixture
def untouched(request: pytest.FixtureRequest) -> Generator[SharedPostgres]:
    cluster = UntouchedPostgres(request.node.name)
    cluster.acquire()
    yield cluster
    cluster.release()


def play(cluster: SharedPostgres, script: str) -> None:
    with psycopg.connect(cluster.superuser_dsn, autocommit=True) as superuser:
        for statement in filter(None, map(str.strip, script.split(";"))):
            superuser.execute(cast("Any", statement))


def forget(cluster: SharedPostgres) -> None:
    """As if nobody of ours had ever been here."""
    play(cluster, "DROP DATABASE IF EXISTS tracker WITH (FORCE)")
    for role in ("tracker_core", "tracker_display", "tracker"):
        play(cluster, f"DROP ROLE IF EXISTS {role}")


async def start(cluster: SharedPostgres) -> None:
    """What the server does first, and the two roles as which it works."""
    dsn = re.sub(r"//[^@]*@", "//tracker:choose-one@", cluster.dsn_of("tracker"))
    settings = Settings(storage=Storage(dsn=dsn))
    database = Database(settings)
    await prepare(database, settings)
    async with await database.connect(Role.CORE) as core, await database.connect(Role.DISPLAY) as display:
        await core.execute("SELECT FROM core.devices")
        await display.execute("SELECT FROM display.devices")
        with pytest.raises(InsufficientPrivilege):
            await display.execute("SELECT FROM core.devices")


async def test_a_user_who_makes_the_roles_and_then_may_no_longer(untouched: SharedPostgres) -> None:
    forget(untouched)
    play(untouched, MAKE)
    await start(untouched)
    play(untouched, DEMOTE)
    await start(untouched)


async def test_a_user_who_never_may(untouched: SharedPostgres) -> None:
    forget(untouched)
    play(untouched, MAKE.replace("CREATEROLE", "NOCREATEROLE"))
    play(untouched, BY_HAND)
    await start(untouched)
