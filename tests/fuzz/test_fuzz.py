"""A little fuzzing each time, what it has found before, and proof that it would notice."""

from __future__ import annotations

import random
import tomllib
from pathlib import Path

import pytest

from tests.fuzz.mutate import mutated, shrunk
from tests.fuzz.run import fails, fuzz
from tests.fuzz.targets import OTHERS, all_targets

TRIES = 12_000  # some three seconds; more: make fuzz
FOUND = tomllib.loads((Path(__file__).parent / "found.toml").read_text())["found"]


@pytest.mark.parametrize("found", FOUND, ids=lambda found: f"{found['target']}: {found['why']}")
def test_what_was_found_is_mended(found: dict[str, str]) -> None:
    target, _ = all_targets()[found["target"]]
    target(bytes.fromhex(found["hex"]))


@pytest.mark.parametrize("name", list(all_targets()))
def test_what_mutation_begins_with_holds(name: str) -> None:
    target, begin = all_targets()[name]
    assert begin
    for seed in begin:
        target(seed)


def test_nothing_breaks_on_bytes_that_nobody_meant() -> None:
    seed = random.randrange(2**31)
    print("seed", seed)
    tried, broken = fuzz(seed, 60.0, tries_max=TRIES)
    assert broken == []
    assert tried >= TRIES


def test_the_same_seed_makes_the_same_mutations() -> None:
    one, again = (
        [mutated(rng, OTHERS[number % len(OTHERS)], OTHERS) for number in range(200)]
        for rng in (random.Random(5), random.Random(5))
    )
    assert one == again
    assert len(set(one)) > 150


def test_what_breaks_is_made_small() -> None:
    def target(data: bytes) -> None:
        assert b"\x00" not in data

    data = b"much" * 20 + b"\x00" + b"more" * 30
    assert shrunk(data, lambda less: bool(fails(target, less))) == b"\x00"
    assert "AssertionError" in fails(target, data)
