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

    def since(self, mail: Mail) -> float | None:
        """Since when whoever fetches this is there, as far as is known, on the monotonic clock; None: it is not."""
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
    """Our own endpoint, or all brokers. ``topics``: where a device may look for what it is told, the likeliest first;
    ``carriers``: of equally new ones likewise. ``words``: what is told under a topic is told in these, where there are any,
    whatever the device's protocol.
    """

    def __init__(
        self,
        topics: Callable[[DeviceKey], Sequence[str]],
        carriers: Sequence[Carrier],
        words: Callable[[str, DeviceKey], Commands | None] = lambda _topic, _device: None,
    ) -> None:
        self._topics = topics
        self._carriers = carriers
        self._words = words

    def since(self, device: DeviceKey) -> float | None:
        """Since when it can be told something by the newest of these ways; None: it cannot."""
        way = self._way(device, Order(0, device, b"", NEVER))
        return None if way is None else way[0].since(way[1])

    def reaches(self, device: DeviceKey) -> bool:
        """Whether it can be told something now."""
        return self.since(device) is not None

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
        newest: tuple[Carrier, Mail] | None = None
        newest_at = -1.0
        for carrier in self._carriers:
            for mail in mails:
                since = carrier.since(mail)
                if since is not None and since > newest_at:
                    newest, newest_at = (carrier, mail), since
        return newest
