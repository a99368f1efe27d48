"""One frozen tree of settings, read once: file, then environment over it, then flags over both.

Every key has its default, unit and meaning here; ``config/tracker-server.toml`` is written from this
module by ``config show --as-file`` and a test holds the two together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct, field

from tracker_protocols import ALL
from tracker_protocols.json.mapping import Mapping as JsonMapping
from tracker_server.config_alerts import Alerts, AlertSettingError, Geocoding, Sms, Webhooks, check_alerts
from tracker_server.config_keys import SECRET, Section, keys_of, sections_in, summary
from tracker_server.config_money import MoneySettingError, Payments, Seller, check_money
from tracker_server.config_mqtt import Mqtt, MqttBroker, MqttRoute, MqttSettingError, check_mqtt
from tracker_server.config_people import OpenId, PeopleSettingError, check_openid
from tracker_server.config_tracing import Tracing, TracingSettingError, check_tracing
from tracker_server.config_track import Geofences, Track
from tracker_server.model import address, money
from tracker_server.model.reading import UnreadableError, read_toml

Kind = TypeVar("Kind")

PREFIX = "TRACKER_"
FILE_VARIABLE = "TRACKER_CONFIG"
OTHER_VARIABLES = (FILE_VARIABLE, "TRACKER_TEST_", "TRACKER_GOLDEN_DIR")  # ours, but no settings
DEFAULT_FILE = Path("config/tracker-server.toml")

WORKERS_MAX = 16  # each has a dozen connections to the database
TILE_PARTS = ("{z}", "{x}", "{y}")
LOOPBACK = ("localhost", "127.0.0.1", "::1")
Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(gt=0)]


class ConfigError(Exception):
    """A setting that cannot be used. The message names the key, where it came from and the cure."""


class Storage(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where fixes live. ``dsn`` empty: an embedded PostgreSQL in ``data_dir``."""

    dsn: Annotated[
        str, Meta(description="PostgreSQL 15 or later; empty: embedded, in data_dir", extra={SECRET: True})
    ] = ""
    timescaledb: Annotated[
        Literal["auto", "off"],
        Meta(description="auto: hypertables where the extension is to be had; off: native daily partitions"),
    ] = "auto"
    retention_days: Annotated[
        NotNegative, Meta(description="days after which fixes are deleted; 0: kept for ever")
    ] = 0
    compress_after_days: Annotated[
        NotNegative,
        Meta(description="days after which TimescaleDB compresses, where its licence allows; 0: never"),
    ] = 14


class Listener(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One protocol's address."""

    port: Annotated[Port, Meta(description="0 switches the protocol off")]
    host: Annotated[
        str, Meta(description="address, or several separated by commas: 0.0.0.0,:: is IPv4 and IPv6")
    ] = "0.0.0.0"  # noqa: S104  (devices call from everywhere)
    tls_cert: Annotated[str, Meta(description="PEM file with the certificate chain: TLS for TCP or HTTP")] = (
        ""
    )
    tls_key: Annotated[str, Meta(description="PEM file with the private key")] = ""
    proxy_protocol: Annotated[
        bool, Meta(description="expect PROXY protocol v2 before each TCP connection's first byte")
    ] = False


class Api(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """REST, socket, page, /metrics, /healthz, /readyz."""

    host: Annotated[str, Meta(description="address to listen on")] = "0.0.0.0"  # noqa: S104
    port: Annotated[Port, Meta(description="0 switches it off")] = 8082
    tls_cert: Annotated[str, Meta(description="PEM file with the certificate chain")] = ""
    tls_key: Annotated[str, Meta(description="PEM file with the private key")] = ""
    public_url: Annotated[
        str,
        Meta(
            description="address under which customers reach us, for links in letters and payments: https://tracks.example"
        ),
    ] = ""
    origins: Annotated[
        str, Meta(description="other sites whose pages may use a sign-in here, separated by commas")
    ] = ""
    proxies: Annotated[
        str,
        Meta(description="addresses or networks of proxies whose X-Forwarded-For and -Proto are believed"),
    ] = "127.0.0.1,::1"
    session_days: Annotated[Positive, Meta(description="days after its last use that a sign-in ends")] = 30

    @property
    def origins_allowed(self) -> frozenset[str]:
        """``origins``, one by one."""
        return frozenset(filter(None, (one.strip().rstrip("/") for one in self.origins.split(","))))

    @property
    def base(self) -> str:
        """The URL that links begin with."""
        if self.public_url:
            return self.public_url.rstrip("/")
        host = self.host.partition(",")[0].strip()
        host = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else host  # noqa: S104
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"


class Page(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The web page at `/`. ``tiles`` empty: the map of the world that is inside, which needs no internet."""

    title: Annotated[str, Meta(description="the name that people see", max_length=60)] = "Tracker server"
    tiles: Annotated[
        str,
        Meta(
            description="a finer map: https://…/{z}/{x}/{y}.png, or a .pmtiles file, here or at an https address"
        ),
    ] = ""
    tiles_attribution: Annotated[
        str, Meta(description="whom to name for the tiles, for example © OpenStreetMap contributors")
    ] = ""
    tiles_zoom_max: Annotated[
        int, Meta(description="the deepest zoom that there are tiles for (0 to 24)", ge=0, le=24)
    ] = 19


class Devices(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens when somebody unknown knocks."""

    unknown: Annotated[
        Literal["quarantine", "register"],
        Meta(
            description="quarantine: kept until `device add` and `quarantine replay`; register: becomes a tracker"
        ),
    ] = "quarantine"
    unknown_account: Annotated[str, Meta(description="the account that a registered one belongs to")] = (
        "default"
    )


class Commands(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What devices are told."""

    keep_hours: Annotated[
        Positive, Meta(description="hours that a command waits for its device before it is void")
    ] = 24


class Limits(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one device, one address and all together may take. Full: the socket is read no further."""

    connections_max: Annotated[
        Positive, Meta(description="open device connections; a file descriptor and about 6 KB each")
    ] = 50_000
    connections_per_address_max: Annotated[
        Positive, Meta(description="open connections from one address; carriers put many devices behind one")
    ] = 10_000
    messages_per_second_max: Annotated[
        Positive, Meta(description="frames a second of one connection; what is above is read later")
    ] = 1_000
    unanswered_bytes_max: Annotated[
        Positive, Meta(description="bytes of one connection read but not yet committed")
    ] = 262_144
    noise_bytes_max: Annotated[
        Positive, Meta(description="bytes in a row that belong to no frame before the connection is closed")
    ] = 65_536
    idle_s: Annotated[Seconds, Meta(description="seconds of silence before a connection is closed")] = 1_800.0
    login_s: Annotated[
        Seconds, Meta(description="seconds for TLS, PROXY header and the first byte before it is closed")
    ] = 300.0
    http_body_bytes_max: Annotated[Positive, Meta(description="body of one request of a device")] = 65_536
    udp_peers_max: Annotated[Positive, Meta(description="UDP senders remembered at once")] = 100_000


class Ingest(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The way from frame to commit."""

    queue_rows_max: Annotated[
        Positive, Meta(description="reports waiting for a commit before sockets are read no further")
    ] = 50_000
    batch_rows_max: Annotated[Positive, Meta(description="reports in one transaction")] = 5_000
    future_max_s: Annotated[
        Positive, Meta(description="a fix further ahead of our clock than this many seconds is quarantined")
    ] = 86_400


class Quarantine(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Frames kept because they could not be decoded, assigned or stored."""

    rows_max: Annotated[Positive, Meta(description="frames in all; above it none is kept or answered")] = (
        1_000_000
    )
    rows_per_device_max: Annotated[
        Positive, Meta(description="frames of one unknown identifier; above it none is kept or answered")
    ] = 20_000
    days: Annotated[Positive, Meta(description="days after which a frame is dropped")] = 90


class Billing(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Of the account `default`, and where an account names none."""

    currency: Annotated[str, Meta(description="ISO 4217 code")] = "EUR"
    zone: Annotated[str, Meta(description="IANA time zone")] = "UTC"
    switches_per_month_max: Annotated[
        NotNegative, Meta(description="changes of tariff in a calendar month of the account's zone")
    ] = 2
    sms_unit: Annotated[Literal["message", "segment"], Meta(description="what one SMS debit is for")] = (
        "message"
    )
    reserve_days: Annotated[
        NotNegative, Meta(description="days whose fees an SMS may not eat; it becomes an e-mail instead")
    ] = 0
    test_days_max: Annotated[
        NotNegative, Meta(description="days on which a test tracker is shown; 0: without limit")
    ] = 0
    withdrawal_days: Annotated[
        NotNegative, Meta(description="days in which a customer may withdraw from the contract")
    ] = 14
    withdrawal_amount: Annotated[
        Literal["full", "proportionate"], Meta(description="what comes back on a withdrawal")
    ] = "full"
    guarantee_months: Annotated[
        NotNegative, Meta(description="months in which a dissatisfied customer gets all back; 0: none")
    ] = 1
    suspension_months_max: Annotated[NotNegative, Meta(description="months of pause in any twelve")] = 6
    unlock: Annotated[
        Literal["automatic", "manual"],
        Meta(description="whether money on the balance unlocks by itself, or at the owner's click"),
    ] = "automatic"
    hide_history_while_blocked: Annotated[
        bool,
        Meta(
            description="false: what was received before the block stays visible; the operator's hold hides all anyway"
        ),
    ] = True
    reveal: Annotated[
        Literal["all", "paid_dates_only", "back_pay"],
        Meta(
            description="what is shown, once a block is lifted, of the time that was blocked; back_pay: nothing, until its dates are paid for"
        ),
    ] = "all"
    charge_difference: Annotated[
        bool,
        Meta(
            description="whether a switch to a dearer tariff within the 31 days costs the difference for what is left of them"
        ),
    ] = False
    blocked_keep_days: Annotated[
        Annotated[int, Meta(ge=0, le=3650)],
        Meta(
            description="days for which what a tracker records while it is blocked for money is kept; deleted only as announced. 0: as long as all else"
        ),
    ] = 0


class Smtp(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The server that takes our e-mail. ``host`` empty: none is sent, and what is written waits."""

    host: Annotated[str, Meta(description="name or address; empty: no e-mail")] = ""
    port: Annotated[
        Annotated[int, Meta(ge=1, le=65535)], Meta(description="587 with starttls, 465 with tls")
    ] = 587
    user: Annotated[str, Meta(description="empty: without authentication")] = ""
    password: Annotated[str, Meta(description="of that user", extra={SECRET: True})] = ""
    tls: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(
            description="starttls: required after the greeting; tls: from the first byte; none: in the clear"
        ),
    ] = "starttls"
    tls_ca: Annotated[
        str,
        Meta(description="PEM file of an authority to trust besides the system's, for a server of your own"),
    ] = ""
    sender: Annotated[
        str,
        Meta(description="address that mails come from, or name and address: Tracking <billing@example.com>"),
    ] = field(default="", name="from")
    timeout_s: Annotated[
        Seconds, Meta(description="seconds in which to connect, and again to hand one message over")
    ] = 30.0


class Notices(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What customers are told, and how long we try."""

    language: Annotated[
        Literal["en", "es", "ru"], Meta(description="of an account that is added without one")
    ] = "en"
    give_up_h: Annotated[
        Positive,
        Meta(description="hours after which an undelivered message is given up, and listed as failed"),
    ] = 72
    keep_days: Annotated[
        Positive, Meta(description="days for which delivered and failed messages stay listed")
    ] = 90
    monthly_report: Annotated[
        bool,
        Meta(description="whether each account is mailed a report of its month, on the third business day"),
    ] = True
    messenger_url: Annotated[
        str,
        Meta(
            description="apprise URL with {to} where an account's --messenger goes; empty: e-mail only",
            extra={SECRET: True},
        ),
    ] = ""


class Backup(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The server's own backups. Where PostgreSQL's means are used instead: every_hours = 0."""

    dir: Annotated[str, Meta(description="folder for them; empty: backups in data_dir")] = ""
    every_hours: Annotated[NotNegative, Meta(description="hours from one to the next; 0: none are made")] = 24
    keep: Annotated[Positive, Meta(description="how many are kept; older ones are removed")] = 7


class Log(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is told on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="coordinates are told at debug only")
    ] = "info"
    format: Annotated[
        Literal["auto", "json", "console"], Meta(description="auto: colours on a terminal, else JSON")
    ] = "auto"


def _default_listeners() -> dict[str, Listener]:
    return {protocol.name: Listener(port=protocol.port) for protocol in ALL}


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings."""

    data_dir: Annotated[Path, Meta(description="embedded database, keys")] = Path("data")
    workers: Annotated[
        int,
        Meta(
            description="processes that hear devices on the same ports (Linux); more than 1 where cores are idle and one is full",
            ge=1,
            le=WORKERS_MAX,
        ),
    ] = 1
    storage: Storage = field(default_factory=Storage)
    api: Api = field(default_factory=Api)
    openid: OpenId = field(default_factory=OpenId)
    page: Page = field(default_factory=Page)
    listeners: dict[str, Listener] = field(default_factory=_default_listeners)
    devices: Devices = field(default_factory=Devices)
    commands: Commands = field(default_factory=Commands)
    limits: Limits = field(default_factory=Limits)
    ingest: Ingest = field(default_factory=Ingest)
    quarantine: Quarantine = field(default_factory=Quarantine)
    billing: Billing = field(default_factory=Billing)
    seller: Seller = field(default_factory=Seller)
    payments: Payments = field(default_factory=Payments)
    backup: Backup = field(default_factory=Backup)
    smtp: Smtp = field(default_factory=Smtp)
    notices: Notices = field(default_factory=Notices)
    alerts: Alerts = field(default_factory=Alerts)
    sms: Sms = field(default_factory=Sms)
    webhooks: Webhooks = field(default_factory=Webhooks)
    geocoder: Geocoding = field(default_factory=Geocoding)
    track: Track = field(default_factory=Track)
    geofences: Geofences = field(default_factory=Geofences)
    mqtt: Mqtt = field(default_factory=Mqtt)
    mappings: dict[str, JsonMapping] = field(default_factory=dict)
    tracing: Tracing = field(default_factory=Tracing)
    log: Log = field(default_factory=Log)


class Source(Struct, frozen=True):
    """Values as one source gave them: ``name`` is a file's path, ``environment`` or ``flags``."""

    name: str
    values: dict[str, Any]


class Loaded(Struct, frozen=True):
    """The settings, and for each dotted key that is not a default, the source that set it."""

    settings: Settings
    origin: dict[str, str]


def load(
    config: Path | None = None,
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """Read the settings. ``flags`` are dotted keys. Raises ConfigError."""
    environment = os.environ if environment is None else environment
    sources = [*_file(config, environment), _environment(environment)]
    sources.append(Source("flags", nested({k: v for k, v in (flags or {}).items() if v is not None})))
    tree: dict[str, Any] = {"listeners": {p.name: {"port": p.port} for p in ALL}}
    origin: dict[str, str] = {}
    for source in sources:
        _merge(tree, source.values, source.name, origin, "")
    listeners = tree["listeners"]
    if isinstance(listeners, dict):
        for name, values in listeners.items():
            _check_protocol(name, origin)
            _convert(values, Listener, f"listeners.{name}", origin)  # so that an error names the protocol
    for prefix, kind in MANY.items():
        for name, values in _below(tree, prefix).items():
            _convert(values, kind, f"{prefix}.{name}", origin)
    settings = _convert(tree, Settings, "", origin)
    _check(settings, origin)
    return Loaded(settings, origin)


def _convert(tree: Any, kind: type[Kind], prefix: str, origin: Mapping[str, str]) -> Kind:
    try:
        return msgspec.convert(tree, kind, strict=False, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise ConfigError(explain(str(error), prefix, tree, origin)) from None


def _below(tree: Any, prefix: str) -> dict[str, Any]:
    for name in prefix.split("."):
        tree = tree.get(name, {}) if isinstance(tree, dict) else {}
    return tree if isinstance(tree, dict) else {}


def _check_protocol(name: str, origin: Mapping[str, str]) -> None:
    names = [p.name for p in ALL]
    if name not in names:
        near = get_close_matches(name, names, 1)
        hint = f"did you mean {near[0]!r}?" if near else "`tracker-server protocols` lists them"
        raise ConfigError(
            f"listeners.{name} ({_where(f'listeners.{name}', origin)}): no such protocol; {hint}"
        )


def as_line(settings: Settings) -> bytes:
    """All settings in one line, secrets too, for another process of ours."""
    return msgspec.json.encode(settings, enc_hook=str)


def of_line(line: bytes) -> Settings:
    """The settings that ``as_line`` wrote."""
    return msgspec.json.decode(line, type=Settings, dec_hook=_path)


def _path(kind: type, value: Any) -> Any:
    if kind is not Path or not isinstance(value, str):
        raise ValueError(f"expected {kind.__name__}")
    return Path(value).expanduser()


def _file(config: Path | None, environment: Mapping[str, str]) -> list[Source]:
    named = config or (Path(environment[FILE_VARIABLE]) if environment.get(FILE_VARIABLE) else None)
    path = named or DEFAULT_FILE
    try:
        return [Source(str(path), read_toml(path))]
    except FileNotFoundError:
        if named is None:
            return []
        raise ConfigError(f"{path}: there is no such file; --config and {FILE_VARIABLE} name it") from None
    except (UnreadableError, OSError) as error:
        twice = (
            "; that section is there already, put the keys into it" if "Cannot declare" in str(error) else ""
        )
        raise ConfigError(f"{path}: cannot be read as TOML: {error}{twice}") from None


def _environment(environment: Mapping[str, str]) -> Source:
    """Every variable of ours is a setting, or is refused by its name: a misspelt one must not do nothing."""
    known = {variable_of(key.name): key.name for section in sections() for key in section.keys}
    found: dict[str, str] = {}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or variable.startswith(OTHER_VARIABLES):
            continue
        if variable not in known:
            near = get_close_matches(variable, known, 1, 0.75)
            hint = f"did you mean {near[0]}?" if near else "`tracker-server config show` lists all settings"
            raise ConfigError(f"{variable} (from environment): there is no such setting; {hint}")
        found[known[variable]] = value
    return Source("environment", nested(found))


def variable_of(key: str) -> str:
    """The environment variable of a setting: ``api.port`` is ``TRACKER_API__PORT``."""
    return PREFIX + key.upper().replace(".", "__")


def nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """``{"api.port": 1}`` as ``{"api": {"port": 1}}``."""
    tree: dict[str, Any] = {}
    for key, value in dotted.items():
        *parents, leaf = key.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def _merge(
    tree: dict[str, Any], values: dict[str, Any], source: str, origin: dict[str, str], path: str
) -> None:
    for key, value in values.items():
        dotted = f"{path}{key}"
        if isinstance(value, dict) and isinstance(tree.setdefault(key, {}), dict):
            _merge(tree[key], value, source, origin, f"{dotted}.")
        else:
            tree[key] = value
            origin[dotted] = source


def explain(problem: str, prefix: str, tree: Any, origin: Mapping[str, str]) -> str:
    """Msgspec's finding about ``tree`` as a sentence that names the key, its source, the value and the cure."""
    text, _, path = problem.partition(" - at `$")
    below = path.rstrip("`").lstrip(".")
    key = ".".join(filter(None, (prefix, below)))
    if "unknown field" in text:
        unknown = text.split("`")[1]
        key = f"{key}.{unknown}".lstrip(".")
        known = names_below(key.rpartition(".")[0])
        near = get_close_matches(unknown, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
        return f"{key} ({_where(key, origin)}): there is no such setting; {hint}"
    value = tree
    for name in filter(None, below.split(".")):
        value = value.get(name) if isinstance(value, dict) else None
    every = (*sections(), *many_sections())
    known_keys = {known.name: known for section in every for known in section.keys}
    shape = shape_of(key)
    if shape in known_keys:
        known_keys[key] = known_keys[shape]
    if key in known_keys:
        shown = "this value" if known_keys[key].secret else repr(value)
        return f"{key} ({_where(key, origin)}): {shown} does not fit; write {known_keys[key].takes}"
    known = ", ".join(names_below(key))
    return f"{key} ({_where(key, origin)}): {value!r} stands where a section should; known there: {known}"


def _where(key: str, origin: Mapping[str, str]) -> str:
    exact = [source for dotted, source in origin.items() if dotted == key or dotted.startswith(f"{key}.")]
    return f"from {exact[0]}" if exact else "default"


@cache
def sections() -> tuple[Section, ...]:
    """All settings, section by section, each listener with its protocol's port."""
    found: list[Section] = []
    for name, kind in (("", Settings), *sections_in(Settings)):
        prefix = f"{name}." if name else ""
        found.append(Section(name, summary(kind), keys_of(kind, prefix)))
    each = keys_of(Listener)
    for protocol in ALL:
        keys = [msgspec.structs.replace(key, name=f"listeners.{protocol.name}.{key.name}") for key in each]
        keys[0] = msgspec.structs.replace(keys[0], default=protocol.port)
        found.append(Section(f"listeners.{protocol.name}", protocol.title, tuple(keys)))
    return tuple(found)


MANY: dict[str, type[Struct]] = {
    "mqtt.brokers": MqttBroker,
    "mqtt.routes": MqttRoute,
    "mappings": JsonMapping,
}
"""Sections of which there may be any number, each under a name of the operator's."""


@cache
def many_sections() -> tuple[Section, ...]:
    """Those, with ``NAME`` where the operator's name stands."""
    return tuple(
        Section(f"{prefix}.NAME", summary(kind), keys_of(kind, f"{prefix}.NAME."))
        for prefix, kind in MANY.items()
    )


def shape_of(key: str) -> str:
    """``mqtt.routes.esp32.topic`` as ``mqtt.routes.NAME.topic``; others as they are."""
    for prefix in MANY:
        if key.startswith(f"{prefix}."):
            _, _, rest = key.removeprefix(f"{prefix}.").partition(".")
            return f"{prefix}.NAME.{rest}" if rest else f"{prefix}.NAME"
    return key


def names_below(section: str) -> list[str]:
    """The names of the settings and sections right below a section (empty: the top)."""
    section = shape_of(section)
    prefix = f"{section}." if section else ""
    every = (*sections(), *many_sections())
    names = [key.name for one in every for key in one.keys] + [one.name for one in every]
    found = (
        name.removeprefix(prefix).partition(".")[0] for name in names if name.startswith(prefix) and name
    )
    return list(dict.fromkeys(found))


def _check(settings: Settings, origin: Mapping[str, str]) -> None:
    """What types cannot say."""
    for name, listener in settings.listeners.items():
        _check_tls(f"listeners.{name}", listener.tls_cert, listener.tls_key)
        if listener.proxy_protocol and listener.tls_cert:
            raise ConfigError(
                f"listeners.{name}.proxy_protocol ({_where(f'listeners.{name}.proxy_protocol', origin)}): goes not "
                "together with tls_cert: the PROXY header comes before the TLS handshake; let the proxy speak TLS, "
                "or switch one of the two off"
            )
    _check_tls("api", settings.api.tls_cert, settings.api.tls_key)
    taken: dict[int, str] = {}
    ports = [(f"listeners.{n}.port", item.port) for n, item in settings.listeners.items()]
    mqtt = settings.mqtt
    ports += [
        (f"mqtt.{n}", getattr(mqtt, n)) for n in ("port", "tls_port", "websocket_port", "websocket_tls_port")
    ]
    for key, port in [*ports, ("api.port", settings.api.port)]:
        if port and port in taken:
            raise ConfigError(
                f"{key}: port {port} is taken by {taken[port]} already; choose another, or 0 for off"
            )
        taken[port] = key
    _check_tls("mqtt", settings.mqtt.tls_cert, settings.mqtt.tls_key)
    try:
        check_mqtt(settings.mqtt, settings.mappings)
        check_tracing(settings.tracing)
    except (MqttSettingError, TracingSettingError) as error:
        raise ConfigError(str(error)) from None
    check_zone("billing.zone", settings.billing.zone)
    check_page(settings.page)
    check_messages(settings.smtp, settings.notices)
    try:
        check_money(settings.seller, settings.payments, settings.api.public_url)
        check_alerts(settings.alerts, settings.sms, settings.geocoder)
        check_openid(settings.openid, settings.api.public_url)
    except (MoneySettingError, AlertSettingError, PeopleSettingError) as error:
        raise ConfigError(str(error)) from None
    try:
        money.currency(settings.billing.currency, "billing.currency")
    except money.InvalidValueError as error:
        raise ConfigError(str(error)) from None


def check_messages(smtp: Smtp, notices: Notices) -> None:
    """Refuse what would be found out only as the first message is sent."""
    if smtp.host and not smtp.sender:
        raise ConfigError(
            "smtp.from: is empty; write the address that mails come from, or leave smtp.host empty"
        )
    if smtp.sender:
        try:
            address.sender(smtp.sender, "smtp.from")
        except money.InvalidValueError as error:
            raise ConfigError(str(error)) from None
    if bool(smtp.user) != bool(smtp.password):
        raise ConfigError("smtp: user and password go together; set both, or neither")
    if smtp.user and smtp.tls == "none" and smtp.host not in LOOPBACK:
        raise ConfigError(
            "smtp.tls: none would send the password in the clear to another machine; write starttls or tls"
        )
    if smtp.tls_ca and not Path(smtp.tls_ca).is_file():
        raise ConfigError(f"smtp.tls_ca: {smtp.tls_ca}: there is no such file")
    if notices.messenger_url and "{to}" not in notices.messenger_url:
        raise ConfigError(
            "notices.messenger_url: holds no {to}; write it where the recipient's number or name belongs"
        )


def is_local_file(tiles: str) -> bool:
    """Whether ``page.tiles`` is a file on this machine."""
    return bool(tiles) and not urlsplit(tiles).netloc


def check_page(page: Page) -> None:
    """Refuse map tiles that no browser could fetch."""
    if not page.tiles:
        return
    address = urlsplit(page.tiles)
    if is_local_file(page.tiles):
        if not page.tiles.endswith(".pmtiles"):
            raise ConfigError(f"page.tiles: {page.tiles}: a file of tiles is a .pmtiles archive")
        if not Path(page.tiles).is_file():
            raise ConfigError(f"page.tiles: {page.tiles}: there is no such file")
    elif address.scheme not in {"http", "https"}:
        raise ConfigError(f"page.tiles: {page.tiles!r} begins with neither https:// nor http://")
    elif not address.path.endswith(".pmtiles") and any(part not in page.tiles for part in TILE_PARTS):
        raise ConfigError(
            f"page.tiles: {page.tiles!r} lacks {{z}}, {{x}} or {{y}}; without them it is a .pmtiles archive"
        )


def _check_tls(section: str, cert: str, key: str) -> None:
    if bool(cert) != bool(key):
        raise ConfigError(f"{section}: tls_cert and tls_key go together; set both, or neither")
    for name, path in (("tls_cert", cert), ("tls_key", key)):
        if path and not Path(path).is_file():
            raise ConfigError(f"{section}.{name}: {path}: there is no such file")


def check_zone(key: str, zone: str) -> None:
    """Refuse a time zone that is not in the IANA database."""
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"{key}: {zone!r} is no IANA time zone; for example Europe/Madrid") from None


def install_payloads(settings: Settings) -> None:
    """The operator's mappings and keys, for whoever decodes in this process."""
    from tracker_protocols.json.decoder import JsonDecoder
    from tracker_protocols.json.mapping import Compiled
    from tracker_protocols.owntracks.decoder import OwntracksDecoder

    JsonDecoder.mappings = {
        name: Compiled(one, f"mappings.{name}") for name, one in settings.mappings.items()
    }
    keys = {device: key.encode() for device, key in settings.mqtt.owntracks_keys.items()}
    OwntracksDecoder.keys = {
        **({"": settings.mqtt.owntracks_key.encode()} if settings.mqtt.owntracks_key else {}),
        **keys,
    }
