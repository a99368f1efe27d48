"""``tracker-server alert``: who is told of what, and what became of each alert."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from tracker_server.cli.alert_rule import app as rule
from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.output import Format, write_rows
from tracker_server.cli.values import Perhaps, limit_of, period_of, unique_id_of

if TYPE_CHECKING:
    from tracker_server.alerts.letters import Language

State = Literal[
    "waiting", "sent", "delivered", "failed", "suppressed", "throttled", "budget", "repeated", "replaced", "undelivered"
]  # fmt: skip
TABLE_COLUMNS = (
    "id",
    "at",
    "type",
    "unique_id",
    "channel",
    "recipient",
    "state",
    "attempts",
    "text",
    "error",
)
TABLE_ROWS = 100

app = App(name="alert", help="Who is told of which events, and what became of each alert.")
app.command(rule)


@app.command(name="list")
def list_(  # noqa: PLR0913  (each is a flag)
    *,
    device: str | None = None,
    account: str | None = None,
    state: State | None = None,
    since: Annotated[str | None, Parameter(name="--from")] = None,
    until: Annotated[str | None, Parameter(name="--to")] = None,
    viewer: Annotated[Literal["customer", "operator"], Parameter(name="--as")] = "operator",
    limit: Perhaps = None,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """The delivery log, newest first: what was sent, what waits, and why what was not sent was not.

    Example: tracker-server alert list --device 123456789012345 --format json

    States: waiting; sent (an SMS that the provider has), unconfirmed (and no receipt came in sms.receipt_hours),
    delivered, failed; and withheld for ever: suppressed (the
    tracker was hidden), throttled (by its rule), budget (the account had too many), repeated (told before),
    replaced (an e-mail went instead), undelivered (no way to send it).

    Parameters
    ----------
    device
        Only of this tracker.
    account
        Only of this account.
    state
        Only those in this state.
    since
        Only those written at this time or later.
    until
        Only those written at this time or earlier.
    viewer
        operator: all of it; customer: nothing of trackers that are hidden.
    limit
        At most so many; a table without it shows the newest 100.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.alert_log import COLUMNS, alert_log
    from tracker_server.storage.database import Role

    limit = limit_of(limit)
    unique_id = None if device is None else unique_id_of("--device", device)
    begins, ends = period_of(since, until)
    rows_max = TABLE_ROWS if form == "table" and limit is None else limit
    gated = viewer == "customer"
    if gated and account is not None:
        wrong("--account: goes with --as operator; a customer sees his own alone, so name a --device")
    loaded = where.load()

    async def main() -> None:
        async with (
            database(loaded) as home,
            await home.connect(Role.DISPLAY if gated else Role.CORE) as connection,
        ):
            found = alert_log(
                connection,
                gated=gated,
                receipt_hours=loaded.settings.sms.receipt_hours,
                device=unique_id,
                account=account,
                state=state,
                since=begins,
                until=ends,
                limit=rows_max,
            )
            await write_rows(found, COLUMNS, form, TABLE_COLUMNS)

    run(main)


@app.command(name="test")
def send_test(
    channel: str, to: str, /, *, language: Literal["en", "es", "ru"] = "en", where: Where = HERE
) -> None:
    """Send a test message through a channel now, past the outbox, and say what the channel answered.

    Example: tracker-server alert test sms +34600111222

    Parameters
    ----------
    channel
        email, sms, messenger or webhook.
    to
        An address, a number, or a URL.
    language
        The message's language.
    """
    from tracker_server.cli.outbox import send_test as send

    send(channel, to, language=language, where=where)


@app.command
def preview(
    kind: str,
    /,
    *,
    language: Literal["en", "es", "ru"] = "en",
    zone: str = "UTC",
    html: Annotated[bool, Parameter(name="--html", negative="")] = False,
    out: Path | None = None,
    where: Where = HERE,
) -> None:
    """Show how an event of a kind would be told: subject and text of the mail, and the SMS.

    Example: tracker-server alert preview geofenceEnter --language es

    Parameters
    ----------
    kind
        A kind of event, such as deviceOverspeed, or of alarm, such as alarm:sos.
    language
        en, es or ru.
    zone
        IANA time zone in which its time is told.
    html
        The mail's page instead of its text.
    out
        A file to write to instead.
    """
    from tracker_server.alerts.rules import RuleError, kinds_of
    from tracker_server.config import ConfigError, check_zone
    from tracker_server.model.event import EventType

    try:
        (event,), alarms = kinds_of([kind])
        check_zone("--zone", zone)
    except (RuleError, ConfigError) as error:
        wrong(str(error))
    if event not in set(EventType):
        wrong(f"KIND: {event!r} is no kind of event; there are: {', '.join(EventType)}")
    text = _preview(event, alarms[0] if alarms else "", language, zone, where, html=html)
    if out is None:
        tell(text.rstrip("\n"))
        return
    try:
        out.write_text(text)
    except OSError as error:
        refused(f"--out: {out}: cannot be written: {error.strerror}")


def _preview(event: str, alarm: str, language: Language, zone: str, where: Where, *, html: bool) -> str:
    from tracker_server.alerts.samples import sample
    from tracker_server.alerts.wording import worded
    from tracker_server.billing.sms import segments
    from tracker_server.notify.messages import html_of, text_of
    from tracker_server.pipeline.alert_book import link_of
    from tracker_server.pipeline.dispatcher import utc_now

    settings = where.load().settings
    wording = worded(
        sample(
            event,
            language,
            zone,
            utc_now().replace(microsecond=0),
            alarm=alarm,
            link=link_of(settings.alerts, settings.api),
        )
    )
    if html:
        return html_of(wording)
    parts = segments(wording.line)
    sms = f"SMS ({parts} {'part' if parts == 1 else 'parts'}): {wording.line}"
    return f"{wording.subject}\n\n{text_of(wording)}\n{sms}\n"


@app.command
def secret(account: str, /, *, new: Annotated[bool, Parameter(name="--new", negative="")] = False, where: Where = HERE) -> None:  # fmt: skip
    """Show what an account's webhooks are signed with.

    Example: tracker-server alert secret "Northern Cargo"

    Parameters
    ----------
    account
        The account's name.
    new
        Make another; from now on nothing is signed with the old one.
    """
    from tracker_server.storage.alert_rules import webhook_secret
    from tracker_server.storage.database import Role

    loaded = where.load()

    async def main() -> Any:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            return await webhook_secret(connection, account, new=new)

    found = run(main)
    if found is None:
        refused(
            f"ACCOUNT: there is no account named {account!r}; `tracker-server account list` tells them all"
        )
    tell(found)
