"""Money on the command line: what moves it, what is refused and in which words, what is told of it."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.terminal import Terminal
from tests.storage.rows import query
from tracker_server.billing.reasons import Reason
from tracker_server.cli.billing_words import REFUSALS

TARIFFS = (
    ("Std", "balance", "310.00", "--sms", "5.00"),
    ("Term", "term", "310.00"),
)


@pytest.fixture
def money(terminal: Terminal) -> Terminal:
    """Account ``A`` in Moscow on tariff Std, 310.00 RUB; a tariff Term of the same price."""
    for name, mode, monthly, *rest in TARIFFS:
        terminal.ok("tariff", "add", name, "--mode", mode, "--currency", "RUB", "--monthly", monthly, *rest)
    terminal.ok("account", "add", "A", "--zone", "Europe/Moscow", "--currency", "RUB", "--tariff", "Std")
    return terminal


def ledger(terminal: Terminal) -> list[tuple[str, str | None, str, str]]:
    return [
        (row["kind"], row["device"], row["amount"], row["balance"])
        for row in terminal.json("billing", "ledger", "A")
    ]


def state_of(terminal: Terminal, unique_id: str) -> tuple[str, str | None]:
    row = next(row for row in terminal.json("device", "list") if row["unique_id"] == unique_id)
    return row["state"], row["reason"]


def test_every_reason_has_a_sentence() -> None:
    assert set(REFUSALS) == set(Reason)
    assert all(len(sentence) > 20 for sentence in REFUSALS.values())
    assert len(set(REFUSALS.values())) == len(REFUSALS)


def test_a_top_up_is_told_and_repeated_without_harm(money: Terminal) -> None:
    said = money.ok("billing", "topup", "A", "310.00", "--key", "p1", "--means", "card")
    assert "account 'A': money came in" in said
    assert "top-up: 310.00 RUB; balance 310.00 RUB" in said
    again = money.ok("billing", "topup", "A", "310.00", "--key", "p1", "--means", "card")
    assert again == "done before, under the key 'p1'; nothing was changed\n"
    said = money.refused("billing", "topup", "A", "311.00", "--key", "p1")
    assert "account 'A': the key was used for something else; choose another one (id_reused)" in said
    assert ledger(money) == [("topup", None, "310.00", "310.00")]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("topup", "A", "1,5", "--key", "k"), "AMOUNT: '1,5' is not an amount"),
        (("topup", "A", "-5", "--key", "k"), "AMOUNT: '-5' is not an amount"),
        (("topup", "A", "1.234", "--key", "k"), "AMOUNT: '1.234' has 3 decimals, but RUB has 2"),
        (("topup", "A", "1"), "--key requires an argument"),
        (("topup", "A", "1", "--key", " "), "--key: is empty"),
        (("refund", "A", "x", "--key", "k"), "AMOUNT: 'x' is not an amount"),
        (
            ("chargeback", "A", "--payment", "p", "--key", "k", "--amount", "x"),
            "--amount: 'x' is not an amount",
        ),
        (("pay-term", "A", "13"), "MONTHS: '13' is no number of months; write a whole number from 1 to 12"),
        (("priority", "T1", "0"), "PRIORITY: '0' is no priority"),
        (("switch", "A", "Std", "--from", "2026-02-30"), "--from: '2026-02-30' is no date"),
        (("zone", "A", "Moscow"), "ZONE: 'Moscow'"),
        (("waive", "A", "2099-01-02", "2099-01-01"), "TO: 2099-01-01 lies before FROM 2099-01-02"),
        (("hold-collection", "A"), "--until: name the date"),
        (("hold-collection", "A", "--lift", "--until", "2099-01-01"), "--until: name the date"),
        (("suspend", "A", "--until", "x"), "--until: 'x' is no date"),
        (("withdraw", "A", "--statement", ""), "--statement: is empty"),
        (("forecast", "A", "--days", "367"), "--days: '367' is no number of days"),
        (("run", "--at", "2999-01-01"), "--at: 2999-01-01T00:00:00Z has not come yet"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_flag(
    money: Terminal, arguments: tuple[str, ...], sentence: str
) -> None:
    assert sentence in money.wrong("billing", *arguments)
    assert ledger(money) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("topup", "1", "--key", "k"), ("refund", "all", "--key", "k"), ("switch", "Std"), ("pay-term", "1"),
        ("chargeback", "--payment", "p", "--key", "k"), ("withdraw", "--statement", "x"), ("suspend",), ("resume",),
        ("zone", "UTC"), ("waive", "2099-01-01", "2099-01-02"), ("hold-collection", "--lift"), ("ledger",), ("forecast",),
        ("verify",),
    ],
)  # fmt: skip
def test_an_account_that_is_not_there_is_refused(money: Terminal, arguments: tuple[str, ...]) -> None:
    command, *rest = arguments
    said = money.refused("billing", command, "a", *rest)
    assert "ACCOUNT: there is no account named 'a'" in said


@pytest.mark.parametrize("command", [("activate",), ("back-pay",), ("convert",), ("priority", "2")])
def test_a_tracker_that_is_not_there_is_refused(money: Terminal, command: tuple[str, ...]) -> None:
    name, *rest = command
    assert "UNIQUE_ID: there is no tracker 'T9'" in money.refused("billing", name, "T9", *rest)


def test_a_tracker_is_blocked_and_unlocked_by_money(money: Terminal) -> None:
    """R19, R48: and the command says so at once."""
    said = money.ok("device", "add", "T1", "--account", "A")
    assert "blocked: 310.00 RUB due" in said
    assert state_of(money, "T1") == ("blocked", "insufficient_funds")
    assert "tracker 'T1' is blocked" not in money.ok("billing", "topup", "A", "309.99", "--key", "p1")
    said = money.ok("billing", "topup", "A", "0.01", "--key", "p2")
    assert "connection fee of tracker 'T1': -310.00 RUB; balance 0.00 RUB" in said
    assert "tracker 'T1' is shown again" in said
    assert state_of(money, "T1") == ("active", None)
    money.ok("billing", "topup", "A", "500.00", "--key", "p3")
    assert "paid until 20" in money.ok("device", "add", "T2", "--account", "A")
    assert money.ok("billing", "verify").endswith("everything is as the journal says\n")


def test_activation(money: Terminal) -> None:
    """R50 to R53."""
    money.ok("device", "add", "T1", "--account", "A")
    said = money.refused("billing", "activate", "T1")
    assert "account 'A': the balance does not reach; `billing topup` first, or name less" in said
    money.ok("billing", "topup", "A", "310.00", "--key", "p1")
    assert "tracker 'T1': is paid for" in money.ok("billing", "activate", "T1")
    assert [row[0] for row in ledger(money)] == ["topup", "connection"]


def test_two_switches_a_month_and_then_when(money: Terminal) -> None:
    """R60: in the account's own zone."""
    money.ok("billing", "switch", "A", "Free", "--key", "s1")
    assert "done before" in money.ok("billing", "switch", "A", "Free", "--key", "s1")
    money.ok("billing", "switch", "A", "Std")
    said = money.refused("billing", "switch", "A", "Free")
    assert "this month's changes of tariff are used up (switch_limit); next allowed at 20" in said
    assert "-01T00:00:00+03:00" in said
    said = money.refused("billing", "switch", "A", "Nothing")
    assert "there is no such tariff in the account's currency" in said
    assert "the date lies in the past" in money.refused(
        "billing", "switch", "A", "Free", "--from", "2020-01-01"
    )
    assert "from 2099-01-01 on: tariff 'Free'" in money.ok(
        "billing", "switch", "A", "Free", "--from", "2099-01-01"
    )
    assert money.json("account", "show", "A")["tariff"] == "Std"


def test_a_tariff_of_another_currency_is_no_choice(money: Terminal) -> None:
    money.ok("tariff", "add", "Euro", "--mode", "balance", "--currency", "EUR", "--monthly", "9.00")
    assert "(unknown_tariff)" in money.refused("billing", "switch", "A", "Euro")


def test_terms(money: Terminal) -> None:
    """R88 to R94."""
    money.ok("billing", "topup", "A", "1000.00", "--key", "p1")
    assert "(unknown_device)" in money.refused("billing", "pay-term", "A", "1")
    money.ok("device", "add", "T0", "--account", "A", "--test")
    assert "(test_device)" in money.refused("billing", "pay-term", "A", "1", "--device", "T0")
    money.ok("device", "add", "T9", "--account", "A")
    assert "(not_a_term_tariff)" in money.refused("billing", "pay-term", "A", "1")
    money.ok("device", "remove", "T9")
    money.ok("billing", "topup", "A", "310.00", "--key", "p2")
    money.ok("billing", "switch", "A", "Term")
    assert "blocked: 310.00 RUB due" in money.ok("device", "add", "T1", "--account", "A")
    assert state_of(money, "T1") == ("blocked", "overdue")
    said = money.ok("billing", "pay-term", "A", "3", "--device", "T1", "--key", "k")
    assert "term of tracker 'T1': -930.00 RUB; balance 70.00 RUB" in said
    assert "done before" in money.ok("billing", "pay-term", "A", "3", "--device", "T1", "--key", "k")
    assert state_of(money, "T1") == ("active", None)
    assert "(insufficient_funds)" in money.refused("billing", "pay-term", "A", "1")


def test_pauses(money: Terminal) -> None:
    money.ok("billing", "topup", "A", "1000.00", "--key", "p1")
    money.ok("device", "add", "T1", "--account", "A")
    assert "(suspension_limit)" in money.refused("billing", "suspend", "A", "--until", "2099-01-01")
    until = str((datetime.now(UTC) + timedelta(days=40)).date())
    assert f"tracker 'T1' is paused through {until}" in money.ok(
        "billing", "suspend", "A", "--device", "T1", "--until", until
    )
    assert state_of(money, "T1") == ("suspended", "suspended")
    assert "(suspended)" in money.refused("billing", "suspend", "A", "--device", "T1")
    assert "tracker 'T1' is paused no longer" in money.ok("billing", "resume", "A")
    assert "(not_suspended)" in money.refused("billing", "resume", "A")
    assert state_of(money, "T1") == ("active", None)


def test_a_test_tracker_becomes_a_paying_one(money: Terminal) -> None:
    """R84: the row of the tracker follows in the same transaction."""
    assert "blocked" not in money.ok("device", "add", "T1", "--account", "A", "--test")
    said = money.ok("billing", "convert", "T1", "--key", "c1")
    assert "tracker 'T1' is blocked: 310.00 RUB due" in said
    (row,) = money.json("device", "list")
    assert (row["test"], row["state"], row["reason"]) == (False, "blocked", "insufficient_funds")
    assert "done before" in money.ok("billing", "convert", "T1", "--key", "c1")
    assert "(not_a_test_device)" in money.refused("billing", "convert", "T1")


def test_priorities_decide_who_is_paid(money: Terminal) -> None:
    """R35: and the tracker's row keeps the new one."""
    for name in ("T1", "T2"):
        money.ok("device", "add", name, "--account", "A", "--priority", "5")
    money.ok("billing", "priority", "T2", "1")
    assert {row["unique_id"]: row["priority"] for row in money.json("device", "list")} == {"T1": 5, "T2": 1}
    money.ok("billing", "topup", "A", "310.00", "--key", "p1")
    assert state_of(money, "T2") == ("active", None)
    assert state_of(money, "T1") == ("blocked", "insufficient_funds")


def test_refunds_and_chargebacks(money: Terminal) -> None:
    """R57, R76, R77."""
    assert "(nothing_to_refund)" in money.refused("billing", "refund", "A", "all", "--key", "r0")
    money.ok("billing", "topup", "A", "500.00", "--key", "p1")
    assert "(insufficient_funds)" in money.refused("billing", "refund", "A", "500.01", "--key", "r1")
    assert "refund: -100.00 RUB; balance 400.00 RUB" in money.ok(
        "billing", "refund", "A", "100.00", "--key", "r1"
    )
    assert "(unknown_payment)" in money.refused(
        "billing", "chargeback", "A", "--payment", "p9", "--key", "c1"
    )
    assert "(over_the_payment)" in money.refused(
        "billing", "chargeback", "A", "--payment", "p1", "--key", "c1", "--amount", "500.01"
    )
    money.ok("billing", "chargeback", "A", "--payment", "p1", "--key", "c1", "--amount", "500.00")
    assert ledger(money)[-1] == ("reversal", None, "-500.00", "0.00")
    assert money.json("billing", "forecast", "A")["owed"] == "100.00"
    assert "(nothing_to_refund)" in money.refused("billing", "refund", "A", "all", "--key", "r2")


def test_a_withdrawal_ends_the_contract_and_hides(money: Terminal) -> None:
    money.ok("billing", "topup", "A", "500.00", "--key", "p1")
    money.ok("device", "add", "T1", "--account", "A")
    said = money.ok("billing", "withdraw", "A", "--statement", "I withdraw")
    assert "refund: -500.00 RUB; balance 0.00 RUB" in said
    assert "done before" in money.ok("billing", "withdraw", "A", "--statement", "I withdraw")
    assert state_of(money, "T1") == ("blocked", "contract_ended")
    assert "blocked: the contract has ended" in money.ok("device", "add", "T2", "--account", "A")
    assert state_of(money, "T2") == ("blocked", "contract_ended")
    assert "(contract_ended)" in money.refused("billing", "switch", "A", "Free")


def test_zones_waivers_and_holds_are_told(money: Terminal) -> None:
    assert "account 'A': its days begin by America/Santiago" in money.ok(
        "billing", "zone", "A", "America/Santiago"
    )
    assert money.json("account", "show", "A")["zone"] == "America/Santiago"
    assert "no daily fee from 2099-01-01 to 2099-01-02" in money.ok(
        "billing", "waive", "A", "2099-01-01", "2099-01-02"
    )
    assert "(already_settled)" in money.refused("billing", "waive", "A", "2020-01-01", "2020-01-02")
    assert "no reminders before 2099-01-01" in money.ok(
        "billing", "hold-collection", "A", "--until", "2099-01-01"
    )
    assert "reminders go out again" in money.ok("billing", "hold-collection", "A", "--lift")


def test_the_ledger_in_all_formats(money: Terminal) -> None:
    money.ok("billing", "topup", "A", "1000.00", "--key", "=cmd()")
    money.ok("device", "add", "=T1", "--account", "A")
    rows = money.json("billing", "ledger", "A")
    assert [row["amount"] for row in rows] == ["1000.00", "-310.00"]
    assert {row["currency"] for row in rows} == {"RUB"}
    assert all(row["at"].endswith("Z") and len(row["hash"]) == 64 for row in rows)
    text = money.ok("billing", "ledger", "A", "--format", "csv")
    cells = list(csv.DictReader(io.StringIO(text)))
    assert [row["amount"] for row in cells] == ["1000.00", "-310.00"], "a debit is a number and no formula"
    assert cells[1]["device"] == "'=T1"
    table = money.ok("billing", "ledger", "A")
    assert "-310.00" in table
    assert "690.00" in table
    assert money.json("billing", "ledger", "A", "--to", "2020-01-01") == []
    assert len(money.json("billing", "ledger", "A", "--from", "2020-01-01")) == 2


def test_the_forecast(money: Terminal) -> None:
    """R58, R134."""
    for number in (1, 2):
        money.ok("device", "add", f"T{number}", "--account", "A", "--priority", str(number))
    row = money.json("billing", "forecast", "A")
    assert (row["min_topup"], row["balance"]) == ("620.00", "0.00")
    assert [(one["unique_id"], one["state"], one["due"]) for one in row["trackers"]] == [
        ("T1", "blocked", "310.00"),
        ("T2", "blocked", "310.00"),
    ]
    money.ok("billing", "topup", "A", "640.00", "--key", "p1")
    row = money.json("billing", "forecast", "A")
    first, second = row["trackers"]
    assert row["min_topup"] == "0.00"
    assert first["blocked_on"] >= second["blocked_on"] > row["at"][:10]
    said = money.ok("billing", "forecast", "A")
    assert f"T2 will be blocked on {second['blocked_on']}" in said
    assert "T1 is not blocked before" in money.ok("billing", "forecast", "A", "--days", "3")


def test_running_ahead_needs_a_word_and_does_what_it_says(money: Terminal) -> None:
    """R9, R10: the 31 days, then a share each day; and what is settled stays so."""
    money.ok("billing", "topup", "A", "1000.00", "--key", "p1")
    money.ok("device", "add", "T1", "--account", "A")
    later = datetime.now(UTC) + timedelta(days=33)
    said = money.ok("billing", "run", "--at", later.isoformat(), "--into-the-future")
    assert "accounts that were due are settled up to" in said
    assert [row[0] for row in ledger(money)] == ["topup", "connection", "daily", "daily", "daily"]
    assert len(ledger(money)) == 5
    said = money.refused("billing", "run", "--at", "2026-01-01")
    assert "is settled up to 20" in said
    money.ok("billing", "run")
    assert len(ledger(money)) == 5
    assert "1 account: everything is as the journal says" in money.ok("billing", "verify", "A")
    money.ok("tariff", "price", "Std", "--monthly", "330", "--from", str((later + timedelta(days=3)).date()))
    assert "has begun already somewhere" in money.refused(
        "tariff", "price", "Std", "--monthly", "330", "--from", str((later - timedelta(days=1)).date())
    )


def test_verify_names_what_differs(money: Terminal) -> None:
    money.ok("billing", "topup", "A", "500.00", "--key", "p1")
    money.ok("device", "add", "T1", "--account", "A")
    query(
        money.dsn,
        "UPDATE core.billing SET state = jsonb_set(state::jsonb, '{book,balances,customer}', '99999')::json"
        " WHERE account_id = (SELECT id FROM core.accounts WHERE name = 'A')",
    )
    said = money.refused("billing", "verify")
    assert "account 'A': customer is 99999, and the journal says 19000" in said
    assert "differences in 2 accounts" in said


def test_a_json_ledger_is_one_array(money: Terminal) -> None:
    assert json.loads(money.ok("billing", "ledger", "A", "--format", "json")) == []


def test_r85_a_second_test_tracker_is_refused(money: Terminal) -> None:
    """By every way in: nothing is added, nothing is moved."""
    money.ok("device", "add", "T1", "--account", "A", "--test")
    said = money.refused("device", "add", "T2", "--account", "A", "--test")
    assert (
        "--account: 'A' has a test tracker already, and an account has one; `tracker-server billing convert`"
        in said
    )
    money.ok("device", "add", "T3", "--test")
    assert "'A' has a test tracker already" in money.refused("device", "move", "T3", "--account", "A")
    lines = "unique_id,account,test\nT4,A,true\nT5,A,false\n"
    said = money.refused("device", "import", "-", stdin=lines)
    assert "line 2, test: account 'A' has a test tracker already" in said
    lines = "unique_id,account,test\nT4,B,true\nT5,B,true\n"
    money.ok("account", "add", "B")
    assert "line 3, test: account 'B' has a test tracker" in money.refused(
        "device", "import", "-", stdin=lines
    )
    assert [row["unique_id"] for row in money.json("device", "list")] == ["T1", "T3"]


def test_an_import_says_what_unlocks_all(money: Terminal) -> None:
    money.ok("billing", "topup", "A", "400.00", "--key", "p1")
    said = money.ok("device", "import", "-", "--account", "A", stdin="unique_id\nT1\nT2\nT3\n")
    assert "3 trackers imported" in said
    assert "account 'A': 2 of 3 trackers are blocked; 530.00 RUB unlock all" in said
    assert "blocked" not in money.ok("device", "import", "-", stdin="unique_id\nF1\n"), (
        "a free account owes nothing"
    )


def test_a_move_settles_both_accounts(money: Terminal) -> None:
    money.ok("account", "add", "B", "--zone", "UTC", "--currency", "RUB", "--tariff", "Std")
    money.ok("device", "add", "T1", "--account", "A")
    money.ok("billing", "topup", "B", "310.00", "--key", "p1")
    assert "paid until 20" in money.ok("device", "move", "T1", "--account", "B")
    assert money.json("billing", "forecast", "A")["trackers"] == []
    assert state_of(money, "T1") == ("active", None)
    money.ok("device", "remove", "T1")
    assert money.json("billing", "forecast", "B")["trackers"] == []


def test_the_list_says_what_is_due(money: Terminal) -> None:
    """R38: for the operator, in the account's currency."""
    money.ok("device", "add", "T1", "--account", "A")
    (row,) = money.json("device", "list")
    assert (row["state"], row["reason"], row["due_now"], row["currency"], row["waiting"]) == (
        "blocked", "insufficient_funds", "310.00", "RUB", 0,
    )  # fmt: skip
    money.ok("device", "hold", "T1", "--reason", "in dispute")
    assert state_of(money, "T1") == ("blocked", "insufficient_funds, hold")
    said = money.ok("device", "release", "T1")
    assert "it stays hidden for other reasons: insufficient_funds since 20" in said
    money.ok("billing", "topup", "A", "310.00", "--key", "p1")
    shown = money.json("device", "show", "T1")
    assert (shown["state"], shown["due_now"], shown["waiting"], shown["blocks"]) == ("active", None, None, [])
