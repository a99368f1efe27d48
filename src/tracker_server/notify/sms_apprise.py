"""SMS by one of the services that apprise knows."""

from __future__ import annotations

from tracker_server.notify.messenger import MessengerError, handed_over, service_of
from tracker_server.pipeline.dispatcher import PermanentError


class AppriseProvider:
    """See ``SmsProvider``. apprise says only whether it worked, so every failure counts as one for a time."""

    at_once = 1

    def __init__(self, url: str) -> None:
        self._url = url

    def begin(self) -> None:
        """Nothing is kept open."""

    async def ready(self) -> None:
        """It is asked as it is used."""

    async def submit(self, to: str, text: str, key: str) -> tuple[str, ...]:
        """One message. Raises TemporaryError, PermanentError."""
        try:
            service = await service_of(self._url, to)
        except MessengerError as error:
            raise PermanentError(str(error)) from error
        await handed_over(service, self._url, text, "")
        return ()

    async def close(self) -> None:
        """Nothing is kept."""
