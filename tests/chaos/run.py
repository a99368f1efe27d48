"""Chaos: ``python -m tests.chaos.run --seed 1 --time 180``, or ``make chaos SEED=1 TIME=180``.

A fleet reports at a steady rate, customers pay, trackers are hidden and shown, letters go out; meanwhile faults come one
after another. Afterwards the judge compares every ledger with the tables. The same seed draws the same faults, the same
fleet and the same payments. Exit status 1 where anything that was promised was not kept.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from pathlib import Path

from msgspec import Struct, field

from tests.chaos.business import Business
from tests.chaos.faults import BY_NAME, Chance, Fault, drawn, launch, now
from tests.chaos.judge import alerts_written, judge
from tests.chaos.plant import Plant
from tests.chaos.proxy import Proxy

DEVICES = 30
RATE = 60.0  # fixes a second of the whole fleet: the point is what breaks, not how fast
GAP_S = (0.5, 3.0)  # of peace after a fault
FINISH_S_MAX = 180.0


class Verdict(Struct):
    """What a run came to."""

    seed: int
    seconds: float
    faults: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    answered: int = 0
    paid: int = 0
    letters: int = 0
    mails: int = 0
    alerts: int = 0
    hooks: int = 0
    found: list[str] = field(default_factory=list)

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


async def chaos(
    seed: int, seconds: float, faults: list[Fault] | None = None, *, keep_logs: bool = False
) -> Verdict:
    """One run. ``faults``: these and no others, once each."""
    verdict = Verdict(seed, seconds)
    plant = Plant(seed, DEVICES, max(20, int(RATE * seconds / DEVICES)), RATE)
    proxy = Proxy(plant.proxy_socket)
    try:
        await plant.start_database()
        await proxy.open()
        plant.make_server(proxy.port)
        if plant.broker is not None:
            plant.broker.launch()
        with plant.mail.running(), plant.hooks.running():
            await launch(plant)
            assert plant.database is not None
            business = Business(plant.database, seed, plant.hooks.port)
            await business.set_up(plant.ids())
            await _live_through(plant, proxy, business, verdict, faults)
            verdict.found += await judge(plant, business)
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
    plant: Plant, proxy: Proxy, business: Business, verdict: Verdict, faults: list[Fault] | None
) -> None:
    rng = random.Random(f"{verdict.seed}/faults")
    plant.start_fleet()
    doing = asyncio.create_task(business.run())
    await _reporting(plant)
    begun = time.monotonic()
    until = begun + verdict.seconds
    chance = Chance(plant, proxy, rng)
    left = list(faults) if faults is not None else drawn(plant, rng)
    try:
        await asyncio.sleep(rng.uniform(*GAP_S))
        while left and (faults is not None or time.monotonic() < until):
            fault = left.pop(0)
            print(f"{now()} {fault.__name__}", flush=True)
            await fault(chance)
            verdict.faults[fault.__name__] += 1
            verdict.kills = chance.kills
            if not left and faults is None:
                left = drawn(plant, rng)
            await asyncio.sleep(rng.uniform(*GAP_S))
        assert plant.fleet is not None
        await asyncio.wait_for(asyncio.to_thread(plant.fleet.wait), FINISH_S_MAX + verdict.seconds)
    except TimeoutError:
        verdict.found.append("the fleet has not come to its end")
    finally:
        doing.cancel()
        await asyncio.wait([doing])
    verdict.seconds = time.monotonic() - begun
    if doing.done() and not doing.cancelled() and (error := doing.exception()):
        verdict.found.append(f"business came to an end: {error!r}: {getattr(error, 'exceptions', '')}")


async def _reporting(plant: Plant) -> None:
    """Until the fleet has its first answers: a fault before that breaks nothing."""
    until = time.monotonic() + FINISH_S_MAX
    while not plant.answered() and time.monotonic() < until:  # noqa: ASYNC110  (another process writes it)
        await asyncio.sleep(0.1)


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
    parser.add_argument("--no-logs", action="store_true", help="keep no logs of a run that found something")
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    faults = [BY_NAME[name] for name in given.only] if given.only else None
    verdict = asyncio.run(chaos(given.seed, given.time, faults, keep_logs=not given.no_logs))
    print(verdict.told())
    sys.exit(1 if verdict.found else 0)


if __name__ == "__main__":
    main()
