"""What reports measure beside the place: ignition, engine hours, alarms, battery, power, jamming, driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct, field

from tracker_server.model.event import SECOND_US, Event, EventType, Finding
from tracker_server.track.observation import Observation
from tracker_server.track.settings import TrackSettings
from tracker_server.track.totals import Totals, read_device_odometer

_MOMENT_S: Final = 60  # a thing that happens: told again after a minute without it
_STATE_S: Final = 3_600  # a state that devices repeat with every report: told again after an hour without it

# How long an alarm must not have been told for its next report to be another alarm. Unknown kinds are moments.
ALARM_QUIET_S: Final[Mapping[str, int]] = {
    "sos": _MOMENT_S,
    "general": _MOMENT_S,
    "accident": _MOMENT_S,
    "vibration": _MOMENT_S,
    "movement": _MOMENT_S,
    "fallDown": _MOMENT_S,
    "hardAcceleration": _MOMENT_S,
    "hardBraking": _MOMENT_S,
    "hardCornering": _MOMENT_S,
    "geofence": _MOMENT_S,
    "geofenceEnter": _MOMENT_S,
    "geofenceExit": _MOMENT_S,
    "door": _MOMENT_S,
    "powerOn": _MOMENT_S,
    "powerOff": _MOMENT_S,
    "powerRestored": _MOMENT_S,
    "powerCut": _STATE_S,
    "lowBattery": _STATE_S,
    "lowPower": _STATE_S,
    "overspeed": _STATE_S,
    "tow": _STATE_S,
    "idle": _STATE_S,
    "tampering": _STATE_S,
    "removing": _STATE_S,
    "jamming": _STATE_S,
    "gpsAntennaCut": _STATE_S,
    "temperature": _STATE_S,
    "fatigueDriving": _STATE_S,
    "fuelLeak": _STATE_S,
    "fault": _STATE_S,
}

POWER_PRESENT_V: Final = 8.0  # a vehicle's supply; below this it is a charger's
POWER_ABSENT_V: Final = 3.0
POWER_READINGS: Final = 3  # in a row: cranking pulls a battery down for one
HIGH_SYSTEM_V: Final = 18.0  # seen once: a 24 V system
LOW_V: Final = (11.5, 23.0)  # an emptying battery of a 12 V and of a 24 V system
RECOVERED_BY: Final = 1.05  # and so much above the limit it may be told again


class Signals(Struct, gc=False):
    """The last word on each. ``fuel_l`` is the last `fuel` told, in litres; ``alarms`` when each was last told."""

    seen_us: int | None = None
    ignition: bool | None = None
    ignition_off_us: int | None = None
    hours_ms: float | None = None
    driver: str | None = None
    fuel_l: float | None = None
    jamming: bool = False
    battery_low: bool = False
    power_low: bool = False
    power_low_readings: int = 0
    power_max_v: float = 0.0
    power_absent_readings: int = 0
    power_cut: bool = False
    alarms: dict[str, int] = field(default_factory=dict)


def number(value: object) -> float | None:
    """A measurement that is a finite number."""
    if type(value) is float or type(value) is int:  # a bool is an int, too, and measures nothing
        return value if -1e15 < value < 1e15 else None
    return None


def raise_alarm(
    signals: Signals, kind: str, seen: Observation, decided_us: int, found: list[Finding]
) -> None:
    """Tell an alarm, unless it is the same one still."""
    last_us = signals.alarms.get(kind)
    signals.alarms = signals.alarms | {kind: seen.at_us if last_us is None else max(last_us, seen.at_us)}
    if last_us is None or seen.at_us - last_us > ALARM_QUIET_S.get(kind, _MOMENT_S) * SECOND_US:
        found.append(
            Event(EventType.ALARM, seen.at_us, decided_us, digest=seen.digest, attributes={"alarm": kind})
        )


def settled_alarms(alarms: Mapping[str, int], at_us: int) -> dict[str, int]:
    """Those that still matter at a moment."""
    return {
        kind: last_us
        for kind, last_us in alarms.items()
        if at_us - last_us <= ALARM_QUIET_S.get(kind, _MOMENT_S) * SECOND_US
    }


def advance_signals(
    signals: Signals, totals: Totals, seen: Observation, settings: TrackSettings, found: list[Finding]
) -> None:
    """Take one report's measurements."""
    attributes = seen.attributes
    at_us = seen.at_us
    last_us = signals.seen_us
    past_us = 0 if last_us is None else at_us - last_us
    if signals.ignition and signals.hours_ms is None and past_us <= settings.gap_s * SECOND_US:
        totals.engine_us += past_us
    signals.seen_us = at_us
    if not attributes:
        return
    ignition = attributes.get("ignition")
    if ignition is not signals.ignition and isinstance(ignition, bool):
        _switch(signals, seen, found, ignition=ignition)
    odometer_m = attributes.get("odometer")
    if odometer_m is not None and (metres := number(odometer_m)) is not None:
        read_device_odometer(totals, metres, at_us, settings)
    hours = attributes.get("hours")
    if hours is not None and (hours_ms := number(hours)) is not None:
        _read_hours(signals, totals, hours_ms, past_us)
    alarm = attributes.get("alarm")
    if alarm is not None and isinstance(alarm, str):
        for kind in dict.fromkeys(alarm.split(",")):
            if kind:
                raise_alarm(signals, kind, seen, at_us, found)
    driver = attributes.get("driverUniqueId")
    if driver is not None and str(driver) not in {signals.driver, ""}:
        told = {"driver_unique_id": str(driver), "previous": signals.driver}
        signals.driver = str(driver)
        found.append(Event(EventType.DRIVER_CHANGED, at_us, at_us, digest=seen.digest, attributes=told))
    _read_supply(signals, attributes, seen, settings, found)


def _switch(signals: Signals, seen: Observation, found: list[Finding], *, ignition: bool) -> None:
    known = signals.ignition is not None
    signals.ignition = ignition
    signals.ignition_off_us = None if ignition else seen.at_us
    if known:
        kind = EventType.IGNITION_ON if ignition else EventType.IGNITION_OFF
        found.append(Event(kind, seen.at_us, seen.at_us, digest=seen.digest))


def _read_hours(signals: Signals, totals: Totals, hours_ms: float, past_us: int) -> None:
    """The device's own engine hours, in milliseconds; a count that jumps or goes back adds nothing."""
    last_ms, signals.hours_ms = signals.hours_ms, hours_ms
    if last_ms is not None and hours_ms > last_ms:
        # Readings come whole minutes apart at worst, and may have been kept back for an hour.
        gain_us = round((hours_ms - last_ms) * 1000)
        if gain_us <= past_us + 3_600 * SECOND_US:
            totals.engine_us += gain_us


def _read_supply(
    signals: Signals,
    attributes: Mapping[str, Any],
    seen: Observation,
    settings: TrackSettings,
    found: list[Finding],
) -> None:
    """Battery, outside power, jamming."""
    level = attributes.get("batteryLevel")
    if level is not None and (percent := number(level)) is not None:
        if percent <= settings.battery_low_percent and not signals.battery_low:
            signals.battery_low = True
            raise_alarm(signals, "lowBattery", seen, seen.at_us, found)
        elif percent >= settings.battery_ok_percent:
            signals.battery_low = False
    power = attributes.get("power")
    if power is not None and (volts := number(power)) is not None:
        _read_power(signals, volts, seen, settings, found)
    jamming = attributes.get("jamming")
    if jamming is not None:
        jammed = bool(jamming)
        if jammed and not signals.jamming:
            raise_alarm(signals, "jamming", seen, seen.at_us, found)
        signals.jamming = jammed


def _read_power(
    signals: Signals, volts: float, seen: Observation, settings: TrackSettings, found: list[Finding]
) -> None:
    if volts < POWER_ABSENT_V:
        if signals.power_max_v >= POWER_PRESENT_V and not signals.power_cut:
            signals.power_absent_readings += 1
            if signals.power_absent_readings > 1:  # two in a row: one is a bad contact of the sensor
                signals.power_cut = True
                raise_alarm(signals, "powerCut", seen, seen.at_us, found)
        return
    signals.power_absent_readings = 0
    if signals.power_cut and volts >= POWER_PRESENT_V:
        signals.power_cut = False
        raise_alarm(signals, "powerRestored", seen, seen.at_us, found)
    signals.power_max_v = max(signals.power_max_v, volts)
    if signals.power_max_v < POWER_PRESENT_V:
        return
    limit_v = settings.power_low_v
    if limit_v is None:
        limit_v = LOW_V[1] if signals.power_max_v > HIGH_SYSTEM_V else LOW_V[0]
    if volts >= limit_v:
        signals.power_low_readings = 0
        if volts >= limit_v * RECOVERED_BY:
            signals.power_low = False
    elif not signals.power_low:
        signals.power_low_readings += 1
        if signals.power_low_readings >= POWER_READINGS:
            signals.power_low = True
            raise_alarm(signals, "lowPower", seen, seen.at_us, found)
