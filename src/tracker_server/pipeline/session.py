"""One device's conversation: who it is, and the replies owed to it, in the order in which it asked.

Pure: a session says what may be sent, the connection that holds it sends.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Protocol

from tracker_protocols.model import DeviceKey


class Pause(IntFlag):
    """Reasons to read no further."""

    QUEUE = 1  # too many reports wait for a commit
    UNANSWERED = 2  # this connection has too many bytes not yet committed
    RATE = 4  # it sends more frames a second than one device may
    CLOSING = 8  # it is being closed, or the server is


class Wire(Protocol):
    """The connection below a session. ``heard_at``: when it last brought anything, on the monotonic clock."""

    heard_at: float

    def send(self, *replies: bytes) -> None:
        """Write them, each a message of its own; or lose them where the device has gone: it will ask again."""
        ...

    def pause(self, why: Pause) -> None:
        """Read no further, for this reason."""
        ...

    def resume(self, why: Pause) -> None:
        """The reason has gone; read on when no other is left."""
        ...

    def finish(self, reason: str) -> None:
        """Read no further, send what is still owed, then close."""
        ...


class Ticket:
    """One frame on its way to the commit, and the reply that waits for it.

    ``size`` bytes count as unanswered until it is settled. An empty reply is owed to nobody.
    """

    __slots__ = ("asked_at", "frame", "received_us", "refused", "reply", "reports", "session", "settled")

    def __init__(
        self, session: Session, frame: bytes, received_us: int, reply: bytes, asked_at: float
    ) -> None:
        self.session = session
        self.frame = frame
        self.received_us = received_us
        self.reply = reply
        self.asked_at = asked_at
        self.reports = 0
        self.settled = False
        self.refused = False


class Session:
    """What is remembered of one connection (or one UDP sender)."""

    __slots__ = (
        "device",
        "named_at",
        "owed",
        "protocol",
        "refusal",
        "remote",
        "stored_first",
        "transport",
        "unanswered_bytes",
        "wire",
    )

    def __init__(self, protocol: str, transport: str, remote: str, wire: Wire, refusal: bytes = b"") -> None:
        self.protocol = protocol
        self.transport = transport
        self.remote = remote
        self.wire = wire
        self.refusal = refusal  # sent instead of a reply for a frame that could not be kept
        self.stored_first = (
            False  # here every answer says that something is stored, not only that to a report
        )
        self.device: DeviceKey | None = None
        self.named_at = 0.0  # when the device said who it is, on the monotonic clock
        self.owed: list[
            Ticket | bytes
        ] = []  # of thousands of connections: a deque is 700 bytes before anything is in it
        self.unanswered_bytes = 0

    def answer(self, reply: bytes) -> None:
        """A reply that promises nothing: at once, but never before an earlier one that is owed."""
        if self.owed:
            self.owed.append(reply)
        else:
            self.wire.send(reply)

    def owe(self, ticket: Ticket) -> None:
        """A frame went into the batch; its reply is due when it is settled."""
        self.unanswered_bytes += len(ticket.frame)
        if ticket.reply:
            self.owed.append(ticket)

    def settle(self, ticket: Ticket) -> None:
        """The frame's fate is known: its reports are committed, or, refused, will not be."""
        ticket.settled = True
        self.unanswered_bytes -= len(ticket.frame)

    def refuse(self, reply: bytes) -> bytes:
        """What is sent instead of this reply."""
        return self.refusal

    def release(self) -> None:
        """Send all that may be sent now."""
        owed = self.owed
        ready: list[bytes] = []
        done = 0
        for head in owed:
            if isinstance(head, bytes):
                ready.append(head)
            elif not head.settled:
                break
            elif reply := self.refuse(head.reply) if head.refused else head.reply:
                ready.append(reply)
            done += 1
        del owed[:done]
        if ready:
            self.wire.send(*ready)
