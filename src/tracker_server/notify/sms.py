"""The channel ``sms``: words, money, provider. What cannot go as an SMS in time goes by e-mail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from tracker_server.alerts.letters import LetterError
from tracker_server.billing.sms import segments
from tracker_server.config_alerts import Sms
from tracker_server.notify.geocoder import Geocoder, wording_of
from tracker_server.pipeline.dispatcher import Ended, Outgoing, PermanentError, TemporaryError, utc_now
from tracker_server.pipeline.sms import SMS, SmsOffice, SmsProvider

CUT: Final = "..."  # in the alphabet that costs the least


class SmsChannel:
    """Messages that are no alerts (a test, a password) are never debited (R72), and fail as any other."""

    name = SMS

    def __init__(
        self,
        settings: Sms,
        provider: SmsProvider,
        office: SmsOffice | None,
        now: Callable[[], datetime] = utc_now,
        geocoder: Geocoder | None = None,
    ) -> None:
        self._geocoder = geocoder
        self._settings = settings
        self._provider = provider
        self._office = office
        self._now = now
        self.at_once = provider.at_once

    async def send(self, message: Outgoing) -> tuple[str, ...] | Ended | None:
        """Hand one over. Raises TemporaryError, PermanentError."""
        try:
            text = message.body or fitting(
                (await wording_of(message, self._geocoder)).line, self._settings.segments_max
            )
        except LetterError as error:
            raise PermanentError(f"the message cannot be worded: {error}") from error
        if self._office is None or not message.alert:
            await self._provider.ready()
            return await self._provider.submit(message.recipient, text, message.key)
        return await self._alert(message, text, self._office)

    async def _alert(self, message: Outgoing, text: str, office: SmsOffice) -> tuple[str, ...] | Ended | None:
        try:
            await self._provider.ready()
            if not await office.charge(message, text):
                return Ended()
            return await self._provider.submit(message.recipient, text, message.key)
        except PermanentError as error:
            reason = str(error)
        except TemporaryError as error:
            if self._now() - message.due_at < timedelta(seconds=self._settings.give_up_s):
                raise
            reason = f"given up after {self._settings.give_up_s} s: {error}"
        await office.give_up(message, reason)
        return Ended()

    def begin(self) -> None:
        """A provider may have receipts for us from before a restart."""
        self._provider.begin()

    async def close(self) -> None:
        """Let go of the provider."""
        await self._provider.close()


def fitting(text: str, segments_max: int) -> str:
    """As much of a text as so many segments hold."""
    if segments(text) <= segments_max:
        return text
    shortest, longest = 0, len(text)
    while shortest < longest:  # the longest beginning that fits
        middle = (shortest + longest + 1) // 2
        if segments(text[:middle] + CUT) <= segments_max:
            shortest = middle
        else:
            longest = middle - 1
    return text[:shortest] + CUT
