"""Reports as JSON, CSV and XLSX, by mail, and saved ones."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from secrets import token_hex
from typing import Any, Final

from msgspec import Struct, field
from msgspec.json import encode
from starlette.responses import Response

from tracker_server.api.authorise import Kind, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import JSON, Refusal, bad
from tracker_server.api.kept import Sort, keep
from tracker_server.api.positions import Histories, checked_period, position_array
from tracker_server.api.report_files import Sheet, csv_file, xlsx_file
from tracker_server.api.report_makers import REPORTS, Asked, Made, ReportMaker
from tracker_server.api.report_shapes import SavedReport
from tracker_server.api.streaming import attachment, streamed
from tracker_server.api.values import Number
from tracker_server.model.people import Right
from tracker_server.storage.saved_reports import ReportOrder, begin_anew, keep_for, order

routes = Routes("Reports")

XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV: Final = "text/csv"
BLOCKED_HEADER: Final = "X-Blocked-Trackers-Excluded"
FILES: Final = tuple(name for name in REPORTS if name != "combined")  # nested rows make no sheet
OBJECTS: Final[Mapping[str, Kind]] = {"deviceId": Kind.SHOWN, "groupId": Kind.GROUP}


class ReportQuery(Struct, rename="camel"):
    """Which trackers (none named: all that one may see), which period, of events which kinds; ``daily``: of a summary."""

    since: datetime = field(name="from")
    until: datetime = field(name="to")
    device_id: list[Number] = []
    group_id: list[Number] = []
    geofence_id: list[Number] = []
    type: list[str] = []
    daily: bool = False


def asked_of(call: Call[ReportQuery, Any]) -> Asked:
    """What the query asks, in the name of whoever asks."""
    query = call.query
    return Asked(
        principal=call.principal,
        since=query.since,
        until=query.until,
        device_ids=frozenset(filter(None, query.device_id)),
        group_ids=frozenset(filter(None, query.group_id)),
        fence_ids=frozenset(filter(None, query.geofence_id)),
        types=tuple(query.type),
        daily=query.daily,
    )


async def made(call: Call[ReportQuery, Any], name: str) -> Made:
    """The report."""
    services = call.services
    maker = ReportMaker(services.pools, services.computed, services.places)
    return await maker.make(name, asked_of(call))


async def file_of(report: Made, form: str) -> bytes:
    """``csv`` or ``xlsx``."""
    sheet = Sheet(report.name, report.kind, report.rows, report.remark)
    if form == "csv":
        return await asyncio.to_thread(csv_file, sheet)
    return await asyncio.to_thread(xlsx_file, sheet, report.zone)


async def as_file(call: Call[ReportQuery, Any], name: str, form: str) -> Response:
    """The report as a file."""
    report = await made(call, name)
    whole = await file_of(report, form)
    query = call.query
    file_name = f"{name}-{query.since:%Y%m%d}-{query.until:%Y%m%d}.{form}"
    media = XLSX if form == "xlsx" else f"{CSV}; charset=utf-8"
    return Response(whole, media_type=media, headers={**attachment(file_name), **_told(report)})


def _told(report: Made) -> dict[str, str]:
    return {BLOCKED_HEADER: str(report.blocked)} if report.blocked else {}


def wants(accept: str) -> str:
    """``json``, ``csv`` or ``xlsx``: what an Accept header names first. Anything else, and nothing, is JSON."""
    for part in accept.lower().split(","):
        media = part.partition(";")[0].strip()
        if media in {JSON, "*/*"}:
            return "json"
        if media == CSV:
            return "csv"
        if media == XLSX:
            return "xlsx"
    return "json"


async def _answer(call: Call[ReportQuery, None], name: str) -> Response:
    form = wants(call.request.headers.get("accept", ""))
    if form != "json" and name in FILES:
        return await as_file(call, name, form)
    if name == "route" and call.query.device_id and not call.query.group_id and not call.query.geofence_id:
        checked_period(call.query.since, call.query.until)
        return await streamed(
            position_array(Histories(call, call.query.device_id, call.query.since, call.query.until)), JSON
        )
    report = await made(call, name)
    whole = await asyncio.to_thread(encode, report.rows)
    return Response(whole, media_type=JSON, headers=_told(report))


def _declare(name: str) -> None:
    kind, work = REPORTS[name]
    told = (work.__doc__ or "").strip()

    async def get_report(call: Call[ReportQuery, None]) -> Response:
        return await _answer(call, name)

    async def get_csv(call: Call[ReportQuery, None]) -> Response:
        return await as_file(call, name, "csv")

    async def get_xlsx(call: Call[ReportQuery, None]) -> Response:
        return await as_file(call, name, "xlsx")

    files = (("csv", CSV, get_csv), ("xlsx", XLSX, get_xlsx)) if name in FILES else ()
    get_report.__name__ = f"report_{name}"
    get_report.__doc__ = told
    media = (JSON, CSV, XLSX) if files else (JSON,)
    routes.get(
        f"/reports/{name}",
        needs=Right.REPORTS,
        query=ReportQuery,
        objects=OBJECTS,
        answers=list[kind],  # pyright: ignore[reportGeneralTypeIssues]
        media=media,
    )(get_report)
    for form, media_type, handler in files:
        handler.__name__ = f"report_{name}_{form}"
        handler.__doc__ = f"{told} As {form.upper()}."
        routes.get(
            f"/reports/{name}/{form}",
            needs=Right.REPORTS,
            query=ReportQuery,
            objects=OBJECTS,
            answers=str,
            media=(media_type,),
        )(handler)


for _name in REPORTS:
    _declare(_name)


# ------------------------------------------------------------------------------------------------- by mail, and saved


def _declare_mail(name: str) -> None:
    async def mail_report(call: Call[ReportQuery, None]) -> None:
        """Order it; it is made as it is sent."""
        if not call.services.settings.smtp.host:
            raise Refusal(
                409, "smtp.host is not set: this server sends no e-mail; download the report instead"
            )
        query, principal = call.query, call.principal
        checked_period(query.since, query.until)
        wanted = ReportOrder(
            report=name,
            user_id=principal.user_id,
            since=query.since,
            until=query.until,
            device_ids=tuple(filter(None, query.device_id)),
            group_ids=tuple(filter(None, query.group_id)),
            fence_ids=tuple(filter(None, query.geofence_id)),
            types=tuple(query.type),
            daily=query.daily,
        )
        async with call.services.pools.core() as connection, connection.transaction():
            key = f"report by hand:{principal.user_id}:{token_hex(8)}"
            await order(connection, key, wanted, principal.email, principal.account_id, call.now)

    routes.get(
        f"/reports/{name}/mail",
        needs=Right.SELF,
        query=ReportQuery,
        objects=OBJECTS,
        status=204,
        name=f"report_{name}_mail",
        summary=f"{(REPORTS[name][1].__doc__ or '').strip()} By e-mail to oneself, as XLSX.",
    )(mail_report)


for _name in FILES:
    _declare_mail(_name)


async def _check_saved(call: Call[Any, Any], saved: SavedReport) -> None:
    call.require(Right.REPORTS)
    if saved.type not in FILES:
        raise bad("type", f"{saved.type[:40]!r} is no report; there are {', '.join(FILES)}")
    await call.require_objects(Kind.CALENDAR, saved.calendar_id or 0)


async def _added(call: Call[Any, Any], connection: Any, number: int) -> None:
    await keep_for(connection, number, call.principal.user_id)


async def _changed(_: Call[Any, Any], connection: Any, number: int) -> None:
    await begin_anew(connection, number)


keep(
    routes,
    Sort(
        Kind.REPORT,
        "/reports",
        SavedReport,
        to_row=lambda one: {
            "type": one.type,
            "description": one.description,
            "calendar_id": one.calendar_id or None,
            "attributes": one.attributes or {},
        },
        to_shape=lambda row: SavedReport(
            id=row["id"],
            type=row["type"],
            description=row["description"],
            calendar_id=row["calendar_id"] or 0,
            attributes=row["attributes"],
            account_id=row["account_id"],
        ),
        check=_check_saved,
        changed=_changed,
        added=_added,
    ),
)
