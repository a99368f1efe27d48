"""What may be sent to a tracker that is hidden. Pure.

An answer may tell where a tracker is, so its customer commands it no more than he sees it. The operator may
still stop and release an engine, or set a device up; he asks nobody for the place of a tracker that is not paid for.
"""

from __future__ import annotations

from typing import Final

TELLS_THE_PLACE: Final = frozenset(
    {"positionSingle", "positionPeriodic", "positionStop", "requestPhoto", "getDeviceStatus", "custom"}
)


def why_not(kind: str, *, hidden: bool, operator: bool) -> str | None:
    """Why this command may not go out now, in words; None: it may."""
    if not hidden:
        return None
    if not operator:
        return "the tracker is hidden; only the operator may send it commands until it is shown again"
    if kind in TELLS_THE_PLACE:
        return f"the tracker is hidden, and {kind} may make it tell its place; wait until it is shown again"
    return None
