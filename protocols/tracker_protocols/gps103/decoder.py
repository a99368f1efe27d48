"""GPS103: a login answered LOAD, a bare IMEI answered ON, reports that name their device and want no answer.

Source: Coban "GPRS PROTOCOL" V0.1 2014-12-12 and the older "GPRS data protocol" table; README.md says which
kind comes from where.
"""

from __future__ import annotations

from base64 import b64encode
from contextlib import suppress
from datetime import datetime
from typing import ClassVar, Final

from tracker_protocols.gps103.keywords import is_answer, keyword_attributes
from tracker_protocols.gps103.position import ODOMETER_METRES_PER_UNIT, number, read_cell, read_position
from tracker_protocols.model import (
    Attributes,
    BadFrame,
    CommandResult,
    DeviceKey,
    Fix,
    Frame,
    Heartbeat,
    Login,
    Message,
    Reason,
    Reply,
    Report,
)
from tracker_protocols.wire.decoder import Decoded, StreamDecoder
from tracker_protocols.wire.fields import MPS_PER_KMH, check_place, device_key, moment
from tracker_protocols.wire.framing import Framing, Lines

ENDS: Final = b";*\r\n"
FRAME_SIZE_MAX: Final = 4096  # a photo packet holds some 500 bytes, twice as many characters
LOGIN_CHARACTERS_MAX: Final = 30  # an IMEI and a letter; whatever is longer is a report
HEARTBEAT_DIGITS_MIN: Final = 8  # an IMEI has 15, some copies send less
HEARTBEAT_DIGITS_MAX: Final = 20
PHOTO_PACKETS_MAX: Final = 128  # 64 KiB, twice the largest picture these cameras take

LOGIN_REPLY: Final = b"LOAD"
HEARTBEAT_REPLY: Final = b"ON"

_MS_PER_HOUR = 3_600_000
_IMEI = b"imei:"


class Gps103Decoder(StreamDecoder):
    """Every report names its device. Photo packets are gathered until the announced number has come."""

    name: ClassVar[str] = "gps103"
    framing: ClassVar[Framing] = Lines(FRAME_SIZE_MAX, ENDS)
    device: DeviceKey | None

    def __init__(self, device: DeviceKey | None = None) -> None:
        super().__init__(device)
        self._key = b""
        self._photo_packets = 0
        self._photo: dict[int, bytes] = {}

    def decode_frame(self, frame: bytes, received_at: datetime) -> Decoded:
        text = frame.strip(b";*\r\n ")
        if text[:5].lower() == _IMEI and len(text) > LOGIN_CHARACTERS_MAX:
            return self._decode_report(text)
        if text[:1].isdigit():
            return self._decode_heartbeat(text)
        found = text[:LOGIN_CHARACTERS_MAX].lower().find(_IMEI)
        if found < 0:
            raise BadFrame(Reason.UNKNOWN_KIND, text[:32].decode("latin-1"))
        return Login(self._know(text[found + 5 :].split(b",")[0]), Reply(LOGIN_REPLY))

    def receive_datagram(self, data: bytes, received_at: datetime) -> list[Frame]:
        """Frames one after another as in a stream; the last may lack its end."""
        data += b"\n"
        frames: list[Frame] = []
        at, end = 0, len(data)
        while at < end:
            skip, size = self.framing.cut(data, at)
            if size:
                frames.append(self.read_frame(data[at + skip : at + skip + size], received_at))
            elif not skip:
                break
            at += skip + size
        return frames

    def _know(self, key: bytes) -> DeviceKey:
        if self.device is None or key != self._key:
            self.device = device_key(key)
            self._key = key
        return self.device

    def _decode_heartbeat(self, text: bytes) -> Decoded:
        """The bare IMEI; some firmware forgets to end it before the report that follows."""
        found = text.lower().find(_IMEI)
        key = text if found < 0 else text[:found]
        if not key.isdigit() or not HEARTBEAT_DIGITS_MIN <= len(key) <= HEARTBEAT_DIGITS_MAX:
            raise BadFrame(Reason.NO_DEVICE, key[:32].decode("latin-1"))
        beat = Heartbeat(self._know(key), reply=Reply(HEARTBEAT_REPLY))
        if found < 0:
            return beat
        decoded = self._decode_report(text[found:])
        return [beat, *decoded] if isinstance(decoded, list) else [beat, decoded]

    def _decode_report(self, text: bytes) -> Message | list[Message]:
        fields = text.split(b",")
        device = self._know(fields[0][5:])
        keyword = fields[1].strip().decode("latin-1").lower()
        if keyword == "obd":
            return decode_obd(device, fields, text)
        if keyword == "vr":
            return self._decode_photo(device, fields)
        marker = fields[4].upper() if len(fields) > 4 else b""
        if marker not in {b"F", b"L"}:
            if len(fields) >= 18:
                return decode_decimal(device, fields, text)
            raise BadFrame(Reason.UNKNOWN_KIND, keyword[:32])
        attributes = keyword_attributes(keyword)
        card = fields[3]
        if card:
            if keyword == "rfid":
                attributes["driverUniqueId"] = card.decode("latin-1")[:64]
            elif card.endswith(b"%") and (level := number(card[:-1])) is not None:
                attributes["batteryLevel"] = level
        reply = Reply(b"**,imei:%b,E;" % self._key) if keyword == "help me" else None
        if marker == b"F":
            report = Report(device, read_position(fields, attributes), attributes, text, reply=reply)
        else:
            network = read_cell(fields, attributes)
            report = Report(device, None, attributes, text, network, reply=reply)
        if keyword.startswith("vt") and keyword[2:].isdigit() and len(keyword) < 6:
            self._photo_packets = min(int(keyword[2:]), PHOTO_PACKETS_MAX)
            self._photo = {}
        elif is_answer(keyword):
            return [
                CommandResult(device, {"result": keyword}, text, report.fix and report.fix.fixed_at),
                report,
            ]
        return report

    def _decode_photo(self, device: DeviceKey, fields: list[bytes]) -> Message:
        """One packet: index and size (16 bits, low byte first), bytes of a JPEG, two bytes more."""
        packet = bytes.fromhex(fields[2].decode("latin-1"))
        index = int.from_bytes(packet[:2], "little")
        if index >= self._photo_packets:
            return Heartbeat(device)  # of a photo whose beginning went elsewhere
        self._photo[index] = packet[4:-2]
        if index + 1 < self._photo_packets:
            return Heartbeat(device)
        image = b"".join(self._photo[at] for at in sorted(self._photo))
        missing = self._photo_packets - len(self._photo)
        self._photo, self._photo_packets = {}, 0
        attributes: Attributes = {
            "result": "photo",
            "image": b64encode(image).decode(),
            "imageBytes": len(image),
        }
        if missing:
            attributes["imagePacketsMissing"] = missing
        return CommandResult(device, attributes, image or b"photo")


def decode_obd(device: DeviceKey, fields: list[bytes], text: bytes) -> Report:
    """OBD: time, odometer (km), fuel now and on average, hours, km/h, load %, °C, throttle %, rpm, V, faults.

    Load and throttle keep the percent sign that the device sends, as clients of this field know them.
    """
    values = [field.strip() for field in fields[2:13]]
    values += [b""] * (11 - len(values))
    attributes: Attributes = {}
    names = ("fuelInstant", "fuelConsumption", "obdSpeed", "coolantTemp", "rpm", "battery")
    for name, value in zip(
        names, (values[2], values[3], values[5], values[7], values[9], values[10]), strict=True
    ):
        read = number(value)
        if read is not None:
            attributes[name] = read if b"." in value else int(read)
    if (odometer := number(values[1])) is not None:
        attributes["obdOdometer"] = round(odometer * ODOMETER_METRES_PER_UNIT)
        attributes["odometer"] = round(odometer)  # the counter as this field knows it: see README §OBD
    if (hours := number(values[4])) is not None:
        attributes["hours"] = round(hours * _MS_PER_HOUR)
    for name, value in (("engineLoad", values[6]), ("throttle", values[8])):
        if number(value.rstrip(b"%")) is not None:
            attributes[name] = value.decode("latin-1")
    faults = b" ".join(field.strip() for field in fields[13:] if field.strip())
    if faults:
        attributes["dtcs"] = faults.decode("latin-1")[:256]
    sent_at = None
    if len(values[0]) == 12 and values[0].isdigit():
        with suppress(BadFrame):
            sent_at = moment(*(int(values[0][at : at + 2]) for at in range(0, 12, 2)))
    return Report(device, None, attributes, text, sent_at=sent_at)


def decode_decimal(device: DeviceKey, fields: list[bytes], text: bytes) -> Report:
    """The form ended by ``*``: decimal degrees, km/h, day first.

    Name, event, sensor, its voltage, ``hhmmss``, ``ddmmyy``, GSM, fix, latitude, longitude, speed, course,
    altitude, HDOP, satellites, ignition, charging, error; dashes stand for nothing.
    """
    latitude, longitude = float(fields[9]), float(fields[10])
    check_place(latitude, longitude)
    time, date = fields[5], fields[6]
    if len(time) != 6 or len(date) != 6:
        raise BadFrame(Reason.NO_SUCH_MOMENT, f"{date[:16]!r} {time[:16]!r}")
    clock, day = int(time), int(date)
    speed_kmh = number(fields[11])
    fix = Fix(
        moment(day % 100, day // 100 % 100, day // 10_000, clock // 10_000, clock // 100 % 100, clock % 100),
        latitude,
        longitude,
        fields[8] not in {b"", b"0"},
        number(fields[13]),
        None if speed_kmh is None else speed_kmh * MPS_PER_KMH,
        number(fields[12]),
    )
    attributes: Attributes = {}
    for name, value in (("event", fields[2]), ("sensorId", fields[3]), ("error", b"".join(fields[18:19]))):
        if value.strip(b"- "):
            attributes[name] = value.decode("latin-1")[:64]
    for name, value in (("sensorVoltage", fields[4]), ("hdop", fields[14])):
        if (read := number(value)) is not None:
            attributes[name] = read
    for name, value in (("rssi", fields[7]), ("sat", fields[15])):
        if value.isdigit() and len(value) < 5:
            attributes[name] = int(value)
    attributes["ignition"] = fields[16] not in {b"", b"0"}
    attributes["charge"] = fields[17] not in {b"", b"0"}
    return Report(device, fix, attributes, text)
