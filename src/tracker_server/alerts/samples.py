"""An event of each kind, made up: to see how it would be told."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from tracker_server.alerts.letters import EventNotice, Language, Place

FACTS: Final[dict[str, dict[str, Any]]] = {
    "alarm": {"alarm": "sos"},
    "deviceOverspeed": {"speed_mps": 30.0, "limit_mps": 25.0},
    "deviceFuelDrop": {"change_l": -12.5},
    "deviceFuelIncrease": {"change_l": 41.0},
    "geofenceDwell": {"dwell_s": 1_800},
    "proximityEnter": {"other": "Van 4"},
    "proximityExit": {"other": "Van 4"},
    "driverChanged": {"driver": "A. Soto"},
    "maintenance": {"maintenance": "oil change"},
    "commandResult": {"result": "OK"},
}


def sample(
    kind: str, language: Language, zone: str, at: datetime, *, alarm: str = "", link: str = ""
) -> EventNotice:
    """A notice of a kind of event."""
    facts = FACTS.get(kind, {})
    return EventNotice(
        event=kind,
        tracker="Van 3",
        unique_id="123456789012345",
        account="Northern Cargo",
        language=language,
        zone=zone,
        occurred_at=at,
        fence="Depot" if kind.startswith("geofence") else "",
        facts={**facts, **({"alarm": alarm} if alarm else {})},
        place=Place(40.41678, -3.70379),
        link=link.replace("{event}", "1").replace("{device}", "1"),
        event_id=1,
        device_id=1,
    )
