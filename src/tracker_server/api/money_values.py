"""Reading money as clients write it, and writing it: decimal strings beside a currency."""

from __future__ import annotations

import re
from datetime import date

from tracker_server.api.errors import bad, invalid
from tracker_server.model.money import InvalidValueError, currency, format_minor, parse_minor
from tracker_server.model.why import Why

KEY_CHARACTERS_MAX = 200
_KEY = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")


def amount_of(field: str, text: str, code: str) -> int:
    """Minor units above zero. Raises Refusal."""
    try:
        amount_minor = parse_minor(text, currency(code), field)
    except InvalidValueError as error:
        raise invalid(error) from None
    if amount_minor <= 0:
        raise bad(field, f"{text!r} is not above zero; write how much, without a sign", Why.NOT_ABOVE_ZERO)
    return amount_minor


def written(amount_minor: int, code: str) -> str:
    """The decimal string."""
    return format_minor(amount_minor, currency(code))


def date_of(field: str, text: str) -> date:
    """A calendar date. Raises Refusal."""
    try:
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
            raise ValueError  # noqa: TRY301  (told below, as what Python finds)
        return date.fromisoformat(text)
    except ValueError:
        raise bad(field, f"{text[:40]!r} is no date; write one such as 2026-01-31", Why.DATE) from None


def key_of(field: str, text: str | None) -> str:
    """A name under which something is done once; empty where none is given. Raises Refusal."""
    if text is None:
        return ""
    if not text or len(text) > KEY_CHARACTERS_MAX or not _KEY.fullmatch(text):
        raise bad(field, f"has to be 1 to {KEY_CHARACTERS_MAX} characters in one line")
    return text


def unique_id_of(field: str, text: str) -> str:
    """A tracker's identifier as a device may name itself. Raises Refusal."""
    from tracker_protocols.model import BadFrame
    from tracker_protocols.wire.fields import device_key

    try:
        return device_key(text.strip())
    except BadFrame:
        raise bad(
            field,
            f"{text[:80]!r} cannot be a tracker's identifier, such as the 15 digits of an IMEI",
            Why.IDENTIFIER,
        ) from None
