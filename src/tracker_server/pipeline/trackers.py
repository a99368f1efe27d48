"""Every tracker that the operator knows, in memory, so that no frame costs a query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec import Struct

from tracker_protocols.model import DeviceKey
from tracker_server.gate import Block, Hidden, decide


class Tracker(Struct, gc=False, eq=False):
    """One registered device. Moments are microseconds since 2000-01-01 UTC.

    ``id`` is None until the transaction that registers it has committed. ``newest_us`` is a hint: fixes
    above it are known to be new, so they need no look for their repeat. It may lag behind the database
    (another process stored something), never run ahead of it. ``online``: what was told last; None: nothing yet.
    """

    unique_id: DeviceKey
    id: int | None = None
    account_id: int | None = None
    newest_us: int | None = None
    contact_us: int = 0
    contact_stored_us: int = 0
    blocks: tuple[Block, ...] = ()
    name: str = ""
    online: bool | None = None

    def hidden(self, now: datetime) -> bool:
        """Whether the gate hides it at ``now``: for what is pushed or runs on after the database was asked."""
        return bool(self.blocks) and isinstance(decide(self.blocks, now), Hidden)


class Trackers:
    """The known ones by the name under which they call."""

    def __init__(self) -> None:
        self._by_key: dict[DeviceKey, Tracker] = {}
        self._by_id: dict[int, Tracker] = {}

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[Tracker]:
        return iter(self._by_key.values())

    def find(self, key: DeviceKey) -> Tracker | None:
        """The tracker of that name, if it is known."""
        return self._by_key.get(key)

    def by_id(self, tracker_id: int) -> Tracker | None:
        """The tracker of that row, if it is known."""
        return self._by_id.get(tracker_id)

    def add(self, tracker: Tracker) -> None:
        """Know it from now on."""
        self._by_key[tracker.unique_id] = tracker
        if tracker.id is not None:
            self._by_id[tracker.id] = tracker

    def discard(self, tracker: Tracker) -> None:
        """Know it no longer."""
        if self._by_key.get(tracker.unique_id) is tracker:
            del self._by_key[tracker.unique_id]
        if tracker.id is not None:
            self._by_id.pop(tracker.id, None)

    def put_all(self, fresh: Iterable[Tracker]) -> None:
        """What the database says of all trackers. Those known already keep what is known of them here."""
        fresh = list(fresh)
        names = {tracker.unique_id for tracker in fresh}
        for tracker in [t for t in self if t.unique_id not in names and t.id is not None]:
            self.discard(tracker)
        for tracker in fresh:
            self.put(tracker)

    def put(self, fresh: Tracker) -> None:
        """What the database says of one tracker."""
        known = self._by_key.get(fresh.unique_id)
        if known is None or (known.id is not None and known.id != fresh.id):
            if known is not None:
                self.discard(known)
            self.add(fresh)
            return
        known.id = fresh.id
        known.account_id = fresh.account_id
        known.blocks = fresh.blocks
        known.name = fresh.name
        known.online = fresh.online
        if known.newest_us is None:
            known.newest_us = fresh.newest_us
        self.add(known)
