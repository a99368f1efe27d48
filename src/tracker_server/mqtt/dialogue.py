"""One conversation from the server's side, as a state machine: bytes in, events out. It knows no socket.

What the peer does wrong comes out as a last event ``Broken`` with the reason that MQTT 5 has for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import TypeAlias

from msgspec import Struct

from tracker_server.mqtt.codes import BadPacketError, Code, Kind
from tracker_server.mqtt.packets import (
    MQTT_3_1_1,
    MQTT_5,
    Acknowledged,
    Connect,
    Disconnect,
    Publish,
    Subscribe,
    Unsubscribe,
    check_topic,
    read_acknowledged,
    read_connect,
    read_disconnect,
    read_publish,
    read_subscribe,
    read_unsubscribe,
)

LENGTH_BYTES_MAX = 4  # of a remaining length (§2.1.4)
PUBLISH = int(Kind.PUBLISH)
PUBACK = Kind.PUBACK << 4  # first bytes
PUBREC = Kind.PUBREC << 4
LONG = 0x80  # a remaining length of two bytes or more
LONGER = 0x4000  # of three or more
CONNECT_BYTES_MAX = 16_384  # names, a password, a will; nobody has shown who he is yet


class Ping(Struct, frozen=True):
    """It is alive, and asks whether we are."""


class Repeated(Struct, frozen=True):
    """A publish at QoS 2 that has its PUBREC already, which was perhaps lost."""

    packet_id: int


class Broken(Struct, frozen=True):
    """The peer broke the rules; nothing more is read."""

    code: Code
    detail: str


Event: TypeAlias = (
    Connect | Publish | Subscribe | Unsubscribe | Acknowledged | Disconnect | Ping | Repeated | Broken
)


class State(Enum):
    """Where the conversation stands."""

    NEW = "waiting for CONNECT"
    OPEN = "open"
    OVER = "over"


NEW, OPEN, OVER = (
    State.NEW,
    State.OPEN,
    State.OVER,
)  # looked up in an Enum, each costs as much as reading a packet's length


class Dialogue:
    """``receive_data`` answers what the bytes complete; what is not whole yet waits, at most one packet.

    ``version`` is 3.1.1 until a CONNECT says otherwise. A topic is resolved where a publish names an alias.
    QoS 2: a packet identifier is *known* from its PUBLISH until its PUBREL, and a publish whose identifier
    is known is a repeat: no event.
    """

    def __init__(self, packet_bytes_max: int, receive_max: int, alias_max: int) -> None:
        self.version = MQTT_3_1_1
        self.state = NEW
        self.unfinished = 0  # publishes at QoS 1 and 2 whose answer has not gone out
        self._packet_bytes_max = packet_bytes_max
        self._receive_max = receive_max
        self._alias_max = alias_max
        self._aliases: dict[int, str] = {}
        self._known: set[int] = set()  # identifiers at QoS 2
        self._recorded: set[int] = set()  # of these, those whose PUBREC has gone out
        self._buffer = b""
        self._topics: dict[bytes, str] = {}

    @property
    def recorded(self) -> frozenset[int]:
        """Identifiers whose PUBREC has gone out and whose PUBREL has not come: what a kept session goes on with."""
        return frozenset(self._recorded)

    def go_on(self, recorded: frozenset[int]) -> None:
        """The session began in an earlier connection, and these were left unfinished there. A publish that was not
        answered there is as if it had never come: its client sends it again.
        """
        self._known = set(recorded)
        self._recorded = set(recorded)

    @property
    def waiting_bytes(self) -> int:
        """How much of an unfinished packet is held."""
        return len(self._buffer)

    def receive_data(self, data: bytes) -> list[Event]:
        """All that these bytes complete, in order."""
        events: list[Event] = []
        buffer = self._buffer + data if self._buffer else data
        at, end = 0, len(buffer)
        try:
            while at < end and self.state is not OVER:
                is_open = self.state is OPEN
                if is_open and at + 2 < end:  # nearly all lengths have one byte or two
                    start, size = at + 2, buffer[at + 1]
                    if size >= LONG:
                        start, size = at + 3, size & 0x7F | buffer[at + 2] << 7
                        if size >= LONGER or size + 3 > self._packet_bytes_max:
                            start, size = self._measure(buffer, at, end)
                else:
                    start, size = self._measure(buffer, at, end)
                after = start + size
                if not start or after > end:
                    break
                first = buffer[at]
                if is_open and first >> 4 == PUBLISH:
                    event = self._publish(first & 15, buffer, start, after)
                else:
                    event = self._read(first, buffer[start:after])
                if event is not None:
                    events.append(event)
                at = after
        except BadPacketError as error:
            self.state = OVER
            events.append(Broken(error.code, error.detail))
        self._buffer = buffer[at:] if at < end and self.state is not OVER else b""
        return events

    def _measure(self, buffer: bytes, at: int, end: int) -> tuple[int, int]:
        """Where the body of the packet begins and how long it is; 0, 0 where that has not come yet."""
        if self.state is NEW and buffer[at] != Kind.CONNECT << 4:
            raise BadPacketError(Code.PROTOCOL_ERROR, "the first packet is no CONNECT")
        size = shift = 0
        for n in range(at + 1, min(end, at + 1 + LENGTH_BYTES_MAX)):
            byte = buffer[n]
            size |= (byte & 0x7F) << shift
            if byte < 0x80:
                limit = self._packet_bytes_max if self.state is OPEN else CONNECT_BYTES_MAX
                if n + 1 - at + size > limit:
                    raise BadPacketError(
                        Code.PACKET_TOO_LARGE, f"a packet of {size} bytes, allowed are {limit}"
                    )
                return n + 1, size
            shift += 7
        if end - at > LENGTH_BYTES_MAX:
            raise BadPacketError(Code.MALFORMED, "a remaining length of more than four bytes")
        return 0, 0

    def _read(self, first: int, body: bytes) -> Event:
        kind, flags = first >> 4, first & 0x0F
        if self.state is NEW:
            said = read_connect(body)
            self.version = said.version
            self.state = OPEN
            return said
        if flags != (2 if kind in {Kind.PUBREL, Kind.SUBSCRIBE, Kind.UNSUBSCRIBE} else 0):
            raise BadPacketError(Code.MALFORMED, f"first byte 0x{first:02x}")
        return self._other(kind, body)

    def _other(self, kind: int, body: bytes) -> Event:
        match kind:
            case Kind.PUBREL:
                said = read_acknowledged(Kind.PUBREL, body, self.version)
                self._known.discard(said.packet_id)
                return Acknowledged(Kind.PUBREL, said.packet_id, self._released(said.packet_id))
            case Kind.PUBACK | Kind.PUBREC | Kind.PUBCOMP:
                return read_acknowledged(Kind(kind), body, self.version)
            case Kind.SUBSCRIBE:
                return read_subscribe(body, self.version)
            case Kind.UNSUBSCRIBE:
                return read_unsubscribe(body, self.version)
            case Kind.PINGREQ:
                if body:
                    raise BadPacketError(Code.MALFORMED, "a PINGREQ with a body")
                return Ping()
            case Kind.DISCONNECT:
                self.state = OVER
                return read_disconnect(body, self.version)
            case Kind.AUTH if self.version == MQTT_5:
                raise BadPacketError(Code.BAD_AUTHENTICATION_METHOD, "no extended authentication is offered")
            case _:
                raise BadPacketError(Code.PROTOCOL_ERROR, f"a packet of type {kind}")

    def _publish(self, flags: int, data: bytes, at: int, end: int) -> Publish | Repeated | None:
        said = read_publish(flags, data, at, end, self.version, self._topics)
        if said.alias:
            said = self._resolve(said)
        if not said.qos:
            return said
        if said.qos == 2:
            if said.packet_id in self._known:
                return Repeated(said.packet_id) if said.packet_id in self._recorded else None
            self._known.add(said.packet_id)
        self.unfinished += 1
        if self.version == MQTT_5 and self.unfinished + len(self._recorded) > self._receive_max:
            raise BadPacketError(
                Code.RECEIVE_MAXIMUM_EXCEEDED, f"more than {self._receive_max} publishes not answered yet"
            )
        return said

    def _resolve(self, said: Publish) -> Publish:
        if said.alias > self._alias_max:
            raise BadPacketError(Code.TOPIC_ALIAS_INVALID, f"topic alias {said.alias}")
        if said.topic:
            self._aliases[said.alias] = said.topic
            return said
        topic = self._aliases.get(said.alias)
        if topic is None:
            raise BadPacketError(Code.PROTOCOL_ERROR, f"topic alias {said.alias} stands for nothing")
        check_topic(topic)
        return Publish(topic, said.payload, said.qos, said.packet_id, said.retain, said.duplicate, said.alias)

    def _released(self, packet_id: int) -> int:
        if packet_id in self._recorded:
            self._recorded.discard(packet_id)
            return Code.SUCCESS
        return Code.PACKET_ID_NOT_FOUND

    def answered(self, answers: Iterable[bytes]) -> None:
        """These go out; what of them is a PUBACK or PUBREC finishes a publish."""
        finished = 0
        for answer in answers:
            first = answer[0]
            if first == PUBACK:
                finished += 1
            elif first == PUBREC:
                finished += 1
                self._answered_twice(answer)
        self.unfinished -= finished

    def _answered_twice(self, answer: bytes) -> None:
        packet_id = answer[2] << 8 | answer[3]
        if answer[1] > 2 and answer[4] >= Code.UNSPECIFIED:
            self._known.discard(packet_id)  # refused: no PUBREL follows
        else:
            self._recorded.add(packet_id)
