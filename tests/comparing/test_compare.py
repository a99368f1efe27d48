"""A result is compared as it says, another server is measured by its operator's commands, and drawings are drawn."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from measures import Found, Measure
from scaled import YARDSTICK, scaled

from tests.servers.ports import free_port
from tests.servers.serve import Servers
from tracker_protocols import ALL

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ABOUT: dict[str, Any] = {"machine": {"cpu": "x"}, "commit": "c"}


def result(folder: Path, commit: str, **figures: tuple[str, list[float]]) -> Path:
    measures = [
        {"name": name, "unit": "ms", "values": values, "better": better, "aim": None, "note": ""}
        for name, (better, values) in figures.items()
    ]
    file = folder / f"2026-01-01-{commit}.json"
    file.write_text(
        json.dumps({**ABOUT, "found": [{"benchmark": "b", "measures": measures, "disturbed": None}]})
    )
    return file


def compare(folder: Path, one: str, other: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, BENCHMARKS / "compare.py", one, other, "--results", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("better", "before", "after", "worse"),
    [
        ("less", [10.0, 11.0, 12.0], [20.0, 21.0, 22.0], True),
        ("less", [20.0, 21.0, 22.0], [10.0, 11.0, 12.0], False),
        ("more", [20.0, 21.0, 22.0], [10.0, 11.0, 12.0], True),
        ("less", [10.0, 11.0, 30.0], [12.0, 21.0, 22.0], False),  # they overlap: it may be chance
        ("less", [10.0, 10.1, 10.2], [10.3, 10.4, 10.5], False),  # apart, but by less than 5 %
        ("less", [10.0], [12.0], False),  # one repetition proves little
        ("less", [10.0], [13.0], True),
    ],
)
def test_what_became_worse(
    better: str, before: list[float], after: list[float], *, worse: bool, tmp_path: Path
) -> None:
    result(tmp_path, "aaa", figure=(better, before))
    result(tmp_path, "bbb", figure=(better, after))
    done = compare(tmp_path, "aaa", "bbb")
    assert done.returncode == int(worse), done.stdout + done.stderr
    assert ("1 figures became worse" in done.stdout) == worse


def test_a_result_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = compare(tmp_path, "abc", "def")
    assert done.returncode == 1
    assert "abc: neither a file nor a commit with a result in" in done.stderr


def test_another_machine_is_told(tmp_path: Path) -> None:
    one, other = result(tmp_path, "aaa", f=("less", [1.0])), result(tmp_path, "bbb", f=("less", [1.0]))
    other.write_text(other.read_text().replace('"x"', '"y"'))
    assert "Not the same machine" in compare(tmp_path, str(one), str(other)).stdout


def test_figures_are_drawn_and_the_same_ones_alike(tmp_path: Path) -> None:
    from measures import Found, Measure
    from plots import draw

    found = [
        Found(
            "b",
            [
                Measure("gt06: stored", "fixes/s", [9.0, 10.0, 12.0], "more", 20_000),
                Measure("a look with 1,000 fixes waiting", "ms", [1.0, 2.0]),
                Measure("a look with 1,000,000 fixes waiting", "ms", [1.0, 3.0]),
                Measure("h02: stored, then answered", "fixes/s", [9.0, 10.0, 12.0], "more"),
                Measure("h02: prototype", "fixes/s", [20.0], "more"),
                Measure("h02: floor", "rows/s", [100.0], "more"),
                Measure("osmand: stored, then answered", "fixes/s", [9.0], "more"),
            ],
        )
    ]
    paths = draw(found, tmp_path, "r")
    assert [path.name for path in paths] == ["r-fixes-per-s.svg", "r-beside.svg", "r-growth.svg"]
    first = [path.read_bytes() for path in paths]
    assert b"gt06: stored" in first[0]
    assert b"h02: fixes" in first[1]
    assert b"the least server that does this: 20" in first[1]
    assert b"osmand" not in first[1], "it has nothing beside it"
    draw(found, tmp_path, "r")
    assert [path.read_bytes() for path in paths] == first


def test_a_flame_graph_shows_work_and_no_waiting() -> None:
    from flame import flame, read

    begin = "<module> (a.py:1);run (uvloop/__init__.py:92);Runner.run (asyncio/runners.py:118)"
    lines = [
        f"{begin} 900",
        f"{begin};Batcher.run (tracker_server/pipeline/batcher.py:1);commit (tracker_server/storage/x.py:2) 30",
        f"{begin};Batcher.run (tracker_server/pipeline/batcher.py:7) 10",
        "Thread.run (threading.py:9);select (selectors.py:4) 900",
    ]
    drawing = flame(read(iter(lines)), "a < b")
    assert "a &lt; b: 40 samples of work" in drawing
    assert "Batcher.run (tracker_server/pipeline/batcher.py): 100.0%" in drawing
    assert "commit (tracker_server/storage/x.py): 75.0%" in drawing
    assert "select" not in drawing
    with pytest.raises(ValueError, match="no samples"):
        read(iter(["x 1"]))


def test_another_server_is_measured_by_its_operators_commands(server: Servers, tmp_path: Path) -> None:
    """Ours, as if it were somebody else's: started by a command, rows counted by a query."""
    from peer import Peer, run

    running = server(protocols=["gt06"])  # for its settings, its database and its binaries alone
    environment = " ".join(
        f"{name}='{value}'" for name, value in running.environment.items() if name.startswith("TRACKER_")
    )
    dsn, port = running.dsn, running.addresses["gt06"][1]
    running.stop()
    program = Path(sys.executable).with_name("tracker-server")
    started = f"env {environment} TRACKER_DEVICES__UNKNOWN=register {program} serve"
    count = f"{sys.executable} -c \"import psycopg; print(psycopg.connect('{dsn}').execute('SELECT count(*) FROM core.positions').fetchone()[0])\""
    found = run(Peer(f"exec {started}", port, count, prepare=f"tee {tmp_path}/ids"), "gt06", 0.1)
    assert len((tmp_path / "ids").read_text().split()) == 200
    by_name = {measure.name: measure for measure in found.measures}
    assert len(by_name["peer, gt06, single fixes: stored"].values) == 3
    assert all(value > 0 for measure in found.measures for value in measure.values)
    with pytest.raises(RuntimeError, match=r"--peer: .false. ended with 1"):
        run(Peer("false", free_port(), count), "gt06", 1)


def test_the_frames_of_every_protocol_can_be_timed() -> None:
    from decode import FRAMES, work

    for protocol in ALL:
        assert work(protocol, min(2, protocol.device.fixes_in_packet_max))() == FRAMES, protocol.name


def test_figures_are_scaled_by_what_the_prototype_costs_in_the_same_run() -> None:
    prototype = Measure(YARDSTICK, "s/1000 fixes", [0.021, 0.022, 0.04])
    engine = Measure("engine_us_per_fix_frames_of_20", "µs", [18.0], aim=15)
    fences = Measure("fences_10000_fixes_per_s", "fixes/s", [200_000], "more", 250_000)
    share = Measure("fences_100000_share_of_10000", "ratio", [0.9], "more", 0.5)
    memory = Measure("5,000 devices, a fix each 4 s: server's memory", "MB", [147], aim=100)
    (found,) = scaled([Found("ingest teltonika", [prototype]), Found("x", [engine, fences, share, memory])])
    assert [(one.name, round(one.middle, 1), one.reached) for one in found.measures[1:]] == [
        ("scaled: engine_us_per_fix_frames_of_20", 12.0, True),
        ("scaled: fences_10000_fixes_per_s", 300_000.0, True),
    ]
    assert found.measures[0].middle == pytest.approx(1.5)


def test_nothing_is_scaled_without_the_prototype_beside_it() -> None:
    assert scaled([Found("x", [Measure("engine", "µs", [18.0], aim=15)])]) == []
