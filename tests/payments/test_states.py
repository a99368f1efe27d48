"""What a gateway's messages make of a payment: the table, and any order that the network may choose."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tracker_server.payments.events import (
    AnyEvent,
    Failed,
    Paid,
    Refunded,
    RefundFailed,
    Reinstated,
    TakenBack,
)
from tracker_server.payments.states import (
    NEXT,
    TAKES_MONEY,
    Credit,
    GiveAgain,
    Known,
    Move,
    Nothing,
    PaymentState,
    PayoutDone,
    PayoutFailed,
    TakeBack,
    Wait,
    diagram,
    follow,
)

AT = datetime(2027, 1, 1, tzinfo=UTC)
PAID = Paid(id="e1", at=AT, amount_minor=31000, currency="RUB")
BACK = TakenBack(id="e2", at=AT, dispute="d", amount_minor=31000, currency="RUB")
OPEN, PENDING, DONE = PaymentState.OPEN, PaymentState.PENDING, PaymentState.PAID


def known(state: PaymentState, **more: object) -> Known:
    return Known(state, 31000, "RUB", **more)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("state", "event", "action"),
    [
        (PENDING, PAID, Credit(31000)),
        (PaymentState.FAILED, PAID, Credit(31000)),
        (PaymentState.EXPIRED, PAID, Credit(31000)),
        (DONE, PAID, Nothing("it is paid")),
        (PENDING, Failed(id="e", at=AT, detail="card refused"), Move(PaymentState.FAILED, "card refused")),
        (DONE, Failed(id="e", at=AT), Nothing("it is paid")),
        (PENDING, BACK, Wait()),
        (DONE, BACK, TakeBack("dispute:d", 31000)),
        (PaymentState.MISMATCH, BACK, Nothing("it was never on the balance")),
        (DONE, Reinstated(id="e", at=AT, dispute="d", amount_minor=1, currency="RUB"), Wait()),
        (
            DONE,
            Refunded(id="e", at=AT, refund="r", amount_minor=5, currency="RUB", key="not ours"),
            TakeBack("refund:r", 5),
        ),
        (DONE, RefundFailed(id="e", at=AT, refund="r", key="k"), Nothing("we asked for no such refund")),
    ],
)
def test_a_message_and_what_follows(state: PaymentState, event: AnyEvent, action: object) -> None:
    assert follow(known(state), event) == action


@pytest.mark.parametrize(("amount_minor", "currency"), [(30999, "RUB"), (31001, "RUB"), (31000, "EUR")])
@pytest.mark.parametrize("state", sorted(TAKES_MONEY))
def test_another_amount_or_currency_is_for_people(
    state: PaymentState, amount_minor: int, currency: str
) -> None:
    paid = Paid(id="e", at=AT, amount_minor=amount_minor, currency=currency)
    action = follow(known(state), paid)
    assert isinstance(action, Move)
    assert action.to is PaymentState.MISMATCH
    assert str(amount_minor) in action.detail


def test_what_we_asked_for_is_not_taken_twice() -> None:
    refund = Refunded(id="e", at=AT, refund="re_1", amount_minor=5, currency="RUB", key="k")
    assert follow(known(DONE, payouts={"k"}), refund) == PayoutDone("k", "re_1")
    failed = RefundFailed(id="e", at=AT, refund="re_1", key="k", detail="card closed")
    assert follow(known(DONE, payouts={"k"}), failed) == PayoutFailed("k", "card closed")


def test_a_chargeback_that_was_won() -> None:
    won = Reinstated(id="e", at=AT, dispute="d", amount_minor=31000, currency="RUB")
    assert follow(known(DONE, disputes={"d"}), won) == GiveAgain("won:d", 31000)
    other = Reinstated(id="e", at=AT, dispute="d", amount_minor=31000, currency="EUR")
    assert isinstance(follow(known(DONE, disputes={"d"}), other), Nothing)


def test_every_state_is_in_the_table_and_the_diagram() -> None:
    named = {state for pair in NEXT for state in pair}
    assert named == set(PaymentState)
    assert all(f"{before} --> {after}" in diagram() for before, after in NEXT)
    assert DONE not in {before for before, _ in NEXT}, (
        "what is paid stays paid; money that goes back is booked"
    )
