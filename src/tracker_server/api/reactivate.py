"""A customer who is blocked finds his way back by his tax number (R117): what is due, and a link to pay it, by e-mail.

Whoever asks learns nothing: the answer is the same for a number that nobody has, and the mail goes to the address that is on file.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from tracker_server.alerts.letters import DueLetter, encode, spoken
from tracker_server.api.authorise import Open, Routes
from tracker_server.api.call import Call
from tracker_server.api.payments import public_url
from tracker_server.billing.forecast import min_topup_minor
from tracker_server.pipeline.dispatcher import EMAIL
from tracker_server.storage.audit import note
from tracker_server.storage.billing_rows import accounts_by_tax_id
from tracker_server.storage.invoices import read_buyer
from tracker_server.storage.outbox import NewMessage, enqueue
from tracker_server.storage.payments import ask

routes = Routes("Payments")

TAX_ID_CHARACTERS_MAX: Final = 60


class TaxId(Struct, rename="camel"):
    """A tax number, with or without its country's letters, spaces and dots."""

    tax_id: Annotated[str, Meta(min_length=1, max_length=TAX_ID_CHARACTERS_MAX)]


@routes.post("/reactivate", needs=Open.ANYBODY, body=TaxId, status=202)
async def post_reactivate(call: Call[None, TaxId]) -> dict[str, Any]:
    """Have the amount that shows all trackers again, and a link to pay it, mailed to the account's address. The answer is
    the same whether or not there is such a customer.
    """
    plain = "".join(sign for sign in call.body.tax_id.upper() if sign.isascii() and sign.isalnum())
    if not call.services.access.may_ask(f"tax:{plain}", call.address) or not plain:
        return {}
    async with call.services.pools.core() as connection:
        for account_id in await accounts_by_tax_id(connection, plain):
            async with connection.transaction():
                state = await call.services.billing.settle(connection, account_id, call.now)
                buyer = await read_buyer(connection, account_id)
                assert buyer.email, "asked for above"
                amount_minor, link = min_topup_minor(state, state.settled_to), ""
                if amount_minor:
                    wanted = f"reactivate:{state.date_at(state.settled_to)}:{amount_minor}"
                    payment = await ask(
                        connection, account_id, amount_minor, buyer.currency, call.now, key=wanted
                    )
                    link = f"{public_url(call)}/pay/{payment.id}"
                letter = DueLetter(
                    spoken(buyer.language), buyer.party.name, buyer.currency, amount_minor, link
                )
                key = f"reactivate:{account_id}:{int(call.now.timestamp() * 1e6)}"
                message = NewMessage(key, EMAIL, buyer.email, account_id, encode(letter), call.now)
                await enqueue(connection, [message], call.now)
                await note(
                    connection, "reactivate", address=call.address, kind="account", object_id=account_id
                )
    return {}
