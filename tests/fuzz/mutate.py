"""Seeded changes to bytes, small and large, and the repair of checksums so that what lies behind them is reached."""

from __future__ import annotations

import random
from collections.abc import Sequence

from tracker_protocols.wire import checksums

SIZE_MAX = 8_192
STEPS_MAX = 6
INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0x30, 0x39, 0x2C, 0x2E, 0x2D, 0x3B, 0x0D, 0x0A, 0x23, 0x24, 0x2A)
TEXTS = (
    b"-",
    b"nan",
    b"inf",
    b"1e999",
    b"99999999999999999999",
    b"",
    b"\0",
    b"\xed\xa0\x80",
    b"%00",
    b"\xf0\x9f\x9a\x97",
)


def mutated(rng: random.Random, seed: bytes, others: Sequence[bytes]) -> bytes:
    """A variant: one to six changes of this seed."""
    data = bytearray(seed)
    for _ in range(rng.randint(1, STEPS_MAX)):
        _change(rng, data, others)
    if rng.random() < 0.5:
        _repair(rng, data)
    return bytes(data[:SIZE_MAX])


def _change(rng: random.Random, data: bytearray, others: Sequence[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 40)))
    match rng.randrange(9):
        case 0 if at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        case 1 if at < len(data):
            data[at] = rng.choice(INTERESTING)
        case 2 if end - at >= 2:
            data[at : at + 2] = rng.choice((b"\0\0", b"\xff\xff", b"\x7f\xff", b"\x80\0", b"\0\1"))
        case 3:
            del data[at:end]
        case 4:
            data[at:at] = data[at:end] * rng.choice((1, 1, 2, 20))
        case 5:
            data[at:at] = rng.randbytes(rng.choice((1, 2, 7, 100)))
        case 6:
            other = rng.choice(others)
            begin = rng.randrange(len(other) + 1)
            data[at:] = other[begin:]
        case 7:
            _field(rng, data)
        case _:
            del data[at:]


def _field(rng: random.Random, data: bytearray) -> None:
    """In languages of words between commas: one word replaced."""
    for separator in (b",", b"&", b"="):
        if separator in data:
            words = bytes(data).split(separator)
            words[rng.randrange(len(words))] = rng.choice(TEXTS)
            data[:] = separator.join(words)
            return


def _repair(rng: random.Random, data: bytearray) -> None:
    """Make some checksum right again, as each language has it: CRC-16/X.25 before the end, CRC-16/ARC at the end, XOR."""
    match rng.randrange(3):
        case 0 if len(data) > 8 and data[0] in {0x78, 0x79}:
            wide = data[0] == 0x79
            size = len(data) - (6 if wide else 5)
            data[2 : 4 if wide else 3] = size.to_bytes(2, "big") if wide else bytes([size & 0xFF])
            data[-4:-2] = checksums.crc16_x25(bytes(data[2:-4])).to_bytes(2, "big")
        case 1 if len(data) > 12:
            data[4:8] = (len(data) - 12).to_bytes(4, "big")
            data[-4:] = checksums.crc16_arc(bytes(data[8:-4])).to_bytes(4, "big")
        case 2 if b"$" in data and b"*" in data:
            begin, end = data.index(b"$") + 1, data.rindex(b"*")
            total = 0
            for byte in data[begin:end]:
                total ^= byte
            data[end + 1 : end + 3] = b"%02X" % total
        case _:
            pass


def shrunk(data: bytes, fails: object) -> bytes:
    """The same failure with fewer bytes: whole pieces are left out while it lasts. ``fails`` is a predicate."""
    assert callable(fails)
    piece = max(1, len(data) // 2)
    while piece:
        at = 0
        while at < len(data):
            less = data[:at] + data[at + piece :]
            if fails(less):
                data = less
            else:
                at += piece
        piece //= 2
    return data
