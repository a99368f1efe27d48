"""The least server that stores and then answers: what of our cost is this language, this loop and this database.

It reads frames of one protocol without checking them, packs rows, writes each batch by one COPY and one statement for the
devices' newest in one transaction, and answers after the commit. It knows no duplicate, no late fix, no quarantine, no
trip, no fence and no fee, and must never be used for anything else. Run by ``ingest.py``:
``python benchmarks/prototype.py gt06 DSN`` prints the port that it listens on. Its rows go where the floor's go.
"""

from __future__ import annotations

import asyncio
import struct
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

import floor
import psycopg
import uvloop
from msgspec import Struct
from processes import Server, cpu_s_of, simulate

from tracker_server.storage.copy_rows import HEADER, NULL, TRAILER, Bigints, Moments, encode_json, register

COPY_IN = (
    b"COPY floor.positions (device_id, fixed_at, received_at, digest, latitude, longitude, valid, altitude_m, speed_mps,"
    b" course_deg, accuracy_m, protocol, attributes, network) FROM STDIN (FORMAT BINARY)"
)
NEWEST = """
INSERT INTO floor.newest (device_id, fixed_at) SELECT * FROM unnest(%s, %s)
ON CONFLICT (device_id) DO UPDATE SET fixed_at = greatest(newest.fixed_at, excluded.fixed_at)
"""
MAKE = "CREATE TABLE IF NOT EXISTS floor.newest (device_id bigint PRIMARY KEY, fixed_at timestamptz) WITH (fillfactor = 50)"

EPOCH_2000_S = 946_684_800
ROW = struct.Struct("!h iq iq iq iq id id i? if if if")
SIZE = struct.Struct("!i")
RECORD = struct.Struct("!QBiihHBH")
GT06_PLACE = struct.Struct("!IIBH")

Row = tuple[int, int, float, float, bool, float, float, float, dict[str, object]]
"""Device, microseconds since 2000, latitude, longitude, valid, altitude, speed, course, attributes."""


def packed(rows: list[Row], protocol: bytes, received_us: int) -> bytes:
    """A whole binary COPY."""
    pieces = [HEADER]
    for number, (device, at_us, latitude, longitude, valid, altitude, speed, course, said) in enumerate(rows):
        attributes = encode_json(said)
        pieces += (
            ROW.pack(
                14, 8, device, 8, at_us, 8, received_us, 8, number, 8, latitude, 8, longitude, 1, valid,
                4, altitude, 4, speed, 4, course,
            ),
            NULL, SIZE.pack(len(protocol)), protocol, SIZE.pack(len(attributes) + 1), b"\x01", attributes, NULL,
        )  # fmt: skip
    pieces.append(TRAILER)
    return b"".join(pieces)


class Prototype:
    """The writer, and what waits for it."""

    def __init__(self, connection: psycopg.AsyncConnection, protocol: str, ids: dict[str, int]) -> None:
        self.connection, self.protocol, self.ids = connection, protocol.encode(), ids
        self.rows: list[Row] = []
        self.owed: list[tuple[asyncio.WriteTransport, bytes]] = []
        self.wake = asyncio.Event()

    async def write(self) -> None:
        """Commit, answer, again."""
        while await self.wake.wait():
            self.wake.clear()
            while self.owed:
                rows, owed = self.rows, self.owed
                self.rows, self.owed = [], []
                await self._commit(rows)
                for transport, answer in owed:
                    transport.write(answer)

    async def _commit(self, rows: list[Row]) -> None:
        now_us = int((datetime.now(UTC).timestamp() - EPOCH_2000_S) * 1e6)
        newest = {row[0]: row[1] for row in rows}
        async with self.connection.transaction(), self.connection.cursor() as cursor:
            async with cursor.copy(COPY_IN) as copy:
                await copy.write(packed(rows, self.protocol, now_us))
            await cursor.execute(NEWEST, [Bigints(list(newest)), Moments(list(newest.values()))])


class Reader(asyncio.Protocol):
    """One device's connection."""

    def __init__(self, prototype: Prototype) -> None:
        self.prototype, self.buffer, self.device = prototype, b"", 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self.transport = cast("asyncio.WriteTransport", transport)

    def answer(self, text: bytes) -> None:
        """After the commit of what was read so far."""
        self.prototype.owed.append((self.transport, text))
        self.prototype.wake.set()


class Gt06(Reader):
    """Login 0x01, location 0x22 and heartbeat 0x13."""

    def data_received(self, data: bytes) -> None:
        """Take whole frames."""
        data = self.buffer + data
        while len(data) > 5 and len(data) >= data[2] + 5:
            end = data[2] + 5
            frame, data = data[:end], data[end:]
            kind = frame[3]
            if kind == 1:
                self.device = self.prototype.ids[frame[4:12].hex()[1:]]
            elif kind == 0x22:
                self.prototype.rows.append(self.place(frame))
            content = b"\x05" + frame[3:4] + frame[-6:-4]
            self.answer(b"xx" + content + crc(content).to_bytes(2, "big") + b"\r\n")
        self.buffer = data

    def place(self, frame: bytes) -> Row:
        """Content of a location frame."""
        year, month, day, hour, minute, second, satellites = frame[4:11]
        latitude, longitude, speed, flags = GT06_PLACE.unpack_from(frame, 11)
        at = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
        said: dict[str, object] = {"sat": satellites & 15, "ignition": bool(frame[30]), "serial": frame[-5]}
        return (
            self.device, int(at - EPOCH_2000_S) * 1_000_000,
            latitude / 1.8e6 * (1 if flags & 0x400 else -1), longitude / 1.8e6 * (-1 if flags & 0x800 else 1),
            bool(flags & 0x1000), 0.0, speed / 3.6, float(flags & 0x3FF), said,
        )  # fmt: skip


class Teltonika(Reader):
    """Login by IMEI, codec 8 without elements of variable length."""

    def data_received(self, data: bytes) -> None:
        """Take whole packets."""
        data = self.buffer + data
        while data:
            if not self.device and data[0] == 0 and len(data) >= 17:
                self.device = self.prototype.ids[data[2:17].decode()]
                self.answer(b"\x01")
                data = data[17:]
            elif data[0] == 0xFF:
                data = data[1:]
            elif len(data) >= 8 and len(data) >= (end := 12 + int.from_bytes(data[4:8], "big")):
                self.packet(data[:end])
                data = data[end:]
            else:
                break
        self.buffer = data

    def packet(self, data: bytes) -> None:
        """Its records into rows."""
        count, at = data[9], 10
        rows = self.prototype.rows
        for _ in range(count):
            milliseconds, _, longitude, latitude, altitude, course, satellites, speed = RECORD.unpack_from(
                data, at
            )
            at += 26
            said: dict[str, object] = {"sat": satellites}
            for width in (1, 2, 4, 8):
                at += 1
                for _ in range(data[at - 1]):
                    said[NAMES.get(data[at], "other")] = int.from_bytes(data[at + 1 : at + 1 + width], "big")
                    at += 1 + width
            rows.append(
                (
                    self.device, (milliseconds - EPOCH_2000_S * 1000) * 1000, latitude / 1e7, longitude / 1e7,
                    satellites > 0, float(altitude), speed / 3.6, float(course), said,
                )
            )  # fmt: skip
        self.answer(count.to_bytes(4, "big"))


NAMES = {
    239: "ignition",
    240: "motion",
    21: "rssi",
    66: "power",
    67: "battery",
    16: "odometer",
    182: "hdop",
    113: "batteryLevel",
}
READERS: dict[str, Callable[[Prototype], Reader]] = {"gt06": Gt06, "teltonika": Teltonika}


def crc(content: bytes) -> int:
    """CRC-16/X-25 by table."""
    value = 0xFFFF
    for byte in content:
        value = (value >> 8) ^ TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFF


def _entry(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (0x8408 if value & 1 else 0)
    return value


TABLE = [_entry(byte) for byte in range(256)]


class Least(Struct):
    """What it did with the same fleet: fixes a second, and CPU seconds of it and the database for 1,000 fixes."""

    fixes_per_s: float
    cpu_s_per_1000: float


def measure(server: Server, protocol: str, fixes: int, *flags: str) -> Least:
    """Let the fleet of these flags report to it, beside the server whose devices and database it uses. Raises RuntimeError
    when an answer was wrong, or a row is missing.
    """
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(floor.MAKE)
        arguments = [sys.executable, __file__, protocol, server.dsn]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                port = int(process.stdout.readline())
                cpu_s = cpu_s_of(process.pid) + server.database_cpu_s()
                done = simulate(server, protocol, *flags, port=port)
                cpu_s = cpu_s_of(process.pid) + server.database_cpu_s() - cpu_s
            finally:
                process.kill()
        row = connection.execute("SELECT count(*) FROM floor.positions").fetchone()
        connection.execute("DROP SCHEMA floor CASCADE")
    if row != (fixes,):
        raise RuntimeError(f"{row} rows were stored of {fixes}")
    return Least(done.report["answered_per_s"], cpu_s / fixes * 1_000)


async def main(protocol: str, dsn: str) -> None:
    """Serve until killed."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        register(connection.adapters)
        await connection.execute(MAKE)
        found = await connection.execute("SELECT unique_id, id FROM core.devices")
        prototype = Prototype(connection, protocol, dict(await found.fetchall()))
        listening = await asyncio.get_running_loop().create_server(
            lambda: READERS[protocol](prototype), "127.0.0.1", 0
        )
        print(listening.sockets[0].getsockname()[1], flush=True)
        await prototype.write()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
