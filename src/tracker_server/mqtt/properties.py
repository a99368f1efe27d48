"""MQTT 5's properties: a table of what there is, and which packets may carry it (§2.2.2.2)."""

from __future__ import annotations

from typing import Any, Final

from tracker_server.mqtt.codes import BadPacketError, Code, Kind
from tracker_server.mqtt.fields import Reader, text, varint

Properties = dict[str, Any]

# identifier: name, type, packets that may carry it (kinds by number; 15 stands for a will as well as for AUTH)
TABLE: Final[dict[int, tuple[str, str, frozenset[int]]]] = {
    0x01: ("payload_format_indicator", "byte", frozenset({3, 15})),
    0x02: ("message_expiry_interval", "four", frozenset({3, 15})),
    0x03: ("content_type", "text", frozenset({3, 15})),
    0x08: ("response_topic", "text", frozenset({3, 15})),
    0x09: ("correlation_data", "binary", frozenset({3, 15})),
    0x0B: ("subscription_identifier", "varint", frozenset({3, 8})),
    0x11: ("session_expiry_interval", "four", frozenset({1, 2, 14})),
    0x12: ("assigned_client_identifier", "text", frozenset({2})),
    0x13: ("server_keep_alive", "two", frozenset({2})),
    0x15: ("authentication_method", "text", frozenset({1, 2, 15})),
    0x16: ("authentication_data", "binary", frozenset({1, 2, 15})),
    0x17: ("request_problem_information", "byte", frozenset({1})),
    0x18: ("will_delay_interval", "four", frozenset({15})),
    0x19: ("request_response_information", "byte", frozenset({1})),
    0x1A: ("response_information", "text", frozenset({2})),
    0x1C: ("server_reference", "text", frozenset({2, 14})),
    0x1F: ("reason_string", "text", frozenset({2, 4, 5, 6, 7, 9, 11, 14, 15})),
    0x21: ("receive_maximum", "two", frozenset({1, 2})),
    0x22: ("topic_alias_maximum", "two", frozenset({1, 2})),
    0x23: ("topic_alias", "two", frozenset({3})),
    0x24: ("maximum_qos", "byte", frozenset({2})),
    0x25: ("retain_available", "byte", frozenset({2})),
    0x26: ("user_property", "pair", frozenset({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15})),
    0x27: ("maximum_packet_size", "four", frozenset({1, 2})),
    0x28: ("wildcard_subscription_available", "byte", frozenset({2})),
    0x29: ("subscription_identifier_available", "byte", frozenset({2})),
    0x2A: ("shared_subscription_available", "byte", frozenset({2})),
}
BY_NAME: Final = {name: (number, kind) for number, (name, kind, _) in TABLE.items()}
REPEATABLE: Final = frozenset({"user_property", "subscription_identifier"})


def read_properties(reader: Reader, packet: Kind) -> Properties:
    """The properties that come next, of a packet of this kind. Raises BadPacketError."""
    reader = Reader(reader.take(reader.varint()))
    found: Properties = {}
    while reader.at < reader.end:
        number = reader.varint()
        name, kind, packets = TABLE.get(number, ("", "", frozenset[int]()))
        if packet not in packets:
            raise BadPacketError(Code.MALFORMED, f"property 0x{number:02x} in a packet {packet.name}")
        match kind:
            case "byte":
                value: Any = reader.byte()
            case "two":
                value = reader.two()
            case "four":
                value = reader.four()
            case "varint":
                value = reader.varint()
            case "text":
                value = reader.text()
            case "binary":
                value = reader.binary()
            case _:
                value = (reader.text(), reader.text())
        if name in found and name not in REPEATABLE:
            raise BadPacketError(Code.PROTOCOL_ERROR, f"property {name} twice")
        found[name] = value
    return found


def write_properties(properties: Properties) -> bytes:
    """With their length before them."""
    body = b""
    for name, value in properties.items():
        number, kind = BY_NAME[name]
        body += bytes((number,))
        match kind:
            case "byte":
                body += bytes((value,))
            case "two":
                body += value.to_bytes(2)
            case "four":
                body += value.to_bytes(4)
            case "text":
                body += text(value)
            case _:
                raise AssertionError(f"nobody writes {name}")
    return varint(len(body)) + body
