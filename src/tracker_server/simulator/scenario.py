"""What is to be simulated, from a TOML file and flags: one plan for each family of devices."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from tracker_protocols import BY_NAME
from tracker_protocols.protocol import Protocol, Transport
from tracker_server.model.reading import UnreadableError, read_toml
from tracker_server.simulator import mqtt
from tracker_server.simulator.habits import Habits
from tracker_server.simulator.plan import Plan, PlanError, check, default_start

FAMILIES_MAX = 100
DEVICES, FIXES = 10, 100


class Family(Habits, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One family's table with what the file says at its top, and over it what the flags say. None: not said. Its habits
    stand beside the rest.
    """

    protocol: str
    target: str
    port: int | None = None
    share: float = 1.0
    devices: int = DEVICES
    fixes: int = FIXES
    packet: int = 1
    window: int = 1
    repeat: int = 1
    transport: str | None = None
    rate: float | None = None
    seed: int = 1
    prefix: str = "35"
    start: str | None = None
    interval: int = 10
    timeout: float = 30.0
    reconnect: bool = False
    give_up: float = 60.0
    hold: float = 0.0
    late: float | None = None


def plans_of(flags: dict[str, Any], now: datetime) -> list[Plan]:
    """The one plan that flags describe (by their names, without the dashes). Raises PlanError."""
    family = _family(flags, "--")
    host, port = _target(family.target)
    return [_plan(family, host, port, family.devices, family.rate, 0, now)]


def read_scenario(file: Path, flags: dict[str, Any], now: datetime) -> list[Plan]:
    """The plans of a scenario's file; what the flags say stands above it. Raises PlanError."""
    try:
        table = read_toml(file)
    except OSError as error:
        raise PlanError(f"--scenario: {file} cannot be read: {error.strerror}") from None
    except UnreadableError as error:
        raise PlanError(f"--scenario: {file} is no TOML: {error}") from None
    families = table.pop("family", None)
    if not isinstance(families, list) or not 0 < len(families) <= FAMILIES_MAX:
        raise PlanError(
            f"--scenario: {file} needs 1 to {FAMILIES_MAX} tables [[family]], each with its protocol"
        )
    for key in ("protocol", "share", "port", "packet"):
        if key in table:
            raise PlanError(f"--scenario: {key}: stands in a [[family]], not above them")
    read: list[Family] = []
    for number, own in enumerate(families, 1):
        try:
            family = _family({**table, **own, **flags}, "")
        except PlanError as error:
            raise PlanError(f"--scenario: {file}, family {number}: {error}") from None
        read.append(msgspec.structs.replace(family, gpx=tuple(file.parent / name for name in family.gpx)))
    return _shared_out(read, file, now)


def _shared_out(families: list[Family], file: Path, now: datetime) -> list[Plan]:
    """All devices and the whole rate, in the proportions of the shares."""
    whole = sum(family.share for family in families)
    plans: list[Plan] = []
    first = 0
    passed = 0.0
    for number, family in enumerate(families, 1):
        passed += family.share
        devices = round(family.devices * passed / whole) - first
        try:
            if not devices:
                raise PlanError(f"share: none of {family.devices} devices is left for it; have more devices")  # noqa: TRY301
            host, port = _place(family)
            rate = family.rate and family.rate * devices / family.devices
            plans.append(_plan(family, host, port, devices, rate, first, now))
        except PlanError as error:
            raise PlanError(f"--scenario: {file}, family {number} ({family.protocol}): {error}") from None
        first += devices
    return plans


def _family(said: dict[str, Any], dashes: str) -> Family:
    for key in ("protocol", "target"):
        if key not in said:
            raise PlanError(f"{dashes}{key}: is missing; say it, or give a --scenario that does")
    if isinstance(said.get("start"), datetime):
        said = {**said, "start": said["start"].isoformat()}
    try:
        family = msgspec.convert(said, Family, dec_hook=_path)
    except msgspec.ValidationError as error:
        raise PlanError(f"{dashes}{_key_of(str(error))}") from None
    if not 0 < family.share < float("inf"):
        raise PlanError(f"share: {family.share:g} is not above 0")
    return family


def _path(_: type, value: Any) -> Path:
    if not isinstance(value, str):
        raise ValueError("Expected the name of a file")
    return Path(value)


def _key_of(text: str) -> str:
    """Msgspec's message with the key before it."""
    what, _, place = text.partition(" - at `$.")
    return f"{place.rstrip('`')}: {what}" if place else what


def _plan(
    family: Family, host: str, port: int, devices: int, rate: float | None, first: int, now: datetime
) -> Plan:
    spoken = _protocol(family.protocol)
    habits = {key: getattr(family, key) for key in Habits.__struct_fields__}
    made = Plan(
        protocol=spoken,
        host=host,
        port=port,
        transport=_transport_of(family, spoken),
        devices=devices,
        fixes=family.fixes,
        packet=family.packet,
        window=family.window,
        repeat=family.repeat,
        rate=rate,
        seed=family.seed,
        prefix=family.prefix,
        start=_moment(family.start) if family.start else now,
        interval_s=family.interval,
        timeout_s=family.timeout,
        reconnect=family.reconnect,
        give_up_s=family.give_up,
        hold_s=family.hold,
        late_s=family.late,
        first=first,
        habits=Habits(**habits),
    )
    if not family.start:
        seconds = made.ends_after_s + made.interval_s if made.fixes else 0
        made = msgspec.structs.replace(made, start=default_start(seconds, 1, now))
    return check(made, now)


def _transport_of(family: Family, spoken: Protocol) -> Transport:
    if family.transport:
        return _transport(family.transport)
    return Transport.MQTT if family.protocol in mqtt.NAMES else spoken.transports[0]


def _protocol(name: str) -> Protocol:
    spoken = BY_NAME.get(mqtt.NAMES.get(name, name))
    if spoken is None:
        raise PlanError(f"--protocol: no protocol is named {name!r}; `tracker-server protocols` lists them")
    return spoken


def _target(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65_535:
        raise PlanError(f"--target: {target!r} is not HOST:PORT; for example 127.0.0.1:5023 or [::1]:5023")
    return host, int(port)


def _place(family: Family) -> tuple[str, int]:
    """In a scenario the target is a host, and the port the family's own or its protocol's usual one."""
    host = family.target.removeprefix("[").removesuffix("]")
    if not host or (host.rpartition(":")[2].isdecimal() and host.count(":") == 1):
        raise PlanError(f"target: {family.target!r} is not a host; a port stands in each family as port")
    spoken = _protocol(family.protocol)
    usual = mqtt.PORT if _transport_of(family, spoken) is Transport.MQTT else spoken.port
    port = usual if family.port is None else family.port
    if not 0 < port <= 65_535:
        raise PlanError(f"port: {port} is not from 1 to 65535")
    return host, port


def _transport(name: str) -> Transport:
    try:
        return Transport(name)
    except ValueError:
        raise PlanError(f"--transport: {name!r} is not one of {', '.join(Transport)}") from None


def _moment(told: str) -> datetime:
    try:
        moment = datetime.fromisoformat(told).replace(microsecond=0)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise PlanError(
            f"--start: {told!r} is not a time of ISO 8601; for example 2026-01-31T08:00:00Z"
        ) from None
