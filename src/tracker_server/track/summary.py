"""A period's sums out of trips and stops: what lies within it counts whole, what its ends cut counts in part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

NOTHING = timedelta()


class Leg(Struct, frozen=True, gc=False):
    """A trip as sums need it. ``ended_at``: where it goes on, the moment up to which it is known."""

    started_at: datetime
    ended_at: datetime
    odometer_start_m: float
    distance_m: float
    speed_max_mps: float
    fuel_start: float | None
    fuel_end: float | None


class Rest(Struct, frozen=True, gc=False):
    """A stop as sums need it, ended as ``Leg`` is; ``engine_s``: with the engine running."""

    started_at: datetime
    ended_at: datetime
    engine_s: float


class Sums(Struct, frozen=True):
    """Of one tracker and one period. ``engine``: driving, and standing with the engine running."""

    distance_m: float
    driving: timedelta
    engine: timedelta
    speed_max_mps: float
    spent_fuel: float
    odometer_start_m: float
    odometer_end_m: float
    trips: int


def within(started_at: datetime, ended_at: datetime, since: datetime, until: datetime) -> timedelta:
    """How much of an interval lies in a period."""
    return max(min(ended_at, until) - max(started_at, since), NOTHING)


def odometer_at(
    moment: datetime, legs: Sequence[Leg], leads_m: dict[datetime, float], before_m: float
) -> float:
    """The total at a moment. ``leads_m``: of a moment that cuts a trip, the way from the trip's start to it."""
    total = before_m
    for leg in legs:
        if leg.started_at > moment:
            break
        if moment >= leg.ended_at:
            total = leg.odometer_start_m + leg.distance_m
        else:
            total = leg.odometer_start_m + min(leads_m.get(moment, 0.0), leg.distance_m)
    return total


def sum_up(
    legs: Sequence[Leg],
    rests: Sequence[Rest],
    since: datetime,
    until: datetime,
    leads_m: dict[datetime, float],
    before_m: float,
) -> Sums:
    """The sums of since ≤ t < until. ``legs`` by their start; ``before_m``: the total before the first of them."""
    inside = [leg for leg in legs if within(leg.started_at, leg.ended_at, since, until)]
    driving = sum((within(leg.started_at, leg.ended_at, since, until) for leg in inside), NOTHING)
    engine = driving
    for rest in rests:
        share = within(rest.started_at, rest.ended_at, since, until)
        whole = rest.ended_at - rest.started_at
        if share and whole:
            engine += timedelta(seconds=rest.engine_s * (share / whole))
    first, last = (odometer_at(moment, legs, leads_m, before_m) for moment in (since, until))
    spent = sum(
        max(leg.fuel_start - leg.fuel_end, 0.0)
        for leg in inside
        if leg.fuel_start is not None and leg.fuel_end is not None and since <= leg.started_at < until
    )
    distance = sum(_driven_m(leg, since, until, leads_m) for leg in inside)
    return Sums(
        distance_m=distance,
        driving=driving,
        engine=engine,
        speed_max_mps=max((leg.speed_max_mps for leg in inside), default=0.0),
        spent_fuel=spent,
        odometer_start_m=first,
        odometer_end_m=max(last, first),
        trips=len(inside),
    )


def _driven_m(leg: Leg, since: datetime, until: datetime, leads_m: dict[datetime, float]) -> float:
    """How far this trip drove within the period."""
    begin = min(leads_m.get(since, 0.0), leg.distance_m) if leg.started_at < since < leg.ended_at else 0.0
    end = (
        min(leads_m.get(until, 0.0), leg.distance_m)
        if leg.started_at < until < leg.ended_at
        else leg.distance_m
    )
    return max(end - begin, 0.0)
