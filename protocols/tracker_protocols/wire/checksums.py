"""The checksums of this field, one name each. CRC tables come from fastcrc (about 70 ns for 40 bytes)."""

from __future__ import annotations

from functools import reduce
from operator import xor

from fastcrc import crc16, crc64

crc16_x25 = crc16.ibm_sdlc
"""CRC-ITU of the GT06 family: polynomial 0x1021 reflected, start and final xor 0xFFFF."""

crc16_ccitt = crc16.ibm_3740
"""CRC-16/CCITT of Queclink's HEX frames: polynomial 0x1021, start 0xFFFF."""

crc16_arc = crc16.arc
"""CRC-16/IBM of Teltonika: polynomial 0x8005 reflected, start 0."""


def xor8(data: bytes) -> int:
    """All bytes exclusive-ored, as NMEA 0183 does between ``$`` and ``*``."""
    return reduce(xor, data, 0)


def record_digest(record: bytes) -> int:
    """64 bits, signed, by which two reports of one device at one instant are the same or not (CRC-64/XZ)."""
    digest = crc64.xz(record)
    return digest - (1 << 64) if digest >> 63 else digest
