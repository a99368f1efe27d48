"""The phases of motion, and what leads from one to another."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """What a tracker does, as far as is sure."""

    START = "start"  # nothing is known before this place
    PARKED = "parked"
    LEAVING = "leaving"  # beyond the drift radius, not yet proven
    MOVING = "moving"
    HALTING = "halting"  # slow or standing, not yet a stop


MOVING_PHASES: Final = frozenset({Phase.MOVING, Phase.HALTING})
"""A halt at a traffic light is part of a ride."""


class Turn(StrEnum):
    """What a fix, or its absence, says about motion."""

    RESTED = "stood for stop_duration_s, or slow with ignition off"
    BEYOND = "fix beyond the drift radius"
    RETURNED = "back within the drift radius"
    RETURNED_EARLY = "back before it was a stop"
    SHIFTED = "came to rest nearby: the receiver wandered"
    PROVEN = "trip_distance_m or trip_duration_s away"
    SLOWED = "slower than stop_speed_mps"
    RESUMED = "beyond the drift radius of the halt"
    SILENT = "no fix for gap_s"
    RELOCATED = "a jump proved true"


NEXT: Final[dict[tuple[Phase, Turn], Phase]] = {
    (Phase.START, Turn.RESTED): Phase.PARKED,
    (Phase.START, Turn.BEYOND): Phase.LEAVING,
    (Phase.START, Turn.SILENT): Phase.START,
    (Phase.PARKED, Turn.BEYOND): Phase.LEAVING,
    (Phase.LEAVING, Turn.RETURNED): Phase.PARKED,
    (Phase.LEAVING, Turn.RETURNED_EARLY): Phase.START,
    (Phase.LEAVING, Turn.SHIFTED): Phase.PARKED,
    (Phase.LEAVING, Turn.PROVEN): Phase.MOVING,
    (Phase.MOVING, Turn.SLOWED): Phase.HALTING,
    (Phase.MOVING, Turn.RESTED): Phase.PARKED,
    (Phase.MOVING, Turn.SILENT): Phase.PARKED,
    (Phase.HALTING, Turn.RESUMED): Phase.MOVING,
    (Phase.HALTING, Turn.RESTED): Phase.PARKED,
    (Phase.HALTING, Turn.SILENT): Phase.PARKED,
    (Phase.START, Turn.RELOCATED): Phase.START,
    (Phase.PARKED, Turn.RELOCATED): Phase.START,
    (Phase.LEAVING, Turn.RELOCATED): Phase.START,
    (Phase.MOVING, Turn.RELOCATED): Phase.START,
    (Phase.HALTING, Turn.RELOCATED): Phase.START,
}
