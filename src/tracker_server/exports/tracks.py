"""History as files that maps read: GeoJSON (RFC 7946), GPX 1.1, KML 2.2. All of them stream."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from tracker_server.exports.cells import iso, json_bytes

Row = Mapping[str, Any]
Tracks = Iterable[tuple[str, AsyncIterable[Row]]]
"""Each tracker's name and its fixes, by time; they are read one after the other."""

GPX = "http://www.topografix.com/GPX/1/1"
TRACK_POINT = "http://www.garmin.com/xmlschemas/TrackPointExtension/v2"
KML = "http://www.opengis.net/kml/2.2"
KML_FOLDER_ROWS = 5_000  # viewers draw lines of some thousand points; one folder is held at once
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(value: object) -> str:
    """Text between tags; what XML 1.0 has no word for becomes U+FFFD."""
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def number(value: float) -> str:
    """A decimal number without an exponent, to the billionth."""
    return f"{value:.9f}".rstrip("0").rstrip(".") if value else "0"


# ---------------------------------------------------------------------- GeoJSON


async def geojson(rows: AsyncIterable[Row], columns: Sequence[str]) -> AsyncGenerator[bytes]:
    """A FeatureCollection with a Point for each fix; its properties are all the other columns."""
    names = [name for name in columns if name not in {"latitude", "longitude", "altitude_m"}]
    yield b'{"type":"FeatureCollection","features":[\n'
    before = b""
    async for row in rows:
        place = [row["longitude"], row["latitude"]]
        if row["altitude_m"] is not None:
            place.append(row["altitude_m"])
        feature = {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": place},
            "properties": {name: row[name] for name in names},
        }
        yield before + json_bytes(feature)
        before = b",\n"
    yield b"\n]}\n" if before else b"]}\n"


# ---------------------------------------------------------------------- GPX


async def gpx(tracks: Tracks) -> AsyncGenerator[bytes]:
    """A track with one segment for each tracker; speed (m/s) and course in Garmin's TrackPointExtension, as GPX has none."""
    yield (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<gpx version="1.1" creator="tracker-server" xmlns="{GPX}"'
        f' xmlns:gpxtpx="{TRACK_POINT}">\n'.encode()
    )
    for name, rows in tracks:
        yield f"<trk><name>{text(name)}</name><trkseg>\n".encode()
        async for row in rows:
            yield f"{gpx_point(row)}\n".encode()
        yield b"</trkseg></trk>\n"
    yield b"</gpx>\n"


def gpx_point(row: Row) -> str:
    """A trkpt, its children in the schema's order. A fix that its receiver doubts has ``<fix>none</fix>``."""
    longitude = -180.0 if row["longitude"] == 180 else row["longitude"]  # GPX: -180 ≤ longitude < 180
    parts = [f'<trkpt lat="{number(row["latitude"])}" lon="{number(longitude)}">']
    if row["altitude_m"] is not None:
        parts.append(f"<ele>{number(row['altitude_m'])}</ele>")
    parts.append(f"<time>{iso(row['fixed_at'])}</time>")
    if not row["valid"]:
        parts.append("<fix>none</fix>")
    motion = ""
    if row["speed_mps"] is not None:
        motion += f"<gpxtpx:speed>{number(row['speed_mps'])}</gpxtpx:speed>"
    if row["course_deg"] is not None:
        motion += f"<gpxtpx:course>{number(row['course_deg'] % 360)}</gpxtpx:course>"
    if motion:
        parts.append(
            f"<extensions><gpxtpx:TrackPointExtension>{motion}</gpxtpx:TrackPointExtension></extensions>"
        )
    return "".join([*parts, "</trkpt>"])


# ---------------------------------------------------------------------- KML


async def kml(title: str, tracks: Tracks) -> AsyncGenerator[bytes]:
    """For each tracker folders of at most ``KML_FOLDER_ROWS`` fixes: the way as a line, each fix as a point with its time."""
    yield (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="{KML}"><Document><name>{text(title)}</name>\n'
        '<Style id="fix"><IconStyle><scale>0.5</scale></IconStyle><LabelStyle><scale>0</scale></LabelStyle></Style>\n'.encode()
    )
    for name, rows in tracks:
        folder: list[Row] = []
        last: Row | None = None
        async for row in rows:
            folder.append(row)
            if len(folder) == KML_FOLDER_ROWS:
                yield "".join(_folder(name, folder, last)).encode()
                last = folder[-1]
                folder.clear()
        yield "".join(_folder(name, folder, last)).encode()
    yield b"</Document></kml>\n"


def _folder(name: str, rows: Sequence[Row], last: Row | None) -> Iterator[str]:
    """One folder; its line begins at the last fix of the one before."""
    if not rows:
        return
    name = f"{text(name)} {iso(rows[0]['fixed_at'])} – {iso(rows[-1]['fixed_at'])}"
    yield f"<Folder><name>{name}</name>\n"
    way = [last, *rows] if last else rows
    if len(way) > 1:
        places = " ".join(_place(row) for row in way)
        span = f"<begin>{iso(rows[0]['fixed_at'])}</begin><end>{iso(rows[-1]['fixed_at'])}</end>"
        yield (
            f"<Placemark><name>{name}</name><TimeSpan>{span}</TimeSpan><LineString><tessellate>1</tessellate>"
            f"<coordinates>{places}</coordinates></LineString></Placemark>\n"
        )
    for row in rows:
        data = "".join(
            f"<Data name={quoteattr(key)}><value>{text(number(row[key]))}</value></Data>"
            for key in ("speed_mps", "course_deg", "altitude_m", "accuracy_m")
            if row[key] is not None
        )
        valid = "true" if row["valid"] else "false"
        yield (
            f"<Placemark><TimeStamp><when>{iso(row['fixed_at'])}</when></TimeStamp><styleUrl>#fix</styleUrl>"
            f'<ExtendedData><Data name="valid"><value>{valid}</value></Data>{data}</ExtendedData>'
            f"<Point><coordinates>{_place(row)}</coordinates></Point></Placemark>\n"
        )
    yield "</Folder>\n"


def _place(row: Row) -> str:
    altitude = f",{number(row['altitude_m'])}" if row["altitude_m"] is not None else ""
    return f"{number(row['longitude'])},{number(row['latitude'])}{altitude}"


# ---------------------------------------------------------------------- pieces

PIECE_BYTES = 65_536


async def gathered(parts: AsyncIterable[bytes], piece_bytes: int = PIECE_BYTES) -> AsyncGenerator[bytes]:
    """The same bytes in pieces of some size: a write for each fix would cost more than the fix."""
    piece = bytearray()
    async for part in parts:
        if not piece and len(part) >= piece_bytes:
            yield part
            continue
        piece += part
        if len(piece) >= piece_bytes:
            yield bytes(piece)
            piece.clear()
    if piece:
        yield bytes(piece)
