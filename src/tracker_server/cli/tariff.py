"""``tracker-server tariff``: what a tracker costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.money_values import amount_of, count_of, currency_of, date_of, written
from tracker_server.cli.output import Format, each, write_rows
from tracker_server.cli.values import NAME_CHARACTERS_MAX, line_of_text

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tracker_server.storage.tariffs import TariffRow

app = App(name="tariff", help="Tariffs: what a tracker costs, and from when on.")

COLUMNS = (
    "id", "name", "mode", "currency", "monthly", "sms", "history_days", "fences_max", "users_max", "sms_max", "features", "without", "accounts",
    "prices",
)  # fmt: skip
TABLE_COLUMNS = (
    "name",
    "mode",
    "monthly",
    "sms",
    "currency",
    "history_days",
    "fences_max",
    "users_max",
    "sms_max",
    "features",
    "accounts",
    "next",
)
HISTORY_DAYS_MAX = 36_500
FEATURE_CHARACTERS_MAX = 60
LIMIT_MAX = 1_000_000  # beyond it none is meant
FIRST_ZONE = "Pacific/Kiritimati"  # where a date begins first on earth: UTC+14


@app.command
def add(  # noqa: PLR0913 - a flag for each property
    name: str,
    /,
    *,
    mode: Literal["balance", "term", "free"],
    monthly: Annotated[str, Parameter(allow_leading_hyphen=True)] = "0",
    currency: str | None = None,
    sms: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    history_days: str | None = None,
    fences_max: str | None = None,
    users_max: str | None = None,
    sms_max: str | None = None,
    without: Annotated[list[Literal["sensors", "trips"]] | None, Parameter(negative="")] = None,
    feature: Annotated[list[str] | None, Parameter(negative="")] = None,
    where: Where = HERE,
) -> None:
    """Add a tariff.

    balance: a connection fee of a month's price, 31 days, then a share of the month's price each day. term:
    whole months in advance. free: nothing, ever.

    Example: tracker-server tariff add Std --mode balance --currency RUB --monthly 310.00 --sms 5.00

    Parameters
    ----------
    name
        What it is called; every tariff has a name of its own.
    mode
        How it charges.
    monthly
        The price of a tracker for a month, such as 310.00.
    currency
        ISO 4217 code. Default: the setting billing.currency.
    sms
        The price of an SMS. Default: SMS is not offered, and an e-mail goes out instead.
    history_days
        How many days back its customers see. Default: all.
    fences_max
        How many geofences an account may have. Default: no limit.
    users_max
        How many people an account may have, disabled ones counted. Default: no limit.
    sms_max
        How many SMS go out in a calendar month; beyond it e-mails do. Default: no limit.
    without
        What it leaves out: sensors (the values that come with a fix), or trips (and stops); may be given again.
    feature
        What it brings besides, by a word of yours; may be given again.
    """
    from tracker_server.billing.tariffs import Feature, Mode, Price, Tariff
    from tracker_server.storage.database import Role
    from tracker_server.storage.tariffs import TariffExistsError, add_tariff

    name = line_of_text("NAME", name, NAME_CHARACTERS_MAX)
    loaded = where.load()
    code = loaded.settings.billing.currency if currency is None else currency_of("--currency", currency)
    words = frozenset(line_of_text("--feature", one, FEATURE_CHARACTERS_MAX) for one in feature or ())
    tariff = Tariff(
        name,
        Mode(mode),
        (Price(date.min, _monthly(mode, monthly, code), _sms(sms, code)),),
        (frozenset(Feature) - frozenset(without or ())) | words - frozenset(Feature),
        None if history_days is None else count_of("--history-days", history_days, HISTORY_DAYS_MAX, "days"),
        _limit("--fences-max", fences_max, "fences"),
        _limit("--users-max", users_max, "people"),
        _limit("--sms-max", sms_max, "SMS"),
    )

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            try:
                tariff_id = await add_tariff(connection, tariff, code)
            except TariffExistsError:
                refused(
                    f"NAME: there is a tariff named {name!r} already; `tracker-server tariff price` gives it a "
                    "new price from a date on"
                )
        tell(f"tariff {name!r} added (id {tariff_id}): {_price_words(tariff.prices[0], code, mode)}")
        if mode == "free" and sms is not None:
            tell("a free tariff charges nothing, so it sends no SMS whatever they cost: alerts go by e-mail")

    run(main)


def _limit(flag: str, given: str | None, of: str) -> int | None:
    return None if given is None else 0 if given == "0" else count_of(flag, given, LIMIT_MAX, of)


def _monthly(mode: str, monthly: str, code: str) -> int:
    amount_minor = amount_of("--monthly", monthly, code)
    if mode == "free" and amount_minor:
        wrong(f"--monthly: a free tariff costs nothing, and {monthly} was given; choose another --mode, or 0")
    if mode != "free" and not amount_minor:
        wrong(f"--monthly: a tariff in mode {mode} has a price above 0; name it, or choose --mode free")
    return amount_minor


def _sms(sms: str | None, code: str) -> int | None:
    return None if sms is None else amount_of("--sms", sms, code)


def _price_words(price: Any, code: str, mode: str) -> str:
    sms = "no SMS" if price.sms_minor is None else f"SMS {written(price.sms_minor, code)}"
    return f"{mode}, {written(price.monthly_minor, code)} a month, {sms}"


@app.command
def price(
    name: str,
    /,
    *,
    monthly: Annotated[str, Parameter(allow_leading_hyphen=True)],
    since: Annotated[str, Parameter(name="--from")],
    sms: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    where: Where = HERE,
) -> None:
    """Give a tariff a new price from a date on. What was charged before keeps its price.

    Example: tracker-server tariff price Std --monthly 330.00 --from 2027-03-01

    Parameters
    ----------
    name
        The tariff's name.
    monthly
        The price of a tracker for a month, in the tariff's currency.
    since
        The first date, in each account's own zone. It must not have begun anywhere.
    sms
        The price of an SMS. Default: as it is.
    """
    from tracker_server.billing.tariffs import Price
    from tracker_server.storage.database import Role
    from tracker_server.storage.tariffs import PriceExistsError, add_price, settled_through

    day = date_of("--from", since)
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            tariff = await _find(connection, name)
            if tariff.free:
                refused(f"NAME: tariff {name!r} is free and stays so; add another with a price")
            begun = await settled_through(connection, tariff.id, FIRST_ZONE)
            if day <= begun:
                refused(
                    f"--from: {day} has begun already somewhere (the latest date that has is {begun}), and what is "
                    "charged keeps its price; name a later date"
                )
            sms_minor = tariff.tariff.price_on(day).sms_minor if sms is None else _sms(sms, tariff.currency)
            new = Price(day, _monthly(tariff.tariff.mode, monthly, tariff.currency), sms_minor)
            try:
                await add_price(connection, tariff.id, new)
            except PriceExistsError:
                refused(
                    f"--from: tariff {name!r} has a price from {day} on already, and prices are never changed; "
                    "name another date"
                )
        tell(f"tariff {name!r} from {day} on: {_price_words(new, tariff.currency, tariff.tariff.mode)}")

    run(main)


async def _find(connection: AsyncConnection[Any], name: str) -> TariffRow:
    from difflib import get_close_matches

    from tracker_server.storage.tariffs import read_tariffs

    known = await read_tariffs(connection)
    if name not in known:
        near = get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else "`tracker-server tariff list` tells them all"
        refused(f"NAME: there is no tariff named {name!r}; {hint}")
    return known[name]


@app.command(name="list")
def list_(*, form: Annotated[Format, Parameter(name="--format")] = "table", where: Where = HERE) -> None:
    """List the tariffs: the price in force today (UTC), and in JSON and CSV all versions.

    Example: tracker-server tariff list --format json

    Parameters
    ----------
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.tariffs import accounts_by_tariff, read_tariffs

    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            tariffs = await read_tariffs(connection)
            counts = await accounts_by_tariff(connection)
        today = datetime.now(UTC).date()
        rows = _rows(list(tariffs.values()), counts, today)
        await write_rows(each(rows), COLUMNS, form, TABLE_COLUMNS)

    run(main)


def _rows(tariffs: list[TariffRow], counts: dict[int, int], today: date) -> Iterator[dict[str, Any]]:
    from tracker_server.billing.tariffs import Feature
    from tracker_server.model.money import currency, format_minor

    for row in tariffs:
        unit, tariff = currency(row.currency), row.tariff
        now = tariff.price_on(today)
        later = [one for one in tariff.prices if one.since > today]
        following = f"{format_minor(later[0].monthly_minor, unit)} from {later[0].since}" if later else None
        yield {
            "id": row.id,
            "name": tariff.name,
            "mode": tariff.mode.value,
            "currency": unit.code,
            "monthly": format_minor(now.monthly_minor, unit),
            "sms": None if now.sms_minor is None else format_minor(now.sms_minor, unit),
            "history_days": tariff.history_days,
            "fences_max": tariff.fences_max,
            "users_max": tariff.users_max,
            "sms_max": tariff.sms_max,
            "features": sorted(tariff.features - frozenset(Feature)),
            "without": sorted(frozenset(Feature) - tariff.features),
            "accounts": counts.get(row.id, 0),
            "next": following,
            "prices": [
                {
                    "since": None if one.since == date.min else one.since.isoformat(),
                    "monthly": format_minor(one.monthly_minor, unit),
                    "sms": None if one.sms_minor is None else format_minor(one.sms_minor, unit),
                    "currency": unit.code,
                }
                for one in tariff.prices
            ],
        }
