"""``tracker-server alert rule``: what is to be told, to whom, when."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from datetime import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, database, refused, run, say, tell, wrong
from tracker_server.cli.output import Format, counted, write_object, write_rows
from tracker_server.cli.values import NUMBER_MAX, Whole, line_of_text, unique_id_of

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tracker_server.alerts.rules import Recipient, Rule
    from tracker_server.config import Settings

COLUMNS = (
    "id", "account", "name", "enabled", "on", "channels", "to", "devices", "groups", "fences", "language", "quiet",
    "throttle_s", "calendar", "picture", "created_at", "changed_at",
)  # fmt: skip
TABLE_COLUMNS = ("id", "account", "name", "enabled", "on", "channels", "to", "devices", "fences")
Words = Annotated[tuple[str, ...], Parameter(negative="")]
CHANNEL_BEFORE = re.compile(r"(email|sms|messenger|webhook):(?!//)(.+)", re.DOTALL)

app = App(name="rule", help="Rules: which events, of which trackers, are told to whom.")


@app.command
def add(  # noqa: PLR0913  (each is a flag)
    *,
    account: str = "default",
    on: Words,
    channel: Words,
    to: Words = (),
    user: Words = (),
    device: Words = (),
    group: Words = (),
    fence: Words = (),
    language: Literal["en", "es", "ru"] | None = None,
    quiet: str | None = None,
    throttle: Whole = 0,
    calendar: Path | None = None,
    command: str | None = None,
    picture: Annotated[bool, Parameter(negative=())] = False,
    name: str = "",
    where: Where = HERE,
) -> None:
    """Tell somebody of events. What is left open means any: without --device and --group, all trackers of the account.

    Example: tracker-server alert rule add --account default --on geofenceEnter --on geofenceExit --fence Depot
    --channel email --to office@example.com

    Parameters
    ----------
    account
        Whose events.
    on
        A kind of event, such as geofenceEnter, deviceOverspeed, alarm:sos, or allEvents. May be repeated, or several
        separated by commas.
    channel
        email, sms, messenger, webhook, mqtt, command or web (the page). May be repeated, or several separated by commas.
    to
        An address, a number or a URL. Where it could belong to several channels, write sms:+34600111222. Without it the
        account's own. May be repeated.
    user
        E-mail of a user, who is told at his own addresses and in his language. May be repeated.
    device
        Identifier of a tracker. May be repeated.
    group
        Name of a group. May be repeated.
    fence
        Name of a geofence. May be repeated.
    language
        en, es or ru. Default: the user's or the account's.
    quiet
        Time of the day, in the account's zone, in which nothing is sent: 22:00-07:00. It is sent when that ends.
    throttle
        Seconds in which the same kind of event of the same tracker is not told again.
    calendar
        An iCalendar file; the rule holds during its events.
    command
        For the channel command: its kind, such as engineStop.
    picture
        Its mails show a map: where it was, the way of the half hour before, the fence.
    name
        What the rule is called in lists.
    """
    from tracker_server.alerts.rules import Rule, RuleError, kinds_of, quiet_of
    from tracker_server.storage.alert_rules import TooManyRulesError, add_rule
    from tracker_server.storage.database import Role

    loaded = where.load()
    try:
        types, alarms = kinds_of(_words(on))
        hours: tuple[time, time] | None = None if quiet is None else quiet_of(quiet)
    except RuleError as error:
        wrong(f"--{'on' if error.field == 'type' else error.field}{str(error).removeprefix(error.field)}")
    channels = tuple(dict.fromkeys(_words(channel)))
    recipients = tuple(recipient_named(text, channels) for text in to)
    devices = [unique_id_of("--device", text) for text in device]
    text = "" if calendar is None else _calendar(calendar)
    called = line_of_text("--name", name, 200) if name else ""

    async def main() -> int:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            ids = await _numbers(connection, account, devices, group, fence, user)
            rule = Rule(
                types=types,
                channels=channels,
                alarms=alarms,
                fence_ids=tuple(ids["fence"]),
                always=not devices and not group,
                device_ids=tuple(ids["device"]),
                group_ids=tuple(ids["group"]),
                recipients=(*recipients, *_people(ids["user"])),
                language=language,
                calendar=text,
                quiet=hours,
                throttle_s=throttle,
                command={"type": command} if command else None,
                picture=picture,
            )
            _check(rule, loaded.settings)
            try:
                return await add_rule(connection, ids["account"][0], rule, name=called)
            except TooManyRulesError as error:
                refused(f"--account: {account!r} has {error} rules already; remove some")

    tell(f"rule {run(main)} added: {', '.join(_words(on))} by {', '.join(channels)}")


def _words(values: Sequence[str]) -> list[str]:
    return [word.strip() for value in values for word in value.split(",") if word.strip()]


def _people(ids: Sequence[int]) -> list[Recipient]:
    from tracker_server.alerts.rules import Recipient

    return [Recipient(user=number) for number in ids]


def recipient_named(text: str, channels: Sequence[str]) -> Recipient:
    """Who is meant, and through which of the channels; or exit 2."""
    from tracker_server.alerts.rules import Recipient

    before = CHANNEL_BEFORE.fullmatch(text)
    channel = before[1] if before else _channel_for(text, channels)
    return Recipient(channel, _address(channel, before[2] if before else text))


def _channel_for(text: str, channels: Sequence[str]) -> str:
    """By what it looks like; where that leaves several, he has to say."""
    looks = ["messenger"]
    if re.match(r"https?://", text):
        looks = ["webhook"]
    elif "://" not in text and "@" in text:
        looks = ["email", "messenger"]
    elif re.fullmatch(r"\+?[0-9 ()./-]+", text):
        looks = ["sms", "messenger"]
    possible = [channel for channel in looks if channel in channels]
    if len(possible) == 1:
        return possible[0]
    addressed = [channel for channel in channels if channel in {"email", "sms", "messenger", "webhook"}]
    if possible or len(addressed) != 1:
        _ask_channel(text)
    return addressed[0]


def _ask_channel(text: str) -> NoReturn:
    wrong(
        f"--to: {text!r}: through which channel? Write it before, such as sms:{text}, and name it with --channel"
    )


def _address(channel: str, text: str) -> str:
    from tracker_server.model import address
    from tracker_server.model.money import InvalidValueError

    read = {"email": address.email, "sms": address.phone, "webhook": address.url}
    read["messenger"] = address.messenger_url if "://" in text else address.messenger
    try:
        return read[channel](text, "--to")
    except InvalidValueError as error:
        wrong(str(error))


def _calendar(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        wrong(f"--calendar: {path}: cannot be read: {error}")


def _check(rule: Rule, settings: Settings) -> None:
    """Refuse what cannot be meant; tell what is not set up here, for the server may have other settings."""
    from tracker_server.alerts.rules import CHANNELS, COMMAND, WEB, RuleError, check
    from tracker_server.notify.channels import channels_of

    try:
        check(rule, CHANNELS)
    except RuleError as error:
        wrong(f"--{'on' if error.field == 'type' else error.field}{str(error).removeprefix(error.field)}")
    here = {*channels_of(settings), WEB, COMMAND}
    for channel in rule.channels:
        if channel not in here:
            say(
                f"tracker-server: --channel: {channel} is not set up by these settings; its messages wait until it is"
            )


async def _numbers(
    connection: AsyncConnection[Any],
    account: str,
    devices: Sequence[str],
    groups: Sequence[str],
    fences: Sequence[str],
    users: Sequence[str],
) -> dict[str, list[int]]:
    """The ids of what is named; one that is not there is refused by its flag."""
    from tracker_server.storage.alert_rules import numbers_of

    found: dict[str, list[int]] = {}
    for kind, names in (
        ("account", [account]),
        ("device", devices),
        ("group", groups),
        ("fence", fences),
        ("user", [one.lower() for one in users]),
    ):
        known = await numbers_of(connection, kind, account, names)
        for name in names:
            if name not in known:
                of = "" if kind == "account" else f" of account {account!r}"
                refused(f"--{kind}: there is no {kind} {name!r}{of}")
        found[kind] = [number for name in names for number in known[name]]
    return found


@app.command(name="list")
def list_(
    *,
    account: str | None = None,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List rules.

    Example: tracker-server alert rule list --account default

    Parameters
    ----------
    account
        Only those of this account.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.alert_rules import listed
    from tracker_server.storage.database import Role

    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            await write_rows(_shown(await listed(connection, account)), COLUMNS, form, TABLE_COLUMNS)

    run(main)


async def _shown(rows: Sequence[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
    for row in rows:
        yield shown(row)


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """A rule's row as ``COLUMNS``."""
    rule = row["rule"]
    alarms = rule.get("alarms", [])
    kinds = [kind for kind in rule.get("types", []) if kind != "alarm" or not alarms]
    quiet = rule.get("quiet")
    return {
        **row,
        "on": ", ".join([*kinds, *(f"alarm:{alarm}" for alarm in alarms)]),
        "channels": ", ".join(rule.get("channels", [])),
        "to": ", ".join(one.get("to") or f"user {one.get('user')}" for one in rule.get("recipients", [])),
        "devices": "all" if rule.get("always") else ", ".join(row["devices"]),
        "groups": ", ".join(row["groups"]),
        "fences": ", ".join(row["fences"]),
        "language": rule.get("language"),
        "quiet": "-".join(hour[:5] for hour in quiet) if quiet else None,
        "throttle_s": rule.get("throttle_s", 0),
        "calendar": bool(rule.get("calendar") or rule.get("calendar_id")),
        "picture": rule.get("picture", False),
    }


@app.command
def show(
    rule_id: Whole, /, *, form: Annotated[Format, Parameter(name="--format")] = "table", where: Where = HERE
) -> None:
    """Show one rule.

    Example: tracker-server alert rule show 3

    Parameters
    ----------
    rule_id
        Its number, from the list.
    form
        Lines for people, JSON (one object) or CSV for programs.
    """
    from tracker_server.storage.alert_rules import listed
    from tracker_server.storage.database import Role

    loaded = where.load()

    async def main() -> list[dict[str, Any]]:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            return await listed(connection, rule_id=max(0, min(rule_id, NUMBER_MAX)))

    found = run(main)
    if not found:
        refused(f"RULE-ID: there is no rule {rule_id}; `tracker-server alert rule list` tells them")
    row = shown(found[0])
    write_object({column: row[column] for column in COLUMNS}, form)


@app.command
def remove(*ids: Whole, where: Where = HERE) -> None:
    """Remove rules. What they had written already is sent all the same.

    Example: tracker-server alert rule remove 3

    Parameters
    ----------
    ids
        Numbers of rules, from the list.
    """
    from tracker_server.storage.alert_rules import remove_rule
    from tracker_server.storage.database import Role

    if not ids:
        wrong("IDS: which rules? Name their numbers from `tracker-server alert rule list`")
    loaded = where.load()

    async def main() -> list[int]:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            return [number for number in ids if await remove_rule(connection, number)]

    gone = run(main)
    missing = [str(number) for number in ids if number not in gone]
    if missing:
        refused(f"IDS: there is no rule {', '.join(missing)}; {counted(len(gone), 'rule')} removed")
    tell(f"{counted(len(gone), 'rule')} removed")
