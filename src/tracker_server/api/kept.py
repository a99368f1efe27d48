"""List, add, change and remove what an account keeps: one set of routes for each kind of object."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from msgspec import Meta, Struct, field

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

    ``check``: raises Refusal where an object that it names is not his. ``changed``: what follows from a change.
    """

    kind: Kind
    path: str
    shape: Any
    to_row: Callable[[Any], Row]
    to_shape: Callable[[Row], Any]
    check: Callable[[Call[Any, Any], Any], Awaitable[None]] | None = None
    changed: Callable[[Call[Any, Any], Any, int], Awaitable[None]] | None = None


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


def keep(routes: Routes, sort: Sort) -> None:
    """Declare its five routes."""
    kept = KEPT[sort.kind]
    word = sort.kind.word

    async def get_all(call: Call[ListQuery, None]) -> list[Any]:
        query = call.query
        if query.user_id:
            await call.require_objects(Kind.USER, query.user_id)
        linked = ("device", query.device_id) if query.device_id else None
        linked = ("group", query.group_id) if query.group_id else linked
        async with call.services.pools.core() as connection:
            rows = await list_objects(connection, kept, call.principal, ids=query.id or None, linked=linked)
            if query.user_id and query.user_id != call.principal.user_id:
                other = await call.services.access.of_user(connection, query.user_id)
                theirs = (
                    {row["id"] for row in await list_objects(connection, kept, other)} if other else set[int]()
                )
                rows = [row for row in rows if row["id"] in theirs]
        shapes = [sort.to_shape(row) for row in rows]
        if query.keyword:
            wanted = query.keyword.lower()
            shapes = [one for one in shapes if wanted in str(getattr(one, "name", one.description)).lower()]
        return shapes[query.offset : query.offset + (query.limit or ROWS_MAX)]

    async def get_one(call: Call[None, None]) -> Any:
        async with call.services.pools.core() as connection:
            row = await read_object(connection, kept, call.id)
        if row is None:
            raise not_found(f"{word} {call.id}")
        return sort.to_shape(row)

    async def post(call: Call[None, Any]) -> Any:
        if sort.check:
            await sort.check(call, call.body)
        account = await account_for(call, call.body.account_id)
        async with call.services.pools.core() as connection, connection.transaction():
            number = await add_object(connection, kept, {**sort.to_row(call.body), "account_id": account})
            if call.principal.restricted:
                await link(connection, "user", call.principal.user_id, kept.link, number)
            await note(
                connection, "create", by=call.principal, kind=word, object_id=number, address=call.address
            )
            row = await read_object(connection, kept, number)
        call.services.access.changed()
        assert row is not None
        return sort.to_shape(row)

    async def put(call: Call[None, Any]) -> Any:
        if sort.check:
            await sort.check(call, call.body)
        async with call.services.pools.core() as connection, connection.transaction():
            await change_object(connection, kept, call.id, sort.to_row(call.body))
            if sort.changed:
                await sort.changed(call, connection, call.id)
            await note(
                connection, "edit", by=call.principal, kind=word, object_id=call.id, address=call.address
            )
            row = await read_object(connection, kept, call.id)
        call.services.access.changed()
        if row is None:
            raise not_found(f"{word} {call.id}")
        return sort.to_shape(row)

    async def delete(call: Call[None, None]) -> None:
        async with call.services.pools.core() as connection, connection.transaction():
            removed = await remove_object(connection, kept, call.id)
            await note(
                connection, "remove", by=call.principal, kind=word, object_id=call.id, address=call.address
            )
        call.services.access.changed()
        if not removed:
            raise not_found(f"{word} {call.id}")

    name = kept.link
    objects = {"id": sort.kind}
    for verb, handler, doc in (
        ("get_all", get_all, f"All of this kind that one may see ({word}s)."),
        ("get", get_one, f"One {word}."),
        ("post", post, f"Add a {word}."),
        ("put", put, f"Change a {word}."),
        ("delete", delete, f"Remove a {word}."),
    ):
        handler.__name__ = f"{verb}_{name}"
        handler.__doc__ = doc
    filters = {"userId": Kind.USER, "deviceId": Kind.DEVICE, "groupId": Kind.GROUP}
    routes.get(sort.path, needs=Right.READ, query=ListQuery, answers=list[sort.shape], objects=filters)(get_all)
    routes.get(f"{sort.path}/{{id}}", needs=Right.READ, answers=sort.shape, objects=objects)(get_one)
    routes.post(sort.path, needs=Right.WRITE, body=sort.shape, answers=sort.shape)(post)
    routes.put(
        f"{sort.path}/{{id}}", needs=Right.WRITE, body=sort.shape, answers=sort.shape, objects=objects
    )(put)
    routes.delete(f"{sort.path}/{{id}}", needs=Right.WRITE, objects=objects)(delete)
