"""PROXY protocol version 2: who is really calling, when a balancer stands in between.

Layout: haproxy.org, proxy-protocol.txt §2.2: a 12-byte signature, version and command, family and
transport, length of what follows, addresses, ports.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from msgspec import Struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEADER_BYTES = 16
BODY_BYTES_MAX = 536  # the specification's own limit for a header that every reader must take


class Caller(Struct, frozen=True):
    """``address`` None: the balancer speaks for itself (a health check). ``size``: bytes of the header."""

    address: str | None
    port: int
    size: int


class BadProxyHeaderError(Exception):
    """What came first is no PROXY header."""


def read_header(data: bytes) -> Caller | None:
    """The caller that the header names; None while it is incomplete. Raises BadProxyHeaderError."""
    if not SIGNATURE.startswith(data[:12]):
        raise BadProxyHeaderError("no PROXY protocol v2 signature")
    if len(data) < HEADER_BYTES:
        return None
    version, command = data[12] >> 4, data[12] & 0x0F
    family, transport = data[13] >> 4, data[13] & 0x0F
    length = int.from_bytes(data[14:16], "big")
    if version != 2 or command > 1 or length > BODY_BYTES_MAX:
        raise BadProxyHeaderError(f"version {version}, command {command}, length {length}")
    size = HEADER_BYTES + length
    if len(data) < size:
        return None
    body = data[HEADER_BYTES:size]
    if command == 1 and transport == 1 and family == 1 and length >= 12:
        return Caller(str(IPv4Address(body[:4])), int.from_bytes(body[8:10], "big"), size)
    if command == 1 and transport == 1 and family == 2 and length >= 36:
        return Caller(str(IPv6Address(body[:16])), int.from_bytes(body[32:34], "big"), size)
    return Caller(None, 0, size)
