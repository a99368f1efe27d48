"""A fix in the shape that clients of this field read: knots, ISO 8601, and numbers where they expect numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from itertools import chain, repeat
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from msgspec import Struct

from tracker_protocols.model import Network
from tracker_server.storage.positions_api import Fixes
from tracker_server.track.marking import Floats, Integers, Marks

KNOTS_PER_MPS: Final = 3600 / 1852
FEW: Final = 50  # so many are made one by one


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
    network: msgspec.Raw | None
    geofence_ids: tuple[int, ...] | None
    attributes: msgspec.Raw


def iso_ms(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and ``Z``; the moment is in UTC."""
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"


class Formulas(Protocol):
    """Computed attributes, as ``api.computed`` keeps them."""

    def has(self, device_id: int) -> bool:
        """Whether a tracker has any."""
        ...

    def apply(self, device_id: int, position: dict[str, Any]) -> None:
        """Add them."""
        ...


def positions_of(
    fixes: Fixes,
    marks: Marks | None = None,
    formulas: Formulas | None = None,
    addresses: Sequence[str | None] | None = None,
) -> list[Position]:
    """Fixes as they are answered: with what is computed of them. ``marks``, ``addresses`` None: not asked for."""
    fixed = moments_ms(fixes.fixed_us)
    found = list(
        map(
            Position,
            fixes.ids,
            fixes.device_ids,
            fixes.protocols,
            moments_ms(fixes.received_us),
            fixed,
            fixed,
            fixes.valid,
            repeat(False),
            fixes.latitudes,
            fixes.longitudes,
            numbers(fixes.altitudes_m),
            numbers(fixes.speeds_mps, KNOTS_PER_MPS),
            numbers(fixes.courses_deg),
            repeat(None) if addresses is None else addresses,
            numbers(fixes.accuracies_m),
            map(_network, fixes.networks) if any(fixes.networks) else repeat(None),
            repeat(None) if marks is None else [inside or None for inside in marks.fence_ids],
            map(msgspec.Raw, _attributes(fixes.attributes, marks)),
        )
    )
    if formulas is None:
        return found
    return [_computed(one, formulas) if formulas.has(one.device_id) else one for one in found]


DAY_MS: Final = 86_400_000
MINUTES: Final = [f"T{at // 60:02}:{at % 60:02}:" for at in range(1440)]
SECONDS: Final = [f"{at:02}" for at in range(60)]
MILLISECONDS: Final = [f".{at:03}Z" for at in range(1000)]


def moments_ms(micros: Integers) -> list[str]:
    """ISO 8601 in UTC with milliseconds and ``Z``."""
    if len(micros) < FEW:
        return [
            f"{text}Z" for text in np.datetime_as_string((micros // 1000).astype("datetime64[ms]")).tolist()
        ]
    days, within = np.divmod(micros // 1000, DAY_MS)
    found, at = np.unique(days, return_inverse=True)
    dates: list[str] = np.datetime_as_string(found.astype("datetime64[D]")).tolist()
    columns = at, within // 60_000, within // 1000 % 60, within % 1000
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [
        dates[day] + MINUTES[minute] + SECONDS[second] + MILLISECONDS[rest]
        for day, minute, second, rest in rows
    ]


def numbers(values: Floats, factor: float = 1.0) -> list[float]:
    """To the ten thousandth; what is unknown, or no number of JSON's, is 0."""
    table = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    rounded: list[float] = np.round(table * factor, 4).tolist()
    return rounded


OURS: Final = ('"distance":', '"totalDistance":', '"motion":')


def _attributes(said: Sequence[str], marks: Marks | None) -> list[str]:
    """What each tracker said, and what its history says; thousands at once, so they are put together as text."""
    if marks is None:
        return list(said)
    hours = marks.hours_ms or []
    if any(one is not None for one in hours):
        said = [_with_hours(*one) for one in zip(said, hours, strict=True)]
    together = "".join(said)
    if any(name in together for name in OURS):
        begun = [_begun(one) for one in said]
    else:
        begun = ["{" if one == "{}" else f"{one[:-1]}," for one in said]
    moving = ["true" if one else "false" for one in marks.moving]
    totals = _written(_hundredths(marks.totals_m))
    if marks.distances_m is None:
        rows = zip(begun, totals, moving, strict=True)
        return [f'{text}"totalDistance":{total},"motion":{moves}}}' for text, total, moves in rows]
    steps = zip(begun, _written(_hundredths(marks.distances_m)), totals, moving, strict=True)
    return [
        f'{text}"distance":{step},"totalDistance":{total},"motion":{moves}}}'
        for text, step, total, moves in steps
    ]


def _hundredths(values: Sequence[float]) -> list[float]:
    rounded: list[float] = np.round(np.array(values, dtype=np.float64), 2).tolist()
    return rounded


def _with_hours(said: str, hours_ms: int | None) -> str:
    """The engine's time as somebody set it, and as it went on from there."""
    if hours_ms is None:
        return said
    told: dict[str, Any] = msgspec.json.decode(said)
    return _encode({**told, "hours": hours_ms}).decode()


def _begun(said: str) -> str:
    """An object to which more is to be added. Where a tracker and its history say the same, the history's word stands."""
    told: dict[str, Any] = msgspec.json.decode(said)
    kept = {name: value for name, value in told.items() if f'"{name}":' not in OURS}
    return f"{_encode(kept).decode()[:-1]}," if kept else "{"


def _network(stored: str | None) -> msgspec.Raw | None:
    """Cells and access points by the names of the field's reference."""
    if stored is None:
        return None
    told = msgspec.json.decode(stored, type=Network)
    named: dict[str, Any] = {}
    if told.cells:
        named["cellTowers"] = [
            {
                "cellId": cell.cid,
                "locationAreaCode": cell.lac,
                "mobileCountryCode": cell.mcc,
                "mobileNetworkCode": cell.mnc,
                **({} if cell.signal is None else {"signalStrength": cell.signal}),
            }
            for cell in told.cells
        ]
    if told.access_points:
        named["wifiAccessPoints"] = [
            {"macAddress": point.mac, **({} if point.signal is None else {"signalStrength": point.signal})}
            for point in told.access_points
        ]
    return msgspec.Raw(_encode(named))


def _computed(position: Position, formulas: Formulas) -> Position:
    told: dict[str, Any] = msgspec.json.decode(_encode(position))
    formulas.apply(position.device_id, told)
    return msgspec.json.decode(_encode(told), type=Position)


def encoded(position: Position) -> str:
    """One of them."""
    return _encode(position).decode()


def positions_json(
    fixes: Fixes,
    marks: Marks,
    formulas: Formulas | None = None,
    addresses: Sequence[str | None] | None = None,
) -> bytes:
    """A JSON array of them, without its brackets, so that chunks can follow each other."""
    if len(fixes) < FEW or (formulas is not None and any(map(formulas.has, set(fixes.device_ids)))):
        return _encode(positions_of(fixes, marks, formulas, addresses))[1:-1]
    return _by_column(fixes, marks, addresses)


TEXTS: Final = frozenset({"serverTime", "deviceTime", "fixTime"})
"""Of a ``Position``'s fields those that are written as they are, between quotes."""


@cache
def _between() -> list[str]:
    """What stands before each field of a ``Position`` in a row of many, and what ends it."""
    found, before = list[str](), "{"
    for field in msgspec.structs.fields(Position):
        quote = '"' if field.encode_name in TEXTS else ""
        found.append(f'{before}"{field.encode_name}":{quote}')
        before = f"{quote},"
    return [*found, "},"]


def _by_column(fixes: Fixes, marks: Marks, addresses: Sequence[str | None] | None) -> bytes:
    """The same text as that of ``positions_of``: each column is written as one array, and the rows are put together."""
    fixed = moments_ms(fixes.fixed_us)
    protocols = {name: _encode(name).decode() for name in set(fixes.protocols)}
    known = set(marks.fence_ids)
    inside = {ids: _encode(ids or None).decode() for ids in known}
    networks = fixes.networks
    columns: tuple[Iterable[str], ...] = (
        _written(fixes.ids),
        _written(fixes.device_ids),
        map(protocols.__getitem__, fixes.protocols),
        moments_ms(fixes.received_us),
        fixed,
        fixed,
        _written(fixes.valid),
        repeat("false"),
        _written(fixes.latitudes),
        _written(fixes.longitudes),
        _written(numbers(fixes.altitudes_m)),
        _written(numbers(fixes.speeds_mps, KNOTS_PER_MPS)),
        _written(numbers(fixes.courses_deg)),
        repeat("null") if addresses is None else [_encode(one).decode() for one in addresses],
        _written(numbers(fixes.accuracies_m)),
        [_encode(_network(one)).decode() for one in networks] if any(networks) else repeat("null"),
        map(inside.__getitem__, marks.fence_ids),
        _attributes(fixes.attributes, marks),
    )
    *before, end = map(repeat, _between())
    pieces = (part for pair in zip(before, columns, strict=True) for part in pair)
    return "".join(chain.from_iterable(zip(*pieces, end, strict=False))).removesuffix(",").encode()


def _written(values: Sequence[float | bool]) -> list[str]:
    """Each as JSON has it."""
    return _encode(values)[1:-1].decode().split(",") if values else []


_encode: Final = msgspec.json.Encoder().encode
