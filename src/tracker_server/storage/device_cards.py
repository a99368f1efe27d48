"""Trackers as people see them: the card that people wrote, and, unless the gate hides it, how it stands.

One statement for one tracker or for all. Of a hidden tracker there is its card and why it is hidden, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """A tracker's row. ``attributes`` as JSON text. ``block`` None: it is shown, and the four fields before it hold."""

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
    contact_at: datetime | None
    online: bool | None
    latest_position_id: int | None
    block: BlockCard | None


_SELECT: LiteralString = """
SELECT c.device_id, c.account_id, c.unique_id, c.name, c.group_id, c.calendar_id, c.category, c.phone, c.model, c.contact,
       c.attributes::text, s.contact_at, s.online, l.id, s.device_id IS NOT NULL
FROM (SELECT * FROM display.cards WHERE {which}) c
LEFT JOIN display.device_marks s ON s.device_id = c.device_id
LEFT JOIN display.latest l ON l.device_id = c.device_id
ORDER BY c.device_id
"""
IN_THE_SCOPE: LiteralString = _SELECT.replace("{which}", IN_SCOPE)
NAMED: LiteralString = _SELECT.replace("{which}", "device_id = ANY(%(devices)s)")
BLOCKS: LiteralString = """
SELECT device_id, state, coalesce(reason, ''), note, since, due_minor, currency, last_contact, coalesce(waiting, 0)
FROM display.management WHERE device_id = ANY(%(devices)s) AND since IS NOT NULL
"""


async def device_cards(connection: AsyncConnection[Any], scope: Scope) -> list[DeviceCard]:
    """All trackers of a scope, hidden ones as such. The connection is ``Role.DISPLAY``'s."""
    return await _cards(connection, IN_THE_SCOPE, scope.parameters())


async def device_cards_of(connection: AsyncConnection[Any], device_ids: Sequence[int]) -> list[DeviceCard]:
    """These trackers, hidden ones as such."""
    return await _cards(connection, NAMED, {"devices": list(device_ids)})


async def _cards(
    connection: AsyncConnection[Any], statement: LiteralString, parameters: dict[str, Any]
) -> list[DeviceCard]:
    rows = await (await connection.execute(statement, parameters, binary=True)).fetchall()
    hidden = [row[0] for row in rows if not row[14]]
    blocks: dict[int, BlockCard] = {}
    if hidden:
        found = await connection.execute(BLOCKS, {"devices": hidden}, binary=True)
        blocks = {row[0]: BlockCard(*row[1:]) for row in await found.fetchall()}
    # hidden when we asked, free when we asked why: it is left out, and comes with the next change
    return [DeviceCard(*row[:14], block=blocks.get(row[0])) for row in rows if row[14] or row[0] in blocks]
