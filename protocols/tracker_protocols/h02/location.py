"""A text report with a place: the V kinds, and the same fields wherever another kind carries them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from msgspec import Struct

from tracker_protocols.h02.binary import battery_level
from tracker_protocols.h02.extras import iccid, number, read_extras
from tracker_protocols.h02.status import status_attributes
from tracker_protocols.model import (
    Attributes,
    BadFrame,
    DeviceKey,
    Fix,
    Network,
    Reason,
    Reply,
    Report,
)
from tracker_protocols.wire.fields import MPS_PER_KNOT, check_place, degrees_from_nmea, moment

MIDNIGHT: Final = b"000000"
_HEMISPHERES: Final = frozenset({b"N", b"S", b"E", b"W", b"n", b"s", b"e", b"w"})


class Sentence(Struct, frozen=True, gc=False):
    """One text frame, cut. ``key`` is the identifier as sent; ``device`` the connection's where it is empty."""

    device: DeviceKey | None
    key: bytes
    kind: bytes
    fields: list[bytes]
    body: bytes
    received_at: datetime


class Place(NamedTuple):
    """What the eight fields from the time on say; ``next`` is the field behind the date."""

    fix: Fix | None
    sent_at: datetime | None
    level: int | None
    next: int


def acknowledgement(sentence: Sentence, what: bytes) -> Reply | None:
    """``V4`` with the server's time. Nothing can be addressed to a device without a number."""
    if not sentence.key:
        return None
    at = sentence.received_at
    stamp = b"%04d%02d%02d%02d%02d%02d" % (at.year, at.month, at.day, at.hour, at.minute, at.second)
    return Reply(b"*HQ,%b,V4,%b,%b#" % (sentence.key, what, stamp))


def moment_of(date: bytes, time: bytes) -> datetime:
    """``DDMMYY`` and ``hhmmss``, UTC; without a time, midnight."""
    if len(date) != 6 or len(time) not in {0, 6}:
        raise BadFrame(Reason.NO_SUCH_MOMENT, f"{date[:16]!r} {time[:16]!r}")
    day, clock = int(date), int(time or MIDNIGHT)
    return moment(day % 100, day // 100 % 100, day // 10000, clock // 10000, clock // 100 % 100, clock % 100)


def moment_or_none(date: bytes, time: bytes) -> datetime | None:
    """The same for a report without a place, which is worth keeping without its time."""
    try:
        return moment_of(date, time) if date else None
    except (BadFrame, ValueError):
        return None


def degrees(text: bytes, hemisphere: bytes) -> float:
    """``DDMM.mmmm``; also ``DDMMmmmm`` without its point and ``-DD-M.mmmm`` as some firmware prints it."""
    if text[0] == 0x2D:
        _, whole_degrees, minutes = text.split(b"-")
        text = b"%02d%b" % (int(whole_degrees), minutes.zfill(7))
    elif b"." not in text:
        text = text[:-4] + b"." + text[-4:]
    return degrees_from_nmea(text, hemisphere.upper())


def is_location(fields: Sequence[bytes], time_at: int = 3) -> bool:
    """Whether time, validity, latitude and longitude begin at ``time_at``."""
    if len(fields) < time_at + 6:
        return False
    return fields[time_at + 3] in _HEMISPHERES and fields[time_at + 5] in _HEMISPHERES


def read_place(fields: Sequence[bytes], time_at: int = 3) -> Place:
    """Time, validity, latitude, longitude, speed (knots), course, sometimes battery, date.

    Where no place was measured the numbers are empty or their hemispheres are; where it was but no date is
    known the place is an old one and not told. Both are reports without a fix.
    """
    time, validity, latitude, north, longitude, east, speed, course, date = fields[time_at : time_at + 9]
    after, level = time_at + 9, None
    if len(date) != 6 and len(fields) > after and len(fields[after]) == 6:
        level = battery_level(int(date)) if date.isdigit() else None
        date = fields[after]
        after += 1
    if not (date and latitude and longitude and is_location(fields, time_at)):
        return Place(None, moment_or_none(date, time), level, after)
    valid = (
        validity in {b"A", b"B", b"a", b"b"} or validity.isdigit()
    )  # B: BeiDou; a digit: VI1's character set
    y, x = degrees(latitude, north), degrees(longitude, east)
    check_place(y, x)
    knots, turn = number(speed), number(course)
    fix = Fix(
        moment_of(date, time),
        y,
        x,
        valid,
        None,
        None if knots is None else knots * MPS_PER_KNOT,
        turn,
    )
    return Place(fix, None, level, after)


def with_altitude(fix: Fix, altitude_m: float) -> Fix:
    """The same fix with what was said of its height elsewhere in the frame."""
    return Fix(
        fix.fixed_at, fix.latitude, fix.longitude, fix.valid, altitude_m, fix.speed_mps, fix.course_deg
    )


def read_status(text: bytes) -> Attributes:
    """Eight hexadecimal digits; anything else says nothing."""
    if len(text) != 8:
        return {}
    try:
        return status_attributes(int(text, 16))
    except ValueError:
        return {}


def build_report(
    sentence: Sentence,
    place: Place,
    attributes: Attributes | None = None,
    reply: Reply | None = None,
    record: bytes | None = None,
) -> Report:
    """A report of a place and of all that stands behind its date."""
    fields, at = sentence.fields, place.next
    network: Network | None = None
    fix = place.fix
    said = read_status(fields[at]) if len(fields) > at else {}
    if not said and len(fields) > at + 3 and len(fields[at + 3]) == 8:  # V19: empty, phone, SIM, status
        said = read_status(fields[at + 3])
        if card := iccid(fields[at + 2]):
            said["iccid"] = card
        if fields[at + 1]:
            said["phone"] = fields[at + 1].decode("latin-1")[:32]
        at += 3
    if len(fields) > at + 1:
        network, altitude_m = read_extras(fields[at + 1 :], said)
        if fix and altitude_m is not None:
            fix = with_altitude(fix, altitude_m)
    if place.level is not None:
        said["batteryLevel"] = place.level
    if attributes:
        said |= attributes
    return Report(sentence.device, fix, said, record or sentence.body, network, place.sent_at, reply)


def decode_location(sentence: Sentence) -> Report:
    """V1 is acknowledged, the later kinds (V5, V6, V8, V19, VI1 …) are not."""
    reply = acknowledgement(sentence, b"V1") if sentence.kind == b"V1" else None
    attributes: Attributes | None = {"alarm": "sos"} if sentence.kind == b"SOS" else None
    return build_report(sentence, read_place(sentence.fields), attributes, reply)
