"""Tariffs' rows: a name, a mode, and versions of prices that are never changed."""

from __future__ import annotations

from datetime import date
from typing import Any

from msgspec import Struct
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from tracker_server.billing.tariffs import Feature, Mode, Price, Tariff

# PostgreSQL's -infinity is no date of Python's; what it stands for, the first version, is date.min
SELECT = """
SELECT t.id, t.name, t.currency, t.mode, t.features, t.history_days, t.fences_max, t.users_max, t.sms_max, t.without,
       array_agg(ROW(CASE WHEN p.since = '-infinity' THEN '0001-01-01' ELSE p.since END, p.monthly_minor, p.sms_minor)
                 ORDER BY p.since)
FROM core.tariffs t JOIN core.tariff_prices p ON p.tariff_id = t.id
GROUP BY t.id ORDER BY t.name
"""


class TariffExistsError(Exception):
    """There is a tariff of that name already."""


class PriceExistsError(Exception):
    """The tariff has a version that begins on that date already."""


class TariffRow(Struct, frozen=True):
    """A tariff and where it is kept."""

    id: int
    currency: str
    tariff: Tariff

    @property
    def free(self) -> bool:
        """Whether it charges nothing, so that it fits any currency."""
        return self.tariff.mode is Mode.FREE


async def read_tariffs(connection: AsyncConnection[Any]) -> dict[str, TariffRow]:
    """All tariffs by name."""
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(SELECT)
        return {row[1]: _tariff(row) for row in await cursor.fetchall()}


def _tariff(row: tuple[Any, ...]) -> TariffRow:
    tariff_id, name, currency, mode, words, history_days, fences_max, users_max, sms_max, without, prices = (
        row
    )
    versions = tuple(Price(since, monthly, sms) for since, monthly, sms in prices)
    features = (frozenset(Feature) - frozenset(without)) | frozenset(words)
    tariff = Tariff(name, Mode(mode), versions, features, history_days, fences_max, users_max, sms_max)
    return TariffRow(tariff_id, currency, tariff)


async def add_tariff(connection: AsyncConnection[Any], tariff: Tariff, currency: str) -> int:
    """A new tariff's id. Of the server's own features it is without those that it does not name. Raises TariffExistsError."""
    async with connection.transaction():
        added = await connection.execute(
            "INSERT INTO core.tariffs (name, currency, mode, features, history_days, fences_max, users_max, sms_max, without)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (name) DO NOTHING RETURNING id",
            [
                tariff.name,
                currency,
                tariff.mode,
                sorted(tariff.features - frozenset(Feature)),
                tariff.history_days,
                tariff.fences_max,
                tariff.users_max,
                tariff.sms_max,
                sorted(frozenset(Feature) - tariff.features),
            ],
        )
        row = await added.fetchone()
        if row is None:
            raise TariffExistsError(tariff.name)
        for price in tariff.prices:
            await add_price(connection, row[0], price)
        return row[0]


async def add_price(connection: AsyncConnection[Any], tariff_id: int, price: Price) -> None:
    """One version more. Raises PriceExistsError where that date has one."""
    since: object = "-infinity" if price.since == date.min else price.since
    try:
        async with connection.transaction():
            await connection.execute(
                "INSERT INTO core.tariff_prices (tariff_id, since, monthly_minor, sms_minor) VALUES (%s, %s::date, %s, %s)",
                [tariff_id, str(since), price.monthly_minor, price.sms_minor],
            )
    except UniqueViolation as error:
        raise PriceExistsError(price.since) from error


async def settled_through(connection: AsyncConnection[Any], tariff_id: int, first_zone: str) -> date:
    """The latest local date that has begun for anybody: now in ``first_zone``, or where an account on the tariff
    is settled ahead of time.
    """
    row = await (
        await connection.execute(
            "SELECT greatest((now() AT TIME ZONE %s)::date, max(b.settled_to AT TIME ZONE a.zone)::date)"
            " FROM core.billing b JOIN core.accounts a ON a.id = b.account_id WHERE a.tariff_id = %s",
            [first_zone, tariff_id],
        )
    ).fetchone()
    assert row is not None
    return row[0]


async def accounts_by_tariff(connection: AsyncConnection[Any]) -> dict[int, int]:
    """How many accounts are on each tariff, by its id; those with none are left out."""
    rows = await connection.execute("SELECT tariff_id, count(*) FROM core.accounts GROUP BY tariff_id")
    return dict(await rows.fetchall())
