"""``tracker-server doctor``: is this installation well, and if not, what to do?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tracker_server.cli.common import HERE, REFUSED, Where, say
from tracker_server.cli.output import Format, each, write_rows

if TYPE_CHECKING:
    from tracker_server.cli.health import Finding

COLUMNS = ("check", "state", "detail", "cure")


def doctor(*, form: Annotated[Format, Parameter(name="--format")] = "table", where: Where = HERE) -> None:
    """Look whether this installation is well: settings, disk, database, roles, ports, clock, limits, quarantine.

    Says ok, warning or wrong of each, and what to do. Exit code 1 when anything is wrong. Nothing is changed.

    Example: tracker-server doctor --format json

    Parameters
    ----------
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.cli.health import State

    findings = asyncio.run(examine(where))
    rows: list[dict[str, Any]] = [
        {"check": one.check, "state": str(one.state), "detail": one.detail, "cure": one.cure}
        for one in findings
    ]
    asyncio.run(write_rows(each(rows), COLUMNS, form))
    wrong = [one.check for one in findings if one.state is State.WRONG]
    if wrong:
        say(f"tracker-server: not well: {', '.join(wrong)}")
        raise SystemExit(REFUSED)


async def examine(where: Where) -> list[Finding]:
    """All findings, in order; those that cannot be made without an earlier one are left out."""
    from tracker_server import logs
    from tracker_server.cli import health, health_backup, health_database, health_ports
    from tracker_server.config import ConfigError, Log, load

    logs.set_up(Log(level="error"))
    try:
        loaded = load(where.config, where.flags())
    except ConfigError as error:
        return [
            health.Finding("settings", health.State.WRONG, str(error), "mend that setting, then ask again")
        ]
    settings = loaded.settings
    return [
        health.Finding("settings", health.State.OK, f"{len(loaded.origin)} set, the rest are defaults"),
        health.data_dir(settings.data_dir),
        health.disk_space(settings.data_dir),
        health.file_descriptors(settings.limits.connections_max),
        health_backup.backup(settings),
        *await health_database.findings(settings),
        *await asyncio.to_thread(health_ports.findings, settings),
    ]
