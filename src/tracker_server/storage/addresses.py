"""Addresses that a geocoder told, kept so that it is asked once for a place."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection

from tracker_server.storage.database import AWAY, Database, Role

FIND = "SELECT address FROM core.addresses WHERE latitude_e4 = %s AND longitude_e4 = %s AND language = %s"
KEEP = """
INSERT INTO core.addresses (latitude_e4, longitude_e4, language, address) VALUES (%s, %s, %s, %s)
ON CONFLICT (latitude_e4, longitude_e4, language) DO UPDATE SET address = excluded.address, asked_at = now()
"""
KNOWN = """
SELECT DISTINCT ON (latitude_e4, longitude_e4) latitude_e4, longitude_e4, address
FROM core.addresses JOIN unnest(%s::int[], %s::int[]) p (latitude_e4, longitude_e4) USING (latitude_e4, longitude_e4)
WHERE address <> '' ORDER BY latitude_e4, longitude_e4, asked_at DESC
"""
PRUNE = "DELETE FROM core.addresses WHERE asked_at < %s"


class Addresses:
    """See ``AddressCache``. While the database is away nothing is known and nothing is kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, latitude_e4: int, longitude_e4: int, language: str) -> str | None:
        """One that was asked for before."""
        try:
            async with await self._database.connect(Role.CORE) as connection:
                row = await (await connection.execute(FIND, [latitude_e4, longitude_e4, language])).fetchone()
        except AWAY:
            return None
        return row[0] if row else None

    async def keep(self, latitude_e4: int, longitude_e4: int, language: str, address: str) -> None:
        """Remember one."""
        try:
            async with await self._database.connect(Role.CORE) as connection:
                await connection.execute(KEEP, [latitude_e4, longitude_e4, language, address])
        except AWAY:
            return


async def known_addresses(
    connection: AsyncConnection[Any], places: Collection[tuple[int, int]]
) -> dict[tuple[int, int], str]:
    """Of these places, as far as they were asked for before; in the language that was asked for last."""
    rows = await connection.execute(KNOWN, [[one for one, _ in places], [one for _, one in places]])
    return {(latitude, longitude): address for latitude, longitude, address in await rows.fetchall()}


async def forget_addresses(connection: AsyncConnection[Any], before: datetime) -> int:
    """Delete what was asked before a moment; answers how many. Streets get other names."""
    return (await connection.execute(PRUNE, [before])).rowcount
