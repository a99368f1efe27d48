"""What customers and the operator do meanwhile: pay, hide and show trackers, write letters. Each keeps a ledger of its
own of what was acknowledged; what was not is done again with the same key, as a payment gateway does.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection

from tracker_server.alerts.letters import TestLetter, encode
from tracker_server.alerts.rules import Recipient, Rule
from tracker_server.billing.commands import AlreadyDone, Done, TopUp
from tracker_server.billing.state import Settings as BillingSettings
from tracker_server.simulator.routes import TOWNS
from tracker_server.storage.alert_rules import add_rule
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import AWAY, Database, Role
from tracker_server.storage.devices import hold_device, release_device
from tracker_server.storage.fences import NewFence, add_fences
from tracker_server.storage.outbox import NewMessage, enqueue
from tracker_server.track.fences.shapes import Area, Ring

ACCOUNTS = 4
PAUSE_S = 0.3  # between two deeds of one kind
ALWAYS_HELD = 2  # trackers hidden from the beginning to the end
PATIENCE_S = 3.0  # for one try


ALERTED = ("geofenceEnter", "geofenceExit", "deviceOnline", "deviceMoving", "deviceStopped")
ALERT_CHANNELS = ("email", "webhook")
SQUARE_DEG = 0.02  # of the fences around the towns where the fleet drives
SQUARES = 5


def chessboard(latitude: float, longitude: float) -> NewFence:
    """One fence of many squares, so that whoever drives goes in and out."""
    rings: list[Ring] = []
    for north in range(-SQUARES, SQUARES):
        for east in range(-SQUARES, SQUARES):
            if (north + east) % 2:
                continue
            south, west = latitude + north * SQUARE_DEG, longitude + east * SQUARE_DEG
            top, right = south + SQUARE_DEG * 0.9, west + SQUARE_DEG * 0.9
            rings.append(Ring(((west, south), (right, south), (right, top), (west, top), (west, south))))
    return NewFence(name=f"{latitude:.2f} {longitude:.2f}", shape=Area(tuple(rings)))


class Business:
    """``paid``, ``lettered`` and ``held`` are what was acknowledged; ``leaks`` what a hidden tracker showed."""

    def __init__(self, database: Database, seed: int, hooks_port: int) -> None:
        self._database = database
        self._hooks = f"http://127.0.0.1:{hooks_port}/"
        self._rng = random.Random(f"{seed}/business")
        self._store = BillingStore(BillingSettings())
        self._accounts: list[int] = []
        self._devices: list[int] = []
        self.paid: dict[str, tuple[int, int]] = {}
        self.offered: set[str] = set()  # every key that was ever sent
        self.lettered: set[str] = set()
        self.held: set[int] = set()
        self.doubtful: set[int] = set()  # asked for and not answered: the run may end in between
        self.leaks: list[str] = []
        self.looks = 0

    async def set_up(self, ids: list[str]) -> None:
        """Accounts on a tariff, and the fleet's trackers in them. They owe a fee from the beginning."""
        async with await self._database.connect(Role.OWNER) as connection:
            rows = await connection.execute(
                "WITH t AS (INSERT INTO core.tariffs (name, currency, mode) VALUES ('Std', 'EUR', 'balance') RETURNING id),"
                " p AS (INSERT INTO core.tariff_prices (tariff_id, since, monthly_minor)"
                "       SELECT id, '-infinity', 310 FROM t)"
                " INSERT INTO core.accounts (name, zone, currency, tariff_id, email)"
                " SELECT 'A' || n, 'UTC', 'EUR', id, 'a' || n || '@example.com' FROM t, generate_series(1, %s) n"
                " RETURNING id",
                [ACCOUNTS],
            )
            self._accounts = [account for (account,) in await rows.fetchall()]
            rows = await connection.execute(
                "INSERT INTO core.devices (unique_id, account_id, name)"
                " SELECT u, (%s::bigint[])[1 + (n %% %s)], u FROM unnest(%s::text[]) WITH ORDINALITY AS x (u, n)"
                " RETURNING id",
                [self._accounts, ACCOUNTS, ids],
            )
            self._devices = [device for (device,) in await rows.fetchall()]
            for account in self._accounts:
                await add_fences(connection, account, [chessboard(*town[:2]) for town in TOWNS])
                await add_rule(connection, account, self._rule(account))
            for device in self._devices[:ALWAYS_HELD]:
                await hold_device(connection, device, "chaos")
                self.held.add(device)

    def _rule(self, account: int) -> Rule:
        """Everything that happens to any tracker, by e-mail and by webhook."""
        receivers = Recipient("email", f"alerts-{account}@example.com"), Recipient("webhook", self._hooks)
        return Rule(types=ALERTED, channels=ALERT_CHANNELS, always=True, recipients=receivers)

    @property
    def always_held(self) -> list[int]:
        """Trackers of which nobody may hear anything."""
        return self._devices[:ALWAYS_HELD]

    async def run(self) -> None:
        """All of it, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for deed in (self._pay, self._hide_or_show, self._write, self._look):
                tasks.create_task(self._keep_doing(deed))

    async def _keep_doing(self, deed: Any) -> None:
        number = 0
        while True:
            await deed(number)
            number += 1
            await asyncio.sleep(PAUSE_S)

    async def _insist(self, deed: Any, role: Role = Role.CORE) -> Any:
        """Until it is acknowledged. A connection that breaks says nothing of what became of it."""
        while True:
            try:
                async with asyncio.timeout(PATIENCE_S), await self._database.connect(role) as connection:
                    return await deed(connection)
            except (*AWAY, TimeoutError, psycopg.errors.InternalError_):
                await asyncio.sleep(PAUSE_S)

    async def _pay(self, number: int) -> None:
        account = self._rng.choice(self._accounts)
        key, amount = f"chaos-{number}", self._rng.randrange(1_000, 100_000)
        command = TopUp(key=key, amount_minor=amount)

        async def pay(connection: AsyncConnection[Any]) -> None:
            self.offered.add(key)
            outcome = await self._store.act(connection, account, command, datetime.now(UTC))
            assert isinstance(outcome.answer, Done | AlreadyDone), outcome.answer

        await self._insist(pay)
        self.paid[key] = (account, amount)
        if self._rng.random() < 0.2:
            await self._insist(pay)  # the gateway tells it twice

    async def _hide_or_show(self, _number: int) -> None:
        device = self._rng.choice(self._devices[ALWAYS_HELD:])
        self.doubtful.add(device)
        if device in self.held:
            await self._insist(lambda connection: release_device(connection, device))
            self.held.discard(device)
        else:
            await self._insist(lambda connection: hold_device(connection, device, "chaos"))
            self.held.add(device)
        self.doubtful.discard(device)

    async def _write(self, number: int) -> None:
        account = self._rng.choice(self._accounts)
        now = datetime.now(UTC)
        letter = NewMessage(
            f"chaos-letter-{number}",
            "email",
            f"a{number % 7}@example.com",
            account,
            encode(TestLetter("en")),
            now,
        )

        async def write(connection: AsyncConnection[Any]) -> None:
            async with connection.transaction():
                await enqueue(connection, [letter], now)

        await self._insist(write)
        self.lettered.add(letter.key)

    async def _look(self, _number: int) -> None:
        """As the customer's side of the server: a hidden tracker has no places."""
        hidden = self.always_held

        async def look(connection: AsyncConnection[Any]) -> list[Any]:
            found = await connection.execute(
                "SELECT device_id, fixed_at FROM display.positions WHERE device_id = ANY(%s) LIMIT 3",
                [hidden],
            )
            return await found.fetchall()

        self.leaks += map(str, await self._insist(look, Role.DISPLAY))
        self.looks += 1
