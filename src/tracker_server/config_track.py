"""Settings of the track engine and of fences; accounts and trackers may have their own (`track set`)."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Metres = Annotated[float, Meta(gt=0)]
Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[float, Meta(ge=0)]


class Geofences(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """When a tracker is inside."""

    hysteresis_m: Annotated[
        NotNegative, Meta(description="how far beyond the edge a fix confirms that the side has changed")
    ] = 30.0
    hysteresis_accuracy_factor: Annotated[
        NotNegative, Meta(description="… or this many times the fix's own accuracy, where that is more")
    ] = 3.0
    hysteresis_max_m: Annotated[NotNegative, Meta(description="… but never more than this (100 at most)")] = (
        100.0
    )
    rest_confirm_fixes: Annotated[
        Count, Meta(description="fixes in a row that confirm a side while the tracker stands")
    ] = 3
    rest_confirm_s: Annotated[
        NotNegative, Meta(description="… and, in a stop, for how long they have to go on")
    ] = 300.0
    cross_gap_s: Annotated[
        Seconds, Meta(description="nothing is crossed between fixes that are further apart in time")
    ] = 300.0


class Track(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Motion, trips, speed and silence: what the track engine goes by."""

    accuracy_max_m: Annotated[Metres, Meta(description="a fix vaguer than this is not used")] = 1_000.0
    speed_max_mps: Annotated[
        Metres, Meta(description="m/s; what is faster between two fixes is a jump, not a way")
    ] = 100.0
    drift_m: Annotated[Metres, Meta(description="a standing receiver wanders this far")] = 60.0
    stop_speed_mps: Annotated[Metres, Meta(description="m/s; slower is standing")] = 1.5
    stop_duration_s: Annotated[Seconds, Meta(description="standing this long is a stop")] = 180.0
    trip_distance_m: Annotated[Metres, Meta(description="this far from the stop is a trip")] = 200.0
    trip_duration_s: Annotated[
        Seconds, Meta(description="… or this long beyond the drift without coming to rest")
    ] = 180.0
    gap_s: Annotated[Seconds, Meta(description="silence after which a trip is over")] = 3_600.0
    odometer_source: Annotated[
        Literal["auto", "gnss", "device"],
        Meta(description="auto: the device's own count once it agrees with the fixes"),
    ] = "auto"
    speed_limit_mps: Annotated[
        NotNegative, Meta(description="m/s; where neither fence nor tracker has a limit; 0: none")
    ] = 0.0
    overspeed_multiplier: Annotated[
        Metres, Meta(description="tolerance: 1.05 tells what is 5 % above the limit")
    ] = 1.0
    overspeed_duration_s: Annotated[
        NotNegative, Meta(description="above the limit for this long; 0: told at the first fix")
    ] = 0.0
    fuel_step_l: Annotated[Metres, Meta(description="litres; a change of `fuel` that is told")] = 10.0
    fuel_step_percent: Annotated[Metres, Meta(description="a change of `fuelLevel` that is told")] = 10.0
    battery_low_percent: Annotated[
        NotNegative, Meta(description="`batteryLevel` at which lowBattery is told")
    ] = 20.0
    offline_after_s: Annotated[
        Seconds, Meta(description="silence after which a tracker is told as offline")
    ] = 600.0
    inactive_after_s: Annotated[
        NotNegative, Meta(description="silence that is told as inactivity; 0: never")
    ] = 0.0
