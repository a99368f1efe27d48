"""What the history says of each fix shown: moving or not, the metres driven, the fences it lies in.

Trips and visits are intervals, and there are few of them: marking a day of fixes by them costs a fiftieth of running
the engine over it again. Within a trip the way is measured from fix to fix and held to the distance that the engine
found for the trip, so that at its end the total is the engine's own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from tracker_server.track.geodesy import ECCENTRICITY, EQUATOR_RADIUS_M

Floats = NDArray[np.float64]

_E2: Final = ECCENTRICITY**2
NOWHERE: Final[tuple[int, ...]] = ()


class Ride(Struct, frozen=True, gc=False):
    """A trip: moving from its start until before its end (None: it goes on). ``lead_m``: what was driven of it before
    the range, up to ``Marker``'s ``last``; None where it begins in the range.
    """

    started_at: datetime
    ended_at: datetime | None
    odometer_start_m: float
    distance_m: float
    lead_m: float | None = None


class Stay(Struct, frozen=True, gc=False):
    """A visit: inside from ``entered_at`` until before ``left_at`` (None: still)."""

    fence_id: int
    entered_at: datetime
    left_at: datetime | None


class Mark(Struct, frozen=True, gc=False):
    """What the history says of a fix: metres from the fix before (None: not asked for) and in all, moving or not, the
    fences it lies in.
    """

    distance_m: float | None = None
    total_m: float = 0.0
    moving: bool = False
    fence_ids: tuple[int, ...] = ()


def steps_m(latitudes: Floats, longitudes: Floats) -> Floats:
    """Metres from each place to the next; good to a millionth where they are some kilometres apart."""
    middle = np.radians((latitudes[1:] + latitudes[:-1]) / 2)
    root = np.sqrt(1 - _E2 * np.sin(middle) ** 2)
    north = np.radians(np.diff(latitudes)) * EQUATOR_RADIUS_M * (1 - _E2) / root**3
    around = np.diff(longitudes)
    around = np.radians(around - 360 * np.round(around / 360))
    return np.hypot(north, around * EQUATOR_RADIUS_M * np.cos(middle) / root)


class Marker:
    """Marks one tracker's fixes, chunk by chunk, in their order.

    ``rides`` and ``stays`` are those that touch the range, by their begin. ``odometer_m``: the total at its beginning.
    ``last``: latitude and longitude of the last fix before it that is not in doubt, where a ride goes on from there.
    """

    def __init__(
        self,
        rides: Sequence[Ride],
        stays: Sequence[Stay],
        odometer_m: float,
        last: tuple[float, float] | None = None,
    ) -> None:
        self._rides = list(rides)
        self._stays = stays
        self._total_m = odometer_m  # after the last fix that was marked
        self._riding = False
        self._last = last

    def mark(
        self, moments: Sequence[datetime], places: Sequence[tuple[float, float]], valid: Sequence[bool]
    ) -> list[Mark]:
        """One mark for each fix. A fix that its receiver doubts adds no way."""
        ways = self._ways(places, valid)
        inside = self._inside(moments)
        marks: list[Mark] = []
        for at, moment in enumerate(moments):
            before = self._total_m
            moving = self._ride_to(moment, ways[at])
            total = self._total_m
            marks.append(Mark(total - before, total, moving, inside[at] if inside else ()))
        return marks

    def _ride_to(self, moment: datetime, way_m: float) -> bool:
        """Count the way to this moment's fix; answers whether it is on a trip."""
        rides = self._rides
        while rides:
            ride = rides[0]
            if ride.ended_at is None or moment < ride.ended_at:
                break
            self._total_m = max(self._total_m, ride.odometer_start_m + ride.distance_m)
            self._riding = False
            rides.pop(0)
        if not rides or moment < rides[0].started_at:
            return False
        ride = rides[0]
        if not self._riding:
            self._riding = True
            driven_m = 0.0 if ride.lead_m is None else ride.lead_m + way_m
            self._total_m = max(self._total_m, ride.odometer_start_m + driven_m)
        else:
            self._total_m += way_m
        if ride.ended_at is not None:
            self._total_m = min(self._total_m, ride.odometer_start_m + ride.distance_m)
        return True

    def _ways(self, places: Sequence[tuple[float, float]], valid: Sequence[bool]) -> list[float]:
        """Metres to each fix from the last good one before it."""
        at = [index for index, fits in enumerate(valid) if fits]
        good = [places[index] for index in at]
        if self._last is not None:
            good.insert(0, self._last)
        ways = [0.0] * len(places)
        if len(good) > 1:
            table = np.array(good, dtype=np.float64)
            steps: list[float] = steps_m(table[:, 0], table[:, 1]).tolist()
            for index, way in zip(at[len(at) - len(steps) :], steps, strict=True):
                ways[index] = way
        if good:
            self._last = good[-1]
        return ways

    def _inside(self, moments: Sequence[datetime]) -> list[tuple[int, ...]] | None:
        inside: list[tuple[int, ...]] | None = None
        for stay in self._stays:
            begin = bisect_left(moments, stay.entered_at)
            end = len(moments) if stay.left_at is None else bisect_left(moments, stay.left_at)
            if begin >= end:
                continue
            if inside is None:
                inside = [NOWHERE for _ in moments]
            for at in range(begin, end):
                inside[at] = (*inside[at], stay.fence_id)
        return inside
