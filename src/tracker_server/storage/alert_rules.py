"""Rows of alert rules: written by commands and the API, read whole into memory for each account."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, LiteralString

import msgspec
from msgspec.structs import replace
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from tracker_server.alerts.rules import Household, Person, Rule, RuleRow, known_language

CHANNEL = "tracker_alert_rules"
RULES_PER_ACCOUNT_MAX = 500  # every event of an account is held against each of them

ACCOUNTS = """
SELECT id, name, zone, language, coalesce(email, '') AS email, coalesce(messenger, '') AS messenger,
       coalesce(phone, '') AS phone
FROM core.accounts a
WHERE EXISTS (SELECT FROM core.alert_rules r WHERE r.account_id = a.id) AND (%(ids)s::bigint[] IS NULL OR a.id = ANY(%(ids)s))
"""
# Trackers and groups are named by the rule itself, or linked to it.
ROWS = """
SELECT r.id, r.account_id, r.user_id, r.name, r.enabled, r.rule, coalesce(c.data, '') AS calendar,
       ARRAY(SELECT owner_id FROM core.links WHERE kind = 'notification' AND object_id = r.id AND owner = 'device')
           AS linked_devices,
       ARRAY(SELECT owner_id FROM core.links WHERE kind = 'notification' AND object_id = r.id AND owner = 'group')
           AS linked_groups
FROM core.alert_rules r LEFT JOIN core.calendars c ON c.id = (r.rule ->> 'calendar_id')::bigint AND c.account_id = r.account_id
WHERE (%(ids)s::bigint[] IS NULL OR r.account_id = ANY(%(ids)s)) ORDER BY r.id
"""
# A restricted user sees what was linked to him: trackers, and those in linked groups. The operator's people see all,
# and belong to each account for which they made a rule.
PEOPLE = """
SELECT coalesce(u.account_id, o.account_id), u.id, u.email, u.phone, coalesce(u.attributes ->> 'language', ''), u.restricted,
       CASE WHEN u.restricted THEN ARRAY(
           SELECT l.object_id FROM core.links l WHERE l.owner = 'user' AND l.owner_id = u.id AND l.kind = 'device'
           UNION
           SELECT d.id FROM core.links l JOIN core.devices d ON d.account_id = u.account_id AND d.group_id IN (
               WITH RECURSIVE below AS (
                   SELECT l.object_id AS id UNION SELECT g.id FROM core.groups g JOIN below ON g.group_id = below.id)
               SELECT id FROM below)
           WHERE l.owner = 'user' AND l.owner_id = u.id AND l.kind = 'group')
       ELSE '{}' END
FROM core.users u
LEFT JOIN LATERAL (SELECT DISTINCT r.account_id FROM core.alert_rules r WHERE r.user_id = u.id AND u.account_id IS NULL) o
    ON true
WHERE NOT u.disabled AND (u.expires_at IS NULL OR u.expires_at > now())
  AND (%(ids)s::bigint[] IS NULL OR coalesce(u.account_id, o.account_id) = ANY(%(ids)s))
  AND EXISTS (SELECT FROM core.alert_rules r WHERE r.account_id = coalesce(u.account_id, o.account_id))
"""
GROUPS = """
WITH RECURSIVE around AS (
    SELECT id, id AS group_id FROM core.groups
    UNION SELECT a.id, g.group_id FROM around a JOIN core.groups g ON g.id = a.group_id WHERE g.group_id IS NOT NULL)
SELECT d.account_id, d.id, array_agg(a.group_id) FROM core.devices d JOIN around a ON a.id = d.group_id
WHERE d.removed_at IS NULL AND (%(ids)s::bigint[] IS NULL OR d.account_id = ANY(%(ids)s))
  AND EXISTS (SELECT FROM core.alert_rules r WHERE r.account_id = d.account_id)
GROUP BY 1, 2
"""
LIST = """
SELECT r.id, a.name AS account, r.name, r.enabled, r.rule, r.created_at, r.changed_at,
       ARRAY(SELECT d.unique_id FROM core.devices d WHERE d.id IN (
                 SELECT value::bigint FROM jsonb_array_elements_text(coalesce(r.rule -> 'device_ids', '[]'))
                 UNION SELECT l.owner_id FROM core.links l
                 WHERE l.kind = 'notification' AND l.object_id = r.id AND l.owner = 'device') ORDER BY 1) AS devices,
       ARRAY(SELECT g.name FROM core.groups g WHERE g.id IN (
                 SELECT value::bigint FROM jsonb_array_elements_text(coalesce(r.rule -> 'group_ids', '[]'))
                 UNION SELECT l.owner_id FROM core.links l
                 WHERE l.kind = 'notification' AND l.object_id = r.id AND l.owner = 'group') ORDER BY 1) AS groups,
       ARRAY(SELECT f.name FROM core.fences f WHERE f.id IN (
                 SELECT value::bigint FROM jsonb_array_elements_text(coalesce(r.rule -> 'fence_ids', '[]'))) ORDER BY 1) AS fences
FROM core.alert_rules r JOIN core.accounts a ON a.id = r.account_id
WHERE (%(account)s::text IS NULL OR a.name = %(account)s) AND (%(id)s::bigint IS NULL OR r.id = %(id)s)
ORDER BY r.id
"""
NAMED: Final[dict[str, LiteralString]] = {
    "account": "SELECT name, id FROM core.accounts WHERE name = ANY(%(names)s)",
    "device": """SELECT d.unique_id, d.id FROM core.devices d JOIN core.accounts a ON a.id = d.account_id
                 WHERE a.name = %(account)s AND d.removed_at IS NULL AND d.unique_id = ANY(%(names)s)""",
    "group": """SELECT g.name, g.id FROM core.groups g JOIN core.accounts a ON a.id = g.account_id
                WHERE a.name = %(account)s AND g.name = ANY(%(names)s)""",
    "fence": """SELECT f.name, f.id FROM core.fences f JOIN core.accounts a ON a.id = f.account_id
                WHERE a.name = %(account)s AND f.removed_at IS NULL AND f.name = ANY(%(names)s)""",
    "user": """SELECT lower(u.email), u.id FROM core.users u JOIN core.accounts a ON a.id = u.account_id
               WHERE a.name = %(account)s AND lower(u.email) = ANY(%(names)s)""",
}
SIGNING_KEY = "SELECT webhook_secret FROM core.accounts WHERE name = %s"
ANOTHER_KEY = """
UPDATE core.accounts SET webhook_secret = replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
WHERE name = %s RETURNING webhook_secret
"""


class TooManyRulesError(Exception):
    """An account has as many rules as one may have."""


# ---------------------------------------------------------------------- for the memory


async def read_households(
    connection: AsyncConnection[Any], account_ids: Collection[int] | None = None
) -> dict[int, Household]:
    """All accounts that have rules, or those of these."""
    values = {"ids": None if account_ids is None else list(account_ids)}
    rules: dict[int, list[RuleRow]] = {}
    async with connection.cursor(row_factory=dict_row) as cursor:
        for row in await (await cursor.execute(ROWS, values)).fetchall():
            rules.setdefault(row["account_id"], []).append(_with_links(rule_row(row), row))
        people = await _people(connection, values)
        groups = await _groups(connection, values)
        return {
            row["id"]: Household(
                id=row["id"],
                name=row["name"],
                zone=row["zone"],
                language=known_language(row["language"]) or "en",
                email=row["email"],
                messenger=row["messenger"],
                phone=row["phone"],
                rules=tuple(rules.get(row["id"], ())),
                people=people.get(row["id"], {}),
                groups=groups.get(row["id"], {}),
            )
            for row in await (await cursor.execute(ACCOUNTS, values)).fetchall()
        }


async def _people(connection: AsyncConnection[Any], values: dict[str, Any]) -> dict[int, dict[int, Person]]:
    """By account, those who may sign in."""
    found: dict[int, dict[int, Person]] = {}
    rows = await connection.execute(PEOPLE, values)
    for account_id, user_id, email, phone, language, restricted, devices in await rows.fetchall():
        seen = frozenset(devices) if restricted else None
        found.setdefault(account_id, {})[user_id] = Person(user_id, email, phone, language, seen)
    return found


async def _groups(
    connection: AsyncConnection[Any], values: dict[str, Any]
) -> dict[int, dict[int, frozenset[int]]]:
    """By account, the groups of each tracker, with those around them."""
    found: dict[int, dict[int, frozenset[int]]] = {}
    rows = await connection.execute(GROUPS, values)
    for account_id, device_id, groups in await rows.fetchall():
        found.setdefault(account_id, {})[device_id] = frozenset(groups)
    return found


def rule_row(row: dict[str, Any]) -> RuleRow:
    """A row of core.alert_rules. One that this program cannot read, for a newer one wrote it, tells nothing."""
    try:
        rule, enabled = msgspec.convert(row["rule"], Rule), row["enabled"]
    except msgspec.ValidationError:
        rule, enabled = Rule((), ()), False
    return RuleRow(row["id"], row["account_id"], row["user_id"], row["name"], enabled, rule, row["calendar"])


def _with_links(found: RuleRow, row: dict[str, Any]) -> RuleRow:
    """What is linked to a rule is as if it were named in it."""
    rule = replace(
        found.rule,
        device_ids=(*found.rule.device_ids, *row["linked_devices"]),
        group_ids=(*found.rule.group_ids, *row["linked_groups"]),
    )
    return replace(found, rule=rule)


# ---------------------------------------------------------------------- for people and the API


async def add_rule(
    connection: AsyncConnection[Any],
    account_id: int,
    rule: Rule,
    *,
    name: str = "",
    user_id: int | None = None,
    enabled: bool = True,
) -> int:
    """A new rule's id. ``alerts.rules.check`` says before whether it can be meant. Raises TooManyRulesError."""
    added = await connection.execute(
        "INSERT INTO core.alert_rules (account_id, user_id, name, enabled, rule) SELECT %s, %s, %s, %s, %s"
        " WHERE (SELECT count(*) FROM core.alert_rules WHERE account_id = %s) < %s RETURNING id",
        [account_id, user_id, name, enabled, _json(rule), account_id, RULES_PER_ACCOUNT_MAX],
    )
    row = await added.fetchone()
    if row is None:
        raise TooManyRulesError(RULES_PER_ACCOUNT_MAX)
    return row[0]


async def change_rule(
    connection: AsyncConnection[Any], rule_id: int, rule: Rule, *, name: str, enabled: bool = True
) -> bool:
    """Another rule in its place; answers whether there was one."""
    done = await connection.execute(
        "UPDATE core.alert_rules SET rule = %s, name = %s, enabled = %s, changed_at = now() WHERE id = %s",
        [_json(rule), name, enabled, rule_id],
    )
    return bool(done.rowcount)


async def remove_rule(connection: AsyncConnection[Any], rule_id: int) -> bool:
    """Answers whether there was one. What it had written already is sent all the same."""
    return bool((await connection.execute("DELETE FROM core.alert_rules WHERE id = %s", [rule_id])).rowcount)


async def rules_of(connection: AsyncConnection[Any], account_ids: Collection[int] | None) -> list[RuleRow]:
    """All rules of these accounts, or of all accounts."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(ROWS, {"ids": None if account_ids is None else list(account_ids)})
        return [rule_row(row) for row in await cursor.fetchall()]


async def listed(
    connection: AsyncConnection[Any], account: str | None = None, rule_id: int | None = None
) -> list[dict[str, Any]]:
    """Rules for a list: id, account, name, enabled, rule (JSON's values), created_at, changed_at, and the names of
    its trackers, groups and fences.
    """
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LIST, {"account": account, "id": rule_id})
        return await cursor.fetchall()


async def numbers_of(
    connection: AsyncConnection[Any], kind: str, account: str, names: Collection[str]
) -> dict[str, list[int]]:
    """The ids of an account's things by their names; two fences may have one name. ``kind``: a key of ``NAMED``."""
    found: dict[str, list[int]] = {}
    if names:
        rows = await connection.execute(NAMED[kind], {"account": account, "names": list(names)})
        for name, number in await rows.fetchall():
            found.setdefault(name, []).append(number)
    return found


async def webhook_secret(connection: AsyncConnection[Any], account: str, *, new: bool = False) -> str | None:
    """What an account's webhooks are signed with; None where there is no such account."""
    row = await (await connection.execute(ANOTHER_KEY if new else SIGNING_KEY, [account])).fetchone()
    return row[0] if row else None


def _json(rule: Rule) -> Jsonb:
    return Jsonb(msgspec.to_builtins(rule))


async def keep_given(connection: AsyncConnection[Any], rule_id: int, given: dict[str, Any]) -> None:
    """Beside the rule, the words of the client that wrote it: he reads them again as he wrote them."""
    await connection.execute(
        "UPDATE core.alert_rules SET rule = rule || jsonb_build_object('given', %s::jsonb) WHERE id = %s",
        [Jsonb(given), rule_id],
    )
