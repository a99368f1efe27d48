"""From message to row: the same for a frame that has just come and for one that was kept in quarantine. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_never

from msgspec import Struct

from tracker_protocols.model import CommandResult, Heartbeat, Login, Message, Report, Undecoded
from tracker_protocols.wire.checksums import record_digest
from tracker_server.pipeline.batch import PositionRow, Reported, TelemetryRow, micros
from tracker_server.pipeline.quarantine import QuarantineReason
from tracker_server.pipeline.session import Ticket
from tracker_server.pipeline.trackers import Tracker

YEAR_2000_US = 0  # GPS receivers fall back to 1980 or 1970 when they have lost their clock


class Misdated(Struct, frozen=True, gc=False):
    """A report whose moment cannot be believed."""

    reason: QuarantineReason
    detail: str


def row_of(
    message: Reported, tracker: Tracker, ticket: Ticket, latest_us: int
) -> PositionRow | TelemetryRow | Misdated:
    """The row that a message becomes; ``latest_us`` is the last moment that is believed.

    A report that does not tell its own time has that of its receipt.
    """
    fix = message.fix if isinstance(message, Report) else None
    told = message.sent_at if isinstance(message, Report | CommandResult) else None
    moment_us = micros(fix.fixed_at) if fix else micros(told) if told else ticket.received_us
    if moment_us > latest_us:
        ahead = timedelta(microseconds=moment_us - ticket.received_us)
        return Misdated(QuarantineReason.FUTURE, f"{ahead} ahead of the server's clock")
    if moment_us < YEAR_2000_US:
        return Misdated(QuarantineReason.PAST, "before 2000")
    digest = record_digest(message.record)
    if fix is not None:
        assert isinstance(message, Report)
        return PositionRow(tracker, moment_us, digest, fix, message.attributes, message.network, ticket)
    network = message.network if isinstance(message, Report) else None
    return TelemetryRow(tracker, moment_us, digest, kind_of(message), message.attributes, network, ticket)


def carries_nothing(message: Message) -> bool:
    """Whether there is nothing in it to store."""
    return isinstance(message, Login) or (isinstance(message, Heartbeat) and not message.attributes)


def undecoded_detail(message: Undecoded) -> str:
    """What ``core.quarantine.detail`` says of a frame that could not be read."""
    return f"{message.reason.value}: {message.detail}"


def kind_of(message: Reported) -> str:
    """As ``core.telemetry.kind`` has it."""
    match message:
        case Report():
            return "report"
        case Heartbeat():
            return "heartbeat"
        case CommandResult():
            return "command_result"
        case _:
            assert_never(message)
