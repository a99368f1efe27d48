"""What the engine reads: reports of one tracker, each once, in one order that does not depend on arrival."""

from __future__ import annotations

from collections.abc import Iterable
from ctypes import c_float
from enum import StrEnum
from operator import attrgetter
from typing import Final

from msgspec import Struct

from tracker_protocols.model import Attributes, Fix
from tracker_server.track.settings import TrackSettings


class Observation(Struct, frozen=True, gc=False):
    """One report: a fix with what was measured beside it, or measurements alone (``latitude`` is None).

    ``at_us``: the fix's moment, else the moment at which the report was sent (microseconds since 2000-01-01
    UTC). ``digest`` tells reports of one moment apart. Degrees, metres, metres a second; None: not said.
    """

    at_us: int
    digest: int
    received_us: int
    latitude: float | None = None
    longitude: float | None = None
    valid: bool = True
    speed_mps: float | None = None
    course_deg: float | None = None
    accuracy_m: float | None = None
    attributes: Attributes = {}


def observation(
    at_us: int, digest: int, received_us: int, fix: Fix | None, attributes: Attributes
) -> Observation:
    """The observation of a report as it will be read back: the database keeps speed, course and accuracy with 24 bits,
    and a history that is run again must see the same numbers.
    """
    if fix is None:
        return Observation(at_us, digest, received_us, attributes=attributes)
    speed, course, accuracy = fix.speed_mps, fix.course_deg, fix.accuracy_m
    return Observation(
        at_us,
        digest,
        received_us,
        fix.latitude,
        fix.longitude,
        fix.valid,
        None if speed is None else _real(speed),
        None if course is None else _real(course),
        None if accuracy is None else _real(accuracy),
        attributes,
    )


def _real(value: float) -> float:
    return c_float(value).value


class Use(StrEnum):
    """What an observation is good for, judged by itself alone."""

    FIX = "fix"
    NO_LOCATION = "no location"
    NOT_VALID = "not valid"
    NULL_ISLAND = "0/0"
    VAGUE = "too vague"
    FUTURE = "from the future"


FIX: Final = Use.FIX  # Python 3.11 takes longer to find an enum's member than to judge a fix by it


def use_of(seen: Observation, settings: TrackSettings) -> Use:
    """Whether its place counts, and if not, why. A report from the future counts for nothing at all: its
    moment is wrong, so what it measured has no moment.
    """
    if seen.at_us > seen.received_us + settings.future_max_s * 1_000_000:
        return Use.FUTURE
    latitude, longitude = seen.latitude, seen.longitude
    if latitude is None or longitude is None:
        return Use.NO_LOCATION
    if not (seen.valid and -90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
        return Use.NOT_VALID  # which no number at all is, either
    if latitude == 0.0 and longitude == 0.0:
        return Use.NULL_ISLAND  # a buoy floats there; every tracker that says so has lost its receiver
    if seen.accuracy_m is not None and seen.accuracy_m > settings.accuracy_max_m:
        return Use.VAGUE
    return FIX


_KEY = attrgetter("at_us", "digest")


def _rank(seen: Observation) -> tuple[bool, int]:
    return seen.latitude is None, seen.received_us


def arranged(observations: Iterable[Observation]) -> list[Observation]:
    """Each report once, by moment and digest. Of the same report received twice the first receipt counts, and of one that
    was kept with and without its location the one with it.
    """
    once: dict[tuple[int, int], Observation] = {}
    for seen in observations:
        known = once.get((seen.at_us, seen.digest))
        if known is None or _rank(seen) < _rank(known):
            once[seen.at_us, seen.digest] = seen
    return sorted(once.values(), key=_KEY)
