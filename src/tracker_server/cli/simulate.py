"""``tracker-server simulate``: a seeded fleet against any server, every answer checked."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tracker_server.cli.common import refused, wrong
from tracker_server.cli.values import Perhaps

if TYPE_CHECKING:
    from tracker_server.simulator.ledger import Ledger
    from tracker_server.simulator.plan import Plan
    from tracker_server.simulator.run import Run


def simulate(  # noqa: PLR0913  (each is a flag)
    *,
    protocol: str | None = None,
    target: str | None = None,
    scenario: Path | None = None,
    devices: Perhaps = None,
    fixes: Perhaps = None,
    rate: float | None = None,
    seed: Perhaps = None,
    packet: Perhaps = None,
    window: Perhaps = None,
    repeat: Perhaps = None,
    transport: str | None = None,
    prefix: str | None = None,
    start: str | None = None,
    interval: Perhaps = None,
    timeout: float | None = None,
    late: float | None = None,
    reconnect: Annotated[bool, Parameter(negative="")] = False,
    give_up: float | None = None,
    hold: float | None = None,
    ledger: Path | None = None,
    report: Path | None = None,
    html: Path | None = None,
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
        HOST:PORT of the server; with --scenario the HOST.
    scenario
        TOML file with several families of devices and what befalls them; other flags stand above it.
    devices
        How many devices, each with a connection of its own. Default: 10.
    fixes
        Fixes of each device; 0: connect only. Default: 100.
    rate
        Fixes a second of all devices together, whether answered or not (open loop). Default: as fast as answers come.
    seed
        Identifiers and journeys are drawn from it. Default: 1.
    packet
        Fixes in one packet, where the language can. Default: 1.
    window
        Packets in flight of one device. Default: 1.
    repeat
        Send each packet so many times. Default: 1.
    transport
        tcp or udp, where the language is spoken over both.
    prefix
        First digits of the identifiers. Default: 35.
    start
        Time of each device's first fix (ISO 8601). Default: a midnight in UTC, so that all lie before today.
    interval
        Seconds between two fixes of a device. Default: 10.
    timeout
        Seconds to wait for an answer. Default: 30.
    late
        Seconds after which an answer comes too late and fails the run. Default: none.
    reconnect
        After a broken connection call again and send what was not answered.
    give_up
        Seconds without any progress after which a reconnecting device gives up. Default: 60.
    hold
        Seconds to keep connections open after the last answer. Default: 0.
    ledger
        File for a line `unique_id,unix_time` for each fix that was answered; begun anew.
    report
        File for the result as JSON.
    html
        File for the result as a page with plots.
    list_ids
        Print the identifiers of the fleet and do nothing else.
    """
    from tracker_server.simulator.plan import PlanError
    from tracker_server.simulator.scenario import plans_of, read_scenario

    said = {
        "protocol": protocol, "target": target, "devices": devices, "fixes": fixes, "rate": rate, "seed": seed,
        "packet": packet, "window": window, "repeat": repeat, "transport": transport, "prefix": prefix,
        "start": start, "interval": interval, "timeout": timeout, "late": late, "reconnect": reconnect or None,
        "give_up": give_up, "hold": hold,
    }  # fmt: skip
    flags = {key: value for key, value in said.items() if value is not None}
    now = datetime.now(UTC)
    try:
        plans = read_scenario(scenario, flags, now) if scenario else plans_of(flags, now)
    except PlanError as error:
        wrong(str(error))
    if list_ids:
        _list(plans)
        return
    _run(plans, scenario, ledger, {"--report": report, "--html": html})


def _list(plans: list[Plan]) -> None:
    from tracker_server.simulator.identity import unique_id

    for plan in plans:
        for number in range(plan.devices):
            print(unique_id(plan.prefix, plan.seed, plan.first + number))  # noqa: T201


def _open_ledger(path: Path | None) -> Ledger | None:
    from tracker_server.simulator.ledger import Ledger

    if path is None:
        return None
    try:
        return Ledger(path)
    except OSError as error:
        wrong(f"--ledger: {path} cannot be written: {error.strerror}")


def _run(
    plans: list[Plan], scenario: Path | None, ledger_file: Path | None, files: dict[str, Path | None]
) -> None:
    from tracker_server.simulator.fleet import allow_connections
    from tracker_server.simulator.plan import PlanError
    from tracker_server.simulator.run import Run

    try:
        allow_connections(sum(plan.devices for plan in plans if not plan.habits.hangs_up))
    except PlanError as error:
        wrong(str(error))
    for flag, file in files.items():
        if file is not None:
            try:
                file.touch()
            except OSError as error:
                wrong(f"{flag}: {file} cannot be written: {error.strerror}")
    run = Run(plans, _open_ledger(ledger_file))
    try:
        _drive(run)
    except* OSError as group:
        refused(f"--ledger: {ledger_file} cannot be written: {_first(group)}")
    raise SystemExit(0 if _tell(run, scenario, files) else 1)


def _first(group: BaseExceptionGroup[Any]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _tell(run: Run, scenario: Path | None, files: dict[str, Path | None]) -> bool:
    """Write and print what came of it; whether all was well."""
    import msgspec
    from rich.console import Console

    from tracker_server.simulator.report import make_report, make_scenario_report, table_of, whole_table_of

    if scenario is None:
        report = make_report(run.fleets[0])
        tables = [table_of(report)]
    else:
        report = make_scenario_report(run, str(scenario))
        tables = [*(table_of(one, alone=False) for one in report.families), whole_table_of(report)]
    if file := files["--report"]:
        file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    if file := files["--html"]:
        from tracker_server.simulator.page import page_of

        file.write_text(page_of(report))
    for table in tables:
        Console().print(table)
    return report.ok


def _drive(run: Run) -> None:
    import uvloop

    from tracker_server.simulator.display import Display

    display = Display(run)
    run.prepare(display.preparing())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, run.stop)
        showing = loop.create_task(display.run())
        try:
            await run.run()
        finally:
            showing.cancel()

    uvloop.run(main())
