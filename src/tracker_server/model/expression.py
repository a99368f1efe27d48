"""Expressions over a position's fields: ``speed * 3``, ``ignition && power > 12``, ``fuel < 10 ? 'low' : 'fine'``.

The language is that of the field's reference (JEXL) without loops, assignments and calls of objects; a handful of functions
of numbers is there. It is rewritten into a Python expression and evaluated by simpleeval, which knows neither names nor
attributes but those that it is given. The work is bounded by the length: nothing in it repeats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from simpleeval import InvalidExpression, SimpleEval

CHARACTERS_MAX: Final = 1_000
DEPTH_MAX: Final = 50
TEXT_CHARACTERS_MAX: Final = 4_000  # of a result

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)[LlFfDdBbHh]?(?![\w.])"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||==|!=|<=|>=|\?:|[-+*/%<>!?:(),.]))"
)
_WORDS: Final = {
    "and": "and", "or": "or", "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "div": "/", "mod": "%", "true": "True", "false": "False", "null": "None",
}  # fmt: skip
_SIGNS: Final = {"&&": "and", "||": "or"}
_FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "abs": abs, "min": min, "max": max, "round": round, "floor": lambda value: int(value // 1),
    "ceil": lambda value: -int(-value // 1), "empty": lambda value: value is None or value == "",
}  # fmt: skip
_PREFIX: Final = "v_"  # a name in the expression is no word of Python's


class ExpressionError(Exception):
    """It cannot be read; the message says where."""


class Expression:
    """One that can be read. ``names``: the fields that it asks for."""

    def __init__(self, text: str) -> None:
        if len(text) > CHARACTERS_MAX:
            raise ExpressionError(f"is longer than {CHARACTERS_MAX:,} characters")
        self._evaluator = SimpleEval(functions=_FUNCTIONS)
        self.names: set[str] = set()
        self._text = _rewrite(_tokens(text), self.names, 0)
        try:
            self._tree = SimpleEval.parse(self._text)
        except (InvalidExpression, SyntaxError, ValueError, RecursionError, MemoryError):
            raise ExpressionError("cannot be read; write it like: speed > 50 && ignition") from None

    def value(self, fields: Mapping[str, Any]) -> Any:
        """Over these fields; one that is not there is null. None where it has no value: nothing to compute with."""
        self._evaluator.names = {f"{_PREFIX}{name}": fields.get(name) for name in self.names}
        try:
            found = self._evaluator.eval(self._text, self._tree)
        except (InvalidExpression, ArithmeticError, TypeError, ValueError, RecursionError, MemoryError):
            return None
        return found[:TEXT_CHARACTERS_MAX] if isinstance(found, str) else found


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ExpressionError(f"cannot be read from {text[at:].strip()[:20]!r} on")
        assert match.lastgroup is not None
        found.append((match.lastgroup, match[match.lastgroup]))
        at = match.end()
    if not found:
        raise ExpressionError("is empty")
    return found


def _rewrite(tokens: list[tuple[str, str]], names: set[str], depth: int) -> str:
    """Python's words for a part without commas at its top."""
    if depth > DEPTH_MAX:
        raise ExpressionError(f"is nested deeper than {DEPTH_MAX}")
    place = _outside(tokens, ("?", "?:"))
    if place is not None:
        condition = _rewrite(tokens[:place], names, depth + 1)
        if tokens[place][1] == "?:":
            other = _rewrite(tokens[place + 1 :], names, depth + 1)
            return f"(({condition}) or ({other}))"
        colon = _colon(tokens, place)
        yes = _rewrite(tokens[place + 1 : colon], names, depth + 1)
        no = _rewrite(tokens[colon + 1 :], names, depth + 1)
        return f"(({yes}) if ({condition}) else ({no}))"
    parts: list[str] = []
    at = 0
    while at < len(tokens):
        part, at = _part(tokens, at, names, depth)
        parts.append(part)
    return " ".join(parts)


def _part(tokens: list[tuple[str, str]], at: int, names: set[str], depth: int) -> tuple[str, int]:
    """One word, group, call or negation, and where the next begins."""
    kind, word = tokens[at]
    if word == "(" and kind == "sign":
        end = _closing(tokens, at)
        return f"({_rewrite(tokens[at + 1 : end], names, depth + 1)})", end + 1
    called = kind == "name" and word != "not" and word not in _WORDS
    if called and tokens[at + 1 : at + 2] == [("sign", "(")]:
        if word not in _FUNCTIONS:
            raise ExpressionError(f"there is no function {word}; there are: {', '.join(sorted(_FUNCTIONS))}")
        end = _closing(tokens, at + 1)
        arguments = [_rewrite(one, names, depth + 1) for one in _commas(tokens[at + 2 : end])]
        return f"{word}({', '.join(arguments)})", end + 1
    if (kind, word) == ("sign", "!") or (kind, word) == ("name", "not"):
        if at + 1 == len(tokens):
            raise ExpressionError("ends after a negation")
        operand, end = _part(tokens, at + 1, names, depth + 1)
        return f"(not {operand})", end
    if kind == "name" and word not in _WORDS:
        names.add(word)
        return f"{_PREFIX}{word}", at + 1
    if word in {".", ",", ":", ")"} and kind == "sign":
        raise ExpressionError(f"{word!r} stands where it has no meaning")
    if kind == "text":
        return repr(re.sub(r"\\(.)", r"\1", word[1:-1])), at + 1
    return (_WORDS if kind == "name" else _SIGNS).get(word, word), at + 1


def _outside(tokens: list[tuple[str, str]], words: tuple[str, ...]) -> int | None:
    """Where one of these signs first stands outside of parentheses."""
    depth = 0
    for at, (kind, word) in enumerate(tokens):
        if kind != "sign":
            continue
        depth += (word == "(") - (word == ")")
        if depth == 0 and word in words:
            return at
    return None


def _colon(tokens: list[tuple[str, str]], question: int) -> int:
    depth = waiting = 0
    for at in range(question, len(tokens)):
        kind, word = tokens[at]
        if kind != "sign":
            continue
        depth += (word == "(") - (word == ")")
        if depth == 0:
            waiting += (word == "?") - (word == ":")
            if waiting == 0 and word == ":":
                return at
    raise ExpressionError("a ? has no : of its own")


def _closing(tokens: list[tuple[str, str]], opening: int) -> int:
    depth = 0
    for at in range(opening, len(tokens)):
        kind, word = tokens[at]
        if kind == "sign":
            depth += (word == "(") - (word == ")")
        if depth == 0:
            return at
    raise ExpressionError("a ( is not closed")


def _commas(tokens: list[tuple[str, str]]) -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = [[]]
    depth = 0
    for kind, word in tokens:
        if kind == "sign":
            depth += (word == "(") - (word == ")")
            if word == "," and depth == 0:
                found.append([])
                continue
        found[-1].append((kind, word))
    return found if found != [[]] else []
