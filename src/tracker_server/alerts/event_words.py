"""Events in words: a subject that says it all, the time in the account's zone, the place, and where to look.

A sentence is filled from the event's facts. What a fact does not say is "not known": an alert never fails for want
of words.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from babel import Locale
from babel.dates import format_datetime, format_timedelta
from babel.numbers import format_decimal

from tracker_server.alerts.event_phrases import ALARMS, LABELS, SENTENCES
from tracker_server.alerts.letters import EventNotice, Language

KMH_PER_MPS: Final = 3.6
FACT_CHARACTERS_MAX: Final = 160
FACTS: Final = frozenset(
    {"alarm", "speed_mps", "limit_mps", "dwell_s", "driver_unique_id", "driver", "other", "maintenance", "kind", "result",
     "change_l", "change_percent", "before_l", "after_l", "before_percent", "after_percent", "distance_m"}
)  # fmt: skip
"""The attributes of an event that a sentence, or a program that is told of it, may use."""


class EventWords(msgspec.Struct, frozen=True):
    """``brief`` is what fits into an SMS; ``items`` are name and value."""

    subject: str
    brief: str
    items: tuple[tuple[str, str], ...]
    more: str


def event_words(notice: EventNotice, locale: Locale, address: str = "") -> EventWords:
    """A notice in its language; ``address``: of its place, where it is known."""
    language = notice.language
    labels = LABELS[language]
    subject = sentence(notice, locale)
    at = notice.occurred_at.astimezone(ZoneInfo(notice.zone))
    items = [(labels["at"], f"{format_datetime(at, 'long', locale=locale)}")]
    if address:
        items.append((labels["address"], address))
    if notice.place is not None:
        items.append((labels["place"], f"{notice.place.latitude:.5f}, {notice.place.longitude:.5f}"))
    short = format_datetime(at, "d MMM HH:mm", locale=locale)
    brief = subject + labels["on"].format(time=short)
    if address:
        brief += f", {address}"
    if notice.link:
        brief += f" {notice.link}"
    return EventWords(
        subject, brief, tuple(items), labels["more"].format(link=notice.link) if notice.link else ""
    )


def sentence(notice: EventNotice, locale: Locale) -> str:
    """What happened, in one sentence without its full stop."""
    language, facts = notice.language, notice.facts
    labels = LABELS[language]
    sentences = SENTENCES[language]
    words = {
        "tracker": notice.tracker or notice.unique_id,
        "fence": notice.fence or labels["fence"],
        "type": notice.event,
        "alarm": _alarm(facts.get("alarm"), language),
        "speed": _speed(facts.get("speed_mps"), language, locale),
        "limit": _speed(facts.get("limit_mps"), language, locale),
        "dwell": _duration(facts.get("dwell_s"), language, locale),
        "change": _change(facts, language, locale),
        "other": _text(facts.get("other")) or labels["other"],
        "driver": _text(facts.get("driver") or facts.get("driver_unique_id")) or labels["unknown"],
        "maintenance": _text(facts.get("maintenance")) or labels["maintenance"],
        "result": _text(facts.get("result")) or labels["unknown"],
    }
    return sentences.get(notice.event, sentences[""]).format_map(words)


def _text(value: Any) -> str:
    """A fact as one line; a device may have said anything."""
    if value is None:
        return ""
    return " ".join(str(value).split())[:FACT_CHARACTERS_MAX]


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _alarm(value: Any, language: Language) -> str:
    kind = _text(value) or "general"
    return ALARMS[language].get(kind, kind)


def _speed(value: Any, language: Language, locale: Locale) -> str:
    speed = _number(value)
    if speed is None:
        return LABELS[language]["unknown"]
    return f"{format_decimal(round(speed * KMH_PER_MPS), locale=locale)} {LABELS[language]['km/h']}"


def _duration(value: Any, language: Language, locale: Locale) -> str:
    seconds = _number(value)
    if seconds is None:
        return LABELS[language]["unknown"]
    return format_timedelta(timedelta(seconds=seconds), threshold=1.5, locale=locale)


def _change(facts: dict[str, Any], language: Language, locale: Locale) -> str:
    for name, unit in (("change_l", "l" if language != "ru" else "л"), ("change_percent", "%")):
        change = _number(facts.get(name))
        if change is not None:
            return f"{format_decimal(round(abs(change), 1), locale=locale)} {unit}"
    return LABELS[language]["unknown"]
