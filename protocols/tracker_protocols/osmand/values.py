"""Values as phones write them: numbers, yes and no, moments, in text or in JSON."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from math import isfinite
from urllib.parse import unquote_plus

from tracker_protocols.model import AccessPoint, BadFrame, Cell, Reason, Reply
from tracker_protocols.wire.fields import moment_from_ms

MILLISECONDS_FROM = 100_000_000_000  # as seconds the year 5138, as milliseconds March 1973
NUMBER_CHARACTERS_MAX = 15  # what a double holds to the last digit; longer (an ICCID) is a name, not a number
FRACTION_CHARACTERS_MAX = 24  # with a point it is no name: programs print doubles at such length
PARAMETERS_MAX = 200  # a fix has ten, a chatty home-made tracker fifty
TEXT_CHARACTERS_MAX = 512  # of one attribute: a sentence, not a document
STORED = Reply(b"", 200)
YES = frozenset({"true", "1", "yes", "on"})
NO = frozenset({"false", "0", "no", "off"})


def pairs(query: str) -> Iterator[tuple[str, str]]:
    """Names and values of a query or form, percent-decoded, in order."""
    parts = query.split("&", PARAMETERS_MAX)
    if len(parts) > PARAMETERS_MAX:
        raise BadFrame(Reason.TOO_LONG, f"more than {PARAMETERS_MAX} parameters")
    for part in parts:
        name, _, value = part.partition("=")
        if "%" in part or "+" in part:
            name, value = unquote_plus(name), unquote_plus(value)
        if value and name:
            yield name, value


def number(value: object) -> float | None:
    """A finite number, or None where there is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return value if isfinite(value) else None
    if not isinstance(value, str) or "_" in value:  # Python alone reads 1_000
        return None
    try:
        read = float(value)
    except ValueError:
        return None
    return read if isfinite(read) else None


def yes_or_no(value: object) -> bool | None:
    """True or false in any of its customary spellings; None for anything else."""
    word = str(value).strip().lower()
    return True if word in YES else False if word in NO else None


def typed(text: str) -> str | float | bool:
    """A parameter without a meaning of its own, as the type that its text shows."""
    longest = FRACTION_CHARACTERS_MAX if "." in text else NUMBER_CHARACTERS_MAX
    if text[-1:].isdigit() and len(text) <= longest:
        if text.isdecimal() and text.isascii():
            return int(text)
        read = number(text)
        return text if read is None else read
    word = text.lower()
    if word == "true":
        return True
    if word == "false":
        return False
    return text


def moment(value: object) -> datetime:
    """Seconds or milliseconds since 1970, ISO 8601, or ``yyyy-MM-dd HH:mm:ss``. Without a zone: UTC."""
    since = number(value)
    if since is not None:
        return moment_from_ms(round(since if abs(since) >= MILLISECONDS_FROM else since * 1000))
    text = str(value).strip()
    if len(text) > 16 and text[-6] == " " and text[-3] == ":" and "T" in text.upper():
        text = f"{text[:-6]}+{text[-5:]}"  # the plus of +03:00, sent unescaped, came as a space
    try:
        read = datetime.fromisoformat(text)
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadFrame(Reason.NO_SUCH_MOMENT, f"timestamp {text[:40]!r}: {error}") from None


def cell(text: str) -> Cell | None:
    """``mcc,mnc,lac,cid[,signal]``."""
    try:
        parts = [int(part) for part in text.split(",")[:5]]
        return Cell(*parts)
    except (ValueError, TypeError):
        return None


def access_point(text: str) -> AccessPoint | None:
    """``mac[,signal]``, the MAC with dashes or colons."""
    mac, _, rest = text.partition(",")
    mac = mac.strip().replace("-", ":").lower()
    signal = number(rest.partition(",")[0])
    if len(mac) != 17 or mac.count(":") != 5:
        return None
    return AccessPoint(mac, None if signal is None else round(signal))
