"""Servers that answer from the protocols' own decoders, without a database, and misbehave as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from tracker_protocols import BY_NAME
from tracker_protocols.model import Fix, Login, Message, Report
from tracker_protocols.wire.decoder import StreamDecoder

Mischief = Callable[["Peer", Message, bytes], bytes | None]
"""Given a message and its right answer: the bytes to send. None: hang up without an answer."""


def honest(_peer: Peer, _message: Message, answer: bytes) -> bytes | None:
    return answer


class Peer:
    """Counts what it is told. ``fixes`` has one entry for each report it read, answered or not."""

    def __init__(self, protocol: str, mischief: Mischief) -> None:
        self.protocol = BY_NAME[protocol]
        self.mischief = mischief
        self.connections = 0
        self.reports = 0
        self.received: list[bytes] = []
        self.fixes: list[tuple[str | None, Fix | None]] = []
        self.address = ("127.0.0.1", 0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        decoder = self.protocol.decoder()
        assert isinstance(decoder, StreamDecoder)
        mine = bytearray()
        try:
            while data := await reader.read(65_536):
                mine += data
                for frame in decoder.receive_data(data, datetime.now(UTC)):
                    if not self._answer(decoder, frame.messages, writer):
                        writer.transport.abort()
                        return
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.received.append(bytes(mine))
            writer.close()

    def _answer(
        self, decoder: StreamDecoder, messages: tuple[Message, ...], writer: asyncio.StreamWriter
    ) -> bool:
        for message in messages:
            if isinstance(message, Report):
                self.reports += 1
                self.fixes.append((message.device or decoder.device, message.fix))
            said = self.mischief(self, message, message.reply.data if message.reply else b"")
            if said is None:
                return False
            if said:
                writer.write(said)
        return True


@asynccontextmanager
async def peer(protocol: str, mischief: Mischief = honest) -> AsyncGenerator[Peer]:
    """One that listens until the test is done with it."""
    one = Peer(protocol, mischief)
    server = await asyncio.start_server(one.serve, "127.0.0.1", 0)
    one.address = server.sockets[0].getsockname()[:2]
    try:
        yield one
    finally:
        server.close()
        await server.wait_closed()


def garble(answer: bytes) -> bytes:
    """As long, and wrong in its last byte."""
    return answer[:-1] + bytes([answer[-1] ^ 0xFF])


def wrong_at(number: int) -> Mischief:
    """A wrong answer to the ``number``-th report (from 1), right ones to all others."""

    def mischief(peer: Peer, message: Message, answer: bytes) -> bytes | None:
        return garble(answer) if isinstance(message, Report) and peer.reports == number else answer

    return mischief


def silent_from(number: int) -> Mischief:
    """No answer to the ``number``-th report and those after it."""

    def mischief(peer: Peer, message: Message, answer: bytes) -> bytes | None:
        return b"" if isinstance(message, Report) and peer.reports >= number else answer

    return mischief


def hangs_up_at(*numbers: int) -> Mischief:
    """Hangs up when it has read these reports, and does not answer them."""

    def mischief(peer: Peer, message: Message, answer: bytes) -> bytes | None:
        return None if isinstance(message, Report) and peer.reports in numbers else answer

    return mischief


def refuses_login(_peer: Peer, message: Message, answer: bytes) -> bytes | None:
    return garble(answer) if isinstance(message, Login) else answer


async def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    """Wait for the condition. Raises TimeoutError."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  (what is waited for are counters, on the same loop)
            await asyncio.sleep(0.01)
