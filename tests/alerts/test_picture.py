"""The map in an alert's mail: only where the rule wants it, through the gate, no more than so many, never at a mail's cost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import psycopg
from msgspec.structs import replace

from tests.alerts.world import NOON
from tests.cli.history import moments, store
from tests.storage.rows import known, query
from tracker_server.alerts.letters import EventNotice, Place, encode
from tracker_server.config import Settings, Storage
from tracker_server.notify.picture import Pictures
from tracker_server.papers.track_plot import sketch
from tracker_server.pipeline.batch import StoreAwayError
from tracker_server.pipeline.dispatcher import Outgoing
from tracker_server.pipeline.ways import NamedShape, Way
from tracker_server.storage.alert_ways import AlertWays
from tracker_server.storage.database import Database
from tracker_server.track.fences.shapes import circle, corridor

DEPOT = NamedShape("Depot", circle(52.0, 21.0, 300.0))
NOTICE = EventNotice(
    "geofenceEnter", "Van 3", "T3", "Norte", "ru", "UTC", NOON,
    place=Place(52.0, 21.0), device_id=3, fence_id=5, picture=True,
)  # fmt: skip


def fixes(count: int) -> list[Mapping[str, Any]]:
    return [
        {
            "fixed_at": NOON - timedelta(seconds=10 * n),
            "received_at": NOON,
            "latitude": 52.0 + n / 1_000,
            "longitude": 21.0,
        }
        for n in reversed(range(count))
    ]


class Known:
    """Ways that are known beforehand."""

    def __init__(self, way: Way | Exception) -> None:
        self.way_or_not = way
        self.asked: list[tuple[int, int | None, datetime]] = []

    async def way(self, device_id: int, fence_id: int | None, until: datetime) -> Way:
        self.asked.append((device_id, fence_id, until))
        if isinstance(self.way_or_not, Exception):
            raise self.way_or_not
        return self.way_or_not


def message(*, hidden: bool = False) -> Outgoing:
    return Outgoing(1, "k", "email", "a@example.com", 1, encode(NOTICE), NOON, NOON, 0, 3, alert=True, hidden=hidden)  # fmt: skip


async def test_a_picture_for_a_rule_that_wants_one() -> None:
    ways = Known(Way(fixes(20), [DEPOT]))
    pictures = Pictures(ways, 2)
    made = await pictures.of(message(), NOTICE, "Фургон 3 въехал в Depot")
    assert made is not None
    assert made.startswith(b"\x89PNG")
    assert 3_000 < len(made) < 100_000
    assert ways.asked == [(3, 5, NOON)]
    assert await pictures.of(message(), replace(NOTICE, picture=False), "x") is None
    assert await pictures.of(message(), replace(NOTICE, place=None), "x") is None
    assert await pictures.of(message(hidden=True), NOTICE, "x") is None
    assert len(ways.asked) == 1
    assert await pictures.of(message(), NOTICE, "x") is not None
    assert await pictures.of(message(), NOTICE, "x") is None, "two a minute, and no more"


def test_a_corridor_is_drawn_in_its_width() -> None:
    line = [[(20.99, 52.0), (21.0, 52.01), (21.02, 52.01)]]
    made = [
        sketch("x", fixes(20), [NamedShape("Route 7", corridor(line, width_m))], (52.0, 21.0))
        for width_m in (50.0, 400.0)
    ]
    assert made[0] != made[1]


async def test_a_mail_goes_without_where_there_is_none() -> None:
    for way in (Way([], [DEPOT]), StoreAwayError("gone"), ValueError("a defect of ours")):
        assert await Pictures(Known(way), 2).of(message(), NOTICE, "x") is None


def test_the_way_is_read_through_the_gate(postgres_dsn: str) -> None:
    (tracker,) = known(postgres_dsn, "T3")
    store(postgres_dsn, "T3", moments(NOON - timedelta(hours=1), 400))
    query(
        postgres_dsn,
        "INSERT INTO core.fences (account_id, name, kind, shape) SELECT id, 'Depot', 'circle',"
        """ '{"type": "circle", "latitude": 52.0, "longitude": 21.0, "radius_m": 300.0}' FROM core.accounts""",
    )
    ways = AlertWays(Database(Settings(storage=Storage(dsn=postgres_dsn))))
    assert tracker.id is not None
    way = asyncio.run(ways.way(tracker.id, 1, NOON))
    assert [one["fixed_at"] for one in way.fixes] == moments(NOON - timedelta(minutes=30), 181)
    assert [one.name for one in way.fences] == ["Depot"]
    with psycopg.connect(postgres_dsn, autocommit=True) as owner:
        owner.execute(
            "INSERT INTO core.blocks (device_id, reason, since) VALUES (%s, 'hold', '2026-01-01')",
            [tracker.id],
        )
    assert asyncio.run(ways.way(tracker.id, 1, NOON)).fixes == []
