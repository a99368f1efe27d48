"""The four bytes ``vehicle_status`` that end nearly every H02 report.

Manual: HuaSunTek "GPS Tracker Communication Protocol" V1.0.5 §2.4, LKGPS protocol §1. Negative logic: a
bit that is 0 speaks. Bit 0 is the lowest bit of the last byte, as sent most significant byte first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from tracker_protocols.model import Attributes

DOOR_OPEN: Final = 1 << 8
ARMED: Final = 1 << 9
ACC_OFF: Final = 1 << 10
ENGINE_CUT: Final = 1 << 27

# The first that speaks names the alarm, by urgency; several bits for one alarm are several makers' habits.
ALARMS: Final[tuple[tuple[int, str], ...]] = (
    (1 << 0, "vibration"),  # "theft alarm": the shock sensor of an armed vehicle
    (1 << 1 | 1 << 18, "sos"),  # robbery alarm; the SOS button's state
    (1 << 2, "overspeed"),
    (1 << 19, "powerCut"),  # the tracker lives on its backup battery
    (1 << 15, "overspeed"),  # the vehicle's own overspeed contact
    (1 << 3, "illegalIgnition"),
    (1 << 4, "geofenceEnter"),
    (1 << 7, "geofenceExit"),
    (1 << 5 | 1 << 6 | 1 << 21 | 1 << 22, "gpsAntennaCut"),  # open or shorted, as alarm or as state
    (1 << 16, "fault"),  # GPS receiver
    (1 << 20, "powerCut"),  # the vehicle's battery has been taken out
)

STATUSES_KEPT_MAX: Final = 1024  # a fleet shows a few dozen of them; the rest is noise


def status_attributes(bits: int) -> Attributes:
    """What 32 status bits say, as a dictionary of one's own."""
    return dict(_read(bits))


@lru_cache(STATUSES_KEPT_MAX)
def _read(bits: int) -> Attributes:
    attributes: Attributes = {
        "ignition": bool(bits & ACC_OFF),
        "door": not bits & DOOR_OPEN,
        "armed": not bits & ARMED,
        "blocked": not bits & ENGINE_CUT,
        "status": bits,
    }
    speaking = ~bits
    for mask, alarm in ALARMS:
        if speaking & mask:
            attributes["alarm"] = alarm
            break
    return attributes
