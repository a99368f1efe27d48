"""``tracker-server decode``: what a frame means and what it is answered, for people and for checks."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Annotated, Any, NoReturn, assert_never

import msgspec
from cyclopts import Parameter
from rich.console import Console

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
from tracker_protocols.wire.decoder import Decoder, HttpDecoder, StreamDecoder

encode = msgspec.json.Encoder(enc_hook=str).encode


def decode(
    protocol: str,
    frames: Annotated[list[str] | None, Parameter(name="HEX")] = None,
    *,
    jsonl: bool = False,
) -> None:
    """Decode frames of one conversation: messages and the replies owed.

    Frames are given in hexadecimal and are one connection's bytes, in order. With --jsonl, JSON lines
    {"sequence": …, "frame": …} are read from standard input and answered one by one.

    Example: tracker-server decode gt06 78780d01086471700328358100093f040d0a

    Parameters
    ----------
    protocol
        A name from `tracker-server protocols`.
    frames
        Bytes in hexadecimal; white space within is ignored.
    jsonl
        Read JSON lines from standard input instead.
    """
    spoken = BY_NAME.get(protocol)
    if spoken is None:
        fail(f"protocol: no protocol is named {protocol!r}; `tracker-server protocols` lists them")
    if jsonl:
        decode_lines(spoken)
    elif frames:
        decode_hex(spoken, frames)
    else:
        fail("HEX: nothing to decode; give frames in hexadecimal, or --jsonl and lines on standard input")


def fail(sentence: str) -> NoReturn:
    """Wrong use: say it on stderr, exit 2."""
    print(f"tracker-server: {sentence}", file=sys.stderr)  # noqa: T201
    raise SystemExit(2)


def decode_lines(protocol: Protocol) -> None:
    """Answer each line of standard input with a line; a new ``sequence`` is a new connection."""
    sequence, decoder = None, protocol.decoder()
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            frame = row["frame"]
            if row.get("sequence") != sequence:
                sequence, decoder = row.get("sequence"), protocol.decoder()
            answer = as_json(read(decoder, frame))
        except (ValueError, KeyError, TypeError) as error:
            answer = {"messages": [], "replies": [], "error": f"this line cannot be read: {error!r}"}
        sys.stdout.buffer.write(encode(answer) + b"\n")
        sys.stdout.buffer.flush()


def read(decoder: Decoder, frame: dict[str, Any]) -> Frame:
    """One frame as the golden rows write it: binary, text, http."""
    now = datetime.now(UTC)
    match frame["kind"]:
        case "text":
            return decoder.read_frame(frame["text"].encode("latin-1"), now)
        case "http":
            if not isinstance(decoder, HttpDecoder):
                raise ValueError(f"{decoder.name} does not speak HTTP")
            headers = {name.lower(): value for name, value in frame.get("headers", {}).items()}
            body = bytes.fromhex(frame.get("hex", ""))
            return decoder.read_request(HttpRequest(frame["method"], frame["uri"], headers, body), now)
        case "binary":
            return decoder.read_frame(bytes.fromhex(frame["hex"]), now)
        case kind:
            raise ValueError(f"frame.kind {kind!r} is not one of binary, text, http")


def decode_hex(protocol: Protocol, frames: list[str]) -> None:
    """Decode one connection's bytes; a table for people on a terminal, else JSON."""
    decoder = protocol.decoder()
    console = Console()
    for text in frames:
        try:
            data = bytes.fromhex(text)
        except ValueError as error:
            fail(f"HEX: {text[:40]!r} is not hexadecimal: {error}")
        now = datetime.now(UTC)
        if isinstance(decoder, StreamDecoder):
            found = decoder.receive_data(data, now)
            if decoder.waiting_bytes:
                console.print(f"[yellow]{decoder.waiting_bytes} bytes of an unfinished frame wait[/]")
        else:
            found = decoder.receive_datagram(data, now)
        for frame in found:
            console.print_json(encode(as_json(frame)).decode())


def as_json(frame: Frame) -> dict[str, Any]:
    """A frame as ``decode`` prints it: messages, and the replies in hexadecimal."""
    return {
        "messages": [message_json(message) for message in frame.messages],
        "replies": [m.reply.data.hex() for m in frame.messages if m.reply is not None and m.reply.data],
    }


def message_json(message: Message) -> dict[str, Any]:
    """One message by its type's name, with the fields that the type has."""
    row: dict[str, Any] = {"device_id": message.device}
    match message:
        case Login():
            return {"type": "login", **row}
        case Heartbeat():
            return {"type": "heartbeat", **row, "attributes": message.attributes}
        case CommandResult():
            return {"type": "command_result", **row, "attributes": message.attributes}
        case Undecoded():
            return {"type": "undecoded", **row, "reason": message.reason.value, "detail": message.detail}
        case Report():
            return {
                "type": "report",
                **row,
                "fix": message.fix,
                "attributes": message.attributes,
                "network": message.network,
                "sent_at": message.sent_at,
            }
        case _:
            assert_never(message)
