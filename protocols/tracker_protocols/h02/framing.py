"""Where an H02 frame ends: text at ``#``, a BCD frame by what it looks like, for it tells no size.

A BCD frame has 32 bytes (first form, and every ``X`` frame), 42 (a whole IMEI as the identifier) or 45
(with signal, satellites, mileage and cell). All begin alike. Byte 31 is a running record number in the
32-byte form and the GSM signal (0 to 31, or 99) in the 45-byte form, so a value that is no signal ends the
frame at once; where it could be either, the byte behind it decides: a marker begins the next frame.
"""

from __future__ import annotations

from typing import Final

from tracker_protocols.wire.framing import Measured

TEXT_MARKER: Final = 0x2A  # *
BINARY_MARKER: Final = 0x24  # $
OLD_BINARY_MARKER: Final = 0x58  # X
MARKERS: Final = b"*$X"

TEXT_SIZE_MAX: Final = 8192  # a blind-spot upload holds at most 100 points of some 75 characters
SHORT_SIZE: Final = 32
LONG_KEY_SIZE: Final = 42
LONG_SIZE: Final = 45
DATAGRAM_BINARY_SIZE_MAX: Final = 60  # a datagram up to this size behind $ is one frame, whatever its form

_SIGNAL_MAX = 31  # GSM 27.007 +CSQ; 99 stands for unknown
_SIGNAL_UNKNOWN = 99


def frame_size(buffer: bytes, at: int) -> int:
    """Size of the frame that begins at ``at``; see Framing ``Measured``."""
    marker = buffer[at]
    if marker == TEXT_MARKER:
        return _text_size(buffer, at)
    if marker in {BINARY_MARKER, OLD_BINARY_MARKER}:
        return _binary_size(buffer, at)
    return -1


def _text_size(buffer: bytes, at: int) -> int:
    if len(buffer) - at < 4:
        head = buffer[at + 1 : at + 3]
        return 0 if not head or head.isalnum() else -1
    if not _is_text_head(buffer, at):
        return -1
    stop = buffer.find(b"#", at + 4, at + TEXT_SIZE_MAX)
    begun_again = buffer.find(b"*", at + 4, at + TEXT_SIZE_MAX if stop < 0 else stop)
    if begun_again >= 0 and _is_text_head(buffer, begun_again):
        return -1  # this one was never ended
    if stop >= 0:
        return stop + 1 - at
    return -1 if len(buffer) - at >= TEXT_SIZE_MAX else 0


def _is_text_head(buffer: bytes, at: int) -> bool:
    """``*``, a maker of two characters, a comma."""
    return buffer[at + 3 : at + 4] == b"," and buffer[at + 1 : at + 3].isalnum()


def _binary_size(buffer: bytes, at: int) -> int:
    held = len(buffer) - at
    if held < 12:
        return 0
    if not _is_moment(buffer[at + 6 : at + 12]):
        if buffer[at] != BINARY_MARKER:
            return -1
        if held < 15:
            return 0
        return LONG_KEY_SIZE if _is_moment(buffer[at + 9 : at + 15]) else -1
    if buffer[at] == OLD_BINARY_MARKER:
        return SHORT_SIZE
    if held < SHORT_SIZE:
        return 0
    last = buffer[at + 31]
    if last > _SIGNAL_MAX and last != _SIGNAL_UNKNOWN:
        return SHORT_SIZE
    if (
        buffer[at + 29 : at + 32] == b"\xff\0\0"
    ):  # devices that never count; no signal could not have been sent
        return SHORT_SIZE
    if held == SHORT_SIZE:
        return 0
    return SHORT_SIZE if buffer[at + 32] in MARKERS else LONG_SIZE


def _is_moment(bcd: bytes) -> bool:
    """``hhmmssDDMMYY`` in six bytes: digits, and no hour 24; the zero date of a device without a fix may pass."""
    digits = bcd.hex()
    return (
        digits.isdecimal()
        and digits[0:2] < "24"
        and digits[2:4] < "60"
        and digits[4:6] < "60"
        and digits[6:8] < "32"
        and digits[8:10] < "13"
    )


H02_FRAMING: Final = Measured(frame_size, size_max=TEXT_SIZE_MAX)
