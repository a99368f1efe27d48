"""kill -9 between event and delivery, again and again: every alert arrives, in order, and a receiver that keeps keys
sees each once. ``TRACKER_TEST_KILLS`` says how often (8).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg import AsyncConnection

from tests.alerts.http_peer import HttpPeer
from tests.alerts.world import MAIL, Recipient, event
from tests.notify.mail_server import MailServer
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_server.alerts.rules import Rule
from tracker_server.config_alerts import Alerts
from tracker_server.metrics import Metrics
from tracker_server.pipeline.alert_book import AlertBook
from tracker_server.pipeline.trackers import Trackers
from tracker_server.storage.alert_outbox import AlertWriter
from tracker_server.storage.alert_rules import add_rule, read_households

KILLS = int(os.environ.get("TRACKER_TEST_KILLS", "8"))
EACH = 6  # events between two kills
LEFT = "SELECT id FROM core.outbox WHERE event_id IS NOT NULL AND delivered_at IS NULL"


@pytest.fixture
def mail() -> Generator[MailServer]:
    with MailServer().running() as server:
        yield server


@pytest.fixture
def peer() -> Generator[HttpPeer]:
    with HttpPeer().running() as running:
        yield running


@pytest.mark.timeout(120 + 30 * KILLS)
def test_every_alert_arrives(postgres_dsn: str, mail: MailServer, peer: HttpPeer) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    devices, account = trackers(postgres_dsn)
    rule = Rule(
        types=MAIL.types,
        channels=("email", "webhook"),
        always=True,
        recipients=(
            Recipient("email", "a@example.com"),
            Recipient("webhook", f"http://127.0.0.1:{peer.port}/"),
        ),
    )
    written = 0
    for _ in range(KILLS):
        process = begun(postgres_dsn, mail.port)
        try:
            asyncio.run(happen(postgres_dsn, account, devices, range(written, written + EACH), rule))
            written += EACH
            seen = len(peer.asked) + len(mail.taken)
            enough = seen + chance.randint(0, EACH)
            wait_until(
                "some",
                lambda enough=enough: len(peer.asked) + len(mail.taken) >= enough or not left(postgres_dsn),
            )
        finally:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    process = begun(postgres_dsn, mail.port)
    try:
        wait_until("the rest", lambda: not left(postgres_dsn), 60 + KILLS)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    mails = list(dict.fromkeys(str(one["Message-ID"]) for one in mail.taken))
    hooks = list(dict.fromkeys(headers["Idempotency-Key"] for _, _, headers, _ in peer.asked))
    assert (len(mails), len(hooks)) == (written, written), "all of them, each under its key"
    first: dict[str, list[int]] = {}
    kept: set[str] = set()
    for _, _, headers, body in peer.asked:
        if headers["Idempotency-Key"] not in kept:
            kept.add(headers["Idempotency-Key"])
            told = json.loads(body)
            first.setdefault(told["device"]["id"], []).append(told["event"]["id"])
    assert all(numbers == sorted(numbers) for numbers in first.values()), "each tracker's in their order"
    assert len(first) == len(devices)


def left(dsn: str) -> bool:
    return bool(query(dsn, LEFT))


def begun(dsn: str, smtp_port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.alerts.deliverer", dsn, str(smtp_port)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"begins\n"
    return process


def trackers(dsn: str) -> tuple[list[int], int]:
    rows = query(
        dsn,
        "INSERT INTO core.devices (unique_id, account_id, name) SELECT 'T' || n, a.id, 'T' || n"
        " FROM core.accounts a, generate_series(1, 3) n WHERE a.name = 'default' RETURNING id, account_id",
    )
    return [row["id"] for row in rows], rows[0]["account_id"]


async def happen(dsn: str, account: int, devices: list[int], numbers: range, rule: Rule) -> None:
    """Events, written as the track engine's transaction does."""
    now = datetime.now(UTC)
    async with await AsyncConnection.connect(dsn, autocommit=True) as connection:
        if numbers.start == 0:
            await add_rule(connection, account, rule)
        book = AlertBook()
        book.put_all(await read_households(connection))
        writer = AlertWriter(book, Trackers(), Alerts(mails_per_hour_max=KILLS * EACH), Metrics())
        for number in numbers:
            one = event(
                id=number + 1, device_id=devices[number % len(devices)], account_id=account, occurred_at=now
            )
            async with connection.transaction():
                await writer.write_alerts(connection, [one], now)
