"""``tracker-server``: where the commands are put together."""

from __future__ import annotations

from cyclopts import App

from tracker_server import __version__
from tracker_server.cli.billing import billing
from tracker_server.cli.decode import decode
from tracker_server.cli.protocols import protocols
from tracker_server.cli.serve import serve

app = App(
    name="tracker-server",
    help="GPS telemetry server with billing-aware device gating: unpaid means hidden, never deaf.",
    version=__version__,
)
app.command(serve)
app.command(billing)
app.command(decode)
app.command(protocols)


def main() -> None:
    """Entry point of the console script."""
    app()
