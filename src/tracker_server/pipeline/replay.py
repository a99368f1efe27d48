"""Frames kept in quarantine go the way of a fix again, as if they came now, but received when they were. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field

from tracker_protocols import BY_NAME
from tracker_protocols.model import DeviceKey, Login, Message, Undecoded
from tracker_protocols.protocol import Transport
from tracker_server.pipeline.batch import Batch, PositionRow, QuarantineRow, TelemetryRow, micros
from tracker_server.pipeline.quarantine import KeptFrame, QuarantineReason
from tracker_server.pipeline.rows import carries_nothing, row_of, undecoded_detail
from tracker_server.pipeline.session import Pause, Session, Ticket
from tracker_server.pipeline.trackers import Tracker


class NobodyListens:
    """The wire of a conversation that is over: what was owed was settled when the frame was kept."""

    heard_at = 0.0

    def send(self, *replies: bytes) -> None:
        """Nobody is there to hear it."""

    def pause(self, why: Pause) -> None:
        """Nothing comes."""

    def resume(self, why: Pause) -> None:
        """Nothing comes."""

    def finish(self, reason: str) -> None:
        """It is over."""


class UnknownProtocolError(Exception):
    """The frame's protocol is not among those that this program speaks."""


class Attempt(Struct):
    """What one kept frame came to. ``unresolved``: why a part of it still cannot be stored."""

    kept: KeptFrame
    ticket: Ticket
    unresolved: set[str] = field(default_factory=set)

    def stays(self, refused: frozenset[int]) -> bool:
        """Whether the row must be kept as it is; ``refused`` are the ids of tickets that the database refused."""
        if self.ticket.refused or self.kept.reason in self.unresolved:
            return True
        return id(self.ticket) in refused and self.kept.reason == QuarantineReason.REFUSED


def decode(kept: KeptFrame) -> list[tuple[DeviceKey | None, Message]]:
    """What a frame means today, each message with who sent it. Raises UnknownProtocolError."""
    protocol = BY_NAME.get(kept.protocol)
    if protocol is None:
        raise UnknownProtocolError(kept.protocol)
    device = kept.unique_id or None
    decoder = protocol.decoder(device)
    if kept.transport in {Transport.TCP, Transport.HTTP}:
        frames = [decoder.read_frame(kept.frame, kept.received_at)]
    else:  # it came whole
        frames = decoder.receive_datagram(kept.frame, kept.received_at)
    found: list[tuple[DeviceKey | None, Message]] = []
    for message in (message for frame in frames for message in frame.messages):
        device = message.device or device
        found.append((device, message))
    return found


def take(
    kept: KeptFrame,
    messages: list[tuple[DeviceKey | None, Message]],
    trackers: Mapping[DeviceKey, Tracker],
    latest_us: int,
    batch: Batch,
) -> Attempt:
    """Put all that can be stored into the batch. What cannot be for another reason than the one that the
    frame is kept for goes into quarantine for that reason. ``latest_us``: the last moment that is believed.
    """
    session = Session(kept.protocol, kept.transport, kept.remote, NobodyListens())
    ticket = Ticket(session, kept.frame, micros(kept.received_at), b"", 0.0)
    attempt = Attempt(kept, ticket)
    for device, message in messages:
        if carries_nothing(message):
            continue
        tracker = trackers.get(device) if device is not None else None
        if isinstance(message, Undecoded):
            _keep(attempt, QuarantineReason.UNDECODED, undecoded_detail(message), device, None, batch)
            continue
        assert not isinstance(message, Login)
        ticket.reports += 1
        if tracker is None:
            reason = QuarantineReason.UNKNOWN_DEVICE if device else QuarantineReason.NO_DEVICE
            _keep(attempt, reason, "", device, None, batch)
            continue
        tracker.contact_us = max(tracker.contact_us, ticket.received_us)
        match row_of(message, tracker, ticket, latest_us):
            case PositionRow() as row:
                batch.positions.append(row)
            case TelemetryRow() as row:
                batch.telemetry.append(row)
            case misdated:
                _keep(attempt, misdated.reason, misdated.detail, device, tracker, batch)
    return attempt


def _keep(
    attempt: Attempt,
    reason: QuarantineReason,
    detail: str,
    device: DeviceKey | None,
    tracker: Tracker | None,
    batch: Batch,
) -> None:
    if reason not in attempt.unresolved and reason != attempt.kept.reason:
        batch.quarantine.append(
            QuarantineRow(device or "", tracker, reason, detail, attempt.ticket.reports, attempt.ticket)
        )
    attempt.unresolved.add(reason)
