"""The track engine within the batch: however a day arrives, what stands in the tables is what the engine says of the whole."""

from __future__ import annotations

import os
import random
from datetime import UTC, datetime

import pytest

from tests.storage.rows import batch, known, query
from tests.storage.track_rows import (
    BASE,
    SHIFT_US,
    database_of,
    of_engine,
    row_of,
    standing,
    store_in_pieces,
    worked_off,
)
from tests.track.world import drive, fix, random_day, some_fences, stand
from tracker_server.config import Settings
from tracker_server.model.event import moment
from tracker_server.pipeline import track_book
from tracker_server.storage import track_store
from tracker_server.storage.database import Role
from tracker_server.storage.fences import NewFence, add_fences
from tracker_server.storage.ingest_store import IngestStore
from tracker_server.storage.track_grounds import engine_settings
from tracker_server.storage.track_store import TrackStage
from tracker_server.track.observation import arranged
from tracker_server.track.settings import TrackSettings

DAY_US = 86_400_000_000
SEED = "TRACKER_TEST_SEED"  # one day again, instead of another each time
A_LATE_REPORT_BEFORE_A_TRIP = (
    7  # what it added to the odometer was missing from the trip that went on meanwhile
)


async def draw(dsn: str) -> None:
    drawn = [
        NewFence(name=one.name, shape=one.shape, dwell_s=one.dwell_s, speed_limit_mps=one.speed_limit_mps)
        for one in some_fences()
    ]
    async with await database_of(dsn).connect(Role.CORE) as core:
        await add_fences(core, 1, drawn)


@pytest.mark.parametrize(
    ("way", "seed"),
    [
        ("in order", None),
        ("shuffled", None),
        ("shuffled, little memory", None),
        ("newest first", None),
        ("newest first", A_LATE_REPORT_BEFORE_A_TRIP),
    ],
)
async def test_however_a_day_arrives(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, way: str, seed: int | None
) -> None:
    seed = seed or int(os.environ.get(SEED) or random.randrange(2**32))
    print("seed", seed)
    rng = random.Random(seed)
    day = arranged(random_day(seed % 1_000))[:240]
    sent = [*day, *rng.sample(day, len(day) // 5)]
    match way:
        case "in order":
            sent = day
        case "newest first":
            sent = day[::-1]
        case _:
            rng.shuffle(sent)
    if way == "shuffled, little memory":
        monkeypatch.setattr(track_book, "PAST_MAX", 1)
        monkeypatch.setattr(track_store, "DEEP_REPORTS_MAX", 60)
    (tracker,) = known(postgres_dsn, "T1")
    await draw(postgres_dsn)
    stage = TrackStage(BASE)
    store = IngestStore(database_of(postgres_dsn), stage)
    await store_in_pieces(store, tracker, sent, rng, 40)
    slices = await worked_off(postgres_dsn, stage)
    assert (slices > 0) is (way == "shuffled, little memory")
    found, odometer_mm = standing(postgres_dsn, tracker)
    expected, expected_mm = await of_engine(postgres_dsn, tracker, day)
    assert found == expected
    assert odometer_mm == expected_mm
    await store.close()


async def test_another_process_goes_on_where_this_one_was(postgres_dsn: str) -> None:
    """Two writers, in turn and without telling each other; and one that was killed after each batch."""
    rng = random.Random(7)
    day = arranged(random_day(11))[:160]
    await draw(postgres_dsn)
    (tracker,) = known(postgres_dsn, "T1")
    stores = [IngestStore(database_of(postgres_dsn), TrackStage(BASE)) for _ in range(2)]
    for n, begin in enumerate(range(0, len(day), 10)):
        rows = batch(*(row_of(tracker, seen) for seen in day[begin : begin + 10]))
        if n % 3 == 2:
            lost = IngestStore(database_of(postgres_dsn), TrackStage(BASE))
            await lost.commit(rows, "default")
            await lost.close()
        else:
            await stores[rng.randrange(2)].commit(rows, "default")
    assert standing(postgres_dsn, tracker) == await of_engine(postgres_dsn, tracker, day)
    for store in stores:
        await store.flush()
        await store.close()


async def test_history_from_before_there_was_an_engine_is_run(postgres_dsn: str) -> None:
    """In slices, and the live reports that come meanwhile are not held up."""
    day = arranged(random_day(5))[:200]
    await draw(postgres_dsn)
    (tracker,) = known(postgres_dsn, "T1")
    stage = TrackStage(BASE)
    store = IngestStore(database_of(postgres_dsn), stage)
    await store_in_pieces(store, tracker, day[:150], random.Random(1), 50)
    for table in ("events", "trips", "stops", "visits", "track_checkpoints"):
        query(postgres_dsn, f"DELETE FROM core.{table}")
    query(
        postgres_dsn,
        "INSERT INTO core.track_queue (device_id, from_at) VALUES (%s, '2000-01-01Z')",
        [tracker.id],
    )
    stage.entries.clear()
    await store_in_pieces(store, tracker, day[150:], random.Random(2), 50)
    await worked_off(postgres_dsn, stage)
    assert standing(postgres_dsn, tracker) == await of_engine(postgres_dsn, tracker, day)
    await store.close()


@pytest.mark.parametrize("since", [None, datetime(2010, 1, 1, tzinfo=UTC)])
async def test_history_is_judged_by_a_fence_that_says_since_when(
    postgres_dsn: str, since: datetime | None
) -> None:
    """One that was drawn after the reports had come, and does not, changes nothing of it."""
    day = arranged(random_day(5))[:200]
    (tracker,) = known(postgres_dsn, "T1")
    store = IngestStore(database_of(postgres_dsn), TrackStage(BASE))
    await store_in_pieces(store, tracker, day, random.Random(1), 50)
    await store.close()
    assert query(postgres_dsn, "SELECT * FROM core.visits") == []
    await draw(postgres_dsn)
    query(postgres_dsn, "UPDATE core.fences SET created_at = now() + interval '1 hour', since = %s", [since])
    query(
        postgres_dsn,
        "INSERT INTO core.track_queue (device_id, from_at) VALUES (%s, '2000-01-01Z')",
        [tracker.id],
    )
    await worked_off(postgres_dsn, TrackStage(BASE))
    assert bool(query(postgres_dsn, "SELECT * FROM core.visits")) is (since is not None)
    assert standing(postgres_dsn, tracker) == await of_engine(postgres_dsn, tracker, day)


async def test_a_report_from_before_what_is_kept_leaves_the_odometer_alone(postgres_dsn: str) -> None:
    (tracker,) = known(postgres_dsn, "T1")
    days = drive(0, 200_000, 0.0, 5.0, every=600)
    stage = TrackStage(BASE)
    store = IngestStore(database_of(postgres_dsn), stage)
    await store_in_pieces(store, tracker, days, random.Random(1), 60)
    await store.flush()
    await store.close()
    whole = standing(postgres_dsn, tracker)[1]
    assert whole > 900_000_000
    query(postgres_dsn, "SELECT core.drop_days_before(%s)", [moment(SHIFT_US + 2 * DAY_US).date()])
    left = standing(postgres_dsn, tracker)
    stage = TrackStage(BASE)
    store = IngestStore(database_of(postgres_dsn), stage)
    late = [fix(3_333, (52.1, 21.0)), fix(86_400 + 5_000, (52.2, 21.0))]
    for seen in late:
        await store.commit(batch(row_of(tracker, seen)), "default")
    await store.commit(
        batch(row_of(tracker, fix(200_400, (days[-1].latitude or 0.0, days[-1].longitude or 0.0), 0.0))),
        "default",
    )
    await worked_off(postgres_dsn, stage)
    assert left[1] == whole
    assert standing(postgres_dsn, tracker) == left
    await store.close()


async def test_a_defect_of_the_engine_costs_no_report(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tracker,) = known(postgres_dsn, "T1")
    day = [*stand(0, 400, (52.0, 21.0)), *drive(400, 900, 0.0, 15.0)]
    stage = TrackStage(BASE)
    store = IngestStore(database_of(postgres_dsn), stage)
    await store_in_pieces(store, tracker, day[:30], random.Random(1), 20)
    with monkeypatch.context() as broken:

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        broken.setattr(track_store, "take", fail)
        stored = await store.commit(batch(*(row_of(tracker, seen) for seen in day[30:])), "default")
    assert stored.fixes == len(day) - 30
    assert await worked_off(postgres_dsn, stage) == 1
    assert standing(postgres_dsn, tracker) == await of_engine(postgres_dsn, tracker, day)
    await store.close()


def test_the_servers_settings_begin_as_the_engines() -> None:
    """Two lists of defaults, for settings lie below the engine: they say the same."""
    assert engine_settings(Settings()) == TrackSettings()
