"""Reports against days reckoned by hand, as JSON, CSV and XLSX; and what they say of blocked trackers."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from typing import Any

import httpx
import openpyxl
import pytest

from tests.api.people import World

KNOTS = 3600 / 1852
DAY = {"from": "2026-01-02T00:00:00Z", "to": "2026-01-02T23:59:59Z"}
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def trip(
    world: World, device: int, begin: str, end: str | None, metres: int, odometer: int, **more: Any
) -> None:
    """A ride whose ends are fixes of 41.5 and 41.51."""
    world.fix(device, begin, 41.5)
    world.fix(device, end or "2026-01-02T20:00:00Z", 41.51)
    digests = world.sql(
        "SELECT digest FROM core.positions WHERE device_id = %s ORDER BY digest DESC LIMIT 2", device
    )
    values = {
        "device_id": device, "started_at": begin, "ended_at": end, "decided_at": end or "2026-01-02T20:00:00Z",
        "start_latitude": 41.5, "start_longitude": 2.25, "start_digest": digests[1][0],
        "end_latitude": 41.51, "end_longitude": 2.25, "end_digest": digests[0][0],
        "distance_mm": metres * 1000, "odometer_start_mm": odometer * 1000, "speed_max_mps": 25.0, **more,
    }  # fmt: skip
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    world.sql(f"INSERT INTO core.trips ({names}) VALUES ({places})", *values.values())


def stop(world: World, device: int, begin: str, end: str | None, engine_s: int = 0) -> None:
    world.sql(
        "INSERT INTO core.stops (device_id, started_at, ended_at, decided_at, latitude, longitude, digest, engine_us)"
        " VALUES (%s, %s, %s, %s, 41.51, 2.25, 1, %s)",
        device, begin, end, end or begin, engine_s * 1_000_000,
    )  # fmt: skip


def visit(world: World, device: int, fence: int, begin: str, end: str | None) -> None:
    world.sql(
        "INSERT INTO core.visits (device_id, fence_id, entered_at, left_at, decided_at) VALUES (%s, %s, %s, %s, %s)",
        device, fence, begin, end, end or begin,
    )  # fmt: skip


def event(world: World, device: int, kind: str, at: str, **columns: Any) -> int:
    world.sql("SELECT core.ensure_days(ARRAY[%s::timestamptz::date])", at)
    values = {"device_id": device, "type": kind, "occurred_at": at, **columns}
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    return world.sql(f"INSERT INTO core.events ({names}) VALUES ({places}) RETURNING id", *values.values())[
        0
    ][0]


def fence_of(world: World, account: int) -> int:
    return world.sql(
        "INSERT INTO core.fences (account_id, name, kind, shape) VALUES (%s, 'Yard', 'circle', %s) RETURNING id",
        account,
        '{"type": "circle", "latitude": 41.5, "longitude": 2.25, "radius_m": 100.0}',
    )[0][0]


def get(client: httpx.Client, name: str, **asked: Any) -> Any:
    answer = client.get(f"/api/reports/{name}", params={**DAY, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_trips_and_stops_of_a_day(world: World) -> None:
    account = world.account()
    device = world.device(account)
    world.sql("INSERT INTO core.drivers (account_id, name, unique_id) VALUES (%s, 'Ana', 'card-1')", account)
    trip(world, device, "2026-01-02T08:00:00Z", "2026-01-02T08:30:00Z", 30_000, 1_000,
         fuel_start=50.0, fuel_end=47.5, driver_unique_id="card-1")  # fmt: skip
    stop(world, device, "2026-01-02T08:30:00Z", "2026-01-02T09:00:00Z", engine_s=600)
    trip(world, device, "2026-01-01T10:00:00Z", "2026-01-01T10:30:00Z", 7_000, 0)
    with world.signed_in("viewer", account) as client:
        (ride,) = get(client, "trips", deviceId=device)
        (rest,) = get(client, "stops", deviceId=device)
        assert get(client, "trips", **{"from": "2025-01-01T00:00:00Z", "to": "2025-01-02T00:00:00Z"}) == []
    assert (ride["distance"], ride["duration"], ride["spentFuel"]) == (30_000, 1_800_000, 2.5)
    assert ride["averageSpeed"] == pytest.approx(60 / 1.852)
    assert ride["maxSpeed"] == pytest.approx(25 * KNOTS)
    assert (ride["startOdometer"], ride["endOdometer"]) == (1_000, 31_000)
    assert (ride["startTime"], ride["endTime"]) == ("2026-01-02T08:00:00.000Z", "2026-01-02T08:30:00.000Z")
    assert (ride["driverUniqueId"], ride["driverName"]) == ("card-1", "Ana")
    ids = dict(world.sql("SELECT fixed_at, id FROM core.positions WHERE device_id = %s", device))
    assert ride["startPositionId"] == ids[datetime(2026, 1, 2, 8, tzinfo=UTC)]
    assert ride["endPositionId"] == ids[datetime(2026, 1, 2, 8, 30, tzinfo=UTC)]
    assert (rest["duration"], rest["engineHours"]) == (1_800_000, 600_000)


def test_what_goes_on_is_told_as_far_as_it_has_come(world: World) -> None:
    """Its row was written at 20:00, 266 m after its start; it has come 1,500 m by 20:10."""
    account = world.account()
    device, parked = world.device(account), world.device(account)
    trip(world, device, "2026-01-02T19:58:00Z", None, 266, 1_000)
    world.fix(device, "2026-01-02T20:05:00Z", 41.515)
    world.fix(device, "2026-01-02T20:10:00Z", 41.52)
    world.sql(
        "UPDATE core.device_state SET odometer_mm = 2500000, moving = true WHERE device_id = %s", device
    )
    stop(world, parked, "2026-01-02T19:00:00Z", None)
    world.fix(parked, "2026-01-02T20:30:00Z")
    with world.signed_in("viewer", account) as client:
        (ride,) = get(client, "trips", deviceId=device)
        (cut,) = get(client, "trips", deviceId=device, to="2026-01-02T20:06:00Z")
        (rest,) = get(client, "stops", deviceId=parked)
        (sums,) = get(client, "summary", deviceId=device)
        (latest,) = client.get("/api/positions", params={"deviceId": device}).json()
    assert (ride["distance"], ride["duration"]) == (1_500, 12 * 60_000)
    assert (ride["endTime"], ride["endLat"]) == ("2026-01-02T20:10:00.000Z", 41.52)
    assert ride["endPositionId"] == latest["id"]
    assert (cut["endTime"], cut["endLat"]) == ("2026-01-02T20:05:00.000Z", 41.515)
    assert cut["distance"] == pytest.approx(1_666, abs=1), "the way from 41.5 to 41.515"
    assert rest["duration"] == 90 * 60_000
    assert sums["distance"] == 1_500
    assert "distance" not in latest["attributes"]
    assert latest["attributes"]["totalDistance"] == 2_500


def test_a_summary_cuts_what_its_period_cuts(world: World) -> None:
    """22:30 to 23:30 UTC is 23:30 to 00:30 in Madrid: the trip belongs to two of its days."""
    account = world.account()
    device = world.device(account)
    trip(world, device, "2026-01-02T08:00:00Z", "2026-01-02T09:00:00Z", 40_000, 0)
    trip(world, device, "2026-01-02T22:30:00Z", "2026-01-02T23:30:00Z", 3_000, 40_000)
    world.fix(device, "2026-01-02T22:45:00Z", 41.505)  # half of the way, 556 m, before midnight there
    world.fix(device, "2026-01-02T23:30:01Z", 41.51)
    stop(world, device, "2026-01-02T09:00:00Z", "2026-01-02T11:00:00Z", engine_s=1_800)
    asked = {"from": "2026-01-02T08:00:00Z", "to": "2026-01-03T08:00:00Z", "deviceId": device}
    with world.signed_in("viewer", account) as client:
        (whole,) = get(client, "summary", **asked)
        first, second = get(client, "summary", daily="true", **asked)
        (morning,) = get(client, "summary", **{**asked, "to": "2026-01-02T10:00:00Z"})
    assert whole["distance"] == 43_000
    assert (whole["startOdometer"], whole["endOdometer"], whole["trips"]) == (0, 43_000, 2)
    assert whole["engineHours"] == (3_600 + 3_600 + 1_800) * 1000
    assert first["distance"] == pytest.approx(40_000 + 555.4, abs=0.5)
    assert second["distance"] == pytest.approx(3_000 - 555.4, abs=0.5)
    assert first["distance"] + second["distance"] == pytest.approx(43_000, abs=0.02)
    assert first["endOdometer"] == second["startOdometer"]
    assert first["startTime"] == "2026-01-02T08:00:00.000Z"
    assert second["endTime"] == "2026-01-02T23:30:01.000Z"
    assert morning["engineHours"] == (3_600 + 900) * 1000, "half of the stop, so half of its engine's time"


def test_a_visit_that_began_before_the_period_is_whole(world: World) -> None:
    account = world.account()
    device = world.device(account)
    fence, other = fence_of(world, account), fence_of(world, account)
    visit(world, device, fence, "2025-12-30T10:00:00Z", "2026-01-02T10:00:00Z")
    visit(world, device, other, "2026-01-02T12:00:00Z", None)
    with world.signed_in("viewer", account) as client:
        first, second = get(client, "geofences", deviceId=device)
        (chosen,) = get(client, "geofences", deviceId=device, geofenceId=other)
    assert (first["startTime"], first["endTime"]) == ("2025-12-30T10:00:00.000Z", "2026-01-02T10:00:00.000Z")
    assert first["duration"] == 3 * 24 * 3_600_000
    assert (second["geofenceName"], second["endTime"], second["duration"]) == ("Yard", None, None)
    assert chosen == second


def test_events_by_kind_with_their_positions(world: World) -> None:
    account = world.account()
    device = world.device(account)
    world.fix(device, "2026-01-02T08:00:00Z")
    digest, position = world.sql("SELECT digest, id FROM core.positions WHERE device_id = %s", device)[0]
    number = event(world, device, "deviceOverspeed", "2026-01-02T08:00:00Z", digest=digest,
                   attributes='{"speed_mps": 20.0, "limit_mps": 10.0}')  # fmt: skip
    event(world, device, "ignitionOn", "2026-01-02T09:00:00Z")
    event(world, device, "ignitionOff", "2026-01-02T09:10:00Z", superseded=True)
    with world.signed_in("viewer", account) as client:
        assert [one["type"] for one in get(client, "events")] == ["deviceOverspeed", "ignitionOn"]
        assert [one["type"] for one in get(client, "events", type="allEvents")] == [
            "deviceOverspeed",
            "ignitionOn",
        ]
        assert [one["type"] for one in get(client, "events", type=["ignitionOn", "alarm"])] == ["ignitionOn"]
        found = client.get(f"/api/events/{number}").json()
        (combined,) = get(client, "combined", deviceId=device)
    assert found["positionId"] == position
    assert found["attributes"]["speed"] == pytest.approx(20 * KNOTS, abs=1e-4)
    assert found["attributes"]["speedLimit"] == pytest.approx(10 * KNOTS, abs=1e-4)
    assert combined["route"] == [[2.25, 41.5]]
    assert [one["id"] for one in combined["positions"]] == [position]
    assert len(combined["events"]) == 2


def test_files(world: World) -> None:
    account = world.account()
    device = world.device(account, name='=HYPERLINK("http://x")')
    trip(world, device, "2026-01-02T08:00:00Z", "2026-01-02T08:30:00Z", 30_000, 1_000)
    asked = {**DAY, "deviceId": device}
    with world.signed_in("viewer", account) as client:
        text = client.get("/api/reports/trips/csv", params=asked).text
        by_path = client.get("/api/reports/trips/xlsx", params=asked)
        by_accept = client.get("/api/reports/trips", params=asked, headers={"Accept": XLSX})
        anything = client.get("/api/reports/trips", params=asked, headers={"Accept": "*/*"})
        for name in ("route", "events", "stops", "summary", "geofences", "devices"):
            made = client.get(f"/api/reports/{name}/xlsx", params=asked)
            assert openpyxl.load_workbook(io.BytesIO(made.content)).active is not None
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["deviceName"] == '\'=HYPERLINK("http://x")'
    assert row["distance (m)"] == "30000.0"
    assert anything.headers["content-type"] == "application/json"
    assert by_path.headers["content-type"] == by_accept.headers["content-type"] == XLSX
    sheet = openpyxl.load_workbook(io.BytesIO(by_path.content)).active
    assert sheet is not None
    table = [[cell.value for cell in line] for line in sheet.iter_rows()]
    told = dict(zip(table[0], table[1], strict=True))
    assert told["deviceName"] == '=HYPERLINK("http://x")'
    assert sheet.cell(2, 2).data_type == "s", "text, no formula"
    assert told["startTime (Europe/Madrid)"] == datetime(2026, 1, 2, 9)


def test_r136_what_is_left_out_is_said_and_nothing_more(world: World) -> None:
    account = world.account()
    free, blocked = world.device(account), world.device(account)
    trip(world, free, "2026-01-02T08:00:00Z", "2026-01-02T09:00:00Z", 300_000, 0)
    trip(world, blocked, "2026-01-02T08:00:00Z", "2026-01-02T09:00:00Z", 120_000, 0)
    number = event(world, blocked, "ignitionOn", "2026-01-02T09:00:00Z")
    with world.signed_in("owner", account) as client:
        assert sum(one["distance"] for one in get(client, "summary")) == 420_000
        world.block(blocked)
        answer = client.get("/api/reports/summary", params=DAY)
        assert sum(one["distance"] for one in answer.json()) == 300_000
        assert answer.headers["x-blocked-trackers-excluded"] == "1"
        sheet = client.get("/api/reports/summary/csv", params=DAY).text
        assert sheet.splitlines()[-1] == "1 blocked tracker excluded"
        assert get(client, "events") == []
        assert client.get(f"/api/events/{number}").status_code == 404
        assert client.get("/api/reports/trips", params={**DAY, "deviceId": blocked}).status_code == 404
        assert [one["deviceId"] for one in get(client, "devices")] == [free]


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"from": "2026-01-03T00:00:00Z", "to": "2026-01-02T00:00:00Z"}, "to"),
        ({"from": "2024-01-03T00:00:00Z", "to": "2026-01-02T00:00:00Z"}, "to"),
        ({"from": "2026-01-03T00:00:00Z"}, "to"),
        ({"from": "now", "to": "2026-01-02T00:00:00Z"}, "from"),
    ],
)
def test_periods_that_cannot_be(world: World, asked: dict[str, str], field: str) -> None:
    with world.signed_in("viewer", world.account()) as client:
        for name in ("route", "trips", "summary"):
            answer = client.get(f"/api/reports/{name}", params=asked)
            assert answer.status_code == 400
            assert answer.text.startswith(f"{field}:")


def test_groups_name_their_trackers(world: World) -> None:
    account = world.account()
    group = world.sql("INSERT INTO core.groups (account_id, name) VALUES (%s, 'Vans') RETURNING id", account)[
        0
    ][0]
    inside, outside = world.device(account, group_id=group), world.device(account)
    for device in (inside, outside):
        trip(world, device, "2026-01-02T08:00:00Z", "2026-01-02T09:00:00Z", 1_000, 0)
    with world.signed_in("viewer", account) as client:
        assert [one["deviceId"] for one in get(client, "trips", groupId=group)] == [inside]
    with world.signed_in("viewer", world.account()) as stranger:
        assert stranger.get("/api/reports/trips", params={**DAY, "groupId": group}).status_code == 404
        assert get(stranger, "trips") == []


def test_whoever_may_read_none_reads_none(world: World) -> None:
    with world.signed_in("viewer", world.account(), disable_reports=True) as client:
        assert client.get("/api/reports/trips", params=DAY).status_code == 403
