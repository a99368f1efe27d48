"""What the command line is given as a fence: a shape, a calendar, a file of fences."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tracker_server.cli.common import wrong

if TYPE_CHECKING:
    from tracker_server.storage.fences import NewFence
    from tracker_server.track.fences.drawn import Drawn
    from tracker_server.track.fences.shapes import Shape

ReadFormat = Literal["geojson", "kml", "gpx", "wkt"]
ENDINGS = {
    ".geojson": "geojson",
    ".json": "geojson",
    ".kml": "kml",
    ".gpx": "gpx",
    ".wkt": "wkt",
    ".txt": "wkt",
}
FILE_BYTES_MAX = 200_000_000  # a million vertices in any of the formats; more is a mistaken file
OF_PROPERTIES = ("speed_limit_mps", "dwell_s")
SHAPE_PROPERTIES = frozenset({"name", "radius_m", "width_m", *OF_PROPERTIES})


def shape_of(
    name: str, wkt: str | None, axes: str, width: float | None, geojson: Path | None, circle: str | None
) -> Shape:
    """The one shape that is given, or exit 2."""
    from tracker_server.track.fences.errors import FenceError
    from tracker_server.track.fences.files import of_geojson
    from tracker_server.track.fences.shapes import circle as circle_of
    from tracker_server.track.fences.wkt import Axes, read_wkt

    given = [
        flag
        for flag, value in (("--wkt", wkt), ("--geojson", geojson), ("--circle", circle))
        if value is not None
    ]
    if len(given) != 1:
        wrong("the shape: write one of --wkt, --geojson and --circle")
    try:
        if wkt is not None:
            return read_wkt(wkt, Axes(axes), width_m=width)
        if geojson is not None:
            return of_geojson(_bytes(geojson), name, width_m=width)
        assert circle is not None
        parts = circle.split(",")
        try:
            latitude, longitude, metres = map(float, parts)
        except ValueError:
            wrong(f"--circle: {circle!r} is not LATITUDE,LONGITUDE,METRES; for example 52.0907,5.1214,150")
        return circle_of(latitude, longitude, metres)
    except FenceError as error:
        wrong(f"{given[0]}: {error}")


def _bytes(file: Path) -> bytes:
    try:
        if file.stat().st_size > FILE_BYTES_MAX:
            wrong(f"{file}: is larger than {FILE_BYTES_MAX // 1_000_000} MB; split it")
        return file.read_bytes()
    except OSError as error:
        wrong(f"{file}: cannot be read: {error.strerror}")


def calendar_of(file: Path) -> str:
    """A calendar's text, or exit 2."""
    from tracker_server.model.schedule import ScheduleError, check_calendar

    text = _bytes(file).decode("utf-8", "replace")
    try:
        check_calendar(text)
    except ScheduleError as error:
        wrong(f"--schedule: {file}: {error}")
    return text


def read_file(
    file: Path, form: ReadFormat | None, axes: str, width_m: float | None, radius_m: float | None
) -> list[Drawn]:
    """What a file draws, or exit 2."""
    from tracker_server.track.fences.drawn import Metres
    from tracker_server.track.fences.errors import FenceError, NoMetresError
    from tracker_server.track.fences.files import read

    kind = form or ENDINGS.get(file.suffix.lower())
    if kind is None:
        wrong(f"{file}: its ending tells no format; write --format geojson, kml, gpx or wkt")
    try:
        return read(_bytes(file), kind, axes, Metres(width_m, radius_m))
    except NoMetresError as error:
        wrong(f"{file}: {error}; --width-m and --radius-m give them to all that tell none")
    except FenceError as error:
        wrong(f"{file}: {error}")


def fence_of(drawn: Drawn) -> NewFence:
    """As it is stored, with what its properties say, or exit 2."""
    from tracker_server.storage.fences import NewFence

    numbers: dict[str, float | None] = {}
    for key in OF_PROPERTIES:
        value = drawn.properties.get(key)
        if isinstance(value, str):  # KML has text only
            try:
                value = float(value)
            except ValueError:
                wrong(f"{drawn.name!r}: {key}: {value!r} is not a number")
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not value > 0
        ):
            wrong(f"{drawn.name!r}: {key}: {value!r} is not a number above 0")
        numbers[key] = None if value is None else float(value)
    rest = {key: value for key, value in drawn.properties.items() if key not in SHAPE_PROPERTIES}
    return NewFence(
        name=drawn.name,
        shape=drawn.shape,
        attributes=rest,
        speed_limit_mps=numbers["speed_limit_mps"],
        dwell_s=numbers["dwell_s"],
    )
