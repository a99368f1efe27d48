"""Does the suite notice? Each patch in ``mutants/`` breaks one promise of the billing engine on purpose;
the suite must fail with each of them, and pass without any.

    python tests/billing/run_mutants.py            # all
    python tests/billing/run_mutants.py 09 17      # those whose names begin so

A patch about what the engine alone cannot hold (the gate, backups, papers) names its tests in its second line:
``tests: tests/storage/test_invoices.py``.

Exit status 1 if a mutant lives, or if a patch no longer fits the code.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = ROOT / "tests/billing/mutants"
NAMED = "tests: "
SECONDS_MAX = 240  # an endless loop counts as noticed
# The quick and telling ones first: most mutants die within a second.
SUITE = (
    "test_rules_a_to_c.py",
    "test_rules_d_to_f.py",
    "test_rules_g_to_i.py",
    "test_rules_j_to_l.py",
    "test_decisions.py",
    "test_bugs.py",
    "test_properties.py",
    "test_invariants.py",
    "test_against_hand.py",
)


def tests_of(patch: Path | None) -> list[str]:
    """What pytest is given: the engine's suite, or the tests that a patch names."""
    if patch is not None:
        second = patch.read_text(encoding="utf-8").splitlines()[1]
        if second.startswith(NAMED):
            return second.removeprefix(NAMED).split()
    return [str(ROOT / "tests/billing" / name) for name in SUITE]


def suite_passes(source: Path, tests: list[str]) -> bool:
    """Run tests on a copy of the source."""
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "HYPOTHESIS_NO_SHRINK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    try:
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, check=False, timeout=SECONDS_MAX
        )
    except subprocess.TimeoutExpired:
        return False
    return run.returncode == 0


def mutated(folder: Path, patch: Path | None) -> Path | None:
    """A copy of the source with a patch applied; None where it does not fit."""
    source = folder / "src"
    shutil.copytree(
        ROOT / "src/tracker_server", source / "tracker_server", ignore=shutil.ignore_patterns("__pycache__")
    )
    if patch is not None:
        applied = subprocess.run(
            ["git", "apply", "--unsafe-paths", "--whitespace=nowarn", str(patch)],
            cwd=folder,
            capture_output=True,
            check=False,
        )
        if applied.returncode != 0:
            return None
    return source


def verdict(patch: Path | None) -> str:
    """``killed``, ``LIVES`` or ``DOES NOT FIT``."""
    with tempfile.TemporaryDirectory() as folder:
        source = mutated(Path(folder), patch)
        if source is None:
            return "DOES NOT FIT"
        return "LIVES" if suite_passes(source, tests_of(patch)) else "killed"


def main(beginnings: list[str]) -> int:
    """Try the chosen mutants, one line for each."""
    if verdict(None) != "LIVES":
        print("the suite fails without any mutant; mend that first")
        return 1
    failed = 0
    for patch in sorted(MUTANTS.glob("*.patch")):
        if beginnings and not patch.name.startswith(tuple(beginnings)):
            continue
        started = time.monotonic()
        found = verdict(patch)
        failed += found != "killed"
        print(
            f"{found:12} {time.monotonic() - started:5.1f} s  {patch.stem}: {patch.read_text().splitlines()[0]}",
            flush=True,
        )
    print("every mutant was killed" if not failed else f"{failed} to look at")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
