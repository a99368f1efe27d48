"""``tracker-server outbox``: what is being told to whom, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.output import Format, write_rows
from tracker_server.cli.values import Perhaps, Whole, limit_of

if TYPE_CHECKING:
    from tracker_server.pipeline.dispatcher import Channel

app = App(name="outbox", help="Messages to customers: waiting, delivered, failed.")

State = Literal["waiting", "delivered", "failed", "withheld"]
TABLE_COLUMNS = ("id", "state", "channel", "recipient", "account", "about", "attempts", "next_at", "error")
TABLE_ROWS = 100  # the newest, unless --limit says otherwise


@app.command(name="list")
def list_(
    *,
    state: State | None = None,
    account: str | None = None,
    limit: Perhaps = None,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List messages, newest first.

    A table shows the newest 100 unless --limit is given; JSON and CSV have all.

    Example: tracker-server outbox list --state failed

    Parameters
    ----------
    state
        Only those that wait, were delivered, were given up, or were never to be sent.
    account
        Only those to this account.
    limit
        At most so many messages.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.outbox import COLUMNS, messages

    limit = limit_of(limit)
    rows_max = TABLE_ROWS if form == "table" and limit is None else limit
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            if account is not None:
                from tracker_server.storage.accounts import account_ids

                if account not in await account_ids(connection):
                    refused(
                        f"--account: there is no account named {account!r}; "
                        "`tracker-server account list` tells them all"
                    )
            found = messages(connection, state, account, rows_max)
            told = ({**row, "about": about(row["payload"])} async for row in found)
            await write_rows(told, COLUMNS, form, TABLE_COLUMNS)

    run(main)


def about(payload: object) -> str:
    """A message's subject, or what its payload is where this program cannot word it."""
    from tracker_server.alerts.letters import LetterError, decode
    from tracker_server.alerts.wording import worded

    try:
        return worded(decode(payload)).subject
    except LetterError:
        return "?"


@app.command
def retry(
    *ids: Whole,
    failed: Annotated[bool, Parameter(name="--failed", negative="")] = False,
    where: Where = HERE,
) -> None:
    """Try undelivered messages again, now and with all their time before them.

    Example: tracker-server outbox retry 17 18

    Parameters
    ----------
    ids
        Numbers of messages, from the list.
    failed
        All that were given up.
    """
    from tracker_server.pipeline.dispatcher import utc_now
    from tracker_server.storage.database import Role
    from tracker_server.storage.outbox import retry as again

    _check_choice(ids, every=failed)
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = await again(connection, ids, utc_now(), every=failed)
        _told(ids, found, "to be tried again")

    run(main)


@app.command
def drop(
    *ids: Whole,
    failed: Annotated[bool, Parameter(name="--failed", negative="")] = False,
    where: Where = HERE,
) -> None:
    """Delete undelivered messages for good. What was delivered stays listed for notices.keep_days.

    Example: tracker-server outbox drop 17

    Parameters
    ----------
    ids
        Numbers of messages, from the list.
    failed
        All that were given up.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.outbox import drop as delete

    _check_choice(ids, every=failed)
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = await delete(connection, ids, every=failed)
        _told(ids, found, "deleted")

    run(main)


def _check_choice(ids: tuple[int, ...], *, every: bool) -> None:
    if every == bool(ids):
        wrong(
            "IDS: which messages? Name their numbers from `tracker-server outbox list`, or say --failed alone"
        )
    for number in ids:
        if not 0 < number < 2**63:
            wrong(f"IDS: {number} is no message's number; `tracker-server outbox list` tells them")


def _told(ids: tuple[int, ...], found: list[int], what: str) -> None:
    missing = [str(number) for number in ids if number not in found]
    if missing:
        done = f"; {len(found)} {what}" if found else ""
        refused(
            f"IDS: no undelivered message has the number {', '.join(missing)}{done}; "
            "`tracker-server outbox list --state waiting` tells which do"
        )
    tell(f"{len(found)} {'message' if len(found) == 1 else 'messages'} {what}")


@app.command(name="test")
def send_test(
    channel: str, to: str, /, *, language: Literal["en", "es", "ru"] = "en", where: Where = HERE
) -> None:
    """Send a test message now, past the outbox, and say what the channel answered.

    Example: tracker-server outbox test email office@example.com

    Parameters
    ----------
    channel
        email, sms, messenger or webhook.
    to
        An address, a number, a URL, or what the messenger's service takes as recipient.
    language
        The message's language.
    """
    import uuid

    from tracker_server.alerts.letters import TestLetter, encode
    from tracker_server.cli.values import recipient_of
    from tracker_server.pipeline.dispatcher import Outgoing, PermanentError, TemporaryError, utc_now

    sending = _channel(channel, where)
    recipient = recipient_of(channel, "TO", to)
    now = utc_now()
    message = Outgoing(
        id=0,
        key=f"test:{uuid.uuid4()}",
        channel=channel,
        recipient=recipient,
        account_id=None,
        payload=encode(TestLetter(language)),
        created_at=now,
        due_at=now,
        attempts=0,
    )

    async def main() -> None:
        try:
            await sending.send(message)
        except PermanentError as error:
            refused(f"refused for good: {error}")
        except TemporaryError as error:
            refused(f"not delivered: {error}")
        finally:
            await sending.close()

    run(main)
    tell(f"{channel}: handed over for {recipient}")


def _channel(name: str, where: Where) -> Channel:
    from tracker_server.notify.channels import SET_UP_BY, channels_of

    if name not in SET_UP_BY:
        wrong(f"CHANNEL: there is no channel {name!r}; there are: {', '.join(SET_UP_BY)}")
    channels = channels_of(where.load().settings)
    if name not in channels:
        refused(f"CHANNEL: {name} is not set up; the setting {SET_UP_BY[name]} does that")
    return channels[name]
