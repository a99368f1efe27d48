"""Links: a user is given a tracker, a tracker a driver. A pair is two ids, in either order."""

from __future__ import annotations

from typing import Any, Final

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad
from tracker_server.api.values import Number
from tracker_server.model.people import Principal, Right, Role
from tracker_server.storage.audit import note
from tracker_server.storage.fences import assign_fence, unassign_fence
from tracker_server.storage.objects import accounts_of, link, unlink
from tracker_server.storage.users import set_maker

routes = Routes("Permissions")

KINDS: Final[dict[str, Kind]] = {
    "userId": Kind.USER,
    "groupId": Kind.GROUP,
    "deviceId": Kind.DEVICE,
    "geofenceId": Kind.GEOFENCE,
    "driverId": Kind.DRIVER,
    "maintenanceId": Kind.MAINTENANCE,
    "calendarId": Kind.CALENDAR,
    "commandId": Kind.COMMAND,
    "attributeId": Kind.ATTRIBUTE,
    "notificationId": Kind.NOTIFICATION,
    "reportId": Kind.REPORT,
    "managedUserId": Kind.USER,
}
OWNERS: Final = ("userId", "deviceId", "groupId")
TABLES: Final = {"deviceId": "devices", "groupId": "groups", "geofenceId": "fences", "driverId": "drivers",
                 "maintenanceId": "maintenance", "calendarId": "calendars", "commandId": "commands",
                 "attributeId": "computed_attributes", "notificationId": "alert_rules", "reportId": "reports"}  # fmt: skip
PAIRS_MAX: Final = 1_000

Pair = dict[str, Number]


def ends_of(pair: Pair) -> tuple[str, str]:
    """The names of owner and object. Raises Refusal."""
    unknown = sorted(set(pair) - set(KINDS))
    if unknown:
        raise bad(unknown[0], f"is no kind of object; there are: {', '.join(KINDS)}")
    if len(pair) != 2 or 0 in pair.values():
        raise bad("body", "a link has two ids, such as {deviceId, userId}")
    owner = next((name for name in OWNERS if name in pair), None)
    if owner is None:
        raise bad("body", "one of the two is a user, a tracker or a group")
    other = next(name for name in pair if name != owner)
    if owner != "userId" and other in {"deviceId", "groupId", "managedUserId"}:
        raise bad("body", "a tracker is put into a group by its own groupId; a group likewise")
    return owner, other


@routes.post("/permissions", needs=Right.WRITE, body=Pair, status=204)
async def post_permission(call: Call[None, Pair]) -> None:
    """Link two objects."""
    await _change(call, [call.body], given=True)


@routes.delete("/permissions", needs=Right.WRITE, body=Pair)
async def delete_permission(call: Call[None, Pair]) -> None:
    """Take a link away."""
    await _change(call, [call.body], given=False)


@routes.post("/permissions/bulk", needs=Right.WRITE, body=list[Pair], status=204)
async def post_permissions(call: Call[None, list[Pair]]) -> None:
    """Link many pairs, all or none."""
    await _change(call, call.body, given=True)


@routes.delete("/permissions/bulk", needs=Right.WRITE, body=list[Pair])
async def delete_permissions(call: Call[None, list[Pair]]) -> None:
    """Take many links away, all or none."""
    await _change(call, call.body, given=False)


async def _change(call: Call[Any, Any], pairs: list[Pair], *, given: bool) -> None:
    if len(pairs) > PAIRS_MAX:
        raise bad("body", f"has more than {PAIRS_MAX:,} pairs; send them in parts")
    ends = [(pair, *ends_of(pair)) for pair in pairs]
    for pair, owner, other in ends:
        if owner == "userId":
            check_user(call.principal, pair["userId"], given=given)
        for name in (owner, other):
            await call.require_objects(KINDS[name], pair[name])
    async with call.services.pools.core() as connection, connection.transaction():
        for pair, owner, other in ends:
            await _check_accounts(connection, pair, owner, other)
            await _write(connection, pair, owner, other, given=given)
            action = "link" if given else "unlink"
            await note(connection, action, by=call.principal, address=call.address, detail=dict(pair))
    call.services.access.forget(call.principal)


def check_user(principal: Principal, user_id: int, *, given: bool) -> None:
    """Nobody gives himself more than he has: others' links are for who manages users. Raises Refusal."""
    if user_id == principal.user_id:
        if given and principal.restricted and principal.role is not Role.ADMIN:
            raise Refusal(403, "you may not do this: nobody links anything to himself")
        return
    if not principal.may(Right.USERS):
        raise Refusal(403, f"you may not do this: it needs the right {Right.USERS.value!r}")


async def _check_accounts(connection: Any, pair: Pair, owner: str, other: str) -> None:
    """What is linked to a tracker or group is of the same customer's."""
    if owner == "userId" or other == "managedUserId":
        return
    first = await accounts_of(connection, TABLES[owner], [pair[owner]])
    second = await accounts_of(connection, TABLES[other], [pair[other]])
    if first.get(pair[owner]) != second.get(pair[other]):
        raise bad(other, f"{pair[other]} belongs to another account than {owner} {pair[owner]}")


async def _write(connection: Any, pair: Pair, owner: str, other: str, *, given: bool) -> None:
    one, another = pair[owner], pair[other]
    if other == "managedUserId":
        await set_maker(connection, another, one if given else None)
    elif (owner, other) == ("deviceId", "geofenceId"):
        if given:
            await assign_fence(connection, another, [one])
        else:
            await unassign_fence(connection, another, [one])
    else:
        act = link if given else unlink
        await act(connection, owner.removesuffix("Id"), one, other.removesuffix("Id"), another)
