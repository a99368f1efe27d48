"""The hub without a server: who is told what, what slow readers keep, and what a block takes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.storage.rows import batch, position
from tracker_server.gate import Block
from tracker_server.live.hub import AwayError, EventNews, Hub
from tracker_server.live.subscriber import EVENTS_MAX, Subscriber, Update
from tracker_server.metrics import Metrics
from tracker_server.model.people import Scope
from tracker_server.pipeline.trackers import Tracker, Trackers

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WITHIN_S = 20.0


class Rows:
    """Where the hub reads: a number for each tracker, which grows with each round."""

    def __init__(self, trackers: Trackers) -> None:
        self.trackers = trackers
        self.rounds: list[set[int]] = []
        self.away = 0

    async def changed(self, device_ids: Iterable[int]) -> list[Update]:
        if self.away:
            self.away -= 1
            raise AwayError("not now")
        asked = set(device_ids)
        self.rounds.append(asked)
        updates: list[Update] = []
        for device_id in asked:
            tracker = self.trackers.by_id(device_id)
            if tracker is None or tracker.account_id is None:
                continue
            if tracker.blocks:
                updates.append(
                    Update(device_id, tracker.account_id, card=f'{{"id":{device_id},"disabled":true}}')
                )
                continue
            round_ = len(self.rounds)
            updates.append(
                Update(
                    device_id,
                    tracker.account_id,
                    f'{{"deviceId":{device_id},"round":{round_}}}',
                    f'{{"id":{device_id}}}',
                )
            )
        return updates

    async def alerts(self, alert_ids: Iterable[int]) -> list[EventNews]:
        return [EventNews(1, 7, json.dumps({"id": number})) for number in alert_ids]


class World:
    """Trackers 1 to 4, of which 1 and 2 are account 7's and the others account 8's."""

    def __init__(self) -> None:
        self.now = NOON
        self.trackers = Trackers()
        for device_id in (1, 2, 3, 4):
            self.trackers.add(Tracker(f"t{device_id}", id=device_id, account_id=7 if device_id < 3 else 8))
        self.rows = Rows(self.trackers)
        self.hub = Hub(self.trackers, self.rows, Metrics(), lambda: self.now)

    def tracker(self, device_id: int) -> Tracker:
        found = self.trackers.by_id(device_id)
        assert found is not None
        return found

    def block(self, device_id: int, since: datetime = NOON) -> None:
        self.tracker(device_id).blocks = (Block("billing", since),)
        self.hub.touch([device_id])


@asynccontextmanager
async def world() -> AsyncGenerator[World]:
    made = World()
    running = asyncio.create_task(made.hub.run())
    try:
        yield made
    finally:
        running.cancel()


async def told(subscriber: Subscriber) -> dict[str, Any]:
    async with asyncio.timeout(WITHIN_S):
        while True:
            await subscriber.next()
            text = subscriber.take()
            if text is not None:
                return json.loads(text)


async def test_each_is_told_of_what_it_may_see() -> None:
    async with world() as here:
        seven = here.hub.subscribe(Scope(account_id=7), manages=True)
        guest = here.hub.subscribe(Scope(device_ids=frozenset({3})), manages=False)
        operator = here.hub.subscribe(Scope(everything=True), manages=True)
        here.hub.touch([1, 3])
        assert [one["id"] for one in (await told(seven))["devices"]] == [1]
        assert [one["deviceId"] for one in (await told(guest))["positions"]] == [3]
        assert sorted(one["id"] for one in (await told(operator))["devices"]) == [1, 3]
        here.hub.unsubscribe(operator)
        here.hub.touch([4])
        await asyncio.sleep(0)
        assert here.rows.rounds == [{1, 3}], "nobody watches tracker 4, so nobody reads it"


async def test_a_commit_touches_the_trackers_of_its_rows() -> None:
    async with world() as here:
        watching = here.hub.subscribe(Scope(account_id=7), manages=True)
        here.hub.committed(batch(position(here.tracker(1), NOON), position(here.tracker(4), NOON)))
        assert [one["deviceId"] for one in (await told(watching))["positions"]] == [1]
        assert here.rows.rounds == [{1}]


async def test_a_slow_reader_keeps_the_latest_of_each_tracker_and_nobody_waits_for_it() -> None:
    async with world() as here:
        slow = here.hub.subscribe(Scope(account_id=7), manages=True)
        quick = here.hub.subscribe(Scope(account_id=7), manages=True)
        for _ in range(4):
            here.hub.touch([1, 2])
            await told(quick)
        for number in range(EVENTS_MAX + 5):
            here.hub.tell_event(EventNews(1, 7, json.dumps({"id": number})))
        assert slow.waiting == 2 + 2 + EVENTS_MAX
        late = await told(slow)
        assert [one["round"] for one in late["positions"]] == [4, 4]
        assert [one["id"] for one in late["events"]] == list(range(5, EVENTS_MAX + 5)), "the oldest went"


async def test_a_block_takes_back_what_waits_and_tells_managers_only() -> None:
    async with world() as here:
        manager = here.hub.subscribe(Scope(account_id=7), manages=True)
        viewer = here.hub.subscribe(Scope(account_id=7), manages=False)
        here.hub.touch([1])
        await told(manager)
        await told(viewer)
        here.hub.touch([1, 2])
        await viewer.next()
        here.hub.tell_event(EventNews(1, 7, '{"id":1}'))
        here.block(1)
        assert viewer.take() is not None
        found = json.loads(viewer.take() or "{}")
        assert not found, "all that waited went with the first message"
        here.hub.tell_event(EventNews(1, 7, '{"id":2}'))
        assert viewer.take() is None, "nothing goes out of what the gate hides at this moment"
        seen = await told(manager)
        while not any(one.get("disabled") for one in seen["devices"]):
            seen = await told(manager)
        assert [one["id"] for one in seen["devices"] if one.get("disabled")] == [1]
        assert viewer.waiting == 0


async def test_r46_an_open_stream_stops_at_the_instant_of_the_block() -> None:
    """The block begins at 00:00:00.000, by time alone; what is received at 00:00:00.001 is not pushed."""
    async with world() as here:
        midnight = NOON.replace(hour=0) + timedelta(days=1)
        here.now = midnight - timedelta(milliseconds=1)
        here.tracker(1).blocks = (Block("billing", midnight),)
        watching = here.hub.subscribe(Scope(account_id=7), manages=False)
        here.hub.committed(batch(position(here.tracker(1), here.now)))
        await watching.next()
        here.now = midnight
        assert watching.take() is None, "what was read before it and waits goes nowhere"
        here.now = midnight + timedelta(milliseconds=1)
        here.hub.committed(batch(position(here.tracker(1), here.now), position(here.tracker(2), here.now)))
        heard = await told(watching)
        assert [one["deviceId"] for one in heard["positions"]] == [2]


async def test_what_waits_when_the_block_begins_never_goes_out() -> None:
    async with world() as here:
        viewer = here.hub.subscribe(Scope(account_id=7), manages=False)
        here.hub.touch([1, 2])
        await viewer.next()
        here.block(1)
        found = json.loads(viewer.take() or "{}")
        assert [one["id"] for one in found["devices"]] == [2]
        assert [one["deviceId"] for one in found["positions"]] == [2]


async def test_blocks_that_begin_and_end_by_time_alone_are_noticed() -> None:
    async with world() as here:
        manager = here.hub.subscribe(Scope(account_id=7), manages=True)
        here.tracker(1).blocks = (Block("billing", NOON + timedelta(hours=1), NOON + timedelta(hours=2)),)
        assert not here.hub.is_hidden(1)
        here.now = NOON + timedelta(hours=1)
        assert here.hub.is_hidden(1)
        assert (await told(manager))["devices"] == [{"id": 1, "disabled": True}]
        here.now = NOON + timedelta(hours=2)
        here.tracker(1).blocks = ()
        found = await told(manager)
        assert [one["deviceId"] for one in found["positions"]] == [1]


async def test_a_scope_that_narrows_takes_back_what_waits() -> None:
    async with world() as here:
        watching = here.hub.subscribe(Scope(everything=True), manages=False)
        here.hub.touch([1, 3])
        await watching.next()
        here.hub.rescope(watching, Scope(device_ids=frozenset({3})), manages=False)
        found = json.loads(watching.take() or "{}")
        assert [one["deviceId"] for one in found["positions"]] == [3]
        here.hub.touch([1])
        here.hub.touch([3])
        assert [one["deviceId"] for one in (await told(watching))["positions"]] == [3]


async def test_a_tracker_that_is_removed_is_pushed_no_more() -> None:
    async with world() as here:
        watching = here.hub.subscribe(Scope(everything=True), manages=True)
        here.hub.touch([1])
        await watching.next()
        here.trackers.discard(here.tracker(1))
        assert watching.take() is None


async def test_while_the_database_is_away_nothing_is_lost() -> None:
    async with world() as here:
        watching = here.hub.subscribe(Scope(account_id=7), manages=True)
        here.rows.away = 2
        here.hub.touch([1])
        assert [one["id"] for one in (await told(watching))["devices"]] == [1]


async def test_alerts_reach_who_may_see_the_tracker() -> None:
    async with world() as here:
        seven = here.hub.subscribe(Scope(account_id=7), manages=True)
        eight = here.hub.subscribe(Scope(account_id=8), manages=True)
        here.hub.alerted([5])
        assert await told(seven) == {"events": [{"id": 5}]}
        assert eight.waiting == 0


async def test_an_event_of_two_trackers_reaches_who_may_see_both() -> None:
    async with world() as here:
        both = here.hub.subscribe(Scope(account_id=7), manages=True)
        one = here.hub.subscribe(Scope(device_ids=frozenset({1})), manages=True)
        here.hub.tell_event(EventNews(1, 7, '{"id":1}', (2,)))
        assert await told(both) == {"events": [{"id": 1}]}
        here.block(2)
        here.hub.tell_event(EventNews(1, 7, '{"id":2}', (2,)))
        assert (one.waiting, both.waiting) == (0, 0)


async def test_other_processes_are_told_what_was_touched_only_where_there_are_any() -> None:
    async with world() as here:
        here.hub.committed(batch(position(here.tracker(1), NOON)))
        assert here.hub.outbound is None
        here.hub.outbound = set()
        here.hub.committed(batch(position(here.tracker(1), NOON), position(here.tracker(4), NOON)))
        assert here.hub.outbound == {1, 4}


async def test_the_end_wakes_the_socket() -> None:
    async with world() as here:
        watching = here.hub.subscribe(Scope(account_id=7), manages=True)
        watching.end("signed out")
        await asyncio.wait_for(watching.next(), WITHIN_S)
        assert watching.ended == "signed out"
