"""``tracker-server quarantine``: frames that could not be decoded, assigned or stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, database, refused, run, tell, wrong
from tracker_server.cli.output import Format, counted, mapped, progress, write_rows
from tracker_server.cli.values import Perhaps, limit_of, moment_of, unique_id_of

if TYPE_CHECKING:
    from tracker_server.storage.quarantine_replay import Replayed
    from tracker_server.storage.quarantine_rows import Choice

app = App(name="quarantine", help="Frames kept because they could not be decoded, assigned or stored.")

TABLE_COLUMNS = ("id", "received_at", "unique_id", "protocol", "reason", "detail", "reports", "frame")
TABLE_ROWS = 100  # the newest, unless --limit says otherwise
FRAME_CHARACTERS_MAX = 48  # of a frame in a table


def choice_of(
    device: str | None, reason: str | None = None, protocol: str | None = None, before: str | None = None
) -> Choice:
    """The frames that these flags mean, or exit 2."""
    from tracker_server.pipeline.quarantine import QuarantineReason
    from tracker_server.storage.quarantine_rows import Choice

    reasons = [str(known) for known in QuarantineReason]
    if reason is not None and reason not in reasons:
        wrong(f"--reason: {reason!r} is none; there are: {', '.join(reasons)}")
    if protocol is not None:
        from tracker_protocols import BY_NAME

        if protocol not in BY_NAME:
            wrong(f"--protocol: no protocol is named {protocol!r}; `tracker-server protocols` lists them")
    if device:
        device = unique_id_of("--device", device)
    return Choice(device, reason, protocol, moment_of("--before", before))


@app.command(name="list")
def list_(
    *,
    device: str | None = None,
    reason: str | None = None,
    protocol: str | None = None,
    before: str | None = None,
    limit: Perhaps = None,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """List the kept frames, newest first.

    A table shows the newest 100 unless --limit is given; JSON and CSV have all, with whole frames in hexadecimal.

    Example: tracker-server quarantine list --device 356307042441013

    Parameters
    ----------
    device
        Only frames of this identifier; empty: of those that did not say who they are.
    reason
        Only frames kept for this reason.
    protocol
        Only frames of this protocol.
    before
        Only frames received before this moment (ISO 8601).
    limit
        At most so many frames.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.quarantine_rows import COLUMNS, frames, kept

    choice = choice_of(device, reason, protocol, before)
    rows_max = limit_of(limit)
    if form == "table" and rows_max is None:
        rows_max = TABLE_ROWS
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            found = frames(connection, choice, rows_max)
            if form != "table":
                await write_rows(found, COLUMNS, form)
                return
            short = mapped(found, lambda row: {**row, "frame": shortened(row["frame"])})
            shown = await write_rows(short, TABLE_COLUMNS, form)
            total = (await kept(connection, choice)).frames
            if shown < total:
                tell(f"{shown} of {counted(total, 'frame')}; --limit shows more")

    run(main)


def shortened(frame: str) -> str:
    """A frame's beginning, for a table."""
    return frame if len(frame) <= FRAME_CHARACTERS_MAX else f"{frame[:FRAME_CHARACTERS_MAX]}…"


@app.command
def replay(*, device: str | None = None, limit: Perhaps = None, where: Where = HERE) -> None:
    """Decode the kept frames again and store what can be stored now, with their original time of receipt.

    For after a tracker was added, or a decoder mended. What still cannot be stored stays.

    Example: tracker-server quarantine replay --device 356307042441013

    Parameters
    ----------
    device
        Only frames of this identifier.
    limit
        At most so many frames, oldest first.
    """
    from tracker_server.pipeline.batch import StoreAwayError
    from tracker_server.storage.database import Role
    from tracker_server.storage.devices import connected
    from tracker_server.storage.quarantine_replay import Replay
    from tracker_server.storage.quarantine_rows import kept
    from tracker_server.storage.replay_stage import replay_stage

    choice = choice_of(device)
    frames_max = limit_of(limit)
    from tracker_server.config import install_payloads

    loaded = where.load()
    install_payloads(loaded.settings)
    register = loaded.settings.devices.unknown == "register"

    async def main() -> None:
        async with database(loaded) as home:
            async with await home.connect(Role.CORE) as connection:
                total = (await kept(connection, choice)).frames
                known = choice.device is None or register or await connected(connection, [choice.device])
            if not known:
                waiting = (
                    f"{counted(total, 'frame')} of it in quarantine"
                    if total
                    else "nothing of it is in quarantine"
                )
                refused(
                    f"--device: there is no tracker {choice.device!r}, and {waiting}; "
                    f"`tracker-server device add {choice.device}` adds it"
                )
            work = Replay(
                home,
                await replay_stage(home, loaded.settings),
                future_max_s=loaded.settings.ingest.future_max_s,
                register_unknown=register,
                account_for_new=loaded.settings.devices.unknown_account,
            )
            with progress("replaying", min(total, frames_max or total)) as bar:
                try:
                    done = await work.run(choice, frames_max, lambda more: bar.advance(bar.task_ids[0], more))
                except StoreAwayError as error:
                    refused(f"the database went away: {error}; nothing is lost: run the replay again")
        tell(summary(done))

    run(main)


def summary(done: Replayed) -> str:
    """What came of a replay, in a sentence or two."""
    if not done.frames:
        return "nothing waits in quarantine"
    already = f", {done.reports_repeated} stored already" if done.reports_repeated else ""
    frames, reports = counted(done.frames, "frame"), counted(done.reports_stored, "report")
    text = f"{done.replayed} of {frames} replayed: {reports} stored{already}"
    if done.stays:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(done.stays.items()))
        stay = "stays" if done.stays.total() == 1 else "stay"
        text += f"\n{counted(done.stays.total(), 'frame')} {stay}: {reasons}"
    return text


@app.command
def drop(
    *,
    device: str | None = None,
    reason: str | None = None,
    protocol: str | None = None,
    before: str | None = None,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    where: Where = HERE,
) -> None:
    """Delete kept frames for good. Without a choice nothing is deleted: say --all to mean all of them.

    Example: tracker-server quarantine drop --reason undecoded --before 2026-01-01

    Parameters
    ----------
    device
        Frames of this identifier; empty: of those that did not say who they are.
    reason
        Frames kept for this reason.
    protocol
        Frames of this protocol.
    before
        Frames received before this moment (ISO 8601).
    every
        All frames.
    """
    from tracker_server.storage.database import Role
    from tracker_server.storage.quarantine_rows import Choice, drop_frames

    choice = choice_of(device, reason, protocol, before)
    if every == (choice != Choice()):
        wrong("which frames? Choose by --device, --reason, --protocol and --before, or say --all alone")
    loaded = where.load()

    async def main() -> None:
        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            tell(f"{counted(await drop_frames(connection, choice), 'frame')} deleted")

    run(main)
