"""Fences and what the track engine found, as commands: drawn, read back, shown through the gate, explained, pictured."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.history import store_fixes
from tests.cli.terminal import Terminal
from tests.storage.rows import query
from tests.track.world import drive, stand
from tracker_protocols.model import Fix
from tracker_server.model.event import moment

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
SQUARE = "POLYGON((20.99 52.005, 21.01 52.005, 21.01 52.015, 20.99 52.015, 20.99 52.005))"
CIRCLE = ("fence", "add", "Home", "--account", "default", "--circle", "52.0,21.0,200")


def refused(terminal: Terminal, *arguments: str, match: str) -> None:
    assert re.search(match, terminal.refused(*arguments))


def wrong(terminal: Terminal, *arguments: str, match: str) -> None:
    assert re.search(match, terminal.wrong(*arguments))


def day() -> list[Fix]:
    """Standing at home, driving north through the square, standing far beyond it."""
    seen = [
        *stand(0, 600, (52.0, 21.0)),
        *drive(600, 900, 0.0, 10.0),
        *stand(900, 1500, (52.0 + 3_000 / 111_267, 21.0)),
    ]
    begin = moment(0)
    return [
        Fix(NOON + (moment(one.at_us) - begin), one.latitude, one.longitude, speed_mps=one.speed_mps)
        for one in seen
        if one.latitude is not None and one.longitude is not None
    ]


@pytest.fixture
def driven(terminal: Terminal) -> Terminal:
    terminal.ok("device", "add", "T1")
    terminal.ok(*CIRCLE, "--dwell-s", "300")
    terminal.ok("fence", "add", "Square", "--account", "default", "--wkt", SQUARE, "--speed-limit-mps", "8")
    store_fixes(terminal.dsn, "T1", day())
    return terminal


def at(second: int) -> str:
    return f"{NOON + timedelta(seconds=second):%Y-%m-%dT%H:%M:%SZ}"


def test_what_was_found_in_the_shapes_of_the_contract(driven: Terminal) -> None:
    events = driven.json("events", "T1")
    told = [
        (one["type"], one["occurred_at"], one["fence"]) for one in events if one["type"] != "deviceOnline"
    ]
    assert told == [
        ("geofenceEnter", at(0), "Home"),
        ("geofenceDwell", at(300), "Home"),
        ("deviceMoving", at(610), None),
        ("geofenceExit", at(620), "Home"),
        ("geofenceEnter", at(660), "Square"),
        ("deviceOverspeed", at(660), "Square"),
        ("geofenceExit", at(770), "Square"),
        ("deviceStopped", at(900), None),
    ]
    assert {"type", "occurred_at", "fence", "attributes", "superseded"} <= set(events[0])
    visits = driven.json("visits", "T1")
    assert [(one["fence"], one["entered_at"], one["left_at"]) for one in visits] == [
        ("Home", at(0), at(620)),
        ("Square", at(660), at(770)),
    ]
    (trip,) = driven.json("trips", "T1")
    assert (trip["started_at"], trip["ended_at"]) == (at(600), at(900))
    assert trip["distance_m"] == pytest.approx(3_000, rel=0.01)
    stops = driven.json("stops", "T1")
    assert [(one["started_at"], one["ended_at"]) for one in stops] == [(at(0), at(600)), (at(900), None)]


def test_a_period_and_a_kind(driven: Terminal) -> None:
    middle = ["--from", at(620), "--to", at(700)]
    (trip,) = driven.json("trips", "T1", *middle)
    assert trip["started_at"] == at(600)
    only = driven.json("events", "T1", "--type", "geofenceEnter", *middle)
    assert [(one["type"], one["fence"]) for one in only] == [("geofenceEnter", "Square")]


def test_a_blocked_trackers_customer_sees_nothing_and_the_operator_all(driven: Terminal) -> None:
    driven.ok("device", "hold", "T1", "--reason", "unpaid")
    for command in ("events", "trips", "stops", "visits"):
        assert driven.json(command, "T1") == []
        assert driven.json(command, "T1", "--as", "operator")
    out = driven.folder / "blocked.svg"
    refused(driven, "track", "plot", "T1", "--output", str(out), match="nothing of tracker 'T1'")
    driven.ok("track", "plot", "T1", "--output", str(out), "--as", "operator")


def test_unknown_trackers_are_refused(terminal: Terminal) -> None:
    for command in ("events", "trips", "stops", "visits"):
        refused(terminal, command, "T9", match="there is no tracker 'T9'")
    refused(terminal, "track", "explain", "T9", "--at", "2026-01-01", match="there is no tracker 'T9'")


def test_explained(driven: Terminal) -> None:
    said = driven.ok("track", "explain", "T1", "--at", at(660))
    assert "its place" in said.lower()
    assert "Motion: moving." in said
    assert "'Square'" in said
    assert "geofenceEnter" in said


def test_a_picture(driven: Terminal) -> None:
    for name, begins in (("day.png", b"\x89PNG"), ("day.svg", b"<?xml")):
        out = driven.folder / name
        said = driven.ok("track", "plot", "T1", "--output", str(out))
        assert "150 positions, 2 stops, 2 fences" in said
        assert out.read_bytes().startswith(begins)
    wrong(driven, "track", "plot", "T1", "--output", "day.gif", match=r"ends in \.svg or \.png")


def test_settings_of_ones_own(driven: Terminal) -> None:
    said = driven.ok("track", "set", "stop_duration_s=300", "hysteresis_m=50.5", "--device", "T1")
    assert "stop_duration_s=300, hysteresis_m=50.5" in said
    assert (
        driven.ok("track", "set", "stop_duration_s=", "--device", "T1").strip().endswith("hysteresis_m=50.5")
    )
    driven.ok("track", "set", "offline_after_s=60", "--account", "default")
    stored = query(driven.dsn, "SELECT track FROM core.accounts WHERE name = 'default'")
    assert stored == [{"track": {"offline_after_s": 60}}]
    wrong(driven, "track", "set", "stop_duraton_s=1", "--device", "T1", match="do you mean stop_duration_s")
    wrong(driven, "track", "set", "drift_m=-1", "--device", "T1", match="is below 0")
    wrong(driven, "track", "set", "drift_m=far", "--device", "T1", match="drift_m: 'far'")
    wrong(driven, "track", "set", "drift_m=1", match="--device or --account")


def test_histories_are_queued(driven: Terminal) -> None:
    assert "1 history queued" in driven.ok("track", "rerun", "T1", "--from", at(600))
    (row,) = query(driven.dsn, "SELECT from_at FROM core.track_queue")
    assert row["from_at"] == NOON + timedelta(seconds=600)
    wrong(driven, "track", "rerun", match="--all")


FILES = {
    "f.geojson": '{"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {"name": "A", "radius_m": 50,'
    ' "speed_limit_mps": 5, "colour": "red"}, "geometry": {"type": "Point", "coordinates": [21, 52]}}]}',
    "f.wkt": f"B\t{SQUARE}\n",
}


def test_files_in_and_out(terminal: Terminal) -> None:
    for name, text in FILES.items():
        (terminal.folder / name).write_text(text)
        terminal.ok("fence", "import", str(terminal.folder / name), "--account", "default")
    refused(
        terminal,
        "fence",
        "import",
        str(terminal.folder / "f.wkt"),
        "--account",
        "default",
        match="has 'B' already",
    )
    rows = terminal.json("fence", "list")
    assert [(r["name"], r["kind"], r["speed_limit_mps"]) for r in rows] == [
        ("A", "circle", 5),
        ("B", "area", None),
    ]
    for form in ("geojson", "kml", "wkt"):
        said = terminal.ok("fence", "export", "--account", "default", "--format", form)
        file = terminal.folder / f"out.{form}"
        file.write_text(said)
        terminal.ok("fence", "import", str(file), "--account", "default", "--replace")
        again = json.loads(terminal.ok("fence", "export", "--account", "default"))
        assert [one["properties"]["name"] for one in again["features"]] == ["A", "B"]
        assert again["features"][0]["properties"]["radius_m"] == 50


def test_a_track_becomes_a_corridor_of_the_width_that_is_said(terminal: Terminal) -> None:
    file = terminal.folder / "ways.gpx"
    file.write_text('<gpx><rte><name>Way</name><rtept lat="1" lon="2"/><rtept lat="1" lon="3"/></rte></gpx>')
    wrong(
        terminal, "fence", "import", str(file), "--account", "default", match="--width-m and --radius-m give"
    )
    terminal.ok("fence", "import", str(file), "--account", "default", "--width-m", "80")
    assert [(row["name"], row["kind"], row["vertices"]) for row in terminal.json("fence", "list")] == [
        ("Way", "corridor", 2)
    ]


def test_a_file_is_imported_whole_or_not_at_all(terminal: Terminal) -> None:
    document = json.loads(FILES["f.geojson"])
    open_ring = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 1]]]}
    document["features"].append({"type": "Feature", "properties": {"name": "C"}, "geometry": open_ring})
    file = terminal.folder / "bad.geojson"
    file.write_text(json.dumps(document))
    wrong(terminal, "fence", "import", str(file), "--account", "default", match=r'feature 2 "C"')
    assert terminal.json("fence", "list") == []


def test_who_a_fence_is_for(driven: Terminal) -> None:
    driven.ok("fence", "assign", "Home", "T1", "--account", "default")
    assert [row["for"] for row in driven.json("fence", "list")] == ["1 tracker", "all"]
    driven.ok("fence", "assign", "Home", "--everyone", "--account", "default")
    assert [row["for"] for row in driven.json("fence", "list")] == ["all", "all"]
    refused(driven, "fence", "assign", "Home", "T9", "--account", "default", match="no tracker 'T9'")
    refused(driven, "fence", "remove", "Homes", "--account", "default", match="no fence 'Homes'")
    driven.ok("fence", "remove", "Home", "--account", "default")
    assert [row["name"] for row in driven.json("fence", "list")] == ["Square"]


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        ([], "write one of --wkt"),
        (["--circle", "52,21"], "--circle: '52,21' is not LATITUDE"),
        (["--circle", "52,21,-5"], "radius"),
        (["--wkt", "POLYGON((0 0, 1 1, 0 1))"], "--wkt"),
        (["--wkt", "LINESTRING(0 0, 1 1)"], "width_m"),
        (["--circle", "52,21,5", "--dwell-s", "0"], "--dwell-s: 0 is too small"),
        (["--geojson", "/nowhere.json"], "cannot be read"),
    ],
    ids=["none", "two numbers", "negative", "open ring", "no width", "dwell", "no file"],
)  # fmt: skip
def test_bad_shapes_are_wrong_use(terminal: Terminal, flags: list[str], match: str) -> None:
    wrong(terminal, "fence", "add", "X", "--account", "default", *flags, match=match)


def test_a_fence_with_a_schedule_and_a_shape_from_a_file(terminal: Terminal, tmp_path: Path) -> None:
    calendar = tmp_path / "nights.ics"
    calendar.write_text("nonsense")
    shape = tmp_path / "shape.json"
    shape.write_text('{"type": "Point", "coordinates": [21, 52]}')
    add = ("fence", "add", "Night", "--account", "default")
    wrong(terminal, *add, "--geojson", str(shape), match="radius_m")
    wrong(terminal, *add, "--circle", "52,21,9", "--schedule", str(calendar), match="--schedule")
    calendar.write_text(
        "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:20260101T200000Z\r\nDTEND:20260102T060000Z\r\n"
        "RRULE:FREQ=DAILY\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    terminal.ok(*add, "--circle", "52,21,900", "--schedule", str(calendar))
    terminal.ok("device", "add", "T1")
    store_fixes(terminal.dsn, "T1", day())
    assert [one["type"] for one in terminal.json("events", "T1") if one["fence"]] == []
    assert len(terminal.json("visits", "T1")) == 1, "who was inside is known all the same"


def test_pairs_of_trackers(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T1")
    terminal.ok("device", "add", "T2")
    add = ("proximity", "add", "T1", "T2", "--within-m")
    assert "zone of T1 and T2 added as 1" in terminal.ok(*add, "300")
    terminal.ok(*add, "50", "--kind", "companion", "--stale-s", "60")
    listed = terminal.json("proximity", "list", "--account", "default")
    assert [
        (one["kind"], one["unique_id"], one["other_unique_id"], one["limit_m"], one["near"]) for one in listed
    ] == [
        ("zone", "T1", "T2", 300.0, False),
        ("companion", "T1", "T2", 50.0, False),
    ]
    refused(terminal, *add, "300", match="already; remove it first")
    refused(
        terminal, "proximity", "add", "T1", "T9", "--within-m", "1", match="OTHER: there is no tracker 'T9'"
    )
    refused(
        terminal,
        "proximity",
        "add",
        "T9",
        "T1",
        "--within-m",
        "1",
        match="UNIQUE_ID: there is no tracker 'T9'",
    )
    refused(terminal, "proximity", "list", "--account", "Nobody", match="no account 'Nobody'")
    wrong(terminal, *add, "0", match="--within-m: 0 cannot be meant")
    wrong(terminal, *add, "1", "--hysteresis-m", "-1", match="--hysteresis-m: -1 cannot be meant")
    terminal.ok("proximity", "remove", "1")
    refused(terminal, "proximity", "remove", "1", match="there is no pair 1")
