"""``tracker-server protocols``: the languages that the server speaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tracker_server.cli.output import Format, each, write_rows

if TYPE_CHECKING:
    from tracker_protocols.protocol import Protocol

COLUMNS = ("name", "title", "port", "transports", "models", "commands")
TABLE_MODELS = 6


def protocols(*, form: Annotated[Format, Parameter(name="--format")] = "table") -> None:
    """List the protocols: name, port by default, transports, models known to speak it, commands it encodes.

    Example: tracker-server protocols --format json

    Parameters
    ----------
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_protocols import ALL

    asyncio.run(write_rows(each(row(protocol, form) for protocol in ALL), COLUMNS, form))


def row(protocol: Protocol, form: Format) -> dict[str, Any]:
    """One protocol as ``COLUMNS``. JSON has lists; a table has not the room for all models."""
    transports = [str(transport) for transport in protocol.transports]
    models, commands = list(protocol.models), list(protocol.commands.types if protocol.commands else ())
    more = len(models) - TABLE_MODELS
    if form == "table" and more > 1:
        models = [*models[:TABLE_MODELS], f"and {more} more"]
    return {
        "name": protocol.name,
        "title": protocol.title,
        "port": protocol.port,
        "transports": transports if form == "json" else ", ".join(transports),
        "models": models if form == "json" else ", ".join(models),
        "commands": commands if form == "json" else ", ".join(commands),
    }
