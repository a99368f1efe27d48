"""Who is told of an event, through which channels, and when: pure.

A rule names kinds of events, trackers, fences and times; whoever it names is told through each of its channels.
What a rule leaves open means "any", but for its trackers: those are named, or all of them on purpose.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from tracker_server.alerts.letters import LANGUAGES, Language
from tracker_server.alerts.schedule import quiet_until
from tracker_server.model import address
from tracker_server.model.event import EventType
from tracker_server.model.money import InvalidValueError
from tracker_server.model.schedule import ScheduleError, active_at, check_calendar

ALL_EVENTS: Final = "allEvents"  # the word that clients of this field have for it
KINDS: Final = frozenset({ALL_EVENTS, *EventType})

EMAIL: Final = "email"
MESSENGER: Final = "messenger"
SMS: Final = "sms"
WEBHOOK: Final = "webhook"
MQTT: Final = "mqtt"
COMMAND: Final = "command"
WEB: Final = "web"  # the page: pushed to whoever has it open
CHANNELS: Final = (EMAIL, SMS, MESSENGER, WEBHOOK, MQTT, COMMAND, WEB)
TO_DEVICES: Final = frozenset({MQTT, COMMAND})  # go to the tracker itself, so they need no recipient
NOBODY: Final = "-"  # the recipient of what could be addressed to nobody

RECIPIENTS_MAX: Final = 50  # of one rule; each is a message for each event
THROTTLE_S_MAX: Final = 7 * 86_400


class Recipient(msgspec.Struct, frozen=True, omit_defaults=True):
    """An address for one channel, or a user, who has an address for each. ``channel`` empty: a user."""

    channel: str = ""
    to: str = ""
    user: int | None = None


class Rule(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be told. Tuples that are empty leave their matter open; ``always``: all trackers of the account.

    ``quiet``: from and to, local time; what would be told meanwhile is told when it ends. ``calendar``: iCalendar; the
    rule is in force during its events. ``throttle_s``: not again so soon for the same tracker and kind.
    ``picture``: its mails show a map.
    """

    types: tuple[str, ...]
    channels: tuple[str, ...]
    alarms: tuple[str, ...] = ()
    fence_ids: tuple[int, ...] = ()
    always: bool = False
    device_ids: tuple[int, ...] = ()
    group_ids: tuple[int, ...] = ()
    recipients: tuple[Recipient, ...] = ()
    language: Language | None = None
    calendar: str = ""
    calendar_id: int | None = None
    quiet: tuple[time, time] | None = None
    throttle_s: int = 0
    command: dict[str, Any] | None = None
    picture: bool = False


class RuleRow(msgspec.Struct, frozen=True):
    """A rule as it is kept. ``calendar``: that of ``calendar_id``, where the rule names one."""

    id: int
    account_id: int
    user_id: int | None
    name: str
    enabled: bool
    rule: Rule
    calendar: str = ""


class Person(msgspec.Struct, frozen=True):
    """A user as far as alerts ask. ``device_ids``: the trackers that he may see; None: all of his account."""

    id: int
    email: str = ""
    phone: str = ""
    language: str = ""
    device_ids: frozenset[int] | None = None


class Household(msgspec.Struct, frozen=True):
    """An account with its rules, and everything that its alerts depend on beside the event."""

    id: int
    name: str
    zone: str
    language: Language
    email: str = ""
    messenger: str = ""
    phone: str = ""
    rules: tuple[RuleRow, ...] = ()
    people: Mapping[int, Person] = {}
    groups: Mapping[int, frozenset[int]] = {}  # tracker to the groups that it is in, with those around them

    def address(self, channel: str) -> str:
        """The account's own, where a rule names nobody."""
        return {EMAIL: self.email, MESSENGER: self.messenger, SMS: self.phone}.get(channel, "")


class AlertEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as it was stored. ``hidden``: its tracker is blocked. ``fence``: the name of ``fence_id``'s fence."""

    id: int
    device_id: int
    account_id: int
    unique_id: str
    name: str
    type: str
    occurred_at: datetime
    fence_id: int | None = None
    fence: str | None = None
    attributes: Mapping[str, Any] = {}
    latitude: float | None = None
    longitude: float | None = None
    hidden: bool = False

    @property
    def other_ids(self) -> tuple[int, ...]:
        """The other trackers that it is about."""
        other = self.attributes.get("other_id")
        return (*(self.attributes.get("companion_ids") or ()), *(() if other is None else (other,)))


class Told(msgspec.Struct, frozen=True):
    """One message that an event becomes. ``due_at``: now, or the end of the quiet time."""

    row: RuleRow
    channel: str
    recipient: str
    language: Language
    due_at: datetime


def matching(household: Household, event: AlertEvent) -> list[RuleRow]:
    """The rules that want this event told."""
    return [row for row in household.rules if matches(row, household, event)]


def matches(row: RuleRow, household: Household, event: AlertEvent) -> bool:
    """Whether a rule speaks of such an event; the cheap questions first."""
    rule = row.rule
    if not row.enabled or not (event.type in rule.types or ALL_EVENTS in rule.types):
        return False
    if rule.alarms and event.type == EventType.ALARM and event.attributes.get("alarm") not in rule.alarms:
        return False
    if rule.fence_ids and event.fence_id not in rule.fence_ids:
        return False
    if not rule.always and event.device_id not in rule.device_ids:
        groups = household.groups.get(event.device_id, frozenset())
        if not groups.intersection(rule.group_ids):
            return False
    if row.user_id is not None and not _may_see(household.people.get(row.user_id), event):
        return False
    calendar = row.calendar or rule.calendar
    return not calendar or active_at(calendar, household.zone, event.occurred_at)


def _may_see(person: Person | None, event: AlertEvent) -> bool:
    """A rule tells its maker nothing that he may not see, of any tracker that it is about; one whose maker is gone tells
    nothing.
    """
    if person is None or person.device_ids is None:
        return person is not None
    return person.device_ids.issuperset((event.device_id, *event.other_ids))


def told(household: Household, event: AlertEvent, now: datetime) -> list[Told]:
    """Every message of an event; two rules may tell the same person, each by itself."""
    found: list[Told] = []
    for row in matching(household, event):
        due_at = now
        if row.rule.quiet is not None:
            due_at = quiet_until(row.rule.quiet, ZoneInfo(household.zone), now) or now
        for channel in row.rule.channels:
            if channel == WEB:
                found.append(Told(row, WEB, WEB, _spoken_by(row, household), now))
                continue
            for recipient, language in recipients(row, household, event, channel):
                found.append(Told(row, channel, recipient, language, due_at))
    return found


def recipients(
    row: RuleRow, household: Household, event: AlertEvent, channel: str
) -> list[tuple[str, Language]]:
    """Who is reached through a channel, each once, in the language that fits: the rule's, his own, the account's."""
    if channel in TO_DEVICES:
        return [(event.unique_id, _spoken_by(row, household))]
    named = [one for one in row.rule.recipients if one.user is not None or one.channel == channel]
    found: dict[str, Language] = {}
    for one in named:
        if one.user is None:
            found.setdefault(one.to, row.rule.language or household.language)
            continue
        person = household.people.get(one.user)
        address = _of_person(person, channel)
        if person is not None and address and _may_see(person, event):
            found.setdefault(
                address, row.rule.language or known_language(person.language) or household.language
            )
    if not named:
        maker = household.people.get(row.user_id) if row.user_id is not None else None
        address = _of_person(maker, channel) or household.address(channel)
        found[address or NOBODY] = _spoken_by(row, household)
    return list(found.items()) or [(NOBODY, row.rule.language or household.language)]


def _of_person(person: Person | None, channel: str) -> str:
    if person is None:
        return ""
    return {EMAIL: person.email, SMS: person.phone}.get(channel, "")


def _spoken_by(row: RuleRow, household: Household) -> Language:
    """The language of what goes to nobody in particular: the rule's, its maker's, the account's."""
    maker = household.people.get(row.user_id) if row.user_id is not None else None
    own = known_language(maker.language) if maker else None
    return row.rule.language or own or household.language


def known_language(language: str) -> Language | None:
    """A language that we speak."""
    return next((known for known in LANGUAGES if known == language), None)


# ---------------------------------------------------------------------- what may be told again


class Memory(msgspec.Struct, frozen=True):
    """What was told before through a rule about a tracker: the newest moment of each kind of event."""

    newest: Mapping[tuple[int, int, str], datetime] = {}

    def too_soon(self, row: RuleRow, event: AlertEvent) -> bool:
        """Whether the rule's throttle keeps this event back. One that is older than what was told counts as well."""
        last = self.newest.get((row.id, event.device_id, event.type))
        if last is None or not row.rule.throttle_s:
            return False
        return abs(event.occurred_at - last) < timedelta(seconds=row.rule.throttle_s)


# ---------------------------------------------------------------------- rules as people write them


class RuleError(ValueError):
    """A rule that cannot be meant; the message names the field and the cure."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field


def check(rule: Rule, channels: Collection[str]) -> None:
    """Refuse what would never be told. ``channels``: those that are set up. Raises RuleError."""
    if not rule.types:
        raise RuleError("type", "is missing; name kinds of events, such as geofenceEnter, or allEvents")
    for kind in rule.types:
        if kind not in KINDS:
            raise RuleError("type", f"{kind!r} is no kind of event; there are: {', '.join(sorted(KINDS))}")
    if not (rule.always or rule.device_ids or rule.group_ids):
        raise RuleError("device", "names no tracker; name trackers or groups, or say all")
    if not 0 <= rule.throttle_s <= THROTTLE_S_MAX:
        raise RuleError("throttle", f"{rule.throttle_s} s; write 0 to {THROTTLE_S_MAX} seconds")
    if rule.quiet is not None and rule.quiet[0] == rule.quiet[1]:
        raise RuleError("quiet", "begins as it ends; write two different times, such as 22:00-07:00")
    if rule.calendar:
        try:
            check_calendar(rule.calendar)
        except ScheduleError as error:
            raise RuleError("calendar", str(error)) from None
    _check_ways(rule, channels)


def _check_ways(rule: Rule, channels: Collection[str]) -> None:
    if not rule.channels:
        raise RuleError("channel", f"is missing; there are: {', '.join(CHANNELS)}")
    for channel in rule.channels:
        if channel not in CHANNELS:
            raise RuleError("channel", f"there is no channel {channel!r}; there are: {', '.join(CHANNELS)}")
        if channel != WEB and channel not in channels:
            raise RuleError("channel", f"{channel} is not set up; the operator's settings do that")
    if rule.picture and EMAIL not in rule.channels:
        raise RuleError("picture", "only mails have pictures; name the channel email, too")
    if COMMAND in rule.channels and not (rule.command and isinstance(rule.command.get("type"), str)):
        raise RuleError("command", "is missing; the channel command needs one, such as engineStop")
    if WEBHOOK in rule.channels and not any(one.channel == WEBHOOK for one in rule.recipients):
        raise RuleError("to", "no URL for the channel webhook; name one, such as https://example.com/alerts")
    if len(rule.recipients) > RECIPIENTS_MAX:
        raise RuleError("to", f"{len(rule.recipients)} recipients; at most {RECIPIENTS_MAX} for one rule")
    for one in rule.recipients:
        if one.user is None and one.channel not in rule.channels:
            raise RuleError(
                "to", f"{one.to!r} is for the channel {one.channel or '?'}, which the rule has not"
            )
        if one.user is None:
            _check_address(one)


def _check_address(one: Recipient) -> None:
    """Refuse what no channel could send to, or would read as something else."""
    read = {EMAIL: address.email, SMS: address.phone, WEBHOOK: address.url, MESSENGER: address.messenger}
    if one.channel == MESSENGER and "://" in one.to:
        read[MESSENGER] = address.messenger_url
    try:
        plain = read[one.channel](one.to, "to") if one.channel in read else one.to
    except InvalidValueError as error:
        raise RuleError("to", str(error).removeprefix("to: ")) from None
    if plain != one.to:
        raise RuleError("to", f"{one.to!r}: write {plain!r}")


def quiet_of(text: str) -> tuple[time, time]:
    """``22:00-07:00``. Raises RuleError."""
    begins, found, ends = text.partition("-")
    try:
        times = time.fromisoformat(begins.strip()), time.fromisoformat(ends.strip())
    except ValueError:
        found = ""
    else:
        if found and not any(one.tzinfo for one in times):
            return times
    raise RuleError("quiet", f"{text!r} is no time of the day; write 22:00-07:00")


def kinds_of(words: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Kinds of events and of alarms from words such as ``geofenceEnter`` and ``alarm:sos``."""
    types: dict[str, None] = {}
    alarms: dict[str, None] = {}
    for word in words:
        kind, _, alarm = word.partition(":")
        types[kind] = None
        if alarm and kind != EventType.ALARM:
            raise RuleError("type", f"{word!r}: only alarms have kinds of their own; write alarm:sos")
        if alarm:
            alarms[alarm] = None
    return tuple(types), tuple(alarms)
