"""Fences as rows: lossless, an account's own; and what the engine found, behind the gate as it was known."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import AsyncConnection

from tests.storage.rows import known, query
from tracker_server.config import Settings, Storage
from tracker_server.storage import fences
from tracker_server.storage.accumulators import set_accumulators
from tracker_server.storage.database import Database, Role
from tracker_server.storage.devices import NewDevice, add_device
from tracker_server.storage.fences import NewFence
from tracker_server.storage.objects import link
from tracker_server.storage.track_found import Kind, displayed, everything
from tracker_server.storage.track_grounds import read_ground
from tracker_server.track.fences.shapes import area, circle, corridor
from tracker_server.track.settings import Maintenance, MaintenanceKind, TrackSettings

BLOCKED_AT = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@asynccontextmanager
async def connected(dsn: str, role: Role = Role.CORE) -> AsyncGenerator[AsyncConnection[Any]]:
    async with await Database(Settings(storage=Storage(dsn=dsn))).connect(role) as connection:
        yield connection


async def test_every_vertex_comes_back_as_it_was_drawn(postgres_dsn: str) -> None:
    ring = [(13.1 + i / 3e7, 52.0 + (i % 2) * 1e-9) for i in range(9_999)]
    ring = [*ring, (13.2, 53.0), (13.1, 53.0), ring[0]]
    drawn = [
        NewFence(name="a", shape=area([[ring]]), speed_limit_mps=13.9, attributes={"color": "#ff0000"}),
        NewFence(name="b", shape=circle(70.1234567890123, 179.999, 250.5), dwell_s=600),
        NewFence(name="c", shape=corridor([[(179.99, 52.0), (-179.99, 52.1)]], 80), everyone=False),
    ]
    async with connected(postgres_dsn) as core:
        account = query(postgres_dsn, "SELECT id FROM core.accounts")[0]["id"]
        ids = await fences.add_fences(core, account, drawn)
        found = await fences.fences_of(core, account)
        assert [row.id for row in found] == ids
        assert [(row.name, row.shape, row.dwell_s, row.everyone, row.attributes) for row in found] == [
            (new.name, new.shape, new.dwell_s, new.everyone, new.attributes) for new in drawn
        ]
        assert await fences.remove_fence(core, ids[0])
        assert not await fences.remove_fence(core, ids[0])
        assert await fences.change_fence(core, ids[1], drawn[2])
        assert not await fences.change_fence(core, ids[0], drawn[2])
        (changed, _) = await fences.fences_of(core, account)
        assert (changed.id, changed.shape, changed.name) == (ids[1], drawn[2].shape, "c")
        assert [row.id for row in await fences.every_fence_of(core, account)] == ids
    async with connected(postgres_dsn, Role.DISPLAY) as display:
        assert [row.id for row in await fences.displayed_fences(display, account)] == ids[1:]


async def test_a_shape_that_somebody_wrote_by_hand_costs_that_fence(postgres_dsn: str) -> None:
    async with connected(postgres_dsn) as core:
        new = NewFence(name="a", shape=circle(52, 13, 100))
        bad, good = await fences.add_fences(core, 1, [new, new])
        await core.execute("UPDATE core.fences SET shape = '{}' WHERE id = %s", [bad])
        assert [row.id for row in await fences.fences_of(core, 1)] == [good]
        assert len((await read_ground(core, 1, TrackSettings())).fences) == 1


async def test_plans_count_what_a_vehicle_had_driven_before_its_tracker(postgres_dsn: str) -> None:
    async with connected(postgres_dsn) as core:
        device = await add_device(core, NewDevice("1", 1, "Van"))
        await core.execute(
            "INSERT INTO core.maintenance (account_id, name, type, start, period) VALUES (1, 'Oil', 'totalDistance', 15e6, 15e6)"
        )
        await link(core, "device", device, "maintenance", 1)
        await core.execute("UPDATE core.device_state SET odometer_mm = 1000000")
        await set_accumulators(core, device, odometer_m=250_001_000.0, engine_ms=None)
        plan = Maintenance(1, MaintenanceKind.DISTANCE, 15e6, 15e6, before=250_000_000.0)
        assert (await read_ground(core, 1, TrackSettings())).settings_of(device).maintenance == (plan,)


async def test_an_account_may_not_have_fences_without_end(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fences, "FENCES_MAX", 2)
    new = NewFence(name="a", shape=circle(52, 13, 100))
    async with connected(postgres_dsn) as core:
        assert len(await fences.add_fences(core, 1, [new, new])) == 2
        with pytest.raises(fences.TooManyFencesError, match="has 2 fences and may have 2; remove some"):
            await fences.add_fences(core, 1, [new])


async def test_a_fence_is_assigned_and_is_everyones_again(postgres_dsn: str) -> None:
    one, two = known(postgres_dsn, "1", "2")
    assert one.id
    assert two.id
    async with connected(postgres_dsn) as core:
        (fence,) = await fences.add_fences(core, 1, [NewFence(name="a", shape=circle(52, 13, 100))])
        await fences.assign_fence(core, fence, [one.id, two.id])
        assert await fences.assigned(core, 1) == {fence: [one.id, two.id]}
        row = await fences.fence_of(core, fence)
        assert row is not None
        assert not row.everyone
        await fences.unassign_fence(core, fence, [one.id])
        assert await fences.assigned(core, 1) == {fence: [two.id]}
        await fences.unassign_fence(core, fence)
        await fences.assign_fence(core, fence, [], everyone=True)
        row = await fences.fence_of(core, fence)
        assert row is not None
        assert row.everyone


ROWS = """
INSERT INTO core.trips (device_id, started_at, ended_at, decided_at, start_latitude, start_longitude, start_digest, end_latitude,
    end_longitude, end_digest, distance_mm, odometer_start_mm, speed_max_mps, stored_at, superseded_at)
VALUES (%(device)s, %(before)s, NULL, %(before)s, 1, 1, 1, 1, 1, 1, 0, 0, 1, %(before)s, %(after)s),
       (%(device)s, %(before)s, %(after)s, %(after)s, 1, 1, 1, 1, 1, 1, 0, 0, 1, %(after)s, NULL);
INSERT INTO core.stops (device_id, started_at, ended_at, decided_at, latitude, longitude, digest, engine_us, stored_at, superseded_at)
VALUES (%(device)s, %(before)s, NULL, %(before)s, 1, 1, 1, 0, %(before)s, %(after)s),
       (%(device)s, %(before)s, %(after)s, %(after)s, 1, 1, 1, 0, %(after)s, NULL);
INSERT INTO core.visits (device_id, fence_id, entered_at, left_at, decided_at, stored_at, superseded_at)
VALUES (%(device)s, %(fence)s, %(before)s, NULL, %(before)s, %(before)s, %(after)s),
       (%(device)s, %(fence)s, %(before)s, %(after)s, %(after)s, %(after)s, NULL);
SELECT core.ensure_days(ARRAY[%(before)s::timestamptz::date, %(after)s::timestamptz::date]);
INSERT INTO core.events (device_id, type, occurred_at, stored_at, superseded, superseded_at)
VALUES (%(device)s, 'deviceMoving', %(before)s, %(before)s, true, %(after)s),
       (%(device)s, 'deviceStopped', %(before)s, %(after)s, false, NULL);
"""


async def test_a_block_shows_what_was_known_before_it_and_nothing_of_what_changed(postgres_dsn: str) -> None:
    """Where the operator lets a block hide only what came after it: an open visit stays open, a superseded event stays."""
    (tracker,) = known(postgres_dsn, "1")
    assert tracker.id
    async with connected(postgres_dsn) as core:
        (fence,) = await fences.add_fences(core, 1, [NewFence(name="a", shape=circle(52, 13, 100))])
        before, after = BLOCKED_AT - HOUR, BLOCKED_AT + HOUR
        values = {"device": tracker.id, "fence": fence, "before": before, "after": after}
        for statement in ROWS.split(";\n"):
            if statement.strip():
                await core.execute(statement.encode(), values)
    plain = await seen(postgres_dsn, tracker.id)
    assert [list(rows) for rows in plain.values()] == [["deviceStopped"], [after], [after], [after]]
    query(
        postgres_dsn,
        "INSERT INTO core.blocks (device_id, reason, since) VALUES (%s, 'billing', %s)",
        [tracker.id, BLOCKED_AT],
    )
    assert not any((await seen(postgres_dsn, tracker.id)).values())
    query(postgres_dsn, "UPDATE core.gate SET hide_history = false")
    known_then = await seen(postgres_dsn, tracker.id)
    assert [list(rows) for rows in known_then.values()] == [["deviceMoving"], [None], [None], [None]]
    async with connected(postgres_dsn) as core:
        visits = [row["left_at"] async for row in everything(core, Kind.VISITS, [tracker.id])]
        assert visits == [after], "the operator sees what is true"
        kept = [
            row["superseded"] async for row in everything(core, Kind.EVENTS, [tracker.id], superseded=True)
        ]
        assert kept == [True, False]


async def seen(dsn: str, device_id: int) -> dict[Kind, list[Any]]:
    """Types of the events and ends of the intervals that the customer sees."""
    told = {
        Kind.EVENTS: "type",
        Kind.TRIPS: "ended_at",
        Kind.STOPS: "ended_at",
        Kind.VISITS: "left_at",
    }
    async with connected(dsn, Role.DISPLAY) as display:
        return {
            kind: [row[column] async for row in displayed(display, kind, [device_id])]
            for kind, column in told.items()
        }


async def test_an_interval_is_found_by_its_middle(postgres_dsn: str) -> None:
    (tracker,) = known(postgres_dsn, "1")
    assert tracker.id
    async with connected(postgres_dsn) as core:
        (fence,) = await fences.add_fences(core, 1, [NewFence(name="a", shape=circle(52, 13, 100))])
        for hours in (0, 10):
            entered = BLOCKED_AT + hours * HOUR
            await core.execute(
                "INSERT INTO core.visits (device_id, fence_id, entered_at, left_at, decided_at) VALUES (%s, %s, %s, %s, now())",
                [tracker.id, fence, entered, entered + 5 * HOUR],
            )
    async with connected(postgres_dsn, Role.DISPLAY) as display:

        async def found(since: int, until: int) -> list[datetime]:
            period = (BLOCKED_AT + since * HOUR, BLOCKED_AT + until * HOUR)
            assert tracker.id
            rows = displayed(display, Kind.VISITS, [tracker.id], *period)
            return [row["entered_at"] async for row in rows]

        assert await found(2, 3) == [BLOCKED_AT]
        assert await found(5, 10) == []
        assert await found(4, 11) == [BLOCKED_AT, BLOCKED_AT + 10 * HOUR]
