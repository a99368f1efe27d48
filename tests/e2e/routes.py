"""Made-up days as OsmAnd requests to a real server, fences as files, and what the server then says."""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from typing import Any

import psycopg

from tests.servers.serve import Running
from tests.servers.waiting import wait_until
from tests.track.test_fences import wrapped
from tracker_server.model.event import moment
from tracker_server.track.fences.shapes import Area, Circle, Corridor, Line, Shape
from tracker_server.track.observation import Observation

YEARS_US = 25 * 366 * 86_400_000_000  # the made-up days begin with 1970
KNOT_MPS = 1852 / 3600


def second_of(seen: Observation) -> int:
    """When a device says that it was, as a Unix time: OsmAnd counts whole seconds."""
    return round(moment(seen.at_us + YEARS_US).timestamp())


def target(seen: Observation, unique_id: str) -> str:
    """A report as a request; one without a place has only its moment and attributes."""
    fields: dict[str, Any] = {"id": unique_id, "timestamp": second_of(seen)}
    if seen.latitude is not None:
        fields |= {"lat": repr(seen.latitude), "lon": repr(seen.longitude)}
    if not seen.valid:
        fields["valid"] = "false"
    if seen.speed_mps is not None:
        fields["speed"] = f"{seen.speed_mps / KNOT_MPS:.3f}"
    if seen.course_deg is not None:
        fields["bearing"] = seen.course_deg
    if seen.accuracy_m is not None:
        fields["accuracy"] = seen.accuracy_m
    for name, value in seen.attributes.items():
        fields[name] = str(value).lower() if isinstance(value, bool) else value
    return "/?" + "&".join(f"{name}={value}" for name, value in fields.items())


def report(server: Running, unique_id: str, day: Sequence[Observation]) -> None:
    """One request for each report, each answered before the next."""
    connection = http.client.HTTPConnection(*server.addresses["osmand"], timeout=60)
    for seen in day:
        connection.request("GET", target(seen, unique_id))
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, (answer.status, target(seen, unique_id))
    connection.close()


def rows(server: Running, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.dsn) as connection:
        return connection.execute(statement.encode(), parameters).fetchall()


def settled(server: Running) -> None:
    """What was queued has been worked off."""
    wait_until(
        "the queue to be empty", lambda: rows(server, "SELECT count(*) FROM core.track_queue") == [(0,)], 60
    )


def feature(name: str, shape: Shape, *, spelled: str = "on", **properties: Any) -> dict[str, Any]:
    """A fence as GeoJSON. Where it crosses the antimeridian, its longitudes run ``on`` past it, or are ``wrapped``."""

    def line(positions: Line) -> list[list[float]]:
        turned = wrapped if spelled == "wrapped" else float
        return [[turned(longitude), latitude] for longitude, latitude in positions]

    match shape:
        case Circle():
            geometry = {"type": "Point", "coordinates": [shape.longitude, shape.latitude]}
            properties["radius_m"] = shape.radius_m
        case Corridor():
            geometry = {"type": "MultiLineString", "coordinates": [line(one) for one in shape.lines]}
            properties["width_m"] = shape.width_m
        case Area():
            polygons = [[line(ring.outer), *map(line, ring.holes)] for ring in shape.polygons]
            geometry = {"type": "MultiPolygon", "coordinates": polygons}
    return {"type": "Feature", "properties": {"name": name, **properties}, "geometry": geometry}
