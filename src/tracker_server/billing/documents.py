"""Which paper a movement of money calls for, and what stands on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tracker_server.billing.book import Entry, Kind, Transfer
from tracker_server.billing.dates import date_at
from tracker_server.model.paper import CartLine, Line, LineKind, Paper, PaperKind, Party, Seller


def paper_of(
    entry: Entry, seller: Seller, buyer: Party, language: str, cart: Sequence[CartLine] = ()
) -> Paper | None:
    """The paper that an entry calls for: an invoice for money that came in, a credit note for money that went
    back to where it came from; None for all others.
    """
    transfer = entry.transfer
    kind = paper_kind(transfer)
    if kind is None or not seller.issue:
        return None
    issued_on = date_at(transfer.at, seller.zone)
    prefix = seller.invoice_prefix if kind is PaperKind.INVOICE else seller.credit_prefix
    return Paper(
        kind=kind,
        series=f"{prefix}{issued_on.year}",
        issued_at=transfer.at,
        issued_on=issued_on,
        language=language,
        currency=transfer.currency,
        amount_minor=transfer.amount_minor,
        seller=seller,
        buyer=buyer,
        lines=tuple(_lines(transfer, cart)),
        payment=transfer.payment or transfer.id.partition(":")[2],
        means=transfer.means or "",
    )


def paper_kind(transfer: Transfer) -> PaperKind | None:
    """Which paper a transfer calls for. A failed SMS and a withdrawal's reversals only undo debits."""
    match transfer.kind:
        case Kind.TOPUP:
            return PaperKind.INVOICE
        case Kind.REFUND:
            return PaperKind.CREDIT_NOTE
        case Kind.REVERSAL if transfer.parts:
            return PaperKind.CREDIT_NOTE
        case _:
            return None


def _lines(transfer: Transfer, cart: Sequence[CartLine]) -> Iterable[Line]:
    """Their sum is the amount, always."""
    if transfer.kind is not Kind.TOPUP:
        kind = LineKind.REFUND if transfer.kind is Kind.REFUND else LineKind.TAKEN_BACK
        yield from (Line(kind, -part.amount_minor, part.payment) for part in transfer.parts)
        return
    left_minor = transfer.amount_minor
    for item in cart:
        if item.amount_minor <= left_minor:
            yield Line(LineKind.CONNECTION, item.amount_minor, item.name or item.unique_id)
            left_minor -= item.amount_minor
    if left_minor:
        yield Line(LineKind.PREPAYMENT, left_minor)
