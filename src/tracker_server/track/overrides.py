"""What an account or a tracker says of the engine's settings, checked and laid over the server's."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

import msgspec
from msgspec import structs

from tracker_server.track.settings import TrackSettings

# Not to be set by hand: they follow from assignments and plans.
DERIVED: Final = frozenset({"fence_ids", "maintenance"})
NAMES: Final = tuple(name for name in TrackSettings.__struct_fields__ if name not in DERIVED)


class OverrideError(ValueError):
    """A setting that cannot be used. The message names it, what is wrong, and the cure."""


def checked(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values, each one that the engine knows. Raises OverrideError."""
    hints = {field.name: field.type for field in structs.fields(TrackSettings)}
    out: dict[str, Any] = {}
    for name, value in values.items():
        if name not in NAMES:
            near = get_close_matches(name, NAMES, 1)
            raise OverrideError(
                f"{name}: is no setting of the track engine"
                + (f"; do you mean {near[0]}?" if near else "; docs/explanation/track-engine.md lists them")
            )
        try:
            found = msgspec.convert(value, hints[name])
        except msgspec.ValidationError as error:
            raise OverrideError(f"{name}: {value!r}: {error}") from None
        if isinstance(found, float | int) and not isinstance(found, bool) and found < 0:
            raise OverrideError(f"{name}: {value!r} is below 0")
        out[name] = found
    return out


def overridden(base: TrackSettings, values: Mapping[str, Any]) -> TrackSettings:
    """The settings with these laid over. Raises OverrideError."""
    return structs.replace(base, **checked(values)) if values else base
