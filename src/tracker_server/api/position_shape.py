"""A fix in the shape that clients of this field read: knots, ISO 8601, and numbers where they expect numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct

from tracker_server.storage.positions_api import Row
from tracker_server.track.marking import Mark

KNOTS_PER_MPS: Final = 3600 / 1852
_OURS: Final = re.compile(r'"(?:distance|totalDistance|motion)":')


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


def position_of(row: Row, mark: Mark = UNMARKED, address: str | None = None) -> Position:
    """The shape of a row."""
    (
        number, device_id, _, protocol, received_at, fixed_at, latitude, longitude, valid,
        altitude_m, speed_mps, course_deg, accuracy_m, attributes,
    ) = row  # fmt: skip
    fixed = iso_ms(fixed_at)
    return Position(
        number,
        device_id,
        protocol,
        iso_ms(received_at),
        fixed,
        fixed,
        valid,
        False,
        latitude,
        longitude,
        round(altitude_m, 2) if altitude_m else 0.0,
        round(speed_mps * KNOTS_PER_MPS, 5) if speed_mps else 0.0,
        round(course_deg, 2) if course_deg else 0.0,
        address,
        round(accuracy_m, 2) if accuracy_m else 0.0,
        None,
        mark.fence_ids or None,
        msgspec.Raw(_attributes(attributes, mark).encode()),
    )


def _attributes(said: str, mark: Mark) -> str:
    """What the tracker said and what its history says; where both say the same, the history's word stands."""
    if _OURS.search(said):
        told: dict[str, Any] = msgspec.json.decode(said)
        told.pop("distance", None)
        told.pop("totalDistance", None)
        told.pop("motion", None)
        said = msgspec.json.encode(told).decode()
    ours = (
        f'"distance":{mark.distance_m:.2f},"totalDistance":{mark.total_m:.2f},'
        f'"motion":{"true" if mark.moving else "false"}'
    )
    return f"{said[:-1]}, {ours}}}" if len(said) > 2 else f"{{{ours}}}"


_encode = msgspec.json.Encoder().encode


class Formulas(Protocol):
    """Computed attributes, as ``api.computed`` keeps them."""

    def has(self, device_id: int) -> bool:
        """Whether a tracker has any."""
        ...

    def apply(self, device_id: int, position: dict[str, Any]) -> None:
        """Add them."""
        ...


def shown(row: Row, mark: Mark, formulas: Formulas | None) -> Position:
    """A row as it is answered: with what is computed of it."""
    shape = position_of(row, mark)
    if formulas is None or not formulas.has(shape.device_id):
        return shape
    told: dict[str, Any] = msgspec.json.decode(_encode(shape))
    formulas.apply(shape.device_id, told)
    told["attributes"] = msgspec.Raw(_encode(told["attributes"]))
    return Position(**{field.name: told[field.encode_name] for field in msgspec.structs.fields(Position)})


def positions_json(rows: Sequence[Row], marks: Iterable[Mark], formulas: Formulas | None = None) -> bytes:
    """A JSON array of them, without its brackets, so that chunks can follow each other."""
    return _encode([shown(row, mark, formulas) for row, mark in zip(rows, marks, strict=True)])[1:-1]


def position_json(row: Row, mark: Mark, formulas: Formulas | None = None) -> str:
    """One of them."""
    return _encode(shown(row, mark, formulas)).decode()
