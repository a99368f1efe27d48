"""``tracker-server simulate``: a seeded fleet against any server, every answer checked."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tracker_server.cli.common import refused, wrong

if TYPE_CHECKING:
    from tracker_protocols.protocol import Protocol, Transport
    from tracker_server.simulator.fleet import Fleet
    from tracker_server.simulator.ledger import Ledger
    from tracker_server.simulator.plan import Plan


def simulate(  # noqa: PLR0913  (each is a flag)
    *,
    protocol: str,
    target: str,
    devices: int = 10,
    fixes: int = 100,
    rate: float | None = None,
    seed: int = 1,
    packet: int = 1,
    window: int = 1,
    repeat: int = 1,
    transport: str | None = None,
    prefix: str = "35",
    start: str | None = None,
    interval: int = 10,
    timeout: float = 30.0,
    reconnect: Annotated[bool, Parameter(negative="")] = False,
    give_up: float = 60.0,
    hold: float = 0.0,
    ledger: Path | None = None,
    report: Path | None = None,
    list_ids: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Let a fleet report, and check every answer.

    The same seed and start give the same bytes. Exits 1 when an answer was wrong or missing.

    Example: tracker-server simulate --protocol teltonika --target 127.0.0.1:5027 --devices 200 --fixes 1000 --packet 10

    Parameters
    ----------
    protocol
        A name from `tracker-server protocols`.
    target
        HOST:PORT of the server.
    devices
        How many devices, each with a connection of its own.
    fixes
        Fixes of each device; 0: connect only.
    rate
        Fixes a second of all devices together, whether answered or not (open loop). Default: as fast as answers come.
    seed
        Identifiers and journeys are drawn from it.
    packet
        Fixes in one packet, where the language can.
    window
        Packets in flight of one device.
    repeat
        Send each packet so many times.
    transport
        tcp or udp, where the language is spoken over both.
    prefix
        First digits of the identifiers.
    start
        Time of each device's first fix (ISO 8601). Default: a midnight in UTC, so that all lie before today.
    interval
        Seconds between two fixes of a device.
    timeout
        Seconds to wait for an answer.
    reconnect
        After a broken connection call again and send what was not answered.
    give_up
        Seconds without any progress after which a reconnecting device gives up.
    hold
        Seconds to keep connections open after the last answer.
    ledger
        File for a line `unique_id,unix_time` for each fix that was answered; begun anew.
    report
        File for the result as JSON.
    list_ids
        Print the identifiers of the fleet and do nothing else.
    """
    from tracker_server.simulator.plan import Plan, PlanError, check, default_start

    now = datetime.now(UTC)
    spoken = _protocol(protocol)
    host, port = _target(target)
    plan = Plan(
        protocol=spoken,
        host=host,
        port=port,
        transport=_transport(transport) if transport else spoken.transports[0],
        devices=devices,
        fixes=fixes,
        packet=packet,
        window=window,
        repeat=repeat,
        rate=rate,
        seed=seed,
        prefix=prefix,
        start=_moment(start) if start else default_start(fixes, interval, now),
        interval_s=interval,
        timeout_s=timeout,
        reconnect=reconnect,
        give_up_s=give_up,
        hold_s=hold,
    )
    try:
        check(plan, now)
    except PlanError as error:
        wrong(str(error))
    if list_ids:
        from tracker_server.simulator.identity import unique_id

        for number in range(plan.devices):
            print(unique_id(plan.prefix, plan.seed, number))  # noqa: T201
        return
    _run(plan, ledger, report)


def _protocol(name: str) -> Protocol:
    from tracker_protocols import BY_NAME

    spoken = BY_NAME.get(name)
    if spoken is None:
        wrong(f"--protocol: no protocol is named {name!r}; `tracker-server protocols` lists them")
    return spoken


def _target(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65_535:
        wrong(f"--target: {target!r} is not HOST:PORT; for example 127.0.0.1:5023 or [::1]:5023")
    return host, int(port)


def _transport(name: str) -> Transport:
    from tracker_protocols.protocol import Transport

    try:
        return Transport(name)
    except ValueError:
        wrong(f"--transport: {name!r} is not one of {', '.join(Transport)}")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        wrong(f"--start: {text!r} is not a time of ISO 8601; for example 2026-01-31T08:00:00Z")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).replace(microsecond=0).astimezone(UTC)


def _open_ledger(path: Path | None) -> Ledger | None:
    from tracker_server.simulator.ledger import Ledger

    if path is None:
        return None
    try:
        return Ledger(path)
    except OSError as error:
        wrong(f"--ledger: {path} cannot be written: {error.strerror}")


def _run(plan: Plan, ledger_file: Path | None, report_file: Path | None) -> None:
    import msgspec
    from rich.console import Console

    from tracker_server.simulator.fleet import Fleet, allow_connections
    from tracker_server.simulator.plan import PlanError
    from tracker_server.simulator.report import make_report, table_of

    try:
        allow_connections(plan.devices)
    except PlanError as error:
        wrong(str(error))
    if report_file is not None:
        try:
            report_file.touch()
        except OSError as error:
            wrong(f"--report: {report_file} cannot be written: {error.strerror}")
    fleet = Fleet(plan, _open_ledger(ledger_file))
    try:
        _drive(fleet)
    except* OSError as group:
        refused(f"--ledger: {ledger_file} cannot be written: {group.exceptions[0]}")
    report = make_report(fleet)
    if report_file is not None:
        report_file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    Console().print(table_of(report))
    raise SystemExit(0 if report.ok else 1)


def _drive(fleet: Fleet) -> None:
    import uvloop

    from tracker_server.simulator.display import Display

    display = Display(fleet)
    fleet.prepare(display.preparing())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, fleet.stop)
        showing = loop.create_task(display.run())
        try:
            await fleet.run()
        finally:
            showing.cancel()

    uvloop.run(main())
