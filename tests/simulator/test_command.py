from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.servers.ports import free_port
from tests.servers.serve import PROGRAM
from tests.simulator.peers import peer, wrong_at
from tracker_server.cli.simulate import simulate


def wrong_use(capsys: pytest.CaptureFixture[str], **flags: object) -> str:
    """What the command says on stderr; it must exit 2."""
    given: dict[str, object] = {"protocol": "gt06", "target": "127.0.0.1:9", **flags}
    with pytest.raises(SystemExit) as exit_:
        simulate(**given)  # pyright: ignore[reportArgumentType]
    assert exit_.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"protocol": "gt07"}, "--protocol: no protocol is named 'gt07'; `tracker-server protocols`"),
        ({"target": "localhost"}, "--target: 'localhost' is not HOST:PORT; for example 127.0.0.1:5023"),
        ({"target": ":5023"}, "--target: ':5023' is not HOST:PORT"),
        ({"target": "localhost:0"}, "--target: 'localhost:0' is not HOST:PORT"),
        ({"target": "localhost:70000"}, "--target: 'localhost:70000' is not HOST:PORT"),
        ({"target": "localhost:gt06"}, "--target: 'localhost:gt06' is not HOST:PORT"),
        ({"transport": "pigeon"}, "--transport: 'pigeon' is not one of tcp, udp, http"),
        ({"start": "yesterday"}, "--start: 'yesterday' is not a time of ISO 8601; for example"),
        ({"start": "2999-01-01T00:00:00Z"}, "--start: the last fix would lie "),
        ({"devices": 0}, "--devices: 0 is not from 1"),
        ({"fixes": 10**30}, "--fixes: 1e+30 is not from 0"),
        ({"fixes": 100_000_000, "interval": 86_400}, "--start: the last fix would lie 8"),
        ({"interval": -5}, "--interval: -5 is not from 1"),
        ({"ledger": Path("/nowhere/at/all")}, "--ledger: /nowhere/at/all cannot be written: No such file"),
        ({"report": Path("/nowhere/at/all")}, "--report: /nowhere/at/all cannot be written: No such file"),
    ],
)
def test_wrong_use_names_the_flag_and_the_cure(
    flags: dict[str, object], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"tracker-server: {says}" in wrong_use(capsys, **flags)


def test_flags_that_are_missing_or_no_numbers_exit_2() -> None:
    for arguments, flag in (
        (["--target", "127.0.0.1:9"], "--protocol"),
        (["--protocol", "gt06"], "--target"),
        (["--protocol", "gt06", "--target", "127.0.0.1:9", "--rate", "fast"], "--rate"),
    ):
        done = subprocess.run([PROGRAM, "simulate", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert flag in done.stderr


def test_nobody_there_is_a_refusal() -> None:
    done = run("gt06", ("127.0.0.1", free_port()), "--devices", "2", "--fixes", "3")
    assert done.returncode == 1
    assert "Connection refused" in done.stdout
    assert re.search(r"fixes never sent\D+6", done.stdout)


def run(protocol: str, address: tuple[str, int], *flags: str) -> subprocess.CompletedProcess[str]:
    target = f"{address[0]}:{address[1]}"
    return subprocess.run(
        [PROGRAM, "simulate", "--protocol", protocol, "--target", target, *flags],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


async def test_the_report_says_what_happened(tmp_path: Path) -> None:
    import asyncio

    file = tmp_path / "report.json"
    async with peer("gt06", wrong_at(2)) as one:
        done = await asyncio.to_thread(
            run, "gt06", one.address, "--devices", "2", "--fixes", "5", "--seed", "77", "--report", str(file)
        )
    assert done.returncode == 1
    report = json.loads(file.read_bytes())
    assert report["ok"] is False
    assert report["seed"] == report["settings"]["seed"] == 77
    assert report["settings"]["target"] == f"127.0.0.1:{one.address[1]}"
    assert (report["settings"]["devices"], report["settings"]["fixes"]) == (2, 5)
    assert report["fixes"] == {
        "planned": 10, "sent": 10, "answered": 9, "wrong": 1, "missing": 0, "unanswerable": 0, "unsent": 0,
    }  # fmt: skip
    assert report["answers_wrong"] == 1
    assert report["latency"]["answers"] == report["packets_answered"] == 9
    assert 0 < report["latency"]["p50_s"] <= report["latency"]["p90_s"] <= report["latency"]["p99_s"]
    assert report["latency"]["p99_s"] <= report["latency"]["max_s"]
    assert report["answered_per_s"] == pytest.approx(9 / report["run_s"])
    assert len(report["samples"]) == 1
    assert 10 < report["memory_peak_mb"] < 500
    assert f"{report['memory_peak_mb']:,.0f} MB" in done.stdout
    assert "answers wrong" in done.stdout


def test_it_lists_the_identifiers_of_a_fleet_and_calls_nobody() -> None:
    done = run("gt06", ("127.0.0.1", free_port()), "--devices", "3", "--list-ids", "--prefix", "86")
    assert done.returncode == 0
    names = done.stdout.split()
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"86\d{13}", name) for name in names)
