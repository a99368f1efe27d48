"""Overspeed by the limits of fence, tracker and account; harsh driving from the change of told speeds."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from tracker_server.model.event import SECOND_US, Event, EventType
from tracker_server.track.accepted import Step
from tracker_server.track.signals import raise_alarm

# Two fixes this close tell the mean speed between them; further apart the way between may have turned.
COMPUTED_MAX_US = 60 * SECOND_US
COMPUTED_MIN_US = 5 * SECOND_US  # nearer, the receiver's noise is a speed
CORNERING_MIN_MPS = 5.0  # slower, the course is noise


class Speeding(Struct, frozen=True, gc=False):
    """A run of fixes above the limit: its first fix, and whether it was told."""

    since_us: int | None = None
    digest: int = 0
    told: bool = False


def speed_of(step: Step) -> float | None:
    """Metres a second as told, else from the way between two fixes, else None."""
    fix, before = step.fix, step.before
    if fix.speed_mps is not None:
        return fix.speed_mps if fix.speed_mps <= step.settings.speed_max_mps else None
    if before is None:
        return None
    past_us = fix.at_us - before.at_us
    if not COMPUTED_MIN_US <= past_us <= COMPUTED_MAX_US:
        return None
    return step.way_m * SECOND_US / past_us


NOT_SPEEDING: Final = Speeding()


def advance_speed(speeding: Speeding, step: Step, fence_limit: tuple[float, int] | None) -> Speeding:
    """The run of fixes above the limit as it is after this fix. ``fence_limit``: the lowest limit (m/s) of the fences that the
    fix is in, and that fence's id. The fence's limit goes before the tracker's, the tracker's before the account's.
    """
    settings = step.settings
    limit_mps, fence_id = fence_limit or (None, None)
    if limit_mps is None:
        limit_mps = settings.device_speed_limit_mps
    if limit_mps is None:
        limit_mps = settings.account_speed_limit_mps
    speed_mps = speed_of(step) if limit_mps is not None else None
    if limit_mps is None or speed_mps is None or speed_mps <= limit_mps * settings.overspeed_multiplier:
        over = speeding.since_us is not None and (limit_mps is None or speed_mps is not None)
        return NOT_SPEEDING if over else speeding
    fix = step.fix
    if speeding.since_us is None:
        speeding = Speeding(fix.at_us, fix.digest)
    since_us, digest = speeding.since_us, speeding.digest
    assert since_us is not None
    if speeding.told or fix.at_us - since_us < settings.overspeed_duration_s * SECOND_US:
        return speeding
    told = {"speed_mps": speed_mps, "limit_mps": limit_mps}
    step.found.append(Event(EventType.DEVICE_OVERSPEED, since_us, fix.at_us, fence_id, digest, told))
    return Speeding(since_us, digest, told=True)


def advance_harsh(step: Step) -> None:
    """Compare the told speeds of two fixes that are seconds apart."""
    fix, before, settings = step.fix, step.before, step.settings
    if before is None or fix.speed_mps is None or before.speed_mps is None:
        return
    past_s = (fix.at_us - before.at_us) / SECOND_US
    if not 0.5 <= past_s <= settings.harsh_gap_s:
        return
    change_mps2 = (fix.speed_mps - before.speed_mps) / past_s
    accelerating, braking = settings.hard_acceleration_mps2, settings.hard_braking_mps2
    cornering = settings.hard_cornering_mps2
    kind = None
    if accelerating is not None and change_mps2 >= accelerating:
        kind = "hardAcceleration"
    elif braking is not None and -change_mps2 >= braking:
        kind = "hardBraking"
    elif cornering is not None and fix.course_deg != before.course_deg and _cornering_mps2(step) >= cornering:
        kind = "hardCornering"
    if kind is not None:
        raise_alarm(step.signals, kind, fix, fix.at_us, step.found)


def _cornering_mps2(step: Step) -> float:
    fix, before = step.fix, step.before
    if before is None or fix.course_deg is None or before.course_deg is None:
        return 0.0
    slower_mps = min(fix.speed_mps or 0.0, before.speed_mps or 0.0)
    if slower_mps < CORNERING_MIN_MPS:
        return 0.0
    turn_deg = abs((fix.course_deg - before.course_deg + 180.0) % 360.0 - 180.0)
    return slower_mps * turn_deg * (3.141592653589793 / 180.0) * SECOND_US / (fix.at_us - before.at_us)
