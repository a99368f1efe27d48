"""Fixes: the latest of each tracker, a tracker's history, and the same as files for maps and spreadsheets."""

from __future__ import annotations

import io
import zipfile
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from msgspec import Struct, field
from starlette.responses import Response

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import JSON, Refusal, bad, not_found
from tracker_server.api.position_shape import Position, positions_json, positions_of, positions_parts
from tracker_server.api.streaming import HiddenMeanwhileError, attachment, streamed
from tracker_server.api.values import Number
from tracker_server.exports import tracks
from tracker_server.exports.cells import csv_lines, safe_text
from tracker_server.later import np
from tracker_server.model.people import Right, Role
from tracker_server.storage.audit import note
from tracker_server.storage.history import COLUMNS, displayed_positions
from tracker_server.storage.marks_api import marker_of
from tracker_server.storage.positions_api import (
    IDS_MAX,
    Fixes,
    delete_positions,
    latest_positions,
    names_of,
    positions_between,
    positions_numbered,
)
from tracker_server.track.marking import EPOCH, MICROSECOND, Marker, Marks, micros

routes = Routes("Positions")

PERIOD_MAX: Final = timedelta(days=366)
KMZ_BYTES_MAX: Final = 64 * 1024 * 1024  # of the KML inside: a zip is made whole, in memory
DEVICES_MAX: Final = 1_000  # named in one request
TICK: Final = timedelta(microseconds=1)  # a period has both its ends, where a range has its first alone


class PositionsQuery(Struct, rename="camel"):
    """``deviceId`` with ``from`` and ``to``: histories; ``id``: by number; else the latest of each tracker."""

    device_id: list[Number] = []
    id: list[Number] = []
    geofence_id: Number = 0
    since: datetime | None = field(default=None, name="from")
    until: datetime | None = field(default=None, name="to")


class ExportQuery(Struct, rename="camel"):
    """Which histories; both ends belong to it."""

    device_id: list[Number]
    since: datetime = field(name="from")
    until: datetime = field(name="to")
    geofence_id: Number = 0


OBJECTS: Final[Mapping[str, Kind]] = {"deviceId": Kind.SHOWN}  # a geofence only picks among what is his


def checked_period(since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Raises Refusal for one that ends before it begins, or is too long."""
    if until < since:
        raise bad("to", "lies before from; swap them")
    if until - since > PERIOD_MAX:
        raise bad("to", f"is more than {PERIOD_MAX.days} days after from; ask for a shorter period")
    return since, until


@routes.get("/positions", needs=Right.READ, query=PositionsQuery, objects=OBJECTS, answers=list[Position])
async def get_positions(call: Call[PositionsQuery, None]) -> Response:
    """The latest position of each tracker, or those of a period, or those with certain ids."""
    query = call.query
    if query.id:
        no_guest(call)
        return await _numbered(call, query.id)
    if query.since is None and query.until is None:
        return await _latest(call, query)
    no_guest(call)
    if not query.device_id:
        raise bad("deviceId", "is missing; name the trackers whose history it is to be")
    if query.since is None or query.until is None:
        raise bad("from" if query.since is None else "to", "is missing; a period has two ends")
    checked_period(query.since, query.until)
    checked_devices(query.device_id)
    wanted = Histories(call, query.device_id, query.since, query.until, query.geofence_id)
    return await streamed(position_array(wanted), JSON)


async def _numbered(call: Call[PositionsQuery, None], ids: Sequence[int]) -> Response:
    if len(ids) > IDS_MAX:
        raise bad("id", f"more than {IDS_MAX} ids; ask for fewer at a time")
    scope = call.principal.scope
    async with call.services.pools.display() as connection:
        found = await positions_numbered(connection, ids)
        parts: list[bytes] = []
        for at in range(len(found)):
            if scope.holds(found.device_ids[at], found.account_ids[at]):
                one = found.taken([at])
                moment = EPOCH + MICROSECOND * int(one.fixed_us[0])
                marker = await marker_of(connection, one.device_ids[0], moment, moment)
                addresses = await call.services.addresses(one)
                parts.append(positions_json(one, mark_all(marker, one), call.services.computed, addresses))
    return _json(parts)


async def _latest(call: Call[PositionsQuery, None], query: PositionsQuery) -> Response:
    async with call.services.pools.display() as connection:
        fixes, marks = await latest_positions(connection, call.principal.scope)
    if query.device_id or query.geofence_id:
        kept = [
            at
            for at, device_id in enumerate(fixes.device_ids)
            if (not query.device_id or device_id in query.device_id)
            and (not query.geofence_id or query.geofence_id in marks.fence_ids[at])
        ]
        fixes, marks = fixes.taken(kept), marks.taken(kept)
    addresses = await call.services.addresses(fixes)
    return _json(positions_parts(fixes, marks, call.services.computed, addresses))


def _json(parts: Iterable[bytes]) -> Response:
    """An array of these parts, put together once: a copy of a megabyte is a thousand pages asked of the system."""
    told = [piece for part in parts for piece in (b",", part)] or [b""]
    return Response(b"".join((b"[", *told[1:], b"]")), media_type=JSON)


def no_guest(call: Call[Any, Any]) -> None:
    """Raises Refusal: a share link shows where a tracker is, not where it was."""
    if call.principal.role is Role.GUEST:
        raise Refusal(403, "a share link shows the latest position, no history")


def checked_devices(device_ids: Sequence[int]) -> Sequence[int]:
    """Raises Refusal for too many in one request."""
    if len(device_ids) > DEVICES_MAX:
        raise bad("deviceId", f"more than {DEVICES_MAX} trackers; ask for fewer at a time")
    return device_ids


# ------------------------------------------------------------------------------------------------- histories


class Histories:
    """Several trackers' fixes, one tracker after the other, marked; broken off where the gate closes meanwhile."""

    def __init__(
        self,
        call: Call[Any, Any],
        device_ids: Sequence[int],
        since: datetime,
        until: datetime,
        fence_id: int = 0,
    ) -> None:
        self.call = call
        self.device_ids = list(dict.fromkeys(device_ids))
        self.since = since
        self.until = until
        self.fence_id = fence_id

    async def chunks(self) -> AsyncGenerator[tuple[int, Fixes, Marks]]:
        """Tracker, fixes and their marks."""
        async with self.call.services.pools.display() as connection:
            for device_id in self.device_ids:
                marker = await marker_of(connection, device_id, self.since, self.until)
                rows = positions_between(connection, device_id, self.since, self.until)
                try:
                    async for chunk in rows:
                        self.ask_gate(device_id)
                        yield device_id, *self._kept(chunk, mark_all(marker, chunk))
                finally:
                    await rows.aclose()

    def _kept(self, fixes: Fixes, marks: Marks) -> tuple[Fixes, Marks]:
        if not self.fence_id:
            return fixes, marks
        kept = [at for at, inside in enumerate(marks.fence_ids) if self.fence_id in inside]
        return fixes.taken(kept), marks.taken(kept)

    def ask_gate(self, device_id: int) -> None:
        """The database was asked when the answer began; it may have become another since. Raises HiddenMeanwhileError."""
        tracker = self.call.services.trackers.by_id(device_id)
        if tracker is not None and tracker.hidden(datetime.now(UTC)):
            raise HiddenMeanwhileError


def mark_all(marker: Marker, fixes: Fixes) -> Marks:
    """The marks of these fixes."""
    return marker.mark(fixes.fixed_us, fixes.latitudes, fixes.longitudes, fixes.valid)


async def position_array(wanted: Histories) -> AsyncGenerator[bytes]:
    """Histories as one JSON array."""
    before = b"["
    chunks = wanted.chunks()
    try:
        async for _, fixes, marks in chunks:
            addresses = await wanted.call.services.addresses(fixes)
            for part in positions_parts(fixes, marks, wanted.call.services.computed, addresses):
                yield before + part
                before = b","
    finally:
        await chunks.aclose()
    yield b"[]" if before == b"[" else b"]"


# ------------------------------------------------------------------------------------------------- files

CSV_COLUMNS: Final = (
    "deviceId", "uniqueId", "name", "fixTime", "serverTime", "valid", "latitude", "longitude", "altitude", "speed",
    "course", "accuracy", "geofenceIds", "protocol", "attributes", "address",
)  # fmt: skip


def _export(call: Call[ExportQuery, None]) -> Histories:
    query = call.query
    no_guest(call)
    checked_period(query.since, query.until)
    return Histories(call, checked_devices(query.device_id), query.since, query.until, query.geofence_id)


def _file_name(wanted: Histories, suffix: str) -> dict[str, str]:
    return attachment(f"positions-{wanted.since:%Y%m%d}-{wanted.until:%Y%m%d}.{suffix}")


@routes.get(
    "/positions/csv", needs=Right.READ, query=ExportQuery, objects=OBJECTS, answers=str, media=("text/csv",)
)
async def get_csv(call: Call[ExportQuery, None]) -> Response:
    """Histories as CSV with a header; speeds in knots, as in JSON."""
    wanted = _export(call)
    names = await _names(wanted)

    async def lines() -> AsyncGenerator[bytes]:
        line = csv_lines()
        formulas = call.services.computed
        yield line(CSV_COLUMNS)
        chunks = wanted.chunks()
        try:
            async for device_id, fixes, marks in chunks:
                called = [safe_text(text) for text in names[device_id]]
                addresses = await call.services.addresses(fixes)
                found = positions_of(fixes, marks, formulas, addresses)
                yield b"".join([line(_csv_row(one, called)) for one in found])
        finally:
            await chunks.aclose()

    return await streamed(lines(), "text/csv; charset=utf-8", _file_name(wanted, "csv"))


def _csv_row(one: Position, called: Sequence[str]) -> list[Any]:
    """The cells as they are written; what can be no formula is not looked at."""
    return [
        one.device_id, *called, one.fix_time, one.server_time, "true" if one.valid else "false", one.latitude, one.longitude,
        one.altitude, one.speed, one.course, one.accuracy, " ".join(map(str, one.geofence_ids or ())),
        safe_text(one.protocol), bytes(one.attributes).decode(), safe_text(one.address or ""),
    ]  # fmt: skip


@routes.get(
    "/positions/gpx",
    needs=Right.READ,
    query=ExportQuery,
    objects=OBJECTS,
    answers=str,
    media=("application/gpx+xml",),
)
async def get_gpx(call: Call[ExportQuery, None]) -> Response:
    """Histories as GPX 1.1, a track for each tracker."""
    wanted = _export(call)
    names = await _names(wanted)
    return await streamed(
        _with_rows(wanted, names, tracks.gpx), "application/gpx+xml", _file_name(wanted, "gpx")
    )


@routes.get(
    "/positions/kml",
    needs=Right.READ,
    query=ExportQuery,
    objects=OBJECTS,
    answers=str,
    media=("application/vnd.google-earth.kml+xml",),
)
async def get_kml(call: Call[ExportQuery, None]) -> Response:
    """Histories as KML 2.2: the way as lines, each fix as a point with its time."""
    wanted = _export(call)
    parts = await _kml(wanted)
    return await streamed(parts, "application/vnd.google-earth.kml+xml", _file_name(wanted, "kml"))


@routes.get(
    "/positions/kmz",
    needs=Right.READ,
    query=ExportQuery,
    objects=OBJECTS,
    answers=str,
    media=("application/vnd.google-earth.kmz",),
)
async def get_kmz(call: Call[ExportQuery, None]) -> Response:
    """The same KML, zipped."""
    wanted = _export(call)
    packed = io.BytesIO()
    size = 0
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("doc.kml", "w") as inside,
    ):
        parts = tracks.gathered(await _kml(wanted))
        try:
            async for piece in parts:
                size += len(piece)
                if size > KMZ_BYTES_MAX:
                    raise Refusal(413, "to: this is too much for a KMZ; ask for a shorter period, or for KML")
                inside.write(piece)
        finally:
            await parts.aclose()
    return Response(
        packed.getvalue(),
        media_type="application/vnd.google-earth.kmz",
        headers=_file_name(wanted, "kmz"),
    )


@routes.get(
    "/positions/geojson",
    needs=Right.READ,
    query=ExportQuery,
    objects=OBJECTS,
    answers=dict[str, Any],
    media=("application/geo+json",),
)
async def get_geojson(call: Call[ExportQuery, None]) -> Response:
    """Histories as a GeoJSON FeatureCollection (RFC 7946), a point for each fix; SI units, named in the properties."""
    wanted = _export(call)

    def one_after_the_other(found: tracks.Tracks) -> AsyncGenerator[bytes]:
        async def rows() -> AsyncGenerator[tracks.Row]:
            for _, each in found:
                async for row in each:
                    yield row

        return tracks.geojson(rows(), COLUMNS)

    names = await _names(wanted)
    return await streamed(
        _with_rows(wanted, names, one_after_the_other), "application/geo+json", _file_name(wanted, "geojson")
    )


async def _kml(wanted: Histories) -> AsyncGenerator[bytes]:
    names = await _names(wanted)
    title = ", ".join(name for _, name in list(names.values())[:3])
    return _with_rows(wanted, names, lambda found: tracks.kml(title, found))


async def _names(wanted: Histories) -> dict[int, tuple[str, str]]:
    """Unique id and name of each tracker."""
    async with wanted.call.services.pools.display() as connection:
        names = await names_of(connection, wanted.device_ids)
    for device_id in wanted.device_ids:
        if device_id not in names:  # hidden since the route was authorised
            raise not_found(f"tracker {device_id}")
    return names


async def _with_rows(
    wanted: Histories,
    names: Mapping[int, tuple[str, str]],
    write: Callable[[tracks.Tracks], AsyncGenerator[bytes]],
) -> AsyncGenerator[bytes]:
    """A file over the rows of each tracker, by one connection, which ends with it."""
    async with wanted.call.services.pools.display() as connection:

        async def rows(device_id: int) -> AsyncGenerator[tracks.Row]:
            marker: Marker | None = None
            if wanted.fence_id:
                marker = await marker_of(connection, device_id, wanted.since, wanted.until)
            found = displayed_positions(connection, device_id, wanted.since, wanted.until + TICK)
            count = 0
            try:
                async for row in found:
                    if count % 1_000 == 0:
                        wanted.ask_gate(device_id)
                    count += 1
                    if marker is not None:
                        moment = np.array([micros(row["fixed_at"])], dtype=np.int64)
                        place = (np.array([row["latitude"]]), np.array([row["longitude"]]))
                        marks = marker.mark(moment, *place, np.array([row["valid"]]))
                        if wanted.fence_id not in marks.fence_ids[0]:
                            continue
                    yield row
            finally:
                await found.aclose()

        open_rows = [(names[device_id][1], rows(device_id)) for device_id in wanted.device_ids]
        try:
            async for part in write(open_rows):
                yield part
        finally:
            for _, each in open_rows:
                await each.aclose()


# ------------------------------------------------------------------------------------------------- deleting


class DeleteQuery(Struct, rename="camel"):
    """Which part of one tracker's history; both ends belong to it."""

    device_id: Number
    since: datetime = field(name="from")
    until: datetime = field(name="to")


@routes.delete("/positions/{id}", needs=Right.DEVICES, objects={"id": Kind.POSITION}, status=204)
async def delete_position(call: Call[None, None]) -> None:
    """Delete one position, for good."""
    async with call.services.pools.display() as connection:
        found = await positions_numbered(connection, [call.id])
    if not found:
        raise not_found(f"position {call.id}")
    moment = EPOCH + MICROSECOND * int(found.fixed_us[0])
    async with call.services.pools.core() as connection, connection.transaction():
        await delete_positions(connection, found.device_ids[0], moment, moment, number=call.id)
        await note(
            connection,
            "delete positions",
            by=call.principal,
            kind="device",
            object_id=found.device_ids[0],
            detail={"id": call.id, "count": 1},
            address=call.address,
        )


@routes.delete(
    "/positions", needs=Right.DEVICES, query=DeleteQuery, objects={"deviceId": Kind.SHOWN}, status=204
)
async def delete_history(call: Call[DeleteQuery, None]) -> None:
    """Delete a tracker's positions of a period, for good. What the engine found in it is found anew from what is left."""
    query = call.query
    since, until = checked_period(query.since, query.until)
    async with call.services.pools.core() as connection, connection.transaction():
        count = await delete_positions(connection, query.device_id, since, until)
        await note(
            connection,
            "delete positions",
            by=call.principal,
            kind="device",
            object_id=query.device_id,
            detail={
                "from": f"{since:%Y-%m-%dT%H:%M:%SZ}",
                "to": f"{until:%Y-%m-%dT%H:%M:%SZ}",
                "count": count,
            },
            address=call.address,
        )
