"""The gate: reasons are independent, and time alone may open or close it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tracker_server.gate import Block, BlockReason, Hidden, Visible, decide

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)

moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))
blocks = st.builds(
    Block,
    reason=st.sampled_from([*BlockReason, "billing"]),
    since=moments,
    until=st.none() | moments,
)


def test_nothing_hides_a_tracker_without_blocks() -> None:
    assert decide((), NOON) == Visible()


def test_a_hold_hides_from_its_first_instant() -> None:
    hold = Block(BlockReason.HOLD, NOON, note="theft report")
    assert decide([hold], NOON - SECOND) == Visible(until=NOON)
    assert decide([hold], NOON) == Hidden((hold,), NOON)


def test_a_block_ends_at_its_until() -> None:
    block = Block(BlockReason.HOLD, NOON, NOON + SECOND)
    assert isinstance(decide([block], NOON), Hidden)
    assert decide([block], NOON + SECOND) == Visible()


def test_lifting_one_reason_leaves_the_other() -> None:
    hold, billing = Block(BlockReason.HOLD, NOON), Block("billing", NOON - SECOND)
    assert decide([hold, billing], NOON) == Hidden((hold, billing), NOON - SECOND)
    assert decide([hold], NOON) == Hidden((hold,), NOON)


@given(st.lists(blocks), moments)
def test_hidden_exactly_while_some_block_is_in_force(some: list[Block], now: datetime) -> None:
    hidden = any(b.since <= now and (b.until is None or now < b.until) for b in some)
    assert isinstance(decide(some, now), Hidden) == hidden


@given(st.lists(blocks), moments)
def test_a_visible_tracker_stays_visible_until_the_instant_that_is_named(
    some: list[Block], now: datetime
) -> None:
    match decide(some, now):
        case Visible(until=None):
            assert not [b for b in some if b.since > now]
        case Visible(until=moment):
            assert moment is not None
            assert isinstance(decide(some, moment - timedelta(microseconds=1)), Visible)
        case Hidden():
            pass
