"""Positions over HTTP, against a real server: shapes, ranges, files, and what a block leaves of them."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.api.people import World

START = datetime(2026, 1, 2, 8, tzinfo=UTC)
PERIOD = {"from": "2026-01-02T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
GPX = "{http://www.topografix.com/GPX/1/1}"
KML = "{http://www.opengis.net/kml/2.2}"


def drive(world: World, device: int, count: int = 5, **columns: Any) -> None:
    """A fix each minute from 08:00, north by 0.001°."""
    for n in range(count):
        at = START + timedelta(minutes=n)
        world.fix(
            device,
            f"{at:%Y-%m-%dT%H:%M:%SZ}",
            41.5 + n / 1000,
            **{"speed_mps": 10.0, "course_deg": 0.0, "altitude_m": 12.5, **columns},
        )


def test_the_latest_of_each_tracker_in_the_shape_of_the_field(world: World) -> None:
    account = world.account()
    first, second, silent = world.device(account), world.device(account), world.device(account)
    drive(world, first, attributes='{"sat": 9, "ignition": true}')
    world.fix(second)
    with world.signed_in("viewer", account) as client:
        found = client.get("/api/positions").json()
    assert [one["deviceId"] for one in found] == [first, second]
    assert silent not in [one["deviceId"] for one in found]
    latest = found[0]
    assert latest == {
        "id": latest["id"],
        "deviceId": first,
        "protocol": "osmand",
        "serverTime": "2026-01-02T08:04:00.000Z",
        "deviceTime": "2026-01-02T08:04:00.000Z",
        "fixTime": "2026-01-02T08:04:00.000Z",
        "valid": True,
        "outdated": False,
        "latitude": 41.504,
        "longitude": 2.25,
        "altitude": 12.5,
        "speed": pytest.approx(19.43844, abs=1e-4),
        "course": 0.0,
        "address": None,
        "accuracy": 0.0,
        "network": None,
        "geofenceIds": None,
        "attributes": {"sat": 9, "ignition": True, "totalDistance": 0.0, "motion": False},
    }


def test_the_network_around_a_fix_and_where_tracker_and_history_say_the_same(world: World) -> None:
    device = world.device(account := world.account())
    network = {
        "cells": [{"mcc": 214, "mnc": 7, "lac": 12, "cid": 345, "signal": -71}],
        "access_points": [{"mac": "aa:bb:cc:dd:ee:ff", "signal": None}],
    }
    drive(
        world, device, 2, network=json.dumps(network), attributes='{"motion": true, "distance": 9, "sat": 3}'
    )
    drive(world, other := world.device(account), 1, altitude_m=float("nan"))
    with world.signed_in("viewer", account) as client:
        latest, strange = client.get("/api/positions").json()
        day = client.get("/api/positions", params={"deviceId": device, **PERIOD}).json()
    for one in (latest, *day):
        assert one["network"] == {
            "cellTowers": [
                {
                    "cellId": 345,
                    "locationAreaCode": 12,
                    "mobileCountryCode": 214,
                    "mobileNetworkCode": 7,
                    "signalStrength": -71,
                }
            ],
            "wifiAccessPoints": [{"macAddress": "aa:bb:cc:dd:ee:ff"}],
        }
        assert one["attributes"].items() >= {"sat": 3, "motion": False}.items()
    assert [one["attributes"]["distance"] for one in day] == [0.0, 0.0]
    assert (strange["deviceId"], strange["altitude"], strange["network"]) == (other, 0.0, None)


def test_a_period_has_both_its_ends_in_any_iso_form(world: World) -> None:
    account = world.account()
    device = world.device(account)
    drive(world, device)
    with world.signed_in("viewer", account) as client:
        for since, until in (
            ("2026-01-02T08:01:00Z", "2026-01-02T08:03:00Z"),
            ("2026-01-02T08:01:00.000Z", "2026-01-02T11:03:00+03:00"),
            ("2026-01-02T08:01:00", "2026-01-02T08:03:00.000000Z"),
        ):
            asked = {"deviceId": device, "from": since, "to": until}
            found = client.get("/api/positions", params=asked).json()
            assert [one["fixTime"][11:16] for one in found] == ["08:01", "08:02", "08:03"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("deviceId={}&from=yesterday&to=2026-01-03T00:00:00Z", "from"),
        ("deviceId={}&from=2026-01-03T00:00:00Z&to=2026-01-02T00:00:00Z", "to"),
        ("deviceId={}&from=2026-01-03T00:00:00Z", "to"),
        ("from=2026-01-03T00:00:00Z&to=2026-01-04T00:00:00Z", "deviceId"),
        ("deviceId={}&from=2024-01-03T00:00:00Z&to=2026-01-02T00:00:00Z", "to"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_its_name(world: World, query: str, field: str) -> None:
    account = world.account()
    device = world.device(account)
    with world.signed_in("viewer", account) as client:
        answer = client.get(f"/api/positions?{query.format(device)}")
    assert answer.status_code == 400
    assert answer.text.startswith(f"{field}:")


def test_by_number_and_nobody_else_s(world: World) -> None:
    account, other = world.account(), world.account()
    mine, foreign = world.device(account), world.device(other)
    world.fix(mine)
    world.fix(foreign)
    ids = [
        row[0]
        for row in world.sql("SELECT id FROM core.positions WHERE device_id IN (%s, %s)", mine, foreign)
    ]
    with world.signed_in("viewer", account) as client:
        found = client.get("/api/positions", params={"id": ids}).json()
        assert [one["deviceId"] for one in found] == [mine]
        assert client.get("/api/positions", params={"deviceId": foreign, **PERIOD}).status_code == 404
        assert client.get("/api/positions", params={"id": list(range(1, 600))}).status_code == 400


def test_marks_of_a_trip_and_a_visit(world: World) -> None:
    account = world.account()
    device = world.device(account)
    drive(world, device)
    fence = world.sql(
        "INSERT INTO core.fences (account_id, name, kind, shape) VALUES (%s, 'Yard', 'circle',"
        """ '{"type":"circle","latitude":41.5,"longitude":2.25,"radius_m":100}') RETURNING id""",
        account,
    )[0][0]
    world.sql(
        "INSERT INTO core.trips (device_id, started_at, ended_at, decided_at, start_latitude, start_longitude, start_digest,"
        " end_latitude, end_longitude, end_digest, distance_mm, odometer_start_mm, speed_max_mps)"
        " VALUES (%s, '2026-01-02T08:01Z', '2026-01-02T08:03Z', '2026-01-02T08:04Z', 0, 0, 1, 0, 0, 1, 222000, 5000000, 10)",
        device,
    )
    world.sql(
        "INSERT INTO core.visits (device_id, fence_id, entered_at, left_at, decided_at)"
        " VALUES (%s, %s, '2026-01-02T08:00Z', '2026-01-02T08:02Z', '2026-01-02T08:02Z')",
        device,
        fence,
    )
    with world.signed_in("viewer", account) as client:
        found = client.get("/api/positions", params={"deviceId": device, **PERIOD}).json()
        inside = client.get("/api/positions", params={"deviceId": device, "geofenceId": fence, **PERIOD})
    assert [one["geofenceIds"] for one in found] == [[fence], [fence], None, None, None]
    told = [one["attributes"] for one in found]
    assert [one["motion"] for one in told] == [False, True, True, False, False]
    assert [one["totalDistance"] for one in told] == pytest.approx([5000, 5000, 5111.1, 5222, 5222], abs=1)
    assert sum(one["distance"] for one in told) == pytest.approx(222, abs=0.1)
    assert len(inside.json()) == 2


def test_files_for_maps_and_spreadsheets(world: World) -> None:
    account = world.account()
    device = world.device(account, name="=Truck <1> & co")
    drive(world, device, attributes='{"sat": 9}')
    asked = {"deviceId": device, **PERIOD}
    with world.signed_in("viewer", account) as client:
        rows = list(csv.DictReader(io.StringIO(client.get("/api/positions/csv", params=asked).text)))
        gpx = ET.fromstring(client.get("/api/positions/gpx", params=asked).content)
        kml = ET.fromstring(client.get("/api/positions/kml", params=asked).content)
        kmz = zipfile.ZipFile(io.BytesIO(client.get("/api/positions/kmz", params=asked).content))
        geojson = client.get("/api/positions/geojson", params=asked)
    assert len(rows) == 5
    assert rows[0]["name"] == "'=Truck <1> & co", "no spreadsheet takes a name for a formula"
    assert json.loads(rows[0]["attributes"])["sat"] == 9
    assert len(gpx.findall(f"{GPX}trk/{GPX}trkseg/{GPX}trkpt")) == 5
    assert gpx.findtext(f"{GPX}trk/{GPX}name") == "=Truck <1> & co"
    assert len(kml.findall(f".//{KML}Point")) == 5
    assert len(kml.findall(f".//{KML}LineString")) == 1
    assert kmz.namelist() == ["doc.kml"]
    assert len(ET.fromstring(kmz.read("doc.kml")).findall(f".//{KML}Point")) == 5
    assert geojson.headers["content-type"] == "application/geo+json"
    assert geojson.json()["features"][0]["geometry"]["coordinates"] == [2.25, 41.5, 12.5]


def test_a_blocked_tracker_does_not_exist(world: World) -> None:
    account = world.account()
    free, blocked = world.device(account), world.device(account)
    world.fix(free)
    world.fix(blocked)
    (number,) = world.sql("SELECT id FROM core.positions WHERE device_id = %s", blocked)[0]
    with world.signed_in("owner", account) as client:
        assert len(client.get("/api/positions").json()) == 2
        world.block(blocked)
        assert [one["deviceId"] for one in client.get("/api/positions").json()] == [free]
        assert client.get("/api/positions", params={"id": number}).json() == []
        for path in ("", "/csv", "/gpx", "/kml", "/kmz", "/geojson"):
            answer = client.get(f"/api/positions{path}", params={"deviceId": blocked, **PERIOD})
            nobody = client.get(f"/api/positions{path}", params={"deviceId": 10**9, **PERIOD})
            assert answer.status_code == nobody.status_code == 404
            assert answer.text == nobody.text.replace(str(10**9), str(blocked))
        world.unblock(blocked)
        assert len(client.get("/api/positions").json()) == 2


def test_a_part_of_a_history_is_deleted_for_good(world: World) -> None:
    account = world.account()
    device = world.device(account)
    drive(world, device)
    last = {"deviceId": device, "from": "2026-01-02T08:03:00Z", "to": "2026-01-02T09:00:00Z"}
    with world.signed_in("viewer", account) as viewer:
        assert viewer.delete("/api/positions", params=last).status_code == 403
    with world.signed_in("owner", account) as client:
        assert client.delete("/api/positions", params=last).status_code == 204
        found = client.get("/api/positions", params={"deviceId": device, **PERIOD}).json()
        assert [one["fixTime"][11:16] for one in found] == ["08:00", "08:01", "08:02"]
        (latest,) = client.get("/api/positions").json()
        assert latest["fixTime"][11:16] == "08:02"
    noted = world.sql(
        "SELECT detail FROM core.audit WHERE action = 'delete positions' AND object_id = %s", device
    )
    assert noted[0][0]["count"] == 2


def test_a_long_history_streams_in_pieces_and_in_order(world: World) -> None:
    account = world.account()
    device = world.device(account)
    world.sql("SELECT core.ensure_days('{2026-01-05}')")
    world.sql(
        "INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, protocol)"
        " SELECT %s, '2026-01-05'::timestamptz + n * interval '10 s', '2026-01-05', n, 41.5, 2.25, true, 'gt06'"
        " FROM generate_series(0, 8639) n",
        device,
    )
    asked = {"deviceId": device, "from": "2026-01-05T00:00:00Z", "to": "2026-01-06T00:00:00Z"}
    with world.signed_in("viewer", account) as client:
        found = client.get("/api/positions", params=asked).json()
    assert len(found) == 8_640
    assert [one["fixTime"] for one in found] == sorted(one["fixTime"] for one in found)
