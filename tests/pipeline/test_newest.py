"""Over which way a device is told something, and which of several processes tells it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker_server.pipeline.newest import SLACK_S, Heard, Way, way

WAYS = ("line", "mqtt", "http")
GAP_S = 10 * SLACK_S


def deciding(known: list[Heard]) -> list[Way | None]:
    """What each process decides."""
    return [way(mine, known[:number] + known[number + 1 :]) for number, mine in enumerate(known)]


@pytest.mark.parametrize("ways", list(itertools.permutations(WAYS)))
@pytest.mark.parametrize("homes", list(itertools.product(range(3), repeat=3)))
def test_the_newest_way_tells_it_wherever_it_leads(ways: tuple[str, ...], homes: tuple[int, ...]) -> None:
    """All orders of coming, in one process or spread over three. Over HTTP nothing can be said, so it is tried by MQTT, where
    nothing is lost; a line that is not the newest is half open.
    """
    heard: list[dict[str, float]] = [{}, {}, {}]
    for number, (name, home) in enumerate(zip(ways, homes, strict=True), start=1):
        heard[home][name] = number * GAP_S
    decided = deciding(
        [Heard(max(one.values(), default=0.0), one.get("line"), one.get("mqtt")) for one in heard]
    )
    expected: list[Way | None] = [None, None, None]
    last = "line" if ways[-1] == "line" else "mqtt"
    expected[homes[ways.index(last)]] = Way.LINE if last == "line" else Way.POST
    assert decided == expected


def test_what_came_over_http_last_is_told_nothing_over_an_old_connection() -> None:
    assert way(Heard(100.0, 90.0), []) is None
    assert way(Heard(100.0, 99.5), []) is Way.LINE
    assert way(Heard(90.0, 90.0), [Heard(100.0)]) is None
    assert way(Heard(90.0, 90.0), [Heard(90.5), Heard()]) is Way.LINE
    assert way(Heard(100.0), []) is None


def test_who_subscribed_after_a_line_was_silent_is_told_by_mqtt_before_it_publishes() -> None:
    assert deciding([Heard(90.0, 90.0), Heard(0.0, None, 95.0)]) == [None, Way.POST]
    assert way(Heard(90.0, 90.0, 95.0), []) is Way.POST
    assert way(Heard(99.0, 99.0, 95.0), []) is Way.LINE, "the line has spoken since"


def test_the_endpoint_that_heard_it_is_newer_than_one_that_it_left() -> None:
    """It publishes to one process, and its old subscription in another is half open."""
    assert deciding([Heard(100.0, None, 10.0), Heard(50.0, None, 20.0)]) == [Way.POST, None]


moments = st.integers(0, 50).map(float)
perhaps = st.none() | moments


@given(st.lists(st.builds(Heard, moments, perhaps, perhaps), min_size=1, max_size=5))
def test_never_two_kinds_of_way(known: list[Heard]) -> None:
    """Two processes may tell only what is equally old; and where there is a way by MQTT, something is always told."""
    decided = deciding(known)
    chosen = [(said, one) for said, one in zip(decided, known, strict=True) if said is not None]
    assert len({said for said, _ in chosen}) <= 1
    assert len({one.line_at if said is Way.LINE else one.post_seen_at for said, one in chosen}) <= 1
    if any(one.post_at is not None for one in known):
        assert chosen
