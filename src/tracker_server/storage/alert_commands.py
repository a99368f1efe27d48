"""The channel ``command``: an alert as an order to the tracker itself, queued once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from tracker_server.alerts.letters import EventNotice, LetterError, decode
from tracker_server.alerts.rules import COMMAND
from tracker_server.pipeline.dispatcher import Ended, Outgoing, PermanentError, TemporaryError, utc_now
from tracker_server.storage.commands import NewCommand, queue
from tracker_server.storage.database import AWAY, Database, Role

VALID: Final = timedelta(minutes=15)  # an answer to something that happened: later it would surprise
TAKEN: Final = """
UPDATE core.outbox SET delivered_at = %s, attempts = attempts + 1, error = NULL
WHERE id = %s AND delivered_at IS NULL AND failed_at IS NULL AND withheld_at IS NULL
"""


class CommandChannel:
    """Queued in the transaction that marks the message as delivered, so no order is given twice."""

    name = COMMAND
    at_once = 4

    def __init__(self, database: Database, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now

    async def send(self, message: Outgoing) -> Ended:
        """Queue it. Raises TemporaryError, PermanentError."""
        try:
            letter = decode(message.payload)
        except LetterError as error:
            raise PermanentError(f"the message cannot be worded: {error}") from error
        if not isinstance(letter, EventNotice) or not letter.command or message.device_id is None:
            raise PermanentError("it names no command")
        attributes = letter.command.get("attributes", {})
        now = self._now()
        new = NewCommand(
            message.device_id,
            str(letter.command.get("type")),
            attributes,
            now + VALID,
            created_by=f"alert {message.id}",
        )
        try:
            async with await self._database.connect(Role.CORE) as connection, connection.transaction():
                if (await connection.execute(TAKEN, [now, message.id])).rowcount:
                    await queue(connection, new)
        except AWAY as error:
            raise TemporaryError(f"the database is away: {str(error).strip()}", down=True) from error
        return Ended()

    async def close(self) -> None:
        """Nothing is kept."""
