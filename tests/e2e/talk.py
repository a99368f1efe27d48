"""A device's conversation over a plain blocking socket: what went out, what came back."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator, Sequence
from datetime import UTC, datetime, timedelta

from tracker_protocols import BY_NAME
from tracker_protocols.model import Fix
from tracker_protocols.wire.device import Device, Outgoing

START = datetime(2026, 3, 1, 8, tzinfo=UTC)


def fixes(number: int, start: datetime = START) -> list[Fix]:
    """A drive north-east, a fix each second."""
    return [
        Fix(start + timedelta(seconds=n), 52 + n / 10_000, 21 + n / 10_000, speed_mps=15.0, course_deg=31.0)
        for n in range(number)
    ]


def device(protocol: str, unique_id: str) -> Device:
    made = BY_NAME[protocol].device(unique_id)
    assert isinstance(made, Device)
    return made


def conversation(protocol: str, unique_id: str, of: Sequence[Fix]) -> list[Outgoing]:
    """Login, the fixes one by one, a heartbeat: what a device of this family would say."""
    speaker = device(protocol, unique_id)
    said = [speaker.login(), *(speaker.report([fix]) for fix in of), speaker.heartbeat()]
    return [outgoing for outgoing in said if outgoing is not None]


class Talk:
    """One TCP connection of a device."""

    def __init__(self, address: tuple[str, int], timeout_s: float = 10.0) -> None:
        self.socket = socket.create_connection(address, timeout_s)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, size: int) -> bytes:
        """Exactly this many bytes, or fewer where the server closed."""
        got = b""
        while len(got) < size and (part := self.socket.recv(size - len(got))):
            got += part
        return got

    def ask(self, outgoing: Outgoing) -> bytes:
        """Send, and read as many bytes as are owed."""
        self.send(outgoing.data)
        return self.receive(len(outgoing.answer))

    def rest(self) -> bytes:
        """Everything until the server closes."""
        got = b""
        while part := self.socket.recv(65_536):
            got += part
        return got

    def hears_nothing(self, for_s: float) -> bool:
        """Whether nothing comes for a while."""
        self.socket.settimeout(for_s)
        try:
            return self.socket.recv(1) == b"never"
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(10.0)

    def close(self) -> None:
        self.socket.close()


@contextlib.contextmanager
def talking(address: tuple[str, int]) -> Generator[Talk]:
    talk = Talk(address)
    try:
        yield talk
    finally:
        talk.close()
