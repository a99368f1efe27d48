"""Numbers that nobody means are refused in a sentence that names the field."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct
from starlette.datastructures import ImmutableMultiDict

from tracker_server.api.errors import Refusal, invalid
from tracker_server.api.money_values import amount_of
from tracker_server.api.positions import PositionsQuery
from tracker_server.api.values import Number, body_of, read_pairs
from tracker_server.billing.reasons import Reason
from tracker_server.model.address import email, messenger, phone, url
from tracker_server.model.money import InvalidValueError
from tracker_server.model.why import Why


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


class Card(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=5)] = "a"
    speed: Annotated[float, Meta(ge=1, le=9)] = 1
    parts: Annotated[list[int], Meta(max_length=1)] = []


@pytest.mark.parametrize(
    ("body", "why", "values"),
    [
        ('{"device": 1, "card": {"name": "Camión"}}', Why.TEXT_LONG, {"field": "card.name", "bound": "5"}),
        ('{"device": 1, "card": {"name": ""}}', Why.TEXT_SHORT, {"field": "card.name", "bound": "1"}),
        ('{"device": 1, "card": {"speed": 10}}', Why.NUMBER_GREAT, {"field": "card.speed", "bound": "9.0"}),
        ('{"device": -1, "card": {}}', Why.NUMBER_SMALL, {"field": "device", "bound": "0"}),
        ('{"device": 1}', Why.MISSING, {"field": "card"}),
        ('{"device": 1, "card": {"parts": [1, 2]}}', None, None),
        ('{"device": 1, "card": {"name": 1}}', None, None),
    ],
)
def test_a_shape_that_does_not_fit_says_why_in_a_word(body: str, why: Why | None, values: Any) -> None:
    class Tracker(Named):
        card: Card

    with pytest.raises(Refusal) as refused:
        body_of(body.encode(), Tracker)
    assert refused.value.words == ({} if why is None else {"reason": why, "values": values})


@pytest.mark.parametrize(
    ("check", "text", "why"),
    [
        (email, "office", Why.EMAIL),
        (phone, "mother", Why.PHONE),
        (url, "example.com", Why.URL),
        (messenger, "a b", Why.MESSENGER),
    ],
)
def test_an_address_that_is_none_says_why_in_a_word(
    check: Callable[[str, str], str], text: str, why: Why
) -> None:
    with pytest.raises(InvalidValueError) as refused:
        check(text, "to")
    told = invalid(refused.value)
    assert told.words == {"reason": why, "values": {"field": "to"}}
    assert told.sentence.startswith(f"to: '{text}' ")


def test_the_page_has_words_for_each_word() -> None:
    """In all languages: the page's own tests compare those."""
    messages = (Path(__file__).parents[2] / "web" / "src" / "i18n" / "en.ts").read_text()
    told = set(re.findall(r'^  "refusal\.(\w+)":', messages, re.MULTILINE))
    assert set(Why) <= told
    assert told <= set(Why) | set(Reason), "none that nothing says"


def test_zeros_before_money_are_nothing() -> None:
    assert amount_of("amount", "0" * 5_000 + "1.5", "EUR") == 150
