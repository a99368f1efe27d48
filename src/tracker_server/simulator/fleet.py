"""A run: scripts made ready, devices connected, the clock started, everything owed waited for, connections closed."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import resource
import socket
import time
from collections.abc import Callable

from tracker_protocols.protocol import Transport
from tracker_server.simulator.conversation import Conversation, now_s
from tracker_server.simulator.datagrams import DatagramConversation
from tracker_server.simulator.ledger import Ledger
from tracker_server.simulator.plan import Plan, PlanError
from tracker_server.simulator.score import Score
from tracker_server.simulator.script import Script, packets_at_once
from tracker_server.simulator.streams import FrameConversation, HttpConversation
from tracker_server.simulator.timeline import Timeline
from tracker_server.simulator.trouble import strays

CONNECTING_MAX = 256  # handshakes under way at once; a listener's backlog is not endless
BACKOFF_S_FIRST, BACKOFF_S_MAX = 0.05, 2.0
TICK_S = 0.001  # the finest step of an open loop: below it the timer costs more than the packets
LOOK_S_MAX = 0.25  # how often answers that are overdue are looked for
FILES_BESIDE = 64  # descriptors that are not connections

KINDS: dict[Transport, type[Conversation]] = {
    Transport.TCP: FrameConversation,
    Transport.UDP: DatagramConversation,
    Transport.HTTP: HttpConversation,
    Transport.MQTT: FrameConversation,
}


class Fleet:
    """One run of a plan. ``prepare`` first, then ``run`` on a loop; ``score`` tells all along how it goes."""

    def __init__(self, plan: Plan, ledger: Ledger | None = None) -> None:
        self.plan = plan
        self.score = Score(plan, ledger)
        self.conversations: list[Conversation] = []
        self.timeline = Timeline(self.score)
        self.prepare_s = self.connect_s = self.run_s = self.cpu_s = 0.0
        self._batch = packets_at_once(plan)
        self._scripts: list[Script] = []
        self._stopped = asyncio.Event()
        self._all_over = asyncio.Event()

    def prepare(self, told: Callable[[int], None]) -> None:
        """Make the packets of all devices ready. ``told`` hears after each device how many are."""
        begun = time.perf_counter()
        for number in range(self.plan.devices):
            script = Script(self.plan, number)
            script.prepare(self._batch, 0)
            self._scripts.append(script)
            told(number + 1)
        gc.collect()
        gc.freeze()  # nothing made so far dies before the run does
        self.prepare_s = time.perf_counter() - begun

    def stop(self) -> None:
        """End the run early."""
        self.score.interrupted = True
        self._stopped.set()
        for conversation in self.conversations:
            conversation.give_up("interrupted")

    async def run(self, together: asyncio.Barrier | None = None) -> None:
        """From the first connection to the last farewell. ``together``: several fleets begin to send when all of
        them are connected. Raises OSError where the ledger cannot be written.
        """
        kind, score = KINDS[self.plan.transport], self.score
        self.conversations = [
            kind(score, number, script, self._batch) for number, script in enumerate(self._scripts)
        ]
        begun = now_s()
        connecting = asyncio.Semaphore(CONNECTING_MAX)
        try:
            async with asyncio.TaskGroup() as tasks:
                beside = [tasks.create_task(self._look()), tasks.create_task(self.timeline.run())]
                if self.plan.habits.strays_per_s:
                    beside.append(tasks.create_task(strays(self.plan, score)))
                if score.ledger is not None:
                    beside.append(tasks.create_task(self._keep_ledger(score.ledger)))
                lives = [tasks.create_task(self._live(one, connecting)) for one in self.conversations]
                await asyncio.wait([one.started for one in self.conversations])
                self.connect_s = now_s() - begun
                if together is not None:
                    await together.wait()
                beside.extend(tasks.create_task(self._storm(at_s)) for at_s in self.plan.habits.storms_s)
                await self._send_all(tasks)
                await self._hold()
                self._all_over.set()
                await asyncio.wait(lives)
                self.run_s = score.last_at - score.zero
                self.timeline.look()
                for task in beside:
                    task.cancel()
        finally:
            for left in list(score.abandoned):
                left.close()
            if score.ledger is not None:
                score.ledger.close()

    async def _send_all(self, tasks: asyncio.TaskGroup) -> None:
        cpu = time.process_time()
        score = self.score
        score.zero = score.last_at = now_s()
        pace = None
        if score.packet_rate is None or not self.plan.fixes:
            for one in self.conversations:
                one.allowed = one.total
                one.pump(score.zero)
        else:
            pace = tasks.create_task(self._pace(score.packet_rate))
        await asyncio.wait([one.over for one in self.conversations])
        if pace is not None:
            pace.cancel()
        self.cpu_s = time.process_time() - cpu

    async def _hold(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), self.plan.hold_s)

    async def _pace(self, packet_rate: float) -> None:
        """Open loop: the ``n``-th packet of all is due at ``n / packet_rate``, whatever was answered until then."""
        conversations, zero = self.conversations, self.score.zero
        count = len(conversations)
        total = count * conversations[0].total
        due = 0
        while due < total:
            now = now_s()
            until = min(total, int((now - zero) * packet_rate) + 1)
            for number in range(due, until):
                conversations[number % count].allow()
            due = max(due, until)
            await asyncio.sleep(max(TICK_S, zero + due / packet_rate - now_s()))

    async def _storm(self, at_s: float) -> None:
        """Everybody's connection breaks at the same moment."""
        await asyncio.sleep(at_s)
        for one in self.conversations:
            if one.transport is not None:
                self.score.troubles["storm"] += 1
                one.lose()

    # ------------------------------------------------------------------ one device's life

    async def _live(self, one: Conversation, connecting: asyncio.Semaphore) -> None:
        plan, backoff_s = self.plan, BACKOFF_S_FIRST
        one.progress_at = now_s()
        while not one.over.done():
            if not one.online.is_set():
                waiting = asyncio.ensure_future(one.online.wait())
                await asyncio.wait([waiting, one.over], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
            async with connecting:
                if not one.over.done():
                    await self._connect(one)
            await asyncio.wait([one.ended, one.over], return_when=asyncio.FIRST_COMPLETED)
            if one.over.done():
                break
            if not plan.reconnect:
                one.give_up("connection lost or refused, and --reconnect was not given")
            elif now_s() - one.progress_at > plan.give_up_s:
                one.give_up(f"no progress for {plan.give_up_s:g} s")
            else:
                if one.heard:
                    one.heard, backoff_s = False, BACKOFF_S_FIRST
                if one.online.is_set():
                    await asyncio.wait([one.over], timeout=backoff_s)
                backoff_s = min(backoff_s * 2, BACKOFF_S_MAX)
        if plan.hold_s:
            await self._all_over.wait()
        await self._part(one)

    async def _connect(self, one: Conversation) -> None:
        loop, plan = asyncio.get_running_loop(), self.plan
        try:
            async with asyncio.timeout(plan.timeout_s):
                if plan.transport is Transport.UDP:
                    await loop.create_datagram_endpoint(lambda: one, remote_addr=(plan.host, plan.port))
                else:
                    await loop.create_connection(lambda: one, plan.host, plan.port)
        except OSError as error:
            self.score.errors[f"cannot connect: {why(error, plan.timeout_s)}"] += 1

    async def _part(self, one: Conversation) -> None:
        if one.transport is None:
            return
        one.say_goodbye()
        done, _ = await asyncio.wait([one.ended], timeout=self.plan.timeout_s)
        if not done:
            self.score.errors["the server did not close a connection on which all was said"] += 1
            one.close()
            await one.ended
        elif self.score.fixes_unanswerable:
            self.score.last_at = now_s()  # now the server has read everything

    # ------------------------------------------------------------------ beside

    async def _look(self) -> None:
        """Find answers that are overdue, for ever."""
        timeout_s = self.plan.timeout_s
        while True:
            await asyncio.sleep(min(LOOK_S_MAX, timeout_s / 4))
            now = now_s()
            for one in self.conversations:
                waiting = one.transport is not None and (not one.ready or one.done < one.sent)
                if waiting and now - one.asked_at > timeout_s and not one.over.done():
                    one.late()

    async def _keep_ledger(self, ledger: Ledger) -> None:
        while True:
            await asyncio.sleep(ledger.FLUSH_S)
            ledger.flush()


def why(error: OSError, timeout_s: float) -> str:
    """The system's own words, without the address that some loops put before them; ours, where it was we who waited no
    longer. (What the system gives up after its own tries is a TimeoutError as well, with a number.)
    """
    if isinstance(error, TimeoutError) and error.errno is None:
        return f"no answer within {timeout_s:g} s"
    if error.errno is None or isinstance(error, socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno)


def allow_connections(devices: int) -> None:
    """Raise this process's limit of open files so far as a fleet needs. Raises PlanError."""
    needed = devices + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise PlanError(
            f"--devices: {devices} connections need {needed} open files, and {hard} are allowed; "
            "use fewer devices, or raise the limit (ulimit -Hn)"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
