"""Where a frame ends: text at ``$`` (old firmware: at a zero byte), the two HEX forms after the length that they tell."""

from __future__ import annotations

import re
from typing import Final

from tracker_protocols.wire.framing import Measured

TEXT_SIZE_MAX: Final = 2048  # a report of 15 positions has some 1200 characters
HEX_SIZE_MAX: Final = 1024
RECORDS_SIZE_MIN: Final = 30  # head 18, reserved 1, one record, checksum 2, end 1
RECORDS_END: Final = b"$"
HEADS: Final = (b"+RESP:", b"+BUFF:", b"+ACK:")
HEX_LENGTHS: Final[dict[bytes, tuple[int, int]]] = {
    b"+RSP": (9, 2),
    b"+BSP": (9, 2),
    b"+EVT": (9, 2),
    b"+BVT": (9, 2),
    b"+ACK": (6, 1),
    b"+LGN": (6, 2),
}
"""Where a HEX frame tells its length, and in how many bytes (README §HEX)."""
HEX_END: Final = b"\r\n"
NEXT: Final = re.compile(rb"\+(?:RESP|BUFF|ACK):GT")
"""A frame that was cut off ends where the next begins."""
SHORTEST_HEAD: Final = 5  # "+ACK:"; the frame's own ":GT" begins before its end
PLUS, ZERO = 0x2B, 0x00


def size_of(buffer: bytes, at: int) -> int:
    """The size of the frame that begins at ``at``; 0: not known yet; -1: none begins there."""
    if buffer[at] != PLUS:
        return -1
    head = buffer[at : at + 6]
    if head.startswith(HEADS):
        return _text_size(buffer, at)
    if any(known.startswith(head) for known in HEADS):
        return 0
    if head[1] == ZERO:
        return _told(buffer, at, (2, 2), RECORDS_SIZE_MIN, RECORDS_END)
    form = HEX_LENGTHS.get(head[:4])
    if form:
        return _told(buffer, at, form, form[0] + 6, HEX_END)
    return 0 if any(known.startswith(head) for known in HEX_LENGTHS) else -1


def _text_size(buffer: bytes, at: int) -> int:
    """To the first ``$`` or zero byte, itself included, or to where the next frame begins; -1 where none of them comes."""
    limit = min(at + TEXT_SIZE_MAX, len(buffer))
    dollar = buffer.find(b"$", at, limit)
    stop = limit if dollar < 0 else dollar + 1
    zero = buffer.find(b"\0", at, stop)
    stop = stop if zero < 0 else zero + 1
    if buffer.find(b":GT", at + SHORTEST_HEAD + 1, stop) >= 0:
        cut_off = NEXT.search(buffer, at + 1, stop)
        if cut_off:
            return cut_off.start() - at
    if dollar >= 0 or zero >= 0:
        return stop - at
    return -1 if limit - at >= TEXT_SIZE_MAX else 0


def _told(buffer: bytes, at: int, place: tuple[int, int], least: int, end: bytes) -> int:
    """The size that the frame tells at ``place`` (offset and bytes), believed where ``end`` stands at its end."""
    offset, count = place
    if len(buffer) - at < offset + count:
        return 0
    size = int.from_bytes(buffer[at + offset : at + offset + count], "big")
    if not least <= size <= HEX_SIZE_MAX:
        return -1
    if len(buffer) - at >= size and buffer[at + size - len(end) : at + size] != end:
        return -1
    return size


FRAMING: Final = Measured(size_of, TEXT_SIZE_MAX)
