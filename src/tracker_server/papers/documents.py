"""Invoices, receipts, credit notes and statements: what stands where, in the customer's language."""

from __future__ import annotations

from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_date

from tracker_server.alerts.letters import spoken
from tracker_server.alerts.wording import LOCALES, amount_in_words, date_in_words
from tracker_server.model.paper import Paper, PaperKind, Party, Seller, Statement, StatementLine
from tracker_server.papers.render import pdf
from tracker_server.papers.words import words_of


def invoice_pdf(paper: Paper, *, receipt: bool = False) -> bytes:
    """An invoice or credit note; or, of an invoice, the receipt that says that it is paid."""
    return pdf("invoice", invoice_data(paper, receipt=receipt), paper.issued_at)


def statement_pdf(statement: Statement) -> bytes:
    """A statement. Dated by its last day, so that the same period is the same file."""
    from datetime import UTC, datetime, time

    return pdf("statement", statement_data(statement), datetime.combine(statement.last, time(), UTC))


def invoice_data(paper: Paper, *, receipt: bool = False) -> dict[str, Any]:
    """What the template prints: texts only, each as it is to be read."""
    language, words = spoken(paper.language), words_of(paper.language)

    def money(amount_minor: int) -> str:
        return amount_in_words(amount_minor, paper.currency, language)

    day = date_in_words(paper.issued_on, language)
    name = "receipt" if receipt and paper.kind is PaperKind.INVOICE else paper.kind.value
    facts = [(words["number"], paper.number), (words["date"], day)]
    facts.append((words["payment"], _short(paper.payment)))
    if paper.means:
        facts.append((words["paid_with"], paper.means))
    if name == "receipt":
        paid = words["received"].format(amount=money(paper.amount_minor), date=day)
    else:
        paid = words["paid" if paper.kind is PaperKind.INVOICE else "returned"].format(date=day)
    return {
        "language": language,
        "title": words[name],
        "subtitle": paper.number,
        "seller": seller_of(paper.seller, words),
        "buyer": party_of(paper.buyer, words),
        "words": {"buyer": words["buyer"]},
        "facts": facts,
        "headings": [words["what"], words["amount"]],
        "lines": [
            [words[line.kind.value].format(of=_short(line.of)), money(line.amount_minor)]
            for line in paper.lines
        ],
        "sums": _tax(paper, words, money),
        "total": [words["total"], money(paper.amount_minor)],
        "paid": paid,
        "note": paper.seller.note,
        "footer": footer_of(paper.seller),
    }


def _tax(paper: Paper, words: dict[str, str], money: Any) -> list[tuple[str, str]]:
    if not paper.seller.tax_hundredths:
        return []
    percent = f"{paper.seller.tax_hundredths / 100:.2f}".rstrip("0").rstrip(".")
    return [
        (words["net"], money(paper.amount_minor - paper.tax_minor)),
        (words["tax"].format(name=paper.seller.tax_name, percent=percent), money(paper.tax_minor)),
    ]


def statement_data(statement: Statement) -> dict[str, Any]:
    """What the template prints."""
    language, words = spoken(statement.language), words_of(statement.language)

    def money(amount_minor: int) -> str:
        return amount_in_words(amount_minor, statement.currency, language)

    def short(day: date) -> str:
        return format_date(day, format="medium", locale=LOCALES[language])

    lines = [
        [
            short(line.at.astimezone(ZoneInfo(statement.zone)).date()),
            _movement(line, words, short),
            money(line.amount_minor),
            money(line.balance_minor),
        ]
        for line in statement.lines
    ]
    period = f"{date_in_words(statement.first, language)} – {date_in_words(statement.last, language)}"
    return {
        "language": language,
        "title": words["statement"],
        "subtitle": "",
        "seller": seller_of(statement.seller, words),
        "buyer": party_of(statement.buyer, words),
        "words": {"buyer": words["buyer"], "sums": words["sums"]},
        "facts": [
            (words["period"], period),
            (words["opening"], money(statement.opening_minor)),
            (words["closing"], money(statement.closing_minor)),
        ],
        "headings": [words["date"], words["what"], words["amount"], words["balance"]],
        "lines": lines or [["", words["nothing"], "", money(statement.closing_minor)]],
        "sums": [(words[f"entry_{kind}"], money(total)) for kind, total in statement.sums().items()],
        "footer": footer_of(statement.seller),
    }


def _movement(line: StatementLine, words: dict[str, str], short: Any) -> str:
    parts = [words[f"entry_{line.kind}"]]
    if line.of:
        parts.append(_short(line.of))
    if line.day is not None and line.day != line.at.date():
        parts.append(words["of_day"].format(day=short(line.day)))
    return " · ".join(parts)


def _short(text: str, characters_max: int = 60) -> str:
    """A name that fits into its column."""
    return text if len(text) <= characters_max else f"{text[: characters_max - 1]}…"


def party_of(party: Party, words: dict[str, str]) -> list[str]:
    """Who buys, line by line."""
    lines = [party.name, *party.address.splitlines()]
    if party.tax_id:
        lines.append(f"{words['tax_id']}: {party.tax_id}")
    return [line for line in (*lines, party.email) if line]


def seller_of(seller: Seller, words: dict[str, str]) -> dict[str, Any]:
    """Who sells, for a paper's head."""
    party = seller.party
    lines = [*party.address.splitlines()]
    if party.tax_id:
        lines.append(f"{words['tax_id']}: {party.tax_id}")
    return {"name": party.name, "lines": [line for line in lines if line]}


def footer_of(seller: Seller) -> str:
    """How the seller is reached, for a paper's foot."""
    party = seller.party
    return " · ".join(part for part in (party.name, party.email, party.phone, party.url) if part)
