"""Every threshold of the engine, for one tracker: name with unit, default, reason. Frozen; the wiring
merges what account, group and tracker say into one of these.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct


class OdometerSource(StrEnum):
    """Whose count the odometer is."""

    AUTO = "auto"  # the device's own once it agrees with the fixes, the fixes' before and where it fails
    GNSS = "gnss"
    DEVICE = "device"  # as auto, but trusted from its first reading on


class MaintenanceKind(StrEnum):
    """What a maintenance is counted in."""

    DISTANCE = "distance"  # metres of the odometer
    HOURS = "hours"  # engine hours
    DATE = "date"  # microseconds since 2000-01-01 UTC; the period too is microseconds


class Maintenance(Struct, frozen=True):
    """Due at ``start`` and, where ``period`` is above 0, at every period after it. ``before``: what was counted before
    the engine began.
    """

    id: int
    kind: MaintenanceKind
    start: float
    period: float = 0.0
    before: float = 0.0


def _says(text: str) -> Meta:
    return Meta(description=text)


Number = float


class TrackSettings(Struct, frozen=True, kw_only=True):
    """What the engine goes by. All defaults may be used together."""

    # ------------------------------------------------------------------ which fixes count
    future_max_s: Annotated[
        Number, _says("a report further ahead of its receipt is not used: clocks drift by minutes, not more")
    ] = 600.0
    accuracy_max_m: Annotated[
        Number, _says("a fix vaguer than this is a cell tower's place, not the tracker's")
    ] = 1_000.0
    speed_max_mps: Annotated[
        Number, _says("faster than this between two fixes is a jump; 100 m/s is above every train on wheels")
    ] = 100.0
    jump_slack_m: Annotated[
        Number, _says("nearer than this is never a jump: clocks count whole seconds, receivers wander")
    ] = 150.0
    jump_confirm_fixes: Annotated[
        int, _says("fixes in a row that agree with each other make a jump true (a ferry, a new owner)")
    ] = 3
    jump_held_max: Annotated[
        int, _says("suspicious fixes in a row after which the newest is believed: nothing is held for ever")
    ] = 6

    # ------------------------------------------------------------------ motion
    drift_m: Annotated[
        Number, _says("standing receivers wander this far, more between houses; within it nothing moved")
    ] = 60.0
    drift_accuracy_factor: Annotated[Number, _says("… or this many times the fix's own accuracy")] = 3.0
    drift_max_m: Annotated[Number, _says("… but never more than this")] = 150.0
    stop_speed_mps: Annotated[Number, _says("slower than this is standing; walking pace is 1.4 m/s")] = 1.5
    moving_speed_mps: Annotated[
        Number, _says("a told speed above this proves a move at one fix; receivers at rest tell up to 2 m/s")
    ] = 2.5
    stop_duration_s: Annotated[
        Number, _says("standing this long is a stop; the longest common traffic light is 2 min")
    ] = 180.0
    trip_distance_m: Annotated[Number, _says("this far from the stop is a trip; the reference's figure")] = (
        200.0
    )
    trip_duration_s: Annotated[
        Number, _says("… or this long beyond the drift without coming to rest; the reference's figure")
    ] = 180.0
    gap_s: Annotated[
        Number, _says("silence after which a trip is over; the reference's stop gap of one hour")
    ] = 3_600.0

    # ------------------------------------------------------------------ odometer, engine
    odometer_source: Annotated[
        OdometerSource,
        _says(
            "auto: the device's own count once it agrees with the fixes; device: from the start; gnss: never"
        ),
    ] = OdometerSource.AUTO
    odometer_step_m: Annotated[
        Number, _says("ways are summed in steps of at least this, else noise at 1 Hz adds up")
    ] = 10.0
    odometer_gap_s: Annotated[
        Number, _says("a way after a longer silence was not driven, but shipped or carried")
    ] = 86_400.0

    # ------------------------------------------------------------------ fences
    hysteresis_m: Annotated[
        Number, _says("how far beyond the edge a fix confirms that the side has changed")
    ] = 30.0
    hysteresis_accuracy_factor: Annotated[Number, _says("… or this many times the fix's own accuracy")] = 3.0
    hysteresis_max_m: Annotated[Number, _says("… but never more than this (100 at most)")] = 100.0
    rest_confirm_fixes: Annotated[
        int, _says("fixes in a row that confirm a side while standing: single ones wander over 30 m each day")
    ] = 3
    rest_confirm_s: Annotated[
        Number, _says("… and, where a stop is known, for how long: a receiver wanders off for minutes")
    ] = 300.0
    cross_gap_s: Annotated[
        Number, _says("between fixes further apart in time nobody knows the way, so nothing is crossed")
    ] = 300.0
    fence_ids: Annotated[
        frozenset[int] | None, _says("the fences that this tracker is assigned to; None: all of its account")
    ] = None

    # ------------------------------------------------------------------ speed
    device_speed_limit_mps: Annotated[Number | None, _says("this tracker's own limit")] = None
    account_speed_limit_mps: Annotated[Number | None, _says("where neither fence nor tracker has one")] = None
    overspeed_multiplier: Annotated[Number, _says("tolerance: 1.05 tells what is 5 % above the limit")] = 1.0
    overspeed_duration_s: Annotated[
        Number, _says("above the limit for this long; 0 tells at the first fix, as the reference does")
    ] = 0.0
    hard_acceleration_mps2: Annotated[
        Number | None, _says("gain of speed; 0.35 g is what insurers use. None: off")
    ] = 3.5
    hard_braking_mps2: Annotated[Number | None, _says("loss of speed; 0.41 g. None: off")] = 4.0
    hard_cornering_mps2: Annotated[Number | None, _says("speed times turn; 0.41 g. None: off")] = 4.0
    harsh_gap_s: Annotated[Number, _says("fixes further apart say nothing of a second's braking")] = 3.0

    # ------------------------------------------------------------------ measurements
    fuel_step_l: Annotated[
        Number, _says("change of `fuel` that is told; sloshing of a lorry's tank is 5 l after the median")
    ] = 10.0
    fuel_step_percent: Annotated[Number, _says("change of `fuelLevel` that is told")] = 10.0
    fuel_use_per_minute: Annotated[
        Number, _says("litres or percent that an engine may burn a minute: that much is no theft")
    ] = 1.0
    battery_low_percent: Annotated[Number, _says("`batteryLevel` at which lowBattery is told")] = 20.0
    battery_ok_percent: Annotated[Number, _says("… and from which on it may be told again")] = 30.0
    power_low_v: Annotated[
        Number | None,
        _says("`power` below which lowPower is told; None: 11.5 V, or 23 V where above 18 V was seen"),
    ] = None
    maintenance: Annotated[
        tuple[Maintenance, ...], _says("what falls due by metres, engine hours or date")
    ] = ()

    # ------------------------------------------------------------------ contact
    offline_after_s: Annotated[
        Number, _says("silence after which a tracker is offline; the reference's 10 min")
    ] = 600.0
    inactive_after_s: Annotated[Number | None, _says("silence that is told as inactivity; None: off")] = None
