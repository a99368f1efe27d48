from __future__ import annotations

import pytest

from tracker_server.simulator.identity import check_digit, unique_id


def luhn_holds(digits: str) -> bool:
    """Luhn's rule as it is stated for the whole number: the sum with every second digit doubled ends in 0."""
    total = 0
    for place, digit in enumerate(digits[::-1]):
        total += sum(map(int, str(int(digit) * (2 if place % 2 else 1))))
    return total % 10 == 0


def test_check_digit_of_the_imei_that_textbooks_use() -> None:
    assert check_digit("49015420323751") == 8


@pytest.mark.parametrize("prefix", ["3", "35", "86012345"])
@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_identifiers_are_imeis_and_differ(prefix: str, seed: int) -> None:
    numbers = [*range(300), 999_999]
    names = [unique_id(prefix, seed, number) for number in numbers]
    assert len(set(names)) == len(numbers)
    for name in names:
        assert len(name) == 15
        assert name.startswith(prefix)
        assert luhn_holds(name)


def test_seeds_make_different_fleets_and_the_same_seed_the_same() -> None:
    first, again, other = (unique_id("35", seed, 7) for seed in (1, 1, 2))
    assert first == again
    assert first != other
