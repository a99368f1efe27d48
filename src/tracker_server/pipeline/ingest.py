"""The flow on one screen: a frame's messages become rows of the batch that gathers, and replies owed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import assert_never

import structlog

from tracker_protocols.model import DeviceKey, Frame, Heartbeat, Login, Message, Undecoded
from tracker_server.pipeline.batch import Batch, PositionRow, QuarantineRow, Reported, TelemetryRow, micros
from tracker_server.pipeline.batcher import Batcher
from tracker_server.pipeline.quarantine import QuarantineReason, Room
from tracker_server.pipeline.rows import Misdated, carries_nothing, row_of, undecoded_detail
from tracker_server.pipeline.session import Session, Ticket
from tracker_server.pipeline.trackers import Tracker, Trackers

log = structlog.get_logger(__name__)

PUSHED = ("tcp", "udp")  # transports over which a device hears what it has not asked for
CONTACT_EVERY_US = 60_000_000  # how coarsely a sign of life is stored when nothing else is


class Ingest:
    """Takes frames from listeners. Knows no socket and no SQL; asks no gate: unpaid means hidden, never deaf."""

    def __init__(
        self,
        trackers: Trackers,
        batcher: Batcher,
        room: Room,
        *,
        future_max_s: int,
        register_unknown: bool,
    ) -> None:
        self._trackers = trackers
        self._batcher = batcher
        batcher.welcome = self._welcome
        self._room = room
        self._future_max_us = future_max_s * 1_000_000
        self._register_unknown = register_unknown
        self._sessions: dict[tuple[str, DeviceKey], Session] = {}
        self._reachable: dict[DeviceKey, Session] = {}  # the last connection over which something may be sent
        self._further: dict[DeviceKey, list[Session]] = {}  # of one that speaks two protocols, the others
        self.on_arrival: Callable[[DeviceKey], None] | None = None
        self.tell_others: Callable[[str, DeviceKey, float], object] | None = (
            None  # processes on the same ports
        )
        self.beside: Callable[[DeviceKey], bool] = lambda _: False  # who is told things in another way

    def session_of(self, key: DeviceKey) -> Session | None:
        """The connection over which this device can be told something, if it has one; of several the one heard last."""
        last = self._reachable.get(key)
        return max((last, *self._further.get(key, ())), key=_heard_at) if last is not None else None

    def reaches(self, key: DeviceKey) -> bool:
        """Whether this device can be told something now, over whatever way."""
        return key in self._reachable or self.beside(key)

    def receive(self, session: Session, frames: Sequence[Frame], received_at: datetime) -> None:
        """Everything that one read of a connection brought."""
        received_us = micros(received_at)
        for frame in frames:
            self._receive_frame(session, frame, received_us)
        self._batcher.regulate(session)

    def forget(self, session: Session) -> None:
        """The connection is gone; what it brought is committed all the same."""
        self._batcher.forget(session)
        self._leave(session)

    def _leave(self, session: Session) -> None:
        if session.device is not None:
            key = (session.protocol, session.device)
            if self._sessions.get(key) is session:
                del self._sessions[key]
            if self._reachable.get(session.device) is session or session.device in self._further:
                self._strike(session.device, session)

    def _reach(self, key: DeviceKey, session: Session) -> None:
        """The device can be told something over this connection, and over no older one of its kind."""
        old = self._reachable.get(key)
        self._reachable[key] = session
        if old is None or old is session:
            return
        kind = (session.protocol, session.transport)
        others = [one for one in (*self._further.get(key, ()), old) if (one.protocol, one.transport) != kind]
        if others:
            self._further[key] = others
        else:
            self._further.pop(key, None)

    def _strike(self, key: DeviceKey, session: Session) -> None:
        """It cannot any more."""
        others = self._further.get(key, [])
        if session in others:
            others.remove(session)
        elif self._reachable.get(key) is not session:
            return
        elif others:
            self._reachable[key] = others.pop()
        else:
            del self._reachable[key]
        if not others:
            self._further.pop(key, None)

    def called_another(self, protocol: str, key: DeviceKey, named_at: float) -> None:
        """Since ``named_at`` the device talks to another process, as it would over a new connection to this one."""
        for old in {
            self._sessions.get((protocol, key)),
            self._reachable.get(key),
            *self._further.get(key, ()),
        }:
            if old is None or old.protocol != protocol or old.named_at >= named_at:
                continue
            self._leave(old)
            if old.transport == "tcp":
                old.wire.finish("replaced")

    def _receive_frame(self, session: Session, frame: Frame, received_us: int) -> None:
        ticket: Ticket | None = None
        for message in frame.messages:
            key = message.device
            if key is not None and key != session.device:
                self._identify(session, key)
            reply = message.reply.data if message.reply is not None else b""
            if carries_nothing(message):
                if reply:
                    session.answer(reply)
                self._touch(key or session.device, received_us)
                continue
            waits = session.stored_first or not isinstance(message, Heartbeat | Undecoded)
            if reply and not waits:
                session.answer(reply)
                reply = b""
            if ticket is None:
                ticket = Ticket(session, frame.data, received_us, b"", time.monotonic())
            if reply:
                ticket.reply += reply
            self._take(message, key or session.device, ticket)
        if ticket is not None:
            session.owe(ticket)
            self._batcher.add(ticket)

    def _take(self, message: Message, key: DeviceKey | None, ticket: Ticket) -> None:
        """Put one message that carries something into the batch."""
        if isinstance(message, Undecoded):
            self._keep(QuarantineReason.UNDECODED, undecoded_detail(message), key or "", ticket)
            return
        assert not isinstance(message, Login)
        ticket.reports += 1
        tracker = self._tracker(key)
        if tracker is not None:
            misdated = self._put(message, tracker, ticket, self._batcher.gathering)
            if misdated is not None:
                self._keep(misdated.reason, misdated.detail, tracker.unique_id, ticket, tracker)
        elif key:
            self._keep(QuarantineReason.UNKNOWN_DEVICE, "", key, ticket, unclaimed=message)
        else:
            self._keep(QuarantineReason.NO_DEVICE, "", "", ticket)

    def _put(self, message: Reported, tracker: Tracker, ticket: Ticket, batch: Batch) -> Misdated | None:
        """A tracker's report goes into the batch, unless its moment cannot be believed."""
        tracker.contact_us = received_us = ticket.received_us
        row = row_of(message, tracker, ticket, received_us + self._future_max_us)
        match row:
            case PositionRow():
                batch.positions.append(row)
            case TelemetryRow():
                batch.telemetry.append(row)
            case Misdated():
                return row
            case _:
                assert_never(row)
        return None

    def _welcome(self, batch: Batch, known: Mapping[DeviceKey, Tracker]) -> None:
        """These were added after their reports had come, or before that and we were not told yet: what they sent is
        theirs. A frame that others speak in, too, is kept for those.
        """
        for tracker in known.values():
            self._trackers.put(tracker)
        rows, batch.quarantine = batch.quarantine, []
        for row in rows:
            unclaimed: list[tuple[DeviceKey, Reported]] = []
            for key, message in row.unclaimed:
                tracker = self._trackers.find(key)
                if tracker is None:
                    unclaimed.append((key, message))
                elif (misdated := self._put(message, tracker, row.ticket, batch)) is not None:
                    kept = QuarantineRow(
                        key, tracker, misdated.reason, misdated.detail, row.reports, row.ticket
                    )
                    batch.quarantine.append(kept)
            if unclaimed or not row.unclaimed:
                batch.quarantine.append(row)
            if unclaimed:
                row.unique_id, row.unclaimed = unclaimed[0][0], unclaimed

    def _tracker(self, key: DeviceKey | None) -> Tracker | None:
        if key is None:
            return None
        tracker = self._trackers.find(key)
        if tracker is None and self._register_unknown:
            tracker = Tracker(key)
            self._trackers.add(tracker)
            log.info("device registered", device=key)
        return tracker

    def _keep(
        self,
        reason: QuarantineReason,
        detail: str,
        key: DeviceKey,
        ticket: Ticket,
        tracker: Tracker | None = None,
        *,
        unclaimed: Reported | None = None,
    ) -> None:
        """Keep the frame whole; where there is no room left for it, leave the device its copy."""
        rows = self._batcher.gathering.quarantine
        if rows and rows[-1].ticket is ticket and rows[-1].reason == reason:
            rows[-1].reports = ticket.reports  # one row for a frame, however many reports it holds
        elif self._room.take(key):
            rows.append(QuarantineRow(key, tracker, reason, detail, ticket.reports, ticket))
        else:
            ticket.refused = True
            return
        if unclaimed is not None:
            rows[-1].unclaimed.append((key, unclaimed))

    def _identify(self, session: Session, key: DeviceKey) -> None:
        """The device says who it is. A new connection of the same device replaces the old one, which may be
        half-open for as long as a carrier's NAT forgets to tell.
        """
        if session.transport not in PUSHED:
            session.device = key  # and no line for it: behind a gateway or a broker each report is another's
            return
        self._leave(session)
        session.device = key
        session.named_at = time.monotonic()
        log.debug("device identified", device=key, protocol=session.protocol, remote=session.remote)
        self._reach(key, session)
        if self.on_arrival is not None:
            self.on_arrival(key)
        if self.tell_others is not None:
            self.tell_others(session.protocol, key, session.named_at)
        if session.transport != "tcp":
            return
        old = self._sessions.get((session.protocol, key))
        self._sessions[session.protocol, key] = session
        if old is not None and old is not session:
            log.info("device reconnected", device=key, old=old.remote, new=session.remote)
            old.wire.finish("replaced")

    def _touch(self, key: DeviceKey | None, received_us: int) -> None:
        """A sign of life that carries nothing: stored at most once a minute."""
        tracker = self._trackers.find(key) if key is not None else None
        if tracker is None:
            return
        tracker.contact_us = received_us
        if received_us - tracker.contact_stored_us >= CONTACT_EVERY_US and tracker.id is not None:
            self._batcher.touch(tracker)


def _heard_at(session: Session) -> float:
    return session.wire.heard_at
