"""OwnTracks: JSON objects with a ``_type``, published by MQTT or posted by HTTP.

Source: https://owntracks.org/booklet/tech/json (types and elements), /tech/http (HTTP mode), /features/encrypt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

import msgspec

from tracker_protocols.json.mapping import number, put
from tracker_protocols.model import (
    Attributes,
    BadFrame,
    Cell,
    CommandResult,
    DeviceKey,
    Fix,
    Frame,
    Heartbeat,
    HttpRequest,
    Message,
    Network,
    Reason,
    Reply,
    Report,
)
from tracker_protocols.owntracks.sealing import opened
from tracker_protocols.wire.decoder import (
    PUBLISH,
    UNREADABLE,
    Decoded,
    HttpDecoder,
    request_bytes,
    target_of,
    topic_of,
)
from tracker_protocols.wire.fields import MPS_PER_KMH, check_place, device_key, moment_from_ms

STORED: Final = Reply(b"[]", 200)
"""The app expects a JSON array: commands and friends for it, of which we have none."""

SECONDS_MAX: Final = 4_000_000_000  # the year 2096: what is later goes the general way
TOO_MUCH: Final = 1e300  # no measurement; as ``number`` has it
OBJECTS_MAX: Final = 1_000  # in an array: what a phone gathered in a day without a network
WAYPOINTS_MAX: Final = 500
LEVELS_OF_A_DEVICE: Final = 3  # owntracks/user/device; what follows names the kind of message

# what the server names itself, or what is no measurement
NOT_ATTRIBUTES: Final = frozenset(
    {"_type", "_id", "lat", "lon", "tst", "acc", "alt", "vel", "cog", "batt", "bs", "t", "tid", "topic", "created_at"}
    | {"mcc", "mnc", "lac", "cid", "_cp", "_http"}
)  # fmt: skip
NAMES: Final = {"vac": "verticalAccuracy", "p": "pressure", "conn": "connection", "poi": "poi"}
CHARGING: Final = {1: False, 2: True, 3: True}  # bs: unplugged, charging, full
CROSSINGS: Final = {"enter": "geofenceEnter", "leave": "geofenceExit"}
ASKED_FOR: Final = "r"  # t: a location that a command has asked for
TRIGGERS: Final = {"I": ("ignition", False), "i": ("ignition", True)}

_from_seconds = datetime.fromtimestamp
_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder(order="deterministic").encode

Object = dict[str, Any]


class OwntracksDecoder(HttpDecoder):
    """Every object is of one device: by ``topic`` in it, the topic or headers it came with, or ``tid``.

    ``keys`` are the operator's, by device, or under an empty name for all: set once when a program starts.
    """

    name: ClassVar[str] = "owntracks"
    keys: ClassVar[Mapping[str, bytes]] = {}

    def __init__(self, device: DeviceKey | None = None) -> None:
        super().__init__(device)
        self._topic = ""  # of the last publish; what it says is worked out once
        self._head = b""
        self._beside: DeviceKey | None = None

    def receive_publish(self, topic: str, payload: bytes, received_at: datetime) -> list[Frame]:
        """As a request; a location, which is nearly all that comes, without the ways round that others need."""
        if topic != self._topic:
            self._head = request_bytes(HttpRequest(PUBLISH, target_of(topic), {}, b""))
            try:
                self._beside = device_of(topic) or self.device
            except BadFrame:
                self._beside = None
            self._topic = topic
        if self._beside is not None:
            try:
                tree = _read(payload)
                if type(tree) is dict and tree.get("_type") == "location" and "topic" not in tree:
                    return [Frame(self._head + payload, _location(tree, self._beside, payload))]
            except (BadFrame, msgspec.MsgspecError, RecursionError, *UNREADABLE):
                pass  # the general way says what is wrong
        return super().receive_publish(topic, payload, received_at)

    def decode_request(self, request: HttpRequest, received_at: datetime) -> Decoded:
        beside = self._named_beside(request)
        if not request.body:
            return Heartbeat(beside, reply=STORED)
        tree = _parse(request.body)
        if isinstance(tree, list):
            if len(tree) > OBJECTS_MAX:
                raise BadFrame(Reason.TOO_LONG, f"{len(tree)} objects")
            messages = [message for one in tree for message in self._messages(one, _write(one), beside)]
        else:
            messages = self._messages(tree, request.body, beside)
        if request.method == PUBLISH:
            return messages or Heartbeat(beside)  # there is no answer but that it is stored
        if not messages:
            return Heartbeat(beside, reply=STORED)
        return [*messages[:-1], msgspec.structs.replace(messages[-1], reply=STORED)]

    def _named_beside(self, request: HttpRequest) -> DeviceKey | None:
        """The device, by the topic of a publish, or by what the app says in HTTP mode beside the object."""
        if request.method == PUBLISH:
            return device_of(topic_of(request.target)) or self.device
        user, device = request.headers.get("x-limit-u"), request.headers.get("x-limit-d")
        if not (user and device):
            query = parse_qs(request.target.partition("?")[2])
            user, device = query.get("u", [""])[0], query.get("d", [""])[0]
        return device_key(f"owntracks/{user}/{device}") if user and device else self.device

    def _messages(self, tree: Any, record: bytes, beside: DeviceKey | None) -> Sequence[Message]:
        if not isinstance(tree, dict):
            raise BadFrame(Reason.MALFORMED, "no object")
        kind = tree.get("_type")
        if kind == "encrypted":
            tree = self._decrypted(tree, beside)
            kind = tree.get("_type")
        device = _device(tree, beside)
        read = KINDS.get(kind) if isinstance(kind, str) else None
        if read is None:
            raise BadFrame(Reason.UNKNOWN_KIND, f"_type {str(kind)[:40]!r}")
        return read(tree, device, record)

    def _decrypted(self, tree: Object, beside: DeviceKey | None) -> Object:
        """The object inside."""
        key = self.keys.get(beside or "") or self.keys.get("")
        if not key:
            raise BadFrame(Reason.NO_DEVICE, f"encrypted, and no key is set for {beside or 'it'}")
        inner = _parse(opened(tree.get("data", ""), key))
        if not isinstance(inner, dict) or inner.get("_type") == "encrypted":
            raise BadFrame(Reason.MALFORMED, "no object in the encrypted payload")
        return inner


@lru_cache(maxsize=10_000)
def device_of(topic: str) -> DeviceKey | None:
    """``owntracks/user/device`` of a topic of that shape, whatever stands for ``owntracks``."""
    levels = topic.split("/")
    if len(levels) < LEVELS_OF_A_DEVICE:
        return None
    return device_key("/".join(levels[:LEVELS_OF_A_DEVICE]))


def _parse(data: bytes) -> Any:
    try:
        return _read(data)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise BadFrame(Reason.MALFORMED, f"JSON: {str(error)[:120]}") from None


def _device(tree: Object, beside: DeviceKey | None) -> DeviceKey:
    topic = tree.get("topic")
    if isinstance(topic, str) and topic:
        return device_of(topic) or device_key(topic)
    if beside:
        return beside
    tid = tree.get("tid")
    if isinstance(tid, str) and tid:
        return device_key(tid)
    raise BadFrame(Reason.NO_DEVICE, "neither topic nor tid")


def _told_at(tree: Object) -> datetime:
    told = tree.get("tst")
    seconds = number(told)
    if seconds is None:
        raise BadFrame(Reason.NO_SUCH_MOMENT, f"tst: {str(told)[:40]!r} is no time")
    return moment_from_ms(round(seconds * 1000))


def _fix(tree: Object) -> Fix | None:
    """Written out, for it is most of what a publish costs: a call for each number would cost as much again."""
    get = tree.get
    latitude, longitude, told = get("lat"), get("lon"), get("tst")
    altitude, speed, course, accuracy = get("alt"), get("vel"), get("cog"), get("acc")
    if type(latitude) is not float or type(longitude) is not float:
        latitude, longitude = number(latitude), number(longitude)
        if latitude is None or longitude is None:
            return None
    if not (-90.0 <= latitude <= 90.0 and -180.0 <= longitude <= 180.0):
        check_place(latitude, longitude)
    if not (type(speed) is int and 0 <= speed < TOO_MUCH):
        speed = _positive(speed)
    if not (type(course) is int and 0 <= course < TOO_MUCH):
        course = _positive(course)
    if not (type(accuracy) is int and 0 <= accuracy < TOO_MUCH):
        accuracy = _positive(accuracy)
    if not (type(altitude) is int and -TOO_MUCH < altitude < TOO_MUCH):
        altitude = None if altitude is None else number(altitude)
    return Fix(
        _from_seconds(told, UTC) if type(told) is int and 0 <= told < SECONDS_MAX else _told_at(tree),
        latitude,
        longitude,
        True,
        altitude,
        None if speed is None else speed * MPS_PER_KMH,
        course,
        accuracy,
    )


def _positive(value: Any) -> float | None:
    if type(value) is int or type(value) is float:
        return value if 0 <= value < TOO_MUCH else None
    read = None if value is None else number(value)
    return None if read is None or read < 0 else read


def _attributes(tree: Object) -> Attributes:
    found: Attributes = {}
    for name in tree:
        if name not in NOT_ATTRIBUTES:
            put(found, NAMES.get(name, name), tree[name])
    get = tree.get
    level, charging, trigger = get("batt"), get("bs"), get("t")
    if level is not None and (level := _positive(level)) is not None:
        found["batteryLevel"] = level
    if charging is not None and isinstance(charging, int) and charging in CHARGING:
        found["charge"] = CHARGING[charging]
    if trigger is not None and isinstance(trigger, str) and trigger:
        found["event"] = trigger[:64]
        if trigger in TRIGGERS:
            name, state = TRIGGERS[trigger]
            found[name] = state
    return found


def _network(tree: Object) -> Network | None:
    """The cell that a tracker names; area and cell are hexadecimal text or numbers."""
    try:
        parts = [
            int(value, 16) if isinstance(value, str) else int(value) for value in (tree["lac"], tree["cid"])
        ]
        return Network((Cell(int(tree["mcc"]), int(tree["mnc"]), *parts),))
    except (KeyError, ValueError, TypeError, OverflowError):
        return None


# --------------------------------------------------------------------------------- one function for each _type


def _location(tree: Object, device: DeviceKey, record: bytes) -> tuple[Message, ...]:
    fix = _fix(tree)
    if fix is None:
        raise BadFrame(Reason.MALFORMED, "lat, lon: a location without a place")
    network = _network(tree) if "mcc" in tree else None
    report = Report(device, fix, _attributes(tree), record, network)
    if tree.get("t") == ASKED_FOR:
        return report, CommandResult(device, {"result": "location"}, record, fix.fixed_at)
    return (report,)


def _transition(tree: Object, device: DeviceKey, record: bytes) -> list[Message]:
    """The phone crossed the edge of a region of its own."""
    fix = _fix(tree)
    attributes: Attributes = {}
    put(attributes, "geofence", tree.get("desc"))
    put(attributes, "event", tree.get("event"))
    alarm = CROSSINGS.get(str(tree.get("event")))
    if alarm is None:
        raise BadFrame(Reason.MALFORMED, f"event: {str(tree.get('event'))[:40]!r} is neither enter nor leave")
    attributes["alarm"] = alarm
    return [Report(device, fix, attributes, record, None, None if fix else _told_at(tree))]


def _waypoint(tree: Object, device: DeviceKey, record: bytes) -> list[Message]:
    """A region as it is defined on the phone: where that is, not where the phone is."""
    attributes: Attributes = {}
    for name, as_name in (("desc", "waypoint"), ("lat", "waypointLatitude"), ("lon", "waypointLongitude"), ("rad", "waypointRadius")):  # fmt: skip
        put(attributes, as_name, tree.get(name))
    return [Report(device, None, attributes, record, None, _told_at(tree))]


def _waypoints(tree: Object, device: DeviceKey, _record: bytes) -> list[Message]:
    inner = tree.get("waypoints")
    if not isinstance(inner, list) or len(inner) > WAYPOINTS_MAX:
        raise BadFrame(Reason.MALFORMED, "waypoints: no array, or one that is too long")
    return [
        message
        for one in inner
        if isinstance(one, dict) and one.get("tst") is not None
        for message in _waypoint(one, device, _write(one))
    ] or [Heartbeat(device)]


def _lost(_tree: Object, device: DeviceKey, record: bytes) -> list[Message]:
    """The last will: ``tst`` is when the phone had connected, so this is dated by its receipt."""
    return [Report(device, None, {"status": "offline"}, record)]


def _measured(tree: Object, device: DeviceKey, record: bytes) -> list[Message]:
    """Steps, a beacon: measurements beside any place."""
    attributes = _attributes({**tree, "t": None})
    told_at = _told_at(tree) if number(tree.get("tst")) is not None else None
    if not attributes:
        return [Heartbeat(device)]
    return [Report(device, None, attributes, record, None, told_at)]


def _status(tree: Object, device: DeviceKey, record: bytes) -> list[Message]:
    """What the phone answers when it is asked how it is."""
    attributes = {"result": "status", **_attributes({**tree, "t": None})}
    told_at = _told_at(tree) if number(tree.get("tst")) is not None else None
    return [CommandResult(device, attributes, record, told_at)]


def _alive(_tree: Object, device: DeviceKey, _record: bytes) -> list[Message]:
    """Commands, cards, configurations: not ours to store."""
    return [Heartbeat(device)]


KINDS: Final[dict[str, Callable[[Object, DeviceKey, bytes], Sequence[Message]]]] = {
    "location": _location,
    "transition": _transition,
    "waypoint": _waypoint,
    "waypoints": _waypoints,
    "lwt": _lost,
    "status": _status,
    "steps": _measured,
    "beacon": _measured,
    "card": _alive,
    "cmd": _alive,
    "configuration": _alive,
    "dump": _alive,
    "request": _alive,
}
