"""The faults, each of which heals itself in the end; which comes when is drawn from the seed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import resource
import signal
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import psutil
from msgspec import Struct

from tests.chaos.plant import FAKETIME, Plant
from tests.chaos.proxy import Cut, Proxy
from tests.servers.mosquitto import Mosquitto

Found = TypeVar("Found")

READY_S_MAX = 240.0  # on a machine that is busy with other things
FULL_S_MAX = 6.0
CUT_S_MAX = 5.0
AMBUSH_S_MAX = 30.0
MEMORY_MB_MORE = 24  # than the server has when the limit comes


class Chance(Struct):
    """What a fault may draw, and the plant that it breaks. ``kills``: processes that were killed with SIGKILL."""

    plant: Plant
    proxy: Proxy
    rng: random.Random
    kills: int = 0

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
    chance.kills += 1
    await launch(chance.plant)


async def kill_server_twice(chance: Chance) -> None:
    """kill -9, and once more while it starts."""
    running = chance.plant.running
    assert running is not None
    running.kill()
    starting = asyncio.create_task(asyncio.to_thread(running.launch, READY_S_MAX))
    await asyncio.wait([starting], timeout=chance.seconds(0.1, 2.5))
    if running.process is not None:
        running.process.kill()
    with contextlib.suppress(AssertionError):
        await starting
    if running.process is not None:  # it was ready already
        running.kill()
    chance.kills += 2
    await launch(chance.plant)


async def kill_deliverer(chance: Chance) -> None:
    """kill -9 of the process that delivers mails, when the mail server has taken one and has not yet said so."""
    plant = chance.plant
    running = plant.running
    assert running is not None
    assert running.process is not None
    if not await asyncio.to_thread(plant.mail.ambush, _relatives(running.process.pid), AMBUSH_S_MAX):
        return  # nothing was sent in that time: nobody was killed
    chance.kills += 1
    if plant.mail.victim == running.process.pid:
        running.kill()
        await launch(plant)
    else:
        await _worker_in_place_of(plant, plant.mail.victim)


def _relatives(pid: int) -> list[psutil.Process]:
    """The server's process and those beside it."""
    first = psutil.Process(pid)
    return [first, *first.children()]


async def kill_worker(chance: Chance) -> None:
    """kill -9 of one of the processes beside the first; that one starts it again."""
    # where the one before was killed a moment ago there is none yet
    victim = chance.rng.choice(await _until(chance.plant.worker_processes))
    victim.kill()
    chance.kills += 1
    await _worker_in_place_of(chance.plant, victim.pid)


async def _worker_in_place_of(plant: Plant, pid: int) -> None:
    await _until(lambda: any(one.pid != pid for one in plant.worker_processes()))


async def _until(condition: Callable[[], Found]) -> Found:
    """Its first true value: other processes make it true. Raises TimeoutError."""
    async with asyncio.timeout(READY_S_MAX):
        while not (found := condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    return found


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
    chance.kills += 1
    await chance.plant.start_database()


async def kill_backend(chance: Chance) -> None:
    """kill -9 of one of its backends: PostgreSQL throws all of them out and recovers."""
    plant = chance.plant
    victims = await _until(
        lambda: [one for one in plant.postgres()[1:] if "postgres tracker" in _command(one)]
    )
    before = _crashes(plant)
    chance.rng.choice(victims).kill()
    chance.kills += 1
    await _until(lambda: _crashes(plant) > before)


def _crashes(plant: Plant) -> int:
    """How often PostgreSQL has noticed that a backend was killed."""
    return plant.embedded.log_file.read_bytes().count(b"was terminated by signal 9")


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
    chance.kills += 2
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
        chance.kills += 1
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


async def kill_broker(chance: Chance) -> None:
    """kill -9 of the broker to which the server publishes."""
    broker = _broker(chance)
    chance.plant.broker_killed = True
    await asyncio.to_thread(broker.kill)
    chance.kills += 1
    await asyncio.sleep(chance.seconds(0.0, 3.0))
    await asyncio.to_thread(broker.launch)


async def restart_broker(chance: Chance) -> None:
    """Stopped in order, and started again."""
    broker = _broker(chance)
    await asyncio.to_thread(broker.stop)
    await asyncio.to_thread(broker.launch)


async def freeze_broker(chance: Chance) -> None:
    """SIGSTOP: its line is open, and nobody answers."""
    broker = _broker(chance)
    broker.freeze()
    try:
        await asyncio.sleep(chance.seconds(0.5, 5.0))
    finally:
        broker.resume()


def _broker(chance: Chance) -> Mosquitto:
    assert chance.plant.broker is not None
    return chance.plant.broker


async def deafen_receivers(chance: Chance) -> None:
    """Mail server and webhook receiver take nothing for a while, or take it and say that they have not."""
    plant = chance.plant
    plant.hooks.answers += [(503, "")] * chance.rng.randrange(1, 8)
    plant.mail.answers += ["451 later"] * chance.rng.randrange(1, 4)
    plant.mail.data_answers += ["451 later"] * chance.rng.randrange(0, 3)
    await asyncio.sleep(chance.seconds(0.5, 2.0))


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
    kill_server_twice, kill_deliverer, kill_backend, kill_worker, kill_broker, restart_broker, freeze_broker, deafen_receivers, cut_before_commit, cut_after_commit, cut_all, fill_disk, step_clock, limit_memory,
)  # fmt: skip

KILLS: tuple[Fault, ...] = (
    kill_server, kill_database, kill_both, kill_server_behind_a_frozen_database, kill_server_twice, kill_deliverer,
    kill_backend, kill_worker, kill_broker,
)  # fmt: skip


BY_NAME: dict[str, Fault] = {fault.__name__: fault for fault in FAULTS}


def possible(plant: Plant) -> tuple[Fault, ...]:
    """Those that this machine can do."""
    impossible: set[Fault] = set()
    if not plant.small_disk:
        impossible.add(fill_disk)
    if not FAKETIME.exists():
        impossible.add(step_clock)
    if plant.workers == 1:
        impossible.add(kill_worker)
    if plant.broker is None:
        impossible |= {kill_broker, restart_broker, freeze_broker}
    return tuple(fault for fault in FAULTS if fault not in impossible)


def drawn(plant: Plant, rng: random.Random, among: Sequence[Fault] = FAULTS) -> list[Fault]:
    """A round: each possible fault once, in an order of the seed's."""
    faults = [fault for fault in possible(plant) if fault in among]
    rng.shuffle(faults)
    return faults


def now() -> str:
    """For the log."""
    return datetime.now(UTC).strftime("%H:%M:%S")
