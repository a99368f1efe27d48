"""R132: one suite for all gateways. Whatever adapter is added is added to ``SIDES`` and held to all of this, over a
real database and the real book.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.payments.peers import SECRET, Side, StripePeer, StripeSide, WebhookSide
from tests.storage.rows import query
from tests.storage.test_billing_store import JANUARY, Operator, operating
from tracker_server.billing.commands import Refund
from tracker_server.config import Settings, Storage
from tracker_server.metrics import Metrics
from tracker_server.model.paper import CartLine
from tracker_server.payments.port import BadMessageError, BadSignatureError, Checkout
from tracker_server.payments.states import PaymentState
from tracker_server.storage.database import Database, Role
from tracker_server.storage.payments import KeyReusedError, Payment, ask, begun, expire, read_payment, take
from tracker_server.storage.payouts import PayoutClock

SIDES = ("stripe", "webhook")


@pytest.fixture
def stripe_peer() -> Generator[StripePeer]:
    peer = StripePeer()
    yield peer
    peer.close()


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest, stripe_peer: StripePeer) -> Side:
    return StripeSide(stripe_peer.url) if request.param == "stripe" else WebhookSide(stripe_peer.url)


class Till:
    """An account, a gateway, and what the gateway tells."""

    def __init__(self, operator: Operator, side: Side) -> None:
        self.operator = operator
        self.side = side
        self.database = Database(Settings(storage=Storage(dsn=operator.dsn)))

    async def asks(self, amount_minor: int = 50000, cart: list[CartLine] | None = None) -> Payment:
        made = await ask(
            self.operator.connection, self.operator.account, amount_minor, "RUB", JANUARY, cart=cart or []
        )
        checkout = Checkout(made.id, amount_minor, "RUB", "Tracking", "ru", "https://t.example/pay/return")
        started = await self.side.gateway.start(checkout)
        return await begun(
            self.operator.connection, made.id, self.side.name, started.reference, started.url, JANUARY
        )

    async def told(self, signed: tuple[dict[str, str], bytes]) -> str:
        """On a connection of its own, as the web server's requests have."""
        event = self.side.gateway.read(*signed, datetime.now(UTC))
        assert event is not None
        async with await self.database.connect(Role.CORE) as connection:
            return await take(connection, self.operator.store, self.side.name, event, JANUARY)

    async def state(self, payment: Payment) -> PaymentState:
        found = await read_payment(self.operator.connection, payment.id)
        assert found is not None
        return found.state

    def book(self) -> list[tuple[str, int]]:
        return [(kind, amount) for kind, _, amount, _ in self.operator.ledger()]

    def balance(self) -> int:
        entries = self.operator.ledger()
        return entries[-1][3] if entries else 0

    async def owes(self) -> int:
        return (
            await self.operator.store.read(self.operator.connection, self.operator.account)
        ).book.receivable_minor


@asynccontextmanager
async def till_of(dsn: str, side: Side) -> AsyncGenerator[Till]:
    async with operating(dsn) as operator:
        yield Till(operator, side)


async def test_r132_success(postgres_dsn: str, side: Side) -> None:
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks()
        assert payment.url.startswith("https://pay.example/")
        assert await till.told(side.paid(payment.id, 50000, "RUB")) == "paid"
        assert till.book() == [("topup", 50000)]
        assert await till.state(payment) is PaymentState.PAID
        assert len(query(postgres_dsn, "SELECT id FROM core.invoices")) == 1
        await till.operator.verified()


async def test_r132_failure(postgres_dsn: str, side: Side) -> None:
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks()
        await till.told(side.failed(payment.id))
        assert (await till.state(payment), till.book()) == (PaymentState.FAILED, [])
        assert await till.told(side.paid(payment.id, 50000, "RUB")) == "paid", "tried again with another card"
        await till.told(side.failed(payment.id, "evt_late"))
        assert (await till.state(payment), till.balance()) == (PaymentState.PAID, 50000)


async def test_r132_duplicates_three_times_and_two_at_once(postgres_dsn: str, side: Side) -> None:
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks()
        signed = side.paid(payment.id, 50000, "RUB")
        outcomes = await asyncio.gather(*(till.told(signed) for _ in range(3)))
        outcomes.append(await till.told(side.paid(payment.id, 50000, "RUB", event="evt_same_thing_again")))
        assert sorted(outcomes) == ["nothing: it is paid", "paid", "told before", "told before"]
        assert till.book() == [("topup", 50000)]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_r132_out_of_order(postgres_dsn: str, side: Side, order: tuple[int, ...]) -> None:
    """Paid, taken back, reinstated: in all six orders, each twice, the same end."""
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks()
        messages = [
            side.paid(payment.id, 50000, "RUB"),
            side.taken_back(payment.id, 50000, "RUB"),
            side.reinstated(payment.id, 50000, "RUB"),
        ]
        for place in order:
            await till.told(messages[place])
            await till.told(messages[place])
        assert sorted(till.book()) == [("reversal", -50000), ("topup", 50000), ("topup", 50000)]
        assert (till.balance(), await till.owes()) == (50000, 0)
        waiting = query(postgres_dsn, "SELECT id FROM core.gateway_events WHERE outcome = 'waiting'")
        assert waiting == []
        await till.operator.verified()


async def test_r132_bad_signature_changes_nothing(postgres_dsn: str, side: Side) -> None:
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks()
        headers, body = side.paid(payment.id, 50000, "RUB")
        forged = side.paid(payment.id, 50000, "RUB", secret=SECRET[::-1])
        name = next(iter(headers))
        old = headers[name].replace("t=1", "t=0")
        for bad in (forged, ({}, body), (headers, body + b" "), ({name: old}, body), ({name: "x"}, body)):
            with pytest.raises(BadSignatureError):
                await till.told(bad)
        assert till.book() == []
        assert await till.state(payment) is PaymentState.PENDING


@pytest.mark.parametrize(("amount_minor", "code"), [(49999, "RUB"), (50001, "RUB"), (50000, "EUR")])
async def test_r132_wrong_amount_and_wrong_currency(
    postgres_dsn: str, side: Side, amount_minor: int, code: str
) -> None:
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks()
        await till.told(side.paid(payment.id, amount_minor, code))
        assert (await till.state(payment), till.book()) == (PaymentState.MISMATCH, [])
        found = await read_payment(till.operator.connection, payment.id)
        assert found is not None
        assert f"{amount_minor} {code}" in found.detail


async def test_r132_refund_made_at_the_gateway(postgres_dsn: str, side: Side) -> None:
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks()
        assert await till.told(side.refunded(payment.id, 20000, "RUB")) == "waiting"
        await till.told(side.paid(payment.id, 50000, "RUB"))
        await till.told(side.refunded(payment.id, 20000, "RUB", event="evt_updated"))
        assert till.book() == [("topup", 50000), ("reversal", -20000)]
        await till.operator.verified()


async def test_r132_chargeback_leaves_a_debt_and_no_negative_balance(postgres_dsn: str, side: Side) -> None:
    """R57: 100.00 left, chargeback 410.00: balance 0.00, 310.00 owed."""
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks(41000)
        await till.told(side.paid(payment.id, 41000, "RUB"))
        till.operator.adds("T1")
        await till.operator.settles(JANUARY)
        await till.told(side.taken_back(payment.id, 41000, "RUB"))
        assert (till.balance(), await till.owes()) == (0, 31000)


async def test_r80_a_refund_goes_back_through_its_gateway_once(
    postgres_dsn: str, side: Side, stripe_peer: StripePeer
) -> None:
    """Two payments; 350.00 goes back, the later first; the gateway is away at first, and its answer is lost once."""
    async with till_of(postgres_dsn, side) as till:
        first, second = await till.asks(30000), await till.asks(20000)
        for number, payment in enumerate((first, second)):
            await till.told(side.paid(payment.id, payment.amount_minor, "RUB", event=f"evt_{number}"))
        await till.operator.does(Refund(key="r", amount_minor=35000))
        moments = iter(range(10_000))
        clock = PayoutClock(
            till.database,
            till.operator.store,
            Metrics(),
            {side.name: side.gateway},
            lambda: datetime(2028, 1, 1, 0, next(moments) % 60, tzinfo=UTC),
        )
        stripe_peer.answer = _answers(stripe_peer)  # pyright: ignore[reportAttributeAccessIssue]
        stripe_peer.fails = 503
        assert await clock.work_due(till.operator.connection) == 0
        waiting = query(postgres_dsn, "SELECT error FROM core.payouts WHERE state = 'waiting'")
        assert len(waiting) == 2
        assert all(row["error"] for row in waiting)
        stripe_peer.fails = 0
        query(postgres_dsn, "UPDATE core.payouts SET next_at = '2028-01-01'")
        assert await clock.work_due(till.operator.connection) == 2
        rows = query(
            postgres_dsn, "SELECT payment_id, amount_minor, state, key FROM core.payouts ORDER BY id"
        )
        assert [(row["payment_id"], row["amount_minor"], row["state"]) for row in rows] == [
            (second.id, 20000, "done"),
            (first.id, 15000, "done"),
        ]
        # the gateway's own word about what we asked for takes nothing twice
        await till.told(side.refunded(second.id, 20000, "RUB", key=rows[0]["key"]))
        assert till.balance() == 15000
        keys = [key for path, _, key in stripe_peer.asked if "refund" in path]
        assert len(set(keys)) <= 2


def _answers(peer: StripePeer) -> Any:
    plain = type(peer).answer

    def answer(path: str, form: dict[str, str], number: int) -> dict[str, Any]:
        return {"taken": True} if path == "/" else plain(peer, path, form, number)

    return answer


async def test_r96_a_cart_is_connected_whole_when_it_is_paid(postgres_dsn: str, side: Side) -> None:
    """Two trackers at 310.00: paid, both are connected, before one that was blocked for long; failed, none is."""
    async with till_of(postgres_dsn, side) as till:
        till.operator.adds("T0")
        await till.operator.settles(JANUARY)
        cart = [CartLine("T1", 31000, "Van"), CartLine("T2", 31000)]
        failed = await till.asks(62000, cart)
        await till.told(side.failed(failed.id))
        assert till.operator.ledger() == []
        payment = await till.asks(62000, cart)
        signed = side.paid(payment.id, 62000, "RUB")
        await asyncio.gather(*(till.told(signed) for _ in range(2)))
        assert [(kind, device) for kind, device, _, _ in till.operator.ledger()] == [
            ("topup", None), ("connection", "T1"), ("connection", "T2"),
        ]  # fmt: skip
        rows = query(postgres_dsn, "SELECT unique_id, name FROM core.devices WHERE account_id = %s ORDER BY id", [till.operator.account])  # fmt: skip
        assert [(row["unique_id"], row["name"]) for row in rows] == [
            ("T0", "T0"),
            ("T1", "Van"),
            ("T2", "T2"),
        ]
        await till.operator.settles(JANUARY)
        assert len(till.operator.ledger()) == 3, "the clock connects nothing again"
        paper = query(postgres_dsn, "SELECT paper FROM core.invoices")[0]["paper"]
        assert [line["amount_minor"] for line in paper["lines"]] == [31000, 31000]
        await till.operator.verified()


async def test_a_tracker_of_the_cart_that_somebody_connected_meanwhile(postgres_dsn: str, side: Side) -> None:
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks(62000, [CartLine("T1", 31000), CartLine("T2", 31000)])
        query(postgres_dsn, "INSERT INTO core.devices (unique_id, account_id, name) SELECT 'T1', id, 'T1' FROM core.accounts WHERE name = 'default'")  # fmt: skip
        await till.told(side.paid(payment.id, 62000, "RUB"))
        assert till.balance() == 31000
        found = await read_payment(till.operator.connection, payment.id)
        assert found is not None
        assert "T1" in found.detail


async def test_r97_the_gateways_word_counts_whenever_it_comes(postgres_dsn: str, side: Side) -> None:
    """The browser was closed and the link has expired: the money is taken all the same."""
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks()
        assert (
            await expire(till.operator.connection, datetime(2028, 1, 1, tzinfo=UTC), JANUARY - JANUARY) == 1
        )
        assert await till.state(payment) is PaymentState.EXPIRED
        assert await till.told(side.paid(payment.id, 50000, "RUB")) == "paid"
        assert till.balance() == 50000


async def test_one_gateway_cannot_speak_of_anothers_payments(postgres_dsn: str, side: Side) -> None:
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks()
        query(postgres_dsn, "UPDATE core.payments SET gateway = 'another', gateways = '{another}'")
        assert await till.told(side.paid(payment.id, 50000, "RUB")) == "waiting"
        assert till.book() == []


async def test_a_payer_who_chose_another_gateway_and_pays_at_the_first_after_all(
    postgres_dsn: str, side: Side
) -> None:
    async with till_of(postgres_dsn, side) as till:
        payment = await till.asks()
        await begun(till.operator.connection, payment.id, "another", "", "https://another.example", JANUARY)
        assert await till.told(side.failed(payment.id)) == "waiting", "he is elsewhere, and may pay there"
        assert await till.told(side.paid(payment.id, 50000, "RUB")) == "paid"
        assert till.book() == [("topup", 50000)]
        stands = await read_payment(till.operator.connection, payment.id)
        assert stands is not None
        assert (stands.state, stands.gateway) == (PaymentState.PAID, side.name), "what goes back goes there"
        await till.told(side.refunded(payment.id, 50000, "RUB"))
        assert till.balance() == 0
        await till.operator.verified()


async def test_asked_for_twice_under_one_key_is_one_payment(postgres_dsn: str, side: Side) -> None:
    async with till_of(postgres_dsn, side) as till:
        connection, account = till.operator.connection, till.operator.account
        one = await ask(connection, account, 100, "RUB", JANUARY, key="k")
        assert (await ask(connection, account, 100, "RUB", JANUARY, key="k")).id == one.id
        with pytest.raises(KeyReusedError):
            await ask(connection, account, 200, "RUB", JANUARY, key="k")


def test_a_signed_message_that_says_nothing_is_refused_in_words() -> None:
    side = WebhookSide()
    for message, words in (
        ({"id": "e", "type": "paid", "payment": "p"}, "currency"),
        ({"id": "e", "type": "paid", "payment": "p", "amount": "1.234", "currency": "EUR"}, "1.234"),
        ({"id": "e", "type": "paid", "payment": "p", "amount": "-1", "currency": "EUR"}, "not above zero"),
        ({"id": "e", "type": "charged_back", "payment": "p", "amount": "1", "currency": "EUR"}, "reference"),
        ({"id": "e", "type": "gift", "payment": "p"}, "gift"),
        ({"id": "e", "type": "paid", "payment": "p", "more": 1}, "more"),
    ):
        headers, body = side._signed(message)
        with pytest.raises(BadMessageError, match=words):
            side.gateway.read(headers, body, datetime.now(UTC))
    stripe = StripeSide("http://127.0.0.1:1")
    headers, body = stripe.signed("e", "checkout.session.completed", {"id": "cs"})
    with pytest.raises(BadMessageError):
        stripe.gateway.read(headers, body, datetime.now(UTC))
    headers, body = stripe.signed("e", "customer.created", {"id": "cus"})
    assert stripe.gateway.read(headers, body, datetime.now(UTC)) is None
