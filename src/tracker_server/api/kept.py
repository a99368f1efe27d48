"""List, add, change and remove what an account keeps: one set of routes for each kind of object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from msgspec import Meta, Struct, field
from psycopg import AsyncConnection

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import bad, not_found
from tracker_server.api.values import Number
from tracker_server.model.people import Right
from tracker_server.storage.allowed import KEPT
from tracker_server.storage.audit import note
from tracker_server.storage.objects import (
    Row,
    account_named,
    add_object,
    change_object,
    link,
    list_objects,
    read_object,
    remove_object,
)

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Text = Annotated[str, Meta(max_length=4_000)]
Attributes = dict[str, Any]

ROWS_MAX = 100_000


class ListQuery(Struct, rename="camel"):
    """Which: those of a user, those linked to a tracker or group; and which part of the list."""

    all: bool = False
    id: list[Number] = field(default_factory=list)
    user_id: Number | None = None
    device_id: Number | None = None
    group_id: Number | None = None
    keyword: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=0, le=ROWS_MAX)] = 0
    offset: Annotated[int, Meta(ge=0, le=2**31)] = 0


class Sort(Struct, frozen=True):
    """A kind of object. ``to_row``: its columns from what was given; ``to_shape``: what is told, from its columns.

    ``check``: raises Refusal where an object that it names is not his. ``changed``, ``added``: what follows.
    """

    kind: Kind
    path: str
    shape: Any
    to_row: Callable[[Any], Row]
    to_shape: Callable[[Row], Any]
    check: Callable[[Call[Any, Any], Any], Awaitable[None]] | None = None
    changed: Callable[[Call[Any, Any], Any, int], Awaitable[None]] | None = None
    added: Callable[[Call[Any, Any], Any, int], Awaitable[None]] | None = None


async def account_for(call: Call[Any, Any], given: int | None) -> int:
    """The account that something new belongs to. Raises Refusal."""
    principal = call.principal
    if principal.account_id is not None:
        if given and given != principal.account_id:
            raise not_found(f"account {given}")
        return principal.account_id
    if given:
        await call.require_objects(Kind.ACCOUNT, given)
        return given
    async with call.services.pools.core() as connection:
        found = await account_named(connection, "default")
    if found is None:
        raise bad("accountId", "is missing; name the customer that it belongs to")
    return found


def told(shape: Any, row: Row, **changes: Any) -> Any:
    """A row's columns as a shape's fields, but for ``changes``."""
    return shape(**{**row, **changes})


class Keeper:
    """The handlers of one kind."""

    def __init__(self, sort: Sort) -> None:
        self._sort = sort
        self._kept = KEPT[sort.kind]
        self._word = sort.kind.word

    async def list(self, call: Call[ListQuery, None]) -> list[Any]:
        """All that one may see."""
        query = call.query
        linked = ("device", query.device_id) if query.device_id else None
        linked = ("group", query.group_id) if query.group_id else linked
        async with call.services.pools.core() as connection:
            rows = await list_objects(
                connection, self._kept, call.principal, ids=query.id or None, linked=linked
            )
            if query.user_id and query.user_id != call.principal.user_id:
                other = await call.services.access.of_user(connection, query.user_id)
                his = await list_objects(connection, self._kept, other) if other else []
                theirs = {row["id"] for row in his}
                rows = [row for row in rows if row["id"] in theirs]
        return part_of([self._sort.to_shape(row) for row in rows], query)

    async def read(self, call: Call[None, None]) -> Any:
        """One of them."""
        async with call.services.pools.core() as connection:
            return await self._shape(connection, call.id)

    async def add(self, call: Call[None, Any]) -> Any:
        """A new one."""
        if self._sort.check:
            await self._sort.check(call, call.body)
        account = await account_for(call, call.body.account_id)
        async with call.services.pools.core() as connection, connection.transaction():
            values = {**self._sort.to_row(call.body), "account_id": account}
            number = await add_object(connection, self._kept, values)
            if call.principal.restricted:
                await link(connection, "user", call.principal.user_id, self._kept.link, number)
            if self._sort.added:
                await self._sort.added(call, connection, number)
            await self._note(call, connection, "create", number)
            shape = await self._shape(connection, number)
        call.services.access.forget(call.principal)
        return shape

    async def change(self, call: Call[None, Any]) -> Any:
        """Another in its place."""
        if self._sort.check:
            await self._sort.check(call, call.body)
        async with call.services.pools.core() as connection, connection.transaction():
            await change_object(connection, self._kept, call.id, self._sort.to_row(call.body))
            if self._sort.changed:
                await self._sort.changed(call, connection, call.id)
            await self._note(call, connection, "edit", call.id)
            shape = await self._shape(connection, call.id)
        call.services.access.forget(call.principal)
        return shape

    async def remove(self, call: Call[None, None]) -> None:
        """It is no more."""
        async with call.services.pools.core() as connection, connection.transaction():
            removed = await remove_object(connection, self._kept, call.id)
            await self._note(call, connection, "remove", call.id)
        call.services.access.forget(call.principal)
        if not removed:
            raise not_found(f"{self._word} {call.id}")

    async def _shape(self, connection: AsyncConnection[Any], number: int) -> Any:
        row = await read_object(connection, self._kept, number)
        if row is None:
            raise not_found(f"{self._word} {number}")
        return self._sort.to_shape(row)

    async def _note(
        self, call: Call[Any, Any], connection: AsyncConnection[Any], action: str, number: int
    ) -> None:
        await note(
            connection,
            action,
            by=call.principal,
            kind=self._kept.link,
            object_id=number,
            address=call.address,
        )


def part_of(shapes: list[Any], query: ListQuery) -> list[Any]:
    """Those with the keyword, from ``offset`` on."""
    if query.keyword:
        wanted = query.keyword.lower()
        shapes = [one for one in shapes if wanted in (getattr(one, "name", "") or one.description).lower()]
    return shapes[query.offset : query.offset + (query.limit or ROWS_MAX)]


def keep(routes: Routes, sort: Sort) -> None:
    """Declare the five routes of a kind."""
    keeper, word, name = Keeper(sort), sort.kind.word, KEPT[sort.kind].link
    one: dict[str, Any] = {"objects": {"id": sort.kind}}
    filters = {"userId": Kind.USER, "deviceId": Kind.DEVICE, "groupId": Kind.GROUP}
    path = f"{sort.path}/{{id}}"

    def told(verb: str, summary: str) -> dict[str, str]:
        return {"name": f"{verb}_{name}", "summary": summary}

    routes.get(
        sort.path,
        needs=Right.READ,
        query=ListQuery,
        objects=filters,
        answers=list[sort.shape],
        **told("list", f"Every {word} that one may see."),
    )(keeper.list)
    routes.get(path, needs=Right.READ, answers=sort.shape, **one, **told("get", f"One {word}."))(keeper.read)
    routes.post(
        sort.path,
        needs=Right.WRITE,
        body=sort.shape,
        answers=sort.shape,
        **told("post", f"Add a {word}."),
    )(keeper.add)
    routes.put(
        path,
        needs=Right.WRITE,
        body=sort.shape,
        answers=sort.shape,
        **one,
        **told("put", f"Change a {word}."),
    )(keeper.change)
    routes.delete(path, needs=Right.WRITE, **one, **told("delete", f"Remove a {word}."))(keeper.remove)
