"""Sentences that hold a fix: NMEA 0183's own, and those that makers derived from them.

Sources: NMEA 0183 (v2.3 to v4.1), and the manuals named in README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from tracker_protocols.model import Attributes, BadFrame, DeviceKey, Fix, Reason
from tracker_protocols.t55.clock import Clock, moment_of
from tracker_protocols.wire.fields import (
    MPS_PER_KMH,
    MPS_PER_KNOT,
    check_place,
    degrees_from_nmea,
    device_key,
    moment,
)


class Said(Struct, frozen=True, gc=False):
    """What a sentence said: a fix, measurements, whose they are; ``sent_at`` where there is no fix."""

    fix: Fix | None = None
    attributes: Attributes = {}
    device: DeviceKey | None = None
    sent_at: datetime | None = None


class Sentence(Struct, gc=False):
    """One sentence to be read: its fields (the first is its name), the text behind the ``*``, and when."""

    fields: list[str]
    tail: str
    clock: Clock
    received_at: datetime

    @property
    def padded(self) -> list[str]:
        return self.fields + PADDING

    def at(self, time: str) -> datetime:
        return self.clock.at(time, self.received_at)

    def dated(self, moment: datetime) -> None:
        self.clock.said = moment
        self.clock.heard_at = self.received_at


Reader = Callable[[Sentence], Said]

PADDING = [""] * 24  # a field that is missing at the end is an empty one
VALID = frozenset("ABab")
STORED = frozenset("BWbw")  # Cypress: valid and invalid, from the store
SPEED_MPS_MAX = 20_000.0  # a receiver in orbit does 8,000; more is no speed


def number(text: str) -> float | None:
    """A number, or None where there is none."""
    try:
        read = float(text)
    except ValueError:
        return None
    return read if abs(read) < 1e15 else None  # and not a NaN


def put(attributes: Attributes, name: str, text: str, *, whole: bool = False) -> None:
    """One measurement, if it is a number."""
    read = number(text)
    if read is not None:
        attributes[name] = int(read) if whole else read


def speed_mps(text: str, unit_mps: float) -> float | None:
    """A speed, if there is one that can be."""
    if not text:
        return None
    speed = float(text) * unit_mps
    return speed if 0 <= speed <= SPEED_MPS_MAX else None


def course_deg(text: str) -> float | None:
    """A course, if there is one."""
    if not text:
        return None
    course = float(text)
    return course if 0 <= course <= 360 else None


def rmc(sentence: Sentence) -> Said:
    """``$--RMC,hhmmss,A,ddmm.m,N,dddmm.m,E,knots,course,ddmmyy,…``, or, before the first fix, mostly empty."""
    try:
        _, time, status, north, ns, east, ew, speed, course, date = sentence.fields[:10]
    except ValueError:
        raise BadFrame(Reason.MALFORMED, f"RMC of {len(sentence.fields)} fields") from None
    if date and time:
        fixed_at = moment_of(date, time)
        sentence.dated(fixed_at)
    else:
        fixed_at = sentence.at(time)
    attributes: Attributes = {}
    device = _appended(sentence.tail, attributes) if "," in sentence.tail else None
    if status in STORED:
        attributes["archive"] = True
    if not north:
        return Said(None, attributes, device)
    latitude = degrees_from_nmea(north, ns.upper())
    longitude = degrees_from_nmea(east, ew.upper())
    check_place(latitude, longitude)
    return Said(
        Fix(
            fixed_at,
            latitude,
            longitude,
            status in VALID,
            None,
            speed_mps(speed, MPS_PER_KNOT),
            course_deg(course),
        ),
        attributes,
        device,
    )


def _appended(tail: str, attributes: Attributes) -> DeviceKey | None:
    """Behind the checksum: satellites, IMEI, ignition, fuel, battery, then the maker's own ``io<N>``."""
    extra = [field.strip() for field in tail.split(",")[1:40]]
    if len(extra) < 4 or not (extra[1].isdigit() and len(extra[1]) >= 10):
        return None  # another maker's: an event's name, voltages; no layout is known
    put(attributes, "sat", extra[0], whole=True)
    attributes["ignition"] = extra[2] == "1"
    put(attributes, "fuel", extra[3])
    if len(extra) > 4:
        put(attributes, "battery", extra[4])
    for index, text in enumerate(extra[5:], 1):
        put(attributes, f"io{index}", text)
    return device_key(extra[1])


def place(north: str, ns: str, east: str, ew: str) -> tuple[float, float]:
    """Degrees from two NMEA angles, on the globe."""
    latitude, longitude = degrees_from_nmea(north, ns.upper()), degrees_from_nmea(east, ew.upper())
    check_place(latitude, longitude)
    return latitude, longitude


def gga(sentence: Sentence) -> Said:
    """``$--GGA,hhmmss,ddmm.m,N,dddmm.m,E,quality,satellites,hdop,altitude,M,…``"""
    _, time, north, ns, east, ew, quality, satellites, hdop, altitude = sentence.padded[:10]
    return _with_dilution(
        sentence.at(time), (north, ns, east, ew), (satellites, hdop, altitude), valid=quality not in {"0", ""}
    )


def gns(sentence: Sentence) -> Said:
    """As GGA, but one mode letter for each satellite system, N for none."""
    _, time, north, ns, east, ew, modes, satellites, hdop, altitude = sentence.padded[:10]
    valid = bool(set(modes.upper()) - {"N"})
    return _with_dilution(sentence.at(time), (north, ns, east, ew), (satellites, hdop, altitude), valid=valid)


def _with_dilution(
    fixed_at: datetime, angles: tuple[str, str, str, str], more: tuple[str, str, str], *, valid: bool
) -> Said:
    satellites, hdop, altitude = more
    attributes: Attributes = {}
    put(attributes, "sat", satellites, whole=True)
    put(attributes, "hdop", hdop)
    if not angles[0]:
        return Said(None, attributes)
    latitude, longitude = place(*angles)
    return Said(Fix(fixed_at, latitude, longitude, valid, number(altitude)), attributes)


def gll(sentence: Sentence) -> Said:
    """``$--GLL,ddmm.m,N,dddmm.m,E,hhmmss,A``; before NMEA 2 the last two are missing."""
    _, north, ns, east, ew, time, status = sentence.padded[:7]
    if not north:
        return Said()
    latitude, longitude = place(north, ns, east, ew)
    attributes: Attributes = {"archive": True} if status in STORED else {}
    return Said(Fix(sentence.at(time), latitude, longitude, status in VALID or not status), attributes)


def rma(sentence: Sentence) -> Said:
    """``$--RMA,A,ddmm.m,N,dddmm.m,E,,,knots,course,…``: Loran-C's, without a time."""
    _, status, north, ns, east, ew, _, _, speed, course = sentence.padded[:10]
    if not north:
        return Said()
    latitude, longitude = place(north, ns, east, ew)
    return Said(
        Fix(
            sentence.received_at,
            latitude,
            longitude,
            status in VALID,
            None,
            speed_mps(speed, MPS_PER_KNOT),
            course_deg(course),
        )
    )


def trccr(sentence: Sentence) -> Said:
    """``$TRCCR,yyyymmddhhmmss.sss,A,latitude,longitude,knots,course,metres,percent,``: Traccar Client's."""
    _, time, status, north, east, speed, course, altitude, level = sentence.padded[:9]
    latitude, longitude = float(north), float(east)
    check_place(latitude, longitude)
    attributes: Attributes = {}
    put(attributes, "batteryLevel", level)
    fixed_at = _compact(time)
    sentence.dated(fixed_at)
    return Said(
        Fix(
            fixed_at,
            latitude,
            longitude,
            status in VALID,
            number(altitude),
            speed_mps(speed, MPS_PER_KNOT),
            course_deg(course),
        ),
        attributes,
    )


def _compact(text: str) -> datetime:
    """``yyyymmddhhmmss[.sss]``."""
    year, rest = int(text[:4]), moment_of(f"{text[6:8]}{text[4:6]}00", text[8:])
    return moment(year, rest.month, rest.day, rest.hour, rest.minute, rest.second, rest.microsecond)


def qze(sentence: Sentence) -> Said:
    """``QZE,imei,event,ddmmyyyy,hhmmss,latitude,longitude,km/h,course,A,ignition``."""
    _, imei, event, date, time, north, east, speed, course, status, ignition = sentence.padded[:11]
    latitude, longitude = float(north), float(east)
    check_place(latitude, longitude)
    attributes: Attributes = {}
    put(attributes, "event", event, whole=True)
    if ignition:
        attributes["ignition"] = ignition != "0"
    fix = Fix(
        _compact(f"{date[4:8]}{date[2:4]}{date[:2]}{time}"),
        latitude,
        longitude,
        status in VALID,
        None,
        speed_mps(speed, MPS_PER_KMH),
        course_deg(course),
    )
    return Said(fix, attributes, device_key(imei))


def pubx(sentence: Sentence) -> Said:
    """``$PUBX,00,hhmmss,ddmm.m,N,dddmm.m,E,altitude,status,m,m,km/h,course,…``: u-blox's position.

    The 19th field is reserved; modems write their identifier there. PUBX,04 is the date; others say
    nothing of the place. Source: u-blox protocol specification, PUBX messages.
    """
    padded = sentence.padded
    if padded[1] == "04" and padded[3]:
        sentence.dated(moment_of(padded[3], padded[2]))
    if padded[1] != "00":
        return Said()
    attributes: Attributes = {}
    for name, at in (("hdop", 15), ("vdop", 16)):
        put(attributes, name, padded[at])
    put(attributes, "sat", padded[18], whole=True)
    device = device_key(padded[19]) if len(padded[19]) >= 5 else None
    if not padded[3]:
        return Said(None, attributes, device)
    latitude, longitude = place(*padded[3:7])
    fix = Fix(
        sentence.at(padded[2]),
        latitude,
        longitude,
        padded[8].upper() not in {"NF", ""},
        number(padded[7]),
        speed_mps(padded[11], MPS_PER_KMH),
        course_deg(padded[12]),
        number(padded[9]),
    )
    return Said(fix, attributes, device)


def pgps(sentence: Sentence) -> Said:
    """``$PGPS`` of Cypress: RMC's first ten fields, altitude with its sign, satellites, the modem's number."""
    padded = sentence.padded
    said = rmc(sentence)
    put(said.attributes, "sat", padded[11], whole=True)
    fix = said.fix
    if fix is not None:
        fix = Fix(
            fix.fixed_at,
            fix.latitude,
            fix.longitude,
            fix.valid,
            number(padded[10]),
            fix.speed_mps,
            fix.course_deg,
        )
    return Said(fix, said.attributes, device_key(padded[12]) if padded[12] else None)
