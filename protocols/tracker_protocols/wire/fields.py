"""Reading the fields that protocols share: moments, degrees, speeds. Every refusal is a BadFrame."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import isfinite

from tracker_protocols.model import DEVICE_KEY_CHARACTERS_MAX, BadFrame, DeviceKey, Reason

MPS_PER_KNOT = 1852 / 3600
MPS_PER_KMH = 1 / 3.6

_KEY = re.compile(r"[\x21-\x7e\x80-\U0010ffff][\x20-\x7e\x80-\U0010ffff]*")


def device_key(text: str | bytes) -> DeviceKey:
    """A device's identifier, trimmed and bounded."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    text = text.strip()
    if not text or len(text) > DEVICE_KEY_CHARACTERS_MAX or not _KEY.fullmatch(text):
        raise BadFrame(Reason.NO_DEVICE, f"no identifier in {text[:80]!r}")
    return text


def moment(
    year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, microsecond: int = 0
) -> datetime:
    """An instant in UTC; a year below 100 is of this century. Month 13 is refused, never guessed."""
    if year < 100:
        year += 2000
    try:
        return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=UTC)
    except ValueError as error:
        raise BadFrame(
            Reason.NO_SUCH_MOMENT, f"{year}-{month}-{day} {hour}:{minute}:{second}: {error}"
        ) from None


def moment_from_ms(milliseconds: int) -> datetime:
    """An instant from milliseconds since 1970-01-01 UTC."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise BadFrame(Reason.NO_SUCH_MOMENT, f"{milliseconds} ms: {error}") from None


def finite(text: str | bytes) -> float:
    """A finite number in decimal digits. Raises ValueError: neither infinity nor "not a number" was ever measured."""
    value = float(text)
    if not isfinite(value):
        raise ValueError(f"{text!r} is no number")
    return value


def degrees_from_nmea(text: str | bytes, hemisphere: str | bytes) -> float:
    """``ddmm.mmmm`` or ``dddmm.mmmm`` with N, S, E or W, in degrees, south and west negative."""
    whole = float(text)
    degrees = int(whole // 100)
    value = degrees + (whole - degrees * 100) / 60
    if hemisphere in {"S", "W", b"S", b"W"}:
        return -value
    if hemisphere in {"N", "E", b"N", b"E"}:
        return value
    raise BadFrame(Reason.MALFORMED, f"hemisphere {hemisphere!r}")


def check_place(latitude: float, longitude: float) -> None:
    """Refuse what is not on the globe."""
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise BadFrame(Reason.OUT_OF_RANGE, f"latitude {latitude}, longitude {longitude}")
