"""Papers on the command line: listed, written, refused in words; a customer's tax number judged by its country."""

from __future__ import annotations

import pytest

from tests.cli.terminal import Terminal


@pytest.fixture
def paid(terminal: Terminal) -> Terminal:
    terminal.ok("account", "add", "A", "--zone", "Europe/Madrid", "--currency", "EUR")
    terminal.ok("billing", "topup", "A", "310.00", "--key", "p1", "--means", "card")
    return terminal


def test_invoices_are_listed_and_written(paid: Terminal) -> None:
    rows = paid.json("billing", "invoices", "A")
    assert [(row["kind"], row["amount"], row["currency"], row["account"]) for row in rows] == [
        ("invoice", "310.00", "EUR", "A")
    ]
    number = rows[0]["number"]
    for more in ((), ("--receipt",)):
        said = paid.ok("billing", "invoice", number, "--out", "paper.pdf", *more)
        assert said.startswith("paper.pdf: ")
        assert (paid.folder / "paper.pdf").read_bytes().startswith(b"%PDF-")
    assert paid.json("billing", "invoices", "default") == []


def test_a_statement_is_written(paid: Terminal) -> None:
    paid.ok("billing", "statement", "A", "--from", "2020-01-01", "--to", "2100-01-01", "--out", "s.pdf")
    assert (paid.folder / "s.pdf").read_bytes().startswith(b"%PDF-")


def test_what_cannot_be_is_said(paid: Terminal) -> None:
    assert "there is no invoice 'I1'" in paid.refused("billing", "invoice", "I1", "--out", "x.pdf")
    number = paid.json("billing", "invoices")[0]["number"]
    assert "--out: nowhere/x.pdf cannot be written" in paid.refused(
        "billing", "invoice", number, "--out", "nowhere/x.pdf"
    )
    assert "--to: 2026-01-01 lies before --from 2026-02-01" in paid.wrong(
        "billing", "statement", "A", "--from", "2026-02-01", "--to", "2026-01-01", "--out", "x.pdf"
    )
    assert "--limit: '0' is no number of invoices" in paid.wrong("billing", "invoices", "--limit", "0")


def test_a_customer_on_its_invoices(paid: Terminal) -> None:
    paid.ok(
        "account", "set", "A", "--country", "es", "--tax-id", "B-58378431", "--address", "Calle 1; Madrid"
    )
    row = paid.json("account", "show", "A")
    assert (row["country"], row["tax_id"], row["address"]) == ("ES", "B58378431", "Calle 1\nMadrid")
    said = paid.wrong("account", "set", "A", "--tax-id", "B58378432")
    assert "--tax-id: 'B58378432' is no tax number of ES" in said
    assert paid.json("account", "show", "A")["tax_id"] == "B58378431"
    assert "--country: 'Spain' is no country" in paid.wrong("account", "set", "A", "--country", "Spain")
    assert "--country: 'zz' is no country; write its two letters (ISO 3166)" in paid.wrong(
        "account", "set", "A", "--country", "zz"
    )
    assert "--tax-id: '§' is no tax number" in paid.wrong("account", "set", "A", "--tax-id", "§")
    paid.ok("account", "set", "A", "--tax-id", "")
    assert paid.json("account", "show", "A")["tax_id"] is None


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"seller__tax_percent": "21.123", "seller__tax_name": "IVA"}, "seller.tax_percent: '21.123' is no rate"),
        ({"seller__tax_percent": "21"}, "seller.tax_name: is empty"),
        ({"seller__invoice_prefix": "a b"}, "seller.invoice_prefix: 'a b' is none"),
        ({"seller__credit_prefix": "I"}, "seller.credit_prefix: is that of the invoices too"),
        ({"payments__stripe__secret_key": "sk"}, "payments.stripe: secret_key and webhook_secret go together"),
        ({"payments__stripe__secret_key": "sk_…", "payments__stripe__webhook_secret": "wh"}, "stripe.secret_key: has a character"),
        ({"payments__stripe__secret_key": "sk", "payments__stripe__webhook_secret": "w h"}, "stripe.webhook_secret: has a character"),
        ({"payments__webhook__secret": "short"}, "payments.webhook.secret: has 5 characters"),
        ({"payments__webhook__checkout_url": "https://x.example/"}, "payments.webhook.checkout_url: holds no {payment}"),
        ({"payments__webhook__checkout_url": "https://x.example/{payment}{no}"}, "has a brace that means nothing"),
        ({"payments__webhook__refund_url": "ftp://x"}, "payments.webhook.refund_url: 'ftp://x' is no address"),
        ({"api__public_url": "tracks.example"}, "api.public_url: 'tracks.example' is no address"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_meant(bare: Terminal, settings: dict[str, str], sentence: str) -> None:
    bare.set(**settings)
    assert sentence in bare.wrong("config", "show")
