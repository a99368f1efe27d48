"""What a tracker can say, as frozen values: the common tongue of all protocols.

Units are in the names, angles are degrees (WGS 84), moments are aware datetimes in UTC. Nothing here
reads a clock or a socket. A decoder returns these; the server stores them and settles their replies.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct, field

DeviceKey = str
"""The identifier by which a device names itself (IMEI, serial number, chosen name): 1 to 64 characters."""

DEVICE_KEY_CHARACTERS_MAX = 64  # an IMEI has 15, a UUID 36; more is not a name but an attack

Attributes = dict[str, Any]
"""What the device said beside its place, by the field's usual names (``ignition``, ``batteryLevel`` …).

Values are JSON's: text, numbers, true and false. Names and units: docs/reference/attributes.md.
"""


class Fix(Struct, frozen=True, gc=False):
    """One position as the receiver computed it.

    ``valid`` is the receiver's own word. Altitude in metres above mean sea level, speed in metres a
    second, course in degrees clockwise from true north, accuracy in metres (radius); None: not said.
    """

    fixed_at: datetime
    latitude: float
    longitude: float
    valid: bool = True
    altitude_m: float | None = None
    speed_mps: float | None = None
    course_deg: float | None = None
    accuracy_m: float | None = None


class Cell(Struct, frozen=True, gc=False):
    """A base station that the device heard. ``signal`` is in dBm where negative, else the maker's scale."""

    mcc: int
    mnc: int
    lac: int
    cid: int
    signal: int | None = None


class AccessPoint(Struct, frozen=True, gc=False):
    """A Wi-Fi access point that the device heard: MAC as ``aa:bb:cc:dd:ee:ff``, signal in dBm."""

    mac: str
    signal: int | None = None


class Network(Struct, frozen=True, gc=False):
    """The radio surroundings of one report, from which a place can be estimated where there is no fix."""

    cells: tuple[Cell, ...] = ()
    access_points: tuple[AccessPoint, ...] = ()


class Reply(Struct, frozen=True, gc=False):
    """The bytes owed to the device once its message is settled.

    For an HTTP request these are the body, and ``status`` its status code; elsewhere status is unused.
    """

    data: bytes
    status: int = 200


class Login(Struct, frozen=True, gc=False):
    """The device says who it is. Nothing is promised by the answer, so it goes out at once."""

    device: DeviceKey
    reply: Reply | None = None


class Report(Struct, frozen=True, gc=False):
    """One report: a fix with what was measured beside it, or measurements alone (``fix`` is None).

    ``device`` is None where the frame does not name it and the connection's login does. ``sent_at`` is
    the device's own time for a report without a fix. ``record`` are the bytes that make this report
    the same report when it is sent again: as sent, without counters, checksums and flags that change
    on a repeat. The reply may let the device delete its copy: it is owed only after the commit. Where a
    frame holds several reports, the last one carries the frame's reply.
    """

    device: DeviceKey | None
    fix: Fix | None
    attributes: Attributes
    record: bytes
    network: Network | None = None
    sent_at: datetime | None = None
    reply: Reply | None = None


class Heartbeat(Struct, frozen=True, gc=False):
    """A sign of life, or a question (the time, a configuration), answered at once.

    Where it carries measurements (battery, ignition) they are stored like a report's, but the answer
    does not wait for that: the device keeps no copy of a heartbeat.
    """

    device: DeviceKey | None = None
    attributes: Attributes = field(default_factory=dict)
    record: bytes = b""
    reply: Reply | None = None


class CommandResult(Struct, frozen=True, gc=False):
    """The device's answer to a command. ``attributes`` hold it as ``result`` and what was read from it."""

    device: DeviceKey | None
    attributes: Attributes
    record: bytes
    sent_at: datetime | None = None
    reply: Reply | None = None


class Reason(StrEnum):
    """Why a frame could not be decoded."""

    CHECKSUM = "checksum"
    MALFORMED = "malformed"
    UNKNOWN_KIND = "unknown kind"
    NO_SUCH_MOMENT = "no such moment"
    OUT_OF_RANGE = "out of range"
    NO_DEVICE = "no device"
    TOO_LONG = "too long"


class Undecoded(Struct, frozen=True, gc=False):
    """A frame that means nothing to the decoder, kept whole so that nothing is lost. Never owed a reply,
    except over HTTP, where silence would look like a broken server.
    """

    frame: bytes
    reason: Reason
    detail: str = ""
    device: DeviceKey | None = None
    reply: Reply | None = None


Message = Login | Report | Heartbeat | CommandResult | Undecoded


class Frame(Struct, frozen=True, gc=False):
    """One frame as it came, and what it means, in the device's order."""

    data: bytes
    messages: tuple[Message, ...]


class HttpRequest(Struct, frozen=True, gc=False):
    """One HTTP request of a device: ``target`` with its query, header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class BadFrame(Exception):  # noqa: N818  (it is a finding about a frame, not an error of ours)
    """Raised inside a decoder for a frame that it cannot read; the base class turns it into Undecoded."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
