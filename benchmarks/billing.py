"""The midnight sweep: 10,000 trackers in 1,000 accounts owe their daily fee at the same instant."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from measures import Found, Measure
from psycopg import AsyncConnection

from tracker_server.app import prepare
from tracker_server.billing.commands import TopUp
from tracker_server.billing.state import Settings as BillingSettings
from tracker_server.billing.tariffs import Mode, Price, Tariff
from tracker_server.config import Settings
from tracker_server.metrics import Metrics
from tracker_server.storage.billing_clock import BillingClock
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import Database, Role
from tracker_server.storage.tariffs import add_tariff

ACCOUNTS = 1_000
TRACKERS = 10  # of each account
SHORT = 5  # every fifth account's money does not reach for all
START = datetime(2025, 1, 1, 7, tzinfo=UTC)
FIRST_DAILY = START + timedelta(days=31)
MIDNIGHT = datetime(2025, 2, 2, tzinfo=UTC)


def sweep() -> Found:
    """Three midnights, each settled by the clock's own code; a fifth of the accounts runs out of money on the way."""
    # not below a private folder: under root the embedded database belongs to a user of its own
    home = Path(tempfile.mkdtemp(prefix="tracker-bench-"))
    try:
        return asyncio.run(_measure(Settings(data_dir=home / "data")))
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _measure(settings: Settings) -> Found:
    database = Database(settings)
    await database.open()
    try:
        await prepare(database, settings)
        async with await database.connect(Role.CORE) as connection:
            return await _midnights(database, connection)
    finally:
        await database.close()


async def _midnights(database: Database, connection: AsyncConnection[Any]) -> Found:
    store = BillingStore(BillingSettings())
    await _fill(connection, store)
    await _settle(database, store, connection, FIRST_DAILY)
    seconds: list[float] = []
    for night in range(3):
        before = await _entries(connection)
        started = time.perf_counter()
        await _settle(database, store, connection, MIDNIGHT + timedelta(days=night))
        seconds.append(time.perf_counter() - started)
        posted = await _entries(connection) - before
        if not ACCOUNTS * TRACKERS * 0.8 <= posted <= ACCOUNTS * TRACKERS:
            raise RuntimeError(f"{posted} daily fees were posted for {ACCOUNTS * TRACKERS} trackers")
    name = f"{ACCOUNTS * TRACKERS:,} trackers in {ACCOUNTS:,} accounts"
    measures = [
        Measure(f"{name}: midnight settled", "s", seconds, aim=10),
        Measure("an account", "ms", [value / ACCOUNTS * 1e3 for value in seconds]),
    ]
    return Found("midnight", measures)


async def _fill(connection: AsyncConnection[Any], store: BillingStore) -> None:
    """Accounts with money for the connection fees and some days more."""
    await add_tariff(connection, Tariff("Std", Mode.BALANCE, (Price(date.min, 31000, 500),)), "EUR")
    rows = await connection.execute(
        "INSERT INTO core.accounts (name, zone, currency, tariff_id, created_at)"
        " SELECT 'A' || n, 'UTC', 'EUR', t.id, %s FROM core.tariffs t, generate_series(1, %s) n"
        " WHERE t.name = 'Std' RETURNING id",
        [START, ACCOUNTS],
    )
    accounts = [account for (account,) in await rows.fetchall()]
    await connection.execute(
        "INSERT INTO core.devices (unique_id, account_id, name, priority, created_at)"
        " SELECT format('%%s-%%s', a, n), a, n::text, n, %s FROM unnest(%s::bigint[]) a, generate_series(1, %s) n",
        [START, accounts, TRACKERS],
    )
    for number, account in enumerate(accounts):
        days = 2 if number % SHORT == 0 else 60
        await store.act(
            connection, account, TopUp(key="p", amount_minor=TRACKERS * (31000 + days * 1100)), START
        )


async def _settle(
    database: Database, store: BillingStore, connection: AsyncConnection[Any], at: datetime
) -> None:
    await BillingClock(database, store, Metrics(), lambda: at).work_due(connection)


async def _entries(connection: AsyncConnection[Any]) -> int:
    row = await (await connection.execute("SELECT count(*) FROM core.ledger WHERE kind = 'daily'")).fetchone()
    assert row is not None
    return int(row[0])
