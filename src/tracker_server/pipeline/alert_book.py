"""The rules of all accounts, in memory: an event that nobody asked for costs no query."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final

from tracker_server.alerts.event_words import FACTS
from tracker_server.alerts.letters import EventNotice, Place
from tracker_server.alerts.rules import EMAIL, AlertEvent, Household, Told, told
from tracker_server.config import Alerts, Api

EVENT_PLACE: Final = "{event}"
DEVICE_PLACE: Final = "{device}"


def link_of(alerts: Alerts, api: Api) -> str:
    """The address that alerts tell: the setting's, else of our own page where its address is known."""
    page = api.public_url.rstrip("/")
    return alerts.link or (f"{page}/?event={EVENT_PLACE}" if page else "")


class AlertBook:
    """``link``: the address of an event's page, with ``{event}`` or ``{device}`` in it; empty: none is told."""

    def __init__(self, link: str = "") -> None:
        self._households: dict[int, Household] = {}
        self._link = link

    def put_all(self, households: Mapping[int, Household]) -> None:
        """What the database says of all accounts that have rules."""
        self._households = dict(households)

    def put(self, account_id: int, household: Household | None) -> None:
        """What it says of one; None: it has no rules any more."""
        if household is None:
            self._households.pop(account_id, None)
        else:
            self._households[account_id] = household

    def accounts_with(self, users: AbstractSet[int]) -> set[int]:
        """Those whose rules may reach one of these people."""
        return {number for number, one in self._households.items() if not users.isdisjoint(one.people)}

    def __contains__(self, account_id: object) -> bool:
        return account_id in self._households

    def household(self, account_id: int) -> Household | None:
        """An account that has rules."""
        return self._households.get(account_id)

    def told(self, event: AlertEvent, now: datetime) -> list[Told]:
        """The messages that an event becomes."""
        household = self._households.get(event.account_id)
        return told(household, event, now) if household else []

    def letter(self, event: AlertEvent, message: Told) -> EventNotice:
        """The letter of one message."""
        household = self._households[event.account_id]
        return letter_of(event, message, household, self._link)


def letter_of(event: AlertEvent, message: Told, household: Household, link: str) -> EventNotice:
    """An event as its letter: only those facts that the sentences use, and no more than a line of each."""
    rule = message.row.rule
    place = None
    if event.latitude is not None and event.longitude is not None:
        place = Place(event.latitude, event.longitude)
    return EventNotice(
        event=event.type,
        tracker=event.name,
        unique_id=event.unique_id,
        account=household.name,
        language=message.language,
        zone=household.zone,
        occurred_at=event.occurred_at,
        fence=event.fence or "",
        facts={name: value for name, value in event.attributes.items() if name in FACTS and _plain(value)},
        place=place,
        link=link.replace(EVENT_PLACE, str(event.id)).replace(DEVICE_PLACE, str(event.device_id)),
        event_id=event.id,
        device_id=event.device_id,
        command=rule.command if message.channel == "command" else None,
        fence_id=event.fence_id if rule.picture else None,
        picture=rule.picture and message.channel == EMAIL,
    )


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float | bool)
