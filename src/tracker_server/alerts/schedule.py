"""Quiet times of the day. Pure; calendars are ``model.schedule``'s."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta, tzinfo


def quiet_until(quiet: tuple[time, time], zone: tzinfo, now: datetime) -> datetime | None:
    """The end of the quiet time that ``now`` lies in; None where it lies in none. A time that ends before it begins
    goes over midnight.
    """
    begins, ends = quiet
    local = now.astimezone(zone)
    clock = local.time()
    if begins < ends:
        inside, day = begins <= clock < ends, local.date()
    else:
        inside = clock >= begins or clock < ends
        day = local.date() + timedelta(days=1) if clock >= begins else local.date()
    return datetime.combine(day, ends, zone).astimezone(UTC) if inside else None
