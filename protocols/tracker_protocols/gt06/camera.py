"""Cameras: events with files (0x95), photos asked for block by block (0x35, 0x36) or sent (0x41)."""

from __future__ import annotations

from base64 import b64encode
from typing import Final

from tracker_protocols.gt06.alarms import EVENTS, add_alarm
from tracker_protocols.gt06.fields import fix_of, number, time_at, unix_time
from tracker_protocols.gt06.frames import message
from tracker_protocols.model import Attributes, Heartbeat, Reply, Report
from tracker_protocols.wire.fields import MPS_PER_KMH

PHOTO_DATA: Final = 0x36
PHOTO_BLOCK_BYTES: Final = 1024  # what one request asks for
PHOTOS_MAX: Final = 4  # photos under way at once on one connection; a device sends one after another
JC400_MARK: Final = b"\xff\xff"


def event(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x95: time and event alone (JC100); or time, latitude, longitude, course and flags, event, its data (2),
    names of files. The JC400 puts ``ffff`` and a version before, and satellites, speed (2), voltage (0.1 V)
    in between.
    """
    attributes: Attributes = {}
    if len(content) == 7:
        attributes["event"] = content[6]
        add_alarm(attributes, "general" if content[6] == 0x01 else EVENTS.get(content[6]))
        return Report(None, None, attributes, record, None, time_at(content, 0), reply)
    if content[:2] == JC400_MARK:
        attributes["sat"] = content[9] & 0x0F
        place, flags, speed = 10, number(content, 18, 2), number(content, 20, 2) * MPS_PER_KMH
        attributes["power"] = number(content, 22, 2) / 10
        sent_at, at = time_at(content, 3), 24
    else:
        place, flags, speed = 6, number(content, 14, 2), 0.0
        sent_at, at = time_at(content, 0), 16
    fix = None
    if sent_at:
        latitude, longitude = number(content, place, 4), number(content, place + 4, 4)
        fix = fix_of(sent_at, latitude, longitude, speed, flags, attributes)
    code = attributes["event"] = number(content, at, 1)
    attributes["eventData"] = number(content, at + 1, 2)
    add_alarm(attributes, EVENTS.get(code))
    if files := content[at + 3 :].decode("latin-1").strip("\0"):
        attributes["eventFiles"] = files
    return Report(None, fix, attributes, record, None, sent_at, reply)


def photo_request(photo: int, offset: int, size: int) -> Reply:
    """0x36 of the server: photo, where the next block begins, how long it is."""
    wanted = min(size - offset, PHOTO_BLOCK_BYTES)
    content = photo.to_bytes(4, "big") + offset.to_bytes(4, "big") + wanted.to_bytes(2, "big")
    return Reply(message(PHOTO_DATA, content))


def photo_begins(content: bytes, record: bytes, photos: dict[int, int]) -> Heartbeat:
    """0x35 of the X1: time, fix state, latitude, longitude, camera, cause, format, size (4), photo (4).

    ``photos`` remembers the sizes of those under way; the answer asks for the first block.
    """
    size, photo = number(content, 18, 4), number(content, 22, 4)
    while len(photos) >= PHOTOS_MAX:
        photos.pop(next(iter(photos)))
    photos[photo] = size
    attributes: Attributes = {"photo": photo, "photoSize": size, "camera": content[15]}
    return Heartbeat(None, attributes, record, photo_request(photo, 0, size))


def photo_block(content: bytes, record: bytes, photos: dict[int, int]) -> Report:
    """0x36 in a long frame: photo, offset, length (2), data; kept in base 64. The answer asks for the next."""
    photo, offset, size = number(content, 0, 4), number(content, 4, 4), number(content, 8, 2)
    data = content[10 : 10 + size]
    attributes: Attributes = {"photo": photo, "photoOffset": offset, "photoData": b64encode(data).decode()}
    whole, end, reply = photos.get(photo), offset + len(data), None
    if whole is not None:
        attributes["photoSize"] = whole
        if end < whole and data:
            reply = photo_request(photo, end, whole)
        else:
            del photos[photo]
    return Report(None, None, attributes, record, reply=reply)


def media_block(content: bytes, record: bytes, reply: Reply | None) -> Report:
    """0x41 of the WD-209: serial number (8), Unix time, place (14), cell (8), media (4), size (4), type,
    format, event, packet (2), data. Kept block by block in base 64.
    """
    attributes: Attributes = {
        "media": number(content, 34, 4),
        "mediaSize": number(content, 38, 4),
        "mediaType": number(content, 42, 1),
        "mediaFormat": number(content, 43, 1),
        "event": number(content, 44, 1),
        "mediaPacket": number(content, 45, 2),
        "mediaData": b64encode(content[47:]).decode(),
    }
    return Report(None, None, attributes, record, None, unix_time(number(content, 8, 4)), reply)
