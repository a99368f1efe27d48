"""Groups, drivers, maintenance plans, calendars and saved commands."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import bad
from tracker_server.api.kept import Attributes, Name, Sort, keep, told
from tracker_server.api.values import Number
from tracker_server.storage.fences import schedule_fences
from tracker_server.storage.groups import is_inside
from tracker_server.storage.objects import Row

routes = Routes("Objects")

CALENDAR_CHARACTERS_MAX = 1_000_000


class Group(Struct, rename="camel", kw_only=True):
    """``groupId``: the group that it is in; 0: none."""

    id: Number = 0
    name: Name
    group_id: Number | None = 0
    attributes: Attributes | None = field(default_factory=dict)
    account_id: Number | None = 0


class Driver(Struct, rename="camel", kw_only=True):
    """``uniqueId``: what a reader in the vehicle tells."""

    id: Number = 0
    name: Name
    unique_id: Name
    attributes: Attributes | None = field(default_factory=dict)
    account_id: Number | None = 0


class Maintenance(Struct, rename="camel", kw_only=True):
    """Each ``period`` from ``start`` on, in the attribute ``type``'s own unit (totalDistance: m, hours: ms)."""

    id: Number = 0
    name: Name
    type: Name
    start: float = 0.0
    period: Annotated[float, Meta(ge=0)] = 0.0
    attributes: Attributes | None = field(default_factory=dict)
    account_id: Number | None = 0


class Calendar(Struct, rename="camel", kw_only=True):
    """``data``: iCalendar in base64."""

    id: Number = 0
    name: Name
    data: Annotated[str, Meta(max_length=CALENDAR_CHARACTERS_MAX)]
    attributes: Attributes | None = field(default_factory=dict)
    account_id: Number | None = 0


def _common(shape: Any) -> Row:
    return {"name": shape.name, "attributes": shape.attributes or {}}


async def _check_group(call: Call[Any, Any], group: Group) -> None:
    await call.require_objects(Kind.GROUP, group.group_id or 0)
    number = call.path.get("id")
    if number and group.group_id:
        async with call.services.pools.core() as connection:
            if await is_inside(connection, group.group_id, number):
                raise bad(
                    "groupId", f"group {group.group_id} is inside this one; a group cannot be in itself"
                )


def _text_of(data: str) -> str:
    """Of iCalendar in base64. Raises Refusal."""
    from icalendar import Calendar as ICalendar

    try:
        text = base64.b64decode(data, validate=True).decode()
        ICalendar.from_ical(text)
    except (binascii.Error, UnicodeDecodeError, ValueError, IndexError, KeyError, TypeError) as error:
        raise bad("data", f"is no iCalendar in base64: {str(error)[:100]}") from None
    if "\0" in text or "BEGIN:VCALENDAR" not in text:
        raise bad("data", "is no iCalendar in base64: it has no BEGIN:VCALENDAR")
    return text


async def _check_calendar(_: Call[Any, Any], calendar: Calendar) -> None:
    _text_of(calendar.data)


async def _calendar_changed(call: Call[Any, Any], connection: Any, number: int) -> None:
    await schedule_fences(connection, number, _text_of(call.body.data))


keep(
    routes,
    Sort(
        Kind.GROUP,
        "/groups",
        Group,
        to_row=lambda one: {**_common(one), "group_id": one.group_id or None},
        to_shape=lambda row: told(Group, row, group_id=row["group_id"] or 0),
        check=_check_group,
    ),
)
keep(
    routes,
    Sort(
        Kind.DRIVER,
        "/drivers",
        Driver,
        to_row=lambda one: {**_common(one), "unique_id": one.unique_id},
        to_shape=lambda row: told(Driver, row),
    ),
)
keep(
    routes,
    Sort(
        Kind.MAINTENANCE,
        "/maintenance",
        Maintenance,
        to_row=lambda one: {**_common(one), "type": one.type, "start": one.start, "period": one.period},
        to_shape=lambda row: told(Maintenance, row),
    ),
)
keep(
    routes,
    Sort(
        Kind.CALENDAR,
        "/calendars",
        Calendar,
        to_row=lambda one: {**_common(one), "data": _text_of(one.data)},
        to_shape=lambda row: told(Calendar, row, data=base64.b64encode(row["data"].encode()).decode()),
        check=_check_calendar,
        changed=_calendar_changed,
    ),
)
