"""``tracker-server account``: the customers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.output import Format, write_object, write_rows
from tracker_server.cli.values import line_of_text, recipient_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

Language = Literal["en", "es", "ru"]

ADDRESS_LINES_MAX = 6

app = App(name="account", help="Customers: who owns trackers and pays for them.")


@app.command
def add(  # noqa: PLR0913  (each is a flag)
    name: str,
    /,
    *,
    zone: str | None = None,
    currency: str | None = None,
    tariff: str = "Free",
    email: str = "",
    messenger: str = "",
    phone: str = "",
    language: Language | None = None,
    where: Where = HERE,
) -> None:
    """Add a customer.

    Example: tracker-server account add "Northern Cargo" --zone Europe/Madrid --currency EUR --tariff Free

    Parameters
    ----------
    name
        What the account is called; every account has a name of its own.
    zone
        IANA time zone in which its days begin. Default: the setting billing.zone.
    currency
        ISO 4217 code of its balance. Default: the setting billing.currency.
    tariff
        Name of the tariff that it is on.
    email
        Where its notices of payments and blocks are sent.
    messenger
        Its number or name with the messenger that notices.messenger_url sets up.
    phone
        Where SMS of its alerts go, unless a rule names others.
    language
        What it is written to in: en, es or ru. Default: the setting notices.language.
    """
    from tracker_server.storage.accounts import AccountExistsError, Contact, add_account
    from tracker_server.storage.database import Role

    name = line_of_text("NAME", name, 200)
    loaded = where.load()
    zone = zone if zone is not None else loaded.settings.billing.zone
    currency = currency if currency is not None else loaded.settings.billing.currency
    _check(zone, currency)
    contact = Contact(
        _email(email), _messenger(messenger), language or loaded.settings.notices.language, _phone(phone)
    )

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            try:
                account_id = await add_account(
                    connection,
                    name,
                    zone=zone,
                    currency=currency,
                    tariff_id=await _tariff(connection, tariff, currency),
                    contact=contact,
                )
            except AccountExistsError:
                refused(
                    f"NAME: there is an account named {name!r} already; `tracker-server account show` tells"
                )
        tell(f"account {name!r} added (id {account_id}): {zone}, {currency}, tariff {tariff}")

    run(main)


@app.command(name="set")
def set_(  # noqa: PLR0913  (each is a flag)
    name: str,
    /,
    *,
    email: str | None = None,
    messenger: str | None = None,
    phone: str | None = None,
    language: Language | None = None,
    address: str | None = None,
    country: str | None = None,
    tax_id: str | None = None,
    where: Where = HERE,
) -> None:
    """Change how a customer is written to, and how it stands on invoices. Messages that wait for an old address
    go to the new one; invoices that were issued keep what they say.

    Example: tracker-server account set default --email office@example.com --language es

    Parameters
    ----------
    name
        The account's name.
    email
        Where its notices are sent; an empty text takes the address away.
    messenger
        Its number or name with the messenger; an empty text takes it away.
    phone
        Where SMS of its alerts go; an empty text takes it away.
    language
        What it is written to in: en, es or ru.
    address
        Street and town as on an invoice; a semicolon begins a new line.
    country
        Its two letters (ISO 3166), such as ES. Tax numbers are judged by its rules.
    tax_id
        Its tax number; an empty text takes it away.
    """
    from tracker_server.storage.accounts import set_bearer, set_contact
    from tracker_server.storage.database import Role

    if all(one is None for one in (email, messenger, language, address, country, tax_id)):
        wrong("nothing to change: say --email, --messenger, --language, --address, --country or --tax-id")
    new_email = None if email is None else _email(email)
    new_messenger = None if messenger is None else _messenger(messenger)
    new_phone = None if phone is None else _phone(phone)
    new_country = None if country is None else _country(country)
    new_address = None if address is None else _address(address)
    loaded = where.load()

    async def main() -> None:
        async with (
            database(loaded) as home,
            await home.connect(Role.CORE) as connection,
            connection.transaction(),
        ):
            contact = await set_contact(
                connection,
                name,
                email=new_email,
                messenger=new_messenger,
                language=language,
                phone=new_phone,
            )
            if contact is not None:
                bearer = await set_bearer(connection, name, address=new_address, country=new_country)
                assert bearer is not None, "it is locked"
                if tax_id is not None:
                    await set_bearer(connection, name, tax_id=_tax_id(tax_id, bearer.country))
        if contact is None:
            refused(f"NAME: there is no account named {name!r}; `tracker-server account list` tells them all")
        tell(
            f"account {name!r}: e-mail {contact.email or 'none'}, messenger {contact.messenger or 'none'}, "
            f"phone {contact.phone or 'none'}, language {contact.language}"
        )

    run(main)


def _country(text: str) -> str:
    from tracker_server.model.money import InvalidValueError
    from tracker_server.model.tax_id import country

    try:
        return country(text, "--country") if text else ""
    except InvalidValueError as error:
        wrong(str(error))


def _tax_id(text: str, country: str) -> str:
    from tracker_server.model.money import InvalidValueError
    from tracker_server.model.tax_id import tax_id

    try:
        return tax_id(text, country or None, "--tax-id") if text else ""
    except InvalidValueError as error:
        wrong(str(error))


def _address(text: str) -> str:
    lines = [line.strip() for line in text.replace(";", "\n").splitlines() if line.strip()]
    return "\n".join(line_of_text("--address", line, 200) for line in lines[:ADDRESS_LINES_MAX])


def _email(text: str) -> str:
    return recipient_of("email", "--email", text) if text else ""


def _messenger(text: str) -> str:
    return recipient_of("messenger", "--messenger", text) if text else ""


def _phone(text: str) -> str:
    return recipient_of("sms", "--phone", text) if text else ""


def _check(zone: str, currency: str) -> None:
    from tracker_server.config import ConfigError, check_zone
    from tracker_server.model.money import InvalidValueError
    from tracker_server.model.money import currency as currency_of

    try:
        check_zone("--zone", zone)
        currency_of(currency, "--currency")
    except (ConfigError, InvalidValueError) as error:
        wrong(str(error))


async def _tariff(connection: AsyncConnection[Any], name: str, currency: str) -> int:
    from tracker_server.storage.tariffs import read_tariffs

    tariffs = await read_tariffs(connection)
    tariff = tariffs.get(name)
    if tariff is None:
        refused(f"--tariff: there is no tariff named {name!r}; there are: {', '.join(tariffs)}")
    if tariff.currency != currency and not tariff.free:
        refused(
            f"--tariff: {name} has its price in {tariff.currency}, and the account would be in {currency}; "
            f"choose a tariff in {currency}, or --currency {tariff.currency}"
        )
    return tariff.id


@app.command(name="list")
def list_(*, form: Annotated[Format, Parameter(name="--format")] = "table", where: Where = HERE) -> None:
    """List all customers.

    Example: tracker-server account list --format json

    Parameters
    ----------
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.accounts import COLUMNS, accounts
    from tracker_server.storage.database import Role

    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            await write_rows(accounts(connection), COLUMNS, form)

    run(main)


@app.command
def show(
    name: str, /, *, form: Annotated[Format, Parameter(name="--format")] = "table", where: Where = HERE
) -> None:
    """Show one customer.

    Example: tracker-server account show default

    Parameters
    ----------
    name
        The account's name.
    form
        Lines for people, JSON (one object) or CSV for programs.
    """
    from tracker_server.storage.accounts import accounts
    from tracker_server.storage.database import Role

    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = [row async for row in accounts(connection, name)]
        if not found:
            refused(f"NAME: there is no account named {name!r}; `tracker-server account list` tells them all")
        write_object(found[0], form)

    run(main)
