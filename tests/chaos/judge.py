"""After the run: ledgers against tables. Every finding is a sentence; none means that all was kept."""

from __future__ import annotations

import asyncio
import json
import time

from tests.chaos.business import Business
from tests.chaos.plant import Plant
from tests.storage.rows import query
from tracker_server.notify.messages import message_id

QUIET_S_MAX = 60.0  # for what waits in the outbox


async def judge(plant: Plant, business: Business) -> list[str]:
    """What was promised and not kept."""
    # in a thread: the server reaches its database through a proxy that lives on this loop
    return await asyncio.to_thread(_judge, plant, business)


def _judge(plant: Plant, business: Business) -> list[str]:
    assert plant.running is not None
    found = [*fixes(plant), *money(plant, business), *gate(plant, business), *letters(plant, business)]
    verified = plant.running.cli("billing", "verify")
    if verified.returncode:
        found.append(f"billing verify: {verified.stderr.strip()[-800:]}")
    defects = [
        line
        for line in plant.running.log.read_text(errors="replace").splitlines()
        if "a defect of ours" in line
    ]
    found += [f"the server met a defect: {line[:600]}" for line in defects if "MemoryError" not in line][:3]
    return found


def fixes(plant: Plant) -> list[str]:
    """Each answered fix is one row."""
    answered = {line for line in plant.ledger.read_text().splitlines() if line.count(",") == 1}
    rows = query(
        plant.embedded.dsn,
        "SELECT d.unique_id || ',' || extract(epoch FROM p.fixed_at)::bigint AS fix, count(*) AS rows"
        " FROM core.positions p JOIN core.devices d ON d.id = p.device_id GROUP BY 1",
    )
    stored = {row["fix"]: row["rows"] for row in rows}
    found: list[str] = []
    if lost := answered - set(stored):
        found.append(f"{len(lost)} answered fixes are not stored, such as {sorted(lost)[:3]}")
    if twice := [fix for fix, count in stored.items() if count != 1]:
        found.append(f"{len(twice)} fixes are stored more than once, such as {sorted(twice)[:3]}")
    if not answered:
        found.append("nothing was answered: the run proves nothing")
    report = (
        json.loads(plant.report.read_bytes())
        if plant.report.exists() and plant.report.stat().st_size
        else None
    )
    if report is None:
        found.append("the fleet left no report")
    elif not report["ok"]:
        told = [(each["fixes"], each["errors"], each["samples"]) for each in report["families"]]
        found.append(f"the fleet is not content: {told}")
    return found


def money(plant: Plant, business: Business) -> list[str]:
    """Each acknowledged payment is in the ledger once, with its amount; none that nobody made."""
    rows = query(
        plant.embedded.dsn,
        "SELECT key, account_id, amount_minor, count(*) OVER (PARTITION BY key) AS times FROM core.ledger WHERE kind = 'topup'",
    )
    found: list[str] = []
    booked: dict[str, tuple[int, int]] = {}
    for row in rows:
        key = row["key"].removeprefix("topup:")
        booked[key] = (row["account_id"], row["amount_minor"])
        if row["times"] != 1:
            found.append(f"payment {key} is booked {row['times']} times")
    found += [f"payment {key} was acknowledged as {paid} and is booked as {booked.get(key)}"
              for key, paid in business.paid.items() if booked.get(key) != paid]  # fmt: skip
    if strangers := set(booked) - business.offered:
        found.append(f"payments that nobody made: {sorted(strangers)[:3]}")
    if not business.paid:
        found.append("nobody paid: the run proves nothing")
    return found


def gate(plant: Plant, business: Business) -> list[str]:
    """Trackers held now show nothing, those shown show all; and nothing leaked on the way."""
    found = [f"a hidden tracker was shown: {leak}" for leak in business.leaks[:3]]
    blocked = {
        row["device_id"] for row in query(plant.embedded.dsn, "SELECT DISTINCT device_id FROM core.blocks")
    }
    if lost := business.held - blocked - business.doubtful:
        found.append(f"{len(lost)} trackers were held and are not")
    rows = query(
        plant.embedded.dsn,
        "SELECT p.device_id, count(*) AS stored,"
        " (SELECT count(*) FROM display.positions s WHERE s.device_id = p.device_id) AS shown"
        " FROM core.positions p GROUP BY 1",
    )
    for row in rows:
        owed = 0 if row["device_id"] in blocked else row["stored"]
        if row["shown"] != owed:
            found.append(f"of tracker {row['device_id']} {row['shown']} fixes are shown, {owed} ought to be")
    if not business.looks:
        found.append("nobody looked at hidden trackers: the run proves nothing")
    return found


def letters(plant: Plant, business: Business) -> list[str]:
    """Each letter that was written is delivered, and what is marked so has arrived."""
    count = "SELECT count(*) AS n FROM core.outbox WHERE delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL"

    def waiting() -> bool:
        return query(plant.embedded.dsn, count)[0]["n"] > 0

    # what was postponed while its channel or the database was away has its own patience; we have not
    query(plant.embedded.dsn, "UPDATE core.outbox SET next_at = now(), due_at = least(due_at, now())")
    query(plant.embedded.dsn, "NOTIFY tracker_outbox")
    until = time.monotonic() + QUIET_S_MAX
    while waiting() and time.monotonic() < until:
        time.sleep(0.2)
    rows = query(
        plant.embedded.dsn, "SELECT key, delivered_at IS NOT NULL AS delivered, error FROM core.outbox"
    )
    arrived = {str(mail["Message-ID"]) for mail in plant.mail.taken}
    found: list[str] = []
    for row in rows:
        if not row["delivered"]:
            found.append(f"letter {row['key']} was not delivered: {row['error']}")
        elif message_id(row["key"], "example.com") not in arrived:
            found.append(f"letter {row['key']} is marked as delivered and did not arrive")
    if lost := business.lettered - {row["key"] for row in rows}:
        found.append(f"{len(lost)} letters were written and are gone, such as {sorted(lost)[:3]}")
    if not business.lettered:
        found.append("nobody wrote: the run proves nothing")
    return found[:5]
