"""Where a GT06 frame begins and ends, and the frames that a server sends.

A frame is ``7878``, one byte of length, or ``7979``, two; kind, content, serial number (2), CRC-ITU (2),
``0d0a``. The length counts from the kind to the CRC. Some cousins lie about it: theirs are cut at the
first stop bits, or measured by their kind. See README.md, "Frames".
"""

from __future__ import annotations

from typing import Final

from tracker_protocols.wire.checksums import crc16_x25

FRAME_BYTES_MAX: Final = 4096  # a photo block has 1024 bytes, the longest text of a manual 600
ACCESS_POINTS_MAX: Final = (
    0x14  # a Wi-Fi frame's "length" counts these; a normal frame of that kind is longer
)

LOGIN: Final = 0x01
WIFI_OFFLINE: Final = 0x17
WIFI_ONLINE: Final = 0x69
STOP: Final = b"\r\n"
BARE_LOGIN_BYTES: Final = 15  # 7878, length, kind, IMEI (8), version (1), stop bits

_ANSWER_HEADS: Final = [bytes((5, kind)) for kind in range(256)]


def frame_size(buffer: bytes, at: int) -> int:
    """Size of the frame that begins at ``at``; 0: wait for more; -1: none begins here. For ``Measured``."""
    waiting = len(buffer) - at
    first = buffer[at]
    if first not in {0x78, 0x79}:
        return -1
    if waiting < 4:
        return 0 if waiting == 1 or buffer[at + 1] == first else -1
    if buffer[at + 1] != first:
        return -1
    if first == 0x78:
        size = buffer[at + 2] + 5
        kind = buffer[at + 3]
        if kind in {WIFI_OFFLINE, WIFI_ONLINE} and size <= ACCESS_POINTS_MAX + 5:
            return _wifi_size(buffer, at, waiting)
        if kind == LOGIN and waiting >= BARE_LOGIN_BYTES and buffer[at + 13 : at + 15] == STOP:
            return BARE_LOGIN_BYTES
    else:
        size = (buffer[at + 2] << 8 | buffer[at + 3]) + 6
        if size > FRAME_BYTES_MAX:
            return -1
    if waiting < size:
        return 0
    stopped = buffer[at + size - 1] == 0x0A and buffer[at + size - 2] == 0x0D
    return size if stopped else _size_to_stop(buffer, at, waiting)


def _size_to_stop(buffer: bytes, at: int, waiting: int) -> int:
    """The length lied: the frame goes on to the first stop bits."""
    stop = buffer.find(STOP, at + 4, at + FRAME_BYTES_MAX)
    if stop >= 0:
        return stop + 2 - at
    return 0 if waiting < FRAME_BYTES_MAX else -1


def _wifi_size(buffer: bytes, at: int, waiting: int) -> int:
    """A Wi-Fi frame's length byte counts access points; then time (6), points (7 each), count of cells,
    MCC (2), MNC (1), cells (5 each), stop bits. Content may hold 0d0a, so it is measured, not searched.
    """
    cells_at = 10 + 7 * buffer[at + 2]
    if waiting <= cells_at:
        return 0
    size = cells_at + 4 + 5 * buffer[at + cells_at] + 2
    if waiting < size:
        return 0
    if buffer[at + size - 2 : at + size] == STOP:
        return size
    return _size_to_stop(buffer, at, waiting)


def answer(kind: int, serial: bytes) -> bytes:
    """The five-byte body that acknowledges a frame: its kind and serial number."""
    body = _ANSWER_HEADS[kind] + serial
    return b"\x78\x78" + body + crc16_x25(body).to_bytes(2, "big") + STOP


def message(kind: int, content: bytes, serial: bytes = b"\x00\x00") -> bytes:
    """A frame of the server with content, ``7878``."""
    body = bytes((len(content) + 5, kind)) + content + serial
    return b"\x78\x78" + body + crc16_x25(body).to_bytes(2, "big") + STOP


def long_message(kind: int, content: bytes = b"", serial: bytes = b"\x00\x00") -> bytes:
    """A frame of the server, ``7979``; without content it is the long form of ``answer``."""
    body = (len(content) + 5).to_bytes(2, "big") + bytes((kind,)) + content + serial
    return b"\x79\x79" + body + crc16_x25(body).to_bytes(2, "big") + STOP
