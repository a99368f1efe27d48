"""PROXY protocol v2 headers: whole, split, of a health check, and everything that is none."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracker_server.listeners.proxy_protocol import SIGNATURE, BadProxyHeaderError, Caller, read_header


def header(source: str, port: int, *, command: int = 1, extra: bytes = b"") -> bytes:
    """As a balancer writes it for a TCP connection."""
    address = ipaddress.ip_address(source)
    family = 1 if address.version == 4 else 2
    body = address.packed * 2 + port.to_bytes(2, "big") + (5023).to_bytes(2, "big") + extra
    return SIGNATURE + bytes([0x20 | command, family << 4 | 1]) + len(body).to_bytes(2, "big") + body


@pytest.mark.parametrize("source", ["192.0.2.7", "2001:db8::7"])
def test_the_caller_is_read(source: str) -> None:
    data = header(source, 4711, extra=b"\x04\x00\x03abc")
    assert read_header(data + b"xx") == Caller(source, 4711, len(data))


@pytest.mark.parametrize("source", ["192.0.2.7", "2001:db8::7"])
def test_a_part_of_a_header_waits(source: str) -> None:
    data = header(source, 4711)
    assert [read_header(data[:size]) for size in range(len(data))] == [None] * len(data)


def test_a_balancer_that_speaks_for_itself_has_no_caller() -> None:
    data = header("192.0.2.7", 1, command=0)
    assert read_header(data) == Caller(None, 0, len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"x",
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n",
        bytes.fromhex("78780d01086471700328358100093f040d0a"),
        SIGNATURE + b"\x11\x11\x00\x0c",
        SIGNATURE + b"\x22\x11\x00\x0c",
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(BadProxyHeaderError):
        read_header(data)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_nothing_else_is_raised(head: bytes, tail: bytes) -> None:
    for data in (head, SIGNATURE + tail, SIGNATURE[: len(head)] + tail):
        try:
            caller = read_header(data)
        except BadProxyHeaderError:
            continue
        assert caller is None or caller.size >= 16
