"""Fuel theft and refuelling from a level that sloshes: medians of five readings before and after."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from msgspec import Struct

from tracker_server.model.event import Event, EventType, Finding
from tracker_server.track.observation import Observation
from tracker_server.track.settings import TrackSettings
from tracker_server.track.signals import Signals, number

HALF: Final = 5  # readings on each side: the median stands two wild ones


class Reading(Struct, frozen=True, gc=False):
    """A level, and how many minutes the engine may have run since the one before."""

    at_us: int
    digest: int
    level: float
    minutes: float


class Fuel(Struct, gc=False):
    """The last readings of one sensor: ``fuel`` in litres where told, else ``fuelLevel`` in percent."""

    sensor: str = ""
    readings: tuple[Reading, ...] = ()


def advance_fuel(
    fuel: Fuel, signals: Signals, seen: Observation, settings: TrackSettings, found: list[Finding]
) -> None:
    """Take one report. Told three readings after the level has changed, at the reading that changed it."""
    told = _level(seen.attributes)
    if told is None:
        return
    sensor, level = told
    if sensor == "fuel":
        signals.fuel_l = level
    if sensor != fuel.sensor:
        fuel.sensor, fuel.readings = sensor, ()
    last = fuel.readings[-1] if fuel.readings else None
    ran = last is not None and signals.ignition is not False
    minutes = (seen.at_us - last.at_us) / 60e6 if ran and last is not None else 0.0
    readings = (*fuel.readings[1 - 2 * HALF :], Reading(seen.at_us, seen.digest, level, minutes))
    fuel.readings = readings
    if len(readings) < 2 * HALF:
        return
    before = median(reading.level for reading in readings[:HALF])
    after = median(reading.level for reading in readings[HALF:])
    change = after - before
    step = settings.fuel_step_l if sensor == "fuel" else settings.fuel_step_percent
    burnt = settings.fuel_use_per_minute * sum(reading.minutes for reading in readings[1:])
    if change >= step:
        kind = EventType.DEVICE_FUEL_INCREASE
    elif -change >= step + burnt:
        kind = EventType.DEVICE_FUEL_DROP
    else:
        return
    at = readings[_split(readings, before, after)]
    unit = "l" if sensor == "fuel" else "percent"
    attributes = {f"before_{unit}": before, f"after_{unit}": after, f"change_{unit}": change}
    found.append(Event(kind, at.at_us, seen.at_us, digest=at.digest, attributes=attributes))
    fuel.readings = readings[HALF:]


def _level(attributes: Mapping[str, Any]) -> tuple[str, float] | None:
    """Sensors that are switched off with the ignition tell 0: that is no level."""
    for sensor in ("fuel", "fuelLevel"):
        value = attributes.get(sensor)
        if value is not None and (level := number(value)) is not None and level > 0:
            return sensor, level
    return None


def _split(readings: tuple[Reading, ...], before: float, after: float) -> int:
    """Where the level changed: the split that leaves the least distance to ``before`` and ``after``. A wild reading
    beside it does not move it.
    """

    def distance(split: int) -> float:
        left = sum(abs(one.level - before) for one in readings[:split])
        return left + sum(abs(one.level - after) for one in readings[split:])

    return min(range(1, len(readings)), key=distance)
