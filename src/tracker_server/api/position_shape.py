"""A fix in the shape that clients of this field read: knots, ISO 8601, and numbers where they expect numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cache
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from msgspec import Struct

from tracker_protocols.model import Network
from tracker_server.later import np
from tracker_server.storage.positions_api import Fixes
from tracker_server.track.marking import Floats, Integers, Marks

if TYPE_CHECKING:
    from numpy.typing import NDArray

KNOTS_PER_MPS: Final = 3600 / 1852
FEW: Final = 50  # so many are made one by one, and so many are written while they are warm
PART_BYTES: Final = 262_144  # at least: half a slice of a history, a write of the socket
COMMA: Final = ord(",")


class Position(Struct, gc=False, rename="camel"):
    """See the design of the API: what is unknown is 0 or null, as clients expect it."""

    id: int
    device_id: int
    protocol: str
    outdated: bool
    server_time: str
    device_time: str
    fix_time: str
    valid: bool
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
    moments = (repeat(False), moments_ms(fixes.received_us), fixed, fixed, fixes.valid.tolist())
    attributes = map(msgspec.Raw, _attributes(fixes.attributes, marks))
    found = list(map(Position, *_first(fixes), *moments, *_others(fixes, marks, addresses), attributes))
    if formulas is None:
        return found
    return [_computed(one, formulas) if formulas.has(one.device_id) else one for one in found]


def _first(fixes: Fixes) -> Sequence[Iterable[Any]]:
    """The fields before the moments, each for all fixes."""
    return fixes.ids, fixes.device_ids, fixes.protocols


def _others(
    fixes: Fixes, marks: Marks | None, addresses: Sequence[str | None] | None
) -> Sequence[Iterable[Any]]:
    """The fields between the moments and the attributes."""
    return (
        fixes.latitudes.tolist(),
        fixes.longitudes.tolist(),
        numbers(fixes.altitudes_m),
        numbers(fixes.speeds_mps, KNOTS_PER_MPS),
        numbers(fixes.courses_deg),
        repeat(None) if addresses is None else addresses,
        numbers(fixes.accuracies_m),
        map(_network, fixes.networks) if any(fixes.networks) else repeat(None),
        repeat(None) if marks is None else [inside or None for inside in marks.fence_ids],
    )


DAY_MS: Final = 86_400_000
PARTS: Final = [("day", "S10"), ("minute", "S7"), ("second", "S2"), ("rest", "S5")]
TEXT: Final = "S24"


@cache
def _parts() -> tuple[NDArray[np.bytes_], ...]:
    """Of each minute of a day, each second of a minute, each millisecond of a second."""
    minutes = [b"T%02d:%02d:" % divmod(at, 60) for at in range(1440)]
    seconds = [b"%02d" % at for at in range(60)]
    return np.array(minutes), np.array(seconds), np.array([b".%03dZ" % at for at in range(1000)])


def moments_ms(micros: Integers) -> list[str]:
    """ISO 8601 in UTC with milliseconds and ``Z``."""
    if len(micros) < FEW:
        return [
            f"{text}Z" for text in np.datetime_as_string((micros // 1000).astype("datetime64[ms]")).tolist()
        ]
    together: list[str] = _texts(micros).astype("U").tolist()
    return together


def _texts(micros: Integers) -> NDArray[np.bytes_]:
    days, within = np.divmod(micros // 1000, DAY_MS)
    found, at = np.unique(days, return_inverse=True)
    minutes, seconds, milliseconds = _parts()
    parts = np.empty(len(micros), PARTS)
    parts["day"] = np.datetime_as_string(found.astype("datetime64[D]")).astype("S10")[at]
    parts["minute"] = minutes[within // 60_000]
    parts["second"] = seconds[within // 1000 % 60]
    parts["rest"] = milliseconds[within % 1000]
    return parts.view(TEXT)


def numbers(values: Floats, factor: float = 1.0) -> list[float]:
    """To the ten thousandth; what is unknown, or no number of JSON's, is 0."""
    table = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    rounded: list[float] = np.round(table * factor, 4).tolist()
    return rounded


NOTHING: Final = "{}"
OURS: Final = ('"distance":', '"totalDistance":', '"motion":')


def _attributes(said: Sequence[str], marks: Marks | None) -> list[str]:
    """What each tracker said, and what its history says; thousands at once, so they are put together as text."""
    if marks is None:
        return list(said)
    said = _said(said, marks)
    added = list(map(Added, _ways(marks), _hundredths(marks.totals_m), marks.moving.tolist()))
    ours = _encode(added)[2:-1].decode().split(",{") if added else ()
    return [
        f"{{{more}" if one == NOTHING else f"{one[:-1]},{more}" for one, more in zip(said, ours, strict=True)
    ]


def _said(said: Sequence[str], marks: Marks) -> Sequence[str]:
    """What each tracker said, without what its history says better."""
    hours = marks.hours_ms or []
    if any(one is not None for one in hours):
        said = [_with_hours(*one) for one in zip(said, hours, strict=True)]
    together = "".join(said)
    if any(name in together for name in OURS):
        said = [_without_ours(one) for one in said]
    return said


def _ways(marks: Marks) -> Iterable[Any]:
    return repeat(msgspec.UNSET) if marks.distances_m is None else _hundredths(marks.distances_m)


class Added(Struct, gc=False, rename="camel"):
    """What the history says of a fix, beside what its tracker said."""

    distance: float | msgspec.UnsetType
    total_distance: float
    motion: bool


def _hundredths(values: Floats) -> list[float]:
    rounded: list[float] = np.round(values, 2).tolist()
    return rounded


def _with_hours(said: str, hours_ms: int | None) -> str:
    """The engine's time as somebody set it, and as it went on from there."""
    if hours_ms is None:
        return said
    told: dict[str, Any] = msgspec.json.decode(said)
    return _encode({**told, "hours": hours_ms}).decode()


def _without_ours(said: str) -> str:
    """Where a tracker and its history say the same, the history's word stands."""
    told: dict[str, Any] = msgspec.json.decode(said)
    return _encode({name: value for name, value in told.items() if f'"{name}":' not in OURS}).decode()


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
    return b",".join(positions_parts(fixes, marks, formulas, addresses))


def positions_parts(
    fixes: Fixes,
    marks: Marks,
    formulas: Formulas | None = None,
    addresses: Sequence[str | None] | None = None,
) -> Iterator[bytes]:
    """The same in parts, between which commas belong."""
    if formulas is not None and any(map(formulas.has, set(fixes.device_ids))):
        lines: Iterator[Any] = iter(positions_of(fixes, marks, formulas, addresses))
    else:
        lines = iter(_lines(fixes, marks, addresses))
    end = 0
    while few := list(islice(lines, FEW)):
        _encode_into(few, _paper, end)
        if end:
            _paper[end] = COMMA  # where an array ended, and this one began
        end = len(_paper) - 1
        if end >= PART_BYTES:
            yield bytes(memoryview(_paper)[1:end])
            end = 0
    if end:
        yield bytes(memoryview(_paper)[1:end])


class Line(Struct, gc=False, rename="camel"):
    """A ``Position`` as it is written where nothing more is computed of it: by the same names in the same order, but with
    those from ``outdated`` to ``valid`` in one text, for they are as long for each fix. Its attributes' object is still
    open, what the history says follows inside of it, and ``motion`` closes it. So no text is put together for each.
    """

    id: int
    device_id: int
    protocol: str
    outdated: msgspec.Raw
    latitude: float
    longitude: float
    altitude: float
    speed: float
    course: float
    address: str | None
    accuracy: float
    network: msgspec.Raw | None
    geofence_ids: tuple[int, ...] | None
    attributes: msgspec.Raw
    distance: float | msgspec.UnsetType
    total_distance: float
    motion: msgspec.Raw


MOVING: Final = (msgspec.Raw(b"false}"), msgspec.Raw(b"true}"))
BEFORE: Final = (b'false,"serverTime":"', b'","deviceTime":"', b'","fixTime":"', b'","valid":')
MOMENTS: Final = [
    part for at, text in enumerate(BEFORE) for part in ((f"before {at}", f"S{len(text)}"), (f"{at}", TEXT))
]


def _moments(fixes: Fixes) -> Iterable[msgspec.Raw]:
    """From ``outdated`` to ``valid``."""
    table = np.empty(len(fixes), MOMENTS)
    for at, text in enumerate(BEFORE):
        table[f"before {at}"] = text
    table["0"] = _texts(fixes.received_us)
    table["1"] = table["2"] = _texts(fixes.fixed_us)
    table["3"] = np.where(fixes.valid, b"true", b"false")
    return map(msgspec.Raw, table.view(f"S{table.itemsize}").tolist())


def _lines(
    fixes: Fixes, marks: Marks, addresses: Sequence[str | None] | None
) -> Iterable[Position] | Iterable[Line]:
    said = _said(fixes.attributes, marks)
    # of these a comma would follow the brace
    silent = [at for at, one in enumerate(said) if one == NOTHING] if NOTHING in said else []
    if len(silent) == len(said):
        return positions_of(fixes, marks, None, addresses)
    opened = "\n".join(said)[:-1].split("}\n")  # no JSON has a new line within a text
    lines: Iterable[Any] = map(
        Line,
        *_first(fixes),
        _moments(fixes),
        *_others(fixes, marks, addresses),
        map(msgspec.Raw, opened),
        _ways(marks),
        _hundredths(marks.totals_m),
        map(MOVING.__getitem__, marks.moving.tolist()),
    )
    if not silent:
        return lines
    lines = list(lines)
    where = None if addresses is None else [addresses[at] for at in silent]
    whole = positions_of(fixes.taken(silent), marks.taken(silent), None, where)
    for at, one in zip(silent, whole, strict=True):
        lines[at] = one
    return lines


_encoder: Final = msgspec.json.Encoder()
_encode: Final = _encoder.encode
_encode_into: Final = _encoder.encode_into
_paper: Final = (
    bytearray()
)  # what is written is copied from it at once: a buffer that need not grow each time
