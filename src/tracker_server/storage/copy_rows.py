"""Rows in PostgreSQL's binary formats, packed by hand: about a tenth of what a driver's row-by-row COPY costs.

Layouts: PostgreSQL manual, COPY §Binary Format, and the types' send functions: timestamptz is microseconds
since 2000-01-01, jsonb a version byte (1) before its text, an array its dimensions before its elements.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, LiteralString

import msgspec
from psycopg.adapt import AdaptersMap, Dumper
from psycopg.pq import Format

from tracker_server.pipeline.batch import PositionRow

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
INT8_OID, INT8_ARRAY_OID = 20, 1016
TIMESTAMPTZ_OID, TIMESTAMPTZ_ARRAY_OID = 1184, 1185

POSITION_COLUMNS: LiteralString = (
    "device_id, fixed_at, received_at, digest, latitude, longitude, valid, altitude_m, speed_mps, course_deg,"
    " accuracy_m, protocol, attributes, network"
)
_FIXED = struct.Struct("!h iq iq iq iq id id i?")
_FLOAT4 = struct.Struct("!if")
FLOAT4_MAX = 3.4e38
_LENGTH = struct.Struct("!i")
_ARRAY = struct.Struct("!iiiii")
_INT8 = struct.Struct("!iq")

_encode = msgspec.json.Encoder(decimal_format="number").encode
_NUL, _INSTEAD = b"\\u0000", b"\\ufffd"


def encode_json(value: Any) -> bytes:
    """JSON as PostgreSQL takes it: it has no NUL, and a device that sends one must not lose its report for that."""
    text = _encode(value)
    return text.replace(_NUL, _INSTEAD) if _NUL in text else text


def json_text(value: Any) -> str:
    """JSON as we store it."""
    return encode_json(value).decode()


def position_bytes(row: PositionRow) -> bytes:
    """One row of ``POSITION_COLUMNS``."""
    fix = row.fix
    measured = fix.altitude_m, fix.speed_mps, fix.course_deg, fix.accuracy_m
    try:
        return _position_bytes(row, *measured)
    except (OverflowError, struct.error):  # more than four bytes hold: nobody measured that
        held = [value if value is not None and abs(value) <= FLOAT4_MAX else None for value in measured]
        return _position_bytes(row, *held)


def _position_bytes(
    row: PositionRow,
    altitude: float | None,
    speed: float | None,
    course: float | None,
    accuracy: float | None,
) -> bytes:
    fix = row.fix
    ticket = row.ticket
    attributes = encode_json(row.attributes)
    protocol = ticket.session.protocol.encode()
    return b"".join(
        (
            _FIXED.pack(
                14, 8, row.tracker.id, 8, row.fixed_us, 8, ticket.received_us, 8, row.digest,
                8, fix.latitude, 8, fix.longitude, 1, fix.valid,
            ),
            NULL if altitude is None else _FLOAT4.pack(4, altitude),
            NULL if speed is None else _FLOAT4.pack(4, speed),
            NULL if course is None else _FLOAT4.pack(4, course),
            NULL if accuracy is None else _FLOAT4.pack(4, accuracy),
            _LENGTH.pack(len(protocol)), protocol,
            _LENGTH.pack(len(attributes) + 1), b"\x01", attributes,
            NULL if row.network is None else _jsonb(encode_json(row.network)),
        )
    )  # fmt: skip


def _jsonb(text: bytes) -> bytes:
    return _LENGTH.pack(len(text) + 1) + b"\x01" + text


def copy_data(rows: Iterable[PositionRow]) -> bytes:
    """A whole COPY … FROM STDIN (FORMAT BINARY) of positions."""
    return b"".join([HEADER, *map(position_bytes, rows), TRAILER])


@lru_cache(maxsize=64)
def _elements(count: int) -> struct.Struct:
    return struct.Struct(f"!{'iq' * count}")


class PackedArray:
    """An array parameter of 8-byte elements (bigint[] or timestamptz[], None as NULL), packed in one go."""

    __slots__ = ("data",)

    element_oid = INT8_OID

    def __init__(self, values: Sequence[int | None]) -> None:
        count = len(values)
        head = _ARRAY.pack(1, 1, self.element_oid, count, 1)
        if None in values:
            self.data = head + b"".join([NULL if value is None else _INT8.pack(8, value) for value in values])
        else:
            pairs: list[Any] = [8] * (2 * count)
            pairs[1::2] = values
            self.data = head + _elements(count).pack(*pairs)


class Bigints(PackedArray):
    """A bigint[]."""

    __slots__ = ()


class Moments(PackedArray):
    """A timestamptz[] of microseconds since 2000-01-01 UTC."""

    __slots__ = ()
    element_oid = TIMESTAMPTZ_OID


class _BigintsDumper(Dumper):
    format = Format.BINARY
    oid = INT8_ARRAY_OID

    def dump(self, obj: PackedArray) -> bytes:
        return obj.data


class _MomentsDumper(_BigintsDumper):
    oid = TIMESTAMPTZ_ARRAY_OID


def register(adapters: AdaptersMap) -> None:
    """Teach a connection these types."""
    adapters.register_dumper(Bigints, _BigintsDumper)
    adapters.register_dumper(Moments, _MomentsDumper)
