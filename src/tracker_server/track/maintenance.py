"""Maintenance that falls due by distance, engine hours or date."""

from __future__ import annotations

import math

from tracker_server.model.event import Event, EventType, Finding
from tracker_server.track.observation import Observation
from tracker_server.track.settings import Maintenance, MaintenanceKind, TrackSettings
from tracker_server.track.totals import Totals

HOUR_US = 3_600_000_000


def counted(kind: MaintenanceKind, totals: Totals, at_us: int) -> float:
    """The value that a maintenance of this kind looks at."""
    match kind:
        case MaintenanceKind.DISTANCE:
            return totals.odometer_mm / 1000
        case MaintenanceKind.HOURS:
            return totals.engine_us / HOUR_US
        case MaintenanceKind.DATE:
            return float(at_us)


def _times_due(plan: Maintenance, value: float) -> int:
    """How often it has been due when ``value`` is reached."""
    if value < plan.start:
        return 0
    return 1 if plan.period <= 0 else 1 + math.floor((value - plan.start) / plan.period)


def advance_maintenance(
    before: tuple[int, Totals],
    totals: Totals,
    seen: Observation,
    settings: TrackSettings,
    found: list[Finding],
) -> None:
    """Compare what was counted before this report (with the moment of the report before) and after it. By date it
    is due at that very moment, else at the report that reached it.
    """
    before_us, before_totals = before
    for plan in settings.maintenance:
        value = plan.before + counted(plan.kind, totals, seen.at_us)
        times = _times_due(plan, value)
        if times <= _times_due(plan, plan.before + counted(plan.kind, before_totals, before_us)):
            continue
        due = plan.start + (times - 1) * plan.period
        by_date = plan.kind is MaintenanceKind.DATE
        found.append(
            Event(
                EventType.MAINTENANCE,
                round(due) if by_date else seen.at_us,
                seen.at_us,
                digest=None if by_date else seen.digest,
                attributes={"maintenance_id": plan.id, "kind": plan.kind.value, "due": due},
            )
        )
