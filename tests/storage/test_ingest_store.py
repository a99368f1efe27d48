"""One batch, one transaction, each report once: on PostgreSQL with native partitions and on TimescaleDB."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg
import pytest

from tests.storage.rows import (
    LATER,
    NOON,
    SECOND,
    batch,
    count,
    known,
    position,
    query,
    store_of,
    telemetry,
    ticket,
)
from tracker_protocols.model import AccessPoint, Cell, Fix, Network
from tracker_server.pipeline.batch import (
    Batch,
    PositionRow,
    QuarantineRow,
    StoreAwayError,
    Stored,
    TelemetryRow,
    micros,
)
from tracker_server.pipeline.quarantine import QuarantineReason
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage.ingest_store import IngestStore


def times(number: int, start: datetime = NOON) -> Iterator[datetime]:
    return (start + n * SECOND for n in range(number))


async def test_what_is_stored_is_what_was_sent(home_dsn: str) -> None:
    (tracker,) = known(home_dsn, "T1")
    network = Network((Cell(250, 1, 77, 12345, -71),), (AccessPoint("aa:bb:cc:dd:ee:ff", -60),))
    full = PositionRow(
        tracker,
        micros(NOON),
        -(2**63),
        Fix(NOON, -33.45, -70.66, False, 520.5, 13.25, 359.5, 4.5),
        {"ignition": True, "sat": 9, "name": "Ñandú Ж 🚚", "power": 12.6, "list": [1, None]},
        network,
        ticket(),
    )
    bare = PositionRow(
        tracker, micros(NOON + SECOND), 2**63 - 1, Fix(NOON + SECOND, 90.0, 180.0), {}, None, ticket()
    )
    async with store_of(home_dsn) as store:
        assert await store.commit(batch(full, bare), "default") == Stored(2)
    first, second = query(home_dsn, "SELECT * FROM core.positions ORDER BY fixed_at")
    assert (
        first.items()
        >= {
            "device_id": tracker.id,
            "fixed_at": NOON,
            "received_at": LATER,
            "digest": -(2**63),
            "latitude": -33.45,
            "longitude": -70.66,
            "valid": False,
            "altitude_m": 520.5,
            "speed_mps": 13.25,
            "course_deg": 359.5,
            "accuracy_m": 4.5,
            "protocol": "gt06",
            "attributes": {
                "ignition": True,
                "sat": 9,
                "name": "Ñandú Ж 🚚",
                "power": 12.6,
                "list": [1, None],
            },
            "network": {
                "cells": [{"mcc": 250, "mnc": 1, "lac": 77, "cid": 12345, "signal": -71}],
                "access_points": [{"mac": "aa:bb:cc:dd:ee:ff", "signal": -60}],
            },
        }.items()
    )
    assert first["stored_at"] > first["received_at"] - timedelta(days=400)
    empty = ("altitude_m", "speed_mps", "course_deg", "accuracy_m", "network")
    assert [second[name] for name in empty] == [None] * 5
    assert (second["valid"], second["attributes"], second["digest"]) == (True, {}, 2**63 - 1)


async def test_the_same_report_again_is_the_same_row(home_dsn: str) -> None:
    (tracker,) = known(home_dsn, "T1")
    async with store_of(home_dsn) as store:
        assert await store.commit(batch(position(tracker, NOON)), "default") == Stored(1)
        assert await store.commit(batch(position(tracker, NOON)), "default") == Stored(0, 1)
        twice = batch(position(tracker, NOON + SECOND), position(tracker, NOON + SECOND))
        assert await store.commit(twice, "default") == Stored(1, 1)
    assert count(home_dsn, "core.positions") == 2


async def test_two_reports_of_one_instant_are_two_rows(home_dsn: str) -> None:
    (tracker,) = known(home_dsn, "T1")
    async with store_of(home_dsn) as store:
        await store.commit(batch(position(tracker, NOON, b"a"), position(tracker, NOON, b"b")), "default")
        await store.commit(batch(position(tracker, NOON, b"c"), position(tracker, NOON, b"a")), "default")
    assert count(home_dsn, "core.positions") == 3


async def test_any_order_with_repeats_stores_the_set(home_dsn: str) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    trackers = known(home_dsn, "T1", "T2", "T3")
    async with store_of(home_dsn) as store:
        sent = [(tracker, at) for tracker in trackers for at in times(200)]
        repeated = sent + chance.sample(sent, 150)
        chance.shuffle(repeated)
        while repeated:
            size = chance.randint(1, 90)
            part, repeated = repeated[:size], repeated[size:]
            await store.commit(batch(*(position(tracker, at) for tracker, at in part)), "default")
    assert count(home_dsn, "core.positions") == len(sent)
    assert count(home_dsn, "(SELECT DISTINCT device_id, fixed_at FROM core.positions) AS d") == len(sent)


async def test_another_process_may_have_stored_it_already(home_dsn: str) -> None:
    """Memory says new, the unique key knows better: nothing fails, nothing doubles."""
    (ours,), (theirs,) = known(home_dsn, "T1"), known(home_dsn, "T1")
    async with store_of(home_dsn) as here, store_of(home_dsn) as there:
        await there.commit(batch(*(position(theirs, at) for at in times(10))), "default")
        stored = await here.commit(batch(*(position(ours, at) for at in times(12))), "default")
    assert stored == Stored(2, 10)
    assert count(home_dsn, "core.positions") == 12


@pytest.mark.parametrize("place", [0, 57, 99])
async def test_a_row_that_the_database_refuses_costs_that_row(home_dsn: str, place: int) -> None:
    """An operator's own constraint, say."""
    query(home_dsn, "ALTER TABLE core.positions ADD CHECK (attributes ->> 'text' IS DISTINCT FROM 'poison')")
    (tracker,) = known(home_dsn, "T1")
    rows = [position(tracker, at, b"%d" % n) for n, at in enumerate(times(100))]
    rows[place] = position(tracker, NOON + place * SECOND, b"poison", text="poison")
    async with store_of(home_dsn) as store:
        stored = await store.commit(batch(*rows), "default")
    assert stored == Stored(99, 0, (rows[place].ticket,))
    assert count(home_dsn, "core.positions") == 99
    (kept,) = query(home_dsn, "SELECT * FROM core.quarantine")
    assert kept["reason"] == QuarantineReason.REFUSED
    assert kept["detail"].startswith("23514: ")
    assert kept["frame"] == b"frame of poison"
    assert (kept["unique_id"], kept["device_id"]) == ("T1", tracker.id)
    assert not rows[place].ticket.refused, "it is kept, so it may be answered"


async def test_a_refused_row_without_a_place_costs_that_row(home_dsn: str) -> None:
    query(home_dsn, "ALTER TABLE core.telemetry ADD CHECK (attributes ->> 'text' IS DISTINCT FROM 'poison')")
    (tracker,) = known(home_dsn, "T1")
    rows = [telemetry(tracker, NOON, b"good", sat=1), telemetry(tracker, NOON, b"bad", text="poison")]
    async with store_of(home_dsn) as store:
        stored = await store.commit(batch(*rows, position(tracker, NOON)), "default")
    assert len(stored.refused) == 1
    assert count(home_dsn, "core.telemetry") == 1
    assert count(home_dsn, "core.positions") == 1
    assert count(home_dsn, "core.quarantine") == 1


async def test_reports_without_a_place_are_stored_once(home_dsn: str) -> None:
    (tracker,) = known(home_dsn, "T1")
    row = telemetry(tracker, NOON, battery=4.1)
    old = TelemetryRow(tracker, micros(NOON - timedelta(days=4000)), 7, "heartbeat", {}, None, ticket())
    async with store_of(home_dsn) as store:
        assert await store.commit(batch(row, old), "default") == Stored(0)
        assert await store.commit(batch(row), "default") == Stored(0, 1)
    found = query(home_dsn, "SELECT kind, sent_at, attributes FROM core.telemetry ORDER BY sent_at")
    assert [(r["kind"], r["attributes"]) for r in found] == [("heartbeat", {}), ("report", {"battery": 4.1})]


async def test_days_of_any_age_find_their_place(home_dsn: str) -> None:
    (tracker,) = known(home_dsn, "T1")
    days = [datetime(year, 2, 28, tzinfo=NOON.tzinfo) for year in range(2000, 2027)]
    async with store_of(home_dsn) as store:
        await store.commit(batch(*(position(tracker, day) for day in days)), "default")
    found = query(home_dsn, "SELECT fixed_at FROM core.positions ORDER BY 1")
    assert [row["fixed_at"] for row in found] == days


async def test_a_dropped_partition_is_made_again(home_dsn: str) -> None:
    (tracker,) = known(home_dsn, "T1")
    async with store_of(home_dsn) as store:
        await store.commit(batch(position(tracker, NOON)), "default")
        query(home_dsn, "SELECT core.drop_days_before('2026-12-31')")
        assert count(home_dsn, "core.positions") == 0
        assert await store.commit(batch(position(tracker, NOON + SECOND)), "default") == Stored(1)
    assert count(home_dsn, "core.positions") == 1


# ---------------------------------------------------------------------------------- the newest


async def latest(dsn: str) -> tuple[datetime, datetime]:
    (row,) = query(dsn, "SELECT latest_fixed_at, newest_fixed_at FROM core.device_state")
    return row["latest_fixed_at"], row["newest_fixed_at"]


async def test_a_late_fix_is_not_the_latest(home_dsn: str) -> None:
    (tracker,) = known(home_dsn, "T1")
    async with store_of(home_dsn) as store:
        await store.commit(batch(position(tracker, NOON)), "default")
        await store.commit(batch(position(tracker, NOON - SECOND)), "default")
    assert await latest(home_dsn) == (NOON, NOON)


async def test_a_fix_from_the_future_does_not_freeze_the_latest(home_dsn: str) -> None:
    """A clock that was 20 hours ahead once: the next honest fix is the latest again."""
    (tracker,) = known(home_dsn, "T1")
    ahead = NOON + timedelta(hours=20)
    async with store_of(home_dsn) as store:
        await store.commit(batch(position(tracker, ahead, received_at=NOON)), "default")
        assert (await latest(home_dsn))[0] == ahead
        honest = position(tracker, NOON + 60 * SECOND, received_at=NOON + 61 * SECOND)
        await store.commit(batch(honest), "default")
    assert await latest(home_dsn) == (NOON + 60 * SECOND, ahead)


async def test_a_batch_may_hold_several_fixes_of_one_tracker_in_any_order(home_dsn: str) -> None:
    (tracker,) = known(home_dsn, "T1")
    rows = [position(tracker, at) for at in times(20)]
    random.Random(7).shuffle(rows)
    async with store_of(home_dsn) as store:
        assert await store.commit(batch(*rows), "default") == Stored(20)
    assert await latest(home_dsn) == (NOON + 19 * SECOND,) * 2
    assert tracker.newest_us == micros(NOON + 19 * SECOND)


# ---------------------------------------------------------------------------------- who


async def test_an_unknown_device_is_registered_with_its_first_report(home_dsn: str) -> None:
    stranger = Tracker("NEW-1")
    async with store_of(home_dsn) as store:
        await store.commit(batch(position(stranger, NOON), telemetry(stranger, NOON)), "default")
    (row,) = query(
        home_dsn,
        "SELECT d.id, d.name, a.name AS account FROM core.devices d JOIN core.accounts a ON a.id = account_id",
    )
    assert row == {"id": stranger.id, "name": "NEW-1", "account": "default"}
    assert count(home_dsn, "core.positions") == 1


async def test_two_processes_may_register_one_device(home_dsn: str) -> None:
    one, two = Tracker("NEW-1"), Tracker("NEW-1")
    async with store_of(home_dsn) as here, store_of(home_dsn) as there:
        await here.commit(batch(position(one, NOON)), "default")
        await there.commit(batch(position(two, NOON + SECOND)), "default")
    assert one.id == two.id
    assert count(home_dsn, "core.devices") == 1


async def test_an_account_that_is_not_there_answers_nothing(home_dsn: str) -> None:
    async with store_of(home_dsn) as store:
        with pytest.raises(StoreAwayError, match=r"devices\.unknown_account.*'nobody'"):
            await store.commit(batch(position(Tracker("NEW-1"), NOON)), "nobody")
    assert count(home_dsn, "core.positions") == 0


# ---------------------------------------------------------------------------------- quarantine


async def test_the_same_frame_is_kept_once(home_dsn: str) -> None:
    row = QuarantineRow("X1", None, QuarantineReason.UNKNOWN_DEVICE, "", 3, ticket(b"\x00\xff frame"))
    other = QuarantineRow("X1", None, QuarantineReason.UNKNOWN_DEVICE, "", 1, ticket(b"other"))
    async with store_of(home_dsn) as store:
        for _ in range(2):
            await store.commit(Batch(quarantine=[row, other], tickets=[row.ticket]), "default")
    found = query(
        home_dsn,
        "SELECT unique_id, reports, frame, protocol, transport, remote FROM core.quarantine ORDER BY id",
    )
    assert [(r["reports"], r["frame"]) for r in found] == [(3, b"\x00\xff frame"), (1, b"other")]
    assert (found[0]["protocol"], found[0]["transport"], found[0]["remote"]) == ("gt06", "tcp", "127.0.0.1:1")


# ---------------------------------------------------------------------------------- when it goes away


async def test_a_broken_connection_stores_nothing_or_all_and_never_twice(home_dsn: str) -> None:
    (tracker,) = known(home_dsn, "T1")
    async with store_of(home_dsn) as store:
        await store.commit(batch(position(tracker, NOON)), "default")
        rows = batch(*(position(tracker, at) for at in times(50, NOON + SECOND)))
        terminate(home_dsn)
        with pytest.raises(StoreAwayError):
            await store.commit(rows, "default")
        await store.revive()
        await store.commit(rows, "default")
        await store.commit(rows, "default")
    assert count(home_dsn, "core.positions") == 51


def terminate(dsn: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'tracker-server core' AND datname = current_database()"
        )


async def test_a_schema_that_is_not_ours_answers_nothing(home_dsn: str) -> None:
    """A statement that fails for another reason than its rows must not send them to quarantine as bad."""
    (tracker,) = known(home_dsn, "T1")
    async with store_of(home_dsn) as store:
        await store.commit(batch(position(tracker, NOON)), "default")
        query(home_dsn, "ALTER TABLE core.positions RENAME COLUMN valid TO was_valid")
        with pytest.raises(StoreAwayError):
            await store.commit(batch(position(tracker, NOON + SECOND)), "default")
    assert count(home_dsn, "core.quarantine") == 0


# ---------------------------------------------------------------------------------- what it costs


async def statements(store: IngestStore, rows: Batch) -> int:
    """How many statements libpq sends for a batch, as its own trace of the wire tells."""
    connection = await store._connected()
    with tempfile.TemporaryFile("w+") as trace:
        connection.pgconn.trace(trace.fileno())
        await store.commit(rows, "default")
        connection.pgconn.untrace()
        trace.seek(0)
        sent = [line.rstrip("\n").split("\t") for line in trace]
    return sum(1 for fields in sent if "F" in fields and ({"Query", "Execute"} & set(fields)))


async def test_a_thousand_fixes_cost_at_most_six_statements(home_dsn: str) -> None:
    trackers = known(home_dsn, *(f"T{n}" for n in range(20)))
    async with store_of(home_dsn) as store:
        await store.commit(batch(*(position(tracker, NOON) for tracker in trackers)), "default")
        fresh = [position(tracker, at) for tracker in trackers for at in times(50, NOON + SECOND)]
        late = [position(tracker, NOON - SECOND) for tracker in trackers]
        told = [telemetry(tracker, NOON) for tracker in trackers]
        assert await statements(store, batch(*fresh)) <= 4
        more = [position(tracker, at) for tracker in trackers for at in times(50, NOON + 60 * SECOND)]
        assert await statements(store, batch(*more, *late, *told)) <= 6
    assert count(home_dsn, "core.positions") == 20 + 2 * 1000 + 20
