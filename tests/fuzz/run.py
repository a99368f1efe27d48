"""Fuzzing: ``python -m tests.fuzz.run --time 60``, or ``make fuzz TIME=60 SEED=…``.

Each target takes turns, each turn a mutation of one of its seeds. What breaks is made small and printed in hexadecimal,
to become a line of ``found.toml``, which the tests try again for ever. Exit status 1 where something broke.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback

from msgspec import Struct

from tests.fuzz.mutate import mutated, shrunk
from tests.fuzz.targets import OTHERS, Target, all_targets
from tracker_server import logs
from tracker_server.config import Log

TURN = 50  # mutations of one target before the next has its turn


class Broken(Struct):
    """What broke a target, made small."""

    target: str
    data: bytes
    why: str


def fails(target: Target, data: bytes) -> str:
    """How it broke; empty: it held."""
    try:
        target(data)
    except Exception:  # noqa: BLE001  (whatever it is, it is the finding)
        return traceback.format_exc(limit=-3)
    return ""


def fuzz(
    seed: int, seconds: float, only: list[str] | None = None, tries_max: int | None = None
) -> tuple[int, list[Broken]]:
    """Try for so long, or so many mutations; each target is left alone once it is broken."""
    rng = random.Random(seed)
    targets = {name: found for name, found in all_targets().items() if not only or name in only}
    broken: list[Broken] = []
    tried = 0
    until = time.monotonic() + seconds
    while targets and time.monotonic() < until and (tries_max is None or tried < tries_max):
        for name, (target, begin) in list(targets.items()):
            for _ in range(TURN):
                data = mutated(rng, rng.choice(begin), OTHERS)
                tried += 1
                if why := fails(target, data):
                    broken.append(
                        Broken(name, shrunk(data, lambda less, target=target: bool(fails(target, less))), why)
                    )
                    del targets[name]
                    break
    return tried, broken


def main() -> None:
    """By hand."""
    parser = argparse.ArgumentParser(
        description="Bytes that nobody meant, against everything that reads bytes."
    )
    parser.add_argument("--seed", type=int, default=random.randrange(2**31))
    parser.add_argument("--time", type=float, default=60.0, help="seconds (default: 60)")
    parser.add_argument(
        "--only", action="append", choices=list(all_targets()), help="this target; may be given again"
    )
    given = parser.parse_args()
    logs.set_up(Log(level="error"))
    print(f"seed {given.seed}", flush=True)
    tried, broken = fuzz(given.seed, given.time, given.only)
    for each in broken:
        print(f"\n{each.target}: {each.data.hex()}\n{each.why}")
    print(f"{tried:,} mutations, {len(broken)} targets broken")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
