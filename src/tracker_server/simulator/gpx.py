"""Tracks from GPX files, driven as they were recorded, there and back."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from msgspec import Struct

from tracker_protocols.model import Attributes, Fix
from tracker_server.simulator.routes import METRES_PER_DEGREE, NOISE_MEMORY

USUAL_MPS = 13.9  # of a track that tells no times
STANDING_S = 600.0  # at each end
POINTS_MAX = 1_000_000


class GpxError(Exception):
    """A file that cannot be driven. The message names it and the cure."""


class Track(Struct, frozen=True):
    """A way through places: seconds since its beginning, and where it is then."""

    seconds: Sequence[float]
    latitudes: Sequence[float]
    longitudes: Sequence[float]

    def at(self, second: float) -> tuple[float, float, float, float]:
        """Latitude, longitude, speed in m/s and course in degrees; at the ends it stands."""
        seconds = self.seconds
        if second <= seconds[0] or second >= seconds[-1]:
            end = 0 if second <= seconds[0] else -1
            return self.latitudes[end], self.longitudes[end], 0.0, 0.0
        after = bisect_right(seconds, second)
        before = after - 1
        part = (second - seconds[before]) / (seconds[after] - seconds[before])
        north = self.latitudes[after] - self.latitudes[before]
        east = self.longitudes[after] - self.longitudes[before]
        scale = math.cos(math.radians(self.latitudes[before]))
        metres = math.hypot(north, east * scale) * METRES_PER_DEGREE
        course = math.degrees(math.atan2(east * scale, north)) % 360
        return (
            self.latitudes[before] + north * part,
            self.longitudes[before] + east * part,
            metres / (seconds[after] - seconds[before]),
            course,
        )


@cache
def read_tracks(file: Path) -> tuple[Track, ...]:
    """All tracks (``trk``) and routes (``rte``) of a file. Raises GpxError."""
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import parse

    try:
        root: Element | None = parse(file).getroot()
    except OSError as error:
        raise GpxError(f"gpx: {file} cannot be read: {error.strerror}") from None
    except (ParseError, DefusedXmlException) as error:
        raise GpxError(f"gpx: {file} is no GPX file: {error}") from None
    assert root is not None
    tracks: list[Track] = []
    for way, point in (("trk", "trkpt"), ("rte", "rtept")):
        for element in root.iterfind(f".//{{*}}{way}"):
            track = _track(file, list(element.iterfind(f".//{{*}}{point}")))
            if track is not None:
                tracks.append(track)
    if not tracks:
        raise GpxError(f"gpx: {file} has no track (trk) or route (rte) with two different points")
    return tuple(tracks)


def _track(file: Path, points: list[Element]) -> Track | None:
    if len(points) > POINTS_MAX:
        raise GpxError(f"gpx: {file} has a track of {len(points)} points; at most {POINTS_MAX}")
    seconds: list[float] = []
    latitudes: list[float] = []
    longitudes: list[float] = []
    first_s = 0.0
    for number, point in enumerate(points, 1):
        latitude, longitude, moment = _point(file, number, point)
        if not seconds:
            second = 0.0
        else:
            scale = math.cos(math.radians(latitude))
            metres = METRES_PER_DEGREE * math.hypot(
                latitude - latitudes[-1], (longitude - longitudes[-1]) * scale
            )
            second = seconds[-1] + metres / USUAL_MPS if moment is None else moment - first_s
            if second <= seconds[-1]:
                continue  # twice the same moment or place
        if not seconds:
            first_s = moment or 0.0
        seconds.append(second)
        latitudes.append(latitude)
        longitudes.append(longitude)
    return Track(seconds, latitudes, longitudes) if len(seconds) > 1 else None


def _point(file: Path, number: int, point: Element) -> tuple[float, float, float | None]:
    try:
        latitude, longitude = float(point.get("lat", "")), float(point.get("lon", ""))
        told = point.findtext("{*}time")
        moment = datetime.fromisoformat(told.strip()) if told else None
    except ValueError as error:
        raise GpxError(f"gpx: {file}, point {number}: {error}") from None
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise GpxError(f"gpx: {file}, point {number}: {latitude}, {longitude} is no place on Earth")
    if moment is not None and moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return latitude, longitude, moment.timestamp() if moment else None


class Replay:
    """A track driven to its end, and after a while back, for ever: places by the second since the start."""

    def __init__(self, track: Track, offset_s: float) -> None:
        self._track = track
        self._length_s = track.seconds[-1]
        self._offset_s = offset_s  # devices that share a track do not drive in one place

    def at(self, second: float) -> tuple[float, float, float, float]:
        """As ``Track.at``."""
        leg_s = self._length_s + STANDING_S
        leg, into = divmod(second + self._offset_s, leg_s)
        if leg % 2 == 0:
            return self._track.at(into)
        latitude, longitude, speed_mps, course = self._track.at(self._length_s - into)
        return latitude, longitude, speed_mps, (course + 180) % 360 if speed_mps else 0.0


class Drive:
    """A device's fixes along a track, endless, ``interval_s`` apart: what ``Journey`` is for drawn roads."""

    def __init__(
        self,
        tracks: Sequence[Track],
        seed: int,
        number: int,
        start: datetime,
        interval_s: int,
        noise_m: float,
    ) -> None:
        self._rng = rng = random.Random(f"{seed}/{number}/gpx")
        track = tracks[number % len(tracks)]
        self._replay = Replay(track, rng.uniform(0, track.seconds[-1]))
        self._start = start.astimezone(UTC)
        self._interval_s = interval_s
        self._second = 0
        self._noise_m = noise_m
        self._north_m = self._east_m = 0.0
        self._speed_mps = 0.0
        self.parked = True

    def __iter__(self) -> Iterator[Fix]:
        return self

    def __next__(self) -> Fix:
        """The next fix."""
        latitude, longitude, speed_mps, course = self._replay.at(self._second)
        rng, wander = self._rng, self._noise_m * 0.75
        self._north_m = self._north_m * NOISE_MEMORY + (rng.random() - 0.5) * wander
        self._east_m = self._east_m * NOISE_MEMORY + (rng.random() - 0.5) * wander
        self._speed_mps = speed_mps
        self.parked = not speed_mps
        at = self._start + timedelta(seconds=self._second)
        self._second += self._interval_s
        latitude, longitude = moved(latitude, longitude, self._north_m, self._east_m)
        return Fix(at, latitude, longitude, True, 0.0, round(speed_mps, 2), float(round(course) % 360))

    @property
    def attributes(self) -> Attributes:
        """What the vehicle tells beside its place, as of the last fix."""
        return {"ignition": not self.parked, "motion": self._speed_mps > 0, "sat": 10, "rssi": 4}


def moved(latitude: float, longitude: float, north_m: float, east_m: float) -> tuple[float, float]:
    """A place so many metres away, to 7 digits."""
    scale = max(math.cos(math.radians(latitude)), 0.01)
    return (
        round(latitude + north_m / METRES_PER_DEGREE, 7),
        round(longitude + east_m / (METRES_PER_DEGREE * scale), 7),
    )
