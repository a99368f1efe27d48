"""Messengers by apprise: WhatsApp, Telegram, ntfy, Matrix, Pushover … whatever one URL can name.

The operator's URL has the recipient's number or name in it. A rule may also name a URL of its own, with one of the
schemes that the settings allow; where its host is the customer's choice, that must be a public one.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, urlsplit

from tracker_server.alerts.letters import LetterError
from tracker_server.model import address
from tracker_server.model.money import InvalidValueError
from tracker_server.notify.geocoder import Geocoder, wording_of
from tracker_server.notify.messages import subject_of, text_of
from tracker_server.pipeline.dispatcher import MESSENGER, Outgoing, PermanentError, TemporaryError

if TYPE_CHECKING:
    import apprise

SEND_S_MAX: Final = 60.0  # several requests may be needed, each with apprise's own limit of seconds
PLACE: Final = "{to}"
HOSTED: Final = frozenset({"tgram", "whatsapp", "pover", "discord", "slack"})  # the host is the service's own


class MessengerError(ValueError):
    """A URL that apprise cannot use, or that the settings do not allow."""


class MessengerChannel:
    """The channel ``messenger``. ``url``: the operator's, empty where there is none; ``schemes``: of rules' own URLs.

    apprise answers only whether it worked. So a failure is tried again until it is too old, whatever it is.
    """

    name = MESSENGER
    at_once = 4

    def __init__(self, url: str, schemes: str = "", geocoder: Geocoder | None = None) -> None:
        self._geocoder = geocoder
        self._url = url
        self._schemes = frozenset(schemes.split())
        self._one = asyncio.Lock()  # what apprise says is heard of one message at a time

    async def service(self, recipient: str) -> apprise.Apprise:
        """What apprise makes of the URL. Raises MessengerError, TemporaryError."""
        if "://" not in recipient:
            if not self._url:
                raise TemporaryError("notices.messenger_url: is empty; set it, or name a URL as recipient")
            return await service_of(self._url, recipient)
        await check_own_url(recipient, self._schemes)
        return await _made(recipient, "recipient: apprise cannot use this URL")

    async def send(self, message: Outgoing) -> None:
        """Hand one message over. Raises TemporaryError, PermanentError."""
        try:
            wording = await wording_of(message, self._geocoder)
            service = await self.service(message.recipient)
        except LetterError as error:
            raise PermanentError(f"the message cannot be worded: {error}") from error
        except MessengerError as error:
            raise PermanentError(str(error)) from error
        async with self._one:
            await handed_over(
                service, f"{self._url} {message.recipient}", text_of(wording), subject_of(wording)
            )

    async def close(self) -> None:
        """Nothing is kept."""


async def check_own_url(url: str, schemes: frozenset[str]) -> None:
    """Refuse what a customer may not name. Raises MessengerError."""
    from tracker_server.notify.guarded_http import ForbiddenAddressError, public_addresses

    try:
        found = urlsplit(url)
        host, port = found.hostname, found.port
    except ValueError:
        raise MessengerError("recipient: is no URL") from None
    if found.scheme not in schemes:
        allowed = ", ".join(sorted(schemes)) or "none"
        raise MessengerError(
            f"recipient: {found.scheme}:// is not allowed; alerts.messenger_schemes has {allowed}"
        )
    if found.scheme in HOSTED or not host or (found.scheme in {"ntfy", "ntfys"} and found.path in {"", "/"}):
        return  # ntfy://topic is at ntfy.sh
    try:
        await public_addresses(host, port or 443)
    except ForbiddenAddressError as error:
        raise MessengerError(f"recipient: {error}") from error
    except OSError as error:
        raise TemporaryError(f"{host} has no address") from error


async def service_of(url: str, recipient: str) -> apprise.Apprise:
    """The operator's URL with a recipient in it. Raises MessengerError."""
    try:
        to = address.messenger(recipient, "recipient")
    except InvalidValueError as error:
        raise MessengerError(str(error)) from None
    return await _made(
        url.replace(PLACE, quote(to, safe="+@")),
        "notices.messenger_url: apprise knows no such service, or the recipient does not fit it",
    )


async def _made(url: str, problem: str) -> apprise.Apprise:
    def make() -> apprise.Apprise | None:
        import apprise  # heavy: 100 services; who sends no such message need not load them

        service = apprise.Apprise()
        return service if service.add(url) else None

    service = await asyncio.to_thread(make)
    if service is None:
        raise MessengerError(problem)
    return service


async def handed_over(service: apprise.Apprise, url: str, text: str, title: str) -> None:
    """Send; raises TemporaryError with what apprise said, without the secrets of ``url``."""
    taken, said = await _hand_over(service, text, title)
    if not taken:
        seen = re.compile("|".join(map(re.escape, secrets_in(url))) or r"(?!)")
        raise TemporaryError(seen.sub("…", said or "the service refused it and did not say why"))


async def _hand_over(service: apprise.Apprise, text: str, title: str) -> tuple[bool, str]:
    with Heard() as heard:
        try:
            async with asyncio.timeout(SEND_S_MAX):
                taken = await service.async_notify(body=text, title=title)
        except TimeoutError as error:
            raise TemporaryError(f"the service did not answer within {SEND_S_MAX:g} s") from error
    return bool(taken), "; ".join(heard.lines)


def secrets_in(url: str) -> list[str]:
    """The parts of a URL that nobody should read in a log: all that is long enough to be a key."""
    _, _, rest = url.partition("://")
    return sorted({part for part in re.split(r"[/:@?&= ]", rest) if len(part) >= 8}, key=len, reverse=True)


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
