"""What a client asks first: the server's own choices."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import asdict
from starlette.responses import PlainTextResponse, Response

from tracker_protocols import ALL
from tracker_protocols.protocol import Transport
from tracker_server import __version__
from tracker_server.alerts.letters import spoken
from tracker_server.api.authorise import Open, Routes
from tracker_server.api.call import Call
from tracker_server.api.errors import Refusal, not_found
from tracker_server.api.values import Number, convert
from tracker_server.model.people import Right
from tracker_server.storage.audit import note
from tracker_server.storage.server_choices import read_choices, write_choices
from tracker_server.storage.users import is_there_an_admin, user_by_id

routes = Routes("Server")


class Choices(Struct, kw_only=True, rename="camel"):
    """What an administrator may choose."""

    registration: bool = False
    readonly: bool = False
    device_readonly: bool = False
    map: str | None = None
    bing_key: str | None = None
    map_url: str | None = None
    overlay_url: str | None = None
    latitude: float = 0.0
    longitude: float = 0.0
    zoom: int = 0
    force_settings: bool = False
    coordinate_format: str | None = None
    twelve_hour_format: bool = False
    limit_commands: bool = False
    disable_reports: bool = False
    fixed_email: bool = False
    poi_layer: str | None = None
    announcement: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


class Server(Choices, kw_only=True, rename="camel"):
    """With what the server knows of itself. ``newServer``: there is no administrator yet."""

    id: int = 1
    version: str = __version__
    email_enabled: bool = False
    geocoder_enabled: bool = False
    text_enabled: bool = False
    storage_space: list[int] = field(default_factory=list)
    new_server: bool = False
    open_id_enabled: bool = False
    open_id_force: bool = False


class Order(Struct, rename="camel"):
    """A transport order, as clients of this field name one."""

    id: int
    unique_id: str
    description: str
    from_address: str
    to_address: str
    attributes: dict[str, Any]


FIXED: Final = frozenset({"registration"})  # nobody registers himself: an account pays


@routes.get("/server", needs=Open.ANYBODY, answers=Server)
async def get_server(call: Call[None, None]) -> Server:
    """The server's choices and what it can do."""
    return await _server(call)


@routes.put("/server", needs=Right.ADMINISTER, body=Choices, answers=Server)
async def put_server(call: Call[None, Choices]) -> Server:
    """Change the server's choices."""
    chosen = {name: value for name, value in asdict(call.body).items() if name not in FIXED}
    async with call.services.pools.core() as connection, connection.transaction():
        await write_choices(connection, chosen)
        await note(connection, "edit", by=call.principal, kind="server", address=call.address)
    return await _server(call)


class Place(Struct):
    """Degrees of WGS 84."""

    latitude: Annotated[float, Meta(ge=-90, le=90)]
    longitude: Annotated[float, Meta(ge=-180, le=180)]


@routes.get("/server/geocode", needs=Right.READ, query=Place, answers=str, media=("text/plain",))
async def get_geocode(call: Call[Place, None]) -> Response:
    """The address of a place, in one's own language; empty where none is known, or not in time."""
    if call.services.places is None:
        raise not_found("geocoder; the operator's settings name one (geocoder.url)")
    async with call.services.pools.core() as connection:
        user = await user_by_id(connection, call.principal.user_id)
    language = spoken(str(user.attributes.get("language") or "en")) if user else "en"
    place = call.query
    return PlainTextResponse(await call.services.places.address(place.latitude, place.longitude, language))


@routes.get("/server/timezones", needs=Right.READ, answers=list[str])
async def get_timezones(_: Call[None, None]) -> list[str]:
    """The time zones of the IANA database."""
    from zoneinfo import available_timezones

    return sorted(available_timezones())


@routes.get("/server/cache", needs=Right.ADMINISTER, answers=str, media=("text/plain",))
async def get_cache(call: Call[None, None]) -> Response:
    """What this process keeps in memory, counted."""
    services = call.services
    counts = {
        "trackers": len(list(services.trackers)),
        "open sockets": len(services.hub),
        "sign-ins": services.access.kept,
    }
    return PlainTextResponse("".join(f"{name}: {count}\n" for name, count in counts.items()))


@routes.post("/server/reboot", needs=Right.ADMINISTER)
async def post_reboot(_: Call[None, None]) -> None:
    """Refused: what started the server restarts it."""
    raise Refusal(409, "restart the server where it was started, as by: systemctl restart tracker-server")


class PortsQuery(Struct):
    """``id``: these alone."""

    id: list[Number] = field(default_factory=list)


class Port(Struct):
    """Where devices of a protocol send to. ``id`` is the port's number."""

    id: int
    protocol: str
    transport: Literal["tcp", "udp"]


@routes.get("/ports", needs=Right.READ, query=PortsQuery, answers=list[Port])
async def get_ports(call: Call[PortsQuery, None]) -> list[Port]:
    """Which protocols are spoken here, and at which ports, as the settings say."""
    wanted = set(call.query.id)
    found = [
        Port(settings.port, protocol.name, "udp" if transport is Transport.UDP else "tcp")
        for protocol in ALL
        if (settings := call.services.settings.listeners.get(protocol.name)) is not None and settings.port
        for transport in protocol.transports
        if transport is not Transport.MQTT
    ]
    return sorted(
        (one for one in found if not wanted or one.id in wanted), key=lambda one: (one.id, one.transport)
    )


@routes.get("/orders", needs=Right.READ, answers=list[Order])
async def get_orders(_: Call[None, None]) -> list[Order]:
    """Transport orders, which clients of this field ask for; there are none here."""
    return []


async def _server(call: Call[Any, Any]) -> Server:
    async with call.services.pools.core() as connection:
        chosen = await read_choices(connection)
        new = not await is_there_an_admin(connection)
    known = convert(chosen, dict[str, Any])
    names = {one for one in Choices.__struct_fields__ if one not in FIXED}
    return Server(
        email_enabled=bool(call.services.settings.smtp.host),
        text_enabled=bool(call.services.settings.sms.provider),
        geocoder_enabled=call.services.places is not None,
        new_server=new,
        open_id_enabled=bool(call.services.settings.openid.issuer),
        open_id_force=call.services.settings.openid.only,
        **{name: value for name, value in known.items() if name in names},
    )
