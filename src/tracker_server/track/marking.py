"""What the history says of each fix shown: moving or not, the metres driven, the fences it lies in.

Trips and visits are intervals, and there are few of them: marking a day of fixes by them costs a fiftieth of running
the engine over it again. Within a trip the way is measured from fix to fix and held to the distance that the engine
found for the trip, so that at its end the total is the engine's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from msgspec import Struct

from tracker_server.later import np
from tracker_server.track.geodesy import ECCENTRICITY, EQUATOR_RADIUS_M

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float64]"
Integers: TypeAlias = "NDArray[np.int64]"
Flags: TypeAlias = "NDArray[np.bool_]"

_E2: Final = ECCENTRICITY**2
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
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


class Marks(Struct, frozen=True):
    """What the history says of fixes, a value for each: metres from the fix before (None: not asked for) and in all,
    moving or not, the fences it lies in; milliseconds of the engine in all, where somebody has set them (None: not
    asked for).
    """

    distances_m: Floats | None
    totals_m: Floats
    moving: Flags
    fence_ids: Sequence[tuple[int, ...]]
    hours_ms: Sequence[int | None] | None = None

    def taken(self, at: Sequence[int]) -> Marks:
        """Of those at these places."""
        return Marks(
            None if self.distances_m is None else self.distances_m[list(at)],
            self.totals_m[list(at)],
            self.moving[list(at)],
            [self.fence_ids[one] for one in at],
            None if self.hours_ms is None else [self.hours_ms[one] for one in at],
        )


def micros(moment: datetime) -> int:
    """Since 1970 in UTC."""
    return (moment - EPOCH) // MICROSECOND


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
        self,
        moments: Integers,
        latitudes: Floats,
        longitudes: Floats,
        valid: Flags,
    ) -> Marks:
        """One mark for each fix; ``moments`` are ``micros``. A fix that its receiver doubts adds no way."""
        count = len(moments)
        ways = self._ways(latitudes, longitudes, valid)
        totals = np.empty(count)
        moving = np.zeros(count, dtype=np.bool_)
        before_m = self._total_m
        at = 0
        while at < count:
            at = self._ride_on(moments, ways, totals, moving, at)
        return Marks(
            np.diff(totals, prepend=before_m),
            totals,
            moving,
            self._inside(moments),
        )

    def _ride_on(self, moments: Integers, ways: Floats, totals: Floats, moving: Flags, at: int) -> int:
        """Fill in from a fix to where a ride begins or ends; answers where that is."""
        while (
            self._rides
            and self._rides[0].ended_at is not None
            and moments[at] >= micros(self._rides[0].ended_at)
        ):
            ride = self._rides.pop(0)
            self._total_m = max(self._total_m, ride.odometer_start_m + ride.distance_m)
            self._riding = False
        if not self._rides:
            totals[at:] = self._total_m
            return len(moments)
        ride = self._rides[0]
        begin = int(moments.searchsorted(micros(ride.started_at)))
        if at < begin:
            totals[at:begin] = self._total_m
            return begin
        end = len(moments) if ride.ended_at is None else int(moments.searchsorted(micros(ride.ended_at)))
        steps = ways[at:end].copy()
        if not self._riding:
            self._riding = True
            driven_m = 0.0 if ride.lead_m is None else ride.lead_m + float(steps[0])
            self._total_m = max(self._total_m, ride.odometer_start_m + driven_m)
            steps[0] = 0.0
        ridden = self._total_m + np.cumsum(steps)
        if ride.ended_at is not None:
            ridden = np.minimum(ridden, ride.odometer_start_m + ride.distance_m)
        totals[at:end] = ridden
        moving[at:end] = True
        self._total_m = float(ridden[-1])
        return end

    def _ways(self, latitudes: Floats, longitudes: Floats, valid: Flags) -> Floats:
        """Metres to each fix from the last good one before it."""
        good = np.flatnonzero(valid)
        ways = np.zeros(len(valid))
        if not len(good):
            return ways
        north = latitudes[good]
        east = longitudes[good]
        if self._last is not None:
            steps = steps_m(np.concatenate(([self._last[0]], north)), np.concatenate(([self._last[1]], east)))
            ways[good] = steps
        else:
            ways[good[1:]] = steps_m(north, east)
        self._last = (float(north[-1]), float(east[-1]))
        return ways

    def _inside(self, moments: Integers) -> list[tuple[int, ...]]:
        inside: list[tuple[int, ...]] = [NOWHERE] * len(moments)
        for stay in self._stays:
            begin = int(moments.searchsorted(micros(stay.entered_at)))
            end = len(moments) if stay.left_at is None else int(moments.searchsorted(micros(stay.left_at)))
            for at in range(begin, end):
                inside[at] = (*inside[at], stay.fence_id)
        return inside
