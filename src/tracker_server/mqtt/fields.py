"""The fields that packets are made of (MQTT 5.0 §1.5), read and written."""

from __future__ import annotations

from tracker_server.mqtt.codes import BadPacketError, Code


class Reader:
    """The fields of one packet's body, in order. Reading past the end is a malformed packet."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.end = len(data)

    def take(self, size: int) -> bytes:
        """That many bytes."""
        at = self.at
        end = at + size
        if end > self.end:
            raise BadPacketError(Code.MALFORMED, "the packet is shorter than its fields")
        self.at = end
        return self.data[at:end]

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def two(self) -> int:
        """A two-byte integer."""
        return int.from_bytes(self.take(2))

    def four(self) -> int:
        """A four-byte integer."""
        return int.from_bytes(self.take(4))

    def binary(self) -> bytes:
        """Bytes behind their length."""
        return self.take(self.two())

    def text(self) -> str:
        """§1.5.4: UTF-8 behind its length; no null character, no surrogates."""
        return read_text(self.binary())

    def varint(self) -> int:
        """§1.5.5: up to four bytes of seven bits."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 21:
                raise BadPacketError(Code.MALFORMED, "a variable integer of more than four bytes")

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(self.end - self.at)

    def finish(self) -> None:
        """There must be nothing left."""
        if self.at != self.end:
            raise BadPacketError(Code.MALFORMED, "the packet is longer than its fields")


def read_text(data: bytes) -> str:
    """A UTF-8 string as MQTT allows it."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise BadPacketError(Code.MALFORMED, "text that is not UTF-8") from None
    if "\0" in text:
        raise BadPacketError(Code.MALFORMED, "text with a null character")
    return text


def varint(value: int) -> bytes:
    """§1.5.5."""
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while True:
        value, byte = value >> 7, value & 0x7F
        out.append(byte | 0x80 if value else byte)
        if not value:
            return bytes(out)


def text(value: str) -> bytes:
    """§1.5.4."""
    data = value.encode()
    return len(data).to_bytes(2) + data
