"""A tracker's history: as its customer may see it, as the operator sees it, in six formats."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree as ET

import psycopg
import pytest

from tests.cli.history import moments, store, store_fixes
from tests.cli.terminal import Terminal
from tests.storage.rows import query
from tracker_protocols.model import Fix
from tracker_server.cli import output
from tracker_server.exports import tracks
from tracker_server.storage.history import COLUMNS, OPERATOR_COLUMNS

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GPX = "{http://www.topografix.com/GPX/1/1}"
TRACK_POINT = "{http://www.garmin.com/xmlschemas/TrackPointExtension/v2}"
KML = "{http://www.opengis.net/kml/2.2}"
FORMATS = ["table", "json", "csv", "geojson", "gpx", "kml"]


def added(terminal: Terminal, count: int = 3) -> None:
    terminal.ok("device", "add", "T1")
    store(terminal.dsn, "T1", moments(NOON, count))


def test_rows_have_the_tables_columns_in_order_of_time(both_homes: Terminal) -> None:
    both_homes.ok("device", "add", "T1")
    times = moments(NOON, 5)
    store(both_homes.dsn, "T1", times[3:])
    store(both_homes.dsn, "T1", times[:3])
    rows = both_homes.json("positions", "T1")
    assert [row["fixed_at"] for row in rows] == [f"2026-03-01T12:00:{n}0Z" for n in range(5)]
    first = rows[0]
    assert tuple(first) == COLUMNS
    assert (first["unique_id"], first["latitude"], first["longitude"]) == ("T1", 52.0, 21.0)
    assert (first["speed_mps"], first["course_deg"], first["altitude_m"]) == (10.0, 271.0, None)
    assert (first["valid"], first["protocol"], first["attributes"]) == (True, "gt06", {"sat": 9})
    assert first["received_at"] == "2026-03-01T12:00:00Z"


def test_operator_columns_are_the_tables(terminal: Terminal) -> None:
    """The names are a contract: the columns of core.positions with unique_id."""
    added(terminal)
    (row, *_) = terminal.json("positions", "T1", "--as", "operator")
    assert tuple(row) == OPERATOR_COLUMNS
    columns = query(
        terminal.dsn,
        "SELECT column_name AS name FROM information_schema.columns"
        " WHERE table_schema = 'core' AND table_name = 'positions'",
    )
    assert {column["name"] for column in columns} | {"unique_id"} == set(row)


# ---------------------------------------------------------------------- the gate


@pytest.mark.parametrize("form", FORMATS)
def test_r39_a_blocked_tracker_shows_nothing_and_says_why(terminal: Terminal, form: str) -> None:
    """Not a digit of it: what is printed is what a tracker without any history prints."""
    terminal.ok("device", "add", "T1")
    nothing = terminal("positions", "T1", "--format", form)
    store(terminal.dsn, "T1", moments(NOON, 3))
    assert terminal.ok("positions", "T1", "--format", form) != nothing.out
    terminal.ok("device", "hold", "T1", "--reason", "fee of March")
    blocked = terminal("positions", "T1", "--format", form)
    assert (blocked.code, blocked.out) == (0, nothing.out)
    assert "tracker 'T1' is blocked: hold (fee of March) since 20" in blocked.err
    terminal.ok("device", "release", "T1")
    assert terminal.ok("positions", "T1", "--format", form) != nothing.out


def test_the_operator_sees_a_blocked_one(terminal: Terminal) -> None:
    added(terminal)
    terminal.ok("device", "hold", "T1", "--reason", "x")
    said = terminal("positions", "T1", "--as", "operator", "--format", "json")
    assert len(json.loads(said.out)) == 3
    assert said.err == ""


def test_a_block_that_has_not_begun_or_is_over_hides_nothing(terminal: Terminal) -> None:
    added(terminal)
    for since, until in (("'2100-01-01'", "NULL"), ("'2020-01-01'", "'2020-02-01'")):
        query(terminal.dsn, "DELETE FROM core.blocks")
        query(
            terminal.dsn,
            "INSERT INTO core.blocks (device_id, reason, since, until)"
            f" SELECT id, 'overdue', {since}, {until} FROM core.devices",
        )
        said = terminal("positions", "T1", "--format", "json")
        assert (len(json.loads(said.out)), said.err) == (3, "")


def test_the_customers_view_is_read_as_the_role_that_can_read_nothing_else(terminal: Terminal) -> None:
    """Were the query to name the base table, this would be refused; were it to go by another role, not."""
    added(terminal)
    query(terminal.dsn, "REVOKE SELECT ON display.positions FROM tracker_display")
    said = terminal.refused("positions", "T1")
    assert "the database forbids it: permission denied for view positions" in said
    assert len(terminal.json("positions", "T1", "--as", "operator")) == 3


# ---------------------------------------------------------------------- who


def test_a_tracker_that_is_not_there(terminal: Terminal) -> None:
    for flags in ([], ["--as", "operator"]):
        said = terminal.refused("positions", "T9", *flags)
        assert "UNIQUE_ID: there is no tracker 'T9'; `tracker-server device list` tells them all" in said
    assert "UNIQUE_ID" in terminal.wrong("positions", "a\tb")
    assert "--as" in terminal.wrong("positions", "T9", "--as", "nobody")
    assert "--format" in terminal.wrong("positions", "T9", "--format", "shp")


def test_a_tracker_that_was_removed_is_the_operators(terminal: Terminal) -> None:
    added(terminal)
    terminal.ok("device", "remove", "T1")
    assert "was removed at 20" in (said := terminal.refused("positions", "T1"))
    assert "--as operator shows what it sent" in said
    assert len(terminal.json("positions", "T1", "--as", "operator")) == 3


def test_the_operator_sees_all_hands_that_it_was_in_by_time(both_homes: Terminal) -> None:
    both_homes.ok("account", "add", "B")
    both_homes.ok("device", "add", "T1")
    store(both_homes.dsn, "T1", moments(NOON, 2, timedelta(minutes=10)))
    both_homes.ok("device", "move", "T1", "--account", "B")
    store(both_homes.dsn, "T1", moments(NOON + timedelta(minutes=5), 2, timedelta(minutes=10)))
    rows = both_homes.json("positions", "T1", "--as", "operator")
    assert [row["fixed_at"][14:16] for row in rows] == ["00", "05", "10", "15"]
    assert len({row["device_id"] for row in rows}) == 2


# ---------------------------------------------------------------------- when


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], 30),
        (["--from", "2026-03-01T12:02:00Z"], 18),
        (["--to", "2026-03-01T12:02:00Z"], 12),
        (["--from", "2026-03-01T12:02:00Z", "--to", "2026-03-01T12:03:00Z"], 6),
        (["--from", "2026-03-01T15:02:00+03:00", "--to", "2026-03-01T13:03+01"], 6),
        (["--from", "2026-03-01T12:02:00", "--to", "2026-03-01 12:03:00"], 6),
        (["--from", "20260301T120200Z"], 18),
        (["--from", "2026-03-01", "--to", "2026-03-02"], 30),
        (["--to", "2026-03-01"], 0),
        (["--from", "2026-03-02"], 0),
        (["--from", "2026-03-01T12:02:00Z", "--to", "2026-03-01T12:02:00Z"], 0),
        (["--from", "0001-01-01", "--to", "9999-12-31"], 30),
    ],
)
@pytest.mark.parametrize("viewer", ["customer", "operator"])
def test_a_period_holds_its_first_moment_and_not_its_last(
    terminal: Terminal, flags: list[str], expected: int, viewer: str
) -> None:
    added(terminal, 30)
    assert len(terminal.json("positions", "T1", "--as", viewer, *flags)) == expected


@pytest.mark.parametrize(
    "text", ["yesterday", "1767225600", "2026-13-01", "2026-02-30T00:00Z", "", "12:00", "0001-01-01T00:00+14"]
)
@pytest.mark.parametrize("flag", ["--from", "--to"])
def test_what_is_no_time_is_refused_by_its_flag(bare: Terminal, flag: str, text: str) -> None:
    assert f"{flag}: {text!r} is no time; write 2026-01-31" in bare.wrong("positions", "T1", f"{flag}={text}")


def test_a_period_that_ends_before_it_begins(bare: Terminal) -> None:
    said = bare.wrong("positions", "T1", "--from", "2026-03-02", "--to", "2026-03-01")
    assert "--to: 2026-03-01 lies before --from 2026-03-02" in said


# ---------------------------------------------------------------------- formats

FIXES = [
    Fix(NOON, -33.45, -70.6667, True, 543.5, 8.25, 359.5, 4.0),
    Fix(NOON + SECOND / 2, 0.0, 180.0, True, None, 0.0, 360.0, None),
    Fix(NOON + SECOND, 52.2186667, 21.0075001, False, -12.0, None, None, None),
    Fix(NOON + 2 * SECOND, 1e-7, -1e-7, True, None, None, 0.0, None),
]


def with_fixes(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T<1>&")
    store_fixes(terminal.dsn, "T<1>&", FIXES, note="=1+1")


def test_csv(terminal: Terminal) -> None:
    with_fixes(terminal)
    rows = list(csv.DictReader(io.StringIO(terminal.ok("positions", "T<1>&", "--format", "csv"))))
    assert tuple(rows[0]) == COLUMNS
    assert [float(row["longitude"]) for row in rows] == [fix.longitude for fix in FIXES]
    assert rows[0]["longitude"] == "-70.6667", "a number is a number, with its sign"
    assert [row["valid"] for row in rows] == ["true", "true", "false", "true"]
    assert rows[1]["altitude_m"] == ""
    assert rows[1]["fixed_at"] == "2026-03-01T12:00:00.500000Z"
    assert json.loads(rows[0]["attributes"]) == {"note": "=1+1"}


def test_geojson(terminal: Terminal) -> None:
    with_fixes(terminal)
    found = json.loads(terminal.ok("positions", "T<1>&", "--format", "geojson"))
    assert found["type"] == "FeatureCollection"
    assert [feature["type"] for feature in found["features"]] == ["Feature"] * 4
    places = [feature["geometry"]["coordinates"] for feature in found["features"]]
    assert places == [[-70.6667, -33.45, 543.5], [180.0, 0.0], [21.0075001, 52.2186667, -12.0], [-1e-7, 1e-7]]
    properties = found["features"][0]["properties"]
    assert set(properties) == set(COLUMNS) - {"latitude", "longitude", "altitude_m"}
    assert (properties["speed_mps"], properties["fixed_at"]) == (8.25, "2026-03-01T12:00:00Z")


def gpx_points(text: str) -> tuple[ET.Element, list[ET.Element]]:
    root = ET.fromstring(text)
    return root, root.findall(f"{GPX}trk/{GPX}trkseg/{GPX}trkpt")


def test_gpx_is_as_its_schema_wants(terminal: Terminal) -> None:
    """GPX 1.1: order of a point's children, -180 ≤ longitude < 180; TrackPointExtension v2: 0 ≤ course ≤ 360."""
    with_fixes(terminal)
    root, points = gpx_points(terminal.ok("positions", "T<1>&", "--format", "gpx"))
    assert (root.tag, root.attrib["version"], root.attrib["creator"]) == (
        f"{GPX}gpx",
        "1.1",
        "tracker-server",
    )
    assert root.findtext(f"{GPX}trk/{GPX}name") == "T<1>&"
    order = [f"{GPX}{name}" for name in ("ele", "time", "fix", "extensions")]
    for point, fix in zip(points, FIXES, strict=True):
        children = [child.tag for child in point]
        assert children == [tag for tag in order if tag in children]
        longitude = float(point.attrib["lon"])
        assert -180 <= longitude < 180
        assert math.isclose(longitude, -180.0 if fix.longitude == 180 else fix.longitude)
        assert math.isclose(float(point.attrib["lat"]), fix.latitude)
        assert "e" not in point.attrib["lat"], "xsd:decimal has no exponent"
        assert datetime.fromisoformat(point.findtext(f"{GPX}time") or "") == fix.fixed_at
        elevation = point.findtext(f"{GPX}ele")
        assert (None if elevation is None else float(elevation)) == fix.altitude_m
        assert (point.findtext(f"{GPX}fix") == "none") is not fix.valid
        motion = point.find(f"{GPX}extensions/{TRACK_POINT}TrackPointExtension")
        said = (
            {}
            if motion is None
            else {child.tag.removeprefix(TRACK_POINT): float(child.text or "") for child in motion}
        )
        expected = {
            "speed": fix.speed_mps,
            "course": None if fix.course_deg is None else fix.course_deg % 360,
        }
        assert said == {name: value for name, value in expected.items() if value is not None}
        assert list(said) == [name for name in ("speed", "course") if name in said]


def kml_lines(root: ET.Element) -> list[list[str]]:
    found = root.iter(f"{KML}LineString")
    return [(line.findtext(f"{KML}coordinates") or "").split() for line in found]


def test_kml_is_as_its_schema_wants(terminal: Terminal) -> None:
    with_fixes(terminal)
    root = ET.fromstring(terminal.ok("positions", "T<1>&", "--format", "kml"))
    assert root.tag == f"{KML}kml"
    document = root.find(f"{KML}Document")
    assert document is not None
    assert document.findtext(f"{KML}name") == "T<1>&"
    points = [mark for mark in root.iter(f"{KML}Placemark") if mark.find(f"{KML}Point") is not None]
    assert [datetime.fromisoformat(p.findtext(f"{KML}TimeStamp/{KML}when") or "") for p in points] == [
        fix.fixed_at for fix in FIXES
    ]
    order = [
        f"{KML}{name}"
        for name in ("name", "TimeStamp", "TimeSpan", "styleUrl", "ExtendedData", "Point", "LineString")
    ]
    for mark in root.iter(f"{KML}Placemark"):
        children = [child.tag for child in mark]
        assert children == [tag for tag in order if tag in children]
    places = [p.findtext(f"{KML}Point/{KML}coordinates") for p in points]
    assert places == ["-70.6667,-33.45,543.5", "180,0", "21.0075001,52.2186667,-12", "-0.0000001,0.0000001"]
    assert kml_lines(root) == [places]
    data = points[0].findall(f"{KML}ExtendedData/{KML}Data")
    assert {one.attrib["name"]: one.findtext(f"{KML}value") for one in data}["speed_mps"] == "8.25"


def test_a_kml_line_goes_on_from_folder_to_folder(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracks, "KML_FOLDER_ROWS", 4)
    added(terminal, 9)
    root = ET.fromstring(terminal.ok("positions", "T1", "--format", "kml"))
    assert [len(line) for line in kml_lines(root)] == [4, 5, 2]
    assert len(list(root.iter(f"{KML}Point"))) == 9


@pytest.mark.parametrize("count", [0, 1])
def test_hardly_any_history(terminal: Terminal, count: int) -> None:
    """A line needs two points; a file without any is still a file."""
    added(terminal, count)
    root = ET.fromstring(terminal.ok("positions", "T1", "--format", "kml"))
    assert len(list(root.iter(f"{KML}Point"))) == count
    assert kml_lines(root) == []
    assert len(gpx_points(terminal.ok("positions", "T1", "--format", "gpx"))[1]) == count
    assert len(json.loads(terminal.ok("positions", "T1", "--format", "geojson"))["features"]) == count
    assert len(terminal.json("positions", "T1")) == count
    assert terminal.ok("positions", "T1", "--format", "csv").count("\n") == 1 + count


def test_names_that_xml_has_no_word_for(terminal: Terminal) -> None:
    terminal.ok("device", "add", "T1")
    store(terminal.dsn, "T1", moments(NOON, 2))
    name = "T\uffff1"
    query(terminal.dsn, "UPDATE core.devices SET unique_id = %s", [name])
    assert (
        gpx_points(terminal.ok("positions", name, "--format", "gpx"))[0].findtext(f"{GPX}trk/{GPX}name")
        == "T\ufffd1"
    )
    ET.fromstring(terminal.ok("positions", name, "--format", "kml"))


def test_a_table_has_its_headings_again_after_some_rows(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "TABLE_BLOCK_ROWS", 10)
    added(terminal, 25)
    said = terminal.ok("positions", "T1")
    assert said.count("latitude") == 3
    assert said.count("2026-03-01 12:0") == 25


# ---------------------------------------------------------------------- long ones

LONG = 40_000
MORE_KB_MAX = 10_000


def long_history(dsn: str) -> None:
    """As many fixes as fit into some days, made by the database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        days: Any = [[(NOON + timedelta(days=n)).date() for n in range(5)]]
        connection.execute("SELECT core.ensure_days(%s::date[])", days)
        connection.execute(
            "INSERT INTO core.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid,"
            " altitude_m, speed_mps, course_deg, protocol, attributes)"
            " SELECT d.id, at, at, n, 52 + n * 1e-6, 21 + n * 1e-6, true, 100, 10, n %% 360, 'gt06',"
            ' \'{"sat": 9, "ignition": true}\' FROM core.devices d,'
            " generate_series(1, %s) n, LATERAL (SELECT %s::timestamptz + n * interval '10 s' AS at) t",
            [LONG, NOON],
        )


def test_a_long_history_takes_no_more_memory_than_a_short_one(terminal: Terminal) -> None:
    """Held whole, it would take many times the bound: about 1 KB a row as Python has it."""
    terminal.ok("device", "add", "T1")
    long_history(terminal.dsn)
    for form in ("json", "csv", "geojson", "gpx", "kml"):
        short_kb = peak_kb(terminal, "--format", form, "--to", "2026-03-01T13:00Z")
        long_kb = peak_kb(terminal, "--format", form)
        assert long_kb - short_kb < MORE_KB_MAX, (
            f"{form}: {short_kb} KB for an hour, {long_kb} KB for five days"
        )


def peak_kb(terminal: Terminal, *flags: str) -> int:
    """The most memory that the process of a command had, in KB."""
    process = terminal.program("positions", "T1", *flags)
    assert process.stdout is not None
    assert process.stderr is not None
    rows = 0
    while piece := process.stdout.read(1 << 16):
        rows += piece.count(b"2026-03-")
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    assert status == 0, errors
    assert rows >= 300
    return usage.ru_maxrss
