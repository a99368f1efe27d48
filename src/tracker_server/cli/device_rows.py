"""A tracker as the lists show it to the operator: its management row and what else is known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracker_server.gate import Block
    from tracker_server.storage.devices import DeviceRow

COLUMNS = (
    "id", "unique_id", "name", "account", "priority", "test", "state", "reason", "since", "due_now", "currency", "waiting",
    "contact_at", "latest_fixed_at", "created_at", "owned_since", "removed_at", "purge_at", "back_pay",
)  # fmt: skip
TABLE_COLUMNS = (
    "unique_id", "name", "account", "priority", "test", "state", "reason", "since", "due_now", "waiting", "contact_at",
)  # fmt: skip


def device_row(device: DeviceRow) -> dict[str, Any]:
    """A tracker as ``COLUMNS``: ``state`` is active, blocked, suspended or removed; ``reason`` and ``since`` of the
    block, ``due_now`` what would lift it, ``waiting`` the fixes received since it began, ``purge_at`` when they begin to be deleted, ``back_pay`` what
    shows the unpaid time of earlier blocks.
    """
    from tracker_server.model.money import currency, format_minor

    hidden = device.hidden if device.removed_at is None else None

    def told(amount_minor: int | None) -> str | None:
        return None if amount_minor is None else format_minor(amount_minor, currency(device.currency))

    return {
        "id": device.id,
        "unique_id": device.unique_id,
        "name": device.name,
        "account": device.account,
        "priority": device.priority,
        "test": device.test,
        "state": device.state or "removed",
        "reason": device.reason,
        "since": hidden.since if hidden else device.removed_at,
        "due_now": told(device.due_minor),
        "currency": device.currency,
        "waiting": device.waiting,
        "contact_at": device.contact_at,
        "latest_fixed_at": device.latest_fixed_at,
        "created_at": device.created_at,
        "owned_since": device.owned_since,
        "removed_at": device.removed_at,
        "purge_at": device.purge_at,
        "back_pay": told(device.back_pay_minor),
    }


def reason_words(block: Block) -> str:
    """Why, as the management row says it: money's own word for it where money is the reason."""
    return (block.note or block.reason) if block.reason == "billing" else block.reason


def block_row(block: Block) -> dict[str, Any]:
    """A block as `device show` lists it."""
    return {"reason": block.reason, "since": block.since, "until": block.until, "note": block.note}
