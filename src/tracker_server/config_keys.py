"""What the settings' types say of each key: default, what it takes, meaning. For errors, files and documentation."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

SECRET = "secret"  # noqa: S105  (the name of a mark, in Meta(extra=…))


class Key(Struct, frozen=True):
    """One setting. ``takes`` is what may stand there, in words; ``choices`` where they are few."""

    name: str
    takes: str
    meaning: str
    default: Any = None
    choices: tuple[str, ...] = ()
    secret: bool = False


class Section(Struct, frozen=True):
    """Settings that stand together; ``name`` is empty for those at the top."""

    name: str
    meaning: str
    keys: tuple[Key, ...]


def keys_of(kind: type[Struct], prefix: str = "") -> tuple[Key, ...]:
    """The keys of one section, without those of the sections in it."""
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        _key(f"{prefix}{field.encode_name}", hints[field.name], _default(field))
        for field in msgspec.structs.fields(kind)
        if not is_section(hints[field.name])
    )


def sections_in(kind: type[Struct], prefix: str = "") -> Iterator[tuple[str, type[Struct]]]:
    """The sections below this one, by their dotted names; without those that exist once for each of many."""
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        below = hints[field.name]
        if isinstance(below, type) and issubclass(below, Struct):
            yield f"{prefix}{field.encode_name}", below
            yield from sections_in(below, f"{prefix}{field.encode_name}.")


def is_section(hint: Any) -> bool:
    """Whether it holds settings of its own (a dict does, one for each name)."""
    return get_origin(hint) is dict or (isinstance(hint, type) and issubclass(hint, Struct))


def summary(kind: type[Struct]) -> str:
    """A section's docstring in one line."""
    return " ".join((kind.__doc__ or "").split())


def _default(field: Any) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return None if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _key(name: str, hint: Any, default: Any) -> Key:
    meaning, secret, bounds = "", False, ""
    plain = hint
    while get_origin(plain) is Annotated:
        plain, *metas = get_args(plain)
        for meta in metas:
            if isinstance(meta, Meta):
                meaning = meta.description or meaning
                secret = secret or bool((meta.extra or {}).get(SECRET))
                bounds = bounds or _bounds(meta)
    choices = tuple(map(str, get_args(plain))) if get_origin(plain) is Literal else ()
    takes = " or ".join(f'"{choice}"' for choice in choices) or f"{_word(plain)}{bounds}"
    return Key(name, takes, meaning, default, choices, secret)


def _bounds(meta: Meta) -> str:
    parts = [
        f"{word} {limit:,}"
        for word, limit in (("from", meta.ge), ("above", meta.gt), ("to", meta.le), ("below", meta.lt))
        if limit is not None
    ]
    return f" {' '.join(parts)}" if parts else ""


def _word(plain: Any) -> str:
    if get_origin(plain) in {Union, types.UnionType}:
        return " or ".join(_word(one) for one in get_args(plain))
    if get_origin(plain) in {list, tuple}:
        return f"a list of {_word(get_args(plain)[0])}"
    words = {
        str: "text",
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        Path: "a path",
    }
    return words.get(plain, "a value")
