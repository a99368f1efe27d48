"""What mutation begins with: the vectors beside each protocol, and what its device's side says. Kept in no file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice

from tests.protocols.vectors import all_vectors
from tracker_protocols import ALL
from tracker_protocols.protocol import Protocol
from tracker_protocols.wire.decoder import request_bytes
from tracker_protocols.wire.device import Device, HttpDevice
from tracker_server.simulator.routes import Journey

START = datetime(2026, 1, 1, tzinfo=UTC)
SAID = {
    "sat": 11,
    "ignition": True,
    "odometer": 12_345_678,
    "power": 13.8,
    "batteryLevel": 80,
    "archive": True,
}


@cache
def seeds(protocol: Protocol) -> tuple[bytes, ...]:
    """Streams, datagrams or whole requests in this language."""
    found: list[bytes] = []
    for vector in all_vectors():
        if vector.protocol is protocol:
            if vector.hex or vector.ascii:
                found.append(vector.stream)
            found += [bytes.fromhex(datagram) for datagram in vector.datagrams]
            if vector.http:
                found.append(request_bytes(vector.request()))
    return (*found, *_of_device(protocol))


def _of_device(protocol: Protocol) -> list[bytes]:
    fixes = list(islice(Journey(1, 2, START, 10), 3))
    fixes.append(type(fixes[0])(START + timedelta(days=3), -89.999, -179.999, False, -400.0, 0.0, 359.0))
    device = protocol.device("356307042441013")
    if isinstance(device, HttpDevice):
        return [request_bytes(device.report([fix], SAID).request) for fix in fixes]
    assert isinstance(device, Device)
    opening, alive = device.login(), device.heartbeat()
    said = [device.report([fix], SAID).data for fix in fixes] + [device.datagram(fixes[:1], SAID).data]
    begun = opening.data if opening else b""
    return [begun + said[0], begun + said[1] + (alive.data if alive else b""), *said[2:]]


def all_seeds() -> list[bytes]:
    """Of all languages."""
    return [seed for protocol in ALL for seed in seeds(protocol)]
