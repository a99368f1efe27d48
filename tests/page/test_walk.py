"""Every view and dialog in three languages, on a desk and in a hand, by day and by night, for each who may see them."""

from __future__ import annotations

import os
from collections.abc import Generator
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.page.conftest import DESKTOP, PHONE, Visitor
from tests.page.demo import ADMIN, GIVEN, OWNER, VIEWER, demo
from tests.page.walk import Dress, Walk
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Running

pytestmark = pytest.mark.timeout(900)  # a browser draws maps without a graphics card

KEEP = "TRACKER_TEST_WALK"  # a folder: every dress is worn, and a picture of each look is kept there
SOME = [  # and whether dialogs are opened too
    (Dress(ADMIN, PHONE, "ru", dark=True), True),
    (Dress(OWNER, DESKTOP, "es", dark=False), False),
    (Dress(VIEWER, PHONE, "es", dark=True), False),
]
ALL = [
    (Dress(who, size, language, dark=dark), True)
    for who, size, language, dark in product(
        (ADMIN, OWNER, VIEWER), (DESKTOP, PHONE), ("en", "es", "ru"), (False, True)
    )
]


@pytest.fixture(scope="module")
def running(postgres_server: SharedPostgres) -> Generator[Running]:
    with demo(postgres_server) as running:
        yield running


@pytest.mark.parametrize(("dress", "dialogs"), ALL if KEEP in os.environ else SOME, ids=str)
def test_nothing_looks_wrong(running: Running, chromium: Browser, dress: Dress, dialogs: bool) -> None:  # noqa: FBT001
    folder = os.environ.get(KEEP)
    visitor = Visitor(chromium, running)
    walk = Walk(visitor, dress, GIVEN, Path(folder) / str(dress) if folder else None)
    assert walk.go(dialogs=dialogs) == []
    assert len(walk.seen) > (len(walk.names) if not dialogs else 2 * len(walk.names))
    visitor.close()
