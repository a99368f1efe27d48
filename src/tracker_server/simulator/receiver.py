"""Between the road and the packet: when a tracker reports, what its receiver saw, what its clock said, and in
which order its memory is emptied. Stages over the journey's fixes, each drawing from the seed alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import islice

import msgspec

from tracker_protocols.model import Attributes, Fix
from tracker_server.simulator.gpx import Drive, moved, read_tracks
from tracker_server.simulator.habits import JUMP_FIXES, Habits
from tracker_server.simulator.plan import Plan
from tracker_server.simulator.routes import METRES_PER_DEGREE, Journey

TUNNEL_M = (300.0, 2_500.0)
DRIFT_MEMORY = 0.98
COLD_AFTER_S = 600  # parked for less, a receiver still knows its satellites
FIRST_FIXES_OFF_M = 60.0  # how far off the first place after a tunnel or a cold start may be
TURN_FROM_MPS = 1.5  # below it a course means nothing


class Receiver:
    """One device's fixes as it will report them, endless; ``attributes`` are those of the last one."""

    def __init__(self, plan: Plan, number: int) -> None:
        habits = plan.habits
        self._plan = plan
        self._tick_s = min(plan.interval_s, habits.parked_s or plan.interval_s)
        if habits.distance_m or habits.turn_deg:
            self._tick_s = 1
        seed, start, noise_m = plan.seed, plan.start, habits.noise_m
        self._way: Journey | Drive
        if habits.gpx:
            tracks = [track for file in habits.gpx for track in read_tracks(file)]
            self._way = Drive(tracks, seed, number, start, self._tick_s, noise_m)
        else:
            self._way = Journey(seed, number, start, self._tick_s, noise_m)
        self._rng = random.Random(f"{seed}/{number}/receiver")
        self.attributes: Attributes = self._way.attributes
        fixes = self._seen(habits)
        if habits.irregular:
            fixes = self._chosen(fixes, habits)
        if habits.jump_every:
            fixes = jumped(fixes, habits)
        if habits.offline_packets:
            fixes = stored(fixes, habits, plan.packet)
        self._fixes = fixes

    def __iter__(self) -> Iterator[Fix]:
        return self._fixes

    def _seen(self, habits: Habits) -> Iterator[Fix]:
        """Every place, tick by tick, as the receiver computes it."""
        way, rng, tick_s = self._way, self._rng, self._tick_s
        tunnel_left_m = to_tunnel_m = 0.0
        if habits.tunnel_km:
            to_tunnel_m = rng.expovariate(1 / (habits.tunnel_km * 1_000))
        north_m = east_m = 0.0
        parked_s = cold_left_s = 0
        off_m = 0.0
        last: Fix | None = None
        for fix in way:
            travelled_m = (fix.speed_mps or 0.0) * tick_s
            if way.parked:
                parked_s += tick_s
                north_m = north_m * DRIFT_MEMORY + rng.uniform(-1, 1) * habits.drift_m * 0.2
                east_m = east_m * DRIFT_MEMORY + rng.uniform(-1, 1) * habits.drift_m * 0.2
            else:
                if parked_s >= COLD_AFTER_S and habits.cold_start_s:
                    cold_left_s = habits.cold_start_s
                parked_s = 0
                north_m = east_m = 0.0
            if habits.tunnel_km and not tunnel_left_m:
                to_tunnel_m -= travelled_m
                if to_tunnel_m <= 0:
                    tunnel_left_m = rng.uniform(*TUNNEL_M)
                    to_tunnel_m = rng.expovariate(1 / (habits.tunnel_km * 1_000))
            blind = last is not None and (tunnel_left_m > 0 or cold_left_s > 0)
            tunnel_left_m = max(0.0, tunnel_left_m - travelled_m)
            cold_left_s = max(0, cold_left_s - tick_s)
            self.attributes = way.attributes
            if blind:
                assert last is not None
                off_m = FIRST_FIXES_OFF_M
                self.attributes["sat"] = 0
                yield msgspec.structs.replace(
                    fix, latitude=last.latitude, longitude=last.longitude, valid=False
                )
                continue
            if off_m > 1 or north_m or east_m:
                latitude, longitude = moved(
                    fix.latitude,
                    fix.longitude,
                    north_m + rng.uniform(-off_m, off_m),
                    east_m + rng.uniform(-off_m, off_m),
                )
                fix = msgspec.structs.replace(fix, latitude=latitude, longitude=longitude)  # noqa: PLW2901
                off_m = off_m / 3 if off_m > 1 else 0.0
            last = fix
            yield fix

    def _chosen(self, fixes: Iterator[Fix], habits: Habits) -> Iterator[Fix]:
        """Those that are worth a report: by time, by distance, by turn, and seldom while parked."""
        interval = timedelta(seconds=self._plan.interval_s)
        parked_interval = timedelta(seconds=habits.parked_s or self._plan.interval_s)
        last: Fix | None = None
        for fix in fixes:
            if (
                last is None
                or fix.fixed_at - last.fixed_at >= (parked_interval if self._way.parked else interval)
                or (habits.distance_m and metres(last, fix) >= habits.distance_m)
                or (habits.turn_deg and turned_deg(last, fix) >= habits.turn_deg)
            ):
                last = fix
                yield fix


def jumped(fixes: Iterator[Fix], habits: Habits) -> Iterator[Fix]:
    """A clock that is wrong for ten fixes, again and again."""
    shift = timedelta(seconds=habits.jump_s)
    for number, fix in enumerate(fixes):
        if number % habits.jump_every >= habits.jump_every - JUMP_FIXES:
            yield msgspec.structs.replace(fix, fixed_at=fix.fixed_at + shift)
        else:
            yield fix


def stored(fixes: Iterator[Fix], habits: Habits, packet: int) -> Iterator[Fix]:
    """The order in which a memory is emptied."""
    while True:
        yield from islice(fixes, habits.offline_after * packet)
        held = list(islice(fixes, habits.offline_packets * packet))
        yield from reversed(held) if habits.newest_first else held


def metres(one: Fix, other: Fix) -> float:
    """Between two places that are near each other."""
    north = other.latitude - one.latitude
    east = (other.longitude - one.longitude) * math.cos(math.radians(one.latitude))
    return math.hypot(north, east) * METRES_PER_DEGREE


def turned_deg(one: Fix, other: Fix) -> float:
    """How far the course has turned, 0 to 180; none below walking pace."""
    if min(one.speed_mps or 0.0, other.speed_mps or 0.0) < TURN_FROM_MPS:
        return 0.0
    turn = abs((other.course_deg or 0.0) - (one.course_deg or 0.0)) % 360
    return min(turn, 360 - turn)
