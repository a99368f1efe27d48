"""Reading what a request says: moments, queries, forms, and msgspec's findings in a sentence."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct
from starlette.datastructures import ImmutableMultiDict

from tracker_server.api.errors import Refusal, bad
from tracker_server.model.reading import UnreadableError, read_json
from tracker_server.model.why import Why

Kind = TypeVar("Kind")

NUMBER_MAX: Final = 2**63 - 1
Number = Annotated[int, Meta(ge=0, le=NUMBER_MAX)]
"""An object's id; 0 stands for none."""

Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""ISO 8601, as it stands in JSON."""

_PLUS_LOST: Final = re.compile(r" (\d\d:?\d\d)$")  # a + that was not escaped in a URL arrives as a space


# As msgspec says that a text or a number has its bounds.
_BOUND: Final = re.compile(r"Expected `(?:(str)` of length|int`|float`) ([<>])=? (\S+)")
_BOUNDS: Final = {
    ("str", "<"): Why.TEXT_LONG,
    ("str", ">"): Why.TEXT_SHORT,
    (None, "<"): Why.NUMBER_GREAT,
    (None, ">"): Why.NUMBER_SMALL,
}


def moment(text: str, field: str) -> datetime:
    """Any ISO 8601 form; without an offset it is UTC. Raises Refusal."""
    try:
        found = datetime.fromisoformat(_PLUS_LOST.sub(r"+\1", text.strip()))
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise bad(field, f"{text[:40]!r} is no moment; write it as 2026-01-31T08:00:00Z", Why.DATE) from None


def iso(when: datetime | None) -> str | None:
    """As the API writes a moment: UTC with milliseconds."""
    return (
        None if when is None else f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03}Z"
    )


class _Field(Struct, frozen=True):
    name: str
    many: bool
    moment: bool
    text: bool


def _plain(hint: Any) -> list[Any]:
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in {Union, types.UnionType}:
        return [one for part in get_args(hint) for one in _plain(part)]
    return [hint]


@cache
def _fields(kind: type[Struct]) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    found: list[_Field] = []
    for field in msgspec.structs.fields(kind):
        plain = _plain(hints[field.name])
        many = any(get_origin(one) in {list, tuple} for one in plain)
        found.append(_Field(field.encode_name, many, datetime in plain, str in plain))
    return tuple(found)


def read_pairs(pairs: ImmutableMultiDict[str, Any], kind: type[Kind]) -> Kind:
    """A query or form as this Struct. What it does not know is ignored, what is empty counts as not given."""
    assert issubclass(kind, Struct)
    given: dict[str, Any] = {}
    for field in _fields(kind):
        texts = [text for text in pairs.getlist(field.name) if isinstance(text, str)]
        texts = [text for text in texts if text or field.text]
        if not texts:
            continue
        values = [moment(text, field.name) for text in texts] if field.moment else texts
        given[field.name] = values if field.many else values[-1]
    return convert(given, kind)


def convert(value: Any, kind: type[Kind], *, strict: bool = False) -> Kind:
    """A value as this type. Raises Refusal."""
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        raise explained(error) from None


def body_of(body: bytes, kind: Any) -> Any:
    """A JSON body as this type. Raises Refusal."""
    try:
        value = read_json(body)
    except UnreadableError as error:
        told = str(error)
        if " out of range" in told:
            raise bad("body", "holds a number that is too large") from None
        raise bad("body", f"is no JSON: {told}") from None
    return convert(value, kind)


def explained(error: msgspec.ValidationError) -> Refusal:
    """Which field, and what is wrong with it."""
    text, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    if "missing required field" in text:
        missing = text.split("`")[1]
        return bad(f"{field}.{missing}".lstrip("."), "is missing", Why.MISSING)
    problem = text[:1].lower() + text[1:].replace("`", "")
    found = _BOUND.search(text)
    if found is None:
        return bad(field or "body", problem)
    return bad(field or "body", problem, _BOUNDS[found[1], found[2]], bound=found[3])


def text_of(mapping: Mapping[str, str], name: str) -> str:
    """A header or the empty text."""
    return mapping.get(name, "")
