"""Customers are added with what is checked, and told in three formats."""

from __future__ import annotations

import csv
import io

from tests.cli.terminal import Terminal, parts
from tests.storage.rows import query


def test_an_account_has_a_zone_a_currency_and_a_tariff(terminal: Terminal) -> None:
    terminal.ok("account", "add", "Northern Cargo", "--zone", "Europe/Madrid", "--currency", "USD")
    found = terminal.json("account", "list")
    assert [row["name"] for row in found] == ["Northern Cargo", "default"]
    cargo = found[0]
    assert (cargo["zone"], cargo["currency"], cargo["tariff"]) == ("Europe/Madrid", "USD", "Free")
    assert cargo["trackers"] == 0
    assert cargo["created_at"].endswith("Z")


def test_zone_and_currency_come_from_the_settings_where_none_is_named(terminal: Terminal) -> None:
    terminal.set(billing__zone="America/Santiago", billing__currency="CLP")
    terminal.ok("account", "add", "Sur")
    sur = terminal.json("account", "show", "Sur")
    assert (sur["zone"], sur["currency"]) == ("America/Santiago", "CLP")


def test_trackers_are_counted_without_the_removed(terminal: Terminal) -> None:
    for unique_id in ("1", "2", "3"):
        terminal.ok("device", "add", unique_id)
    terminal.ok("device", "remove", "2")
    assert terminal.json("account", "show", "default")["trackers"] == 2


def test_three_formats(terminal: Terminal) -> None:
    assert "default" in terminal.ok("account", "list")
    (row,) = csv.DictReader(io.StringIO(terminal.ok("account", "list", "--format", "csv")))
    assert (row["name"], row["currency"], row["trackers"]) == ("default", "EUR", "0")
    assert parts(terminal.ok("account", "show", "default"))["tariff"] == "Free"
    (row,) = csv.DictReader(io.StringIO(terminal.ok("account", "show", "default", "--format", "csv")))
    assert row["zone"] == "UTC"


def test_a_name_is_taken_once(terminal: Terminal) -> None:
    assert "NAME: there is an account named 'default' already" in terminal.refused(
        "account", "add", "default"
    )


def test_what_cannot_be_meant_is_refused_by_its_flag(terminal: Terminal) -> None:
    assert "NAME: is empty" in terminal.wrong("account", "add", "  ")
    assert "NAME: has 201 characters" in terminal.wrong("account", "add", "x" * 201)
    assert "NAME: 'a\\nb' holds line breaks" in terminal.wrong("account", "add", "a\nb")
    assert "--zone: 'Mars' is no IANA time zone" in terminal.wrong("account", "add", "A", "--zone", "Mars")
    assert "--currency: 'eur' is not an ISO 4217" in terminal.wrong(
        "account", "add", "A", "--currency", "eur"
    )
    assert "--format" in terminal.wrong("account", "list", "--format", "xml")
    assert "NAME" in terminal.wrong("account", "add")


def test_tariffs_are_known_and_in_the_accounts_currency(terminal: Terminal) -> None:
    said = terminal.refused("account", "add", "A", "--tariff", "Gold")
    assert "--tariff: there is no tariff named 'Gold'; there are: Free" in said
    query(terminal.dsn, "INSERT INTO core.tariffs (name, currency, mode) VALUES ('Std', 'RUB', 'balance')")
    query(
        terminal.dsn,
        "INSERT INTO core.tariff_prices (tariff_id, since, monthly_minor)"
        " SELECT id, '-infinity', 31000 FROM core.tariffs WHERE name = 'Std'",
    )
    said = terminal.refused("account", "add", "A", "--tariff", "Std", "--currency", "EUR")
    assert "--tariff: Std has its price in RUB, and the account would be in EUR" in said
    terminal.ok("account", "add", "A", "--tariff", "Std", "--currency", "RUB")
    terminal.ok("account", "add", "B", "--tariff", "Free", "--currency", "RUB")


def test_an_account_that_is_not_there(terminal: Terminal) -> None:
    said = terminal.refused("account", "show", "Nobody")
    assert "NAME: there is no account named 'Nobody'; `tracker-server account list` tells them all" in said
