"""Papers: sums that hold, words in three languages, the same file each time."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tracker_server.alerts.letters import LANGUAGES, Language
from tracker_server.billing.book import Account, Entry, Kind, Part, Posting, Transfer
from tracker_server.billing.documents import paper_of
from tracker_server.model.paper import (
    CartLine,
    LineKind,
    Paper,
    PaperKind,
    Party,
    Seller,
    Statement,
    StatementLine,
    number_of,
    tax_within,
)
from tracker_server.papers.documents import invoice_data, invoice_pdf, statement_data, statement_pdf
from tracker_server.papers.words import WORDS

AT = datetime(2027, 1, 12, 22, 30, tzinfo=UTC)
SELLER = Seller(
    Party("Norte Telemática S.L.", "Calle Mayor 1\n28013 Madrid", "B58378431", "pay@example.com", "+34 600 111 222"),
    tax_name="IVA",
    tax_hundredths=2100,
    zone="Europe/Madrid",
)  # fmt: skip
BUYER = Party("Грузоперевозки «Север»", "Невский 1", "RU 123456789047")


def topup(amount_minor: int = 93000) -> Entry:
    postings = (Posting(Account.GATEWAY, -amount_minor), Posting(Account.CUSTOMER, amount_minor))
    transfer = Transfer(
        "topup:pay:x:1", Kind.TOPUP, AT, "EUR", amount_minor, postings, payment="pay:x:1", means="card"
    )
    return Entry(1, transfer, amount_minor, "", "")


def invoice(language: Language = "en", **changes: object) -> Paper:
    paper = paper_of(topup(), SELLER, BUYER, language, (CartLine("T1", 31000, "Van 1"),))
    assert paper is not None
    return replace(paper, number=number_of(paper.series, 12), **changes)


def test_a_top_up_becomes_an_invoice_dated_where_the_seller_is() -> None:
    paper = invoice()
    assert (paper.kind, paper.number, paper.issued_on) == (
        PaperKind.INVOICE,
        "I2027-000012",
        date(2027, 1, 12),
    )
    assert [(line.kind, line.of, line.amount_minor) for line in paper.lines] == [
        (LineKind.CONNECTION, "Van 1", 31000),
        (LineKind.PREPAYMENT, "", 62000),
    ]
    silvester = datetime(2027, 12, 31, 23, 30, tzinfo=UTC)  # already January in Madrid
    entry = topup()
    entry = replace(entry, transfer=replace(entry.transfer, at=silvester))
    late = paper_of(entry, SELLER, BUYER, "en")
    assert late is not None
    assert (late.series, late.issued_on) == ("I2028", date(2028, 1, 1))


def test_what_goes_back_becomes_a_credit_note_and_debits_become_none() -> None:
    postings = (Posting(Account.CUSTOMER, -35000), Posting(Account.REFUNDS, 35000))
    parts = (Part("B", 20000), Part("A", 15000))
    refund = Transfer("refund:r1", Kind.REFUND, AT, "EUR", -35000, postings, parts=parts)
    paper = paper_of(Entry(1, refund, 0, "", ""), SELLER, BUYER, "es")
    assert paper is not None
    assert (paper.kind, paper.series, paper.amount_minor) == (PaperKind.CREDIT_NOTE, "C2027", -35000)
    assert [line.amount_minor for line in paper.lines] == [-20000, -15000]
    for kind in (Kind.DAILY, Kind.CONNECTION, Kind.TERM, Kind.SMS, Kind.REVERSAL):
        other = Transfer("x", kind, AT, "EUR", -1, ())
        assert paper_of(Entry(1, other, 0, "", ""), SELLER, BUYER, "es") is None
    assert paper_of(topup(), replace(SELLER, issue=False), BUYER, "es") is None


@given(
    amount_minor=st.integers(1, 10**9),
    cart=st.lists(st.integers(1, 10**6), max_size=20),
    tax=st.integers(0, 10_000),
)
def test_lines_sum_to_the_payment_and_net_and_tax_to_the_gross(
    amount_minor: int, cart: list[int], tax: int
) -> None:
    lines = [CartLine(f"T{number}", price) for number, price in enumerate(cart)]
    paper = paper_of(topup(amount_minor), replace(SELLER, tax_hundredths=tax), BUYER, "en", lines)
    assert paper is not None
    assert sum(line.amount_minor for line in paper.lines) == amount_minor
    assert all(line.amount_minor > 0 for line in paper.lines)
    # exactly: |tax - gross·r/(1+r)| ≤ 1/2 minor unit
    assert abs(2 * (paper.tax_minor * (10_000 + tax) - amount_minor * tax)) <= 10_000 + tax


def test_tax_is_rounded_half_up() -> None:
    assert tax_within(12100, 2100) == 2100
    assert tax_within(-12100, 2100) == -2100
    assert tax_within(100, 0) == 0
    assert tax_within(3, 10_000) == 2  # 1.5


@pytest.mark.parametrize("language", LANGUAGES)
def test_papers_are_written_in_the_customers_language(language: Language) -> None:
    data = invoice_data(invoice(language))
    assert data["title"] == WORDS[language]["invoice"]
    assert invoice_data(invoice(language), receipt=True)["title"] == WORDS[language]["receipt"]
    amounts = {"en": "€930.00", "es": "930,00\xa0€", "ru": "930,00\xa0€"}
    assert data["total"] == [WORDS[language]["total"], amounts[language]]
    assert set(WORDS[language]) == set(WORDS["en"])
    made = invoice_pdf(invoice(language))
    assert made.startswith(b"%PDF-")
    assert made == invoice_pdf(invoice(language)), "the same paper is the same file"


def test_a_statement_says_what_came_before_and_after() -> None:
    lines = tuple(
        StatementLine(AT + timedelta(days=n), "daily", "Van 1", (AT + timedelta(days=n)).date(), -1000, 9000 - 1000 * n)
        for n in range(3)
    )  # fmt: skip
    statement = Statement(
        date(2027, 1, 1), date(2027, 1, 31), "Europe/Madrid", "es", "EUR", SELLER, BUYER, 10000, 7000, lines
    )
    data = statement_data(statement)
    assert data["facts"][1:] == [("Saldo anterior", "100,00\xa0€"), ("Saldo final", "70,00\xa0€")]
    assert data["sums"] == [("Cuota diaria", "-30,00\xa0€")]
    assert data["lines"][0] == ["12 ene 2027", "Cuota diaria · Van 1", "-10,00\xa0€", "90,00\xa0€"]
    assert statement_pdf(statement).startswith(b"%PDF-")
    nothing = replace(statement, lines=(), closing_minor=10000)
    assert statement_data(nothing)["lines"] == [
        ["", "No hubo movimientos en este período.", "", "100,00\xa0€"]
    ]


def test_a_seller_who_said_nothing_of_himself_still_has_invoices() -> None:
    bare = invoice(seller=Seller(), buyer=Party("A"), issued_at=AT + timedelta(microseconds=7))
    assert invoice_pdf(bare).startswith(b"%PDF-")


def test_what_a_customer_is_called_is_text_and_no_markup() -> None:
    odd = invoice(buyer=Party('#eval("1") *bold* $x$ <b>\\u{41}', "@ref [x]"))
    assert invoice_pdf(odd).startswith(b"%PDF-")
