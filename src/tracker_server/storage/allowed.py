"""Which objects are there for somebody: the one place that reads it."""

from __future__ import annotations

from typing import Any, Final, LiteralString

from msgspec import Struct
from psycopg import AsyncConnection, sql

from tracker_server.model.people import IN_SCOPE, OTHERS_IN_SCOPE, Principal, Role
from tracker_server.storage.pools import Pools
from tracker_server.storage.proximities import BOTH_IN_SCOPE


class Kept(Struct, frozen=True):
    """A kind of object that an account keeps: its table in ``core``, its name in ``core.links``, and what else makes
    one of them (``o``) somebody's.
    """

    table: str
    link: str
    there: LiteralString = "true"
    also: LiteralString = "false"


KEPT: Final[dict[str, Kept]] = {
    "group": Kept("groups", "group"),
    "driver": Kept("drivers", "driver"),
    "maintenance plan": Kept("maintenance", "maintenance"),
    "calendar": Kept("calendars", "calendar"),
    "command": Kept("commands", "command"),
    "computed attribute": Kept("computed_attributes", "attribute"),
    "geofence": Kept(
        "fences",
        "geofence",
        there="o.removed_at IS NULL",
        also="EXISTS (SELECT FROM core.fence_devices f WHERE f.fence_id = o.id AND f.device_id = ANY(%(devices)s))",
    ),
    "saved report": Kept("reports", "report", also="o.user_id = %(user)s"),
    "notification": Kept("alert_rules", "notification", also="o.user_id = %(user)s"),
}
VIEWED: Final[dict[str, tuple[LiteralString, LiteralString]]] = {
    "event": ("display.events", f"{IN_SCOPE} AND {OTHERS_IN_SCOPE}"),
    "position": ("display.positions", IN_SCOPE),
    "pair of trackers": ("display.proximities", BOTH_IN_SCOPE),
}
"""What is there while its trackers are shown, and of whose scope they must be."""
HIS: Final[LiteralString] = """
(%(everything)s OR (NOT %(restricted)s AND o.account_id = %(account)s) OR EXISTS (
    SELECT FROM core.links l WHERE l.kind = %(kind)s AND l.object_id = o.id AND (
        (l.owner = 'user' AND l.owner_id = %(user)s)
        OR (l.owner = 'device' AND l.owner_id = ANY(%(devices)s))
        OR (l.owner = 'group' AND l.owner_id IN (SELECT id FROM his_groups))
    )
))
"""
HIS_GROUPS: Final[LiteralString] = """
WITH RECURSIVE his_groups AS (
    SELECT object_id AS id FROM core.links WHERE owner = 'user' AND owner_id = %(user)s AND kind = 'group'
    UNION
    SELECT g.id FROM core.groups g JOIN his_groups h ON g.group_id = h.id
)
"""


def his(kept: Kept, principal: Principal) -> tuple[sql.Composed, sql.Composed, dict[str, Any]]:
    """What stands before a statement, its condition over objects ``o`` of a table, and the parameters of both."""
    also = "false" if kept.link != "group" else "o.id IN (SELECT id FROM his_groups)"
    condition = sql.SQL("({} AND ({} OR {} OR {}))").format(
        sql.SQL(kept.there), sql.SQL(HIS), sql.SQL(kept.also), sql.SQL(also)
    )
    parameters = {
        "everything": principal.scope.everything,
        "restricted": principal.restricted,
        "account": principal.account_id,
        "user": principal.user_id,
        "devices": list(principal.scope.device_ids),
        "kind": kept.link,
    }
    return sql.Composed([sql.SQL(HIS_GROUPS)]), condition, parameters


async def allowed(pools: Pools, principal: Principal, kind: str, numbers: frozenset[int]) -> frozenset[int]:
    """Those of these objects that are there for him. ``kind`` is an ``api.authorise.Kind``."""
    if not numbers:
        return frozenset()
    if kind in {"tracker", "shown tracker"}:
        async with pools.display() as connection:
            return await _devices(connection, principal, numbers, shown=kind == "shown tracker")
    if principal.role is Role.GUEST and kind != "event":
        return frozenset()
    if kind in VIEWED:
        view, condition = VIEWED[kind]
        statement = sql.SQL("SELECT id FROM {} WHERE id = ANY(%(ids)s) AND {}").format(
            sql.SQL(view), sql.SQL(condition)
        )
        async with pools.display() as connection:
            return await _ids(connection, statement, {**principal.scope.parameters(), "ids": list(numbers)})
    async with pools.core() as connection:
        if kind == "account":
            own = [number for number in numbers if principal.may_account(number)]
            statement = sql.SQL("SELECT id FROM core.accounts WHERE id = ANY(%(ids)s)")
            return await _ids(connection, sql.Composed([statement]), {"ids": own})
        if kind == "invoice":
            paper = sql.SQL(
                "SELECT id FROM core.invoices WHERE id = ANY(%(ids)s) AND (%(all)s OR account_id = %(account)s)"
            )
            given = {"ids": list(numbers), "all": principal.operator, "account": principal.account_id}
            return await _ids(connection, sql.Composed([paper]), given)
        if kind == "tariff":
            tariff = sql.SQL("SELECT id FROM core.tariffs WHERE id = ANY(%(ids)s)")
            return await _ids(connection, sql.Composed([tariff]), {"ids": list(numbers)})
        if kind == "user":
            return await _users(connection, principal, numbers)
        kept = KEPT[kind]
        first, condition, parameters = his(kept, principal)
        statement = sql.SQL("{} SELECT o.id FROM core.{} o WHERE o.id = ANY(%(ids)s) AND {}").format(
            first, sql.Identifier(kept.table), condition
        )
        return await _ids(connection, statement, {**parameters, "ids": list(numbers)})


async def _devices(
    connection: AsyncConnection[Any], principal: Principal, numbers: frozenset[int], *, shown: bool
) -> frozenset[int]:
    view = sql.SQL("(SELECT id AS device_id, account_id FROM display.devices)" if shown else "display.cards")
    statement = sql.SQL("SELECT device_id FROM {} d WHERE device_id = ANY(%(ids)s) AND {}").format(
        view, sql.SQL(IN_SCOPE)
    )
    return await _ids(connection, statement, {**principal.scope.parameters(), "ids": list(numbers)})


async def _users(
    connection: AsyncConnection[Any], principal: Principal, numbers: frozenset[int]
) -> frozenset[int]:
    statement = sql.SQL(
        "SELECT id FROM core.users WHERE id = ANY(%(ids)s) AND (%(everything)s OR id = %(user)s"
        " OR created_by = %(user)s OR (%(owner)s AND account_id = %(account)s))"
    )
    parameters = {
        "ids": list(numbers),
        "everything": principal.scope.everything,
        "user": principal.user_id,
        "owner": principal.role is Role.OWNER,
        "account": principal.account_id,
    }
    return await _ids(connection, sql.Composed([statement]), parameters)


async def _ids(
    connection: AsyncConnection[Any], statement: sql.Composed, parameters: dict[str, Any]
) -> frozenset[int]:
    rows = await connection.execute(statement, parameters)
    return frozenset(number for (number,) in await rows.fetchall())
