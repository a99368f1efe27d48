"""A fix in the shape that clients of this field read: knots, ISO 8601, and numbers where they expect numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from tracker_server.storage.positions_api import Row
from tracker_server.track.marking import Mark

KNOTS_PER_MPS: Final = 3600 / 1852


UNMARKED: Final = Mark()


class Position(Struct, gc=False, rename="camel"):
    """See the design of the API: what is unknown is 0 or null, as clients expect it."""

    id: int
    device_id: int
    protocol: str
    server_time: str
    device_time: str
    fix_time: str
    valid: bool
    outdated: bool
    latitude: float
    longitude: float
    altitude: float
    speed: float  # knots
    course: float
    address: str | None
    accuracy: float  # m
    network: None
    geofence_ids: tuple[int, ...] | None
    attributes: msgspec.Raw


def iso_ms(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and ``Z``; the moment is in UTC."""
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"


def iso_of(text: str) -> str:
    """The same of a moment as the database writes it: ``2026-01-31 08:00:00.123456+00``."""
    size = len(text)
    if size >= 26:  # three digits of a second's fraction, or more
        return f"{text[:10]}T{text[11:23]}Z"
    if size == 22:
        return f"{text[:10]}T{text[11:19]}.000Z"
    return f"{text[:10]}T{text[11:19]}.{text[20:-3]:0<3}Z"


_TEXT: Final = (
    '{"id":%d,"deviceId":%d,"protocol":"%s","serverTime":"%s","deviceTime":"%s","fixTime":"%s","valid":%s,'
    '"outdated":false,"latitude":%s,"longitude":%s,"altitude":%s,"speed":%s,"course":%s,"address":null,"accuracy":%s,'
    '"network":null,"geofenceIds":%s,"attributes":%s%s"totalDistance":%.2f,"motion":%s}}'
)


def position_text(row: Row, mark: Mark) -> str:
    """A row as JSON. Put together from pieces: thousands are answered at once, and the pieces are JSON already."""
    (
        number, device_id, _, _, _, _, valid, protocol, received, fixed, latitude, longitude, altitude, speed, course,
        accuracy, said,
    ) = row  # fmt: skip
    fixed = iso_of(fixed)
    if '"motion":' in said or '"distance":' in said or '"totalDistance":' in said:
        said = _without_ours(said)
    fences = mark.fence_ids
    return _TEXT % (
        number,
        device_id,
        protocol,
        iso_of(received),
        fixed,
        fixed,
        "true" if valid else "false",
        latitude,
        longitude,
        altitude,
        speed,
        course,
        accuracy,
        f"[{','.join(map(str, fences))}]" if fences else "null",
        "{" if len(said) == 2 else f"{said[:-1]}, ",
        "" if mark.distance_m is None else f'"distance":{mark.distance_m:.2f},',
        mark.total_m,
        "true" if mark.moving else "false",
    )


def _without_ours(said: str) -> str:
    """Where a tracker and its history say the same, the history's word stands."""
    told: dict[str, Any] = msgspec.json.decode(said)
    for name in ("distance", "totalDistance", "motion"):
        told.pop(name, None)
    return _encode(told).decode()


def position_of(row: Row, mark: Mark = UNMARKED) -> Position:
    """A row as a value, for what is no JSON."""
    return msgspec.json.decode(position_text(row, mark), type=Position)


_encode = msgspec.json.Encoder().encode


class Formulas(Protocol):
    """Computed attributes, as ``api.computed`` keeps them."""

    def has(self, device_id: int) -> bool:
        """Whether a tracker has any."""
        ...

    def apply(self, device_id: int, position: dict[str, Any]) -> None:
        """Add them."""
        ...


def computed_text(row: Row, mark: Mark, formulas: Formulas | None) -> str:
    """A row as it is answered: with what is computed of it."""
    text = position_text(row, mark)
    if formulas is None or not formulas.has(row[1]):
        return text
    told: dict[str, Any] = msgspec.json.decode(text)
    formulas.apply(row[1], told)
    return _encode(told).decode()


def shown(row: Row, mark: Mark, formulas: Formulas | None) -> Position:
    """The same as a value."""
    return msgspec.json.decode(computed_text(row, mark, formulas), type=Position)


def positions_json(rows: Sequence[Row], marks: Sequence[Mark], formulas: Formulas | None = None) -> bytes:
    """A JSON array of them, without its brackets, so that chunks can follow each other."""
    if formulas is None or not any(map(formulas.has, {row[1] for row in rows})):
        return ",".join(map(position_text, rows, marks)).encode()
    return ",".join(
        [computed_text(row, mark, formulas) for row, mark in zip(rows, marks, strict=True)]
    ).encode()


def position_json(row: Row, mark: Mark, formulas: Formulas | None = None) -> str:
    """One of them."""
    return computed_text(row, mark, formulas)
