"""One device's conversation: sends what its window and the clock allow, and holds answers against the script.

This is the hot path of a run: per packet one write, one comparison, one look at the clock, one count. What a simulator
costs, a server on the same machine cannot have.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections import deque
from typing import cast

from tracker_server.simulator.score import Score
from tracker_server.simulator.script import Script
from tracker_server.simulator.trouble import Abandoned, Trouble

now_s = time.monotonic


class Conversation(asyncio.Protocol):
    """Packets are numbered from 0 and each is sent ``repeat`` times: send ``n`` is of packet ``n // repeat``.

    ``sent`` is the next one to send, ``done`` the next one to be answered, ``allowed`` how many may have
    been sent by now. After a break ``sent`` falls back to ``done``. ``over`` is set when all is answered
    or the device has given up (``failed``); ``ended`` when the present connection has ended.
    """

    __slots__ = (  # there are more than an instance keeps at hand without
        "_batch", "_counted", "_devices", "_fixes", "_fixes_each", "_hangs_up", "_late_s", "_released_at",
        "_repeat", "_since", "_trouble", "_window", "_withheld", "allowed", "asked_at", "deliberate",
        "done", "ended", "failed", "heard", "number", "online", "over", "paused", "progress_at", "ready",
        "score", "script", "sent", "sent_most", "started", "total", "transport",
    )  # fmt: skip

    def __init__(self, score: Score, number: int, script: Script, batch: int) -> None:
        plan = score.plan
        self.score = score
        self.script = script
        self.number = number
        self.total = plan.packets * plan.repeat
        self.sent = self.done = self.allowed = self.sent_most = 0
        self.asked_at = self.progress_at = 0.0
        self.failed = False
        self.ready = False
        self.paused = False
        self.heard = False  # something was answered on this connection
        loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = loop.create_future()
        self.started: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.ended.set_result(None)  # there is none yet
        self.transport: asyncio.Transport | None = None
        self._batch = batch
        self._window = plan.window
        self._repeat = plan.repeat
        self._devices = plan.devices
        self._fixes_each = plan.packet
        self._fixes = plan.fixes
        self._since: deque[float] = deque()  # whence latency counts, for each one in flight
        self._counted = -1  # the last packet whose fixes are counted as answered
        self._late_s = plan.late_s
        self._trouble = Trouble(plan, score, number) if plan.habits.troubled else None
        self._withheld = 0  # packets that fell due while there is no network
        self._released_at = 0.0
        self.online = asyncio.Event()  # whether there is a network to call over, and something to call for
        self._hangs_up = plan.habits.hangs_up
        if self._hangs_up and plan.fixes:
            self.started.set_result(None)
        else:
            self.online.set()
        self.deliberate = False  # the present connection ends by the scenario's doing

    # ------------------------------------------------------------------ asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.score.connects += 1
        self.score.connected += 1
        self.ended = asyncio.get_running_loop().create_future()
        self.paused = False
        self.asked_at = now_s()
        self._open()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.ready = False
        self.score.connected -= 1
        if self.deliberate:
            self.deliberate = False
            self._rewind()
        elif not self.over.done():
            self.score.breaks += 1
            self.score.errors[f"connection broken: {exc}" if exc else "connection closed by the server"] += 1
            self._rewind()
        if not self.ended.done():
            self.ended.set_result(None)

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self.pump(now_s())

    # ------------------------------------------------------------------ what kinds differ in

    @abstractmethod
    def _open(self) -> None:
        """The connection is there: log in, and when that is done call ``_begin``."""

    def _begin(self) -> None:
        """Logged in: send."""
        self.ready = True
        now = self.progress_at = now_s()
        if not self.started.done():
            self.started.set_result(None)
        self.pump(now)

    # ------------------------------------------------------------------ sending

    def pump(self, now: float) -> None:
        """Send all that may be sent now. Latencies count from the moment before the packet is written."""
        if not self.ready or self.over.done():
            return
        transport, window, script, trouble = self.transport, self._window, self.script, self._trouble
        assert transport is not None
        while (number := self.sent) < self.allowed and number - self.done < window and not self.paused:
            packet = number // self._repeat
            if packet >= script.ready:
                now = self._prepare()
            data = script.packets[packet - script.first]
            if trouble is None:
                transport.write(data)
            elif self._struck(trouble, number, data):
                return
            else:
                trouble.write(transport, data)
            self._sent(number, now)
            if self.done == number and not script.answers[packet - script.first]:
                self._unanswerable()
        if self.done == self.total:
            self._finish()

    def _sent(self, number: int, now: float) -> None:
        score = self.score
        if self.done == number:
            self.asked_at = now
        if number < self.sent_most:
            score.resent += 1
        else:
            self.sent_most = number + 1
            rate = score.packet_rate
            if rate is None:
                self._since.append(now)
            else:
                due = score.zero + (number * self._devices + self.number) / rate
                self._since.append(max(self._released_at, due))
        self.sent = number + 1
        score.packets_sent += 1

    def allow(self) -> None:
        """One more packet is due; while there is no network it is kept until there is."""
        habits = self.score.plan.habits
        if not habits.offline_packets:
            self.allowed += 1
            self._call()
            self.pump(now_s())
            return
        packet = self.allowed + self._withheld
        if habits.offline(packet):
            if not self._withheld:
                self.online.clear()
                self.score.troubles["offline"] += 1
                self.lose()
            self._withheld += 1
            if habits.offline(packet + 1) and packet + 1 < self.total:
                return
            self.allowed += self._withheld
            self._withheld = 0
            self._released_at = self.progress_at = now_s()
            self.online.set()
        else:
            self.allowed += 1
            self._call()
        self.pump(now_s())

    def _call(self) -> None:
        """There is something to say."""
        if not self.online.is_set():
            self.progress_at = now_s()
            self.online.set()

    def _struck(self, trouble: Trouble, packet: int, data: bytes) -> bool:
        """Let happen to the connection what is to happen before this packet; True: it is gone."""
        what = trouble.before(packet, now_s())
        if not what:
            return False
        self.score.troubles[what] += 1
        if what in {"half-open", "forgotten by NAT"}:
            self._abandon()
        else:
            if what == "cut in mid-packet":
                assert self.transport is not None
                self.transport.write(data[: max(1, len(data) // 2)])
            self.lose()
        return True

    def lose(self) -> None:
        """End the present connection, as a network does."""
        self.ready = False
        if self.transport is not None and not self.over.done():
            self.deliberate = True
            self.transport.close()

    def _abandon(self) -> None:
        """Leave the connection as it is and call anew."""
        assert self.transport is not None
        transport, self.transport = self.transport, None
        self.ready = False
        transport.set_protocol(Abandoned(self.score, transport))
        self.score.connected -= 1
        self._rewind()
        if not self.ended.done():
            self.ended.set_result(None)

    def _prepare(self) -> float:
        """What did not fit into memory before the clock started is made ready now; the time is told apart. Answers the
        moment after it.
        """
        begun = now_s()
        self.script.prepare(self._batch, self.done // self._repeat)
        now = now_s()
        self.score.prepared_in_run_s += now - begun
        return now

    # ------------------------------------------------------------------ answers

    def expected(self) -> bytes:
        """The answer owed to ``done``."""
        script = self.script
        return script.answers[self.done // self._repeat - script.first]

    def answered(self, now: float, *, right: bool) -> None:
        """The answer to ``done`` is here."""
        score, trouble = self.score, self._trouble
        packet = self.done // self._repeat
        if right:
            took_s = now - self._since[0]
            if trouble is None or trouble.doubled != packet:
                score.latency.add(took_s)
            if self._late_s is not None and took_s > self._late_s:
                score.late += 1
            score.packets_answered += 1
            if packet != self._counted:
                self._counted = packet
                fixes = self.fixes_of(self.done)
                score.fixes_answered += fixes
                if score.ledger is not None:
                    at = (packet - self.script.first) * self._fixes_each
                    score.ledger.add(self.script.unique_id, self.script.times[at : at + fixes])
        self.asked_at = self.progress_at = score.last_at = now
        self.heard = True
        if right and trouble is not None and trouble.again(packet):
            self._rewind()
            return
        self._settled()
        while self.done < self.sent and not self.expected():
            self._unanswerable()

    def _unanswerable(self) -> None:
        """No answer is owed to ``done``: with sending it is settled."""
        packet = self.done // self._repeat
        if packet != self._counted:
            self._counted = packet
            self.score.fixes_unanswerable += self.fixes_of(self.done)
        self._settled()

    def missed(self) -> None:
        """The answer to ``done`` is waited for no longer."""
        self.asked_at = now_s()
        self._settled()

    def fixes_of(self, number: int) -> int:
        """How many fixes send ``number`` carries."""
        each = self._fixes_each
        left = self._fixes - number // self._repeat * each
        return min(left, each)  # (min() is a call)

    def _settled(self) -> None:
        self.done += 1
        self._since.popleft()
        if self._hangs_up and self.done == self.allowed < self.total:
            self.online.clear()
            self.lose()

    # ------------------------------------------------------------------ ends

    def _rewind(self) -> None:
        """What is unanswered is to be sent again. Its latency counts from when it was sent first."""
        self.sent = self.done

    def _finish(self) -> None:
        if not self.over.done():
            self.score.last_at = max(self.score.last_at, now_s())
            self.over.set_result(None)

    def give_up(self, why: str) -> None:
        """Send no more, for this reason."""
        if not self.over.done():
            self.failed = True
            self.score.errors[why] += 1
            self.over.set_result(None)
            if not self.started.done():
                self.started.set_result(None)
        self.close()

    def close(self) -> None:
        """End the connection, if there is one."""
        if self.transport is not None:
            self.transport.abort()

    def say_goodbye(self) -> None:
        """Close after the last answer. Where none is owed, say that nothing follows and let the server close:
        then it has read everything.
        """
        if self.transport is None:
            return
        if self.sent and not self.failed and self.done == self.sent and self._last_is_unanswered():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _last_is_unanswered(self) -> bool:
        answers = self.script.answers
        return bool(answers) and not answers[-1]

    def late(self) -> None:
        """No answer came in time."""
        self.score.timeouts += 1
        if self.score.plan.reconnect:
            self.score.errors["no answer in time: connection closed"] += 1
            self.close()
        else:
            self.give_up("no answer in time")
