"""Codecs 12, 13, 14 and 15: what a device answers to commands, and what a device at its serial port said.

Source: Teltonika Telematics wiki, "Teltonika Data Sending Protocols" §Codec for communication over GPRS
messages. README.md has the layouts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tracker_protocols.model import BadFrame, CommandResult, DeviceKey, Heartbeat, Reason, Report
from tracker_protocols.teltonika.photo import CAMERA
from tracker_protocols.wire.checksums import crc16_arc
from tracker_protocols.wire.fields import moment_from_ms

CODEC_12, CODEC_13, CODEC_14, CODEC_15 = 0x0C, 0x0D, 0x0E, 0x0F
COMMAND, ANSWER, REFUSAL = 0x05, 0x06, 0x11

AXLES = 8
AXLE_TOTALS = ("loadTruck", "loadTrailer", "totalTruck", "totalTrailer")

VERSIONS = {"Ver": "versionFw", "Hw": "versionHw", "ICCID": "iccid"}
"""Fields of the answers to ``getver`` and ``getinfo`` that have a usual name."""


def framed(data: bytes) -> bytes:
    """A packet as TCP carries it: four zero bytes, length, data, CRC-16/IBM in four bytes."""
    return bytes(4) + len(data).to_bytes(4, "big") + data + crc16_arc(data).to_bytes(4, "big")


def message_12(kind: int, content: bytes) -> bytes:
    """One message of codec 12, framed: kind ``COMMAND`` with ASCII text is what a device obeys."""
    return framed(bytes([CODEC_12, 1, kind]) + len(content).to_bytes(4, "big") + content + b"\x01")


def imei_from_bcd(data: bytes) -> DeviceKey:
    """Fifteen digits in eight bytes, behind a zero."""
    digits = data.hex()
    return digits[1:] if digits[0] == "0" else digits


def is_camera(data: bytes) -> bool:
    """Whether this codec 12 message belongs to a camera's photo transfer."""
    return data[0] == CODEC_12 and len(data) > 7 and data[2] == CAMERA


def read_messages(
    data: bytes, device: DeviceKey | None, *, logged_in: bool
) -> list[CommandResult | Report | Heartbeat]:
    """All messages of a packet, from the codec's id to the second count. No answer is owed to them.

    Codecs 14 and 15 repeat the IMEI: it names the device only where no login did.
    """
    codec, count = data[0], data[1]
    at = 2
    found: list[CommandResult | Report | Heartbeat] = []
    for _ in range(count):
        kind = data[at]
        begin = at + 5
        at = begin + int.from_bytes(data[at + 1 : begin], "big")
        if at >= len(data):
            raise BadFrame(Reason.MALFORMED, "message runs over the end")
        found.append(_read_message(codec, kind, data[begin:at], device, logged_in=logged_in))
    if at + 1 != len(data) or data[at] != count:
        raise BadFrame(Reason.MALFORMED, f"{count} messages end at byte {at} of {len(data)}")
    return found


def _read_message(
    codec: int, kind: int, content: bytes, device: DeviceKey | None, *, logged_in: bool
) -> CommandResult | Report | Heartbeat:
    record = content
    sent_at: datetime | None = None
    if codec in {CODEC_13, CODEC_15}:
        sent_at = moment_from_ms(int.from_bytes(content[:4], "big") * 1000)
        content = content[4:]
    if codec in {CODEC_14, CODEC_15}:
        named = imei_from_bcd(content[:8])
        content = content[8:]
        if codec == CODEC_14 and kind == REFUSAL:  # names the IMEI that the command was meant for
            attributes = {"type": kind, "result": "refused: the IMEI is another", "refusedImei": named}
            return CommandResult(device, attributes, record or b"\x11")
        if not logged_in:
            device = device or named
    attributes: dict[str, Any] = {"type": kind}
    text = _text(content)
    if text is None:
        attributes["result"] = content.hex()
    elif measured := _driver(text) or _axles(text):
        if sent_at is None:
            return Heartbeat(device, measured, record)
        return Report(device, None, measured, record, sent_at=sent_at)
    else:
        attributes["result"] = text
        for part in text.split():
            name, _, value = part.partition(":")
            if value and name in VERSIONS:
                attributes[VERSIONS[name]] = value
    return CommandResult(device, attributes, record or bytes([kind]), sent_at)


def _text(content: bytes) -> str | None:
    if all(0x20 <= byte < 0x7F or byte in b"\r\n\t" for byte in content):
        return content.decode("ascii").strip()
    return None


def _driver(text: str) -> dict[str, Any] | None:
    """``GTSL|6|1|0|12749884|1``: a card reader at the serial port; the fifth field is the card."""
    if not text.startswith("GTSL|"):
        return None
    fields = text.split("|")
    return {"driverUniqueId": fields[4]} if len(fields) > 4 and fields[4] else None


def _axles(text: str) -> dict[str, Any] | None:
    """``UUUUww`` … ``SSS``: a weighing computer; eight axles, then the loads of truck and trailer."""
    if not (text.startswith("UUUUww") and text.endswith("SSS")):
        return None
    try:
        weights = [float(field) for field in text[6:-4].split(";")]
    except ValueError:
        return None
    if len(weights) < AXLES + len(AXLE_TOTALS):
        return None
    axles = {f"axle{number}": weight for number, weight in enumerate(weights[:AXLES], 1)}
    return axles | dict(zip(AXLE_TOTALS, weights[AXLES:], strict=False))
