"""One accepted fix on its way through the parts of the engine, and what all of them ask of it."""

from __future__ import annotations

from msgspec import Struct

from tracker_server.model.event import Finding, Place
from tracker_server.track.geodesy import way_m
from tracker_server.track.observation import Observation
from tracker_server.track.settings import TrackSettings
from tracker_server.track.signals import Signals
from tracker_server.track.totals import Totals


class Step(Struct, gc=False):
    """One accepted fix on its way through the engine. ``way_m``: from ``before`` (None at the very first)."""

    fix: Observation
    before: Observation | None
    way_m: float
    settings: TrackSettings
    totals: Totals
    signals: Signals
    found: list[Finding]


def metres_apart(one: Observation, other: Observation) -> float:
    """Metres between two fixes."""
    latitude, longitude = one.latitude, one.longitude
    other_latitude, other_longitude = other.latitude, other.longitude
    assert latitude is not None
    assert longitude is not None
    assert other_latitude is not None
    assert other_longitude is not None
    return way_m(latitude, longitude, other_latitude, other_longitude)


def place_of(fix: Observation) -> Place:
    """Where a fix is, and its name."""
    assert fix.latitude is not None
    assert fix.longitude is not None
    return Place(fix.latitude, fix.longitude, fix.digest)
