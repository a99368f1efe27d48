"""Alert rules in the shape that clients of this field write them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from tracker_server.alerts.letters import AnnouncementLetter, Language, Letter, TestLetter, encode, spoken
from tracker_server.alerts.rules import (
    ALL_EVENTS,
    CHANNELS,
    COMMAND,
    EMAIL,
    MESSENGER,
    SMS,
    WEB,
    Recipient,
    Rule,
    RuleError,
    check,
    quiet_of,
)
from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad, not_found
from tracker_server.api.kept import Attributes, ListQuery, Name, account_for, part_of
from tracker_server.api.users import managed_by
from tracker_server.api.values import Number
from tracker_server.model.event import EventType
from tracker_server.model.people import Right
from tracker_server.model.why import Why
from tracker_server.notify.channels import channels_of
from tracker_server.storage.alert_rules import TooManyRulesError, add_rule, change_rule, keep_given
from tracker_server.storage.allowed import KEPT
from tracker_server.storage.audit import note
from tracker_server.storage.objects import Row, link, list_objects, read_object, remove_object
from tracker_server.storage.outbox import NewMessage, enqueue
from tracker_server.storage.users import UserRow, list_users, user_by_id

routes = Routes("Notifications")

THEIR_NAMES: Final = {"mail": EMAIL, "telegram": MESSENGER, "whatsapp": MESSENGER, "pushover": MESSENGER}
KEPT_RULE: Final = KEPT[Kind.NOTIFICATION]
IDS_MAX: Final = 1_000
TO_PEOPLE: Final = (EMAIL, SMS, MESSENGER)
TOLD_MAX: Final = 1_000  # users whom one announcement reaches: no box of others is filled through us


class Notification(Struct, rename="camel", kw_only=True):
    """``notificators``: channels, separated by commas. ``always``: for all trackers of the account; else for those linked
    to it, or named by ``attributes.deviceIds`` and ``groupIds``. Other attributes with a meaning: ``alarms``, ``fenceIds``,
    ``language``, ``quiet`` (22:00-07:00), ``throttle`` (seconds), ``recipients`` ([{channel, to}]),
    ``picture`` (true: mails show a map).
    """

    id: Number = 0
    description: Annotated[str, Meta(max_length=200)] | None = ""
    type: Name
    always: bool = False
    notificators: Annotated[str, Meta(max_length=200)] | None = ""
    calendar_id: Number | None = 0
    command_id: Number | None = 0
    attributes: Attributes | None = field(default_factory=dict)
    account_id: Number | None = 0


class Typed(Struct):
    """A name."""

    type: str


class Meaning(Struct, rename="camel"):
    """Of a rule's attributes what the engine reads."""

    alarms: str | list[str] = ""
    fence_ids: list[Number] = field(default_factory=list)
    device_ids: list[Number] = field(default_factory=list)
    group_ids: list[Number] = field(default_factory=list)
    language: str | None = None
    quiet: str | None = None
    throttle: Annotated[int, Meta(ge=0)] = 0
    recipients: list[Recipient] = field(default_factory=list)
    picture: bool = False


def shape_of(row: Row) -> Notification:
    """As it is told; of a rule that a command wrote, its attributes are made of it."""
    rule = msgspec.convert(row["rule"], Rule)
    given = row["rule"].get("given")
    return Notification(
        id=row["id"],
        description=row["name"],
        type=",".join(rule.types),
        always=rule.always,
        notificators=given["notificators"] if given else ",".join(_theirs(name) for name in rule.channels),
        calendar_id=rule.calendar_id or 0,
        command_id=given["commandId"] if given else 0,
        attributes=given["attributes"] if given else _attributes(rule),
        account_id=row["account_id"],
    )


def _theirs(channel: str) -> str:
    return "mail" if channel == EMAIL else channel


def _attributes(rule: Rule) -> Attributes:
    told: Attributes = {
        "alarms": ",".join(rule.alarms),
        "fenceIds": list(rule.fence_ids),
        "deviceIds": list(rule.device_ids),
        "groupIds": list(rule.group_ids),
        "language": rule.language,
        "quiet": f"{rule.quiet[0]:%H:%M}-{rule.quiet[1]:%H:%M}" if rule.quiet else None,
        "throttle": rule.throttle_s,
        "recipients": [msgspec.to_builtins(one) for one in rule.recipients],
        "picture": rule.picture,
    }
    return {name: value for name, value in told.items() if value}


async def _rule_of(call: Call[Any, Any], given: Notification) -> Rule:
    """Raises Refusal where it can never be told, or names what is not his."""
    try:
        meaning = msgspec.convert(given.attributes or {}, Meaning, strict=False)
    except msgspec.ValidationError as error:
        raise bad("attributes", str(error)) from None
    for kind, numbers in (
        (Kind.GEOFENCE, meaning.fence_ids),
        (Kind.DEVICE, meaning.device_ids),
        (Kind.GROUP, meaning.group_ids),
        (Kind.CALENDAR, [given.calendar_id or 0]),
        (Kind.COMMAND, [given.command_id or 0]),
    ):
        if len(numbers) > IDS_MAX:
            raise bad("attributes", f"name more than {IDS_MAX:,} of one kind")
        await call.require_objects(kind, *numbers)
    channels = [name.strip() for name in (given.notificators or "").split(",") if name.strip()]
    alarms = meaning.alarms if isinstance(meaning.alarms, list) else meaning.alarms.split(",")
    try:
        rule = Rule(
            types=tuple(one.strip() for one in given.type.split(",") if one.strip()),
            channels=tuple(dict.fromkeys(THEIR_NAMES.get(name, name) for name in channels)),
            alarms=tuple(one.strip() for one in alarms if one.strip()),
            fence_ids=tuple(meaning.fence_ids),
            always=given.always,
            device_ids=tuple(meaning.device_ids),
            group_ids=tuple(meaning.group_ids),
            recipients=tuple(meaning.recipients),
            language=spoken(meaning.language) if meaning.language else None,
            calendar_id=given.calendar_id or None,
            quiet=quiet_of(meaning.quiet) if meaning.quiet else None,
            throttle_s=meaning.throttle,
            command=await _command(call, given.command_id or 0),
            picture=meaning.picture,
        )
        # trackers may be linked to it later, so none need be named yet
        check(replace(rule, always=True), set(channels_of(call.services.settings)) | {WEB, COMMAND})
    except RuleError as error:
        raise Refusal(400, str(error)) from None
    return rule


async def _command(call: Call[Any, Any], number: int) -> dict[str, Any] | None:
    if not number:
        return None
    async with call.services.pools.core() as connection:
        saved = await read_object(connection, KEPT[Kind.COMMAND], number)
    return {"type": saved["type"], "attributes": saved["attributes"]} if saved else None


def _given(given: Notification) -> dict[str, Any]:
    """Kept word for word, so that what is read is what was written."""
    return {
        "notificators": given.notificators or "",
        "attributes": given.attributes or {},
        "commandId": given.command_id or 0,
    }


@routes.get(
    "/notifications",
    needs=Right.READ,
    query=ListQuery,
    objects={"userId": Kind.USER, "deviceId": Kind.DEVICE, "groupId": Kind.GROUP},
    answers=list[Notification],
)
async def get_notifications(call: Call[ListQuery, None]) -> list[Notification]:
    """The rules that one may see."""
    query = call.query
    linked = ("device", query.device_id) if query.device_id else None
    linked = ("group", query.group_id) if query.group_id else linked
    async with call.services.pools.core() as connection:
        rows = await list_objects(connection, KEPT_RULE, call.principal, ids=query.id or None, linked=linked)
        if query.user_id and query.user_id != call.principal.user_id:
            other = await call.services.access.of_user(connection, query.user_id)
            theirs = (
                {row["id"] for row in await list_objects(connection, KEPT_RULE, other)} if other else set()
            )
            rows = [row for row in rows if row["id"] in theirs]
    return part_of([shape_of(row) for row in rows], query)


@routes.get("/notifications/types", needs=Right.READ, answers=list[Typed])
async def get_notification_types(_: Call[None, None]) -> list[Typed]:
    """The kinds of event that a rule may name."""
    return [Typed(ALL_EVENTS), *(Typed(str(kind)) for kind in EventType)]


class NotificatorsQuery(Struct):
    """``announcement``: only those by which one can write to people."""

    announcement: bool = False


@routes.get("/notifications/notificators", needs=Right.READ, query=NotificatorsQuery, answers=list[Typed])
async def get_notificators(call: Call[NotificatorsQuery, None]) -> list[Typed]:
    """The channels that are set up."""
    there = set(channels_of(call.services.settings))
    there = there & set(TO_PEOPLE) if call.query.announcement else there | {WEB, COMMAND}
    return [Typed(_theirs(name)) for name in CHANNELS if name in there]


@routes.get("/notifications/{id}", needs=Right.READ, objects={"id": Kind.NOTIFICATION}, answers=Notification)
async def get_notification(call: Call[None, None]) -> Notification:
    """One rule."""
    return await _told(call, call.id)


@routes.post("/notifications", needs=Right.WRITE, body=Notification, answers=Notification)
async def post_notification(call: Call[None, Notification]) -> Notification:
    """Add a rule; who adds it is told, unless it names others."""
    principal = call.principal
    rule = await _rule_of(call, call.body)
    account = await account_for(call, call.body.account_id)
    async with call.services.pools.core() as connection, connection.transaction():
        try:
            number = await add_rule(
                connection,
                account,
                rule,
                name=call.body.description or "",
                user_id=None if principal.operator else principal.user_id,
            )
        except TooManyRulesError as error:
            raise Refusal(409, f"the account has {error} rules, as many as it may have") from None
        await keep_given(connection, number, _given(call.body))
        if principal.restricted:
            await link(connection, "user", principal.user_id, KEPT_RULE.link, number)
        await note(
            connection, "create", by=principal, kind="notification", object_id=number, address=call.address
        )
    call.services.access.forget(call.principal)
    return await _told(call, number)


@routes.put(
    "/notifications/{id}",
    needs=Right.WRITE,
    objects={"id": Kind.NOTIFICATION},
    body=Notification,
    answers=Notification,
)
async def put_notification(call: Call[None, Notification]) -> Notification:
    """Change a rule."""
    rule = await _rule_of(call, call.body)
    async with call.services.pools.core() as connection, connection.transaction():
        await change_rule(connection, call.id, rule, name=call.body.description or "")
        await keep_given(connection, call.id, _given(call.body))
        await note(
            connection,
            "edit",
            by=call.principal,
            kind="notification",
            object_id=call.id,
            address=call.address,
        )
    return await _told(call, call.id)


@routes.delete("/notifications/{id}", needs=Right.WRITE, objects={"id": Kind.NOTIFICATION})
async def delete_notification(call: Call[None, None]) -> None:
    """Remove a rule. What it has written already is sent all the same."""
    async with call.services.pools.core() as connection, connection.transaction():
        await remove_object(connection, KEPT_RULE, call.id)
        await note(
            connection,
            "remove",
            by=call.principal,
            kind="notification",
            object_id=call.id,
            address=call.address,
        )
    call.services.access.forget(call.principal)


@routes.post("/notifications/test", needs=Right.SELF, status=204)
async def post_notification_test(call: Call[None, None]) -> None:
    """Send oneself a test message by e-mail."""
    await _test(call, "mail")


@routes.post("/notifications/test/{notificator}", needs=Right.SELF, status=204)
async def post_notificator_test(call: Call[None, None]) -> None:
    """Send oneself a test message through one channel."""
    await _test(call, call.path["notificator"])


async def _test(call: Call[Any, Any], notificator: str) -> None:
    if notificator == WEB:
        return
    channel = _channel(call, notificator)
    async with call.services.pools.core() as connection, connection.transaction():
        user = await user_by_id(connection, call.principal.user_id)
        assert user is not None
        message = _message(user, channel, "test", call.now, TestLetter(_language(user)))
        if message is None:
            raise bad(
                "phone",
                "is missing; write your number or name with the messenger into your user",
                Why.NO_PHONE,
            )
        await enqueue(connection, [message], call.now)


def _channel(call: Call[Any, Any], notificator: str) -> str:
    """Raises Refusal where there is none of that name."""
    channel = THEIR_NAMES.get(notificator, notificator)
    if channel not in channels_of(call.services.settings):
        raise bad(
            "notificator",
            f"{notificator[:40]} is not set up; the operator's settings do that",
            Why.NOT_SET_UP,
        )
    return channel


def _language(user: UserRow) -> Language:
    return spoken(str(user.attributes.get("language") or "en"))


def _message(user: UserRow, channel: str, what: str, now: datetime, letter: Letter) -> NewMessage | None:
    """To a user; None: there is no address of his for this channel."""
    recipient = user.email if channel == EMAIL else user.phone
    key = f"{what}:{user.id}:{channel}:{now.isoformat()}"
    return NewMessage(key, channel, recipient, user.account_id, encode(letter), now) if recipient else None


class UsersQuery(Struct, rename="camel"):
    """Whom; nobody named: all whom one manages."""

    user_id: list[Number] = field(default_factory=list)


class Announcement(Struct):
    """``digest``: what clients of this field call the text."""

    subject: Annotated[str, Meta(min_length=1, max_length=200)]
    body: Annotated[str, Meta(max_length=4_000)] | None = None
    digest: Annotated[str, Meta(max_length=4_000)] | None = None


@routes.post(
    "/notifications/send/{notificator}",
    needs=Right.USERS,
    query=UsersQuery,
    objects={"userId": Kind.USER},
    body=Announcement,
    status=204,
)
async def post_announcement(call: Call[UsersQuery, Announcement]) -> None:
    """Write to users whom one manages, through one channel; who has no address for it is left out."""
    channel = _channel(call, call.path["notificator"])
    if channel not in TO_PEOPLE:
        raise bad("notificator", f"{channel} reaches no people; there are: {', '.join(TO_PEOPLE)}")
    text = (call.body.body or call.body.digest or "").strip()
    if not text:
        raise bad("body", "is missing; write what they are to read")
    principal, wanted = call.principal, frozenset(call.query.user_id)
    async with call.services.pools.core() as connection, connection.transaction():
        account, maker = managed_by(principal)
        users = [
            user
            for user in await list_users(connection, account_id=account, created_by=maker)
            if (not wanted or user.id in wanted) and not user.ended(call.now)
        ]
        if len(users) > TOLD_MAX:
            raise bad("userId", f"{len(users):,} users; write to at most {TOLD_MAX:,} at a time")
        letters = (
            _message(user, channel, "announcement", call.now, AnnouncementLetter(_language(user), call.body.subject, text))
            for user in users
        )  # fmt: skip
        messages = [one for one in letters if one is not None]
        await enqueue(connection, messages, call.now)
        detail = {"subject": call.body.subject, "channel": channel, "users": len(messages)}
        await note(connection, "announce", by=principal, address=call.address, detail=detail)


async def _told(call: Call[Any, Any], number: int) -> Notification:
    async with call.services.pools.core() as connection:
        row = await read_object(connection, KEPT_RULE, number)
    if row is None:
        raise not_found(f"notification {number}")
    return shape_of(row)
