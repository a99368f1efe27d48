"""Geofences in files, and who is inside of one."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any, Final, Literal

from msgspec import Struct
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, bad
from tracker_server.api.geofences import KEPT_FENCE, Geofence, shape_of
from tracker_server.api.kept import account_for
from tracker_server.api.values import Number
from tracker_server.model.people import Right
from tracker_server.storage.audit import note
from tracker_server.storage.fences import NewFence, TooManyFencesError, add_fences, fences_by_id, inside
from tracker_server.storage.objects import link, list_objects
from tracker_server.track.fences.drawn import Metres
from tracker_server.track.fences.errors import FenceError, NoMetresError
from tracker_server.track.fences.files import drawn_of, form_of, read, written

routes = Routes("Geofences")

FILE_BYTES_MAX: Final = 20_000_000  # about 400,000 vertices; the command line takes larger ones
FORMS: Final = {
    "geojson": ("application/geo+json", "geofences.geojson"),
    "kml": ("application/vnd.google-earth.kml+xml", "geofences.kml"),
    "wkt": ("text/plain; charset=utf-8", "geofences.wkt"),
}
OF_SHAPE: Final = frozenset({"name", "radius_m", "width_m", "speed_limit_mps", "dwell_s"})


class Inside(Struct, rename="camel"):
    """A tracker that is inside, and since when."""

    device_id: Number
    since: datetime


class ExportQuery(Struct, rename="camel"):
    """``format``: geojson, kml or wkt (longitude first)."""

    format: Literal["geojson", "kml", "wkt"] = "geojson"


class ImportQuery(Struct, rename="camel"):
    """``accountId``: whose they will be, where one may choose. ``widthM``, ``radiusM``: of lines and points for which the file
    tells no metres.
    """

    account_id: Number = 0
    width_m: float | None = None
    radius_m: float | None = None


@routes.get("/geofences/export", needs=Right.READ, query=ExportQuery, answers=bytes, media=("*/*",))
async def export_geofences(call: Call[ExportQuery, None]) -> Response:
    """Every geofence that one may see, as a file that `import` reads."""
    async with call.services.pools.core() as connection:
        found = await list_objects(connection, KEPT_FENCE, call.principal)
        rows = await fences_by_id(connection, sorted(row["id"] for row in found))
    form = call.query.format
    media, name = FORMS[form]
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(written([drawn_of(row) for row in rows], form), media_type=media, headers=headers)


@routes.post(
    "/geofences/import",
    needs=Right.WRITE,
    query=ImportQuery,
    body=bytes,
    body_bytes_max=FILE_BYTES_MAX,
    answers=list[Geofence],
)
async def import_geofences(call: Call[ImportQuery, bytes]) -> list[Geofence]:
    """Draw all fences of a file, or none: GeoJSON, KML, GPX (tracks and routes are corridors, waypoints circles), or WKT with a
    name, a tab and longitude first in each line. The body is the file, or a form with it as `file`. `reason` is `metres`
    where a width or radius is missing that `widthM` or `radiusM` gives to all without.
    """
    data = await _file(call)
    try:
        # aside: a large file takes a second or more, and trackers are not to wait for it
        metres = Metres(call.query.width_m, call.query.radius_m)
        drawn = await asyncio.to_thread(read, data, form_of(data), metres=metres)
    except NoMetresError as error:
        sentence = f"file: {error}; widthM and radiusM give them to all that tell none"
        raise Refusal(400, sentence, more={"reason": "metres"}) from None
    except FenceError as error:
        raise bad("file", str(error)) from None
    new = [
        NewFence(
            name=one.name,
            shape=one.shape,
            speed_limit_mps=_number(one.name, one.properties, "speed_limit_mps"),
            dwell_s=_number(one.name, one.properties, "dwell_s"),
            attributes={key: value for key, value in one.properties.items() if key not in OF_SHAPE},
        )
        for one in drawn
    ]
    account = await account_for(call, call.query.account_id)
    async with call.services.pools.core() as connection, connection.transaction():
        try:
            ids = await add_fences(connection, account, new)
        except TooManyFencesError as error:
            raise Refusal(409, str(error)) from None
        for number in ids:
            if call.principal.restricted:
                await link(connection, "user", call.principal.user_id, KEPT_FENCE.link, number)
            await note(
                connection,
                "create",
                by=call.principal,
                kind="geofence",
                object_id=number,
                address=call.address,
            )
        rows = await fences_by_id(connection, ids)
    call.services.access.forget(call.principal)
    return [shape_of(row) for row in rows]


@routes.get("/geofences/{id}/inside", needs=Right.READ, objects={"id": Kind.GEOFENCE}, answers=list[Inside])
async def get_geofence_inside(call: Call[None, None]) -> list[Inside]:
    """Who is inside now, and since when; of the trackers that one may see."""
    async with call.services.pools.display() as connection:
        found = await inside(connection, call.id)
    mine = await call.services.allowed(
        call.principal, Kind.SHOWN, frozenset(device_id for device_id, _, _ in found)
    )
    return [Inside(device_id, since) for device_id, _, since in found if device_id in mine]


async def _file(call: Call[Any, bytes]) -> bytes:
    """The file itself, whether it is the body or a part of a form."""
    if not call.request.headers.get("content-type", "").startswith("multipart/form-data"):
        return call.body

    async def receive() -> Message:
        return {"type": "http.request", "body": call.body, "more_body": False}

    form = await Request(call.request.scope, receive).form(max_files=1, max_fields=10)
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise bad("file", "is missing; send the form's file as `file`")
    return await file.read()


def _number(name: str, properties: dict[str, Any], key: str) -> float | None:
    value = properties.get(key)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if isinstance(value, bool) or not 0 < number < 1e9:
        raise bad("file", f"{name!r}: {key}: {value!r} is no number above 0")
    return number
