"""GeoJSON, WKT and KML: what is written is read back, and what cannot be used says where and why."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest
import shapely

from tests.track.test_fences import CENTRES, SPELLINGS, shape_near
from tracker_server.track.fences.drawn import Drawn, Metres
from tracker_server.track.fences.errors import FenceError, NoMetresError
from tracker_server.track.fences.files import form_of, read
from tracker_server.track.fences.geojson import read_geojson, write_geojson
from tracker_server.track.fences.gpx import read_gpx
from tracker_server.track.fences.kml import read_kml, write_kml
from tracker_server.track.fences.shapes import Area, Circle, Corridor, Shape, area, corridor, geometry_of
from tracker_server.track.fences.wkt import Axes, read_wkt, read_wkt_lines, write_wkt, write_wkt_lines

FORMATS: dict[str, Callable[[list[Drawn]], list[Drawn]]] = {
    "geojson": lambda drawn: read_geojson(write_geojson(drawn)),
    "kml": lambda drawn: read_kml(write_kml(drawn)),
    "wkt lon-lat": lambda drawn: read_wkt_lines(write_wkt_lines(drawn, Axes.LON_LAT), Axes.LON_LAT),
    "wkt lat-lon": lambda drawn: read_wkt_lines(write_wkt_lines(drawn, Axes.LAT_LON), Axes.LAT_LON),
}


def assert_same(one: Shape, other: Shape) -> None:
    assert type(one) is type(other)
    if isinstance(one, Circle):
        assert one == other
    elif isinstance(one, Corridor) and isinstance(other, Corridor):
        assert one.width_m == other.width_m
        lines = [shapely.MultiLineString(shape.lines) for shape in (one, other)]
        assert any(
            shapely.hausdorff_distance(lines[0], shapely.affinity.translate(lines[1], turn)) < 1e-9
            for turn in (-360, 0, 360)
        )
    elif isinstance(one, Area) and isinstance(other, Area):
        first, second = geometry_of(one), geometry_of(other)
        assert any(
            shapely.area(shapely.symmetric_difference(first, shapely.affinity.translate(second, turn))) < 1e-9
            for turn in (-360, 0, 360)
        )


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("centre", CENTRES)
def test_what_is_written_is_read_back(name: str, centre: tuple[float, float]) -> None:
    rng = random.Random(name)
    drawn = [Drawn(f"Depot {n} <&> é", shape_near(rng, *centre)) for n in range(12)]
    back = FORMATS[name](drawn)
    assert [one.name for one in back] == [one.name for one in drawn]
    for one, other in zip(drawn, back, strict=True):
        assert_same(one.shape, other.shape)


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("name", FORMATS)
def test_across_the_antimeridian_files_are_cut_and_joined_again(name: str, spelling: str) -> None:
    drawn = [
        Drawn("area", area(SPELLINGS[spelling])),
        Drawn("line", corridor([[(179.5, 1.0), (-179.5, 2.0)]], 100.0)),
    ]
    written = json.loads(write_geojson(drawn))
    text = json.dumps(written)
    assert "181" not in text
    assert {feature["geometry"]["type"] for feature in written["features"]} == {
        "MultiPolygon",
        "MultiLineString",
    }
    for one, other in zip(drawn, FORMATS[name](drawn), strict=True):
        assert_same(one.shape, other.shape)


def test_the_axis_order_is_what_the_caller_says() -> None:
    assert read_wkt("CIRCLE (52.5 13.25, 300)", Axes.LAT_LON) == Circle(52.5, 13.25, 300.0)
    assert read_wkt("CIRCLE (13.25 52.5, 300)", Axes.LON_LAT) == Circle(52.5, 13.25, 300.0)
    assert read_wkt("POINT(13.25 52.5)", Axes.LON_LAT, radius_m=300) == Circle(52.5, 13.25, 300.0)
    ring = "POLYGON ((52 13, 52 14, 53 14, 52 13))"
    assert_same(read_wkt(ring, Axes.LAT_LON), area([[[(13, 52), (14, 52), (14, 53), (13, 52)]]]))
    assert_same(
        read_wkt("srid=4326; polygon z ((13 52 7, 14 52 7, 14 53 7, 13 52 7))", Axes.LON_LAT),
        area([[[(13, 52), (14, 52), (14, 53), (13, 52)]]]),
    )
    assert write_wkt(Circle(52.5, 13.25, 300.0), Axes.LAT_LON) == "CIRCLE (52.5 13.25, 300.0)"


def test_kml_of_other_programs_is_read() -> None:
    text = """<?xml version="1.0"?>
    <kml xmlns="http://earth.google.com/kml/2.1"><Document><Folder><name>Depots</name>
      <Placemark><name>North</name><Style><LineStyle><width>2</width></LineStyle></Style>
        <Polygon><tessellate>1</tessellate>
          <outerBoundaryIs><LinearRing><coordinates>
             10.0,50.0,0 10.1,50.0,0 10.1,50.1,0 10.0,50.0,0
          </coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark>
      <Placemark><name>Gate</name><ExtendedData><SchemaData><SimpleData name="radius_m">80</SimpleData>
        </SchemaData></ExtendedData><Point><coordinates>10.05,50.05</coordinates></Point></Placemark>
    </Folder></Document></kml>"""
    drawn = read_kml(text)
    assert [one.name for one in drawn] == ["North", "Gate"]
    assert drawn[1].shape == Circle(50.05, 10.05, 80.0)


GPX = """<?xml version="1.0"?><!-- of a receiver -->
<gpx version="1.1" creator="x" xmlns="http://www.topografix.com/GPX/1/1"><metadata><name>Away</name></metadata>
  <wpt lat="50.05" lon="10.05"><name>Gate</name><desc> the north one </desc></wpt>
  <rte><rtept lat="50" lon="10"/><rtept lat="50.1" lon="10.2"><name>turn</name></rtept></rte>
  <trk><name>Morning</name>
    <trkseg><trkpt lat="50" lon="10"><ele>7</ele></trkpt><trkpt lat="50" lon="10"/><trkpt lat="50.2" lon="10"/></trkseg>
    <trkseg><trkpt lat="51" lon="11"/></trkseg>
    <trkseg><trkpt lat="52" lon="12"/><trkpt lat="52.1" lon="12.1"/></trkseg></trk></gpx>"""
LINE = [[1, 2], [3, 4]]
METRES = Metres(width_m=80.0, radius_m=150.0)


def test_gpx_is_read_with_the_metres_that_are_said() -> None:
    assert form_of(GPX.encode()) == "gpx"
    assert read(GPX.encode(), "gpx", metres=METRES) == [
        Drawn("Gate", Circle(50.05, 10.05, 150.0), {"description": "the north one"}),
        Drawn("Route 1", corridor([[(10.0, 50.0), (10.2, 50.1)]], 80.0)),
        Drawn("Morning", corridor([[(10.0, 50.0), (10.0, 50.2)], [(12.0, 52.0), (12.1, 52.1)]], 80.0)),
    ]
    old = GPX.replace("/GPX/1/1", "/GPX/1/0")
    assert read_gpx(old, METRES) == read_gpx(GPX, METRES)


@pytest.mark.parametrize("form", ["geojson", "kml", "wkt"])
def test_metres_that_are_said_are_for_those_that_tell_none(form: str) -> None:
    text = {
        "geojson": json.dumps(
            {
                "type": "FeatureCollection",
                "features": [
                    {"type": "Feature", "properties": {"name": "a"}, "geometry": {"type": "LineString", "coordinates": LINE}},
                    {"type": "Feature", "properties": {"name": "b"}, "geometry": {"type": "Point", "coordinates": [1, 2]}},
                    {"type": "Feature", "properties": {"name": "c", "radius_m": 9}, "geometry": {"type": "Point", "coordinates": [1, 2]}},
                ],
            }
        ),
        "kml": "<kml><Placemark><name>a</name><LineString><coordinates>1,2 3,4</coordinates></LineString></Placemark>"
        "<Placemark><name>b</name><Point><coordinates>1,2</coordinates></Point></Placemark><Placemark><name>c</name>"
        '<ExtendedData><Data name="radius_m"><value>9</value></Data></ExtendedData>'
        "<Point><coordinates>1,2</coordinates></Point></Placemark></kml>",
        "wkt": "a\tLINESTRING (1 2, 3 4)\nb\tPOINT (1 2)\nc\tPOINT (1 2)\t9\n",
    }[form].encode()  # fmt: skip
    assert form_of(text) == form
    assert [one.shape for one in read(text, form, metres=METRES)] == [
        corridor([[(1.0, 2.0), (3.0, 4.0)]], 80.0),
        Circle(2.0, 1.0, 150.0),
        Circle(2.0, 1.0, 9.0),
    ]
    with pytest.raises(NoMetresError, match="width_m: is missing"):
        read(text, form)


def gpx(inner: str) -> str:
    return f"<gpx>{inner}</gpx>"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('<!DOCTYPE k [<!ENTITY a "aa">]><gpx>&a;</gpx>', "declares a document type or entities"),
        ("<gpx>", "this is no XML"),
        (gpx("<metadata/>"), "has no track (trk), route (rte) or waypoint (wpt)"),
        (gpx("<trk><trkseg/></trk>"), 'feature 1 "Track 1", trk: has no two different places'),
        (gpx('<rte><name>Way</name><rtept lat="1" lon="2"/></rte>'), 'feature 1 "Way", rte: has no two'),
        (
            gpx('<rte><rtept lat="1" lon="2"/><rtept lat="1"/></rte>'),
            'point 2: lat="1" lon="None" are no two numbers',
        ),
        (gpx('<wpt lat="91" lon="2"/>'), 'feature 1 "Waypoint 1", centre: latitude 91.0 is not between'),
        (gpx(f'<wpt lat="9" lon="2"><name>{"x" * 129}</name></wpt>'), "name: is longer than 128 characters"),
    ],
)
def test_gpx_that_cannot_be_used(text: str, says: str) -> None:
    with pytest.raises(FenceError) as raised:
        read_gpx(text, METRES)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("inner", "says"),
    [
        ('<wpt lat="9" lon="2"/>', 'feature 1 "Waypoint 1", radius_m: is missing'),
        (
            '<rte><rtept lat="1" lon="2"/><rtept lat="1" lon="3"/></rte>',
            'feature 1 "Route 1", width_m: is missing',
        ),
    ],
)
def test_gpx_without_metres_says_which_are_missing(inner: str, says: str) -> None:
    with pytest.raises(NoMetresError) as raised:
        read_gpx(gpx(inner))
    assert says in str(raised.value)


def test_properties_are_kept() -> None:
    drawn = [Drawn("x", Circle(1.0, 2.0, 30.0), {"speed": 12, "colour": "red"})]
    (back,) = read_geojson(write_geojson(drawn))
    assert back.properties == {"speed": 12, "colour": "red", "name": "x", "radius_m": 30.0}
    (kml,) = read_kml(write_kml(drawn))
    assert kml.properties == {"speed": "12", "colour": "red"}


def feature(geometry: object, **properties: object) -> str:
    collection = {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "properties": {"name": "ok", "radius_m": 9}, "geometry": {"type": "Point", "coordinates": [1, 2]}},
            {"type": "Feature", "properties": {"name": "Yard", **properties}, "geometry": geometry},
        ],
    }  # fmt: skip
    return json.dumps(collection)


def polygon(*rings: list[list[float]]) -> dict[str, object]:
    return {"type": "Polygon", "coordinates": list(rings)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "this is no JSON"),
        (b"\xff\xfe", "this is no JSON"),
        ("[]", "type: None is neither FeatureCollection nor Feature"),
        ('{"type": "Polygon"}', "wrap the geometry in a Feature"),
        ('{"type": "FeatureCollection"}', "features: is missing"),
        ('{"type": "FeatureCollection", "features": [7]}', "feature 1: is no Feature"),
        (feature(None), 'feature 2 "Yard", geometry: is missing'),
        (feature(polygon(), name=""), "feature 2, name: is missing"),
        (feature(polygon(), name="x" * 129), "name: is longer than 128 characters"),
        (feature({"type": "Blob"}), "geometry: Blob is no shape of a fence"),
        (feature({"type": "Point", "coordinates": [1, 2]}), 'feature 2 "Yard", radius_m: is missing'),
        (feature({"type": "Point", "coordinates": [1, 2]}, radius_m="9"), "radius_m: '9' is not a number"),
        (feature({"type": "Point", "coordinates": [1, 2]}, radius_m=-4), "radius: -4.0 is no radius"),
        (feature({"type": "LineString", "coordinates": [[1, 2], [2, 2]]}), "width_m: is missing"),
        (feature({"type": "Polygon", "coordinates": 7}), "coordinates: is 7, not a list"),
        (feature(polygon([[0, 0], [1, 1], 5, [0, 0]])), "ring 1, vertex 3: is 5, not a position"),  # type: ignore[list-item]
        (
            feature(polygon([[0, 0], [1, True], [1, 0], [0, 0]])),
            "ring 1, vertex 2, latitude: True is not a number",
        ),
        (
            feature(polygon([[0, 0], [1, 0], [1, 91], [0, 0]])),
            'feature 2 "Yard", outer ring, vertex 3: latitude 91.0 is not between -90 and 90',
        ),
        (
            feature(polygon([[0, 0], [1, 0], [1, 1], [0, 0.1]])),
            "outer ring, vertex 4: the ring is not closed",
        ),
        (
            feature(polygon([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]])),
            "self-intersection near 0.500000 0.500000",
        ),
        (
            feature(
                {
                    "type": "MultiPolygon",
                    "coordinates": [[[[0, 0], [1, 0], [1, 1], [0, 0]]], [[[5, 5], [6, 5]]]],
                }
            ),
            "polygon 2, outer ring: has 2 positions",
        ),
    ],
)
def test_geojson_that_cannot_be_used(text: str, says: str) -> None:
    with pytest.raises(FenceError) as raised:
        read_geojson(text)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("Yard POLYGON ((0 0))", 'line 1, feature 1 "Yard POLYGON ((0 0))": needs a name, a tab, WKT'),
        ("# a comment\n\nYard\tCIRKEL (1 2, 3)", 'line 3, feature 1 "Yard", geometry: CIRKEL is no shape'),
        ("Yard\tPOLYGON EMPTY", "POLYGON is empty"),
        ("Yard\tnothing", "does not begin with a kind and a bracket"),
        ("Yard\tPOLYGON ((0 0, 1 0, 1 x, 0 0))", "ring 1, vertex 3: 'x' is not a number"),
        ("Yard\tPOLYGON ((0 0, 1 0, 1, 0 0))", "ring 1, vertex 3: has 1 numbers; write lon lat"),
        ("Yard\tPOLYGON ((0 0, 1 0, 1 1, 0 0)", "found the end where ')' was expected"),
        ("Yard\tPOLYGON ((0 0, 1 0, 1 1, 0 0)) x", "'x' follows the last bracket"),
        ("Yard\tPOINT (1 2)", "radius_m: is missing"),
        ("Yard\tPOINT (1 2)\tfar", "metres: 'far' is not a number"),
        ("Yard\tLINESTRING (1 2, 3 4)", "width_m: is missing"),
        ("\tCIRCLE (1 2, 3)", "name: is missing"),
        ("Yard\tCIRCLE (1 2; 3)", "'2;' is not a number"),
    ],
)
def test_wkt_that_cannot_be_used(text: str, says: str) -> None:
    with pytest.raises(FenceError) as raised:
        read_wkt_lines(text, Axes.LON_LAT)
    assert says in str(raised.value)


def kml(inner: str, name: str = "<name>Yard</name>") -> str:
    return f"<kml><Placemark>{name}{inner}</Placemark></kml>"


BOMB = '<!DOCTYPE k [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><kml><name>&b;</name></kml>'
OUTSIDE = '<!DOCTYPE k [<!ENTITY x SYSTEM "file:///etc/passwd">]><kml><name>&x;</name></kml>'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "declares a document type or entities"),
        (OUTSIDE, "declares a document type or entities"),
        ("<kml>", "this is no XML"),
        ("<kml/>", "has no Placemark"),
        (kml(""), 'feature 1 "Yard", geometry: is missing'),
        (kml("<Point><coordinates>1,2</coordinates></Point>"), "radius_m: is missing"),
        (kml("<Point/>"), "centre: has no coordinates"),
        (kml("<Polygon/>"), "outerBoundaryIs: is missing"),
        (kml("<LineString><coordinates>1,2 3</coordinates></LineString>"), "line, vertex 2: '3' is not"),
        (kml("<LineString><coordinates>1,2 3,x</coordinates></LineString>"), "line, vertex 2: 'x' is not a number"),
        (
            kml("<MultiGeometry><Point><coordinates>1,2</coordinates></Point><Point><coordinates>1,2</coordinates></Point></MultiGeometry>"),
            "has several Points",
        ),
        (
            kml("<Point><coordinates>1,2</coordinates></Point><LineString><coordinates>1,2 2,3</coordinates></LineString>"),
            "mixes LineString and Point",
        ),
    ],
)  # fmt: skip
def test_kml_that_cannot_be_used(text: str, says: str) -> None:
    with pytest.raises(FenceError) as raised:
        read_kml(text)
    assert says in str(raised.value)
