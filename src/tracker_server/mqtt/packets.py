"""The packets of MQTT 3.1.1 and 5 as bytes, read and written. No socket, no state.

Source: OASIS MQTT 3.1.1 (2014-10-29) and MQTT 5.0 (2019-03-07); section numbers are of the latter.
"""

from __future__ import annotations

from struct import Struct as Layout
from typing import Final

from msgspec import Struct

from tracker_server.mqtt.codes import BadPacketError, Code, Kind
from tracker_server.mqtt.fields import Reader, read_text, text, varint
from tracker_server.mqtt.properties import Properties, read_properties, write_properties

MQTT_3_1_1: Final = 4
MQTT_5: Final = 5
TOPICS_MAX: Final = 1_000  # remembered of one connection

OLD_CONNACK: Final = {
    Code.SUCCESS: 0,
    Code.UNSUPPORTED_VERSION: 1,
    Code.CLIENT_ID_NOT_VALID: 2,
    Code.SERVER_UNAVAILABLE: 3,
    Code.BAD_CREDENTIALS: 4,
    Code.NOT_AUTHORIZED: 5,
}
"""What MQTT 3.1.1 says in a CONNACK; a reason that it has no word for closes the connection unsaid."""


class Will(Struct, frozen=True):
    """What a client wants to be said when it is lost, so many seconds afterwards."""

    topic: str
    payload: bytes
    qos: int
    delay_s: int = 0


class Connect(Struct, frozen=True):
    """§3.1."""

    version: int
    client_id: str
    clean: bool
    keep_alive_s: int
    user: str | None = None
    password: bytes | None = None
    will: Will | None = None
    session_expiry_s: int = 0
    receive_max: int = 65_535
    packet_bytes_max: int = 268_435_460
    authentication_method: str = ""


class Publish(Struct, frozen=True, gc=False):
    """§3.3. ``packet_id`` is 0 at QoS 0; ``alias`` is 0 where there is none."""

    topic: str
    payload: bytes
    qos: int = 0
    packet_id: int = 0
    retain: bool = False
    duplicate: bool = False
    alias: int = 0


class Subscribe(Struct, frozen=True):
    """§3.8: filters, each with the QoS that is asked for."""

    packet_id: int
    filters: tuple[tuple[str, int], ...]


class Unsubscribe(Struct, frozen=True):
    """§3.10."""

    packet_id: int
    filters: tuple[str, ...]


class Acknowledged(Struct, frozen=True, gc=False):
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""

    kind: Kind
    packet_id: int
    code: int = 0


class Disconnect(Struct, frozen=True):
    """§3.14. ``session_expiry_s`` where it is changed."""

    code: int = 0
    session_expiry_s: int | None = None


# ------------------------------------------------------------------------------------------------- reading


def read_connect(body: bytes) -> Connect:
    """§3.1. Raises BadPacketError; an unknown version is one with UNSUPPORTED_VERSION."""
    reader = Reader(body)
    name = reader.binary()
    version = reader.byte()
    if name != b"MQTT" or version not in {MQTT_3_1_1, MQTT_5}:
        raise BadPacketError(Code.UNSUPPORTED_VERSION, f"protocol {name[:10]!r} of level {version}")
    flags = reader.byte()
    will_flag, will_qos = bool(flags & 4), flags >> 3 & 3
    if flags & 1 or will_qos == 3 or (not will_flag and flags & 0x38):
        raise BadPacketError(Code.MALFORMED, f"connect flags 0x{flags:02x}")
    has_user, has_password = bool(flags & 0x80), bool(flags & 0x40)
    if has_password and not has_user and version == MQTT_3_1_1:
        raise BadPacketError(Code.MALFORMED, "a password without a user name")
    keep_alive_s = reader.two()
    new = version == MQTT_5
    properties = read_properties(reader, Kind.CONNECT) if new else {}
    client_id = reader.text()
    will = _will(reader, will_qos, new=new) if will_flag else None
    user = reader.text() if has_user else None
    password = reader.binary() if has_password else None
    reader.finish()
    clean = bool(flags & 2)
    receive_max = properties.get("receive_maximum", 65_535)
    packet_bytes_max = properties.get("maximum_packet_size", 268_435_460)
    if not receive_max or not packet_bytes_max:
        raise BadPacketError(Code.PROTOCOL_ERROR, "a maximum of 0")
    return Connect(
        version,
        client_id,
        clean,
        keep_alive_s,
        user,
        password,
        will,
        properties.get("session_expiry_interval", 0) if new else 0 if clean else 0xFFFF_FFFF,
        receive_max,
        packet_bytes_max,
        properties.get("authentication_method", ""),
    )


def _will(reader: Reader, qos: int, *, new: bool) -> Will:
    properties = read_properties(reader, Kind.AUTH) if new else {}  # a will has properties of its own
    topic = reader.text()
    check_topic(topic)
    return Will(topic, reader.binary(), qos, properties.get("will_delay_interval", 0))


def read_publish(
    flags: int, data: bytes, at: int, end: int, version: int, topics: dict[bytes, str]
) -> Publish:
    """§3.3: ``flags`` are the lower four bits of the first byte; the body is ``data[at:end]``. An empty topic is allowed
    with an alias. ``topics`` remembers those of a connection that were read already.
    """
    qos = flags >> 1 & 3
    if qos == 3 or (flags & 8 and not qos):
        raise BadPacketError(Code.MALFORMED, f"publish flags 0x{flags:x}")
    until = at + 2 + (data[at] << 8 | data[at + 1]) if at + 1 < end else end + 1
    after = until + 2 if qos else until
    if after > end:
        raise BadPacketError(Code.MALFORMED, "the packet is shorter than its fields")
    raw = data[at + 2 : until]
    topic = topics.get(raw)
    if topic is None:
        topic = _topic(raw, topics)
    packet_id = data[until] << 8 | data[until + 1] if qos else 0
    if qos and not packet_id:
        raise BadPacketError(Code.PROTOCOL_ERROR, "packet identifier 0")
    alias = 0
    if version == MQTT_5:
        if after < end and not data[after]:
            after += 1
        else:
            reader = Reader(data[after:end])
            properties = read_properties(reader, Kind.PUBLISH)
            after += reader.at
            alias = properties.get("topic_alias", 0)
            if "topic_alias" in properties and not alias:
                raise BadPacketError(Code.TOPIC_ALIAS_INVALID, "topic alias 0")
    if not topic and not alias:
        check_topic(topic)
    return Publish(topic, data[after:end], qos, packet_id, bool(flags & 1), bool(flags & 8), alias)


def _topic(raw: bytes, topics: dict[bytes, str]) -> str:
    topic = read_text(raw)
    if topic:
        check_topic(topic)
    if len(topics) >= TOPICS_MAX:
        topics.clear()
    topics[raw] = topic
    return topic


def check_topic(topic: str) -> None:
    """§4.7.3: a name to publish on has no wildcards and is not empty."""
    if not topic or "+" in topic or "#" in topic:
        raise BadPacketError(Code.TOPIC_NAME_INVALID, f"topic {topic[:80]!r}")


def read_subscribe(body: bytes, version: int) -> Subscribe:
    """§3.8."""
    reader = Reader(body)
    packet_id = _packet_id(reader)
    if version == MQTT_5 and "subscription_identifier" in read_properties(reader, Kind.SUBSCRIBE):
        raise BadPacketError(Code.SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED, "a subscription identifier")
    filters: list[tuple[str, int]] = []
    while reader.at < reader.end:
        text, options = reader.text(), reader.byte()
        reserved = 0xC0 if version == MQTT_5 else 0xFC
        if options & 3 == 3 or options & reserved or options >> 4 & 3 == 3:
            raise BadPacketError(Code.MALFORMED, f"subscription options 0x{options:02x}")
        filters.append((text, options & 3))
    if not filters:
        raise BadPacketError(Code.PROTOCOL_ERROR, "a subscription to nothing")
    return Subscribe(packet_id, tuple(filters))


def read_unsubscribe(body: bytes, version: int) -> Unsubscribe:
    """§3.10."""
    reader = Reader(body)
    packet_id = _packet_id(reader)
    if version == MQTT_5:
        read_properties(reader, Kind.UNSUBSCRIBE)
    filters: list[str] = []
    while reader.at < reader.end:
        filters.append(reader.text())
    if not filters:
        raise BadPacketError(Code.PROTOCOL_ERROR, "nothing to unsubscribe from")
    return Unsubscribe(packet_id, tuple(filters))


def read_acknowledged(kind: Kind, body: bytes, version: int) -> Acknowledged:
    """§3.4 to §3.7."""
    reader = Reader(body)
    packet_id = _packet_id(reader)
    code = 0
    if version == MQTT_5 and reader.at < reader.end:
        code = reader.byte()
        if reader.at < reader.end:
            read_properties(reader, kind)
    reader.finish()
    return Acknowledged(kind, packet_id, code)


def read_admission(body: bytes, version: int) -> tuple[int, Properties]:
    """§3.2, CONNACK: the code of this version, and what the server lets us do. A server of another version may answer in
    that.
    """
    reader = Reader(body)
    reader.byte()
    code = reader.byte()
    properties = read_properties(reader, Kind.CONNACK) if version == MQTT_5 and reader.at < reader.end else {}
    return code, properties


def read_granted(body: bytes, version: int) -> tuple[int, ...]:
    """§3.9, §3.11, SUBACK and UNSUBACK: a code for each filter; none in an UNSUBACK before MQTT 5."""
    reader = Reader(body)
    reader.two()
    if version == MQTT_5:
        read_properties(reader, Kind.SUBACK)
    return tuple(reader.rest())


def read_disconnect(body: bytes, version: int) -> Disconnect:
    """§3.14."""
    reader = Reader(body)
    if version != MQTT_5 or not body:
        reader.finish()
        return Disconnect()
    code = reader.byte()
    properties = read_properties(reader, Kind.DISCONNECT) if reader.at < reader.end else {}
    reader.finish()
    return Disconnect(code, properties.get("session_expiry_interval"))


def _packet_id(reader: Reader) -> int:
    packet_id = reader.two()
    if not packet_id:
        raise BadPacketError(Code.PROTOCOL_ERROR, "packet identifier 0")
    return packet_id


# ------------------------------------------------------------------------------------------------- writing


def packet(kind: Kind, body: bytes, flags: int = 0) -> bytes:
    """A whole packet."""
    return bytes((kind << 4 | flags,)) + varint(len(body)) + body


def connect(said: Connect) -> bytes:
    """A client's first packet."""
    flags = (2 if said.clean else 0) | (0x80 if said.user is not None else 0)
    flags |= 0x40 if said.password is not None else 0
    if said.will is not None:
        flags |= 4 | said.will.qos << 3
    body = text("MQTT") + bytes((said.version, flags)) + said.keep_alive_s.to_bytes(2)
    if said.version == MQTT_5:
        body += write_properties(
            {
                "session_expiry_interval": said.session_expiry_s,
                "receive_maximum": said.receive_max,
                "maximum_packet_size": said.packet_bytes_max,
            }
        )
    body += text(said.client_id)
    if said.will is not None:
        if said.version == MQTT_5:
            body += write_properties({"will_delay_interval": said.will.delay_s})
        body += text(said.will.topic) + len(said.will.payload).to_bytes(2) + said.will.payload
    if said.user is not None:
        body += text(said.user)
    if said.password is not None:
        body += len(said.password).to_bytes(2) + said.password
    return packet(Kind.CONNECT, body)


def connack(
    version: int, code: Code, *, present: bool = False, properties: Properties | None = None
) -> bytes:
    """§3.2; empty where MQTT 3.1.1 has no word for the reason."""
    if version == MQTT_5:
        return packet(Kind.CONNACK, bytes((present, code)) + write_properties(properties or {}))
    old = OLD_CONNACK.get(code)
    return b"" if old is None else packet(Kind.CONNACK, bytes((present, old)))


def publish(version: int, said: Publish) -> bytes:
    """§3.3."""
    body = text(said.topic)
    if said.qos:
        body += said.packet_id.to_bytes(2)
    if version == MQTT_5:
        body += b"\0"
    flags = (8 if said.duplicate else 0) | said.qos << 1 | (1 if said.retain else 0)
    return packet(Kind.PUBLISH, body + said.payload, flags)


def acknowledge(version: int, kind: Kind, packet_id: int, code: int = Code.SUCCESS) -> bytes:
    """PUBACK, PUBREC, PUBREL or PUBCOMP; success needs no reason code."""
    first = kind << 4 | (2 if kind is Kind.PUBREL else 0)
    if version != MQTT_5 or not code:
        return bytes((first, 2, packet_id >> 8, packet_id & 0xFF))
    return bytes((first, 3, packet_id >> 8, packet_id & 0xFF, code))


def puback(packet_id: int) -> bytes:
    """That all is well, in either version: ``acknowledge`` of the most frequent kind."""
    return PUBACK_OF(0x40, 2, packet_id)


def subscribe(version: int, said: Subscribe) -> bytes:
    """§3.8."""
    body = said.packet_id.to_bytes(2) + (b"\0" if version == MQTT_5 else b"")
    body += b"".join(text(name) + bytes((qos,)) for name, qos in said.filters)
    return packet(Kind.SUBSCRIBE, body, 2)


def unsubscribe(version: int, said: Unsubscribe) -> bytes:
    """§3.10."""
    body = said.packet_id.to_bytes(2) + (b"\0" if version == MQTT_5 else b"")
    return packet(Kind.UNSUBSCRIBE, body + b"".join(map(text, said.filters)), 2)


def suback(version: int, kind: Kind, packet_id: int, codes: list[int]) -> bytes:
    """SUBACK or UNSUBACK; before MQTT 5 the latter has no codes, and a refusal is always 0x80."""
    if version == MQTT_5:
        return packet(kind, packet_id.to_bytes(2) + b"\0" + bytes(codes))
    codes = [] if kind is Kind.UNSUBACK else [min(code, 0x80) for code in codes]
    return packet(kind, packet_id.to_bytes(2) + bytes(codes))


def disconnect(version: int, code: Code) -> bytes:
    """A server's farewell; MQTT 3.1.1 has none."""
    return bytes((Kind.DISCONNECT << 4, 1, code)) if version == MQTT_5 else b""


PUBACK_OF: Final = Layout(">BBH").pack
PINGREQ: Final = bytes((Kind.PINGREQ << 4, 0))
PINGRESP: Final = bytes((Kind.PINGRESP << 4, 0))
GOODBYE: Final = bytes((Kind.DISCONNECT << 4, 0))
