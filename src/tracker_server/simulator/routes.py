"""Seeded journeys: vehicles that follow roads, keep to speeds, stop at lights, park, and are seen by a receiver
that is a few metres off. No map is needed, none is claimed: the roads are drawn as they are driven.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from tracker_protocols.model import Attributes, Fix

TOWNS = (  # latitude, longitude, altitude in metres; the four quadrants take turns
    (52.2297, 21.0122, 110), (-23.5505, -46.6333, 760), (40.4168, -3.7038, 650), (-33.8688, 151.2093, 20),
    (55.7558, 37.6173, 150), (-34.6037, -58.3816, 25), (41.8781, -87.6298, 180), (-1.2921, 36.8219, 1660),
    (28.6139, 77.2090, 215), (-12.0464, -77.0428, 150), (51.5074, -0.1278, 15), (-26.2041, 28.0473, 1750),
)  # fmt: skip
METRES_PER_DEGREE = 111_195.0  # of a great circle on a sphere of 6,371 km
HOME_M_MAX = 25_000.0  # beyond this a vehicle turns for home
ROADS = (  # usual speed in m/s, metres between junctions, bend in degrees per 100 m
    (11.0, 180.0, 3.0),
    (13.9, 350.0, 5.0),
    (22.0, 1_500.0, 4.0),
    (30.0, 6_000.0, 1.0),
)
NOISE_M = 5.0
NOISE_MEMORY = 0.9  # a receiver's error wanders, it does not jump


class Journey:
    """One device's fixes, endless, ``interval_s`` apart. The same seed and number give the same journey."""

    def __init__(
        self, seed: int, number: int, start: datetime, interval_s: int, noise_m: float = NOISE_M
    ) -> None:
        self._noise_m = noise_m
        self._rng = rng = random.Random(f"{seed}/{number}")
        town = TOWNS[number % len(TOWNS)]
        self._home = town[0] + rng.uniform(-0.08, 0.08), town[1] + rng.uniform(-0.08, 0.08)
        self._latitude, self._longitude = self._home
        self._altitude_m = float(town[2])
        self._at = start.astimezone(UTC)
        self._step = timedelta(seconds=interval_s)
        self._interval_s = float(interval_s)
        self._heading = rng.choice((0.0, 90.0, 180.0, 270.0)) + rng.uniform(-20, 20)
        self._road = ROADS[0]
        self._speed_mps = 0.0
        self._to_junction_m = 100.0
        self._waits_s = rng.uniform(0, 300) if number % 3 else 0.0  # most leave soon, a third at once
        self.parked = True
        self._noise_north_m = self._noise_east_m = 0.0
        self.satellites = 9 + number % 6

    def __iter__(self) -> Iterator[Fix]:
        return self

    def __next__(self) -> Fix:
        """The next fix: coordinates to 7 digits, speed in m/s, course in whole degrees."""
        rng = self._rng
        if self._waits_s > 0:
            self._waits_s -= self._interval_s
            self._speed_mps = 0.0
        else:
            self._drive()
        wander = self._noise_m * (0.6 if self.parked else 1.0) * 0.75
        self._noise_north_m = self._noise_north_m * NOISE_MEMORY + (rng.random() - 0.5) * wander
        self._noise_east_m = self._noise_east_m * NOISE_MEMORY + (rng.random() - 0.5) * wander
        scale = math.cos(math.radians(self._latitude))
        fix = Fix(
            self._at,
            round(self._latitude + self._noise_north_m / METRES_PER_DEGREE, 7),
            round(self._longitude + self._noise_east_m / (METRES_PER_DEGREE * scale), 7),
            True,
            round(self._altitude_m, 1),
            round(self._speed_mps, 2),
            float(round(self._heading) % 360),
        )
        self._at += self._step
        return fix

    @property
    def attributes(self) -> Attributes:
        """What the vehicle tells beside its place, as of the last fix."""
        return {
            "ignition": not self.parked,
            "motion": self._speed_mps > 0,
            "sat": self.satellites,
            "rssi": 3 + self.satellites % 3,
            "power": 12.6 if self.parked else 13.9,
        }

    def _drive(self) -> None:
        rng = self._rng
        interval_s = self._interval_s
        usual_mps, between_m, bend = self._road
        self.parked = False
        wanted_mps = usual_mps * (0.8 + 0.4 * rng.random())
        change = 1.5 * interval_s  # m/s that an unhurried driver gains or loses in this time
        self._speed_mps += max(-2 * change, min(wanted_mps - self._speed_mps, change))
        travelled_m = self._speed_mps * interval_s
        self._heading += (rng.random() - 0.5) * bend * min(travelled_m, 1_000.0) / 50
        north_m = travelled_m * math.cos(math.radians(self._heading))
        east_m = travelled_m * math.sin(math.radians(self._heading))
        scale = math.cos(math.radians(self._latitude))
        self._latitude += north_m / METRES_PER_DEGREE
        self._longitude += east_m / (METRES_PER_DEGREE * scale)
        self._altitude_m = max(0.0, self._altitude_m + (rng.random() - 0.5) * min(travelled_m, 300) * 0.02)
        self._to_junction_m -= travelled_m
        if self._to_junction_m <= 0:
            self._turn(between_m)

    def _turn(self, between_m: float) -> None:
        """A junction: straight on, left, right, another road, a red light, or the end of this trip."""
        rng = self._rng
        chance = rng.random()
        if self._far_from_home():
            self._heading = self._home_heading() + rng.uniform(-15, 15)
        elif chance < 0.25:
            self._heading += 90 + rng.uniform(-8, 8)
        elif chance < 0.5:
            self._heading -= 90 + rng.uniform(-8, 8)
        if chance > 0.85:
            self._road = rng.choice(ROADS)
        if rng.random() < 0.25:
            self._waits_s = rng.uniform(5, 60)
        elif rng.random() < 0.02:
            self._waits_s = rng.uniform(300, 5_400)
            self.parked = True
        self._to_junction_m = between_m * (0.5 + rng.random())

    def _offset_m(self) -> tuple[float, float]:
        """Metres north and east of home."""
        north_m = (self._latitude - self._home[0]) * METRES_PER_DEGREE
        scale = math.cos(math.radians(self._latitude))
        return north_m, (self._longitude - self._home[1]) * METRES_PER_DEGREE * scale

    def _far_from_home(self) -> bool:
        return math.hypot(*self._offset_m()) > HOME_M_MAX

    def _home_heading(self) -> float:
        north_m, east_m = self._offset_m()
        return math.degrees(math.atan2(-east_m, -north_m))
