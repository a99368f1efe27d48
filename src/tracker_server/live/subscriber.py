"""One open socket's outgoing side: never more than the latest of each tracker, however slow its reader is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from msgspec import Struct

from tracker_server.model.people import Scope

EVENTS_MAX = 200  # that wait for one reader; the oldest go first: all of them stay in the history
LOGS_MAX = 500  # an administrator's look at what devices say; the oldest go first


class Update(Struct, frozen=True, gc=False):
    """What is new of one tracker, as JSON objects that are the same for everybody who may see it.

    ``position`` is None where there is none or none is new. ``card`` is the tracker's row for whoever manages
    trackers, where that differs: of a blocked one ``device`` is None, and only managers learn that it is blocked.
    """

    device_id: int
    account_id: int
    position: str | None = None
    device: str | None = None
    card: str | None = None


class Subscriber:
    """What waits for one socket. ``ended`` names the reason for which it is to be closed."""

    def __init__(self, scope: Scope, *, manages: bool, hidden: Callable[[int], bool]) -> None:
        self.scope = scope
        self.manages = manages
        self.wants_logs = False
        self.ended: str | None = None
        self._hidden = hidden
        self._positions: dict[int, str] = {}
        self._devices: dict[int, str] = {}
        self._cards: dict[int, str] = {}
        self._events: deque[tuple[int, str]] = deque(maxlen=EVENTS_MAX)
        self._logs: deque[str] = deque(maxlen=LOGS_MAX)
        self._woken = asyncio.Event()

    # ------------------------------------------------------------------ in

    def offer(self, update: Update) -> None:
        """Take the place of what still waits of that tracker."""
        device_id = update.device_id
        if update.position is not None:
            self._positions[device_id] = update.position
        if update.device is not None:
            self._devices[device_id] = update.device
            self._cards.pop(device_id, None)
        elif update.card is not None and self.manages:
            self.forget([device_id])
            self._cards[device_id] = update.card
        self._woken.set()

    def offer_event(self, device_id: int, event: str) -> None:
        """One more event; where too many wait the oldest goes."""
        self._events.append((device_id, event))
        self._woken.set()

    def offer_log(self, line: str) -> None:
        """One more line for an administrator who asked for them."""
        self._logs.append(line)
        self._woken.set()

    def forget(self, device_ids: Iterable[int]) -> None:
        """Nothing that waits of these trackers may go out any more."""
        gone = set(device_ids)
        for device_id in gone:
            self._positions.pop(device_id, None)
            self._devices.pop(device_id, None)
            self._cards.pop(device_id, None)
        if any(device_id in gone for device_id, _ in self._events):
            kept = [one for one in self._events if one[0] not in gone]
            self._events.clear()
            self._events.extend(kept)

    def end(self, reason: str) -> None:
        """Close the socket at once; nothing more goes out."""
        self.ended = reason
        self._woken.set()

    # ------------------------------------------------------------------ out

    @property
    def waiting(self) -> int:
        """How many things wait: bounded by trackers seen, ``EVENTS_MAX`` and ``LOGS_MAX``."""
        return (
            len(self._positions) + len(self._devices) + len(self._cards) + len(self._events) + len(self._logs)
        )

    async def next(self) -> None:
        """Until something waits, or the end."""
        await self._woken.wait()

    def take(self) -> str | None:
        """All that waits, as one message, asking the gate once more; None: nothing is left of it."""
        self._woken.clear()
        hidden = self._hidden
        parts: list[str] = []
        devices = [text for device_id, text in self._devices.items() if not hidden(device_id)]
        devices += self._cards.values()
        if devices:
            parts.append(f'"devices":[{",".join(devices)}]')
        positions = [text for device_id, text in self._positions.items() if not hidden(device_id)]
        if positions:
            parts.append(f'"positions":[{",".join(positions)}]')
        events = [text for device_id, text in self._events if not hidden(device_id)]
        if events:
            parts.append(f'"events":[{",".join(events)}]')
        if self._logs:
            parts.append(f'"logs":[{",".join(self._logs)}]')
        for waiting in (self._positions, self._devices, self._cards, self._events, self._logs):
            waiting.clear()
        return f"{{{','.join(parts)}}}" if parts else None
