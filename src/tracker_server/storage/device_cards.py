"""Trackers as people see them: the card that people wrote, and, unless the gate hides it, how it stands.

The same three statements for one tracker and for all, put together here: joined in the database, views that are
barriers hide from its planner how many rows they have, and it may join a thousand to a thousand one by one. Of a hidden
tracker there is its card and why it is hidden, nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString

from msgspec import Struct
from psycopg import AsyncConnection

from tracker_server.model.people import IN_SCOPE, Scope


class BlockCard(Struct, frozen=True, gc=False):
    """Why a tracker is hidden and what would lift that, as its management row has it."""

    state: str
    reason: str
    note: str | None
    since: datetime
    due_minor: int | None
    currency: str
    last_contact: datetime | None  # the hour of it
    waiting: int


class DeviceCard(Struct, frozen=True, gc=False):
    """A tracker's row. ``attributes`` as JSON text. ``block`` None: it is shown, and the three fields before it hold."""

    id: int
    account_id: int
    unique_id: str
    name: str
    group_id: int | None
    calendar_id: int | None
    category: str
    phone: str
    model: str
    contact: str
    attributes: str
    expires_at: datetime | None
    contact_at: datetime | None
    online: bool | None
    latest_position_id: int | None
    block: BlockCard | None


CARDS: LiteralString = """
SELECT device_id, account_id, unique_id, name, group_id, calendar_id, category, phone, model, contact, attributes::text,
       expires_at
FROM display.cards WHERE {which} ORDER BY device_id
"""
MARKS: LiteralString = "SELECT device_id, contact_at, online FROM display.device_marks WHERE {which}"
LATEST: LiteralString = "SELECT device_id, id FROM display.latest WHERE {which}"
NAMED: LiteralString = "device_id = ANY(%(devices)s)"
BLOCKS: LiteralString = """
SELECT device_id, state, coalesce(reason, ''), note, since, due_minor, currency, last_contact, coalesce(waiting, 0)
FROM display.management WHERE device_id = ANY(%(devices)s) AND since IS NOT NULL
"""


async def device_cards(connection: AsyncConnection[Any], scope: Scope) -> list[DeviceCard]:
    """All trackers of a scope, hidden ones as such. The connection is ``Role.DISPLAY``'s."""
    return await _cards(connection, IN_SCOPE, scope.parameters(), None)


async def device_cards_of(
    connection: AsyncConnection[Any],
    device_ids: Sequence[int],
    position_ids: Mapping[int, int] | None = None,
) -> list[DeviceCard]:
    """These trackers, hidden ones as such. ``position_ids``: their latest positions, where these have just been read."""
    return await _cards(connection, NAMED, {"devices": list(device_ids)}, position_ids)


async def _cards(
    connection: AsyncConnection[Any],
    which: LiteralString,
    parameters: dict[str, Any],
    position_ids: Mapping[int, int] | None,
) -> list[DeviceCard]:
    async def rows(statement: LiteralString, asked: dict[str, Any]) -> list[Any]:
        found = await connection.execute(statement.replace("{which}", which), asked, binary=True)
        return await found.fetchall()

    cards = await rows(CARDS, parameters)
    marks: dict[int, Any] = {row[0]: row[1:] for row in await rows(MARKS, parameters)}
    if position_ids is None:
        position_ids = dict(await rows(LATEST, parameters))
    hidden = [row[0] for row in cards if row[0] not in marks]
    blocks: dict[int, BlockCard] = {}
    if hidden:
        blocks = {row[0]: BlockCard(*row[1:]) for row in await rows(BLOCKS, {"devices": hidden})}
    found: list[DeviceCard] = []
    for row in cards:
        device_id = row[0]
        rest: list[Any]
        if device_id in marks:
            rest = [*marks[device_id], position_ids.get(device_id), None]
        elif device_id in blocks:
            rest = [None, None, None, blocks[device_id]]
        else:
            continue  # hidden when we asked, free when we asked why; it comes with the change that made it so
        found.append(DeviceCard(*row, *rest))
    return found
