"""``tracker-server protocols``: the languages that the server speaks."""

from __future__ import annotations


def protocols() -> None:
    """List all protocols."""
