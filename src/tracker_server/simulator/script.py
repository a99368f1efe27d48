"""What one device will say and must hear, as bytes made ready."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice

from tracker_protocols.model import Attributes, Fix, HttpRequest
from tracker_protocols.protocol import Transport
from tracker_protocols.wire.device import HttpDevice
from tracker_server.simulator import mqtt
from tracker_server.simulator.habits import Habits
from tracker_server.simulator.identity import unique_id
from tracker_server.simulator.plan import Plan
from tracker_server.simulator.receiver import Receiver
from tracker_server.simulator.routes import Journey

BYTES_MAX = (
    512 * 1024 * 1024
)  # made ready before the clock starts; of a longer run the rest follows in pieces
BYTES_PER_FIX = (
    160  # what a fix needs at most in the languages we speak: an HTTP request with its headers is more
)
BYTES_PER_PACKET = 240
BEHAVED = Habits()


class Script:
    """The packets of one device, numbered from 0. Held are those from ``first`` up to ``ready``.

    ``packets`` and ``answers`` are theirs. Over HTTP an answer is the status, in three digits. ``times``
    are the moments of all fixes held, as their device tells them, in seconds since 1970.
    """

    __slots__ = (
        "_device", "_fixes", "_fixes_left", "_plan", "_way", "answers", "first", "login", "login_answer", "made",
        "packets", "ready", "times", "unique_id",
    )  # fmt: skip

    def __init__(self, plan: Plan, number: int) -> None:
        self._plan = plan
        number += plan.first
        self.unique_id = unique_id(plan.prefix, plan.seed, number)
        self._device = plan.protocol.device(self.unique_id)
        self._way: Journey | Receiver
        if plan.habits == BEHAVED:
            self._way = Journey(plan.seed, number, plan.start, plan.interval_s)
        else:
            self._way = Receiver(plan, number)
        self._fixes: Iterator[Fix] = iter(self._way)
        self._fixes_left = plan.fixes
        opening = None
        if not isinstance(self._device, HttpDevice) and plan.transport is not Transport.UDP:
            opening = self._device.login()
        self.login = opening.data if opening else b""
        self.login_answer = opening.answer if opening else b""
        if plan.transport is Transport.MQTT:
            self.login, self.login_answer = mqtt.hello(self.unique_id)
        self.first = self.ready = 0
        self.packets: list[bytes] = []
        self.answers: list[bytes] = []
        self.times = array("I")
        self.made = 0  # packets made so far

    def prepare(self, packets: int, done: int) -> None:
        """Make at most ``packets`` more ready, and forget those before ``done``."""
        forgotten = done - self.first
        del self.packets[:forgotten], self.answers[:forgotten], self.times[: forgotten * self._plan.packet]
        for _ in range(packets):
            if not self._fixes_left:
                break
            data, answer = self._packet()
            self.packets.append(data)
            self.answers.append(answer)
        self.first = done
        self.ready = done + len(self.packets)

    def _packet(self) -> tuple[bytes, bytes]:
        fixes = list(islice(self._fixes, min(self._plan.packet, self._fixes_left)))
        self._fixes_left -= len(fixes)
        self.times.extend(int(fix.fixed_at.timestamp()) for fix in fixes)
        device, attributes = self._device, self._attributes()
        if isinstance(device, HttpDevice):
            asked = device.report(fixes, attributes)
            if self._plan.transport is Transport.MQTT:
                return mqtt.published(
                    self._plan.protocol.name, self.unique_id, self.made - 1, asked.request.body
                )
            return http_bytes(asked.request), b"%d" % asked.status
        if self._plan.transport is Transport.UDP:
            outgoing = device.datagram(fixes, attributes)
        else:
            outgoing = device.report(fixes, attributes)
        return outgoing.data, outgoing.answer

    def _attributes(self) -> Attributes:
        """Of the packet that is being made."""
        attributes = self._way.attributes
        if self._plan.habits.offline(self.made):
            attributes["archive"] = True
        self.made += 1
        return attributes


def http_bytes(request: HttpRequest) -> bytes:
    """A request of HTTP/1.1 on a connection that stays open."""
    head = [f"{request.method} {request.target} HTTP/1.1"]
    head += [f"{name}: {value}" for name, value in request.headers.items()]
    if request.body:
        head.append(f"content-length: {len(request.body)}")
    return "\r\n".join([*head, "", ""]).encode("latin-1") + request.body


def packets_at_once(plan: Plan) -> int:
    """How many packets of each device are made ready together, so that all stay within ``BYTES_MAX``."""
    size = BYTES_PER_PACKET + BYTES_PER_FIX * plan.packet
    return max(plan.window + 1, min(plan.packets, BYTES_MAX // (size * plan.devices)))
