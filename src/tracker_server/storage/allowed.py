"""Which objects are there for somebody: the one place that reads it."""

from __future__ import annotations

from typing import Any, Final

from psycopg import AsyncConnection, sql

from tracker_server.model.people import IN_SCOPE, Principal, Role
from tracker_server.storage.pools import Pools

TABLES: Final[dict[str, str]] = {
    "group": "groups",
    "driver": "drivers",
    "maintenance plan": "maintenance",
    "calendar": "calendars",
    "command": "commands",
    "computed attribute": "computed_attributes",
}
"""Kinds that belong to an account and are linked to users, groups and trackers, and where they lie in ``core``."""

HIS: Final = sql.SQL("""
(%(everything)s OR (NOT %(restricted)s AND o.account_id = %(account)s) OR EXISTS (
    SELECT FROM core.links l WHERE l.kind = %(kind)s AND l.object_id = o.id AND (
        (l.owner = 'user' AND l.owner_id = %(user)s)
        OR (l.owner = 'device' AND l.owner_id = ANY(%(devices)s))
        OR (l.owner = 'group' AND l.owner_id IN (
            SELECT object_id FROM core.links WHERE owner = 'user' AND owner_id = %(user)s AND kind = 'group'))
    )
))
""")
"""Of an account's object ``o``: whether it is there for somebody (``his``)."""


def his(principal: Principal, kind: str) -> dict[str, Any]:
    """The parameters of ``HIS``."""
    return {
        "everything": principal.scope.everything,
        "restricted": principal.restricted,
        "account": principal.account_id,
        "user": principal.user_id,
        "devices": list(principal.scope.device_ids),
        "kind": kind,
    }


async def allowed(pools: Pools, principal: Principal, kind: str, numbers: frozenset[int]) -> frozenset[int]:
    """Those of these objects that are there for him. ``kind`` is an ``api.authorise.Kind``."""
    if not numbers:
        return frozenset()
    if kind == "account":
        own = frozenset(number for number in numbers if principal.may_account(number))
        if not principal.operator:
            return own
    if kind in {"tracker", "shown tracker"}:
        async with pools.display() as connection:
            return await _devices(connection, principal, numbers, shown=kind == "shown tracker")
    if kind == "event":
        async with pools.display() as connection:
            statement = sql.SQL("SELECT id FROM display.events WHERE id = ANY(%(ids)s) AND {}").format(
                sql.SQL(IN_SCOPE)
            )
            return await _ids(connection, statement, {**principal.scope.parameters(), "ids": list(numbers)})
    if principal.role is Role.GUEST:
        return frozenset()
    async with pools.core() as connection:
        if kind == "account":
            statement = sql.SQL("SELECT id FROM core.accounts WHERE id = ANY(%(ids)s)")
            return await _ids(connection, statement, {"ids": list(numbers)})
        if kind == "user":
            return await _users(connection, principal, numbers)
        statement = sql.SQL("SELECT o.id FROM core.{} o WHERE o.id = ANY(%(ids)s) AND {}").format(
            sql.Identifier(TABLES[kind]), HIS
        )
        return await _ids(connection, statement, {**his(principal, kind), "ids": list(numbers)})


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
    return await _ids(connection, statement, parameters)


async def _ids(
    connection: AsyncConnection[Any], statement: sql.Composable, parameters: dict[str, Any]
) -> frozenset[int]:
    rows = await connection.execute(statement, parameters)  # pyright: ignore[reportArgumentType]
    return frozenset(number for (number,) in await rows.fetchall())
