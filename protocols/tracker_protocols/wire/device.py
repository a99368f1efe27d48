"""The device's side of a conversation: what a tracker sends and which bytes it must get back.

For the simulator and for round trips in the tests. An answer is known to the byte before it comes, so
checking a server is comparing two streams.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from msgspec import Struct

from tracker_protocols.model import Attributes, DeviceKey, Fix, HttpRequest


class Outgoing(Struct, frozen=True):
    """Bytes to send, and the bytes that a server owes for them (empty: none are owed)."""

    data: bytes
    answer: bytes = b""


class OutgoingRequest(Struct, frozen=True):
    """An HTTP request to make, and the status that a server owes for it."""

    request: HttpRequest
    status: int = 200


class Device(ABC):
    """One simulated tracker speaking over TCP or UDP. It counts its own serial numbers."""

    fixes_in_packet_max: ClassVar[int] = 1

    def __init__(self, unique_id: DeviceKey) -> None:
        self.unique_id = unique_id

    def login(self) -> Outgoing | None:
        """What opens a connection; None where the language has no login."""
        return None

    @abstractmethod
    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        """One packet with 1 to ``fixes_in_packet_max`` fixes. Attributes the language has no word for are left out."""

    def heartbeat(self) -> Outgoing | None:
        """What keeps an idle connection alive; None where the language has no heartbeat."""
        return None

    def datagram(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> Outgoing:
        """The same report over UDP, where it differs."""
        return self.report(fixes, attributes)


class HttpDevice(ABC):
    """One simulated tracker speaking HTTP."""

    fixes_in_packet_max: ClassVar[int] = 1

    def __init__(self, unique_id: DeviceKey) -> None:
        self.unique_id = unique_id

    @abstractmethod
    def report(self, fixes: Sequence[Fix], attributes: Attributes | None = None) -> OutgoingRequest:
        """One request with 1 to ``fixes_in_packet_max`` fixes."""
