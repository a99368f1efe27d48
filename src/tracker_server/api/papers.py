"""Invoices and statements."""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta, Struct
from starlette.responses import Response

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad
from tracker_server.api.money_values import date_of, written
from tracker_server.api.values import iso, moment
from tracker_server.model.people import Right
from tracker_server.model.why import Why
from tracker_server.papers.documents import invoice_pdf, statement_pdf
from tracker_server.storage.installations import schedule
from tracker_server.storage.invoices import TooLongError, papers, read_paper, read_statement

routes = Routes("Papers")


LIST_MAX = 10_000
PDF = "application/pdf"


class Invoice(Struct, rename="camel"):
    """A paper's line in the list; ``kind``: invoice, or credit_note for money that went back."""

    id: int
    number: str
    kind: str
    issued_at: str | None
    amount: str
    currency: str


class InvoiceQuery(Struct, rename="camel"):
    """The receipt for the payment instead of the invoice."""

    receipt: bool = False


class StatementQuery(Struct, rename={"first": "from", "last": "to"}):
    """The first and the last date, in the account's zone."""

    first: Annotated[str, Meta(max_length=40)] = ""
    last: Annotated[str, Meta(max_length=40)] = ""


@routes.get("/accounts/{id}/invoices", needs=Right.BOOKS, objects={"id": Kind.ACCOUNT}, answers=list[Invoice])
async def get_invoices(call: Call[None, None]) -> list[Invoice]:
    """Invoices and credit notes, newest first."""
    async with call.services.pools.core() as connection:
        return [
            Invoice(
                row["id"],
                row["number"],
                row["kind"],
                iso(row["issued_at"]),
                written(row["amount_minor"], row["currency"]),
                row["currency"],
            )
            async for row in papers(connection, call.id, LIST_MAX)
        ]


class VisitBody(Struct, rename="camel"):
    """When the trackers of an invoice are installed."""

    visit: Annotated[str, Meta(max_length=40)]


class Installation(Struct, rename="camel"):
    """A visit that was agreed on."""

    number: str
    visit: str | None


@routes.post(
    "/invoices/{id}/installation",
    needs=Right.OPERATE,
    objects={"id": Kind.INVOICE},
    body=VisitBody,
    answers=Installation,
)
async def post_installation(call: Call[None, VisitBody]) -> Installation:
    """A visit was agreed on for an invoice that connects trackers; the operator is not told any more that it is missing."""
    visit = moment(call.body.visit, "visit")
    async with call.services.pools.core() as connection:
        number = await schedule(connection, visit, call.now, invoice_id=call.id)
    if number is None:
        raise Refusal(
            409,
            "no visit is owed for this invoice: it connects no tracker, or seller.installation_hours is 0",
        )
    return Installation(number, iso(visit))


@routes.get(
    "/invoices/{id}.pdf",
    needs=Right.BOOKS,
    objects={"id": Kind.INVOICE},
    query=InvoiceQuery,
    media=(PDF,),
)
async def get_invoice_pdf(call: Call[InvoiceQuery, None]) -> Response:
    """An invoice or a credit note."""
    async with call.services.pools.core() as connection:
        found = await read_paper(connection, paper_id=call.id)
    assert found is not None, "authorised, and never deleted"
    made = await asyncio.to_thread(invoice_pdf, found[0], receipt=call.query.receipt)
    return _file(made, found[0].number)


@routes.get(
    "/accounts/{id}/statement.pdf",
    needs=Right.BOOKS,
    objects={"id": Kind.ACCOUNT},
    query=StatementQuery,
    media=(PDF,),
)
async def get_statement_pdf(call: Call[StatementQuery, None]) -> Response:
    """All that moved in a period, with the balance before and after."""
    first, last = date_of("from", call.query.first[:10]), date_of("to", call.query.last[:10])
    if last < first:
        raise bad("to", "lies before from; exchange them", Why.PERIOD_REVERSED)
    async with call.services.pools.core() as connection:
        try:
            statement = await read_statement(connection, call.id, first, last)
        except TooLongError as error:
            raise Refusal(400, f"to: the period {error}") from None
    return _file(await asyncio.to_thread(statement_pdf, statement), f"{first}-{last}")


def _file(made: bytes, name: str) -> Response:
    return Response(made, media_type=PDF, headers={"Content-Disposition": f'inline; filename="{name}.pdf"'})
