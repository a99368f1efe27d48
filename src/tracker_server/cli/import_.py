"""``tracker-server import``: bring a fleet over from another server."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, database, refused, run, say, tell, wrong
from tracker_server.cli.output import counted, progress
from tracker_server.cli.values import NAME_CHARACTERS_MAX, line_of_text

if TYPE_CHECKING:
    from tracker_server.storage.traccar_import import Imported, TraccarImport

app = App(name="import", help="Bring a fleet over from another server.")

PROBLEMS_TOLD_MAX = 20


@app.command
def traccar(
    *,
    dsn: str,
    account: str = "default",
    source: str = "traccar",
    history: Annotated[bool, Parameter(negative="--no-history")] = True,
    where: Where = HERE,
) -> None:
    """Bring users, groups, trackers, geofences and history over from the database of a Traccar server (PostgreSQL).

    The other database is only read. What was brought over is remembered: a run that was cut short goes on where it was, and
    one that is repeated brings what is new. At the end every position of the other side is looked for here; the exit code is 0
    only if all are there, or in quarantine as they stand.

    Users keep their passwords. Administrators become the operator's; everybody else sees what was linked to him.
    Disabled trackers come over on hold.

    Example: tracker-server import traccar --dsn postgresql://traccar@127.0.0.1/traccar --account default

    Parameters
    ----------
    dsn
        Of the other database, as psql takes it.
    account
        Name of the account that all of it belongs to from now on.
    source
        Your name for the other server, if you bring over more than one.
    history
        Bring positions over, too.
    """
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    from tracker_server.storage.accounts import account_ids
    from tracker_server.storage.database import Role
    from tracker_server.storage.traccar_import import SourceError, TraccarImport

    source = line_of_text("--source", source, NAME_CHARACTERS_MAX)
    if not re.match(r"postgres(?:ql)?://|[\w ]+=", dsn.strip()):
        wrong(
            f"--dsn: {dsn.rsplit('@', maxsplit=1)[-1]!r} is no DSN of PostgreSQL; write postgresql://user:password@host/database"
        )
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        wrong(f"--dsn: {str(error).strip()}; write postgresql://user:password@host/database")
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home:
            async with await home.connect(Role.CORE) as connection:
                accounts = await account_ids(connection)
                if account not in accounts:
                    refused(
                        f"--account: there is no account named {account!r}; `tracker-server account list` tells them all"
                    )
            job = TraccarImport(
                home,
                dsn,
                source=source,
                account_id=accounts[account],
                account=account,
                future_max_s=loaded.settings.ingest.future_max_s,
            )
            try:
                await _bring(job, history=history)
            except SourceError as error:
                refused(str(error))
            except psycopg.OperationalError as error:
                refused(f"--dsn: the other database does not answer: {str(error).strip()}")
            async with await home.connect(Role.CORE) as connection:
                from tracker_server.cli.device_import import tell_money

                await tell_money(connection, loaded, account, accounts[account])
        _tell(job.done, history=history)

    run(main)


async def _bring(job: TraccarImport, *, history: bool) -> None:
    from tracker_server.api.passwords import Passwords

    passwords = Passwords()
    try:
        await job.objects(passwords.hash_other)
    finally:
        passwords.close()
    if not history:
        return
    total = await job.count()
    await _history(job, total)
    if await job.begin_again():
        await _history(job, total)


async def _history(job: TraccarImport, total: int) -> None:
    with progress("bringing history over", total) as bar:
        await job.history(lambda done: bar.advance(bar.task_ids[0], done))
    with progress("looking for each position", total) as bar:
        await job.verify(lambda done: bar.advance(bar.task_ids[0], done))


def _tell(done: Imported, *, history: bool) -> None:
    """What came of it; exit 1 where anything was left behind."""
    brought = (
        counted(done.users, "user"), counted(done.groups, "group"), counted(done.devices, "tracker"),
        counted(done.fences, "geofence"),
    )  # fmt: skip
    tell(f"brought over: {', '.join(brought)}")
    if history:
        tell(
            f"positions: {done.stored} stored now, {done.repeated} were here already, {done.quarantined} kept in quarantine "
            "because they are no fixes"
        )
        tell(f"looked for: {done.positions} on the other side, {done.missing} missing here")
    for problem in done.problems[:PROBLEMS_TOLD_MAX]:
        say(f"tracker-server: left behind: {problem}")
    if done.left > PROBLEMS_TOLD_MAX:
        say(f"tracker-server: left behind: {done.left - PROBLEMS_TOLD_MAX} more")
    if done.left or done.missing:
        refused(
            f"{counted(done.left, 'object')} and {counted(done.missing, 'position')} left behind; mend what is told above and "
            "run it again"
        )
