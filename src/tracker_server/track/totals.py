"""What only grows: the odometer and the engine's hours. Whole millimetres and microseconds, so that a late
fix changes all later totals by one exact difference.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from tracker_server.track.settings import OdometerSource, TrackSettings
from tracker_server.track.values import clone

# The device's count is believed when over this way it agrees with the fixes' to within the share.
AGREE_WAY_M: Final = 2_000.0
AGREE_SHARE: Final = 0.2
# Devices that count whole kilometres jump by one.
STEP_OF_DEVICE_M: Final = 1_000.0
# Driven by the fixes while the device's count says nothing: it has failed.
SILENT_WAY_MM: Final = 20_000_000


class Totals(Struct, gc=False):
    """``odometer_mm`` and ``engine_us`` since the tracker's first report.

    ``device_*``: the device's own count: its last reading, whether it is believed, and the ways that it and
    the fixes have counted since it began to be compared (while it is not) or since its last reading.
    """

    odometer_mm: int = 0
    engine_us: int = 0
    device_m: float | None = None
    device_at_us: int = 0
    device_believed: bool = False
    device_way_m: float = 0.0
    fixes_way_mm: int = 0


def count_way(totals: Totals, way_mm: int) -> None:
    """The fixes say that so much was driven."""
    totals.fixes_way_mm += way_mm
    if not totals.device_believed:
        totals.odometer_mm += way_mm
    elif totals.fixes_way_mm > SILENT_WAY_MM:
        _disbelieve(totals)


def read_device_odometer(totals: Totals, reading_m: float, at_us: int, settings: TrackSettings) -> None:
    """The device tells its own count in metres."""
    source = settings.odometer_source
    if source is OdometerSource.GNSS:
        return
    last_m, past_us = totals.device_m, at_us - totals.device_at_us
    totals.device_m, totals.device_at_us = reading_m, at_us
    if last_m is None:
        totals.device_believed = source is OdometerSource.DEVICE
        totals.fixes_way_mm, totals.device_way_m = 0, 0.0
        return
    way_m = reading_m - last_m
    if not 0.0 <= way_m <= settings.speed_max_mps * past_us / 1_000_000 + STEP_OF_DEVICE_M:
        # It was reset, replaced, or is nonsense: the fixes count until it agrees again.
        if totals.device_believed:
            _disbelieve(totals)
        totals.fixes_way_mm, totals.device_way_m = 0, 0.0
        totals.device_believed = source is OdometerSource.DEVICE
    elif totals.device_believed:
        totals.odometer_mm += round(way_m * 1000)
        if way_m > 0.0:
            totals.fixes_way_mm = 0
    else:
        totals.device_way_m += way_m
        fixes_m = totals.fixes_way_mm / 1000
        if totals.device_way_m >= AGREE_WAY_M:
            totals.device_believed = abs(totals.device_way_m - fixes_m) <= AGREE_SHARE * totals.device_way_m
            if totals.device_believed:
                # The reading has the way to this report, which the fixes count after it.
                totals.odometer_mm += max(0, round(totals.device_way_m * 1000) - totals.fixes_way_mm)
            totals.fixes_way_mm, totals.device_way_m = 0, 0.0


def _disbelieve(totals: Totals) -> None:
    totals.odometer_mm += totals.fixes_way_mm
    totals.device_believed = False
    totals.fixes_way_mm, totals.device_way_m = 0, 0.0


def shifted_totals(totals: Totals, odometer_mm: int, engine_us: int) -> Totals:
    """The same with so much more counted before."""
    out = clone(totals)
    out.odometer_mm += odometer_mm
    out.engine_us += engine_us
    return out
