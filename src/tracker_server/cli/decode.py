"""``tracker-server decode``: what a frame means and what it is answered, for people and for checks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, assert_never

from cyclopts import Parameter

from tracker_server.cli.common import say, tell, wrong
from tracker_server.cli.output import table_cell, visible
from tracker_server.cli.values import moment_of
from tracker_server.exports.cells import iso, json_bytes

if TYPE_CHECKING:
    from tracker_protocols.json.mapping import Mapping
    from tracker_protocols.model import Frame, Message
    from tracker_protocols.protocol import Protocol
    from tracker_protocols.wire.decoder import Decoder


def decode(  # noqa: PLR0913  (each is a flag)
    protocol: str,
    /,
    *frames: Annotated[str, Parameter(name="HEX")],
    jsonl: Annotated[bool, Parameter(negative="")] = False,
    text: Annotated[bool, Parameter(negative="")] = False,
    udp: Annotated[bool, Parameter(negative="")] = False,
    form: Annotated[Literal["table", "json"], Parameter(name="--format")] = "table",
    topic: str | None = None,
    mapping: Path | None = None,
    received_at: str | None = None,
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
    text
        HEX is not hexadecimal but text as the tracker sends it, with its line ends as backslash r and n.
    udp
        Each HEX is a datagram of its own, not a part of a stream.
    form
        Lines for people, or JSON: one array of frames.
    topic
        Each HEX is a payload published by MQTT under this topic.
    mapping
        A TOML file with a mapping, as it stands under [mappings.NAME] in the settings, to try it (protocol json).
    received_at
        When the frames came, in ISO 8601, which some of them are dated by. Default: now.
    """
    from tracker_protocols import BY_NAME

    spoken = BY_NAME.get(protocol)
    if spoken is None:
        from difflib import get_close_matches

        near = get_close_matches(protocol, BY_NAME, 1)
        hint = f"did you mean {near[0]!r}?" if near else "`tracker-server protocols` lists them"
        wrong(f"PROTOCOL: no protocol is named {protocol!r}; {hint}")
    moment = moment_of("--received-at", received_at) or datetime.now(UTC)
    tried = None
    if mapping is not None:
        tried = _install(protocol, mapping)
        topic = topic or "a/topic"
    if jsonl:
        if frames:
            wrong("--jsonl: the frames come from standard input; leave HEX away, or --jsonl")
        decode_lines(spoken, moment)
    elif frames:
        pieces = [bytes_of(frame, text=text) for frame in frames]
        # where a payload that is tried names no device, the connection does
        device = "client-id" if mapping is not None else None
        found = decode_frames(spoken, pieces, moment, udp=udp, topic=topic, form=form, device=device)
        if tried is not None:
            _tell_of_no_place(tried, found)
    else:
        wrong("HEX: nothing to decode; give frames in hexadecimal, or --jsonl and lines on standard input")


def _tell_of_no_place(mapping: Mapping, frames: list[Frame]) -> None:
    """What has no place is stored as telemetry, which is seldom what whoever tries a mapping wants."""
    from tracker_protocols.model import Heartbeat, Report

    placeless = [
        one
        for frame in frames
        for one in frame.messages
        if (isinstance(one, Heartbeat) and not mapping.only) or (isinstance(one, Report) and one.fix is None)
    ]
    if placeless:
        say(
            f"tracker-server: records without a place: {len(placeless)}; nothing, or 0 and 0, is at latitude (path "
            f"{mapping.latitude!r}) and longitude (path {mapping.longitude!r})"
        )


def _install(protocol: str, file: Path) -> Mapping:
    """Let the protocol json read by this mapping, or exit 2."""
    import msgspec

    from tracker_protocols.json.decoder import JsonDecoder
    from tracker_protocols.json.mapping import Compiled, Mapping, MappingError
    from tracker_server.model.reading import UnreadableError, read_toml

    if protocol != "json":
        wrong(f"--mapping: belongs to the protocol json, not to {protocol}")
    try:
        tree = read_toml(file)
        for _ in range(2):  # the section's heading may stand in the file
            if set(tree) == {"mappings"} or (len(tree) == 1 and isinstance(next(iter(tree.values())), dict)):
                tree = next(iter(tree.values()))
        mapping = msgspec.convert(tree, Mapping)
        JsonDecoder.mappings = {"": Compiled(mapping, str(file))}
    except (OSError, UnreadableError) as error:
        wrong(f"--mapping: {file}: cannot be read as TOML: {error}")
    except (msgspec.ValidationError, MappingError) as error:
        wrong(f"--mapping: {file}: {error}")
    return mapping


def bytes_of(frame: str, *, text: bool) -> bytes:
    """The bytes that an argument means, or exit 2."""
    if not frame.strip():
        wrong("HEX: is empty; write a frame in hexadecimal, or --text before one of text")
    try:
        if text:
            return frame.replace("\\r", "\r").replace("\\n", "\n").encode("latin-1")
        return bytes.fromhex(frame)
    except UnicodeEncodeError:
        wrong(
            f"HEX: {frame[:40]!r} holds characters that are no bytes of ISO 8859-1; write it in hexadecimal"
        )
    except ValueError:
        wrong(
            f"HEX: {frame[:40]!r} is not hexadecimal; write two digits of 0-9 and a-f for each byte, "
            "or --text before a frame of text"
        )


# ---------------------------------------------------------------------- JSON lines


def decode_lines(protocol: Protocol, received_at: datetime) -> None:
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
            answer = as_json(read(decoder, frame, received_at))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            answer = {"messages": [], "replies": [], "error": f"this line cannot be read: {error!r}"}
        sys.stdout.buffer.write(json_bytes(answer) + b"\n")
        sys.stdout.buffer.flush()


def read(decoder: Decoder, frame: dict[str, Any], received_at: datetime) -> Frame:
    """One frame as a JSON line has it: ``kind`` is binary, text, http or mqtt. Raises ValueError and KeyError."""
    from tracker_protocols.model import HttpRequest
    from tracker_protocols.wire.decoder import HttpDecoder

    match frame["kind"]:
        case "text":
            return decoder.read_frame(frame["text"].encode("latin-1"), received_at)
        case "http":
            if not isinstance(decoder, HttpDecoder):
                raise ValueError(f"{decoder.name} does not speak HTTP")
            headers = {name.lower(): value for name, value in frame.get("headers", {}).items()}
            body = bytes.fromhex(frame.get("hex", ""))
            return decoder.read_request(
                HttpRequest(frame["method"], frame["uri"], headers, body), received_at
            )
        case "mqtt":
            (read, *_) = decoder.receive_publish(
                frame.get("topic") or "", bytes.fromhex(frame["hex"]), received_at
            )
            return read
        case "binary":
            return decoder.read_frame(bytes.fromhex(frame["hex"]), received_at)
        case kind:
            raise ValueError(f"frame.kind {kind!r} is not one of binary, text, http, mqtt")


# ---------------------------------------------------------------------- arguments


def decode_frames(
    protocol: Protocol,
    pieces: list[bytes],
    received_at: datetime,
    *,
    udp: bool,
    topic: str | None,
    form: str,
    device: str | None = None,
) -> list[Frame]:
    """Decode one connection's bytes, or some datagrams, print them, and answer them. ``device``: what the connection calls
    itself.
    """
    from tracker_protocols.wire.decoder import StreamDecoder

    decoder = protocol.decoder(device)
    found: list[Frame] = []
    for piece in pieces:
        if topic is not None:
            found += decoder.receive_publish(topic, piece, received_at)
        elif isinstance(decoder, StreamDecoder) and not udp:
            found += decoder.receive_data(piece, received_at)
        else:
            found += decoder.receive_datagram(piece, received_at)
    if form == "json":
        frames = [{"frame": frame.data.hex(), **as_json(frame)} for frame in found]
        tell(json_bytes(frames).decode())
    else:
        for number, frame in enumerate(found, 1):
            for line in lines_of(number, frame):
                tell(line)
    if decoder.noise_bytes:
        say(f"tracker-server: {decoder.noise_bytes} bytes belong to no frame of {protocol.name}")
    if isinstance(decoder, StreamDecoder) and decoder.waiting_bytes:
        say(f"tracker-server: {decoder.waiting_bytes} bytes are the beginning of a frame that is not whole")
    return found


def lines_of(number: int, frame: Frame) -> Iterator[str]:
    """A frame as people read it: its bytes, what it says, what it is answered."""
    yield f"frame {number}, {len(frame.data)} bytes: {frame.data.hex()}"
    for message in frame.messages:
        row = message_json(message)
        yield f"  {row.pop('type')}"
        fix = row.pop("fix", None)
        if fix is not None:
            row |= {name: getattr(fix, name) for name in fix.__struct_fields__}
        attributes = row.pop("attributes", None) or {}
        for name, value in {**row, **attributes}.items():
            if value is not None:
                yield f"    {visible(name):<14} {value_of(value)}"
        if message.reply is not None and message.reply.data:
            yield f"    {'reply':<14} {message.reply.data.hex()}"
    yield ""


def value_of(value: Any) -> str:
    """A field's value in one line, as precise as it is."""
    match value:
        case datetime():
            return iso(value)
        case str() | bool():
            return table_cell(value)
        case _:
            return visible(json_bytes(value).decode())


def as_json(frame: Frame) -> dict[str, Any]:
    """A frame as ``decode`` prints it: messages, and the replies in hexadecimal."""
    return {
        "messages": [message_json(message) for message in frame.messages],
        "replies": [m.reply.data.hex() for m in frame.messages if m.reply is not None and m.reply.data],
    }


def message_json(message: Message) -> dict[str, Any]:
    """One message by its type's name, with the fields that the type has."""
    from tracker_protocols.model import CommandResult, Heartbeat, Login, Report, Undecoded

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
