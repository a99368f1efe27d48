"""Reports as rows: what was driven, where it stood, what happened, all of it read through the gate.

A maker knows no request: what is mailed on a calendar is made in the same way, at the moment of sending.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace
from psycopg import AsyncConnection

from tracker_server.api.errors import bad
from tracker_server.api.event_shape import Event, event_shape
from tracker_server.api.places import Places
from tracker_server.api.position_shape import KNOTS_PER_MPS, Formulas, Position, iso_ms, positions_of
from tracker_server.api.report_shapes import (
    CombinedItem,
    DeviceItem,
    StopItem,
    SummaryItem,
    TripItem,
    VisitItem,
)
from tracker_server.model.people import Principal, Right
from tracker_server.model.why import Why
from tracker_server.storage.device_cards import device_cards_of
from tracker_server.storage.marks_api import marker_of, odometer_before, way_within
from tracker_server.storage.positions_api import (
    IDS_MAX,
    latest_positions_of,
    positions_between,
    positions_numbered,
)
from tracker_server.storage.reports_api import (
    Card,
    StopRow,
    TripRow,
    blocked_in,
    cards_of,
    driver_names,
    events_of,
    groups_devices,
    presence_of,
    standing_of,
    stops_of,
    trips_of,
    visits_of,
    zones_of,
)
from tracker_server.track.marking import Floats
from tracker_server.track.summary import Leg, Rest, Sums, sum_up

PERIOD_MAX: Final = timedelta(days=366)
ROWS_MAX: Final = 100_000  # of one report: it is made in memory, some 100 MB at the most
PERIODS_MAX: Final = 50_000  # trackers times days of a summary: two looks into the index for each
ROUTE_PLACES_MAX: Final = 500_000  # of a combined report: pairs of numbers
ALL_EVENTS: Final = "allEvents"


class Readers(Protocol):
    """Where a report is read: connections that speak as a role (``storage.pools.Pools``)."""

    def core(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """What is true; for names that people wrote down."""
        ...

    def display(self) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """What may be shown."""
        ...


class Asked(Struct, frozen=True, kw_only=True):
    """What a report is to be about, and who asks. Empty lists: all that he may see. Both ends belong to it."""

    principal: Principal
    since: datetime
    until: datetime
    device_ids: frozenset[int] = frozenset()
    group_ids: frozenset[int] = frozenset()
    fence_ids: frozenset[int] = frozenset()
    types: tuple[str, ...] = ()
    daily: bool = False


class Made(Struct, frozen=True):
    """A report. ``blocked``: how many trackers of those asked about are hidden and so not in it."""

    name: str
    kind: type[Struct]
    rows: Sequence[Struct]
    blocked: int
    zone: str

    @property
    def remark(self) -> str:
        """What a total leaves out has to be said."""
        if not self.blocked:
            return ""
        return f"{self.blocked} blocked tracker{'s' if self.blocked > 1 else ''} excluded"


def checked(asked: Asked) -> Asked:
    """Raises Refusal for a period that ends before it begins, or is too long."""
    if asked.until < asked.since:
        raise bad("to", "lies before from; swap them", Why.PERIOD_REVERSED)
    if asked.until - asked.since > PERIOD_MAX:
        raise bad(
            "to",
            f"is more than {PERIOD_MAX.days} days after from; ask for a shorter period",
            Why.PERIOD_LONG,
            days=PERIOD_MAX.days,
        )
    return asked


class ReportMaker:
    """Makes them."""

    def __init__(
        self, pools: Readers, formulas: Formulas | None = None, places: Places | None = None
    ) -> None:
        self._pools = pools
        self._formulas = formulas
        self._places = places

    async def make(self, name: str, asked: Asked) -> Made:
        """One of ``REPORTS``. Raises Refusal where it would be too long."""
        kind, work = REPORTS[name]
        asked = checked(asked)
        named = asked.device_ids or asked.group_ids
        wanted = await self._wanted(asked)
        async with self._pools.display() as connection:
            cards = await cards_of(connection, asked.principal.scope)
            if named:
                cards = [card for card in cards if card.id in wanted]
            blocked = 0
            if asked.principal.may(Right.BOOKS) and not asked.device_ids:
                blocked = await blocked_in(connection, asked.principal.scope, wanted if named else None)
        zones = await self._zones({card.account_id for card in cards})
        desk = Desk(self._pools, asked, cards, zones, self._formulas, self._places)
        rows = await work(desk) if cards else []
        zone = next(iter(zones.values())) if len(set(zones.values())) == 1 else "UTC"
        return Made(name, kind, rows, blocked, zone)

    async def _wanted(self, asked: Asked) -> frozenset[int]:
        if not asked.group_ids:
            return asked.device_ids
        async with self._pools.core() as connection:
            return asked.device_ids | await groups_devices(connection, list(asked.group_ids))

    async def _zones(self, account_ids: set[int]) -> dict[int, str]:
        if not account_ids:
            return {}
        async with self._pools.core() as connection:
            return await zones_of(connection, list(account_ids))


class Desk:
    """What one report is made with."""

    def __init__(
        self,
        pools: Readers,
        asked: Asked,
        cards: Sequence[Card],
        zones: dict[int, str],
        formulas: Formulas | None,
        places: Places | None,
    ) -> None:
        self.pools = pools
        self._places = places
        self.formulas = formulas
        self.asked = asked
        self.cards = cards
        self.zones = zones
        self.ids = [card.id for card in cards]
        self.names = {card.id: card.name for card in cards}
        self.accounts = {card.id: card.account_id for card in cards}

    async def addresses(
        self, latitudes: Sequence[float] | Floats, longitudes: Sequence[float] | Floats
    ) -> list[str | None]:
        """Of these places, as far as they are known."""
        if self._places is None:
            return [None] * len(latitudes)
        return await self._places.known_at(latitudes, longitudes)

    def bounded(self, rows: list[Any]) -> list[Any]:
        """Raises Refusal where there are more than a report may have."""
        if len(rows) > ROWS_MAX:
            raise bad(
                "to",
                f"more than {ROWS_MAX:,} rows; ask for a shorter period or fewer trackers",
                Why.TOO_MANY_ROWS,
                rows=ROWS_MAX,
            )
        return rows


# ------------------------------------------------------------------------------------------------- the reports


async def route(desk: Desk) -> list[Position]:
    """Every position."""
    asked = desk.asked
    found: list[Position] = []
    async with desk.pools.display() as connection:
        for device_id in desk.ids:
            marker = await marker_of(connection, device_id, asked.since, asked.until)
            chunks = positions_between(connection, device_id, asked.since, asked.until)
            try:
                async for fixes in chunks:
                    marks = marker.mark(fixes.fixed_us, fixes.latitudes, fixes.longitudes, fixes.valid)
                    addresses = await desk.addresses(fixes.latitudes, fixes.longitudes)
                    found += positions_of(fixes, marks, desk.formulas, addresses)
                    desk.bounded(found)
            finally:
                await chunks.aclose()
    return found


async def events(desk: Desk) -> list[Event]:
    """What happened."""
    types = None if not desk.asked.types or ALL_EVENTS in desk.asked.types else desk.asked.types
    async with desk.pools.display() as connection:
        rows = await events_of(
            connection,
            desk.asked.principal.scope,
            desk.ids,
            desk.asked.since,
            desk.asked.until,
            types=types,
            rows_max=ROWS_MAX + 1,
        )
    if desk.asked.fence_ids:
        rows = [row for row in rows if row.fence_id in desk.asked.fence_ids]
    return [event_shape(row) for row in desk.bounded(rows)]


async def trips(desk: Desk) -> list[TripItem]:
    """Rides that touch the period."""
    asked = desk.asked
    async with desk.pools.display() as connection:
        rows = desk.bounded(await trips_of(connection, desk.ids, asked.since, asked.until, ROWS_MAX + 1))
        rows = await trips_so_far(connection, rows, asked.until)
    pairs = {
        (desk.accounts[row.device_id], row.driver_unique_id)
        for row in desk.bounded(rows)
        if row.driver_unique_id
    }
    drivers: dict[tuple[int, str], str] = {}
    if pairs:
        async with desk.pools.core() as connection:
            drivers = await driver_names(connection, list(pairs))
    starts = await desk.addresses([row.start_latitude for row in rows], [row.start_longitude for row in rows])
    ends = await desk.addresses([row.end_latitude for row in rows], [row.end_longitude for row in rows])
    return [_trip(desk, row, drivers, between) for row, *between in zip(rows, starts, ends, strict=True)]


async def trips_so_far(
    connection: AsyncConnection[Any], rows: Sequence[TripRow], until: datetime
) -> list[TripRow]:
    """Those that go on as far as they have come by ``until``: their rows are written at turns, not at each fix."""
    begun = {row.device_id: row.started_at for row in rows if row.ended_at is None}
    standing = await standing_of(connection, begun, until) if begun else {}
    found: list[TripRow] = []
    for row in rows:
        now = standing.get(row.device_id)
        if row.ended_at is not None or now is None or now.at < row.decided_at:
            found.append(row)
            continue
        way_m = (
            await way_within(connection, row.device_id, row.started_at, now.at + timedelta(microseconds=1))
            if now.odometer_m is None
            else now.odometer_m - row.odometer_start_mm / 1000
        )
        found.append(
            replace(
                row,
                decided_at=now.at,
                end_latitude=now.latitude,
                end_longitude=now.longitude,
                end_position_id=now.position_id,
                distance_mm=max(round(way_m * 1000), 0),
            )
        )
    return found


async def stops_so_far(
    connection: AsyncConnection[Any], rows: Sequence[StopRow], until: datetime
) -> list[StopRow]:
    """Those that last, until the newest fix up to ``until``."""
    begun = {row.device_id: row.started_at for row in rows if row.ended_at is None}
    standing = await standing_of(connection, begun, until) if begun else {}
    return [
        replace(row, decided_at=max(row.decided_at, standing[row.device_id].at))
        if row.ended_at is None and row.device_id in standing
        else row
        for row in rows
    ]


def _trip(
    desk: Desk, row: TripRow, drivers: dict[tuple[int, str], str], between: Sequence[str | None]
) -> TripItem:
    ended_at = row.ended_at or row.decided_at
    seconds = (ended_at - row.started_at).total_seconds()
    distance_m, start_m = row.distance_mm / 1000, row.odometer_start_mm / 1000
    spent = 0.0
    if row.fuel_start is not None and row.fuel_end is not None:
        spent = max(row.fuel_start - row.fuel_end, 0.0)
    driver = row.driver_unique_id
    return TripItem(
        device_id=row.device_id,
        device_name=desk.names[row.device_id],
        distance=round(distance_m, 2),
        average_speed=round(distance_m / seconds * KNOTS_PER_MPS, 5) if seconds else 0.0,
        max_speed=round(row.speed_max_mps * KNOTS_PER_MPS, 5),
        spent_fuel=round(spent, 3),
        start_odometer=round(start_m, 2),
        end_odometer=round(start_m + distance_m, 2),
        start_time=iso_ms(row.started_at),
        end_time=iso_ms(ended_at),
        start_position_id=row.start_position_id or 0,
        end_position_id=row.end_position_id or 0,
        start_lat=row.start_latitude,
        start_lon=row.start_longitude,
        end_lat=row.end_latitude,
        end_lon=row.end_longitude,
        start_address=between[0],
        end_address=between[1],
        duration=round(seconds * 1000),
        driver_unique_id=driver,
        driver_name=drivers.get((desk.accounts[row.device_id], driver)) if driver else None,
    )


async def stops(desk: Desk) -> list[StopItem]:
    """Stops that touch the period."""
    asked = desk.asked
    async with desk.pools.display() as connection:
        rows = desk.bounded(await stops_of(connection, desk.ids, asked.since, asked.until, ROWS_MAX + 1))
        rows = await stops_so_far(connection, rows, asked.until)
    rows = desk.bounded(rows)
    addresses = await desk.addresses([row.latitude for row in rows], [row.longitude for row in rows])
    return [_stop(desk, row, address) for row, address in zip(rows, addresses, strict=True)]


def _stop(desk: Desk, row: StopRow, address: str | None) -> StopItem:
    ended_at = row.ended_at or row.decided_at
    return StopItem(
        device_id=row.device_id,
        device_name=desk.names[row.device_id],
        distance=0.0,
        average_speed=0.0,
        max_speed=0.0,
        spent_fuel=0.0,
        start_odometer=0.0,
        end_odometer=0.0,
        start_time=iso_ms(row.started_at),
        end_time=iso_ms(ended_at),
        position_id=row.position_id or 0,
        latitude=row.latitude,
        longitude=row.longitude,
        address=address,
        duration=round((ended_at - row.started_at).total_seconds() * 1000),
        engine_hours=row.engine_us // 1000,
    )


async def geofences(desk: Desk) -> list[VisitItem]:
    """Visits of geofences that touch the period, whole."""
    asked = desk.asked
    async with desk.pools.display() as connection:
        rows = await visits_of(
            connection,
            desk.ids,
            asked.since,
            asked.until,
            fence_ids=list(asked.fence_ids) or None,
            rows_max=ROWS_MAX + 1,
        )
    return [
        VisitItem(
            device_id=row.device_id,
            device_name=desk.names[row.device_id],
            geofence_id=row.fence_id,
            geofence_name=row.fence,
            start_time=iso_ms(row.entered_at),
            end_time=None if row.left_at is None else iso_ms(row.left_at),
            duration=None
            if row.left_at is None
            else round((row.left_at - row.entered_at) / timedelta(milliseconds=1)),
        )
        for row in desk.bounded(rows)
    ]


async def devices(desk: Desk) -> list[DeviceItem]:
    """How each tracker stands."""
    async with desk.pools.display() as connection:
        cards = await device_cards_of(connection, desk.ids)
        fixes, marks = await latest_positions_of(connection, desk.ids)
    latest = {one.device_id: (at, one) for at, one in enumerate(positions_of(fixes))}
    from tracker_server.api.device_shape import device_shape

    found: list[DeviceItem] = []
    for card in cards:
        if card.block is not None:
            continue
        shape = device_shape(card)
        at, position = latest.get(card.id, (0, None))
        found.append(
            DeviceItem(
                device_id=card.id,
                device_name=card.name,
                unique_id=card.unique_id,
                status=shape.status,
                last_update=shape.last_update,
                fix_time=position.fix_time if position else None,
                latitude=position.latitude if position else None,
                longitude=position.longitude if position else None,
                speed=position.speed if position else None,
                course=position.course if position else None,
                motion=bool(marks.moving[at]) if position else None,
                total_distance=round(float(marks.totals_m[at]), 2) if position else None,
            )
        )
    return found


async def combined(desk: Desk) -> list[CombinedItem]:
    """Each tracker's way, its events and their positions."""
    asked = desk.asked
    found: list[CombinedItem] = []
    places = 0
    happened = await events(desk)
    async with desk.pools.display() as connection:
        for device_id in desk.ids:
            way: list[tuple[float, float]] = []
            chunks = positions_between(connection, device_id, asked.since, asked.until)
            try:
                async for fixes in chunks:
                    way += zip(fixes.longitudes.tolist(), fixes.latitudes.tolist(), strict=True)
                    places += len(fixes)
                    if places > ROUTE_PLACES_MAX:
                        raise bad(
                            "to",
                            f"more than {ROUTE_PLACES_MAX:,} positions; ask for a shorter period or fewer trackers",
                        )
            finally:
                await chunks.aclose()
            mine = [one for one in happened if one.device_id == device_id]
            ids = list(dict.fromkeys(one.position_id for one in mine if one.position_id))
            told: list[Position] = []
            for begin in range(0, len(ids), IDS_MAX):
                fixes = await positions_numbered(connection, ids[begin : begin + IDS_MAX])
                told += [one for one in positions_of(fixes) if one.device_id == device_id]
            if way or mine:
                found.append(CombinedItem(device_id=device_id, route=way, events=mine, positions=told))
    return found


# ------------------------------------------------------------------------------------------------- summary


def days_between(since: datetime, until: datetime, zone: str) -> list[tuple[datetime, datetime]]:
    """The days of a zone that a period touches, cut to it; each ends where the next begins."""
    local = ZoneInfo(zone)
    begins: list[tuple[datetime, datetime]] = []
    at = since
    while at < until:
        day = at.astimezone(local).date() + timedelta(days=1)
        following = datetime(day.year, day.month, day.day, tzinfo=local).astimezone(since.tzinfo)
        begins.append((at, min(following, until)))
        at = following
    return begins


async def summary(desk: Desk) -> list[SummaryItem]:
    """Sums over the period, or day by day in the zone of each tracker's account. Of nothing there is no row."""
    found: list[SummaryItem] = []
    end = desk.asked.until + timedelta(microseconds=1)
    for zone in dict.fromkeys(desk.zones.values()):
        cards = [card for card in desk.cards if desk.zones[card.account_id] == zone]
        periods = days_between(desk.asked.since, end, zone) if desk.asked.daily else [(desk.asked.since, end)]
        if len(cards) * len(periods) > PERIODS_MAX:
            raise bad(
                "to",
                f"{len(cards):,} trackers times {len(periods):,} days are too many; ask for fewer of either",
            )
        found += await _summaries(desk, [card.id for card in cards], periods)
    found.sort(
        key=lambda one: (
            (one.start_time[:10], one.device_name, one.device_id)
            if desk.asked.daily
            else ("", one.device_name, one.device_id)
        )
    )
    return desk.bounded(found)


async def _summaries(
    desk: Desk, ids: Sequence[int], periods: Sequence[tuple[datetime, datetime]]
) -> list[SummaryItem]:
    since, until = desk.asked.since, desk.asked.until
    found: list[SummaryItem] = []
    async with desk.pools.display() as connection:
        present = await presence_of(connection, ids, [one for one, _ in periods], [one for _, one in periods])
        rides = desk.bounded(await trips_of(connection, ids, since, until, ROWS_MAX + 1))
        rests = desk.bounded(await stops_of(connection, ids, since, until, ROWS_MAX + 1))
        driven = _by_device(await trips_so_far(connection, rides, until))
        stood = _by_device(await stops_so_far(connection, rests, until))
        before: dict[int, float] = {}
        leads: dict[int, dict[datetime, float]] = {}
        for one in present:
            legs = [_leg(row) for row in driven.get(one.device_id, [])]
            rests = [_rest(row) for row in stood.get(one.device_id, [])]
            if one.device_id not in before:
                before[one.device_id] = (
                    legs[0].odometer_start_m
                    if legs
                    else await odometer_before(connection, one.device_id, since)
                )
                leads[one.device_id] = await _leads(connection, one.device_id, legs, periods)
            begin, end = periods[one.period]
            sums = sum_up(legs, rests, begin, end, leads[one.device_id], before[one.device_id])
            found.append(_summary(desk, one.device_id, one.first_at, one.last_at, sums))
    return found


def _by_device(rows: Sequence[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row.device_id, []).append(row)
    return found


async def _leads(
    connection: AsyncConnection[Any],
    device_id: int,
    legs: Sequence[Leg],
    periods: Sequence[tuple[datetime, datetime]],
) -> dict[datetime, float]:
    """Of each moment that cuts a trip in two, the way from the trip's start to it."""
    leads: dict[datetime, float] = {}
    for moment in {end for period in periods for end in period}:
        for leg in legs:
            if leg.started_at < moment < leg.ended_at:
                leads[moment] = await way_within(connection, device_id, leg.started_at, moment)
    return leads


def _leg(row: TripRow) -> Leg:
    return Leg(
        row.started_at,
        row.ended_at or row.decided_at,
        row.odometer_start_mm / 1000,
        row.distance_mm / 1000,
        row.speed_max_mps,
        row.fuel_start,
        row.fuel_end,
    )


def _rest(row: StopRow) -> Rest:
    return Rest(row.started_at, row.ended_at or row.decided_at, row.engine_us / 1_000_000)


def _summary(desk: Desk, device_id: int, first_at: datetime, last_at: datetime, sums: Sums) -> SummaryItem:
    seconds = sums.driving.total_seconds()
    return SummaryItem(
        device_id=device_id,
        device_name=desk.names[device_id],
        distance=round(sums.distance_m, 2),
        average_speed=round(sums.distance_m / seconds * KNOTS_PER_MPS, 5) if seconds else 0.0,
        max_speed=round(sums.speed_max_mps * KNOTS_PER_MPS, 5),
        spent_fuel=round(sums.spent_fuel, 3),
        start_odometer=round(sums.odometer_start_m, 2),
        end_odometer=round(sums.odometer_end_m, 2),
        start_time=iso_ms(first_at),
        end_time=iso_ms(last_at),
        engine_hours=round(sums.engine.total_seconds() * 1000),
        trips=sums.trips,
    )


REPORTS: Final[dict[str, tuple[type[Struct], Callable[[Desk], Awaitable[Sequence[Struct]]]]]] = {
    "route": (Position, route),
    "events": (Event, events),
    "trips": (TripItem, trips),
    "stops": (StopItem, stops),
    "summary": (SummaryItem, summary),
    "geofences": (VisitItem, geofences),
    "combined": (CombinedItem, combined),
    "devices": (DeviceItem, devices),
}
