"""``tracker-server db``: the database below."""

from __future__ import annotations

from cyclopts import App

from tracker_server.cli.common import HERE, Where, say, tell

app = App(name="db", help="The database: where it is, its shape, its size.")


@app.command
def dsn(*, where: Where = HERE) -> None:
    """Print the database's DSN, as psql takes it. It may hold a password.

    Example: psql "$(tracker-server db dsn)"
    """
    from tracker_server.storage.database import Database

    home = Database(where.load().settings)
    tell(home.dsn)
    if home.embedded and not home.embedded.running():
        say("tracker-server: the embedded database runs while `tracker-server serve` does; start that first")
