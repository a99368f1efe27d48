"""The system gets its memory back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

from tests.servers.waiting import wait_until
from tracker_server.heap import give_back

BLOCK, BLOCKS, KEPT_OF = 1_000, 40_000, 50  # larger than what the interpreter keeps books of itself


def resident_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("RssAnon:"))


async def test_what_is_free_between_what_is_in_use_goes_back_to_the_system() -> None:
    blocks = [bytes(BLOCK) for _ in range(BLOCKS)]
    full_mb = resident_mb()
    kept = blocks[::KEPT_OF]
    del blocks
    held_mb = resident_mb()
    giving = asyncio.create_task(give_back(0.01))
    try:
        await asyncio.to_thread(wait_until, "memory", lambda: resident_mb() < full_mb - 25, 60)
    finally:
        giving.cancel()
    assert held_mb > full_mb - 15, "it would not have gone by itself"
    assert len(kept) == BLOCKS // KEPT_OF


def test_what_an_answer_has_freed_stays_for_the_next() -> None:
    """A megabyte is 244 pages, and would be asked of the system each time."""
    code = (
        "from resource import RUSAGE_SELF, getrusage\n"
        "from tracker_server.heap import share_one_heap\n"
        "share_one_heap()\n"
        "def answer(): bytearray(1_000_000)\n"
        "answer()\n"
        "before = getrusage(RUSAGE_SELF).ru_minflt\n"
        "for _ in range(50): answer()\n"
        "print(getrusage(RUSAGE_SELF).ru_minflt - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) < 500
