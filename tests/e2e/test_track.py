"""The track engine in a real server, over HTTP: order, splits and repeats change nothing; a kill costs nothing."""

from __future__ import annotations

import http.client
import json
import random
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import shapely
from geographiclib.geodesic import Geodesic
from msgspec.structs import replace

from tests.servers.serve import PROGRAM, Running, Servers
from tests.servers.waiting import wait_until
from tests.track.world import random_day
from tracker_server.model.event import EPOCH, moment
from tracker_server.track.observation import Observation, arranged

YEARS_US = 25 * 366 * 86_400_000_000
KNOT_MPS = 1852 / 3600


def target(seen: Observation, unique_id: str) -> str:
    at = moment(seen.at_us + YEARS_US).timestamp()
    speed = "" if seen.speed_mps is None else f"&speed={seen.speed_mps / KNOT_MPS:.3f}"
    ignition = seen.attributes.get("ignition")
    told = "" if ignition is None else f"&ignition={str(ignition).lower()}"
    return f"/?id={unique_id}&lat={seen.latitude!r}&lon={seen.longitude!r}&timestamp={at:.0f}{speed}{told}"


def report(server: Running, unique_id: str, day: Sequence[Observation]) -> None:
    """One request for each fix, each answered before the next; one refused is sent again, as devices do."""
    host, port = server.addresses["osmand"]
    connection = http.client.HTTPConnection(host, port, timeout=60)
    for seen in day:
        if seen.latitude is None:
            continue
        connection.request("GET", target(seen, unique_id))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
    connection.close()


def rows(server: Running, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.dsn) as connection:
        return connection.execute(statement.encode(), parameters).fetchall()


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


def drawn(server: Running, name: str, geometry: dict[str, Any], **properties: Any) -> dict[str, Any]:
    feature = {"type": "Feature", "properties": {"name": name, **properties}, "geometry": geometry}
    file = server.home / f"{name}.geojson"
    file.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    command(server, "fence", "import", str(file), "--account", "default")
    return feature


def settled(server: Running) -> None:
    """What was queued has been worked off."""
    wait_until(
        "the queue to be empty", lambda: rows(server, "SELECT count(*) FROM core.track_queue") == [(0,)], 60
    )


def test_order_splits_repeats_and_kills_change_nothing(server: Servers, postgres_dsn: str) -> None:
    """The same day four times: in order; shuffled with repeats; the newest first; in order over two kill -9. And a fifth
    tracker that is blocked all along: everything is found, and its customer is shown nothing.
    """
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    running = server({"devices.unknown": "register", "devices.unknown_account": "default"}, dsn=postgres_dsn)
    drawn(running, "ring", {"type": "Point", "coordinates": [21.0, 52.0]}, radius_m=400, dwell_s=60)
    drawn(running, "road", {"type": "LineString", "coordinates": [[20.9, 51.99], [21.1, 51.99]]}, width_m=60)
    day = [seen for seen in arranged(random_day(seed % 1_000)) if seen.latitude is not None][:90]
    mixed = [*day, *rng.sample(day, 20)]
    rng.shuffle(mixed)
    command(running, "device", "add", "blocked")
    command(running, "device", "hold", "blocked", "--reason", "unpaid")
    report(running, "killed", day[:30])
    with ThreadPoolExecutor() as pool:
        for done in [
            pool.submit(report, running, name, sent)
            for name, sent in (("order", day), ("mixed", mixed), ("newest", day[::-1]), ("blocked", day))
        ]:
            done.result()
    for begin in (30, 60):
        running.kill()
        running.launch()
        report(running, "killed", day[begin : begin + 30])
    settled(running)
    expected = rows(running, STANDING, "order")
    assert len(expected) > 5
    for name in ("mixed", "newest", "killed", "blocked"):
        assert rows(running, STANDING, name) == expected, name
    blocked = "SELECT count(*) FROM display.{} WHERE unique_id = 'blocked'"
    for view in ("events", "trips", "stops", "visits", "device_marks"):
        assert rows(running, blocked.format(view)) == [(0,)]


def test_an_oracle_from_outside_and_a_parked_day(server: Servers, postgres_dsn: str) -> None:
    """Enters and exits of a straight shuffled drive through every kind of shape, reckoned by libraries that the engine does
    not use for it; and of 24 parked hours with 10 m of noise at a fence's edge: none.
    """
    running = server({"devices.unknown": "register"}, dsn=postgres_dsn)
    east = 179.9507  # the drive crosses the antimeridian
    hole = [[[179.96, 9.999], [179.98, 9.999], [179.98, 10.001], [179.96, 10.001], [179.96, 9.999]],
            [[179.968, 9.9995], [179.972, 9.9995], [179.972, 10.0005], [179.968, 10.0005], [179.968, 9.9995]]]  # fmt: skip
    across = [[[179.995, 9.99], [-179.99, 9.99], [-179.99, 10.01], [179.995, 10.01], [179.995, 9.99]]]
    drawn(running, "hole", {"type": "Polygon", "coordinates": hole})
    drawn(running, "across", {"type": "Polygon", "coordinates": across})
    drawn(running, "disc", {"type": "Point", "coordinates": [-179.97, 10.0]}, radius_m=800)
    drawn(running, "edge", {"type": "Point", "coordinates": [20.0, 50.0]}, radius_m=500)
    begin = 1_000
    way = [
        Observation(
            (begin + 20 * n) * 1_000_000, n, 0, 10.0, (east + 0.002 * n + 180) % 360 - 180, speed_mps=11.0
        )
        for n in range(60)
    ]
    shapes = {"hole": shapely.Polygon(hole[0], hole[1:]), "across": shapely.box(179.995, 9.99, 180.01, 10.01)}

    def inside(name: str, longitude: float) -> bool:
        if name == "disc":
            return Geodesic.WGS84.Inverse(10.0, -179.97, 10.0, longitude)["s12"] <= 800
        return shapes[name].contains(shapely.Point(longitude % 360, 10.0))

    expected: set[tuple[str, str, int]] = set()
    for name in ("hole", "across", "disc"):
        was = False
        for seen in way:
            assert seen.longitude is not None
            now = inside(name, seen.longitude)
            if now is not was:
                kind = "geofenceEnter" if now else "geofenceExit"
                expected.add((name, kind, seen.at_us // 1_000_000))
            was = now
    random.Random(3).shuffle(way)
    noise = random.Random(4)
    edge_latitude = 50.0 + 500 / 111_229.0
    parked = [
        Observation(
            (begin + 300 * n) * 1_000_000, n, 0,
            edge_latitude + noise.gauss(0, 10) / 111_229.0, 20.0 + noise.gauss(0, 10) / 71_700.0, speed_mps=0.0,
        )
        for n in range(288)
    ]  # fmt: skip
    with ThreadPoolExecutor() as pool:
        for done in (
            pool.submit(report, running, "way", way),
            pool.submit(report, running, "parked", parked),
        ):
            done.result()
    settled(running)
    found = rows(
        running,
        "SELECT fence, type, occurred_at FROM display.events WHERE unique_id = 'way' AND NOT superseded"
        " AND type IN ('geofenceEnter', 'geofenceExit')",
    )
    told = {(name, kind, round((at - EPOCH).total_seconds() - YEARS_US / 1e6)) for name, kind, at in found}
    assert told == expected
    noisy = rows(
        running,
        "SELECT type FROM display.events WHERE unique_id = 'parked' AND NOT superseded AND type <> 'deviceOnline'",
    )
    assert noisy in ([], [("geofenceEnter",)]), "at the most that it was inside from the beginning"


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
    drawn(running, "ring", {"type": "Point", "coordinates": [21.0, 52.0]}, radius_m=400)
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
