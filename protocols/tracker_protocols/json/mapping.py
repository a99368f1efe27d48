"""Somebody else's JSON as fixes, by a table of where everything stands in it (JMESPath, https://jmespath.org)."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from tracker_protocols.model import (
    Attributes,
    BadFrame,
    CommandResult,
    DeviceKey,
    Fix,
    Heartbeat,
    Message,
    Reason,
    Reply,
    Report,
    Undecoded,
)
from tracker_protocols.wire.decoder import UNREADABLE, Decoded
from tracker_protocols.wire.fields import (
    MPS_PER_KMH,
    MPS_PER_KNOT,
    check_place,
    device_key,
    moment_from_ms,
)

Getter = Callable[[Any], Any]

RECORDS_MAX: Final = 5_000  # a logger's store of several days
RESULT: Final = "result"  # an attribute without a place: the answer to a command
ATTRIBUTES_MAX: Final = 200
TEXT_CHARACTERS_MAX: Final = 512
MILLISECONDS_FROM: Final = 100_000_000_000  # as seconds the year 5138, as milliseconds March 1973
SPEEDS: Final = {"m/s": 1.0, "km/h": MPS_PER_KMH, "mph": 0.44704, "kn": MPS_PER_KNOT}
METRES: Final = {"m": 1.0, "ft": 0.3048}
PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder(order="deterministic").encode


class MappingError(Exception):
    """A mapping that cannot be used. The message names the field, the path and the cure."""


class Mapping(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the parts of a report stand in JSON: JMESPath expressions, looked for in the record, then in the whole
    payload. ``attributes`` (a table) gives attributes their paths by name.
    """

    records: Annotated[str, Meta(description="the record, or an array of them; @ is the whole payload")] = "@"
    only: Annotated[
        str, Meta(description="where this is null, false or empty, the record is a mere sign of life")
    ] = ""
    identity: Annotated[
        str, Meta(description="what makes a report the same one when it is sent again; empty: all of it")
    ] = ""
    device: Annotated[str, Meta(description="who it is; empty: as the topic or the connection says")] = ""
    time: Annotated[str, Meta(description="when; empty: at its receipt")] = ""
    time_format: Annotated[
        str, Meta(description="auto, unix, unix_ms, iso, or a pattern such as %d.%m.%Y %H:%M:%S; without a zone UTC")
    ] = "auto"  # fmt: skip
    latitude: Annotated[str, Meta(description="degrees north")] = ""
    longitude: Annotated[str, Meta(description="degrees east")] = ""
    degrees_scale: Annotated[
        float, Meta(description="what both are multiplied by, such as 1e-7 where they are whole numbers")
    ] = 1.0
    valid: Annotated[str, Meta(description="whether the receiver has a fix; empty: always")] = ""
    altitude: Annotated[str, Meta(description="above sea level")] = ""
    altitude_unit: Annotated[Literal["m", "ft"], Meta(description="of the altitude")] = "m"
    speed: Annotated[str, Meta(description="over ground")] = ""
    speed_unit: Annotated[Literal["m/s", "km/h", "mph", "kn"], Meta(description="of the speed")] = "m/s"
    course: Annotated[str, Meta(description="degrees clockwise from north")] = ""
    accuracy: Annotated[str, Meta(description="metres, as a radius")] = ""
    others: Annotated[
        str, Meta(description="an object whose other members become attributes under their own names")
    ] = ""
    attributes: dict[str, str] = field(default_factory=dict)


def message_of(
    device: DeviceKey,
    fix: Fix | None,
    attributes: Attributes,
    same: bytes,
    told_at: datetime | None,
    reply: Reply | None,
) -> Message:
    """What a record means once it is read: a report, the answer to a command, or a sign of life. ``same``: the bytes that
    it is known again by.
    """
    if fix is None and not attributes:
        return Heartbeat(device, reply=reply)
    if fix is None and RESULT in attributes:
        return CommandResult(device, attributes, same, told_at, reply)
    return Report(device, fix, attributes, same, None, None if fix else told_at, reply)


class Compiled:
    """A mapping made ready. Raises MappingError where an expression is none."""

    def __init__(self, mapping: Mapping, name: str = "mapping") -> None:
        self.mapping = mapping
        self._name = name
        if mapping.time_format not in {"auto", "unix", "unix_ms", "iso"} and "%" not in mapping.time_format:
            raise MappingError(
                f"{name}.time_format: {mapping.time_format!r} is none; write auto, unix, unix_ms, iso, "
                "or a pattern such as %Y-%m-%d %H:%M:%S"
            )
        if not isfinite(mapping.degrees_scale) or not mapping.degrees_scale:
            raise MappingError(f"{name}.degrees_scale: write what a number is multiplied by, such as 1e-7")
        for one in ("latitude", "longitude"):
            if not getattr(mapping, one):
                raise MappingError(f"{name}.{one}: is empty; write the path of it, such as gps.{one[:3]}")
        get = {
            key: self._compile(key, getattr(mapping, key))
            for key in (
                "records",
                "only",
                "identity",
                "device",
                "time",
                "latitude",
                "longitude",
                "valid",
                "altitude",
                "speed",
                "course",
                "accuracy",
                "others",
            )
            if getattr(mapping, key)
        }
        self._get = get
        self._attributes = {
            key: self._compile(f"attributes.{key}", path) for key, path in mapping.attributes.items()
        }
        self._records = None if mapping.records == "@" else get["records"]
        used = [getattr(mapping, key) for key in get if key not in {"records", "others"}]
        self._taken = frozenset(NAME.findall(" ".join([*used, *mapping.attributes.values()])))

    def _compile(self, field_name: str, path: str) -> Getter:
        if PLAIN.fullmatch(path):
            return _plain(path)
        import jmespath
        from jmespath.exceptions import JMESPathError

        try:
            return jmespath.compile(path).search
        except JMESPathError as error:
            raise MappingError(
                f"{self._name}.{field_name}: {path!r} is no JMESPath: {str(error).splitlines()[0]}"
            ) from None

    # ------------------------------------------------------------------ one payload

    def decode(
        self, payload: bytes, fallback: DeviceKey | None, received_at: datetime, reply: Reply | None
    ) -> Decoded:
        """All reports of a payload. In an array what cannot be read is kept, and does not stop the rest."""
        try:
            root = _read(payload)
        except (msgspec.MsgspecError, RecursionError, ValueError) as error:
            raise BadFrame(Reason.MALFORMED, f"JSON: {str(error)[:120]}") from None
        records = self._all(root)
        if len(records) > RECORDS_MAX:
            raise BadFrame(Reason.TOO_LONG, f"{len(records)} records")
        if len(records) == 1:
            return self._message(records[0], root, fallback, received_at, reply)
        messages: list[Message] = []
        for number, record in enumerate(records):
            owed = reply if number + 1 == len(records) else None
            try:
                messages.append(self._message(record, root, fallback, received_at, owed))
            except BadFrame as bad:
                messages.append(Undecoded(_bytes(record), bad.reason, bad.detail, fallback, owed))
            except UNREADABLE as error:
                messages.append(Undecoded(_bytes(record), Reason.MALFORMED, str(error)[:200], fallback, owed))
        return messages or Heartbeat(fallback, reply=reply)

    def _all(self, root: Any) -> list[Any]:
        found = root if self._records is None else self._records(root)
        if isinstance(found, list):
            return found
        if found is None:
            raise BadFrame(Reason.MALFORMED, f"records (path {self.mapping.records!r}): nothing is there")
        if not isinstance(found, dict):
            at = "JSON" if self._records is None else f"records (path {self.mapping.records!r})"
            raise BadFrame(Reason.MALFORMED, f"{at}: {str(found)[:60]!r} is no object, nor an array of them")
        return [found]

    def _find(self, name: str, record: Any, root: Any) -> Any:
        get = self._get.get(name)
        if get is None:
            return None
        try:
            value = get(record)
            return get(root) if value is None and root is not record else value
        except Exception as error:  # noqa: BLE001  (jmespath's functions raise many kinds; the payload is to blame)
            raise BadFrame(
                Reason.MALFORMED, f"{name} (path {getattr(self.mapping, name)!r}): {str(error)[:120]}"
            ) from None

    def _message(
        self, record: Any, root: Any, fallback: DeviceKey | None, received_at: datetime, reply: Reply | None
    ) -> Message:
        device = self._device(record, root, fallback)
        if "only" in self._get and not self._find("only", record, root):
            return Heartbeat(device, reply=reply)
        told_at = self._moment(record, root)
        fix = self._fix(record, root, told_at or received_at)
        attributes = self._attributes_of(record, root)
        identity = self._find("identity", record, root)
        same = _bytes(record if identity is None else identity)
        return message_of(device, fix, attributes, same, told_at, reply)

    def _device(self, record: Any, root: Any, fallback: DeviceKey | None) -> DeviceKey:
        value = self._find("device", record, root)
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return device_key(str(value))
        if fallback is None:
            at = f" at {self.mapping.device!r}" if self.mapping.device else ""
            raise BadFrame(Reason.NO_DEVICE, f"device: the payload names none{at}")
        return fallback

    def _moment(self, record: Any, root: Any) -> datetime | None:
        value = self._find("time", record, root)
        if value is None or value == "":
            return None
        try:
            return moment_of(value, self.mapping.time_format)
        except (ValueError, OverflowError, TypeError):
            raise BadFrame(
                Reason.NO_SUCH_MOMENT,
                f"time (path {self.mapping.time!r}): {str(value)[:60]!r} is no moment in the time_format "
                f"{self.mapping.time_format!r}",
            ) from None

    def _fix(self, record: Any, root: Any, fixed_at: datetime) -> Fix | None:
        latitude = self._number("latitude", record, root)
        longitude = self._number("longitude", record, root)
        if latitude is None and longitude is None:
            return None
        if latitude is None or longitude is None:
            lost = "latitude" if latitude is None else "longitude"
            raise BadFrame(
                Reason.MALFORMED, f"{lost} (path {getattr(self.mapping, lost)!r}): nothing is there"
            )
        mapping = self.mapping
        if mapping.degrees_scale != 1:
            latitude = round(latitude * mapping.degrees_scale, 9)
            longitude = round(longitude * mapping.degrees_scale, 9)
        check_place(latitude, longitude)
        if latitude == 0 and longitude == 0:
            return None  # so trackers write that they have none
        get = self._get
        speed = self._number("speed", record, root) if "speed" in get else None
        altitude = self._number("altitude", record, root) if "altitude" in get else None
        course = self._number("course", record, root) if "course" in get else None
        return Fix(
            fixed_at,
            latitude,
            longitude,
            self._valid(record, root) if "valid" in get else True,
            None if altitude is None else altitude * METRES[mapping.altitude_unit],
            None if speed is None or speed < 0 else speed * SPEEDS[mapping.speed_unit],
            None if course is None or course < 0 else course,
            self._number("accuracy", record, root) if "accuracy" in get else None,
        )

    def _valid(self, record: Any, root: Any) -> bool:
        value = self._find("valid", record, root)
        if isinstance(value, str):
            return value.strip().lower() not in {"", "0", "false", "no", "v", "off", "none"}
        return value is None or bool(value)

    def _number(self, name: str, record: Any, root: Any) -> float | None:
        value = self._find(name, record, root)
        if value is None or value == "":
            return None
        read = number(value)
        if read is None:
            path = getattr(self.mapping, name)
            raise BadFrame(Reason.MALFORMED, f"{name} (path {path!r}): {str(value)[:60]!r} is no number")
        return read

    def _attributes_of(self, record: Any, root: Any) -> Attributes:
        found: Attributes = {}
        for name, get in self._attributes.items():
            put(found, name, _gently(get, record, root))
        others = self._find("others", record, root)
        if isinstance(others, dict):
            for name, value in others.items():
                if name not in self._taken and name not in found:
                    put(found, name, value)
        return found


def _gently(get: Getter, record: Any, root: Any) -> Any:
    """An attribute that cannot be had is not worth the fix."""
    with contextlib.suppress(Exception):
        value = get(record)
        return get(root) if value is None and root is not record else value


def _plain(path: str) -> Getter:
    """A path of names only, many times faster than in general."""
    names = path.split(".")
    if len(names) == 1:
        name = names[0]
        return lambda node: node.get(name) if isinstance(node, dict) else None

    def get(node: Any) -> Any:
        for name in names:
            if not isinstance(node, dict):
                return None
            node = node.get(name)
        return node

    return get


def number(value: Any) -> float | None:
    """A finite number, also one in text; None where it is none."""
    if type(value) is float or type(value) is int:
        return value if -1e300 < value < 1e300 else None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return read if isfinite(read) else None


def moment_of(value: Any, form: str) -> datetime:
    """A moment; without a zone it is UTC. Raises ValueError, OverflowError, TypeError, BadFrame."""
    if form in {"auto", "unix", "unix_ms"}:
        since = number(value)
        if since is not None:
            ms = form == "unix_ms" or (form == "auto" and abs(since) >= MILLISECONDS_FROM)
            return moment_from_ms(round(since if ms else since * 1000))
        if form != "auto":
            raise ValueError(value)
    if not isinstance(value, str):
        raise TypeError(value)
    if form in {"auto", "iso"}:
        told = datetime.fromisoformat(value.strip())
    else:
        told = datetime.strptime(value, form)  # noqa: DTZ007  (most patterns have no zone)
    return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)


def put(attributes: Attributes, name: str, value: Any) -> None:
    """One attribute, if it is a value at all; objects and arrays as their JSON text."""
    if value is None or value == "" or len(attributes) >= ATTRIBUTES_MAX:
        return
    if isinstance(value, str):
        value = value[:TEXT_CHARACTERS_MAX]
    elif isinstance(value, dict | list):
        value = _bytes(value)[:TEXT_CHARACTERS_MAX].decode("utf-8", "ignore")
    attributes[name[:64]] = value


def _bytes(value: Any) -> bytes:
    try:
        return _write(value)
    except OverflowError:  # an integer beyond 64 bits is read, but not written
        return repr(value).encode("utf-8", "replace")
