"""Chaos: ``python -m tests.chaos.run --seed 1 --time 180``, or ``make chaos SEED=1 TIME=180``.

A fleet reports at a steady rate, customers pay, trackers are hidden and shown, letters go out; meanwhile faults come one
after another. Afterwards the judge compares every ledger with the tables. The same seed draws the same faults, the same
fleet and the same payments. Exit status 1 where anything that was promised was not kept.

``--kills 1000``: nothing but kill -9, round after round, each judged at its end (see ``kills``).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct, field

from tests.chaos.business import Business
from tests.chaos.faults import BY_NAME, FAULTS, Chance, Fault, drawn, launch, now
from tests.chaos.judge import Judged, alerts_written, judge
from tests.chaos.plant import Plant
from tests.chaos.proxy import Proxy

FINISH_S_MAX = (
    300.0  # of patience with a busy machine, before a fleet's first answer and after the last fault
)


class Course(Struct, frozen=True):
    """How a run goes: which faults, for how long, under which load. ``once``: these, once each, and no others. ``kills``: until
    so many processes were killed, whatever time that takes; the next fault comes when the fleet is answered again.
    """

    seconds: float = 120.0
    kills: int = 0
    once: Sequence[Fault] = ()
    among: Sequence[Fault] = FAULTS
    devices: int = 30
    rate: float = 60.0  # fixes a second of the whole fleet: the point is what breaks, not how fast
    gap_s: tuple[float, float] = (0.5, 3.0)  # of peace after a fault

    @property
    def fixes(self) -> int:
        """Of each device."""
        return max(20, int(self.rate * self.seconds / self.devices))


class Verdict(Struct):
    """What a run came to. ``answered_after_s``: from the beginning of each fault to the fleet's next answer."""

    seed: int
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    kills_by: Counter[str] = field(default_factory=Counter)
    answered_after_s: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    answered: int = 0
    paid: int = 0
    letters: int = 0
    mails: int = 0
    alerts: int = 0
    hooks: int = 0
    judged: Judged = field(default_factory=Judged)

    @property
    def found(self) -> list[str]:
        """What was promised and not kept."""
        return self.judged.found

    def told(self) -> str:
        """In words."""
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        lines = [
            f"seed {self.seed}: {sum(self.faults.values())} faults, {self.kills} kills in {self.seconds:.0f} s ({counts})",
            f"{self.answered} fixes answered, {self.paid} payments",
            f"{self.letters} letters and {self.alerts} alerts, in {self.mails} mails and {self.hooks} webhooks",
            *(f"BROKEN: {sentence}" for sentence in self.found),
            "" if self.found else "all that was promised was kept",
        ]
        return "\n".join(filter(None, lines))


Told = Callable[[str, Verdict], None]


def by_line(said: str, _verdict: Verdict) -> None:
    """Each fault as it begins."""
    print(f"{now()} {said}", flush=True)


async def chaos(seed: int, course: Course, *, keep_logs: bool = False, told: Told = by_line) -> Verdict:
    """One run."""
    verdict = Verdict(seed)
    plant = Plant(seed, course.devices, course.fixes, course.rate, small_disk=not course.kills)
    proxy = Proxy(plant.proxy_socket)
    try:
        await plant.start_database()
        if not course.kills:  # nothing is cut: a proxy would only cost time
            await proxy.open()
        plant.make_server(proxy.port)
        if plant.broker is not None:
            plant.broker.launch()
        with plant.mail.running(), plant.hooks.running():
            await launch(plant)
            assert plant.database is not None
            business = Business(plant.database, seed, plant.hooks.port)
            await business.set_up(plant.ids())
            problems = await _live_through(plant, proxy, business, verdict, course, told)
            verdict.judged = await judge(plant, business)
            verdict.found.extend(problems)
            verdict.alerts = await asyncio.to_thread(alerts_written, plant)
        verdict.answered = plant.answered()
        verdict.paid, verdict.letters = len(business.paid), len(business.lettered)
        verdict.mails, verdict.hooks = len(plant.mail.taken), len(plant.hooks.asked)
        if verdict.found and keep_logs:
            _keep_logs(plant, seed)
    except BaseException:
        if keep_logs:
            _keep_logs(plant, seed)
        raise
    finally:
        await proxy.close()
        plant.close()
    return verdict


async def _live_through(
    plant: Plant, proxy: Proxy, business: Business, verdict: Verdict, course: Course, told: Told
) -> list[str]:
    """The run itself; what went wrong in it beside what the judge will find."""
    problems: list[str] = []
    chance = Chance(plant, proxy, random.Random(f"{verdict.seed}/faults"))
    plant.start_fleet()
    doing = asyncio.create_task(business.run())
    begun = time.monotonic()
    try:
        await _answered(plant, plant.answered())
        begun = time.monotonic()
        await _break(chance, verdict, course, told)
        if course.kills:
            plant.end_fleet()
        await _finished(plant)
    except TimeoutError:
        problems.append("the fleet was answered no more, or has not come to its end")
    finally:
        doing.cancel()
        await asyncio.wait([doing])
    verdict.seconds = time.monotonic() - begun
    if doing.done() and not doing.cancelled() and (error := doing.exception()):
        problems.append(f"business came to an end: {error!r}: {getattr(error, 'exceptions', '')}")
    return problems


async def _break(chance: Chance, verdict: Verdict, course: Course, told: Told) -> None:
    """One fault after another. Raises TimeoutError where the fleet is answered no more."""
    plant, rng = chance.plant, chance.rng
    until = time.monotonic() + course.seconds
    left = list(course.once) or drawn(plant, rng, course.among)
    await asyncio.sleep(rng.uniform(*course.gap_s))
    while left and (
        course.once or course.kills > chance.kills or (not course.kills and time.monotonic() < until)
    ):
        fault = left.pop(0)
        told(fault.__name__, verdict)
        begun, kills = time.monotonic(), chance.kills
        await fault(chance)
        verdict.faults[fault.__name__] += 1
        verdict.kills = chance.kills
        verdict.kills_by[fault.__name__] += chance.kills - kills
        if course.kills:  # what is killed next is in the middle of something
            await _answered(plant, plant.answered())
            verdict.answered_after_s[fault.__name__].append(time.monotonic() - begun)
        if not left and not course.once:
            left = drawn(plant, rng, course.among)
        await asyncio.sleep(rng.uniform(*course.gap_s))


async def _answered(plant: Plant, more_than: int) -> None:
    """Until the fleet has more answers. Raises TimeoutError."""
    async with asyncio.timeout(FINISH_S_MAX):
        while plant.answered() <= more_than:  # noqa: ASYNC110  (another process writes it)
            await asyncio.sleep(0.05)


async def _finished(plant: Plant) -> None:
    """Until the fleet has told all it had; one that a slow machine has left far behind is told to end, as long as it is answered.
    Raises TimeoutError.
    """
    assert plant.fleet is not None
    finished = asyncio.create_task(asyncio.to_thread(plant.fleet.wait))
    await asyncio.wait([finished], timeout=FINISH_S_MAX)
    if not finished.done():
        await _answered(plant, plant.answered())
        plant.end_fleet()
    await asyncio.wait_for(finished, FINISH_S_MAX)


def _keep_logs(plant: Plant, seed: int) -> None:
    """For whoever looks into it."""
    folder = Path(f"chaos-{seed}")
    folder.mkdir(exist_ok=True)
    for file in (*plant.home.glob("*.log"), plant.report, plant.embedded.log_file):
        if file.exists():
            (folder / file.name).write_bytes(file.read_bytes())
    print(f"logs: {folder}/", flush=True)


def main() -> None:
    """By hand."""
    parser = argparse.ArgumentParser(description="Break everything; see whether what was promised was kept.")
    parser.add_argument("--seed", type=int, default=random.randrange(2**31), help="draws everything; printed")
    parser.add_argument("--time", type=float, default=120.0, help="seconds of faults (default: 120)")
    parser.add_argument(
        "--only", action="append", choices=list(BY_NAME), help="this fault, once; may be given again"
    )
    parser.add_argument(
        "--kills", type=int, default=0, help="kill -9 until so many processes were killed, instead of --time"
    )
    parser.add_argument(
        "--round", type=int, default=60, help="with --kills: judge after so many (default: 60)"
    )
    parser.add_argument(
        "--report", type=Path, help="with --kills: folder for the result as JSON and Markdown"
    )
    parser.add_argument("--no-logs", action="store_true", help="keep no logs of a run that found something")
    given = parser.parse_args()
    if given.kills:
        from tests.chaos.kills import main as kill

        sys.exit(kill(given.seed, given.kills, given.round, given.report, keep_logs=not given.no_logs))
    print(f"seed {given.seed}", flush=True)
    course = Course(given.time, once=[BY_NAME[name] for name in given.only or ()])
    verdict = asyncio.run(chaos(given.seed, course, keep_logs=not given.no_logs))
    print(verdict.told())
    sys.exit(1 if verdict.found else 0)


if __name__ == "__main__":
    main()
