"""How a device is told something that keeps no connection of its own to us, but fetches it by MQTT. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol

from msgspec import Struct

from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import Commands
from tracker_server.pipeline.mqtt_book import Mail

NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Carrier(Protocol):
    """Our own endpoint, or a broker that we subscribe to."""

    def takes(self, mail: Mail) -> bool:
        """Whether whoever fetches this is there now, as far as is known."""
        ...

    def topic(self, mail: Mail) -> str:
        """Under which it is published."""
        ...

    def carry(self, mail: Mail) -> bool:
        """Send it. True: that is all that is ever known of it; False: it will be acknowledged, and the book is told then."""
        ...


class Order(Struct, frozen=True):
    """A command of the queue in its device's words."""

    number: int
    device: DeviceKey
    data: bytes
    expires_at: datetime


class Post:
    """``topics``: where a device may look for what it is told, the likeliest first; ``carriers``: likewise. ``since``: when
    a device came to a broker, on the monotonic clock; 0: it is behind none. ``words``: what is told under a topic is told in
    these, where there are any, whatever the device's protocol.
    """

    def __init__(
        self,
        topics: Callable[[DeviceKey], Sequence[str]],
        carriers: Sequence[Carrier],
        since: Callable[[DeviceKey], float] = lambda _: 0.0,
        words: Callable[[str, DeviceKey], Commands | None] = lambda _topic, _device: None,
    ) -> None:
        self._topics = topics
        self._carriers = carriers
        self._words = words
        self.since = since

    def reaches(self, device: DeviceKey) -> bool:
        """Whether it can be told something now."""
        return self._way(device, Order(0, device, b"", NEVER)) is not None

    def words(self, device: DeviceKey) -> Commands | None:
        """The operator's own, where it is told things by a way that has some."""
        way = self._way(device, Order(0, device, b"", NEVER))
        return self._words(way[0].topic(way[1]), device) if way is not None else None

    def carry(self, order: Order) -> bool:
        """Send it, where there is a way. True: count it as told; False: wait until the device has acknowledged it."""
        way = self._way(order.device, order)
        return way is not None and way[0].carry(way[1])

    def _way(self, device: DeviceKey, order: Order) -> tuple[Carrier, Mail] | None:
        mails = [
            Mail(order.number, device, topic, order.data, order.expires_at, ordered=True)
            for topic in self._topics(device)
        ]
        for carrier in self._carriers:
            for mail in mails:
                if carrier.takes(mail):
                    return carrier, mail
        return None
