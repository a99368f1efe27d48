"""Reading the vectors that stand beside each protocol: frames with their origin and their meaning."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, assert_never

import msgspec
from msgspec import Struct, field

import tracker_protocols
from tracker_protocols import BY_NAME
from tracker_protocols.model import (
    CommandResult,
    Frame,
    Heartbeat,
    HttpRequest,
    Login,
    Message,
    Report,
    Undecoded,
)
from tracker_protocols.protocol import Protocol
from tracker_protocols.wire.decoder import HttpDecoder, StreamDecoder

RECEIVED_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOME = Path(tracker_protocols.__file__).parent


class Vector(Struct, forbid_unknown_fields=True):
    """One conversation. Exactly one of hex, ascii, http, datagrams, publish is set; datagrams are hex, each whole."""

    name: str
    origin: str
    expect: list[dict[str, Any]]
    speaks: str = ""
    hex: str = ""
    ascii: str = ""
    datagrams: list[str] = field(default_factory=list)
    http: dict[str, Any] = field(default_factory=dict)
    publish: dict[str, str] = field(default_factory=dict)
    device: str | None = None

    @property
    def protocol(self) -> Protocol:
        return BY_NAME[self.speaks]

    @property
    def stream(self) -> bytes:
        return self.ascii.encode("latin-1") if self.ascii else bytes.fromhex(self.hex)

    def request(self) -> HttpRequest:
        return HttpRequest(
            self.http.get("method", "GET"),
            self.http["target"],
            {name.lower(): value for name, value in self.http.get("headers", {}).items()},
            self.http.get("body", "").encode(),
        )


@cache
def all_vectors() -> list[Vector]:
    return [
        msgspec.convert({**row, "speaks": name}, Vector)
        for name in BY_NAME
        for row in tomllib.loads((HOME / name / "vectors.toml").read_text())["vector"]
    ]


def stream_vectors() -> list[Vector]:
    return [v for v in all_vectors() if v.hex or v.ascii]


def stream_decoder(vector: Vector) -> StreamDecoder:
    decoder = vector.protocol.decoder(vector.device)
    assert isinstance(decoder, StreamDecoder)
    return decoder


def messages_of(frames: list[Frame]) -> list[Message]:
    return [message for frame in frames for message in frame.messages]


def play(vector: Vector) -> list[Message]:
    """The whole vector, as its transport would bring it."""
    decoder = vector.protocol.decoder(vector.device)
    if vector.http:
        assert isinstance(decoder, HttpDecoder)
        return list(decoder.read_request(vector.request(), RECEIVED_AT).messages)
    if vector.publish:
        payload = vector.publish["body"].encode()
        return messages_of(decoder.receive_publish(vector.publish["topic"], payload, RECEIVED_AT))
    if vector.datagrams:
        return messages_of(
            [f for d in vector.datagrams for f in decoder.receive_datagram(bytes.fromhex(d), RECEIVED_AT)]
        )
    assert isinstance(decoder, StreamDecoder)
    return messages_of(decoder.receive_data(vector.stream, RECEIVED_AT))


def flat(message: Message) -> dict[str, Any]:
    """A message as the flat row that a vector's ``expect`` is compared with."""
    reply = message.reply
    row: dict[str, Any] = {
        "device": message.device,
        "reply": reply.data.hex() if reply else "",
        "status": reply.status if reply else None,
    }
    match message:
        case Login():
            row["kind"] = "login"
        case Heartbeat():
            row |= {"kind": "heartbeat", "attributes": message.attributes}
        case CommandResult():
            row |= {"kind": "command_result", "attributes": message.attributes, "sent_at": message.sent_at}
        case Undecoded():
            row |= {"kind": "undecoded", "reason": message.reason.value, "detail": message.detail}
        case Report():
            row |= {"kind": "report", "attributes": message.attributes, "sent_at": message.sent_at}
            row["network"] = msgspec.to_builtins(message.network)
            if message.fix is None:
                row["fix"] = "none"
            else:
                row |= msgspec.structs.asdict(message.fix)
        case _:
            assert_never(message)
    return row
