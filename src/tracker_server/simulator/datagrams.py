"""Conversations over UDP: each device has a socket of its own and one datagram in flight."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tracker_server.simulator.conversation import Conversation, now_s
from tracker_server.simulator.score import Score
from tracker_server.simulator.script import Script


class DatagramConversation(Conversation, asyncio.DatagramProtocol):
    """A datagram or its answer may be lost: what is not answered in time is sent again where the plan
    reconnects, else it counts as missing and the next one is sent.
    """

    __slots__ = ("_answered_last",)

    def __init__(self, score: Score, number: int, script: Script, batch: int) -> None:
        super().__init__(score, number, script, batch)
        self._answered_last = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        datagrams = cast("asyncio.DatagramTransport", transport)
        # the base class writes to a stream; a connected socket's datagram is sent the same way
        super().connection_made(cast("asyncio.BaseTransport", _Writes(datagrams)))

    def _open(self) -> None:
        self._begin()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.done == self.sent:
            if data != self._answered_last:  # an answer that was given up, or the second of a repeat
                self.score.unasked_for(self.script.unique_id, data)
            return
        expected = self.expected()
        if data == expected:
            self._answered_last = data
            self.answered(now_s(), right=True)
        elif data == self._answered_last:
            return
        else:
            self.score.wrong_answer(self.script.unique_id, expected, data)
            self.score.fixes_wrong += self.fixes_of(self.done)
            self.answered(now_s(), right=False)
        self.pump(now_s())

    def error_received(self, exc: Exception) -> None:
        self.score.errors[f"{exc}"] += 1

    def say_goodbye(self) -> None:
        self.close()

    def late(self) -> None:
        self.score.timeouts += 1
        if self.score.plan.reconnect:
            self.score.errors["no answer in time: datagram sent again"] += 1
            self._rewind()
        else:
            self.score.errors["no answer in time"] += 1
            self.missed()
        self.pump(now_s())


class _Writes:
    """A datagram transport with the names that a stream's has."""

    __slots__ = ("_transport", "abort", "close", "write")

    def __init__(self, transport: asyncio.DatagramTransport) -> None:
        self._transport = transport
        self.write = transport.sendto
        self.abort = transport.abort
        self.close = transport.close
