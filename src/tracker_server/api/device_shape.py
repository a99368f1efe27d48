"""A tracker in the shape that clients of this field read."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from tracker_server.api.position_shape import iso_ms
from tracker_server.model import money
from tracker_server.storage.device_cards import BlockCard, DeviceCard


class Block(Struct, rename="camel"):
    """Why a tracker is hidden. ``due``: decimal, what lifts the block; null: money does not."""

    state: str
    reason: str
    note: str
    since: str
    due: str | None
    currency: str
    last_contact: str | None  # the hour of it
    waiting: int  # fixes received since


class Device(Struct, rename="camel"):
    """A tracker. Of a blocked one there is its card, ``disabled`` and ``attributes.block``; nothing that it sent."""

    id: int
    name: str
    unique_id: str
    status: Literal["online", "offline", "unknown"]
    disabled: bool
    last_update: str | None
    position_id: int
    group_id: int
    calendar_id: int
    phone: str | None
    model: str | None
    contact: str | None
    category: str | None
    expiration_time: str | None
    attributes: msgspec.Raw


_encode: Final = msgspec.json.Encoder().encode


def block_shape(block: BlockCard) -> Block:
    """The block as JSON has it."""
    return Block(
        state=block.state,
        reason=block.reason,
        note=block.note or "",
        since=iso_ms(block.since),
        due=None
        if block.due_minor is None
        else money.format_minor(block.due_minor, money.currency(block.currency)),
        currency=block.currency,
        last_contact=None if block.last_contact is None else iso_ms(block.last_contact),
        waiting=block.waiting,
    )


def device_shape(card: DeviceCard) -> Device:
    """The shape of a row."""
    attributes = card.attributes
    status: Literal["online", "offline", "unknown"] = "unknown"
    if card.block is not None:
        told: dict[str, Any] = msgspec.json.decode(attributes)
        attributes = _encode({**told, "block": block_shape(card.block)}).decode()
    elif card.contact_at is not None:
        status = "online" if card.online else "offline"
    return Device(
        id=card.id,
        name=card.name,
        unique_id=card.unique_id,
        status=status,
        disabled=card.block is not None,
        last_update=None if card.contact_at is None else iso_ms(card.contact_at),
        position_id=card.latest_position_id or 0,
        group_id=card.group_id or 0,
        calendar_id=card.calendar_id or 0,
        phone=card.phone or None,
        model=card.model or None,
        contact=card.contact or None,
        category=card.category or None,
        expiration_time=None if card.expires_at is None else iso_ms(card.expires_at),
        attributes=msgspec.Raw(attributes.encode()),
    )


def device_json(card: DeviceCard) -> str:
    """One of them."""
    return _encode(device_shape(card)).decode()
