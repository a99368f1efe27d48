"""Laws of the engine that need two runs, or no run at all."""

from __future__ import annotations

import ast
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

import tracker_server.billing
from tests.billing.moments import AROUND, ZONES, starts
from tests.billing.stories import Story
from tracker_server.billing.agenda import next_due
from tracker_server.billing.book import Book, Entry, Ids, Known, Posted, Refused, chain_holds, post
from tracker_server.billing.daily import daily_share
from tracker_server.billing.dates import ONE_DAY, date_at, days_in_month, start_of
from tracker_server.billing.engine import settle
from tracker_server.billing.reasons import Reason
from tracker_server.billing.windows import WINDOW, window_end

SOURCE = Path(tracker_server.billing.__file__).parent


@given(st.integers(1, 10**9), st.dates(date(1999, 1, 1), date(2101, 12, 31)), st.integers(1, 400))
def test_7_shares_sum_to_the_price_and_never_drift(price: int, first: date, count: int) -> None:
    month = [first.replace(day=d) for d in range(1, days_in_month(first) + 1)]
    assert sum(daily_share(price, day) for day in month) == price
    days = [first + n * ONE_DAY for n in range(count)]
    charged = sum(
        daily_share(price, day) for day in days if day.month == first.month and day.year == first.year
    )
    dates = sum(day.month == first.month and day.year == first.year for day in days)
    assert abs(charged * len(month) - price * dates) < len(month)  # less than one minor unit off


@given(starts, st.sampled_from(ZONES))
def test_a_window_is_never_shorter_than_either_reading(paid_at: datetime, zone: str) -> None:
    end = window_end(paid_at, zone)
    assert WINDOW <= end - paid_at <= WINDOW + timedelta(days=1)  # a zone may skip a whole date
    before, after = (at.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for at in (paid_at, end))
    assert after >= before + WINDOW


@given(starts, st.sampled_from(ZONES))
def test_dates_never_go_back(at: datetime, zone: str) -> None:
    day = date_at(at, zone)
    assert start_of(day, zone) <= at < start_of(day + ONE_DAY, zone) or start_of(day + ONE_DAY, zone) > at
    assert date_at(start_of(day, zone), zone) >= day
    assert date_at(at + timedelta(minutes=1), zone) >= day


@pytest.mark.parametrize(
    ("zone", "day", "starts_at"),
    [
        ("America/Santiago", date(2025, 9, 7), "2025-09-07T04:00+00:00"),  # 00:00 does not exist
        ("America/Santiago", date(2025, 4, 6), "2025-04-06T04:00+00:00"),  # 23:00 to 24:00 comes twice
        ("America/Havana", date(2025, 11, 2), "2025-11-02T04:00+00:00"),  # 00:00 comes twice: the first
        ("America/Toronto", date(1919, 3, 31), "1919-03-31T04:30+00:00"),  # 23:30 jumped to 00:30
        ("America/St_Johns", date(2006, 10, 29), "2006-10-29T02:30+00:00"),  # 00:01 went back to 23:01
        ("Europe/Moscow", date(2025, 3, 11), "2025-03-10T21:00+00:00"),
    ],
)
def test_when_a_date_begins(zone: str, day: date, starts_at: str) -> None:
    assert start_of(day, zone) == datetime.fromisoformat(starts_at)


def test_a_date_that_a_country_skipped_is_not_charged() -> None:
    story = Story(zone="Pacific/Apia", text="""
        2011-11-28 10:00  topup 1000.00
        2011-11-28 10:00  connect T1
        2012-01-02 10:00  look
    """)  # fmt: skip
    days = [str(entry.transfer.day) for entry in story.entries if entry.transfer.day]
    assert days == ["2011-12-29", "2011-12-31", "2012-01-01", "2012-01-02"]


@settings(max_examples=40)
@given(amount=st.integers(1, 500000), with_tracker=st.booleans())
def test_19_top_up_and_refund_of_the_same_leaves_nothing(amount: int, *, with_tracker: bool) -> None:
    story = Story("2025-01-01 10:00 look")
    if with_tracker:
        story.tell("2025-01-01 10:00 topup 310.00\n2025-01-01 10:00 connect T1")
    before = story.state
    paid = f"{amount // 100}.{amount % 100:02}"
    story.tell(f"2025-01-10 10:00 topup {paid}\n2025-01-10 10:00 refund {paid}")
    assert story.state.devices == before.devices
    assert story.state.book.balance_minor == before.book.balance_minor


@settings(max_examples=60)
@given(st.integers(0, 5000), st.integers(0, 5000), st.integers(1, 4))
def test_20_more_money_never_hurts_within_one_sweep(first: int, second: int, fleet: int) -> None:
    shown: list[set[str]] = []
    for left in sorted((first, second)):
        story = Story(f"2025-01-01 10:00 topup {fleet * 310}.00")
        for n in range(1, fleet + 1):
            story.tell(f"2025-01-01 10:00 connect T{n}")
        if left:
            story.tell(f"2025-01-02 10:00 topup {left // 100}.{left % 100:02}")
        story.tell("2025-02-01 10:00 look")
        shown.append({device for device in story.state.devices if story.shown(device) == "active"})
    assert shown[0] <= shown[1]


def test_16_two_runs_of_the_same_history_are_the_same_book() -> None:
    text = """
        2025-01-01 10:00  topup 1000.00
        2025-01-01 10:00  connect T1
        2025-02-20 10:00  look
    """
    assert Story(text).entries == Story(text).entries


def test_4_the_chain_shows_any_change() -> None:
    entries = Story(
        "2025-01-01 10:00 topup 500.00\n2025-01-01 10:00 connect T1\n2025-02-03 10:00 look"
    ).entries
    assert chain_holds(entries)
    for place, entry in enumerate(entries):
        changed = list(entries)
        changed[place] = replace(entry, transfer=replace(entry.transfer, amount_minor=1))
        assert not chain_holds(changed)
        assert not chain_holds(entries[:place] + entries[place + 1 :]) or place == len(entries) - 1


def reposted(book: Book, entry: Entry, **changes: object) -> object:
    return post(book, replace(entry.transfer, id="again", **changes))


def test_1_and_8_what_the_book_refuses() -> None:
    story = Story("2025-01-01 10:00 topup 500.00\n2025-01-01 10:00 sms")
    book, topup, sms = story.state.book, *story.entries
    assert reposted(book, topup, currency="EUR") == Refused(Reason.WRONG_CURRENCY)
    assert reposted(book, topup, postings=topup.transfer.postings[:1]) == Refused(Reason.UNBALANCED)
    assert reposted(book, topup, postings=sms.transfer.postings) == Refused(Reason.WRONG_ACCOUNT)
    assert reposted(book, topup, amount_minor=1) == Refused(Reason.UNBALANCED)
    from_nowhere = (replace(topup.transfer.postings[0], amount_minor=-1), topup.transfer.postings[1])
    assert reposted(book, topup, postings=from_nowhere) == Refused(Reason.UNBALANCED)
    assert post(book, replace(topup.transfer, amount_minor=1)) == Refused(Reason.ID_REUSED)
    assert post(book, topup.transfer).__class__.__name__ == "AlreadyPosted"
    empty = Book("RUB")
    assert reposted(empty, sms) == Refused(Reason.INSUFFICIENT_FUNDS)
    assert isinstance(reposted(empty, topup), Posted)


def test_ids_of_an_older_version_do_not_see_newer_ones() -> None:
    none = Ids()
    one = none.with_id("a", Known("1"))
    left, right = one.with_id("b", Known("2")), one.with_id("b", Known("3"))
    assert none.find("a") is None
    assert one.find("b") is None
    assert (left.find("b"), right.find("b")) == (Known("2"), Known("3"))
    assert left != right
    assert one.with_id("b", Known("2"))._known is left._known  # the same way again costs no copy
    assert Ids([("a", Known("1"))]) == one


@given(st.sampled_from(ZONES), st.sampled_from(AROUND), st.integers(-3000, 3000))
@settings(max_examples=60)
def test_next_due_is_exact_and_always_ahead(zone: str, anchor: datetime, minutes: int) -> None:
    start = anchor + timedelta(minutes=minutes)
    story = Story(zone=zone, start=f"{start.astimezone(ZoneInfo(zone)).replace(tzinfo=None):%Y-%m-%d %H:%M}")
    utc = f"{start:%Y-%m-%d %H:%M}Z"
    story.tell(f"{utc} topup 400.00\n{utc} connect T1")
    state, seen = story.state, 0
    while (due := next_due(state)) is not None and due < start + timedelta(days=50):
        assert due > state.settled_to
        just_before, nothing = settle(state, due - timedelta(microseconds=1))
        assert nothing == ()
        assert next_due(just_before) == due
        state, _facts = settle(state, due)
        seen += 1
    assert 1 <= seen <= 21


def test_the_engine_is_pure() -> None:
    """It imports the standard library, msgspec and the model, and neither clock, file nor network."""
    forbidden = {"asyncio", "os", "pathlib", "random", "socket", "sqlite3", "subprocess", "time", "io"}
    for path in SOURCE.glob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Attribute):
                assert node.attr not in {"now", "utcnow", "today", "time_ns"}, f"{path.name}:{node.lineno}"
            elif isinstance(node, ast.Constant):
                assert not isinstance(node.value, float), f"{path.name}:{node.lineno}: a float"
            elif isinstance(node, ast.Div):
                raise AssertionError(f"{path.name}: a division that makes floats")
            for name in names:
                assert name.split(".")[0] not in forbidden, f"{path.name} imports {name}"
                if name.startswith("tracker_server"):
                    assert name.startswith(("tracker_server.billing", "tracker_server.model")), path.name


def test_sizes() -> None:
    for path in SOURCE.glob("*.py"):
        text = path.read_text()
        assert len(text.splitlines()) <= 400, path.name
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 70, f"{path.name}: {node.name}"
