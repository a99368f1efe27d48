"""The engine's state tables as Mermaid diagrams, and its thresholds as a table, for the documentation."""

from __future__ import annotations

from typing import get_type_hints

import msgspec

from tracker_server.track import phases, sides
from tracker_server.track.settings import TrackSettings


def motion_diagram() -> str:
    """Phases of motion and what leads from one to the other."""
    lines = ["stateDiagram-v2", "    [*] --> start: first fix"]
    lines += [
        f"    {before} --> {after}: {turn.value}"
        for (before, turn), after in phases.NEXT.items()
        if turn is not phases.Turn.RELOCATED
    ]
    lines.append(f"    note right of start: from any phase, when {phases.Turn.RELOCATED.value}")
    return "\n".join(lines) + "\n"


def sides_diagram() -> str:
    """Positions to a fence and the words of single fixes that change them."""
    lines = ["stateDiagram-v2", "    [*] --> outside"]
    merged: dict[tuple[sides.Position, sides.Position], list[str]] = {}
    for (before, word), after in sides.NEXT.items():
        if before is not after:
            merged.setdefault((before, after), []).append(word.value)
    for (before, after), words in merged.items():
        told = ""
        if after is sides.Position.INSIDE and before not in sides.WAS_IN:
            told = " / geofenceEnter"
        elif after is sides.Position.OUTSIDE and before in sides.WAS_IN:
            told = " / geofenceExit"
        lines.append(f"    {before} --> {after}: {' or '.join(words)}{told}")
    return "\n".join(lines) + "\n"


def settings_table() -> str:
    """Every threshold with its default and its reason, as Markdown."""
    hints = get_type_hints(TrackSettings, include_extras=True)
    lines = ["| name | default | |", "|---|---|---|"]
    for field in msgspec.structs.fields(TrackSettings):
        told = next((meta.description for meta in getattr(hints[field.name], "__metadata__", ())), "")
        default = field.default if field.default != () else "none"
        lines.append(f"| `{field.name}` | {default} | {told} |")
    return "\n".join(lines) + "\n"
