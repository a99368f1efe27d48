"""Messengers by apprise: WhatsApp, Telegram, ntfy, Matrix, an HTTP gateway … whatever one URL can name."""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from tracker_server.alerts.letters import LetterError, decode
from tracker_server.alerts.wording import Wording, worded
from tracker_server.model import address
from tracker_server.model.money import InvalidValueError
from tracker_server.notify.messages import subject_of, text_of
from tracker_server.pipeline.dispatcher import MESSENGER, Outgoing, PermanentError, TemporaryError

if TYPE_CHECKING:
    import apprise

SEND_S_MAX: Final = 60.0  # several requests may be needed, each with apprise's own limit of seconds
PLACE: Final = "{to}"


class MessengerError(ValueError):
    """A URL that apprise cannot use."""


class MessengerChannel:
    """The channel ``messenger``: the operator's URL, with the recipient in it.

    apprise answers only whether it worked. So a failure is tried again until it is too old, whatever it is.
    """

    name = MESSENGER

    def __init__(self, url: str) -> None:
        self._url = url
        self._one = asyncio.Lock()  # what apprise says is heard of one message at a time
        self._seen = re.compile("|".join(map(re.escape, secrets_in(url))) or r"(?!)")

    def service(self, recipient: str) -> apprise.Apprise:
        """What apprise makes of the URL. Raises MessengerError."""
        import apprise  # heavy: 100 services; who sends no such message need not load them

        service = apprise.Apprise()
        try:
            to = address.messenger(recipient, "recipient")
        except InvalidValueError as error:
            raise MessengerError(str(error)) from None
        if not service.add(self._url.replace(PLACE, quote(to, safe="+@"))):
            raise MessengerError(
                "notices.messenger_url: apprise knows no such service, or the recipient does not fit it"
            )
        return service

    async def send(self, message: Outgoing) -> None:
        """Hand one message over. Raises TemporaryError, PermanentError."""
        try:
            wording = worded(decode(message.payload))
            service = await asyncio.to_thread(self.service, message.recipient)
        except LetterError as error:
            raise PermanentError(f"the message cannot be worded: {error}") from error
        except MessengerError as error:
            raise PermanentError(str(error)) from error
        async with self._one:
            taken, said = await self._hand_over(service, wording)
        if not taken:
            raise TemporaryError(self._seen.sub("…", said or "the service refused it and did not say why"))

    async def _hand_over(self, service: apprise.Apprise, wording: Wording) -> tuple[bool, str]:
        with Heard() as heard:
            try:
                async with asyncio.timeout(SEND_S_MAX):
                    taken = await service.async_notify(body=text_of(wording), title=subject_of(wording))
            except TimeoutError as error:
                raise TemporaryError(f"the service did not answer within {SEND_S_MAX:g} s") from error
        return bool(taken), "; ".join(heard.lines)

    async def close(self) -> None:
        """Nothing is kept."""


def secrets_in(url: str) -> list[str]:
    """The parts of a URL that nobody should read in a log: all that is long enough to be a key."""
    _, _, rest = url.partition("://")
    return sorted({part for part in re.split(r"[/:@?&=]", rest) if len(part) >= 8}, key=len, reverse=True)


class Heard(logging.Handler):
    """What apprise says while something is sent, instead of an exception."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._logger = logging.getLogger("apprise")

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append(record.getMessage())

    def __enter__(self) -> Self:
        self._logger.addHandler(self)
        self._logger.propagate = False  # it is told once, by us, without the URL's secrets
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)
