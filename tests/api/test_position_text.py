"""Thousands of positions are written in parts; the text is that of the same positions one by one."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from msgspec.json import decode, encode

from tracker_server.api.position_shape import FEW, iso_ms, moments_ms, positions_json, positions_of
from tracker_server.storage.positions_api import Fixes
from tracker_server.track.marking import EPOCH, MICROSECOND, Marks

SAID = (
    "{}",
    '{"sat":11}',
    '{"distance":"far","sat":1}',
    '{"note":"a, \\"b\\" · ж"}',
    '{"deep":{"motion":[1,2]}}',
)
NETWORKS = (None, '{"cells":[{"mcc":310,"mnc":26,"lac":1,"cid":2}]}')


def some(dice: random.Random, count: int) -> Fixes:
    def floats(*odd: float) -> np.ndarray:
        return np.array(
            [dice.choice((*odd, dice.uniform(-400, 400))) for _ in range(count)], dtype=np.float32
        ).astype(np.float64)

    moments = [dice.randrange(-(10**15), 4 * 10**15) for _ in range(count)]
    return Fixes(
        ids=[dice.randrange(2**53) for _ in range(count)],
        device_ids=[dice.randrange(1, 5) for _ in range(count)],
        account_ids=[1] * count,
        fixed_us=np.array(moments),
        received_us=np.array(moments) + 700_000,
        latitudes=np.array([dice.uniform(-90, 90) for _ in range(count)]),
        longitudes=np.array(
            [dice.choice((0.0, -180.0, 1e-7, dice.uniform(-180, 180))) for _ in range(count)]
        ),
        valid=np.array([dice.random() < 0.9 for _ in range(count)], dtype=np.bool_),
        protocols=[dice.choice(("gt06", 'a"b')) for _ in range(count)],
        altitudes_m=floats(float("nan"), float("inf"), 0.0),
        speeds_mps=floats(float("nan"), 3e38),
        courses_deg=floats(float("nan"), -0.0),
        accuracies_m=floats(float("nan")),
        attributes=[dice.choice(SAID) for _ in range(count)],
        networks=[dice.choice(NETWORKS) for _ in range(count)],
    )


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("count", [0, 1, 4 * FEW])
def test_parts_are_as_one_by_one(seed: int, full: bool, count: int) -> None:  # noqa: FBT001
    dice = random.Random(seed)
    fixes = some(dice, count)
    marks = Marks(
        np.array([dice.uniform(0, 1e3) for _ in range(count)]) if full else None,
        np.array([dice.uniform(0, 1e9) for _ in range(count)]),
        np.array([dice.random() < 0.5 for _ in range(count)], dtype=np.bool_),
        [dice.choice(((), (1,), (2, 3))) for _ in range(count)],
        None if full else [dice.choice((None, 7)) for _ in range(count)],
    )
    addresses = [dice.choice((None, 'Street "1", Town')) for _ in range(count)] if full else None
    one_by_one = encode(positions_of(fixes, marks, None, addresses))
    assert b"[" + positions_json(fixes, marks, None, addresses) + b"]" == one_by_one
    assert len(decode(one_by_one)) == count


def test_moments_by_the_thousand_are_as_one_by_one() -> None:
    dice = random.Random(4)
    moments = [EPOCH + timedelta(microseconds=dice.randrange(-(10**15), 4 * 10**15)) for _ in range(10 * FEW)]
    moments += [
        datetime(2026, 1, 1, tzinfo=UTC) - MICROSECOND,
        datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
    ]
    micros = np.array([(moment - EPOCH) // MICROSECOND for moment in moments])
    assert moments_ms(micros) == [iso_ms(moment) for moment in moments]
    assert moments_ms(micros[-1:]) == [iso_ms(moments[-1])]
