from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.api.people import World
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Servers


@pytest.fixture(scope="package")
def world(postgres_server: SharedPostgres) -> Generator[World]:
    """One server for all of these tests; each makes accounts, users and trackers of its own."""
    servers = Servers()
    with postgres_server.database() as dsn:
        try:
            yield World(
                servers(
                    {"backup.every_hours": 0, "api.origins": "https://fleet.example"},
                    dsn=dsn,
                    protocols=["osmand"],
                )
            )
        finally:
            servers.close()
