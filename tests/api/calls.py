"""What clients of this field call, with what, and what they read of the answer: one row for each call.

A text that begins with ``$`` stands for what an earlier call kept, or the scene has: ``$van`` is its tracker, ``$made.id``
the id of what was made, ``$van|text`` the same number as text. ``{van}`` is the same in a path.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from tests.api.test_objects import CALENDAR

BASIC, COOKIE, BEARER, OPEN = "Basic", "cookie", "Bearer token", "nothing"

CLIENTS: Final = {
    "pytraccar": ("pytraccar 2.1.1", BASIC),
    "pytraccar3": ("pytraccar 3.0.0, Home Assistant", BEARER),
    "traccar-api": ("traccar-api 0.3.0", BASIC),
    "generated": ("traccar-api-python-client 0.0.3", BEARER),
    "web": ("Traccar's web app 6.14, its simple client, Traccar Manager", COOKIE),
    "osmand": ("Traccar Client, mesh2traccar, OsmAnd", OPEN),
}
"""Their names, and how each signs in for its calls."""

P, P3, A, G, W = "pytraccar", "pytraccar3", "traccar-api", "generated", "web"
EVERY: Final = (P, P3, A, G, W)

SHAPES: Final[dict[str, dict[str, str]]] = {
    "device": {
        "id": "int", "name": "text", "uniqueId": "text", "status": "online|offline|unknown", "disabled": "bool",
        "lastUpdate": "moment?", "positionId": "int", "groupId": "int", "calendarId": "int", "phone": "text?",
        "model": "text?", "contact": "text?", "category": "text?", "expirationTime": "moment?", "attributes": "object",
    },
    "position": {
        "id": "int", "deviceId": "int", "protocol": "text", "serverTime": "moment", "deviceTime": "moment",
        "fixTime": "moment", "valid": "bool", "outdated": "bool", "latitude": "number", "longitude": "number",
        "altitude": "number", "speed": "number", "course": "number", "address": "text?", "accuracy": "number",
        "network": "object?", "geofenceIds": "[int]?", "attributes": "object",
    },
    "event": {
        "id": "int", "type": "text", "eventTime": "moment", "deviceId": "int", "positionId": "int", "geofenceId": "int",
        "maintenanceId": "int", "attributes": "object",
    },
    "user": {
        "id": "int", "name": "text", "email": "text", "administrator": "bool", "readonly": "bool",
        "deviceReadonly": "bool", "userLimit": "int", "deviceLimit": "int", "disabled": "bool",
        "expirationTime": "moment?", "temporary": "bool", "limitCommands": "bool", "disableReports": "bool",
        "fixedEmail": "bool", "phone": "text?", "map": "text?", "poiLayer": "text?", "latitude": "number",
        "longitude": "number", "zoom": "int", "coordinateFormat": "text?", "attributes": "object",
    },
    "server": {
        "id": "int", "registration": "bool", "readonly": "bool", "deviceReadonly": "bool", "limitCommands": "bool",
        "map": "text?", "bingKey": "text?", "mapUrl": "text?", "overlayUrl": "text?", "poiLayer": "text?",
        "latitude": "number", "longitude": "number", "zoom": "int", "twelveHourFormat": "bool", "forceSettings": "bool",
        "coordinateFormat": "text?", "openIdEnabled": "bool", "openIdForce": "bool", "emailEnabled": "bool",
        "textEnabled": "bool", "geocoderEnabled": "bool", "newServer": "bool", "announcement": "text?",
        "version": "text", "attributes": "object",
    },
    "trip": {
        "deviceId": "int", "deviceName": "text", "distance": "number", "averageSpeed": "number", "maxSpeed": "number",
        "spentFuel": "number", "startOdometer": "number", "endOdometer": "number", "startTime": "moment",
        "endTime": "moment", "startPositionId": "int", "endPositionId": "int", "startLat": "number",
        "startLon": "number", "endLat": "number", "endLon": "number", "startAddress": "text?", "endAddress": "text?",
        "duration": "int", "driverUniqueId": "text?", "driverName": "text?",
    },
    "stop": {
        "deviceId": "int", "deviceName": "text", "startTime": "moment", "endTime": "moment", "duration": "int",
        "engineHours": "int", "spentFuel": "number", "latitude": "number", "longitude": "number", "address": "text?",
        "positionId": "int",
    },
    "summary": {
        "deviceId": "int", "deviceName": "text", "distance": "number", "averageSpeed": "number", "maxSpeed": "number",
        "spentFuel": "number", "startOdometer": "number", "endOdometer": "number", "startTime": "moment",
        "endTime": "moment", "engineHours": "int",
    },
    "visit": {
        "deviceId": "int", "deviceName": "text", "geofenceId": "int", "startTime": "moment", "endTime": "moment?",
    },
    "combined": {"deviceId": "int", "route": "pairs", "events": "[event]", "positions": "[position]"},
    "geofence": {
        "id": "int", "name": "text", "description": "text?", "area": "text", "calendarId": "int", "attributes": "object",
    },
    "group": {"id": "int", "name": "text", "groupId": "int", "attributes": "object"},
    "driver": {"id": "int", "name": "text", "uniqueId": "text", "attributes": "object"},
    "maintenance": {
        "id": "int", "name": "text", "type": "text", "start": "number", "period": "number", "attributes": "object",
    },
    "calendar": {"id": "int", "name": "text", "data": "text", "attributes": "object"},
    "computed attribute": {
        "id": "int", "description": "text", "attribute": "text", "expression": "text", "type": "text", "priority": "int",
    },
    "command": {
        "id": "int", "deviceId": "int", "description": "text?", "type": "text", "textChannel": "bool",
        "attributes": "object",
    },
    "notification": {
        "id": "int", "description": "text?", "type": "text", "always": "bool", "notificators": "text?",
        "calendarId": "int", "commandId": "int", "attributes": "object",
    },
    "saved report": {
        "id": "int", "type": "text", "description": "text", "calendarId": "int", "attributes": "object",
    },
    "kind": {"type": "text"},
    "statistics": {
        "captureTime": "moment", "activeUsers": "int", "activeDevices": "int", "requests": "int",
        "messagesReceived": "int", "messagesStored": "int",
    },
    "action": {
        "id": "int", "actionTime": "moment", "address": "text?", "userId": "int",
        "actionType": "text", "objectType": "text?", "objectId": "int", "attributes": "object",
    },
    "port": {"id": "int", "protocol": "text", "transport": "tcp|udp"},
}  # fmt: skip
"""What is read of each kind of object. ``?``: may be null; nothing of it may be absent."""


class Ask(Struct, kw_only=True):
    """One call. ``says``: what the answer holds, by dotted path (of a list: of its first row); ``begins``: its first bytes;
    ``keeps``: the name under which later rows find it; ``signed``: as whom (the scene's owner, an administrator, nobody).
    """

    call: str
    by: tuple[str, ...]
    query: Mapping[str, Any] = {}
    body: Any = None
    form: Mapping[str, Any] | None = None
    upload: bytes | None = None
    headers: Mapping[str, str] = {}
    signed: str = "owner"
    status: int = 200
    reads: str = ""  # a shape; "[shape]": a list of them; "text": not JSON; "": no body
    says: Mapping[str, Any] = {}
    begins: bytes = b""
    keeps: str = ""


def life(
    path: str,
    shape: str,
    body: Mapping[str, Any],
    change: Mapping[str, Any],
    by: tuple[str, ...],
) -> list[Ask]:
    """A kind of object: list, add, read, change, remove."""
    one = f"{path}/{{made.id}}"
    return [
        Ask(call=f"POST {path}", by=by, body=body, reads=shape, says=body, keeps="made"),
        Ask(call=f"GET {path}", by=by, reads=f"[{shape}]"),
        Ask(call=f"GET {one}", by=(W,), reads=shape, says={"id": "$made.id", **body}),
        Ask(call=f"PUT {one}", by=by, body="$made", reads=shape, says=body),
        Ask(call=f"PUT {one}", by=(W,), body={**body, "id": "$made.id", **change}, reads=shape, says=change),
        Ask(call=f"DELETE {one}", by=by, status=204),
        Ask(call=f"DELETE {one}", by=(W,), status=404, reads="text"),
    ]  # fmt: skip


PERIOD: Final = {"from": "2026-01-02T00:00:00Z", "to": "2026-01-03T00:00:00Z"}
OF_VAN: Final = {"deviceId": ["$van"], **PERIOD}
JSON: Final = {"Accept": "application/json"}
XLSX: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PIXEL: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
CREDENTIALS: Final = {"email": "$email", "password": "$password"}
RULE: Final = {
    "type": "alarm",
    "always": True,
    "notificators": "web",
    "description": "x",
    "attributes": {"alarms": "sos"},
}
KMH: Final = {"description": "km/h", "attribute": "kmh", "expression": "speed * 1.852", "type": "number"}
AT_START: Final = (
    "groups",
    "drivers",
    "maintenance",
    "calendars",
)  # what the web app reads besides when it opens

SESSION: Final = [
    Ask(call="GET session", by=(W,), signed="nobody", status=404, reads="text"),
    Ask(call="GET devices", by=EVERY, signed="nobody", status=401, reads="text"),
    Ask(call="POST session", by=(P, A, G, W), signed="nobody", form=CREDENTIALS, reads="user", says={"email": "$email"}),
    Ask(call="POST session", by=(W,), signed="nobody", form={**CREDENTIALS, "password": "wrong"}, status=401, reads="text"),
    Ask(call="GET session", by=(A, G, W), reads="user", says={"email": "$email", "administrator": False}),
    Ask(call="POST session/token", by=(G, W), form={"expiration": "2035-01-01T00:00:00Z"}, reads="text", keeps="token"),
    Ask(call="GET session", by=(G, W), signed="nobody", query={"token": "$token"}, reads="user", says={"email": "$email"}),
    Ask(call="GET session", by=(P3,), signed="nobody", query={"token": "$bearer"}, reads="user", says={"email": "$email"}),
    Ask(call="POST session/token/revoke", by=(G, W), form={"token": "$token"}, status=204),
    Ask(call="GET session", by=(G, W), signed="nobody", query={"token": "$token"}, status=401, reads="text"),
    Ask(call="POST users/totp", by=(W,), reads="text"),
    Ask(call="GET session/{friend}", by=(W,), signed="stand-in", reads="user", says={"id": "$friend"}),
    Ask(call="POST password/reset", by=(W,), signed="nobody", form={"email": "$email"}, reads="object"),
    Ask(call="POST password/update", by=(W,), signed="nobody", form={"token": "x", "password": "y"}, status=400, reads="text"),
]  # fmt: skip

SERVER: Final = [
    Ask(call="GET server", by=EVERY, signed="nobody", reads="server", says={"registration": False}, keeps="server"),
    Ask(call="PUT server", by=(G, W), signed="admin", body="$server", reads="server"),
    Ask(call="GET server/timezones", by=(W,), reads="[text]"),
    Ask(call="GET server/geocode", by=(W,), query={"latitude": 41.5, "longitude": 2.25}, status=404, reads="text"),
    Ask(call="GET statistics", by=(A, G, W), signed="admin", query={"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"},
        reads="[statistics]"),
    Ask(call="GET audit", by=(W,), signed="admin", query={"from": "2026-01-01T00:00:00Z", "to": "2099-01-01T00:00:00Z"},
        reads="[action]"),
    Ask(call="GET ports", by=(A,), reads="[port]", says={"protocol": "osmand", "transport": "tcp"}, keeps="ports"),
    Ask(call="GET ports", by=(A,), query={"id": ["$ports.0.id"]}, reads="[port]", says={"id": "$ports.0.id"}),
]  # fmt: skip

DEVICES: Final = [
    Ask(call="GET devices", by=EVERY, reads="[device]",
        says={"id": "$van", "uniqueId": "$van_id", "status": "offline", "disabled": False, "category": "van"}),
    Ask(call="GET devices", by=(W,), query={"all": "true", "limit": 1, "offset": 0, "keyword": "$van_id", "excludeAttributes": "true"},
        reads="[device]", says={"id": "$van", "attributes": {}}),
    Ask(call="GET devices", by=(A, G, W), query={"id": ["$van"]}, reads="[device]", says={"id": "$van"}),
    Ask(call="GET devices", by=(A, G), query={"uniqueId": ["$van_id"]}, reads="[device]", says={"id": "$van"}),
    Ask(call="GET devices", by=(A, G, W), query={"userId": "$friend"}, reads="[device]", says={"id": "$van"}),
    Ask(call="GET devices/{van}", by=(W,), reads="device", says={"id": "$van"}),
    Ask(call="POST devices", by=(A, G, W), body={"name": "Bus", "uniqueId": "$new_id"}, reads="device", keeps="made",
        says={"name": "Bus", "status": "unknown", "lastUpdate": None, "positionId": 0}),
    Ask(call="POST devices", by=(W,), body={"name": "Again", "uniqueId": "$new_id"}, status=400, reads="text"),
    Ask(call="PUT devices/{made.id}", by=(A, G, W), body="$made", reads="device", says={"name": "Bus", "status": "unknown"}),
    Ask(call="PUT devices/{made.id}/accumulators", by=(G, W), body={"deviceId": "$made.id", "totalDistance": 5000.0, "hours": 60},
        status=204),
    Ask(call="POST devices/{made.id}/image", by=(W,), upload=PIXEL, headers={"Content-Type": "image/png"}, reads="text"),
    Ask(call="DELETE devices/{made.id}", by=(A, G, W), status=204),
    Ask(call="DELETE devices/{made.id}", by=(W,), status=404, reads="text"),
]  # fmt: skip

POSITIONS: Final = [
    Ask(call="GET positions", by=EVERY, reads="[position]", keeps="latest",
        says={"deviceId": "$van", "speed": 19.4384, "latitude": 41.51, "attributes.motion": False}),
    Ask(call="GET positions", by=(A, W), query={"deviceId": "$van"}, reads="[position]", says={"deviceId": "$van"}),
    Ask(call="GET positions", by=(A, G, W), query=OF_VAN, reads="[position]",
        says={"fixTime": "2026-01-02T08:00:00.000Z", "latitude": 41.5, "attributes.totalDistance": 1000.0}),
    Ask(call="GET positions", by=(G, W), query={"id": ["$latest.0.id"]}, reads="[position]", says={"id": "$latest.0.id"}),
    Ask(call="GET positions", by=(W,), query={"deviceId": "$van", "from": "yesterday", "to": "now"}, status=400, reads="text"),
    Ask(call="GET positions/csv", by=(W,), query=OF_VAN, reads="text", begins=b"deviceId,"),
    Ask(call="GET positions/gpx", by=(W,), query=OF_VAN, reads="text", begins=b"<?xml"),
    Ask(call="GET positions/kml", by=(W,), query=OF_VAN, reads="text", begins=b"<?xml"),
    Ask(call="GET events/{event}", by=(G, W), reads="event", says={"id": "$event", "type": "geofenceEnter", "geofenceId": "$yard"}),
]  # fmt: skip

REPORTS: Final = [
    Ask(call="GET reports/route", by=(G, W), query=OF_VAN, headers=JSON, reads="[position]", says={"deviceId": "$van"}),
    Ask(call="GET reports/events", by=(P, P3), query={**OF_VAN, "groupId": ["$group"], "type": ["geofenceEnter", "alarm"]},
        reads="[event]", says={"id": "$event"}),
    Ask(call="GET reports/events", by=(P, P3, G, W), query={**OF_VAN, "type": "allEvents"}, headers=JSON, reads="[event]",
        says={"id": "$event", "eventTime": "2026-01-02T08:10:00.000Z", "positionId": 0}),
    Ask(call="GET reports/trips", by=(G, W), query=OF_VAN, headers=JSON, reads="[trip]",
        says={"deviceName": "Van", "distance": 30_000.0, "averageSpeed": 32.3974, "maxSpeed": 48.59611, "duration": 1_800_000,
              "startOdometer": 1_000.0, "spentFuel": 2.5}),
    Ask(call="GET reports/stops", by=(G, W), query=OF_VAN, headers=JSON, reads="[stop]",
        says={"duration": 1_800_000, "engineHours": 600_000}),
    Ask(call="GET reports/summary", by=(G, W), query=OF_VAN, headers=JSON, reads="[summary]",
        says={"deviceId": "$van", "distance": 30_000.0, "spentFuel": 2.5}),
    Ask(call="GET reports/summary", by=(G, W), query={**OF_VAN, "daily": "true"}, headers=JSON, reads="[summary]"),
    Ask(call="GET reports/geofences", by=(W,), query={**OF_VAN, "geofenceId": ["$yard"]}, headers=JSON, reads="[visit]",
        says={"geofenceId": "$yard", "startTime": "2026-01-02T08:10:00.000Z"}),
    Ask(call="GET reports/combined", by=(W,), query={**OF_VAN, "groupId": ["$group"]}, headers=JSON, reads="[combined]",
        says={"route": [[2.25, 41.5], [2.25, 41.51]]}),
    *(Ask(call=f"GET reports/{name}", by=(W,), query=OF_VAN, headers={"Accept": XLSX}, reads="text", begins=b"PK")
      for name in ("route", "events", "trips", "stops", "summary", "geofences")),
    *(Ask(call=f"GET reports/{name}/xlsx", by=(W,), query=OF_VAN, reads="text", begins=b"PK")
      for name in ("route", "trips", "devices")),
    Ask(call="GET reports/trips/mail", by=(W,), query=OF_VAN, status=409, reads="text"),
    *life("reports", "saved report", {"type": "trips", "description": "rides", "calendarId": "$calendar", "attributes": {}},
          {"description": "all rides"}, (W,)),
]  # fmt: skip

OBJECTS: Final = [
    *(Ask(call=f"GET {path}", by=(W,), reads="list") for path in AT_START),
    Ask(call="GET geofences", by=(P, P3, W), reads="[geofence]", says={"id": "$yard"}),
    *life("geofences", "geofence", {"name": "Depot", "description": "", "area": "CIRCLE (41.5 2.25, 100.0)", "attributes": {}},
          {"area": "POLYGON ((41.5 2.25, 41.6 2.25, 41.6 2.35, 41.5 2.25))"}, (G, W)),
    Ask(call="POST geofences", by=(W,), body={"name": "Way", "area": "LINESTRING (41.5 2.25, 41.6 2.35)"}, reads="geofence",
        says={"area": "LINESTRING (41.5 2.25, 41.6 2.35)"}),
    Ask(call="POST geofences", by=(W,), body={"name": "Nowhere", "area": "CIRCLE (95 2.25, 100)"}, status=400, reads="text"),
    Ask(call="POST groups", by=(A, G, W), body={"name": "North"}, reads="group", says={"name": "North", "groupId": 0}, keeps="made"),
    Ask(call="GET groups", by=(A, G, W), reads="[group]"),
    Ask(call="GET groups", by=(A,), query={"user_ids": ["$friend"]}, reads="[group]"),
    Ask(call="GET groups/{made.id}", by=(A, W), reads="group", says={"name": "North"}),
    Ask(call="PUT groups/{made.id}", by=(A, G, W), body="$made", reads="group", says={"name": "North"}),
    Ask(call="DELETE groups/{made.id}", by=(G, W), status=204),
    Ask(call="POST drivers", by=(A, G, W), body={"name": "Ana", "uniqueId": "card-9"}, reads="driver", keeps="made"),
    Ask(call="GET drivers", by=(A, G, W), query={"id": ["$made.id"], "refresh": "true"}, reads="[driver]", says={"name": "Ana"}),
    Ask(call="GET drivers/{made.id}", by=(A, W), reads="driver", says={"uniqueId": "card-9"}),
    Ask(call="POST permissions", by=(A, W), body={"deviceId": "$van|text", "driverId": "$made.id"}, status=204),
    Ask(call="GET drivers", by=(W,), query={"deviceId": "$van"}, reads="[driver]", says={"id": "$made.id"}),
    Ask(call="DELETE permissions", by=(A, W), body={"deviceId": "$van|text", "driverId": "$made.id"}, status=204),
    Ask(call="PUT drivers/{made.id}", by=(A, G, W), body="$made", reads="driver"),
    Ask(call="DELETE drivers/{made.id}", by=(A, G, W), status=204),
    *life("maintenance", "maintenance", {"name": "Oil", "type": "totalDistance", "start": 0.0, "period": 1e7, "attributes": {}},
          {"period": 2e7}, (G, W)),
    *life("calendars", "calendar", {"name": "Weeks", "data": CALENDAR, "attributes": {}}, {"name": "Days off"}, (G, W)),
    *life("attributes/computed", "computed attribute", KMH, {"expression": "speed * 2"}, (G, W)),
    Ask(call="POST attributes/computed/test", by=(W,), query={"deviceId": "$van"}, body=KMH, reads="text", begins=b"36"),
]  # fmt: skip

COMMANDS: Final = [
    *life("commands", "command", {"description": "stop", "type": "engineStop", "attributes": {}}, {"description": "halt"}, (G, W)),
    Ask(call="GET commands/types", by=(G, W), query={"deviceId": "$van"}, reads="[kind]"),
    Ask(call="GET commands/send", by=(G, W), query={"deviceId": "$van"}, reads="list"),
    Ask(call="POST commands/send", by=(G, W), body={"deviceId": "$van", "type": "custom", "attributes": {"data": "version"}},
        status=202, reads="command", says={"deviceId": "$van", "type": "custom"}),
    *life("notifications", "notification", RULE, {"description": "help"}, (G, W)),
    Ask(call="GET notifications/types", by=(G, W), reads="[kind]"),
    Ask(call="GET notifications/notificators", by=(W,), reads="[kind]"),
    Ask(call="POST notifications/test/web", by=(W,), status=204),
    Ask(call="POST notifications/test", by=(G, W), status=400, reads="text"),
    Ask(call="GET notifications/notificators", by=(W,), query={"announcement": "true"}, reads="list"),
    Ask(call="POST notifications/send/mail", by=(W,), query={"userId": ["$friend"]}, body={"subject": "Hello", "body": "all"},
        status=400, reads="text"),
]  # fmt: skip

PEOPLE: Final = [
    Ask(call="GET users", by=(A, G, W), reads="[user]"),
    Ask(call="GET users/{friend}", by=(A, W), reads="user", says={"id": "$friend"}),
    Ask(call="POST users", by=(G, W), body={"name": "Eva", "email": "$new_email", "password": "$password"}, reads="user",
        says={"email": "$new_email", "administrator": False}, keeps="made"),
    Ask(call="PUT users/{made.id}", by=(G, W), body="$made", reads="user", says={"email": "$new_email"}),
    Ask(call="POST permissions", by=(A,), body={"userId": "$friend", "deviceId": "$van|text"}, status=204),
    Ask(call="DELETE permissions", by=(A,), body={"userId": "$friend", "deviceId": "$van|text"}, status=204),
    Ask(call="POST permissions", by=(G, W), body={"userId": "$made.id", "deviceId": "$van"}, status=204),
    Ask(call="DELETE permissions", by=(G, W), body={"deviceId": "$van", "userId": "$made.id"}, status=204),
    Ask(call="POST permissions/bulk", by=(W,), body=[{"userId": "$made.id", "deviceId": "$van"}], status=204),
    Ask(call="DELETE permissions/bulk", by=(W,), body=[{"userId": "$made.id", "deviceId": "$van"}], status=204),
    Ask(call="DELETE users/{made.id}", by=(G, W), status=204),
    Ask(call="POST share/device", by=(W,), form={"deviceId": "$van", "expiration": "$soon"}, reads="text", keeps="share"),
    Ask(call="GET devices", by=(W,), signed="nobody", query={"token": "$share"}, reads="[device]", says={"id": "$van"}),
    Ask(call="POST share/group", by=(W,), form={"groupId": "$group", "expiration": "$soon"}, reads="text"),
]  # fmt: skip

AT_LAST: Final = [
    Ask(call="DELETE positions/{latest.0.id}", by=(G, W), status=204),
    Ask(call="DELETE positions", by=(A, G, W), query={"deviceId": "$van", **PERIOD}, status=204),
    Ask(call="GET positions", by=(A, G, W), query=OF_VAN, reads="[]"),
    Ask(call="DELETE session", by=(P, P3, A, G, W), signed="leaver", status=204),
    Ask(call="GET devices", by=(W,), signed="leaver", status=401, reads="text"),
]  # fmt: skip

TOPICS: Final = {
    "Signing in": SESSION, "Server": SERVER, "Trackers": DEVICES, "Positions and events": POSITIONS, "Reports": REPORTS,
    "Geofences, groups, drivers, maintenance, calendars, computed attributes": OBJECTS, "Commands and notifications": COMMANDS,
    "People, permissions, share links": PEOPLE, "Removing, and going": AT_LAST,
}  # fmt: skip

ON_THE_ROAD: Final = [
    ("GET :5055/?id&timestamp&lat&lon&altitude&speed&bearing&batt", "Traccar Client, OsmAnd",
     {"params": {"id": "$van_id", "timestamp": 1767600000, "lat": 41.6, "lon": 2.3, "altitude": 120, "speed": 10, "bearing": 90, "batt": 81}},
     {"fixTime": "2026-01-05T08:00:00.000Z", "latitude": 41.6, "longitude": 2.3, "altitude": 120.0, "speed": 10.0, "course": 90.0,
      "attributes.batteryLevel": 81.0}),
    ("POST :5055/ (form)", "mesh2traccar, Traccar Client",
     {"data": {"deviceid": "$van_id", "timestamp": 1767600060, "lat": 41.61, "lon": 2.3, "speed": 10, "rain": "true"}},
     {"fixTime": "2026-01-05T08:01:00.000Z", "latitude": 41.61, "attributes.rain": True}),
    ("POST :5055/ (JSON)", "Traccar Client 9",
     {"json": {"device_id": "$van_id", "location": {
         "timestamp": "2026-01-05T08:02:00.000Z", "coords": {"latitude": 41.62, "longitude": 2.3, "accuracy": 5, "speed": 10,
                                                            "heading": 180, "altitude": 99},
         "battery": {"level": 0.55}}}},
     {"fixTime": "2026-01-05T08:02:00.000Z", "latitude": 41.62, "speed": 19.4384, "course": 180.0, "accuracy": 5.0,
      "attributes.batteryLevel": 55.0}),
]  # fmt: skip
"""What phones send, and how its fix is answered: call, by whom, request, what the latest position then says."""
