"""The benchmarks: ``python benchmarks/run.py [--only NAME] [--seconds S]``. See README.md in this folder."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import agreement
import answers
import browser
import decode
import grow
import ingest
import mails
import many
import peer
import plots
import processes
import publishers
import results
import unlock
from measures import Found, Measure
from msgspec import Struct
from rich.console import Console
from scaled import scaled

from tracker_server.station import calm_collector

SECONDS = 2.0
FULL_SECONDS = 15.0


class Given(Struct, frozen=True):
    """What the command line says."""

    seconds: float
    full: bool
    peer: peer.Peer | None


def track(_: Given) -> Found:
    """The track engine's own figures (track.py) as measures: rates are for a second of CPU unless they say wall."""
    from track import measure  # pyright: ignore[reportAttributeAccessIssue]  (tests have a folder of that name)

    aims = {
        "fences_10000_fixes_per_s": 250_000.0,
        "fences_100000_share_of_10000": 0.5,
        "engine_us_per_fix_batches_of_500": 15.0,
        "engine_us_per_fix_frames_of_20": 15.0,
    }
    calm_collector()  # as in a server that has started
    measures: list[Measure] = []
    for name, values in measure().items():
        unit = "µs" if name.startswith("engine") else "ratio" if "share" in name else "fixes/s"
        measures.append(Measure(name, unit, values, "less" if unit == "µs" else "more", aims.get(name)))
    return Found("track", measures)


def sweep(_: Given) -> Found:
    """Midnight (billing.py)."""
    from billing import sweep as midnight  # pyright: ignore[reportAttributeAccessIssue]  (as above)

    return midnight()


def of_peer(name: str, given: Given) -> Found:
    """Another server by the same case."""
    if given.peer is None:
        raise RuntimeError("say --peer, --peer-port and --peer-count")
    return peer.run(given.peer, name, given.seconds)


def ingested(name: str, given: Given) -> Found:
    """Ours by this case."""
    return ingest.run(ingest.CASES[name], given.seconds)


SHORT: dict[str, Callable[[Given], Found]] = {
    "decode": lambda _: decode.run(),
    "ingest-teltonika": partial(ingested, "teltonika"),
    "ingest-gt06": partial(ingested, "gt06"),
    "mqtt": lambda given: publishers.run(given.seconds, full=given.full),
    "api": lambda given: answers.run(given.seconds),
    "slow": lambda given: many.slow(given.seconds),
    "idle": lambda _: many.idle(),
    "start": lambda _: many.start(),
    "unlock": lambda given: unlock.run(full=given.full),
    "alerts": lambda given: mails.run(given.seconds),
    "track": track,
}
LONG: dict[str, Callable[[Given], Found]] = {
    "ingest-osmand": partial(ingested, "osmand"),
    "agreement": lambda given: agreement.run(given.seconds),
    "page": lambda given: browser.run(given.seconds),
    "midnight": sweep,
    "growth": lambda given: grow.run(given.seconds, full=given.full),
}
PEER: dict[str, Callable[[Given], Found]] = {f"peer-{name}": partial(of_peer, name) for name in ingest.CASES}
NAMED = SHORT | LONG | PEER


def main() -> None:
    """Run what is asked for, print the table, write the files."""
    parser = argparse.ArgumentParser(
        description="Measure the server. The short set takes less than five minutes."
    )
    parser.add_argument(
        "--only", action="append", choices=list(NAMED), help="this benchmark alone; may be given again"
    )
    parser.add_argument("--full", action="store_true", help="all of them, longer, with more rows")
    parser.add_argument("--seconds", type=seconds, help="length of each measured run (default: 2; full: 15)")
    parser.add_argument(
        "--results", type=Path, default=results.HOME / "results", help="folder for the result files"
    )
    parser.add_argument("--peer", help="shell command that starts another server, to be measured beside ours")
    parser.add_argument("--peer-port", type=int, help="its port for the protocol of the peer-… benchmark")
    parser.add_argument("--peer-count", help="shell command that prints how many fixes it has stored")
    parser.add_argument(
        "--peer-prepare", default="", help="shell command that registers the identifiers on its input"
    )
    parser.add_argument(
        "--peer-pid", type=int, action="append", help="a process that works for it, such as its database"
    )
    parser.add_argument(
        "--workers", type=int, default=1, help="measure a server of so many processes (default: 1)"
    )
    given = parser.parse_args()
    processes.Server.workers = given.workers
    if given.peer and not (given.peer_port and given.peer_count):
        parser.error("--peer needs --peer-port and --peer-count")
    other = None
    if given.peer:
        pids = tuple(given.peer_pid or ())
        other = peer.Peer(given.peer, given.peer_port, given.peer_count, given.peer_prepare, pids)
    said = Given(given.seconds or (FULL_SECONDS if given.full else SECONDS), given.full, other)
    names = given.only or [*SHORT, *(LONG if given.full else ())]
    if given.peer and not given.only:
        parser.error("--peer: say which with --only peer-…, and ours beside it with --only ingest-…")
    measure(names, said, given.results)


def measure(names: list[str], said: Given, folder: Path) -> None:
    """One after another; exit 1 where one failed."""
    console = Console(width=None if Console().is_terminal else 140)
    about = results.circumstances(processes.Server.workers)
    found: list[Found] = []
    failed: list[str] = []
    for name in names:
        console.print(f"[bold]{name}[/] …")
        begun = time.monotonic()
        try:
            found.append(NAMED[name](said))
            console.print(f"  {time.monotonic() - begun:.0f} s")
        except Exception as error:  # noqa: BLE001  (whatever it is: the others' figures are an hour's work)
            failed.append(name)
            console.print(f"[red]{name} failed:[/] {type(error).__name__}: {error}")
            if not isinstance(error, RuntimeError):
                console.print_exception()
    found += [*beside_peer(found), *scaled(found)]
    console.print(results.table(found))
    console.print(results.disturbances(found))
    paths = results.write(found, about, folder)
    for path in [*paths, *plots.draw(found, folder, paths[0].stem)]:
        console.print(f"written: {path}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def beside_peer(found: list[Found]) -> list[Found]:
    """Ours as multiples of the peer's, where one run has both: stored rows a second, and CPU for them."""
    by_name = {each.benchmark: {one.name: one for one in each.measures} for each in found}
    ratios: list[Measure] = []
    for name, case in ingest.CASES.items():
        ours, theirs = by_name.get(f"ingest {name}"), by_name.get(f"peer {name}")
        if ours and theirs:
            rate = (
                ours[f"{case.name}: stored, then answered"].middle
                / theirs[f"peer, {case.name}: stored"].middle
            )
            cpu = (
                ours[f"{case.name}: CPU of server and database"].middle
                / theirs[f"peer, {case.name}: CPU"].middle
            )
            ratios.append(
                Measure(f"{case.name}: stored, as a multiple of the peer's", "ratio", [rate], "more")
            )
            ratios.append(Measure(f"{case.name}: CPU, as a multiple of the peer's", "ratio", [cpu]))
    return [Found("beside the peer", ratios)] if ratios else []


def seconds(text: str) -> float:
    """A length that makes sense."""
    value = float(text)
    if not 1 <= value <= 600:
        raise argparse.ArgumentTypeError(f"{text} is not from 1 to 600")
    return value


if __name__ == "__main__":
    main()
