"""What the SMS channel asks of whoever keeps the money and the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol

from tracker_server.pipeline.dispatcher import Outgoing

SMS: Final = "sms"
DELIVERED: Final = "DELIVRD"
FAILED: Final = frozenset(
    {"UNDELIV", "EXPIRED", "DELETED", "REJECTD"}
)  # SMPP 3.4 appendix B; others are on the way


class SmsOffice(Protocol):
    """The money of SMS and what becomes of those that cannot go. Each call is a transaction."""

    async def charge(self, message: Outgoing, text: str) -> bool:
        """Debit an alert once, however often it is asked; answers whether it is to be sent. Where it is not, its
        e-mail is written, or why there is none, and its row has ended.
        """
        ...

    async def give_up(self, message: Outgoing, reason: str) -> None:
        """The provider did not take it: what was debited comes back, its e-mail is written, its row has ended."""
        ...

    async def receipt(self, names: Sequence[str], state: str, at: datetime) -> bool:
        """Note what the provider says afterwards; answers whether it is known what it speaks of."""
        ...


class SmsProvider(Protocol):
    """A way to send SMS. ``at_once``: how many it takes at a time."""

    at_once: int

    def begin(self) -> None:
        """From now on this process sends, and hears what became of what was sent."""
        ...

    async def ready(self) -> None:
        """Whether it makes sense to try, before anything is debited. Raises TemporaryError."""
        ...

    async def submit(self, to: str, text: str, key: str) -> tuple[str, ...]:
        """Hand one over; answers the provider's names for its parts. Raises TemporaryError, PermanentError."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
