"""Days of trackers, made by hand or from a seed, and short words for what the engine finds in them."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import Any

from tracker_server.model.event import SECOND_US, Event, Finding, Stop, Trip, Visit
from tracker_server.track.fences.index import EMPTY, FenceIndex
from tracker_server.track.fences.shapes import Fence, Shape, area, circle, corridor
from tracker_server.track.observation import Observation
from tracker_server.track.replay import run
from tracker_server.track.settings import TrackSettings
from tracker_server.track.state import ongoing

HOME = (52.0, 21.0)
NORTH_M = 1 / 111_267.0  # degrees of latitude in a metre at HOME, near enough for made-up roads
EAST_M = 1 / 68_678.0


def at(north_m: float, east_m: float = 0.0) -> tuple[float, float]:
    """A place so many metres from HOME."""
    return HOME[0] + north_m * NORTH_M, HOME[1] + east_m * EAST_M


def fix(  # noqa: PLR0913  (what a fix may say)
    second: float,
    place: tuple[float, float],
    speed_mps: float | None = None,
    *,
    digest: int = 0,
    received_s: float | None = None,
    valid: bool = True,
    accuracy_m: float | None = None,
    course_deg: float | None = None,
    **attributes: Any,
) -> Observation:
    """A fix at a second of the day."""
    at_us = round(second * SECOND_US)
    received_us = at_us if received_s is None else round(received_s * SECOND_US)
    latitude, longitude = place
    return Observation(
        at_us,
        digest,
        received_us,
        latitude,
        longitude,
        valid,
        speed_mps,
        course_deg,
        accuracy_m,
        attributes,
    )


def told(second: float, *, digest: int = 0, **attributes: Any) -> Observation:
    """A report without a location."""
    at_us = round(second * SECOND_US)
    return Observation(at_us, digest, at_us, attributes=attributes)


def stand(
    begin: int, end: int, place: tuple[float, float], every: int = 10, **more: Any
) -> list[Observation]:
    """Standing at a place, from the first second until before the last."""
    return [fix(second, place, 0.0, **more) for second in range(begin, end, every)]


def drive(
    begin: int,
    end: int,
    start_m: float,
    speed_mps: float,
    every: int = 10,
    east_m: float = 0.0,
    **more: Any,
) -> list[Observation]:
    """Driving north (south where the speed is negative) from ``start_m`` north of HOME."""
    return [
        fix(second, at(start_m + speed_mps * (second - begin), east_m), abs(speed_mps), **more)
        for second in range(begin, end, every)
    ]


def square(number: int, north_m: float, east_m: float, side_m: float, **more: Any) -> Fence:
    """A square fence whose south-west corner is so far from HOME."""
    corners = [(0.0, 0.0), (0.0, side_m), (side_m, side_m), (side_m, 0.0), (0.0, 0.0)]
    ring = [(lon, lat) for lat, lon in (at(north_m + n, east_m + e) for n, e in corners)]
    return fence(number, area([[ring]]), **more)


def disc(number: int, north_m: float, radius_m: float, east_m: float = 0.0, **more: Any) -> Fence:
    """A circular fence."""
    return fence(number, circle(*at(north_m, east_m), radius_m), **more)


def gate(number: int, north_m: float, width_m: float, **more: Any) -> Fence:
    """A corridor from west to east across the road."""
    ends = [(lon, lat) for lat, lon in (at(north_m, -2000.0), at(north_m, 2000.0))]
    return fence(number, corridor([ends], width_m), **more)


def fence(number: int, shape: Shape, **more: Any) -> Fence:
    """A fence with a name."""
    return Fence(id=number, name=f"fence {number}", shape=shape, **more)


def spoken(findings: Iterable[Finding]) -> list[str]:
    """One line for each finding: what, when in seconds, and what matters of it."""
    return [_spoken(found) for found in findings]


def _second(at_us: int | None) -> str:
    return "…" if at_us is None else f"{at_us / SECOND_US:g}"


def _spoken(found: Finding) -> str:
    match found:
        case Event():
            parts = [_second(found.occurred_us), found.type.value]
            if found.fence_id is not None:
                parts.append(f"fence {found.fence_id}")
            if "alarm" in found.attributes:
                parts.append(str(found.attributes["alarm"]))
            return " ".join(parts)
        case Trip():
            km = found.distance_mm / 1_000_000
            return f"{_second(found.started_us)}-{_second(found.ended_us)} trip {km:.1f} km"
        case Stop():
            return f"{_second(found.started_us)}-{_second(found.ended_us)} stop"
        case Visit():
            return f"{_second(found.entered_us)}-{_second(found.left_us)} visit fence {found.fence_id}"


def story(
    observations: Sequence[Observation],
    fences: Iterable[Fence] = (),
    settings: TrackSettings | None = None,
) -> list[str]:
    """All that is found, what goes on at the end included, in the order of their moments."""
    index = FenceIndex(fences) if fences else EMPTY
    made = run(observations, settings or TrackSettings(), index)
    return in_order(spoken([*made.found, *ongoing(made.state)]))


def in_order(lines: list[str]) -> list[str]:
    """Lines by the second at which they begin."""
    return sorted(lines, key=lambda line: (float(line.split(" ", 1)[0].split("-", 1)[0]), line))


def events_only(lines: Iterable[str]) -> list[str]:
    """Without trips, stops and visits."""
    return [line for line in lines if not {"trip", "stop", "visit"} & set(line.split()[1:2])]


def some_fences() -> list[Fence]:
    """Fences along the made-up days' roads."""
    return [
        square(1, 1500, -400, 800, speed_limit_mps=12.0),
        disc(2, 6000, 700, dwell_s=120.0),
        gate(3, 3500, 40),
        disc(4, -60, 100),
        square(5, -3000, -3000, 9000),
    ]


def random_day(seed: int, pieces: int = 14) -> list[Observation]:
    """A day with everything that goes wrong: jams, stops, silence, wandering, jumps, lost fixes, reports without a
    place, ignition that lies, alarms, fuel, a clock from the future.
    """
    rng = random.Random(seed)
    second, north, east, heading = 0.0, 0.0, 0.0, 0.0
    device_odometer = rng.choice([None, 120_000.0])
    out: list[Observation] = []

    def put(speed: float, **more: Any) -> None:
        place = at(north + rng.gauss(0, 4), east + rng.gauss(0, 4))
        attributes: dict[str, Any] = {}
        if rng.random() < 0.5:
            attributes["ignition"] = speed > 0.5 if rng.random() < 0.95 else rng.random() < 0.5
        if device_odometer is not None and rng.random() < 0.8:
            attributes["odometer"] = round(device_odometer)
        if rng.random() < 0.04:
            attributes["alarm"] = rng.choice(["sos", "lowBattery", "vibration,tow", "overspeed"])
        if rng.random() < 0.3:
            attributes["fuel"] = 60 - second / 4000 + rng.gauss(0, 1.5) - (20 if second > 9000 else 0)
        attributes |= {
            "batteryLevel": max(0, 100 - second / 150),
            "power": rng.choice([13.9, 12.6, 11.0, 0.0]),
        }
        roll = rng.random()
        digest = rng.getrandbits(40)
        if roll < 0.02:
            out.append(fix(second, at(rng.uniform(-9e5, 9e5), rng.uniform(-9e5, 9e5)), 10.0, digest=digest))
        elif roll < 0.03:
            out.append(fix(second, (0.0, 0.0), 0.0, digest=digest, valid=False, **attributes))
        elif roll < 0.04:
            out.append(fix(second + 80_000, place, 0.0, digest=digest, received_s=second))
        elif roll < 0.05:
            out.append(fix(second, at(north + 4000, east), 0.0, digest=digest, accuracy_m=3000.0))
        elif roll < 0.08:
            out.append(told(second, digest=digest, **attributes))
        else:
            told_speed = None if rng.random() < 0.2 else max(0.0, speed + rng.gauss(0, 0.3))
            out.append(fix(second, place, told_speed, digest=digest, **more, **attributes))

    for _ in range(pieces):
        kind = rng.choice(["drive", "drive", "park", "light", "jam", "silence", "yard"])
        every = rng.choice([1, 5, 10, 30]) if kind != "park" else rng.choice([10, 60, 300])
        length = {"drive": 400, "park": 1500, "light": 60, "jam": 240, "silence": 0, "yard": 90}[kind]
        speed = {"drive": rng.uniform(6, 28), "jam": 1.8, "yard": 1.5}.get(kind, 0.0)
        heading += rng.choice([0.0, 0.4, -0.4, math.pi])
        if kind == "silence":
            gap = rng.choice([400, 4000, 90_000])
            second += gap
            north += rng.choice([0.0, 0.0, 5000.0])
        for _ in range(max(2, min(40, length // every))):
            second += every
            north += speed * every * math.cos(heading)
            east += speed * every * math.sin(heading)
            if device_odometer is not None:
                device_odometer += speed * every
            put(speed)
    return out
