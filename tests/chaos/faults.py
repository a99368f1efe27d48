"""The faults, each of which heals itself in the end; which comes when is drawn from the seed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import psutil
from msgspec import Struct

from tests.chaos.plant import FAKETIME, Plant
from tests.chaos.proxy import Cut, Proxy

READY_S_MAX = 90.0
FULL_S_MAX = 6.0
CUT_S_MAX = 5.0
MEMORY_MB_MORE = 24  # than the server has when the limit comes


class Chance(Struct):
    """What a fault may draw, and the plant that it breaks."""

    plant: Plant
    proxy: Proxy
    rng: random.Random

    def seconds(self, least: float, most: float) -> float:
        """A length drawn from the seed."""
        return self.rng.uniform(least, most)


Fault = Callable[[Chance], Awaitable[None]]


async def launch(plant: Plant) -> None:
    """Start the server; a database that is just coming back may make it give up at first."""
    assert plant.running is not None
    until = asyncio.get_running_loop().time() + READY_S_MAX
    while plant.running.process is None:
        try:
            await asyncio.to_thread(plant.running.launch, READY_S_MAX)
        except AssertionError:
            if asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(0.5)


async def kill_server(chance: Chance) -> None:
    """kill -9 of the server."""
    running = chance.plant.running
    assert running is not None
    running.kill()
    await launch(chance.plant)


async def restart_server(chance: Chance) -> None:
    """SIGTERM; it must drain and exit 0."""
    running = chance.plant.running
    assert running is not None
    await asyncio.to_thread(running.stop)
    await launch(chance.plant)


async def freeze_server(chance: Chance) -> None:
    """SIGSTOP, and after a while SIGCONT."""
    running = chance.plant.running
    assert running is not None
    assert running.process is not None
    running.process.send_signal(signal.SIGSTOP)
    try:
        await asyncio.sleep(chance.seconds(0.5, 3.0))
    finally:
        running.process.send_signal(signal.SIGCONT)


async def kill_database(chance: Chance) -> None:
    """kill -9 of PostgreSQL's postmaster."""
    chance.plant.postgres()[0].kill()
    await chance.plant.start_database()


async def kill_backend(chance: Chance) -> None:
    """kill -9 of one of its backends: PostgreSQL throws all of them out and recovers."""
    children = chance.plant.postgres()[1:]
    backends = [
        child
        for child in children
        if "tracker_core" in _command(child) or "postgres tracker" in _command(child)
    ]
    if backends:
        chance.rng.choice(backends).kill()


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


async def restart_database(chance: Chance) -> None:
    """Stopped in order, throwing everybody out, and started again."""
    postmaster = chance.plant.postgres()[0]
    postmaster.send_signal(signal.SIGINT)
    await asyncio.to_thread(_wait, postmaster)
    await chance.plant.start_database()


def _wait(process: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.wait(READY_S_MAX)


async def freeze_database(chance: Chance) -> None:
    """SIGSTOP to all of PostgreSQL's processes."""
    processes = chance.plant.postgres()
    _signal(processes, signal.SIGSTOP)
    try:
        await asyncio.sleep(chance.seconds(0.5, 3.0))
    finally:
        _signal(processes, signal.SIGCONT)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


async def kill_both(chance: Chance) -> None:
    """kill -9 of both at the same moment."""
    running = chance.plant.running
    assert running is not None
    chance.plant.postgres()[0].kill()
    running.kill()
    await chance.plant.start_database()
    await launch(chance.plant)


async def kill_server_behind_a_frozen_database(chance: Chance) -> None:
    """What waits for a commit when the server is killed was never answered."""
    running = chance.plant.running
    assert running is not None
    processes = chance.plant.postgres()
    _signal(processes, signal.SIGSTOP)
    try:
        await asyncio.sleep(chance.seconds(0.5, 1.5))
        running.kill()
    finally:
        _signal(processes, signal.SIGCONT)
    await launch(chance.plant)


async def cut_before_commit(chance: Chance) -> None:
    """The connection that commits next breaks before its COMMIT arrives."""
    await _cut(chance, Cut.BEFORE)


async def cut_after_commit(chance: Chance) -> None:
    """The connection that commits next breaks after its COMMIT, before the answer."""
    await _cut(chance, Cut.AFTER)


async def _cut(chance: Chance, how: Cut) -> None:
    chance.proxy.arm(how)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(chance.proxy.cut.wait(), CUT_S_MAX)


async def cut_all(chance: Chance) -> None:
    """Every connection to the database breaks."""
    chance.proxy.cut_all()


async def fill_disk(chance: Chance) -> None:
    """The database's disk is full; after a while there is room again."""
    plant = chance.plant
    ballast = plant.disk / "ballast"
    room = os.statvfs(plant.disk)
    file = os.open(ballast, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with contextlib.suppress(OSError):  # it is as full as it gets
            os.posix_fallocate(file, 0, room.f_bavail * room.f_frsize)
        await asyncio.sleep(chance.seconds(1.0, FULL_S_MAX))
    finally:
        os.close(file)
        ballast.unlink()
    await plant.start_database()  # PostgreSQL gives up where it cannot write its log


async def step_clock(chance: Chance) -> None:
    """The server's clock jumps by up to 90 minutes, forth or back, and later returns."""
    clock = chance.plant.clock
    clock.write_text(f"{chance.rng.choice('+-')}{chance.rng.randrange(60, 5_400)}\n")
    await asyncio.sleep(chance.seconds(2.0, 5.0))
    clock.write_text("+0\n")


async def limit_memory(chance: Chance) -> None:
    """The server may have hardly more memory than it has; if that ends it, it is started again."""
    running = chance.plant.running
    assert running is not None
    assert running.process is not None
    pid = running.process.pid
    limit = psutil.Process(pid).memory_info().vms + MEMORY_MB_MORE * 1_000_000
    before = resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    await asyncio.sleep(chance.seconds(2.0, 5.0))
    if running.process.poll() is None:
        resource.prlimit(pid, resource.RLIMIT_AS, before)
    else:
        running.kill()
        await launch(chance.plant)


FAULTS: tuple[Fault, ...] = (
    kill_server, kill_database, kill_both, kill_server_behind_a_frozen_database, restart_server, freeze_server, restart_database, freeze_database,
    kill_backend, cut_before_commit, cut_after_commit, cut_all, fill_disk, step_clock, limit_memory,
)  # fmt: skip


BY_NAME: dict[str, Fault] = {fault.__name__: fault for fault in FAULTS}


def possible(plant: Plant) -> tuple[Fault, ...]:
    """Those that this machine can do."""
    impossible = (set() if plant.small_disk else {fill_disk}) | (set() if FAKETIME.exists() else {step_clock})
    return tuple(fault for fault in FAULTS if fault not in impossible)


def drawn(plant: Plant, rng: random.Random) -> list[Fault]:
    """A round: each possible fault once, in an order of the seed's."""
    faults = list(possible(plant))
    rng.shuffle(faults)
    return faults


def now() -> str:
    """For the log."""
    return datetime.now(UTC).strftime("%H:%M:%S")
