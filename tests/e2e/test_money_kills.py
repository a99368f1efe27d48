"""Fifty hands on one account while server and database are killed: nothing twice, nothing lost, never below zero."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from tests.api.people import World
from tests.servers.serve import Running, Servers
from tests.storage.rows import query

HANDS = 50
TRACKERS = 5
AWAY = {502, 503}


class Answered:
    """How many requests were answered, to be waited for."""

    def __init__(self) -> None:
        self.count = 0
        self._more = asyncio.Event()

    def add(self) -> None:
        self.count += 1
        self._more.set()

    async def reached(self, count: float) -> None:
        while self.count < count:
            self._more.clear()
            await self._more.wait()


class Hand:
    """A client that asks until it is answered, each time under the same key."""

    def __init__(self, client: httpx.AsyncClient, answered: Answered) -> None:
        self.client = client
        self.answered = answered

    async def ask(self, path: str, body: dict[str, Any]) -> None:
        async with asyncio.timeout(240):
            while True:
                try:
                    answer = await self.client.post(path, json=body)
                except httpx.TransportError:
                    await asyncio.sleep(0.2)
                    continue
                if answer.status_code in AWAY:
                    await asyncio.sleep(0.2)
                    continue
                assert answer.status_code == 200, (path, body, answer.text)
                self.answered.add()
                return


async def one(client: httpx.AsyncClient, number: int, account: int, device: int, answered: Answered) -> None:
    """10.00 in, 5.00 for a month, 3.00 back: of each hand 2.00 stay, whatever the order."""
    hand = Hand(client, answered)
    await hand.ask(f"/api/accounts/{account}/topup", {"amount": "10.00", "key": f"t{number}"})
    await hand.ask(f"/api/devices/{device}/pay-term", {"months": 1, "key": f"m{number}"})
    await hand.ask(f"/api/accounts/{account}/refund", {"amount": "3.00", "key": f"r{number}"})


async def break_things(running: Running, answered: Answered) -> None:
    """Kill the server, then it and the database, as the work goes on."""
    for share, victims in ((0.3, "server"), (0.6, "server and database")):
        await answered.reached(share * 3 * HANDS)
        if "database" in victims:
            running.kill_database()
        if "server" in victims:
            await asyncio.to_thread(running.kill)
            await asyncio.to_thread(running.launch)


async def test_fifty_hands_on_one_account_and_kill_9_of_server_and_database(server: Servers) -> None:
    running = server({})
    world = World(running)
    ok(running, "tariff", "add", "Month", "--mode", "term", "--currency", "EUR", "--monthly", "5.00")
    ok(running, "account", "add", "A", "--currency", "EUR", "--zone", "Europe/Madrid", "--tariff", "Month")
    account = query(running.dsn, "SELECT id FROM core.accounts WHERE name = 'A'")[0]["id"]
    devices = [world.device(account) for _ in range(TRACKERS)]
    with world.signed_in("admin") as operator:
        cookies = httpx.Cookies(operator.cookies)
    answered = Answered()
    limits = httpx.Limits(max_connections=HANDS)
    async with httpx.AsyncClient(base_url=running.api, timeout=30, cookies=cookies, limits=limits) as client:
        hands = [
            one(client, number, account, devices[number % TRACKERS], answered) for number in range(HANDS)
        ]
        await asyncio.gather(break_things(running, answered), *hands)
    rows = query(
        running.dsn,
        "SELECT kind, count(*) AS n, sum(amount_minor)::int AS s, min(balance_minor)::int AS low FROM core.ledger"
        " WHERE account_id = %s GROUP BY kind",
        [account],
    )
    found = {row["kind"]: (row["n"], row["s"]) for row in rows}
    assert found == {"topup": (50, 50_000), "term": (50, -25_000), "refund": (50, -15_000)}
    assert min(row["low"] for row in rows) >= 0
    assert query(
        running.dsn, "SELECT state#>>'{book,balances,customer}' AS b FROM core.billing WHERE account_id = %s", [account]
    ) == [{"b": "10000"}]  # fmt: skip
    assert ok(running, "billing", "verify").endswith("everything is as the journal says\n")


def ok(running: Running, *arguments: str) -> str:
    done = running.cli(*arguments)
    assert done.returncode == 0, done
    return done.stdout + done.stderr
