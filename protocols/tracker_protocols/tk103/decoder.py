"""TK103: text between parentheses, packed (KX402 and its heirs) or with commas (Kingneed).

``(013612345678BR00`` + place ``)`` or ``(013612345678,ZC11,`` + fields ``)``. Almost every frame names its
device; the oldest firmware puts the time there, and then the connection's login is who speaks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import ClassVar

from tracker_protocols.model import (
    AccessPoint,
    Attributes,
    BadFrame,
    Cell,
    CommandResult,
    DeviceKey,
    Fix,
    Frame,
    Heartbeat,
    Login,
    Message,
    Network,
    Reason,
    Reply,
    Report,
)
from tracker_protocols.tk103 import battery, obd
from tracker_protocols.wire.decoder import Decoded, StreamDecoder
from tracker_protocols.wire.fields import MPS_PER_KMH, MPS_PER_KNOT, check_place, device_key, finite, moment
from tracker_protocols.wire.framing import Delimited, Framing

_HEAD = re.compile(rb"(\d{1,20})(,?)([A-Z]{2}[0-9A-F]{2}),?")

# date, validity, latitude, longitude, speed, time, course, state, odometer, temperature
_PLACE = re.compile(
    rb"(\d\d)(\d\d)(\d\d)([AV]) *(\d*)(\d\d\.\d+)([NS]) *(\d*)(\d\d\.\d+)([EW])([ \d.]{5})(\d\d)(\d\d)(\d\d)"
    rb"(?:([ \d.]{6}|[ \d.]{0,8}),?([0-9A-Fa-f]{8})(?:L([0-9A-Fa-f]+)([+-]\d+\.\d+)?|$)|([ \d.]*))"
)
_ANGLE = re.compile(rb" *(\d*)(\d\d\.\d+)([NSEW])")
_CELL = re.compile(rb"\{(\d+),(\d+),(\d+),(\d+)\}")

_ALARMS = {  # BO01
    b"0": "powerCut",
    b"1": "accident",
    b"2": "sos",
    b"3": "vibration",
    b"4": "general",  # slower than the limit: the attribute reference has no name for it
    b"5": "overspeed",
    b"6": "geofenceExit",
}
_OBD_ALARMS = {  # BQ81
    b"0": "lowBattery",
    b"1": "overspeed",
    b"2": "idle",
    b"3": "hardAcceleration",
    b"4": "hardBraking",
    b"5": "temperature",
}
# Kingneed: one event is ZCnn, DW3n with a place, DW5n with cells and access points
_MOVED: Attributes = {"alarm": "movement"}
_BATTERY_LOW: Attributes = {"alarm": "lowBattery"}
_CUT: Attributes = {"alarm": "powerCut"}
_ON: Attributes = {"ignition": True}
_OFF: Attributes = {"ignition": False}
_TAKEN_OFF: Attributes = {"alarm": "removing"}
_SOS: Attributes = {"alarm": "sos"}
_OPENED: Attributes = {"alarm": "tampering"}
_POWER_LOW: Attributes = {"alarm": "lowPower"}
_EVENTS: dict[bytes, Attributes] = {
    kind: event
    for event, kinds in (
        (_MOVED, b"ZC11 DW31 DW51"),
        (_BATTERY_LOW, b"ZC12 DW32 DW52"),
        (_CUT, b"ZC13 DW33 DW53"),
        (_ON, b"ZC15 DW35 DW55 ZC29 DW42 DW62"),
        (_OFF, b"ZC16 DW36 DW56"),
        (_TAKEN_OFF, b"ZC17 DW37 DW57"),
        (_SOS, b"ZC25 DW3E DW5E"),
        (_OPENED, b"ZC26 DW3F DW5F"),
        (_POWER_LOW, b"ZC27 DW40 DW60"),
    )
    for kind in kinds.split()
}
_LEVELS = {b"6": 100, b"5": 80, b"4": 50, b"3": 20, b"2": 10}  # ZC20
_UNKNOWN = b"65535"


class Tk103Decoder(StreamDecoder):
    """KX402 GPRS protocol 1.5 and later, with the Kingneed dialect."""

    name: ClassVar[str] = "tk103"
    framing: ClassVar[Framing] = Delimited(start=b"(", end=b")", size_max=2048)

    def __init__(self, device: DeviceKey | None = None) -> None:
        super().__init__(device)
        self._heads_are_times = False

    def receive_datagram(self, data: bytes, received_at: datetime) -> list[Frame]:
        """A datagram may hold several frames; one without a closing parenthesis is read as it is."""
        *pieces, rest = data.split(b")")
        frames = [piece[max(piece.find(b"("), 0) :] + b")" for piece in pieces]
        return [self.read_frame(frame, received_at) for frame in frames or [rest]]

    def decode_frame(self, frame: bytes, received_at: datetime) -> Decoded:
        text = frame.strip(b"()\r\n")
        found = _HEAD.match(text)
        if not found:
            raise BadFrame(Reason.MALFORMED, f"no device and kind in {text[:40]!r}")
        head, comma, kind = found.groups()
        body = text[found.end() :]
        if comma:
            return self._with_commas(head, kind, body)
        if kind == b"BR00":
            return self._report(head, kind, body, 0)
        special = self._packed.get(kind)
        return special(self, head, kind, body) if special else self._other(head, kind, body)

    # ------------------------------------------------------------------------------------------ packed

    def _report(
        self, head: bytes, kind: bytes, body: bytes, at: int, told: Attributes | None = None
    ) -> Report:
        found = _PLACE.match(body, at)
        if not found:
            raise BadFrame(Reason.MALFORMED, f"no place in {body[:80]!r}")
        year, month, day, valid, lat, lat_min, ns, lon, lon_min, ew, speed, hour, minute, second = (
            found.groups()[:14]
        )
        course, state, odometer, temperature, course_alone = found.groups()[14:]
        course = (course or course_alone or b"").strip()
        attributes = dict(_state(state)) if state else {}
        if odometer:
            attributes["odometer"] = int(odometer, 16)
        if temperature:
            attributes["temp1"] = finite(temperature)
        if told:
            attributes |= told
        time_head = head == b"".join((year, month, day, hour, minute, second))
        device = self.device if time_head or self._reads_as_time(head) else device_key(head)
        record = found.group() if not told else kind + body
        latitude = _degrees(lat, lat_min, ns)
        longitude = _degrees(lon, lon_min, ew)
        check_place(latitude, longitude)
        date = (int(year), int(month), int(day))
        if valid == b"V" and month == b"00":  # a clock that was never set: the month before January
            date = (1999 + date[0], 12, date[2])
        fix = Fix(
            moment(*date, int(hour), int(minute), int(second)),
            latitude,
            longitude,
            valid == b"A",
            None,
            finite(speed) * MPS_PER_KMH,
            finite(course) if course else None,
        )
        return Report(device, fix, attributes, record)

    def _reads_as_time(self, head: bytes) -> bool:
        """Whether this head is the time of sending, as the connection's login was."""
        if not self._heads_are_times or len(head) != 12:
            return False
        try:
            moment(*(int(head[at : at + 2]) for at in range(0, 12, 2)))
        except BadFrame:
            return False
        return True

    def _who(self, head: bytes) -> DeviceKey | None:
        return self.device if self._reads_as_time(head) else device_key(head)

    def _login(self, head: bytes, identity: bytes) -> DeviceKey:
        """Who logs in. Newer firmware's head is 0 and the identity's last eleven digits; older is the time."""
        self._heads_are_times = bool(identity) and identity[-11:] != head[-11:]
        self.device = device_key(b"0" + identity[-11:] if self._heads_are_times else head)
        return self.device

    def _handshake(self, head: bytes, kind: bytes, body: bytes) -> Message:
        identity, _, _ = body.partition(b"HSO")
        device = self._login(head, identity if identity.isdigit() else b"")
        return Heartbeat(device, reply=Reply(b"(" + head + b"AP01HSO)"))

    def _enrol(self, head: bytes, kind: bytes, body: bytes) -> list[Message]:
        device = self._login(head, body[:15])
        report = self._report(head, kind, body, 15)
        # the answer ends the enrolling, and with it the place that came along
        reply = Reply(b"(" + head + b"AP05)")
        return [
            Login(device),
            Report(device, report.fix, report.attributes, report.record, reply=reply),
        ]

    def _alarm(self, head: bytes, kind: bytes, body: bytes) -> Message:
        code = body[:1]
        told: Attributes = {"event": int(code)}
        if code in _ALARMS:
            told["alarm"] = _ALARMS[code]
        report = self._report(head, kind, body, 1, told)
        reply = Reply(b"(" + head + b"AS01" + code + b")")
        return Report(report.device, report.fix, report.attributes, report.record, reply=reply)

    def _obd_alarm(self, head: bytes, kind: bytes, body: bytes) -> Message:
        word, code, _value, place = body.split(b",", 3)
        if word != b"ALARM":
            raise BadFrame(Reason.MALFORMED, f"BQ81 with {word!r}")
        told: Attributes = {"event": int(code)}
        if code in _OBD_ALARMS:
            told["alarm"] = _OBD_ALARMS[code]
        return self._report(head, kind, body, len(body) - len(place), told)

    def _engine(self, head: bytes, kind: bytes, body: bytes) -> Message:
        _page, values, when, *rest = body.split(b",")
        attributes: Attributes = dict(_state(rest[0])) if rest and len(rest[0]) == 8 else {}
        attributes |= obd.read(values)
        return Report(self._who(head), None, attributes, kind + body, sent_at=_moment(when))

    def _cells(self, head: bytes, kind: bytes, body: bytes) -> Message:
        cells = [Cell(*map(int, found)) for found in _CELL.findall(body)]
        if not cells:
            mcc, mnc, lac, cid, *_ = body.split(b",")
            cells = [Cell(int(mcc), int(mnc), int(lac, 16), int(cid, 16))]
        state = body.rpartition(b",")[2]
        attributes = dict(_state(state)) if b"{" in body and len(state) == 8 else {}
        return Report(self._who(head), None, attributes, kind + body, Network(tuple(cells)))

    def _vin(self, head: bytes, kind: bytes, body: bytes) -> Message:
        if len(body) != 17 or not body.isalnum():
            raise BadFrame(Reason.MALFORMED, f"no VIN: {body[:40]!r}")
        return Report(self._who(head), None, {"vin": body.decode("ascii")}, kind + body)

    def _battery_pack(self, head: bytes, kind: bytes, body: bytes) -> Message:
        attributes = battery.read_pack(body) if kind == b"BS50" else battery.read_daly(body)
        return Report(self._who(head), None, attributes, kind + body)

    def _other(self, head: bytes, kind: bytes, body: bytes) -> Message:
        """Kinds that hold a place are reports; what is left with a B is the answer to a command."""
        if _PLACE.match(body):
            return self._report(head, kind, body, 0)
        if not kind.startswith(b"B"):
            raise BadFrame(Reason.UNKNOWN_KIND, repr(kind))
        result = (kind + body).decode("latin-1")
        return CommandResult(self._who(head), {"result": result}, kind + body)

    # ------------------------------------------------------------------------------------------ with commas

    def _with_commas(self, head: bytes, kind: bytes, body: bytes) -> Message:
        device = device_key(head)
        if kind[:3] in {b"DW5", b"DW6"}:
            return _surroundings(device, kind, body)
        match kind:
            case b"ZC01":
                self.device = device
                return Login(device)
            case b"ZC02":
                return Heartbeat(device)
            case b"ZC03":
                date, time, said = body.split(b",", 2)
                result = said.strip(b"$").decode("utf-8", "replace")
                return CommandResult(device, {"result": result}, kind + body, _moment_reversed(date, time))
            case b"ZC20":
                return _power(device, kind, body)
            case _:
                return _place_with_commas(device, kind, body.split(b","))

    _packed: ClassVar[dict[bytes, Callable[[Tk103Decoder, bytes, bytes, bytes], Decoded]]] = {
        b"BP00": _handshake,
        b"BP05": _enrol,
        b"BO01": _alarm,
        b"BQ81": _obd_alarm,
        b"BQ86": _engine,
        b"BZ00": _cells,
        b"BV00": _vin,
        b"BS50": _battery_pack,
        b"BS51": _battery_pack,
    }


def _place_with_commas(device: DeviceKey, kind: bytes, fields: list[bytes]) -> Report:
    if len(fields) < 7:
        raise BadFrame(Reason.UNKNOWN_KIND, repr(kind))
    date, valid, latitude, longitude, speed, time, course, *rest = fields
    if valid not in {b"A", b"V"}:
        raise BadFrame(Reason.MALFORMED, f"validity {valid!r}")
    attributes = dict(_EVENTS.get(kind, {}))
    altitude = None
    unit = MPS_PER_KMH
    if rest and rest[-1][:1] == b"L":
        attributes |= _state(rest[0])
        attributes["odometer"] = int(rest[-1][1:], 16)
    elif rest:
        altitude = finite(rest[0])
        unit = MPS_PER_KNOT  # the manual that knows the altitude has knots, the one before it km/h
        if len(rest) > 1:
            attributes["sat"] = int(rest[1])
        if len(rest) > 2:
            attributes["odometer"] = finite(rest[2]) * 1000
    fix = Fix(
        _moment_reversed(date, time),
        _angle(latitude, b"NS"),
        _angle(longitude, b"EW"),
        valid == b"A",
        altitude,
        finite(speed) * unit,
        finite(course),
    )
    check_place(fix.latitude, fix.longitude)
    return Report(device, fix, attributes, b",".join((kind, *fields)))


def _surroundings(device: DeviceKey, kind: bytes, body: bytes) -> Report:
    """One cell, then access points as ``aa:bb:cc:dd:ee:ff*dBm*channel``, then when."""
    mcc, mnc, lac, cid, count, *rest = body.split(b",")
    points = rest[: int(count)]
    date, time = rest[int(count) : int(count) + 2]
    network = Network(
        (Cell(int(mcc), int(mnc), int(lac), int(cid)),),
        tuple(
            AccessPoint(mac.decode("ascii", "replace").lower(), int(signal))
            for mac, signal, _channel in (point.split(b"*") for point in points)
        ),
    )
    attributes = dict(_EVENTS.get(kind, {}))
    return Report(device, None, attributes, kind + body, network, _moment_reversed(date, time))


def _power(device: DeviceKey, kind: bytes, body: bytes) -> Report:
    date, time, level, battery_volts, power, *_ = body.split(b",")
    attributes: Attributes = {}
    if level in _LEVELS:
        attributes["batteryLevel"] = _LEVELS[level]
    if battery_volts != _UNKNOWN:
        attributes["battery"] = int(battery_volts) / 100
    if power != _UNKNOWN:
        attributes["power"] = int(power) / 10
    return Report(device, None, attributes, kind + body, sent_at=_moment_reversed(date, time))


@lru_cache(maxsize=4096)
def _state(state: bytes) -> Attributes:
    """Eight digits: power cut, ignition, three of flags, three of fuel. The result is shared: copy it."""
    first, low, high = int(state[2:3], 16), int(state[4:5], 16), int(state[3:4], 16)
    attributes: Attributes = {
        "charge": state[:1] == b"0",
        "ignition": state[1:2] == b"1",
        "in2": first & 1,
        "panic": first >> 1 & 1,
        "out2": first >> 2 & 1,
        "fuel": int(state[5:8], 16),
    }
    if first & 8:
        attributes["blocked"] = True
    if high & 8:
        attributes["door"] = True
    attributes |= {f"hs{3 - bit}": 1 for bit in range(3) if high >> bit & 1}
    attributes |= {f"ls{4 - bit}": 1 for bit in range(1, 4) if low >> bit & 1}
    return attributes


def _degrees(degrees: bytes, minutes: bytes, hemisphere: bytes) -> float:
    value = int(degrees or 0) + finite(minutes) / 60
    return -value if hemisphere in b"SW" else value


def _angle(text: bytes, hemispheres: bytes) -> float:
    found = _ANGLE.fullmatch(text)
    if not found or found[3] not in hemispheres:
        raise BadFrame(Reason.MALFORMED, f"angle {text!r}")
    return _degrees(found[1], found[2], found[3])


def _moment(digits: bytes) -> datetime:
    """``yyMMddHHmmss``."""
    if len(digits) != 12:
        raise BadFrame(Reason.NO_SUCH_MOMENT, repr(digits))
    return moment(*(int(digits[at : at + 2]) for at in range(0, 12, 2)))


def _moment_reversed(date: bytes, time: bytes) -> datetime:
    """``ddMMyy`` and ``HHmmss``."""
    return _moment(date[4:6] + date[2:4] + date[:2] + time)
