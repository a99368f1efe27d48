"""Topic filters: whether one is well formed, and what it matches (MQTT 5.0 §4.7). Pure."""

from __future__ import annotations

SHARED = "$share/"


def is_filter(pattern: str) -> bool:
    """``+`` stands for one whole level, ``#`` for all that follow, at the end only."""
    if not pattern or "\0" in pattern:
        return False
    levels = pattern.split("/")
    if any("#" in level and (level != "#" or n + 1 < len(levels)) for n, level in enumerate(levels)):
        return False
    return all("+" not in level or level == "+" for level in levels)


def has_wildcards(pattern: str) -> bool:
    """Whether it may match more than one topic."""
    return "+" in pattern or "#" in pattern


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic falls under a filter. Wildcards at the beginning do not reach topics with ``$``."""
    if pattern == topic:
        return True
    if topic.startswith("$") and pattern[:1] in {"+", "#"}:
        return False
    levels = pattern.split("/")
    names = topic.split("/")
    for n, level in enumerate(levels):
        if level == "#":
            return True
        if n >= len(names) or (level != "+" and level != names[n]):
            return False
    return len(levels) == len(names)
