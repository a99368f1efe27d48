"""The operator's own: unknown devices, quarantine, health, statistics, what people changed."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from msgspec import Meta, Struct, field

from tracker_server import __version__
from tracker_server.api.authorise import Routes
from tracker_server.api.call import Call
from tracker_server.api.device_shape import Device, device_shape
from tracker_server.api.devices import taken, unique_id_of
from tracker_server.api.errors import not_found
from tracker_server.api.kept import Name, account_for
from tracker_server.api.values import Moment, Number, iso
from tracker_server.model.people import Right
from tracker_server.storage.audit import audit, note
from tracker_server.storage.device_cards import device_cards_of
from tracker_server.storage.devices import DeviceExistsError, NewDevice, add_device
from tracker_server.storage.operator_views import Knocked, Quarantined, busy, knocked, quarantined
from tracker_server.storage.outbox import backlog_of
from tracker_server.storage.quarantine_replay import Replay
from tracker_server.storage.quarantine_rows import Choice, drop_frames
from tracker_server.storage.replay_stage import replay_stage
from tracker_server.storage.status import counts, shape

routes = Routes("Operator")

KNOCKED_MAX: Final = 1_000
PAGE_MAX: Final = 1_000
AUDIT_MAX: Final = 10_000


class UnknownDevice(Struct, rename="camel"):
    """Somebody who sends and is no tracker; what he sent waits in quarantine."""

    unique_id: str
    protocol: str
    first_at: datetime
    last_at: datetime
    frames: int
    reports: int


class Adopted(Struct, rename="camel"):
    """To whom it is added, and as what."""

    account_id: Number | None = 0
    name: Name | None = None


class AdoptedDevice(Struct, rename="camel"):
    """``replayed``: how many of its reports came home."""

    device: Device
    replayed: int


class Dropped(Struct):
    """How many frames there were."""

    frames: int


class PageQuery(Struct):
    """``cursor``: as the answer before said."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_MAX)] = 100
    cursor: Annotated[int, Meta(ge=0, le=2**62)] = 0


class Frame(Struct, rename="camel"):
    """A frame that was kept, its first 2 KB in hexadecimal."""

    id: int
    received_at: datetime
    unique_id: str
    protocol: str
    transport: str
    remote: str
    reason: str
    detail: str
    reports: int
    frame_bytes: int
    frame: str


class Frames(Struct):
    """``next``: the cursor of what follows; null: nothing does."""

    frames: list[Frame]
    next: int | None


class Health(Struct, rename="camel"):
    """How the server is."""

    ready: bool
    problems: list[str]
    version: str
    database_version: str
    timescaledb: str | None
    database_bytes: int
    accounts: int
    trackers: int
    blocked: int
    quarantine_frames: int
    queue_rows: int
    connections: int
    outbox_waiting: int
    outbox_failed: int
    outbox_oldest_s: float


class Statistics(Struct, rename="camel"):
    """Of the last day; messages and requests since the server started."""

    id: int
    capture_time: Moment
    active_users: int
    active_devices: int
    requests: int
    messages_received: int
    messages_stored: int
    mail_sent: int = 0
    sms_sent: int = 0
    geocoder_requests: int = 0
    geolocation_requests: int = 0
    attributes: dict[str, Any] = field(default_factory=dict)


class PeriodQuery(Struct):
    """From and to are inclusive."""

    from_: datetime | None = field(default=None, name="from")
    to: datetime | None = None
    limit: Annotated[int, Meta(ge=1, le=AUDIT_MAX)] = 1_000
    cursor: Annotated[int, Meta(ge=0, le=2**62)] = 0


class Action(Struct, rename="camel"):
    """One thing that somebody did. ``actorId``: who it was, where an administrator stood in another's place."""

    id: int
    action_time: Moment
    address: str
    user_id: int
    actor_id: int | None
    action_type: str
    object_type: str
    object_id: int
    attributes: dict[str, Any]


@routes.get("/unknown", needs=Right.OPERATE, answers=list[UnknownDevice])
async def get_unknown(call: Call[None, None]) -> list[UnknownDevice]:
    """Devices that knocked and are not known, the latest first."""
    async with call.services.pools.core() as connection:
        rows = await knocked(connection, KNOCKED_MAX)
    return [_unknown(row) for row in rows]


def _unknown(row: Knocked) -> UnknownDevice:
    return UnknownDevice(row.unique_id, row.protocol, row.first_at, row.last_at, row.frames, row.reports)


@routes.post("/unknown/{uniqueId}/add", needs=Right.OPERATE, body=Adopted, answers=AdoptedDevice)
async def post_unknown_add(call: Call[None, Adopted]) -> AdoptedDevice:
    """Make a tracker of an unknown device, and bring home what it has sent."""
    unique_id = unique_id_of(call.path["uniqueId"])
    account = await account_for(call, call.body.account_id)
    services = call.services
    async with services.pools.core() as connection, connection.transaction():
        try:
            number = await add_device(connection, NewDevice(unique_id, account, call.body.name or unique_id))
        except DeviceExistsError:
            raise taken(unique_id) from None
        await note(
            connection, "create", by=call.principal, kind="device", object_id=number, address=call.address
        )
    settings = services.settings
    replay = Replay(
        services.database,
        await replay_stage(services.database, settings),
        future_max_s=settings.ingest.future_max_s,
        register_unknown=False,
        account_for_new=settings.devices.unknown_account,
    )
    done = await replay.run(Choice(unique_id), None)
    services.access.forget(call.principal)
    async with services.pools.display() as connection:
        (card,) = await device_cards_of(connection, [number])
    return AdoptedDevice(device_shape(card), done.reports_stored + done.reports_repeated)


@routes.post("/unknown/{uniqueId}/drop", needs=Right.OPERATE, answers=Dropped)
async def post_unknown_drop(call: Call[None, None]) -> Dropped:
    """Keep nothing of an unknown device any longer."""
    async with call.services.pools.core() as connection, connection.transaction():
        frames = await drop_frames(connection, Choice(call.path["uniqueId"]))
        detail = {"uniqueId": call.path["uniqueId"], "frames": frames}
        await note(
            connection, "drop", by=call.principal, kind="quarantine", address=call.address, detail=detail
        )
    if not frames:
        raise not_found("frame of such a device")
    return Dropped(frames)


@routes.get("/quarantine", needs=Right.OPERATE, query=PageQuery, answers=Frames)
async def get_quarantine(call: Call[PageQuery, None]) -> Frames:
    """Frames that could not be decoded, assigned or stored, newest first."""
    async with call.services.pools.core() as connection:
        rows = await quarantined(connection, call.query.limit, call.query.cursor or None)
    full = len(rows) == call.query.limit
    return Frames([_frame(row) for row in rows], rows[-1].id if full else None)


def _frame(row: Quarantined) -> Frame:
    return Frame(*(getattr(row, name) for name in Quarantined.__struct_fields__))


@routes.get("/health/server", needs=Right.OPERATE, answers=Health)
async def get_health(call: Call[None, None]) -> Health:
    """How the server is: readiness, sizes, queues, versions."""
    services = call.services
    state = await services.readiness()
    async with services.pools.core() as connection:
        database = await shape(connection)
        found = await counts(connection)
        waiting = await backlog_of(connection, call.now)
    return Health(
        ready=state.ready,
        problems=list(state.problems),
        version=__version__,
        database_version=database.version,
        timescaledb=database.timescaledb,
        database_bytes=database.size_bytes,
        accounts=found.accounts,
        trackers=found.trackers,
        blocked=found.blocked,
        quarantine_frames=found.quarantine_frames,
        queue_rows=services.metrics.whole("tracker_queue_rows"),
        connections=services.metrics.whole("tracker_connections"),
        outbox_waiting=waiting.waiting,
        outbox_failed=waiting.failed,
        outbox_oldest_s=waiting.oldest_s,
    )


@routes.get("/statistics", needs=Right.OPERATE, query=PeriodQuery, answers=list[Statistics])
async def get_statistics(call: Call[PeriodQuery, None]) -> list[Statistics]:
    """How busy the server is; one row, if now lies in the period asked for."""
    query = call.query
    if (query.from_ and query.from_ > call.now) or (query.to and query.to < call.now):
        return []
    async with call.services.pools.core() as connection:
        users, devices = await busy(connection)
    metrics = call.services.metrics
    moment = iso(call.now)
    assert moment is not None
    return [
        Statistics(
            id=1,
            capture_time=moment,
            active_users=users,
            active_devices=devices,
            requests=metrics.whole("tracker_api_requests_total"),
            messages_received=metrics.whole("tracker_frames_total")
            + metrics.whole("tracker_datagrams_total"),
            messages_stored=metrics.whole("tracker_fixes_total"),
            mail_sent=metrics.whole("tracker_outbox_delivered_total", channel="email"),
            sms_sent=metrics.whole("tracker_outbox_delivered_total", channel="sms"),
        )
    ]


@routes.get("/audit", needs=Right.ADMINISTER, query=PeriodQuery, answers=list[Action])
async def get_audit(call: Call[PeriodQuery, None]) -> list[Action]:
    """What people changed, the latest first."""
    query = call.query
    async with call.services.pools.core() as connection:
        rows = await audit(
            connection, since=query.from_, until=query.to, limit=query.limit, before_id=query.cursor or None
        )
    return [
        Action(
            id=row.id,
            action_time=iso(row.at) or "",
            address=row.address,
            user_id=row.user_id or 0,
            actor_id=row.actor_id,
            action_type=row.action,
            object_type=row.kind,
            object_id=row.object_id or 0,
            attributes=row.detail,
        )
        for row in rows
    ]
