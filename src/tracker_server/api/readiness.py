"""Whether work can be done here."""

from __future__ import annotations

from msgspec import Struct


class Readiness(Struct, frozen=True):
    """``problems`` in words for the operator."""

    ready: bool
    problems: tuple[str, ...] = ()
