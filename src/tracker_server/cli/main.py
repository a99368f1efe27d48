"""``tracker-server``: where the commands are put together.

A command's module is imported when the command is given, and imports what it needs inside its functions, so that none pays
for the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App

from tracker_server import __version__

WRONG_USE = 2
INTERRUPTED = 130  # as a shell has it for a program that SIGINT ended
NOBODY_READS = 141  # and for one that SIGPIPE did

# Name to module and function or group; a module is imported when its command is given, or the help of all.
COMMANDS = {
    "serve": "serve:serve",
    "account": "account:app",
    "device": "device:app",
    "user": "user:app",
    "positions": "positions:positions",
    "events": "found:events",
    "trips": "found:trips",
    "stops": "found:stops",
    "visits": "found:visits",
    "fence": "fence:app",
    "proximity": "proximity:app",
    "track": "track:app",
    "command": "command:app",
    "import": "import_:app",
    "mqtt": "mqtt:app",
    "quarantine": "quarantine:app",
    "tariff": "tariff:app",
    "billing": "billing:billing",
    "alert": "alert:app",
    "outbox": "outbox:app",
    "db": "db:app",
    "backup": "backup:app",
    "doctor": "doctor:doctor",
    "config": "config:app",
    "protocols": "protocols:protocols",
    "decode": "decode:decode",
    "simulate": "simulate:simulate",
}

app = App(
    name="tracker-server",
    help="GPS telemetry server with billing-aware device gating: unpaid means hidden, never deaf.",
    version=__version__,
)
for name, place in COMMANDS.items():
    app.command(f"tracker_server.cli.{place}", name=name)


@app.command
def version() -> None:
    """Say which version this is.

    Example: tracker-server version
    """
    print(__version__)  # noqa: T201


def _check_characters(word: str) -> None:
    """Refuse bytes that are no text: neither the database nor a terminal takes them."""
    try:
        word.encode()
    except UnicodeEncodeError as error:
        begin = word[: error.start + 1][-40:]
        print(  # noqa: T201
            f"tracker-server: {begin!r} is not UTF-8 at its end; type it in UTF-8, or set the terminal to it",
            file=sys.stderr,
        )
        raise SystemExit(WRONG_USE) from None


def main(tokens: Sequence[str] | None = None) -> None:
    """Entry point of the console script; ``tokens`` instead of the process's arguments."""
    given = sys.argv[1:] if tokens is None else tokens
    for word in given:
        _check_characters(word)
    if not given or given[0] not in COMMANDS:  # it may be help that is asked for, which tells of each
        app.resolved_commands()
    try:
        app(given)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # the reader of our output has seen enough (`… | head`); nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(NOBODY_READS) from None
