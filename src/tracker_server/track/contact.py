"""Online, offline, inactive: pure functions of when a tracker was heard, and of now."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from tracker_server.model.event import SECOND_US, Event, EventType
from tracker_server.track.settings import TrackSettings


class Contact(StrEnum):
    """What a client shows beside a tracker's name."""

    UNKNOWN = "unknown"  # never heard
    ONLINE = "online"
    OFFLINE = "offline"


def contact(heard_us: int | None, now_us: int, settings: TrackSettings) -> Contact:
    """How it stands at ``now_us`` when it was last heard at ``heard_us``."""
    if heard_us is None:
        return Contact.UNKNOWN
    silent_us = now_us - heard_us
    return Contact.OFFLINE if silent_us > settings.offline_after_s * SECOND_US else Contact.ONLINE


def contact_events(heard_us: Sequence[int], now_us: int, settings: TrackSettings) -> list[Event]:
    """All events of these contacts (microseconds, in order) up to ``now_us``: online at the contact that ends a
    silence, offline and inactive at the moment at which the silence has lasted long enough.
    """
    events: list[Event] = []
    if not heard_us:
        return events
    events.append(Event(EventType.DEVICE_ONLINE, heard_us[0], heard_us[0]))
    for last_us, next_us in pairwise((*heard_us, now_us)):
        for after_s, kind in (
            (settings.offline_after_s, EventType.DEVICE_OFFLINE),
            (settings.inactive_after_s, EventType.DEVICE_INACTIVE),
        ):
            if after_s is not None and next_us - last_us > after_s * SECOND_US:
                due_us = last_us + round(after_s * SECOND_US)
                events.append(Event(kind, due_us, due_us))
    for last_us, next_us in pairwise(heard_us):
        if contact(last_us, next_us, settings) is Contact.OFFLINE:
            events.append(Event(EventType.DEVICE_ONLINE, next_us, next_us))
    return sorted(events, key=lambda event: (event.occurred_us, event.type))


def wakes_at_us(heard_us: int | None, now_us: int, settings: TrackSettings) -> int | None:
    """The next moment at which time alone makes an event, if nothing is heard until then."""
    if heard_us is None:
        return None
    due = (settings.offline_after_s, settings.inactive_after_s)
    moments = [heard_us + round(after_s * SECOND_US) + 1 for after_s in due if after_s is not None]
    return min((moment_us for moment_us in moments if moment_us > now_us), default=None)
