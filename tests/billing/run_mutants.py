"""Does the suite notice? Each patch in ``mutants/`` breaks one promise of billing on purpose; the tests must fail
with each of them, and pass without any.

    python tests/billing/run_mutants.py               # all
    python tests/billing/run_mutants.py 09 17         # those whose names begin so
    python tests/billing/run_mutants.py --find 09     # by the engine's whole suite; writes down who noticed

A patch's first line says what it breaks, its second which tests notice: ``tests: tests/storage/test_invoices.py -k gap``.
Naming few makes the round quick; a patch that names none is given the engine's whole suite. A mutant dies by a
test that fails: one that only takes too long is to be looked at, as one that lives.

Exit status 1 if a mutant lives, takes too long, or no longer fits the code.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import Final

from msgspec import Struct
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

ROOT: Final = Path(__file__).resolve().parents[2]
MUTANTS: Final = ROOT / "tests/billing/mutants"
NAMED: Final = "tests: "
SECONDS_MAX: Final = 600  # of one mutant: several times what the slowest tests take on a busy machine
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
# The quick and telling ones first: most mutants die within a second.
SUITE: Final = tuple(
    f"tests/billing/{name}.py"
    for name in (
        "test_rules_a_to_c",
        "test_rules_d_to_f",
        "test_rules_g_to_i",
        "test_rules_j_to_l",
        "test_decisions",
        "test_bugs",
        "test_properties",
        "test_invariants",
        "test_against_hand",
    )
)


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    LIVES = "LIVES"
    SLOW = "TOO SLOW"
    UNFIT = "DOES NOT FIT"


class Mutant(Struct, frozen=True):
    """A patch, what it breaks, and the tests that notice; none: the engine's suite."""

    path: Path
    says: str
    tests: tuple[str, ...]


class Ran(Struct, frozen=True):
    """How tests went: the first that failed, or why they were broken off."""

    failed: str | None = None
    slow: bool = False
    said: str = ""


def read_mutant(path: Path) -> Mutant:
    """A patch's two lines."""
    first, second, *_ = path.read_text(encoding="utf-8").splitlines()
    named = tuple(second.removeprefix(NAMED).split()) if second.startswith(NAMED) else ()
    return Mutant(path, first, named)


def run_tests(source: Path, tests: tuple[str, ...]) -> Ran:
    """Run tests on a copy of the source, up to the first that fails."""
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "HYPOTHESIS_NO_SHRINK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=short", "-p", "no:cacheprovider", *tests]
    try:
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS_MAX
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Ran(slow=True)
    if run.returncode == 0:
        return Ran()
    found = FAILED.search(run.stdout)
    return Ran(found[1] if found else "", said=run.stdout + run.stderr)


def mutated(folder: Path, patch: Path | None) -> Path | None:
    """A copy of the source with a patch applied; None where it does not fit."""
    source = folder / "src"
    shutil.copytree(
        ROOT / "src/tracker_server",
        source / "tracker_server",
        ignore=shutil.ignore_patterns("__pycache__"),
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


def verdict(mutant: Mutant, tests: tuple[str, ...]) -> tuple[Verdict, str]:
    """What became of a mutant, and which test noticed."""
    with tempfile.TemporaryDirectory() as folder:
        source = mutated(Path(folder), mutant.path)
        if source is None:
            return Verdict.UNFIT, "mend the patch"
        ran = run_tests(source, tests)
    if ran.slow:
        return Verdict.SLOW, f"more than {SECONDS_MAX} s"
    if ran.failed is None:
        return Verdict.LIVES, "no test noticed"
    return Verdict.KILLED, ran.failed


def sound(tests: list[tuple[str, ...]]) -> str | None:
    """What fails without any mutant; None where nothing does."""
    with tempfile.TemporaryDirectory() as folder:
        source = mutated(Path(folder), None)
        assert source is not None
        for chosen in dict.fromkeys(tests):
            ran = run_tests(source, chosen)
            if ran.slow or ran.failed is not None:
                return f"{' '.join(chosen)}: {ran.failed or 'too slow'}\n{ran.said}"
    return None


def write_down(mutant: Mutant, test: str) -> None:
    """Name the test that noticed in the patch."""
    first, second, *rest = mutant.path.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = rest if second.startswith(NAMED) else [second, *rest]
    mutant.path.write_text("".join([first, f"{NAMED}{test}\n", *kept]), encoding="utf-8")


def main() -> int:
    """Try the chosen mutants, one line for each, and count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="how the names of the patches begin; default: all")
    parser.add_argument(
        "--find", action="store_true", help="by the engine's whole suite, and write down who noticed"
    )
    chosen = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 160)
    mutants = [
        read_mutant(path)
        for path in sorted(MUTANTS.glob("*.patch"))
        if not chosen.names or path.name.startswith(tuple(chosen.names))
    ]
    tests = {one.path: SUITE if chosen.find else one.tests or SUITE for one in mutants}
    counts = Counter[Verdict]()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("without any mutant", total=len(mutants))
        if fault := sound(list(tests.values())):
            console.print(f"the tests fail without any mutant; mend that first: {fault}", markup=False)
            return 1
        for mutant in mutants:
            progress.update(task, description=mutant.path.stem)
            started = time.monotonic()
            found, why = verdict(mutant, tests[mutant.path])
            counts[found] += 1
            if chosen.find and found is Verdict.KILLED and why:
                write_down(mutant, why)
            seconds = time.monotonic() - started
            line = f"{found:12} {seconds:5.1f} s  {mutant.path.stem}: {mutant.says} [{why}]"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            progress.advance(task)
    counted = ", ".join(f"{counts[one]} {one}" for one in Verdict if counts[one])
    console.print(f"{len(mutants)} mutants: {counted}")
    return 0 if counts[Verdict.KILLED] == len(mutants) else 1


if __name__ == "__main__":
    raise SystemExit(main())
