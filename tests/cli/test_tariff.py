"""Tariffs: named once, priced in versions that begin on dates which have begun nowhere."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.terminal import Terminal

STD = ("tariff", "add", "Std", "--mode", "balance", "--currency", "RUB", "--monthly", "310.00")


def test_a_tariff_is_added_with_all_that_is_said(terminal: Terminal) -> None:
    said = terminal.ok(
        *STD, "--sms", "5.00", "--history-days", "30", "--feature", "fences", "--feature", "sms"
    )
    assert "tariff 'Std' added (id " in said
    assert "balance, 310.00 RUB a month, SMS 5.00 RUB" in said
    std = next(row for row in terminal.json("tariff", "list") if row["name"] == "Std")
    assert (std["mode"], std["monthly"], std["sms"], std["currency"]) == ("balance", "310.00", "5.00", "RUB")
    assert (std["history_days"], std["features"], std["accounts"]) == (30, ["fences", "sms"], 0)
    assert std["prices"] == [{"since": None, "monthly": "310.00", "sms": "5.00", "currency": "RUB"}]


def test_r66_limits_are_held_at_the_commands_and_told(terminal: Terminal) -> None:
    """And what is there stays under a tariff that allows less."""
    basic = ("tariff", "add", "Basic", "--mode", "balance", "--currency", "EUR", "--monthly", "1.00")
    terminal.ok(*basic, "--fences-max", "1", "--users-max", "1", "--sms-max", "0", "--without", "sensors")
    row = next(row for row in terminal.json("tariff", "list") if row["name"] == "Basic")
    assert (row["fences_max"], row["users_max"], row["sms_max"]) == (1, 1, 0)
    assert (row["without"], row["features"]) == (["sensors"], [])
    terminal.ok("account", "add", "A", "--tariff", "Free", "--currency", "EUR")
    fence = ("fence", "add", "--account", "A", "--circle", "52.5,13.4,100")
    for name in ("one", "two"):
        terminal.ok(*fence, name)
        terminal.ok("user", "add", f"{name}@example.org", "--account", "A", "--role", "owner")
    terminal.ok("billing", "switch", "A", "Basic")
    said = terminal.refused(*fence, "three")
    assert (
        "the tariff 'Basic' allows 1 fences, and the account has 2; remove one, or change to a tariff" in said
    )
    said = terminal.refused("user", "add", "three@example.org", "--account", "A", "--role", "viewer")
    assert "the tariff 'Basic' allows 1 people, and the account has 2" in said
    assert len(terminal.json("fence", "list")) == 2
    terminal.ok("billing", "switch", "A", "Free")
    terminal.ok(*fence, "three")


def test_amounts_have_their_currencys_decimals(terminal: Terminal) -> None:
    terminal.ok("tariff", "add", "CL", "--mode", "term", "--currency", "CLP", "--monthly", "9990")
    terminal.ok("tariff", "add", "KW", "--mode", "term", "--currency", "KWD", "--monthly", "3.1")
    prices = {row["name"]: row["monthly"] for row in terminal.json("tariff", "list")}
    assert prices == {"CL": "9990", "KW": "3.100", "Free": "0.00"}
    rows = csv.DictReader(io.StringIO(terminal.ok("tariff", "list", "--format", "csv")))
    assert {row["name"]: row["monthly"] for row in rows} == prices
    assert "9990" in terminal.ok("tariff", "list")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--monthly", "1.001", "--currency", "EUR"), "--monthly: '1.001' has 3 decimals, but EUR has 2"),
        (("--monthly", "-1", "--currency", "EUR"), "--monthly: '-1' is below zero"),
        (("--monthly", "ten", "--currency", "EUR"), "--monthly: 'ten' is not an amount"),
        (("--monthly", "1", "--currency", "EURO"), "--currency: 'EURO' is not an ISO 4217 currency"),
        (("--monthly", "0", "--currency", "EUR"), "--monthly: a tariff in mode balance has a price above 0"),
        (("--monthly", "1", "--sms", "x"), "--sms: 'x' is not an amount"),
        (("--monthly", "1", "--history-days", "0"), "--history-days: '0' is no number of days"),
        (("--monthly", "1", "--feature", " "), "--feature: is empty"),
        (("--monthly", "1", "--fences-max", "-1"), "--fences-max: '-1' is no number of fences"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_flag(
    terminal: Terminal, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in terminal.wrong("tariff", "add", "T", "--mode", "balance", *arguments)
    assert [row["name"] for row in terminal.json("tariff", "list")] == ["Free"]


def test_free_is_free(terminal: Terminal) -> None:
    assert "--monthly: a free tariff costs nothing" in terminal.wrong(
        "tariff", "add", "T", "--mode", "free", "--monthly", "1"
    )
    terminal.ok("tariff", "add", "T", "--mode", "free")
    assert "it sends no SMS" in terminal.ok("tariff", "add", "U", "--mode", "free", "--sms", "5")
    assert "NAME: tariff 'T' is free and stays so" in terminal.refused(
        "tariff", "price", "T", "--monthly", "1", "--from", "2099-01-01"
    )


def test_a_name_is_taken_once(terminal: Terminal) -> None:
    terminal.ok(*STD)
    assert "NAME: there is a tariff named 'Std' already" in terminal.refused(*STD)


def test_a_new_price_begins_on_a_date_that_has_begun_nowhere(terminal: Terminal) -> None:
    """R7: what is charged keeps its price. A date begins first at UTC+14."""
    terminal.ok(*STD, "--sms", "5.00")
    first = datetime.now(UTC) + timedelta(hours=14)
    for day in (first.date(), first.date() - timedelta(days=1)):
        said = terminal.refused("tariff", "price", "Std", "--monthly", "330.00", "--from", str(day))
        assert f"--from: {day} has begun already somewhere" in said
    day = str(first.date() + timedelta(days=2))
    said = terminal.ok("tariff", "price", "Std", "--monthly", "330.00", "--from", day)
    assert f"tariff 'Std' from {day} on: balance, 330.00 RUB a month, SMS 5.00 RUB" in said
    assert "has a price from" in terminal.refused("tariff", "price", "Std", "--monthly", "340", "--from", day)
    std = next(row for row in terminal.json("tariff", "list") if row["name"] == "Std")
    assert std["monthly"] == "310.00"
    assert [price["monthly"] for price in std["prices"]] == ["310.00", "330.00"]
    assert f"330.00 from {day}" in terminal.ok("tariff", "list")


def test_a_price_of_no_tariff_or_of_no_date(terminal: Terminal) -> None:
    terminal.ok(*STD)
    said = terminal.refused("tariff", "price", "std", "--monthly", "1", "--from", "2099-01-01")
    assert "NAME: there is no tariff named 'std'; did you mean 'Std'?" in said
    assert "--from: 'soon' is no date; write one such as" in terminal.wrong(
        "tariff", "price", "Std", "--monthly", "1", "--from", "soon"
    )
    assert "--monthly: a tariff in mode balance has a price above 0" in terminal.wrong(
        "tariff", "price", "Std", "--monthly", "0", "--from", "2099-01-01"
    )
