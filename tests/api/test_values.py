"""Numbers that nobody means are refused in a sentence that names the field."""

from __future__ import annotations

import pytest
from msgspec import Struct
from starlette.datastructures import ImmutableMultiDict

from tracker_server.api.errors import Refusal
from tracker_server.api.money_values import amount_of
from tracker_server.api.positions import PositionsQuery
from tracker_server.api.values import Number, body_of, read_pairs


class Named(Struct):
    device: Number


@pytest.mark.parametrize("number", ["9" * 90, "9" * 5_000, "-1", "1e400", "0x10", "1.5"])
def test_no_id_of_a_query(number: str) -> None:
    with pytest.raises(Refusal) as refused:
        read_pairs(ImmutableMultiDict([("deviceId", number)]), PositionsQuery)
    assert refused.value.status == 400
    assert refused.value.sentence.startswith("deviceId[0]: ")


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        ("9" * 90, "device: expected int <= 9223372036854775807"),
        ("9" * 5_000, "body: holds a number that is too large"),
        ("1e400", "body: holds a number that is too large"),
        ("NaN", "body: is no JSON: "),
    ],
)
def test_no_id_of_a_body(number: str, sentence: str) -> None:
    with pytest.raises(Refusal) as refused:
        body_of(f'{{"device": {number}}}'.encode(), Named)
    assert refused.value.status == 400
    assert refused.value.sentence.startswith(sentence)


@pytest.mark.parametrize("text", ["9" * 90, "9" * 5_000, "0." + "1" * 90, "9" * 90 + "x"])
def test_no_money(text: str) -> None:
    with pytest.raises(Refusal) as refused:
        amount_of("amount", text, "EUR")
    assert refused.value.sentence.startswith(f"amount: {text[:40]!r} ")
    assert len(refused.value.sentence) < 200


def test_zeros_before_money_are_nothing() -> None:
    assert amount_of("amount", "0" * 5_000 + "1.5", "EUR") == 150
