"""Reading what people type: identifiers, names, moments. What cannot be meant is refused by the flag's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, get_origin

from cyclopts import Parameter, Token

from tracker_server.cli.common import wrong

PRIORITY_MAX = 1_000_000
NAME_CHARACTERS_MAX = 200
NOTE_CHARACTERS_MAX = 500
NUMBER_MAX = 2**63 - 1  # what the database counts to
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _whole(kind: Any, tokens: Sequence[Token]) -> Any:
    """Digits and nothing else: 1.5 is neither 1 nor 2. Raises ValueError."""
    for token in tokens:
        if not re.fullmatch(r"[+-]?[0-9]+", token.value.strip()):
            raise ValueError(f"{token.value!r} is no whole number; write digits alone")
    numbers = tuple(int(token.value) for token in tokens)
    return numbers if get_origin(kind) is tuple else numbers[0]


Whole = Annotated[int, Parameter(converter=_whole)]
Perhaps = Annotated[int | None, Parameter(converter=_whole)]


class BadValueError(ValueError):
    """A value that cannot be meant; the message begins behind the flag's name."""


def parse_text(text: str, characters_max: int) -> str:
    """One line of text, trimmed. Raises BadValueError."""
    text = text.strip()
    if not text:
        raise BadValueError("is empty; write something")
    if len(text) > characters_max:
        raise BadValueError(f"has {len(text)} characters; at most {characters_max} are kept")
    if _CONTROL.search(text):
        raise BadValueError(f"{text!r} holds line breaks or control characters; write one line of text")
    return text


def parse_unique_id(text: str) -> str:
    """A tracker's identifier as a device may name itself. Raises BadValueError."""
    from tracker_protocols.model import DEVICE_KEY_CHARACTERS_MAX, BadFrame
    from tracker_protocols.wire.fields import device_key

    try:
        return parse_text(device_key(text), DEVICE_KEY_CHARACTERS_MAX)
    except (BadFrame, BadValueError):
        raise BadValueError(
            f"{text[:80]!r} cannot be a tracker's identifier; it has 1 to {DEVICE_KEY_CHARACTERS_MAX} visible "
            "characters, such as the 15 digits of an IMEI"
        ) from None


def parse_priority(text: str) -> int:
    """A whole number from 1 on; smaller is paid first. Raises BadValueError."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()) or not 1 <= int(text) <= PRIORITY_MAX:
        raise BadValueError(
            f"{text!r} is no priority; write a whole number from 1 (paid first) to {PRIORITY_MAX}"
        )
    return int(text)


def parse_moment(text: str) -> datetime:
    """Any form of ISO 8601; without a zone it is UTC, a date alone is its beginning. Raises BadValueError."""
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadValueError(
            f"{text!r} is no time; write 2026-01-31, 2026-01-31T10:00:00Z or 2026-01-31T13:00:00+03:00"
        ) from None


def line_of_text(flag: str, text: str, characters_max: int) -> str:
    """``parse_text``, or exit 2."""
    try:
        return parse_text(text, characters_max)
    except BadValueError as error:
        wrong(f"{flag}: {error}")


def recipient_of(channel: str, flag: str, text: str) -> str:
    """An e-mail address, a number, a URL, or what a messenger's service takes as recipient; or exit 2."""
    from tracker_server.model.address import email, messenger, phone, url
    from tracker_server.model.money import InvalidValueError

    if channel == "messenger" and "://" in text:
        return text
    try:
        return {"email": email, "sms": phone, "webhook": url}.get(channel, messenger)(text, flag)
    except InvalidValueError as error:
        wrong(str(error))


def unique_id_of(flag: str, text: str) -> str:
    """``parse_unique_id``, or exit 2."""
    try:
        return parse_unique_id(text)
    except BadValueError as error:
        wrong(f"{flag}: {error}")


def limit_of(limit: int | None) -> int | None:
    """The value of --limit, or exit 2."""
    if limit is not None and not 1 <= limit <= NUMBER_MAX:
        far = "small; write a number from 1 on" if limit < 1 else "great; leave it out to have all"
        wrong(f"--limit: {limit} is too {far}")
    return limit


def moment_of(flag: str, text: str | None) -> datetime | None:
    """``parse_moment``, or exit 2; None where the flag is not given."""
    try:
        return None if text is None else parse_moment(text)
    except BadValueError as error:
        wrong(f"{flag}: {error}")


def period_of(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """The values of --from and --to, or exit 2."""
    begins, ends = moment_of("--from", since), moment_of("--to", until)
    if begins and ends and ends < begins:
        wrong(f"--to: {until} lies before --from {since}; exchange them")
    return begins, ends
