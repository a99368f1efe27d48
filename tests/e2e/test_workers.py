"""Several processes on the same ports: answers, kills, one device that talks to two of them, and what there is one of."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import random
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import uvloop

from tests.e2e.fleet import Fleet
from tests.e2e.routes import rows, settled, target
from tests.e2e.talk import Talk, device, fixes, talking
from tests.e2e.test_answers import REGISTER, metrics
from tests.e2e.test_commands import heard, sent
from tests.e2e.test_faults import settle
from tests.e2e.test_track import RING, STANDING, drawn
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.track.world import random_day
from tracker_server.config import Settings, Storage, as_line, load, of_line
from tracker_server.listeners import server as listening
from tracker_server.metrics import Metrics
from tracker_server.spawned import spawn
from tracker_server.track.observation import Observation, arranged

IMEI = "356938035643809"
WORKERS = {**REGISTER, "workers": 2}


def processes(running: Running) -> list[psutil.Process]:
    """The first process, then its worker."""
    assert running.process is not None
    found = [psutil.Process(running.process.pid)]
    for child in found[0].children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "tracker_server.cli.worker" in child.cmdline():
                found.append(child)
    return found


def owner(running: Running, port: int) -> int:
    """Which of them has accepted the connection from this port of ours: 0, or 1."""

    def found() -> list[int]:
        return [
            number
            for number, process in enumerate(processes(running))
            for each in process.net_connections("tcp")
            if each.raddr and each.raddr.port == port
        ]

    return wait_until("the connection to be accepted", found)[0]


@contextlib.contextmanager
def talking_to(running: Running, protocol: str, number: int) -> Generator[Talk]:
    """A connection that this process has: which one takes it is drawn from the port, so try."""
    with contextlib.ExitStack() as stack:
        while True:
            talk = stack.enter_context(talking(running.addresses[protocol]))
            if owner(running, talk.socket.getsockname()[1]) == number:
                break
        yield talk


def counted(running: Running, name: str) -> int:
    return sum(int(float(line.split()[-1])) for line in metrics(running) if line.startswith(name))


async def test_a_worker_that_is_killed_costs_nothing_that_was_answered(
    server: Servers, postgres_dsn: str
) -> None:
    running = server(WORKERS, dsn=postgres_dsn, protocols=["gt06"])
    fleet = Fleet("gt06", running.addresses["gt06"], devices=24, packets=100, size=1)
    driving = asyncio.create_task(fleet.run())
    for kill in range(3):
        await asyncio.wait(
            [driving, asyncio.ensure_future(fleet.reached(fleet.total * (kill + 1) / 5))],
            return_when="FIRST_COMPLETED",
        )
        (worker,) = processes(running)[1:]
        worker.kill()
        await asyncio.to_thread(
            wait_until, "another", lambda pid=worker.pid: [p for p in processes(running)[1:] if p.pid != pid]
        )
    await driving
    await settle(fleet, running)
    assert len(fleet.answered) == fleet.total
    assert fleet.reconnects
    online = rows(running, "SELECT device_id FROM core.events WHERE type = 'deviceOnline'")
    assert len(online) == len(set(online)) == len(fleet.ids), "each came online once, wherever it called"
    assert counted(running, "tracker_fixes_stored_total") > 0


def test_one_server_of_two_processes(server: Servers, postgres_dsn: str) -> None:
    """One server for two stories, for starting it takes a while."""
    running = server(WORKERS, dsn=postgres_dsn, protocols=["gt06", "osmand"])
    the_newest_connection_counts(running)
    one_device_over_both_leaves_the_same_track(running)
    running.kill()  # a worker does not outlive the first process, and the ports are free again
    running.launch()
    login = device("gt06", IMEI).login()
    assert login is not None
    with talking(running.addresses["gt06"]) as talk:
        assert talk.ask(login) == login.answer


def the_newest_connection_counts(running: Running) -> None:
    """All are counted together; and a device is told something over its newest connection, whoever has it."""
    speaker = device("gt06", IMEI)
    login = speaker.login()
    assert login is not None
    with talking_to(running, "gt06", 0) as one, talking_to(running, "gt06", 1) as other:
        assert one.ask(login) == login.answer
        for fix in fixes(3):
            report = speaker.report([fix])
            assert one.ask(report) == report.answer
        assert other.ask(login) == login.answer
        assert one.rest() == b"", "it has called the other process: its old connection is closed"
        for fix in fixes(10)[3:]:
            report = speaker.report([fix])
            assert other.ask(report) == report.answer
        wait_until("both to be counted", lambda: counted(running, "tracker_fixes_stored_total") == 10)
        sent(running, IMEI, "custom", "--data", "STATUS#")
        assert heard(other, b"STATUS#")
    assert rows(running, "SELECT count(*) FROM core.events WHERE type = 'deviceOnline'") == [(1,)]


def one_device_over_both_leaves_the_same_track(running: Running) -> None:
    """In order, by turns over two connections; and shuffled, over both at once."""
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    drawn(running, RING)
    day = [seen for seen in arranged(random_day(seed % 1_000)) if seen.latitude is not None][:60]
    mixed = [*day, *rng.sample(day, 10)]
    rng.shuffle(mixed)

    def report(lines: Sequence[http.client.HTTPConnection], name: str, way: Sequence[Observation]) -> None:
        for number, seen in enumerate(way):
            line = lines[number % len(lines)]
            line.request("GET", target(seen, name))
            answer = line.getresponse()
            answer.read()
            assert answer.status == 200

    with (
        talking_to(running, "osmand", 0) as one,
        talking_to(running, "osmand", 1) as other,
        ThreadPoolExecutor() as pool,
    ):
        lines = [http.client.HTTPConnection(*running.addresses["osmand"]) for _ in range(2)]
        for line, talk in zip(lines, (one, other), strict=True):
            line.sock = talk.socket
        report(lines[:1], "order", day)
        report(lines, "turns", day)
        for done in [
            pool.submit(report, [line], "mixed", mixed[number::2]) for number, line in enumerate(lines)
        ]:
            done.result()
    settled(running)
    expected = rows(running, STANDING, "order")
    assert len(expected) > 3
    assert rows(running, STANDING, "turns") == expected
    assert rows(running, STANDING, "mixed") == expected


def test_a_worker_ends_with_the_first_process_though_the_database_is_away(tmp_path: Path) -> None:
    nowhere = Storage(dsn="postgresql://postgres@127.0.0.1:9/tracker")
    line = as_line(Settings(data_dir=tmp_path, storage=nowhere, workers=2))
    worker = [sys.executable, "-m", "tracker_server.cli.worker", "1"]
    ended = subprocess.run(worker, input=line + b"\n", capture_output=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    assert b"ended before it listened" in ended.stderr


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_who_has_ended_is_told_nothing(run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    """A process may die before it is told anything: that is its end, not ours."""

    async def main() -> None:
        process = await spawn(sys.executable, "-c", "import os; os.close(0); print('gone', flush=True)")
        assert await process.stdout.read() == b"gone\n"
        for _ in range(3):
            process.tell(b"is anybody there?\n" * 10_000)
            await asyncio.sleep(0)
        assert await process.wait() == process.returncode == 0
        process.tell(b"?")
        process.tell_no_more()

    run(main())


def test_settings_survive_the_line(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'data_dir = "/srv/tracks"\nworkers = 3\n[smtp]\nhost = "mail"\nfrom = "a@example.com"\n'
        '[mappings.cow]\nlatitude = "y"\nlongitude = "x"\n'
    )
    settings = load(file, environment={}).settings
    assert of_line(as_line(settings)) == settings
    assert of_line(as_line(Settings())) == Settings()


def test_what_a_worker_counted_stays_counted_when_it_dies() -> None:
    metrics, worker = Metrics(), Metrics()
    metrics.of_protocol("gt06").fixes.inc(2)
    for of in (worker.of_protocol("gt06"), worker.of_protocol("h02")):
        of.fixes.inc(3)
        of.connections.inc(4)
    worker.commit_seconds.observe(0.3)
    counts = json.loads(json.dumps(worker.counts()))
    metrics.take(1, counts)
    metrics.take(1, counts)
    assert metrics.whole("tracker_fixes_stored_total") == 8
    assert metrics.whole("tracker_fixes_stored_total", protocol="gt06") == 5
    assert metrics.whole("tracker_connections") == 8
    metrics.gone(1)
    metrics.take(1, [("tracker_fixes_stored_total", {"protocol": "h02"}, 1.0)])
    assert metrics.whole("tracker_fixes_stored_total") == 9
    assert metrics.whole("tracker_connections") == 0
    assert metrics.whole("tracker_commit_seconds_count") == 1
    text = metrics.exposition().decode()
    assert text.count("# TYPE tracker_fixes_stored_total counter") == 1
    assert 'tracker_fixes_stored_total{protocol="h02"} 4.0' in text


@pytest.mark.parametrize("protocol", ["gt06", "h02"])
def test_a_port_of_another_server_is_not_shared(protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel would let us: half of its devices would come to us without a word."""
    monkeypatch.setattr(listening, "FREE_S_MAX", 0.0)
    kind = socket.SOCK_STREAM if protocol == "gt06" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        with pytest.raises(OSError, match="in use"):
            asyncio.run(listening.free("127.0.0.1", taken.getsockname()[1], kind))
