"""While one batch commits the next one gathers: large under load, a single fix when idle, no timer between.

The answers of a batch go out after its commit. When the database is away the batch is tried again until
it is back; meanwhile nothing is answered, the next batch fills up to its bound, and then sockets are
read no further.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog

from tracker_protocols.model import DeviceKey
from tracker_server.metrics import Metrics
from tracker_server.pipeline.batch import Batch, Store, StoreAwayError, Stored
from tracker_server.pipeline.live import Live
from tracker_server.pipeline.session import Pause, Session, Ticket
from tracker_server.pipeline.trackers import Tracker

log = structlog.get_logger(__name__)

PACE_S = 0.01
"""From the beginning of one commit to that of the next, at least, while few reports wait. A lone report is committed
at once; a trickle from thousands of devices shares commits, which cost about as much as a hundred rows each."""
PACE_ROWS_MAX = 100
FRAMES_MAX = 500
"""In one batch. What a batch makes of a frame takes some kilobytes until it is committed, most of them of the frame's tracker; after
thousands of devices have called at once that memory lies between what stays, and a larger batch saves the database a sixth at most."""

RETRY_S_FIRST = 0.05
RETRY_S_MAX = 2.0


class Batcher:
    """The one writer. ``gathering`` is the batch that frames go into."""

    def __init__(
        self,
        store: Store,
        metrics: Metrics,
        *,
        queue_rows_max: int,
        batch_rows_max: int,
        unanswered_bytes_max: int,
        account_for_new: str,
        live: Live | None = None,
    ) -> None:
        self._store = store
        self._live = live
        self._metrics = metrics
        self._queue_rows_max = queue_rows_max
        self._batch_rows_max = batch_rows_max
        self._unanswered_bytes_max = unanswered_bytes_max
        self._account_for_new = account_for_new
        self._wake = asyncio.Event()
        self._held: dict[Session, Pause] = {}
        self._full: list[Batch] = []  # gathered to their bound while an earlier one commits
        self._waiting_since: float | None = None
        self._stopping = False
        self._begun = 0.0  # the last commit, on the monotonic clock
        self.welcome: Callable[[Batch, Mapping[DeviceKey, Tracker]], None] = lambda _batch, _known: None
        self.gathering = Batch()
        self.committing: Batch | None = None
        self.store_answers = True

    # ------------------------------------------------------------------ what comes in

    def add(self, ticket: Ticket) -> None:
        """The rows of this frame are in ``gathering``; settle it with them."""
        gathering = self.gathering
        gathering.tickets.append(ticket)
        if len(gathering.tickets) >= FRAMES_MAX or gathering.rows >= self._batch_rows_max:
            self._full.append(gathering)
            self.gathering = Batch()
        self._wake.set()

    def touch(self, tracker: Tracker) -> None:
        """Store a sign of life with the next batch; it wakes nobody by itself but comes within the minute."""
        self.gathering.contacts.add(tracker)
        tracker.contact_stored_us = tracker.contact_us
        self._wake.set()

    @property
    def waiting_rows(self) -> int:
        """Reports read and not yet committed."""
        rows = self.gathering.rows
        if self.committing is not None:
            rows += self.committing.rows
        if self._full:
            rows += sum(batch.rows for batch in self._full)
        return rows

    @property
    def waiting_s(self) -> float:
        """How long the oldest report has waited for its commit."""
        return 0.0 if self._waiting_since is None else time.monotonic() - self._waiting_since

    def regulate(self, session: Session) -> None:
        """Read a connection no further while it, or all together, have too much waiting."""
        unanswered = session.unanswered_bytes > self._unanswered_bytes_max
        queue = self.waiting_rows >= self._queue_rows_max
        if unanswered or queue:
            why = (Pause.UNANSWERED if unanswered else Pause(0)) | (Pause.QUEUE if queue else Pause(0))
            self._held[session] = self._held.get(session, Pause(0)) | why
            session.wire.pause(why)

    # ------------------------------------------------------------------ what goes out

    async def run(self) -> None:
        """Commit batches until ``stop``, and then what is left."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self._pace() and (batch := self._next()):
                self._begun = time.monotonic()
                self.committing = batch
                self._waiting_since = time.monotonic()
                stored = await self._commit(batch)
                self.committing = None
                self._waiting_since = None
                self._settle(batch, stored)
            if self._stopping:
                return

    async def _pace(self) -> bool:
        """Wait for company where the last commit has only just begun; always True."""
        soon_s = self._begun + PACE_S - time.monotonic()
        if soon_s > 0 and self.gathering.rows < PACE_ROWS_MAX and not self._full and not self._stopping:
            await asyncio.sleep(soon_s)
        return True

    def stop(self) -> None:
        """Commit what is there, then end ``run``."""
        self._stopping = True
        self._wake.set()

    def _next(self) -> Batch | None:
        if self._full:
            return self._full.pop(0)
        if not self.gathering:
            return None
        batch, self.gathering = self.gathering, Batch()
        return batch

    async def _commit(self, batch: Batch) -> Stored:
        delay_s = RETRY_S_FIRST
        while True:
            begun = time.perf_counter()
            try:
                await self._look_again(batch)
                stored = await self._store.commit(batch, self._account_for_new)
            except StoreAwayError as error:
                self._metrics.commits_failed.labels("away").inc()
                if self.store_answers:
                    log.error("database is away; reports wait", error=str(error), rows=batch.rows)  # noqa: TRY400
                self._tell_store(answers=False)
            else:
                self._tell_store(answers=True)
                self._metrics.commit_seconds.observe(time.perf_counter() - begun)
                return stored
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, RETRY_S_MAX)
            try:
                await self._store.revive()
            except StoreAwayError as error:
                log.debug("database is still away", error=str(error))

    async def _look_again(self, batch: Batch) -> None:
        """Somebody may just have added a tracker whose report is about to be kept aside; we are told of that a moment
        later than the database. Raises StoreAwayError.
        """
        names = {key for row in batch.quarantine for key, _ in row.unclaimed}
        if names and (known := await self._store.known(names)):
            self.welcome(batch, known)

    def _tell_store(self, *, answers: bool) -> None:
        if answers and not self.store_answers:
            log.info("database is back")
        self.store_answers = answers
        self._metrics.database_up.set(answers)

    def _settle(self, batch: Batch, stored: Stored) -> None:
        """The commit is done: answer, in order, and let those read on who were held."""
        metrics = self._metrics
        sessions: dict[Session, None] = {}
        now = time.monotonic()
        for ticket in batch.tickets:
            session = ticket.session
            session.settle(ticket)
            sessions[session] = None
        metrics.answer_seconds.observe_all([now - one.asked_at for one in batch.tickets if one.reply])
        for session in sessions:
            if session.owed:
                session.release()
        self._count(batch, stored)
        if self._held:
            self._let_go()
        if self._live is not None:
            try:
                self._live.committed(batch)
            except Exception:
                log.exception("a defect of ours in what open sockets are told; devices notice nothing")

    def _let_go(self) -> None:
        room = self.waiting_rows <= self._queue_rows_max // 2
        for session, why in list(self._held.items()):
            gone = why & Pause.QUEUE if room else Pause(0)
            if session.unanswered_bytes <= self._unanswered_bytes_max // 2:
                gone |= why & Pause.UNANSWERED
            if gone == why:
                del self._held[session]
            else:
                self._held[session] = why & ~gone
            session.wire.resume(gone)

    def forget(self, session: Session) -> None:
        """The connection is gone: nothing to let go of."""
        self._held.pop(session, None)

    def _count(self, batch: Batch, stored: Stored) -> None:
        metrics = self._metrics
        metrics.batch_rows.observe(batch.rows)
        metrics.queue_rows.set(self.waiting_rows)
        if stored.repeated:
            metrics.repeats.inc(stored.repeated)
        by_protocol: dict[str, int] = {}
        for row in batch.positions:
            protocol = row.ticket.session.protocol
            by_protocol[protocol] = by_protocol.get(protocol, 0) + 1
        for protocol, count in by_protocol.items():
            metrics.of_protocol(protocol).fixes.inc(count)
        for row in batch.quarantine:
            metrics.quarantined.labels(row.reason).inc()
