"""Replaying the quarantine: pages of kept frames through the same commit as everything that comes in.

Rows are deleted after the commit that stores what they hold. A process killed between the two leaves rows
whose reports are stored already; the next replay finds each of them there, by its key, and only deletes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from msgspec import Struct, field

from tracker_protocols.model import DeviceKey, Message
from tracker_server.pipeline.batch import Batch, Stored, micros
from tracker_server.pipeline.quarantine import KeptFrame, QuarantineReason
from tracker_server.pipeline.replay import Attempt, UnknownProtocolError, decode, take
from tracker_server.pipeline.trackers import Tracker
from tracker_server.storage.database import Database, Role
from tracker_server.storage.ingest_store import IngestStore
from tracker_server.storage.quarantine_rows import Choice, delete_frames, kept, page
from tracker_server.storage.track_store import TrackStage
from tracker_server.storage.tracker_rows import read_named

log = structlog.get_logger(__name__)

PAGE_FRAMES = 200  # a frame holds at most some hundred reports, so a page stays a batch of ordinary size
DEFECT = "a defect of ours"
NO_SUCH_PROTOCOL = "no such protocol"

Decoded = tuple[KeptFrame, list[tuple[DeviceKey | None, Message]]]


class Replayed(Struct):
    """What came of a replay. ``stays``: how many frames stay, by reason."""

    frames: int = 0
    replayed: int = 0
    reports_stored: int = 0
    reports_repeated: int = 0
    stays: Counter[str] = field(default_factory=Counter)


class Replay:
    """One run over the frames chosen, in the order of their receipt; what comes in meanwhile is not looked at."""

    def __init__(
        self,
        database: Database,
        stage: TrackStage,
        *,
        future_max_s: int,
        register_unknown: bool,
        account_for_new: str,
    ) -> None:
        self._database = database
        self._stage = stage
        self._future_max = timedelta(seconds=future_max_s)
        self._register_unknown = register_unknown
        self._account_for_new = account_for_new
        self.done = Replayed()

    async def run(
        self, choice: Choice, limit: int | None, advance: Callable[[int], None] = lambda _: None
    ) -> Replayed:
        """Replay at most ``limit`` frames; ``advance`` is told how many more are done. Raises StoreAwayError."""
        store = IngestStore(self._database, self._stage)
        try:
            async with await self._database.connect(Role.CORE) as connection:
                id_max = (await kept(connection, choice)).id_max
                last: KeptFrame | None = None
                while rows := self._rows_left(limit):
                    frames = await page(connection, choice, last, id_max=id_max, rows=rows)
                    if not frames:
                        break
                    last = frames[-1]
                    decoded = [one for frame in frames if (one := self._decode(frame)) is not None]
                    names = {name for _, found in decoded for name, _ in found if name is not None}
                    trackers = await read_named(connection, names)
                    if self._register_unknown:
                        trackers |= {name: Tracker(name) for name in names - trackers.keys()}
                    done = await self._commit(store, decoded, trackers)
                    await delete_frames(connection, done)
                    self.done.frames += len(frames)
                    advance(len(frames))
        finally:
            await store.close()
        return self.done

    def _rows_left(self, limit: int | None) -> int:
        return PAGE_FRAMES if limit is None else min(PAGE_FRAMES, limit - self.done.frames)

    def _decode(self, frame: KeptFrame) -> Decoded | None:
        try:
            return frame, decode(frame)
        except UnknownProtocolError:
            self.done.stays[NO_SUCH_PROTOCOL] += 1
        except Exception:
            log.exception("a defect of ours; the frame stays", id=frame.id, frame=frame.frame.hex())
            self.done.stays[DEFECT] += 1
        return None

    async def _commit(
        self, store: IngestStore, decoded: list[Decoded], trackers: dict[str, Tracker]
    ) -> list[int]:
        """Store what can be stored; answers the rows that hold nothing any longer that is not stored."""
        batch = Batch()
        latest_us = micros(datetime.now(UTC) + self._future_max)
        attempts = [take(frame, found, trackers, latest_us, batch) for frame, found in decoded]
        stored = await store.commit(batch, self._account_for_new) if batch.rows else Stored()
        refused = frozenset(id(ticket) for ticket in stored.refused)
        reports = len(batch.positions) + len(batch.telemetry)
        self.done.reports_repeated += stored.repeated
        self.done.reports_stored += reports - stored.repeated - sum(not t.refused for t in stored.refused)
        done: list[int] = []
        for attempt in attempts:
            reasons = self._reasons(attempt, refused)
            if not reasons:
                self.done.replayed += 1
            else:
                self.done.stays.update([", ".join(sorted(reasons))])
            if not attempt.stays(refused):
                done.append(attempt.kept.id)
        return done

    def _reasons(self, attempt: Attempt, refused: frozenset[int]) -> set[str]:
        reasons = set(attempt.unresolved)
        if attempt.ticket.refused or id(attempt.ticket) in refused:
            reasons.add(QuarantineReason.REFUSED)
        return reasons
