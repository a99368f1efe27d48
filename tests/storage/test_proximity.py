"""Pairs of trackers right behind the batches: however fixes arrive, what stands is what the whole day comes to."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.storage.rows import batch, known, query
from tests.storage.track_rows import BASE, SHIFT_US, database_of, row_of, worked_off
from tests.track.world import at, drive, fix, stand
from tracker_server.alerts.rules import AlertEvent
from tracker_server.model.event import Event, identity, moment
from tracker_server.model.people import Scope
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage import proximity_queue, track_store
from tracker_server.storage.copy_rows import register
from tracker_server.storage.database import Role
from tracker_server.storage.ingest_store import IngestStore
from tracker_server.storage.proximities import (
    ProximityError,
    ProximityKind,
    add_proximity,
    displayed_proximities,
    proximities,
    remove_proximity,
)
from tracker_server.storage.proximity_queue import ProximityQueue
from tracker_server.storage.track_found import Kind, displayed
from tracker_server.storage.track_rows import event_of
from tracker_server.storage.track_store import TrackStage
from tracker_server.track.engine import Mark, step
from tracker_server.track.fences.index import EMPTY
from tracker_server.track.observation import Observation, arranged
from tracker_server.track.proximity import Pair, Sighting, Zone, step_proximity
from tracker_server.track.state import State

ZONE = Zone(limit_m=300.0)


class Heard:
    """Who is told of events."""

    def __init__(self) -> None:
        self.events: list[AlertEvent] = []

    async def tell(self, _connection: Any, events: Any, _now: datetime) -> None:
        self.events += [
            one for one in events if one.type in {*proximity_queue.ZONE_EVENTS, *proximity_queue.ALONE}
        ]


async def made(dsn: str, kind: ProximityKind, one: Tracker, other: Tracker, zone: Zone = ZONE) -> int:
    assert one.id
    assert other.id
    async with await database_of(dsn).connect(Role.CORE) as core:
        number = await add_proximity(core, kind, one.id, other.id, zone)
    query(dsn, "UPDATE core.proximities SET created_at = '2000-01-02Z'")
    return number


async def taken(dsn: str, stage: TrackStage) -> int:
    """Work the pairs off; answers how often one was taken."""
    queue = ProximityQueue(database_of(dsn), stage)
    times = 0
    async with await database_of(dsn).connect(Role.CORE) as connection:
        register(connection.adapters)
        while await queue.work(connection):
            times += 1
            assert times < 2_000
    return times


def standing(dsn: str) -> list[bytes]:
    rows = query(
        dsn,
        "SELECT * FROM core.events WHERE NOT superseded AND type IN ('proximityEnter', 'proximityExit', 'unaccompaniedMotion')"
        " ORDER BY occurred_at, id",
    )
    return [identity(event_of(row)) for row in rows]


def wandering(rng: random.Random, digest: int) -> list[Observation]:
    """To and fro around HOME, with an absurd fix now and then."""
    north, found = rng.uniform(-600, 600), list[Observation]()
    for second in range(rng.randrange(20), 3_000, rng.choice((10, 20, 30))):
        north = max(-900.0, min(900.0, north + rng.uniform(-150, 150)))
        absurd = rng.random() < 0.03
        found.append(fix(second, at(400_000 if absurd else north), 5.0, digest=digest))
    return found


def at_once(one: list[Observation], other: list[Observation], other_id: int) -> list[bytes]:
    """What the two days come to, taken whole."""
    sightings: list[Sighting] = []
    for of_first, day in ((True, one), (False, other)):
        marks: list[Mark] = []
        seen = arranged(day)
        step(State(), seen, BASE, EMPTY, marks)
        sightings += [
            Sighting(of_first, fix) for fix, mark in zip(seen, marks, strict=True) if mark.place == "accepted"
        ]
    sightings.sort(key=lambda sighting: sighting.turn)
    found = [meeting.event for meeting in step_proximity(Pair(), sightings, ZONE, other_id)[1]]
    return [identity(shifted(event)) for event in sorted(found, key=lambda event: event.occurred_us)]


def shifted(event: Event) -> Event:
    return Event(
        event.type,
        event.occurred_us + SHIFT_US,
        event.decided_us + SHIFT_US,
        digest=event.digest,
        attributes=event.attributes,
    )


@pytest.mark.parametrize("way", ["in order", "shuffled", "in small slices"])
async def test_however_the_fixes_of_a_pair_arrive(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    rng = random.Random(11)
    if way == "in small slices":
        monkeypatch.setattr(proximity_queue, "SLICE_REPORTS", 40)
        monkeypatch.setattr(track_store, "DEEP_REPORTS_MAX", 60)
    one, other, third = known(postgres_dsn, "T1", "T2", "T3")
    await made(postgres_dsn, ProximityKind.ZONE, one, other)
    days = {tracker: wandering(rng, n) for n, tracker in enumerate((one, other, third), 1)}
    rows = [row_of(tracker, seen) for tracker, day in days.items() for seen in day]
    if way == "in order":
        rows.sort(key=lambda row: row.ticket.received_us)
        rows = sorted(rows, key=lambda row: getattr(row, "fixed_us", 0))
    else:
        rng.shuffle(rows)
    stage, heard = TrackStage(BASE), Heard()
    stage.tell = heard.tell
    assert one.id
    assert other.id
    stage.paired = frozenset({one.id, other.id})
    store = IngestStore(database_of(postgres_dsn), stage)
    while rows:
        size = rng.randint(1, 40)
        piece, rows = rows[:size], rows[size:]
        await store.commit(batch(*piece), "default")
        if rng.random() < 0.7:
            await taken(postgres_dsn, stage)
    await worked_off(postgres_dsn, stage)
    await taken(postgres_dsn, stage)
    await store.close()
    expected = at_once(days[one], days[other], other.id)
    assert len(expected) > 5
    assert standing(postgres_dsn) == expected
    (pair,) = query(postgres_dsn, "SELECT near FROM core.proximities")
    assert pair["near"] is (b"proximityEnter" in expected[-1])
    stood = query(
        postgres_dsn, "SELECT id FROM core.events WHERE type IN ('proximityEnter', 'proximityExit')"
    )
    assert {event.id for event in heard.events} == {row["id"] for row in stood}, "each is told once"
    assert all(event.attributes["other"] == "T2" for event in heard.events)


async def test_who_sets_off_alone(postgres_dsn: str) -> None:
    """A companion's fix that comes late takes the event back; one that shows it far away brings it."""
    one, other = known(postgres_dsn, "Trailer", "Lorry")
    await made(postgres_dsn, ProximityKind.COMPANION, one, other, Zone(limit_m=200.0, stale_s=900.0))
    stage, heard = TrackStage(BASE), Heard()
    stage.tell = heard.tell
    store = IngestStore(database_of(postgres_dsn), stage)
    away = [*stand(0, 600, at(0)), *drive(600, 900, 0, 15.0)]
    await store.commit(batch(*(row_of(one, seen) for seen in away)), "default")
    await taken(postgres_dsn, stage)
    (alone,) = heard.events
    assert (alone.type, alone.attributes) == ("unaccompaniedMotion", {"companion_ids": [other.id]})
    assert alone.latitude == pytest.approx(at(0)[0], abs=0.01)
    beside = [row_of(other, seen) for seen in stand(0, 590, at(50))]
    await store.commit(batch(*beside), "default")
    await taken(postgres_dsn, stage)
    assert standing(postgres_dsn) == []
    await store.commit(
        batch(*(row_of(other, seen) for seen in stand(591, 597, at(5_000), every=4))), "default"
    )
    await taken(postgres_dsn, stage)
    assert standing(postgres_dsn) == [], "a jump is not believed at once"
    await store.commit(batch(row_of(other, fix(599, at(5_000), 0.0))), "default")
    await taken(postgres_dsn, stage)
    assert len(standing(postgres_dsn)) == 1
    await store.close()


async def test_a_pair_costs_those_that_are_of_none_nothing(postgres_dsn: str) -> None:
    one, other, third = known(postgres_dsn, "T1", "T2", "T3")
    number = await made(postgres_dsn, ProximityKind.ZONE, one, other)
    stage = TrackStage(BASE)
    stage.paired = frozenset({one.id or 0, other.id or 0})
    store = IngestStore(database_of(postgres_dsn), stage)
    await store.commit(batch(*(row_of(third, seen) for seen in stand(0, 50, at(0)))), "default")
    assert query(postgres_dsn, "SELECT FROM core.proximity_queue") == []
    await store.commit(batch(*(row_of(one, seen) for seen in stand(0, 50, at(0)))), "default")
    assert [row["proximity_id"] for row in query(postgres_dsn, "SELECT * FROM core.proximity_queue")] == [
        number
    ]
    async with await database_of(postgres_dsn).connect(Role.CORE) as core:
        assert await remove_proximity(core, number)
        assert not await remove_proximity(core, number)
    assert await taken(postgres_dsn, stage) == 1
    assert query(postgres_dsn, "SELECT FROM core.proximity_queue") == []
    await store.close()


async def test_what_came_before_a_pair_was_made_is_no_meeting(postgres_dsn: str) -> None:
    one, other = known(postgres_dsn, "T1", "T2")
    await made(postgres_dsn, ProximityKind.ZONE, one, other)
    query(postgres_dsn, "UPDATE core.proximities SET created_at = %s", [moment(SHIFT_US + 1_000_000_000)])
    stage = TrackStage(BASE)
    store = IngestStore(database_of(postgres_dsn), stage)
    for tracker in (one, other):
        await store.commit(batch(*(row_of(tracker, seen) for seen in stand(0, 900, at(0)))), "default")
    await taken(postgres_dsn, stage)
    assert standing(postgres_dsn) == []
    for tracker in (one, other):
        await store.commit(batch(*(row_of(tracker, seen) for seen in stand(900, 1_000, at(0)))), "default")
    await taken(postgres_dsn, stage)
    assert len(standing(postgres_dsn)) == 1
    await store.close()


async def test_a_hidden_tracker_is_not_given_away_by_its_neighbour(postgres_dsn: str) -> None:
    one, other = known(postgres_dsn, "T1", "T2")
    assert one.id
    assert other.id
    await made(postgres_dsn, ProximityKind.ZONE, one, other)
    stage = TrackStage(BASE)
    store = IngestStore(database_of(postgres_dsn), stage)

    async def shown() -> tuple[int, int]:
        async with await database_of(postgres_dsn).connect(Role.DISPLAY) as display:
            events = [
                row
                async for row in displayed(display, Kind.EVENTS, [one.id or 0])
                if row["type"].startswith("proximity")
            ]
            pairs = await displayed_proximities(display, one.id or 0, Scope(everything=True))
            return len(events), len(pairs)

    for tracker in (one, other):
        await store.commit(batch(*(row_of(tracker, seen) for seen in stand(0, 100, at(0)))), "default")
    await taken(postgres_dsn, stage)
    assert await shown() == (1, 1)
    since = datetime.now(UTC) - timedelta(hours=1)
    query(
        postgres_dsn,
        "INSERT INTO core.blocks (device_id, reason, since) VALUES (%s, 'hold', %s)",
        [other.id, since],
    )
    assert await shown() == (0, 0)
    query(postgres_dsn, "DELETE FROM core.blocks")
    assert await shown() == (1, 1)
    await store.close()


async def test_pairs_that_cannot_be(postgres_dsn: str) -> None:
    one, other = known(postgres_dsn, "T1", "T2")
    assert one.id
    assert other.id
    async with await database_of(postgres_dsn).connect(Role.CORE) as core:
        with pytest.raises(ProximityError, match="two trackers of one account"):
            await add_proximity(core, ProximityKind.ZONE, one.id, one.id, ZONE)
        await add_proximity(core, ProximityKind.ZONE, one.id, other.id, ZONE)
        with pytest.raises(ProximityError, match="already"):
            await add_proximity(core, ProximityKind.ZONE, other.id, one.id, ZONE)
        await add_proximity(core, ProximityKind.COMPANION, one.id, other.id, ZONE)
        await add_proximity(core, ProximityKind.COMPANION, other.id, one.id, ZONE)
        assert [(row.kind, row.unique_id, row.other_unique_id) for row in await proximities(core)] == [
            ("zone", "T1", "T2"),
            ("companion", "T1", "T2"),
            ("companion", "T2", "T1"),
        ]
