"""The floor: the same rows by raw binary COPY into a table of the same shape, in the same database.

Nothing that stores these rows with this key in this database can be faster by much; so what we cost is
told as a multiple of it.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg
from msgspec import Struct
from processes import Server

from tracker_server.storage.copy_rows import POSITION_COLUMNS

ROWS_IN_COPY = 5_000  # one transaction each, as the server's batches are at most

COPY_IN = f"COPY floor.positions ({POSITION_COLUMNS}) FROM STDIN (FORMAT BINARY)".encode()
MAKE = """
DROP SCHEMA IF EXISTS floor CASCADE;
CREATE SCHEMA floor;
CREATE TABLE floor.positions (LIKE core.positions INCLUDING ALL) PARTITION BY RANGE (fixed_at);
DO $$
DECLARE
    part record;
BEGIN
    FOR part IN
        SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'core.positions'::regclass
    LOOP
        EXECUTE format('CREATE TABLE floor.%I PARTITION OF floor.positions %s', part.relname, part.bound);
    END LOOP;
END $$;
"""
NUMBER = f"""
CREATE TEMPORARY TABLE numbered AS
SELECT row_number() OVER (ORDER BY stored_at, id) AS number, {POSITION_COLUMNS}
FROM (SELECT * FROM core.positions ORDER BY stored_at DESC, id DESC LIMIT %s) newest
""".encode()


class Floor(Struct):
    """What the raw COPY of some rows took: wall seconds, and CPU seconds of database and client together."""

    rows: int
    wall_s: float
    cpu_s: float

    @property
    def rows_per_s(self) -> float:
        """Rows a second, one connection."""
        return self.rows / self.wall_s

    @property
    def cpu_s_per_1000(self) -> float:
        """CPU seconds for 1,000 rows."""
        return self.cpu_s / self.rows * 1_000


def count(server: Server) -> int:
    """How many fixes are stored."""
    with psycopg.connect(server.dsn) as connection:
        row = connection.execute("SELECT count(*) FROM core.positions").fetchone()
    assert row is not None
    return int(row[0])


def measure(server: Server, newest: int) -> Floor:
    """Copy the ``newest`` stored rows once more. They are read out before the clock starts."""
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        connection.execute(MAKE)
        pieces = read(connection, newest)
        connection.execute("CHECKPOINT")
        cpu = server.database_cpu_s() + time.process_time()
        begun = time.perf_counter()
        with connection.cursor() as cursor:
            for piece in pieces:
                with cursor.copy(
                    f"COPY floor.positions ({POSITION_COLUMNS}) FROM STDIN (FORMAT BINARY)"
                ) as copy:
                    copy.write(piece)
        wall_s = time.perf_counter() - begun
        cpu_s = server.database_cpu_s() + time.process_time() - cpu
        row = connection.execute("SELECT count(*) FROM floor.positions").fetchone()
        connection.execute("DROP SCHEMA floor CASCADE")
    if row != (newest,):
        raise RuntimeError(f"{row} rows were copied of {newest}")
    return Floor(newest, wall_s, cpu_s)


def read(connection: psycopg.Connection[Any], newest: int) -> list[bytes]:
    """The rows in the order in which they were stored, each piece a whole binary COPY."""
    connection.execute(NUMBER, [newest])
    connection.execute("CREATE INDEX ON numbered (number)")
    pieces: list[bytes] = []
    for first in range(1, newest + 1, ROWS_IN_COPY):
        wanted = f"SELECT {POSITION_COLUMNS} FROM numbered WHERE number >= {first} ORDER BY number LIMIT {ROWS_IN_COPY}"
        with connection.cursor().copy(f"COPY ({wanted}) TO STDOUT (FORMAT BINARY)".encode()) as copy:
            pieces.append(b"".join(bytes(block) for block in copy))
    connection.execute("DROP TABLE numbered")
    return pieces
