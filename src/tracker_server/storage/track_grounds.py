"""Fences, settings and plans of an account, read whole, as the track engine goes by them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final, LiteralString

import structlog
from msgspec import structs
from psycopg import AsyncConnection

from tracker_server.config import Settings
from tracker_server.model.schedule import Schedule, ScheduleError, check_calendar
from tracker_server.pipeline.batch import micros
from tracker_server.pipeline.track_book import Ground
from tracker_server.storage.fences import every_fence_of
from tracker_server.track.fences.index import EMPTY, FenceIndex
from tracker_server.track.fences.shapes import Fence
from tracker_server.track.overrides import OverrideError, overridden
from tracker_server.track.settings import Maintenance, MaintenanceKind, OdometerSource, TrackSettings

log = structlog.get_logger(__name__)

CHANNEL: Final = "tracker_track"
# A fix that came this long before the fence was drawn counts: two machines' clocks, and a user who draws around a tracker
# that has just stopped there.
DRAWN_SLACK_US: Final = 60_000_000
FENCES_BESIDE: Final = 1_000  # of more than these the index is made in a thread: 100,000 take half a second

ACCOUNT = "SELECT zone, track FROM core.accounts WHERE id = %s"
OWN_SETTINGS = (
    "SELECT id, track FROM core.devices WHERE account_id = %s AND removed_at IS NULL AND track <> '{}'"
)
# Trackers by what is linked to them, straight or by a group that they are in.
LINKED: LiteralString = """
WITH RECURSIVE within AS (
    SELECT id AS group_id, id AS of FROM core.groups WHERE account_id = %(account)s
    UNION SELECT w.group_id, g.id FROM within w JOIN core.groups g ON g.group_id = w.of
)
SELECT l.object_id, d.id FROM core.links l JOIN core.devices d ON d.id = l.owner_id
WHERE l.kind = %(kind)s AND l.owner = 'device' AND d.account_id = %(account)s AND d.removed_at IS NULL
UNION SELECT l.object_id, d.id FROM core.links l JOIN within w ON w.group_id = l.owner_id
    JOIN core.devices d ON d.group_id = w.of
WHERE l.kind = %(kind)s AND l.owner = 'group' AND d.account_id = %(account)s AND d.removed_at IS NULL
"""
RESTRICTED: LiteralString = """
SELECT DISTINCT object_id FROM core.links WHERE kind = 'geofence' AND owner IN ('device', 'group')
  AND object_id IN (SELECT id FROM core.fences WHERE account_id = %s)
"""
ASSIGNED: LiteralString = """
SELECT a.fence_id, a.device_id FROM core.fence_devices a JOIN core.fences f ON f.id = a.fence_id WHERE f.account_id = %s
"""
PLANS: LiteralString = "SELECT id, type, start, period FROM core.maintenance WHERE account_id = %s"
BEFORE: LiteralString = """
SELECT id, odometer_offset_mm / 1000.0::float8, coalesce(engine_offset_us, 0) / 3600000000.0::float8 FROM core.devices
WHERE account_id = %s AND removed_at IS NULL AND (odometer_offset_mm <> 0 OR engine_offset_us <> 0)
"""
METRES: Final = frozenset({"totalDistance", "odometer", "distance"})
HOURS: Final = frozenset({"hours", "engineHours"})
DATES: Final = frozenset({"fixTime", "deviceTime", "serverTime", "date"})
# a client of this field counts hours and dates in milliseconds, dates since 1970
HOUR_MS: Final = 3_600_000.0
UNIX_2000_MS: Final = 946_684_800_000.0


def engine_settings(settings: Settings) -> TrackSettings:
    """What the engine goes by where neither account nor tracker says otherwise."""
    track, fences = settings.track, settings.geofences
    said = {name: getattr(track, name) for name in track.__struct_fields__}
    said |= {name: getattr(fences, name) for name in fences.__struct_fields__}
    said["account_speed_limit_mps"] = said.pop("speed_limit_mps") or None
    said["inactive_after_s"] = said["inactive_after_s"] or None
    said["odometer_source"] = OdometerSource(said["odometer_source"])
    return TrackSettings(**said)


async def read_ground(
    connection: AsyncConnection[Any], account_id: int, base: TrackSettings, before: Ground | None = None
) -> Ground:
    """What holds in an account now. ``before``: as it was, so that fences which stayed need not be prepared again."""
    row = await (await connection.execute(ACCOUNT, [account_id])).fetchone()
    if row is None:
        return Ground(settings=base)
    zone, track = row
    settings = _laid_over(base, track, f"account {account_id}")
    rows = await every_fence_of(connection, account_id)
    index = await _index([_fence(row.fence, row.created_at, row.schedule, zone) for row in rows], before)
    own = dict(await (await connection.execute(OWN_SETTINGS, [account_id])).fetchall())
    everyone, mine = await _assignments(connection, account_id, {r.id for r in rows if r.everyone}, len(rows))
    plans = await _plans(connection, account_id)
    if everyone is not None:
        settings = structs.replace(settings, fence_ids=everyone)
    devices = own.keys() | plans.keys() | (mine.keys() if everyone is not None else set())
    of_device: dict[int, TrackSettings] = {}
    for device_id in devices:
        one = _laid_over(settings, own.get(device_id, {}), f"tracker {device_id}")
        ids = None if everyone is None else everyone | mine.get(device_id, frozenset())
        of_device[device_id] = structs.replace(one, fence_ids=ids, maintenance=plans.get(device_id, ()))
    return Ground(index, settings, of_device)


def _laid_over(base: TrackSettings, values: Mapping[str, Any], whose: str) -> TrackSettings:
    try:
        return overridden(base, values)
    except OverrideError as error:
        log.error("settings of the track engine cannot be used", of=whose, error=str(error))  # noqa: TRY400
        return base


def _fence(fence: Fence, created_at: Any, schedule: str | None, zone: str) -> Fence:
    drawn_us = micros(created_at) - DRAWN_SLACK_US
    if fence.since_us is not None:  # whoever says from when on means what came in since then
        drawn_us = min(drawn_us, fence.since_us)
    if schedule is None:
        return structs.replace(fence, drawn_us=drawn_us)
    try:
        check_calendar(schedule)
    except ScheduleError as error:
        log.error("a fence's schedule cannot be read; it holds always", fence=fence.id, error=str(error))  # noqa: TRY400
        return structs.replace(fence, drawn_us=drawn_us)
    return structs.replace(fence, drawn_us=drawn_us, schedule=Schedule(schedule, zone))


async def _index(fences: list[Fence], before: Ground | None) -> FenceIndex:
    if not fences:
        return EMPTY
    old = EMPTY if before is None else before.fences
    same = old.by_id
    kept = [same[fence.id] if same.get(fence.id) == fence else fence for fence in fences]
    ids = {fence.id for fence in fences}
    gone = [fence_id for fence_id in same if fence_id not in ids]
    if len(fences) > FENCES_BESIDE:
        return await asyncio.to_thread(old.changed, kept, gone)
    return old.changed(kept, gone)


async def _assignments(
    connection: AsyncConnection[Any], account_id: int, everyone: set[int], fences: int
) -> tuple[frozenset[int] | None, dict[int, frozenset[int]]]:
    """The fences that are for all trackers (None: all fences are), and those that are for one besides."""
    restricted = {row[0] for row in await (await connection.execute(RESTRICTED, [account_id])).fetchall()}
    everyone -= restricted
    if len(everyone) == fences:
        return None, {}
    pairs = await (await connection.execute(ASSIGNED, [account_id])).fetchall()
    linked = await connection.execute(LINKED, {"account": account_id, "kind": "geofence"})
    mine: dict[int, set[int]] = {}
    for fence_id, device_id in [*pairs, *await linked.fetchall()]:
        mine.setdefault(device_id, set()).add(fence_id)
    return frozenset(everyone), {device_id: frozenset(ids) for device_id, ids in mine.items()}


async def _plans(connection: AsyncConnection[Any], account_id: int) -> dict[int, tuple[Maintenance, ...]]:
    """Maintenance plans by tracker. Plans of attributes that nothing counts are not the engine's."""
    rows = await (await connection.execute(PLANS, [account_id])).fetchall()
    plans = {plan_id: made for plan_id, *about in rows if (made := _plan(plan_id, *about)) is not None}
    if not plans:
        return {}
    linked = await connection.execute(LINKED, {"account": account_id, "kind": "maintenance"})
    pairs = sorted(await linked.fetchall())
    offsets = await (await connection.execute(BEFORE, [account_id])).fetchall()
    before = {
        device_id: {MaintenanceKind.DISTANCE: metres, MaintenanceKind.HOURS: hours}
        for device_id, metres, hours in offsets
    }
    found: dict[int, list[Maintenance]] = {}
    for plan_id, device_id in pairs:
        if plan_id in plans:
            plan = plans[plan_id]
            more = before.get(device_id, {}).get(plan.kind, 0.0)
            found.setdefault(device_id, []).append(structs.replace(plan, before=more) if more else plan)
    return {device_id: tuple(made) for device_id, made in found.items()}


def _plan(plan_id: int, kind: str, start: float, period: float) -> Maintenance | None:
    if kind in METRES:
        return Maintenance(plan_id, MaintenanceKind.DISTANCE, start, period)
    if kind in HOURS:
        return Maintenance(plan_id, MaintenanceKind.HOURS, start / HOUR_MS, period / HOUR_MS)
    if kind in DATES:
        return Maintenance(plan_id, MaintenanceKind.DATE, (start - UNIX_2000_MS) * 1000.0, period * 1000.0)
    return None
