"""After the run: ledgers against tables. Every finding is a sentence; none means that all was kept."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from datetime import datetime

from msgspec import Struct, field

from tests.chaos.business import ALERT_CHANNELS, ALERTED, Business
from tests.chaos.plant import Plant
from tests.mqtt.test_outward import kept_by
from tests.storage.rows import query
from tracker_server.notify.messages import message_id

QUIET_S_MAX = 300.0  # for what waits in the outbox to become less


class Judged(Struct):
    """``found``: what was promised and not kept, in sentences. ``again``: messages that a receiver got more than once, which
    is promised to nobody but told.
    """

    found: list[str] = field(default_factory=list)
    fixes_lost: int = 0
    fixes_doubled: int = 0
    alerts_lost: int = 0
    cents_off: int = 0
    again: int = 0


async def judge(plant: Plant, business: Business) -> Judged:
    """What was promised and not kept."""
    # in a thread: the server reaches its database through a proxy that lives on this loop
    return await asyncio.to_thread(_judge, plant, business)


def _judge(plant: Plant, business: Business) -> Judged:
    assert plant.running is not None
    judged = Judged()
    found = judged.found
    found += [*fixes(plant, judged), *content(plant), *money(plant, business, judged), *gate(plant, business)]
    found += [*letters(plant, business, judged), *alerts(plant, business, judged), *published(plant)]
    verified = plant.running.cli("billing", "verify")
    if verified.returncode:
        found.append(f"billing verify: {verified.stderr.strip()[-800:]}")
    defects = [
        line
        for line in plant.running.log.read_text(errors="replace").splitlines()
        if "a defect of ours" in line
    ]
    found += [f"the server met a defect: {line[:600]}" for line in defects if "MemoryError" not in line][:3]
    return judged


def fixes(plant: Plant, judged: Judged) -> list[str]:
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
        judged.fixes_lost = len(lost)
        found.append(f"{len(lost)} answered fixes are not stored, such as {sorted(lost)[:3]}")
    if twice := [fix for fix, count in stored.items() if count != 1]:
        judged.fixes_doubled = len(twice)
        found.append(f"{len(twice)} fixes are stored more than once, such as {sorted(twice)[:3]}")
    if not answered:
        found.append("nothing was answered: the run proves nothing")
    return found


def content(plant: Plant) -> list[str]:
    """The fleet got the right answers, and but for one that was told to end, to all that it sent."""
    if not plant.report.exists() or not plant.report.stat().st_size:
        return ["the fleet left no report"]
    report = json.loads(plant.report.read_bytes())
    families = report["families"]
    wrong = any(
        each["answers_wrong"] or each["answers_unasked"] or each["fixes"]["wrong"] for each in families
    )
    if report["ok"] or (report["interrupted"] and plant.fleet_told_to_end and not wrong):
        return []
    told = [(each["fixes"], each["errors"], each["samples"]) for each in families]
    return [f"the fleet is not content: {told}"]


BOOKS = """
SELECT account_id, currency, sum(amount_minor)::bigint AS booked, (array_agg(balance_minor ORDER BY number DESC))[1] AS balance
FROM core.ledger GROUP BY 1, 2
"""


def money(plant: Plant, business: Business, judged: Judged) -> list[str]:
    """Each acknowledged payment is in the ledger once, with its amount; none that nobody made; and what was booked is the
    balance, to the cent.
    """
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
            judged.cents_off += abs(row["amount_minor"])
            found.append(f"payment {key} is booked {row['times']} times")
    for key, paid in business.paid.items():
        if booked.get(key) != paid:
            judged.cents_off += abs(paid[1] - booked.get(key, (0, 0))[1])
            found.append(f"payment {key} was acknowledged as {paid} and is booked as {booked.get(key)}")
    for book in query(plant.embedded.dsn, BOOKS):
        if off := abs(book["booked"] - book["balance"]):
            judged.cents_off += off
            found.append(f"the balance of account {book['account_id']} is {off} cents off what was booked")
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
        "SELECT device_id, stored, coalesce(shown, 0) AS shown"
        " FROM (SELECT device_id, count(*) AS stored FROM core.positions GROUP BY 1) p"
        " LEFT JOIN (SELECT device_id, count(*) AS shown FROM display.positions GROUP BY 1) s USING (device_id)",
    )
    for row in rows:
        owed = 0 if row["device_id"] in blocked else row["stored"]
        if row["shown"] != owed:
            found.append(f"of tracker {row['device_id']} {row['shown']} fixes are shown, {owed} ought to be")
    if not business.looks:
        found.append("nobody looked at hidden trackers: the run proves nothing")
    return found


def letters(plant: Plant, business: Business, judged: Judged) -> list[str]:
    """Each letter that was written is delivered, and what is marked so has arrived."""
    count = "SELECT count(*) AS n FROM core.outbox WHERE delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL"

    until, least = 0.0, float("inf")
    while waiting := query(plant.embedded.dsn, count)[0]["n"]:
        if waiting < least:
            until, least = time.monotonic() + QUIET_S_MAX, waiting
        if time.monotonic() > until:
            break
        # what was postponed while its channel or the database was away has its own patience; we have not
        query(
            plant.embedded.dsn,
            "UPDATE core.outbox SET next_at = now(), due_at = least(due_at, now())"
            " WHERE delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL AND next_at > now()",
        )
        query(plant.embedded.dsn, "NOTIFY tracker_outbox")
        time.sleep(1.0)
    rows = query(
        plant.embedded.dsn,
        "SELECT key, channel, delivered_at IS NOT NULL AS delivered, withheld, error FROM core.outbox",
    )
    mails = Counter(str(mail["Message-ID"]) for mail in plant.mail.taken)
    hooks = Counter(plant.hooks.taken)
    judged.again = sum(count - 1 for count in (*mails.values(), *hooks.values()))
    found: list[str] = []
    for row in rows:
        before = len(found)
        arrived = (
            row["key"] in hooks
            if row["channel"] == "webhook"
            else message_id(row["key"], "example.com") in mails
        )
        if row["delivered"]:
            if not arrived:
                found.append(f"{row['key']} is marked as delivered and did not arrive")
        elif not row["withheld"]:
            found.append(f"{row['key']} was not delivered: {row['error']}")
        judged.alerts_lost += len(found) - before
    if lost := business.lettered - {row["key"] for row in rows}:
        found.append(f"{len(lost)} letters were written and are gone, such as {sorted(lost)[:3]}")
        judged.alerts_lost += len(lost)
    if not business.lettered:
        found.append("nobody wrote: the run proves nothing")
    return found[:5]


UNTOLD = """
SELECT e.id, e.type, d.unique_id, c.channel
FROM core.events e JOIN core.devices d ON d.id = e.device_id CROSS JOIN unnest(%s::text[]) AS c (channel)
WHERE e.type = ANY(%s) AND NOT coalesce((e.attributes ->> 'suppressed')::boolean, false)
  AND NOT EXISTS (SELECT FROM core.outbox o WHERE o.event_id = e.id AND o.channel = c.channel)
ORDER BY e.id
"""


def alerts(plant: Plant, business: Business, judged: Judged) -> list[str]:
    """Each event that a rule names is a message to each channel, but where its tracker was hidden; nobody heard of those."""
    untold = query(plant.embedded.dsn, UNTOLD, [list(ALERT_CHANNELS), list(ALERTED)])
    judged.alerts_lost += len(untold)
    found = [
        f"{len(untold)} alerts are lost, such as {row['type']} {row['id']} of {row['unique_id']} by {row['channel']}"
        for row in untold[:1]
    ]
    hidden = set(business.always_held)
    told = [
        json.loads(body)["event"]["deviceId"] for _, _, headers, body in plant.hooks.asked if headers and body
    ]
    if leaked := hidden.intersection(told):
        found.append(f"an alert of a hidden tracker was sent: {sorted(leaked)}")
    if not alerts_written(plant):
        found.append("nobody was alerted: the run proves nothing")
    return found


def alerts_written(plant: Plant) -> int:
    """Messages about events, to be sent."""
    counted = "SELECT count(*) AS n FROM core.outbox WHERE event_id IS NOT NULL AND withheld IS NULL"
    return query(plant.embedded.dsn, counted)[0]["n"]


def published(plant: Plant) -> list[str]:
    """In the end the broker keeps the latest place of each tracker that is shown, and nothing of those that are not. One
    that was killed has forgotten what it had acknowledged and not yet written down: of that we are not the judge.
    """
    if plant.broker is None or plant.broker_killed:
        return []
    latest = {
        f"out/{row['unique_id']}/position": row["at"]
        for row in query(
            plant.embedded.dsn,
            "SELECT v.unique_id, extract(epoch FROM s.latest_fixed_at)::bigint AS at FROM display.devices v"
            " JOIN core.device_state s ON s.device_id = v.id WHERE s.latest_fixed_at IS NOT NULL",
        )
    }
    kept: dict[str, int] = {}
    until = time.monotonic() + QUIET_S_MAX
    while time.monotonic() < until:
        kept = {topic: _fixed_at(one) for topic, one in kept_by(plant.broker, "out/+/position").items()}
        if kept == latest:
            return []
        time.sleep(1.0)
    wrong = [topic for topic in latest | kept if latest.get(topic) != kept.get(topic)]
    return [
        f"of {len(wrong)} trackers the broker keeps another place than the latest, such as {topic}: "
        f"{kept.get(topic)} instead of {latest.get(topic)}"
        for topic in wrong[:1]
    ]


def _fixed_at(told: dict[str, str]) -> int:
    return int(datetime.fromisoformat(told["fixedAt"]).timestamp())
