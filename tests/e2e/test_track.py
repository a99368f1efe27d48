"""The track engine in a real server, over HTTP: order, splits and repeats change nothing; a kill costs nothing."""

from __future__ import annotations

import json
import os
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from msgspec.structs import replace

from tests.e2e.routes import feature, report, rows, settled
from tests.servers.serve import PROGRAM, Running, Servers
from tests.track.world import fence, fix, random_day, some_fences
from tracker_server.model.event import SECOND_US
from tracker_server.track.fences.index import FenceIndex
from tracker_server.track.fences.shapes import Fence, circle
from tracker_server.track.observation import Observation, arranged
from tracker_server.track.replay import run
from tracker_server.track.settings import TrackSettings

STANDING = """
WITH d AS (SELECT id FROM core.devices WHERE unique_id = %s)
SELECT type, occurred_at, fence_id::text, (attributes - 'suppressed')::text FROM core.events
WHERE device_id = (SELECT id FROM d) AND NOT superseded AND type NOT IN ('deviceOnline', 'deviceOffline')
UNION ALL SELECT 'trip', started_at, ended_at::text, concat(CASE WHEN ended_at IS NOT NULL THEN distance_mm END, ' ', odometer_start_mm)
    FROM core.trips WHERE device_id = (SELECT id FROM d) AND superseded_at IS NULL
UNION ALL SELECT 'stop', started_at, ended_at::text, '' FROM core.stops
    WHERE device_id = (SELECT id FROM d) AND superseded_at IS NULL
UNION ALL SELECT 'visit', entered_at, left_at::text, fence_id::text FROM core.visits
    WHERE device_id = (SELECT id FROM d) AND superseded_at IS NULL
UNION ALL SELECT 'odometer', NULL, odometer_mm::text, moving::text FROM core.device_state WHERE device_id = (SELECT id FROM d)
ORDER BY 1, 2, 3, 4
"""


def command(server: Running, *arguments: str) -> str:
    done = subprocess.run(
        [PROGRAM, *arguments], env=server.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def drawn(server: Running, *features: dict[str, Any]) -> None:
    file = server.home / "fences.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    command(server, "fence", "import", str(file), "--account", "default")


def limits(one: Fence) -> dict[str, Any]:
    named = {"speed_limit_mps": one.speed_limit_mps, "dwell_s": one.dwell_s}
    return {name: value for name, value in named.items() if value is not None}


SEED = int(os.environ.get("TRACKER_TEST_TRACK_SEED", "0"))  # one day again, instead of another each time
SETTINGS = TrackSettings(account_speed_limit_mps=22.0)
FENCES = [*some_fences(), fence(6, circle(10.0, 10.0, 5_000.0))]
RING = feature("ring", circle(52.0, 21.0, 400.0), dwell_s=60)
WANTED = {
    "trip", "stop", "visit", "geofenceEnter", "geofenceExit", "deviceOverspeed", "ignitionOn", "ignitionOff", "alarm",
    "deviceFuelDrop",
}  # fmt: skip
REPORTS = 120


def full_day(rng: random.Random) -> list[Observation]:
    """A day with everything in it: the kinds above, an absurd first fix in a fence far off, jumps, reports without a place."""
    while True:
        seed = rng.randrange(2**32)
        by_second = {seen.at_us // SECOND_US: seen for seen in random_day(seed, pieces=20)}
        day = [fix(0, (10.0, 10.0), 0.0, digest=1), *arranged(by_second.values())][:REPORTS]
        found = run(day, SETTINGS, FenceIndex(FENCES)).found
        if {str(getattr(one, "type", type(one).__name__.lower())) for one in found} >= WANTED:
            print("day", seed)
            return day


def test_order_splits_repeats_and_kills_change_nothing(server: Servers, postgres_dsn: str) -> None:
    """The same day four times: in order; shuffled with repeats; the newest first; in order over two kill -9. And a fifth
    tracker that is blocked all along: everything is found, and its customer is shown nothing.
    """
    seed = SEED or random.randrange(2**32)
    print("TRACKER_TEST_TRACK_SEED", seed)
    rng = random.Random(seed)
    running = server({"devices.unknown": "register", "devices.unknown_account": "default"}, dsn=postgres_dsn)
    drawn(running, *(feature(one.name, one.shape, **limits(one)) for one in FENCES))
    command(running, "track", "set", "account_speed_limit_mps=22", "--account", "default")
    day = full_day(rng)
    mixed = [*day, *rng.sample(day, 20)]
    rng.shuffle(mixed)
    third = len(day) // 3
    command(running, "device", "add", "blocked")
    command(running, "device", "hold", "blocked", "--reason", "unpaid")
    report(running, "killed", day[:third])
    with ThreadPoolExecutor() as pool:
        for done in [
            pool.submit(report, running, name, sent)
            for name, sent in (("order", day), ("mixed", mixed), ("newest", day[::-1]), ("blocked", day))
        ]:
            done.result()
    for rest in (day[third : 2 * third], day[2 * third :]):
        running.kill()
        running.launch()
        report(running, "killed", rest)
    settled(running)
    expected = rows(running, STANDING, "order")
    assert {row[0] for row in expected} >= WANTED
    for name in ("mixed", "newest", "killed", "blocked"):
        assert rows(running, STANDING, name) == expected, name
    blocked = "SELECT count(*) FROM display.{} WHERE unique_id = 'blocked'"
    for view in ("events", "trips", "stops", "visits", "device_marks"):
        assert rows(running, blocked.format(view)) == [(0,)]


FOUND = {
    "positions": "fixed_at, latitude, longitude, speed_mps, course_deg, valid, attributes::text",
    "events": "type, occurred_at, (attributes - 'suppressed')::text, fence",
    "trips": "started_at, ended_at, distance_mm, start_latitude, end_longitude",
    "stops": "started_at, ended_at, latitude, longitude",
    "visits": "fence, entered_at, left_at",
}


def test_r56_what_was_hidden_for_three_days_equals_a_twin(server: Servers, postgres_dsn: str) -> None:
    """Trips, distance, events, visits and every fix, read as the customer reads them."""
    running = server({"devices.unknown": "register", "devices.unknown_account": "default"}, dsn=postgres_dsn)
    drawn(running, RING)
    days = [
        replace(seen, at_us=seen.at_us + day * 86_400_000_000)
        for day in range(3)
        for seen in arranged(random_day(day + 1))[:25]
    ]
    command(running, "device", "add", "hidden")
    command(running, "device", "hold", "hidden", "--reason", "unpaid")
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(report, running, name, days) for name in ("twin", "hidden")]:
            done.result()
    settled(running)

    def read(name: str) -> dict[str, list[tuple[Any, ...]]]:
        return {
            view: rows(
                running,
                f"SELECT {columns} FROM display.{view} WHERE unique_id = %s"
                + (
                    " AND type NOT IN ('deviceOnline', 'deviceOffline') AND NOT superseded"
                    if view == "events"
                    else ""
                )
                + f" ORDER BY {columns}",
                name,
            )
            for view, columns in FOUND.items()
        }

    assert {view: len(found) for view, found in read("hidden").items()} == dict.fromkeys(FOUND, 0)
    command(running, "device", "release", "hidden")
    twin, shown = read("twin"), read("hidden")
    assert shown == twin
    assert len(twin["positions"]) > 60
    assert twin["events"]
    assert twin["trips"] or twin["stops"]
