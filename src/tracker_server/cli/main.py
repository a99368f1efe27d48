"""``tracker-server``: where the commands are put together.

A command's module imports what it needs inside its functions, so that none pays for the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from cyclopts import App

from tracker_server import __version__
from tracker_server.cli.account import app as account
from tracker_server.cli.alert import app as alert
from tracker_server.cli.backup import app as backup
from tracker_server.cli.billing import billing
from tracker_server.cli.command import app as command
from tracker_server.cli.config import app as config
from tracker_server.cli.db import app as db
from tracker_server.cli.decode import decode
from tracker_server.cli.device import app as device
from tracker_server.cli.doctor import doctor
from tracker_server.cli.fence import app as fence
from tracker_server.cli.found import events, stops, trips, visits
from tracker_server.cli.import_ import app as import_
from tracker_server.cli.mqtt import app as mqtt
from tracker_server.cli.outbox import app as outbox
from tracker_server.cli.positions import positions
from tracker_server.cli.protocols import protocols
from tracker_server.cli.proximity import app as proximity
from tracker_server.cli.quarantine import app as quarantine
from tracker_server.cli.serve import serve
from tracker_server.cli.simulate import simulate
from tracker_server.cli.tariff import app as tariff
from tracker_server.cli.track import app as track
from tracker_server.cli.user import app as user

INTERRUPTED = 130  # as a shell has it for a program that SIGINT ended
NOBODY_READS = 141  # and for one that SIGPIPE did

app = App(
    name="tracker-server",
    help="GPS telemetry server with billing-aware device gating: unpaid means hidden, never deaf.",
    version=__version__,
)
app.command(serve)
app.command(account)
app.command(device)
app.command(user)
app.command(positions)
app.command(events)
app.command(trips)
app.command(stops)
app.command(visits)
app.command(fence)
app.command(proximity)
app.command(track)
app.command(command)
app.command(import_)
app.command(mqtt)
app.command(quarantine)
app.command(tariff)
app.command(billing)
app.command(alert)
app.command(outbox)
app.command(db)
app.command(backup)
app.command(doctor)
app.command(config)
app.command(protocols)
app.command(decode)
app.command(simulate)


@app.command
def version() -> None:
    """Say which version this is.

    Example: tracker-server version
    """
    print(__version__)  # noqa: T201


def main(tokens: Sequence[str] | None = None) -> None:
    """Entry point of the console script; ``tokens`` instead of the process's arguments."""
    try:
        app(tokens)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except BrokenPipeError:
        # the reader of our output has seen enough (`… | head`); nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(NOBODY_READS) from None
