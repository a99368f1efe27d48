"""A tracker that is added in the moments around its first report: nothing of it is left in quarantine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.pipeline.test_session import Recorder
from tests.storage.rows import known, query, store_of
from tracker_protocols.model import Fix, Frame, Heartbeat, Message, Reply, Report
from tracker_server.metrics import Metrics
from tracker_server.pipeline.batch import StoreAwayError
from tracker_server.pipeline.batcher import FRAMES_MAX, Batcher
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.quarantine import Room
from tracker_server.pipeline.session import Session
from tracker_server.pipeline.trackers import Trackers
from tracker_server.storage.ingest_store import IngestStore

NOW = datetime.now(UTC).replace(microsecond=0)
KEPT = "SELECT unique_id, reason, device_id IS NOT NULL AS known, reports FROM core.quarantine ORDER BY unique_id"
STORED = """
SELECT unique_id, count(p.*) AS fixes, (SELECT count(*) FROM core.telemetry t WHERE t.device_id = d.id) AS told
FROM core.devices d LEFT JOIN core.positions p ON p.device_id = d.id GROUP BY d.id ORDER BY unique_id
"""


def reported(device: str, at: datetime) -> Report:
    return Report(device, Fix(at, 52.0, 21.0), {}, f"{device} {at}".encode(), reply=Reply(b"ok"))


class House:
    """A pipeline whose memory of trackers is told nothing: what it learns, it has asked the database."""

    def __init__(self, store: IngestStore) -> None:
        metrics = self.metrics = Metrics()
        self.trackers = Trackers()
        self.wire = Recorder()
        self.batcher = Batcher(
            store,
            metrics,
            queue_rows_max=1000,
            batch_rows_max=1000,
            unanswered_bytes_max=10_000,
            account_for_new="default",
        )
        self.ingest = Ingest(
            self.trackers, self.batcher, Room(10, 10, metrics), future_max_s=3600, register_unknown=False
        )

    def hear(self, *messages: Message) -> None:
        session = Session("owntracks", "http", "127.0.0.1:1", self.wire)
        self.ingest.receive(session, [Frame(repr(messages).encode(), messages)], NOW)

    async def commit(self) -> None:
        self.batcher.stop()
        await self.batcher.run()


async def test_one_added_before_the_commit_has_its_reports(home_dsn: str) -> None:
    async with store_of(home_dsn) as store:
        house = House(store)
        house.hear(reported("T1", NOW), Heartbeat("T1", {"battery": 80}, b"beat"))
        known(home_dsn, "T1")
        await house.commit()
        assert query(home_dsn, STORED) == [{"unique_id": "T1", "fixes": 1, "told": 1}]
        assert query(home_dsn, KEPT) == []
        assert house.wire.sent == [b"ok"]
        assert house.trackers.find("T1") is not None
        house.hear(reported("T1", NOW + timedelta(seconds=1)))
        await house.commit()
    assert query(home_dsn, STORED) == [{"unique_id": "T1", "fixes": 2, "told": 1}]


async def test_a_frame_of_several_is_kept_for_those_who_are_still_strangers(home_dsn: str) -> None:
    async with store_of(home_dsn) as store:
        house = House(store)
        house.hear(reported("A", NOW), reported("B", NOW), reported("C", NOW))
        house.hear(reported("D", NOW))
        known(home_dsn, "A", "C")
        await house.commit()
    assert query(home_dsn, STORED) == [
        {"unique_id": "A", "fixes": 1, "told": 0},
        {"unique_id": "C", "fixes": 1, "told": 0},
    ]
    unknown = {"reason": "unknown device", "known": False}
    assert query(home_dsn, KEPT) == [
        {"unique_id": "B", "reports": 3, **unknown},
        {"unique_id": "D", "reports": 1, **unknown},
    ]


async def test_a_moment_that_cannot_be_believed_is_that_trackers_from_then_on(home_dsn: str) -> None:
    async with store_of(home_dsn) as store:
        house = House(store)
        house.hear(reported("T1", NOW + timedelta(days=3)))
        known(home_dsn, "T1")
        await house.commit()
    assert query(home_dsn, KEPT) == [{"unique_id": "T1", "reason": "future", "known": True, "reports": 1}]


async def test_while_the_database_is_away_they_wait() -> None:
    async with store_of("host=127.0.0.1 port=1 dbname=nobody connect_timeout=5") as store:
        with pytest.raises(StoreAwayError):
            await store.known(["T1"])


async def test_a_crowd_is_committed_piece_by_piece(home_dsn: str) -> None:
    """What a batch makes of a frame is some kilobytes until it is committed, however few rows that are."""
    async with store_of(home_dsn) as store:
        house = House(store)
        for at in range(FRAMES_MAX + 1):
            house.hear(reported(f"T{at}", NOW))
        await house.commit()
    assert query(home_dsn, "SELECT count(*) AS kept FROM core.quarantine") == [
        {"kept": 10}
    ]  # of one kind: the room's most
    (metric,) = house.metrics.batch_rows.collect()
    sizes = {one.labels["le"]: one.value for one in metric.samples if "le" in one.labels}
    assert (sizes["1.0"], sizes["+Inf"]) == (1, 2)
