"""The simulator and the real server, with a real database: what the one wrote down, the other has."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import psycopg
import pytest

from tests.servers.serve import PROGRAM, Running, Servers
from tests.servers.waiting import wait_until

REGISTER = {"devices.unknown": "register"}
ROUGH_DAY = Path(__file__).parents[2] / "config/scenarios/rough-day.toml"
HOMES = pytest.mark.parametrize("kills", ["server", "database"])


def command(running: Running, protocol: str, *flags: str) -> list[str]:
    host, port = running.addresses[protocol]
    return [str(PROGRAM), "simulate", "--protocol", protocol, "--target", f"{host}:{port}", *flags]


def stored(running: Running) -> dict[str, int]:
    """Each fix as the ledger writes it, and how many rows it has."""
    with psycopg.connect(running.dsn) as connection:
        rows = connection.execute(
            "SELECT d.unique_id || ',' || extract(epoch FROM p.fixed_at)::bigint, count(*)"
            " FROM core.positions p JOIN core.devices d ON d.id = p.device_id GROUP BY 1"
        ).fetchall()
    return dict(rows)


@pytest.mark.parametrize(
    ("protocol", "flags"),
    [
        ("gt06", ["--window", "3"]),
        ("teltonika", ["--packet", "10", "--repeat", "3"]),
        (
            "teltonika",
            ["--transport", "udp", "--packet", "5", "--rate", "400", "--reconnect", "--timeout", "2"],
        ),
        ("osmand", ["--window", "2"]),
    ],
)
def test_what_is_in_the_ledger_is_stored_once(
    protocol: str, flags: list[str], server: Servers, postgres_dsn: str, tmp_path: Path
) -> None:
    running = server(REGISTER, dsn=postgres_dsn, protocols=[protocol])
    files = ["--ledger", str(tmp_path / "ledger"), "--report", str(tmp_path / "report.json")]
    asked = ["--devices", "8", "--fixes", "55", *flags, *files]
    done = subprocess.run(
        command(running, protocol, *asked), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "ledger").read_text().splitlines()
    assert len(lines) == 8 * 55
    rows = stored(running)
    assert set(rows) == set(lines)
    assert set(rows.values()) == {1}
    report = json.loads((tmp_path / "report.json").read_bytes())
    assert report["fixes"]["answered"] == 8 * 55


@pytest.mark.parametrize("spoken", ["owntracks", "mqtt-json"])
def test_a_fleet_over_mqtt_loses_nothing_when_the_server_is_killed(
    spoken: str, server: Servers, postgres_dsn: str, tmp_path: Path
) -> None:
    """Every PUBACK in the ledger is a row, once, though the server was killed in the middle."""
    running = server(REGISTER, dsn=postgres_dsn, protocols=["mqtt"])
    asked = command(running, "mqtt", "--devices", "8", "--fixes", "150", "--window", "5", "--reconnect")
    asked[asked.index("--protocol") + 1] = spoken
    asked += ["--rate", "400", "--ledger", str(tmp_path / "ledger")]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as fleet:
        wait_until("some to be stored", lambda: sum(stored(running).values()) > 100)
        running.kill()
        running.launch()
        said, _ = fleet.communicate(timeout=90)
    assert fleet.returncode == 0, said
    lines = (tmp_path / "ledger").read_text().splitlines()
    assert len(lines) == 8 * 150
    rows = stored(running)
    assert set(rows) == set(lines)
    assert set(rows.values()) == {1}


@pytest.mark.parametrize("protocol", ["h02", "t55"])
def test_what_wants_no_answer_is_stored_too(protocol: str, server: Servers, postgres_dsn: str) -> None:
    running = server(REGISTER, dsn=postgres_dsn, protocols=[protocol])
    asked = command(running, protocol, "--devices", "4", "--fixes", "50")
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until("200 rows", lambda: len(stored(running)) == 200)


@HOMES
def test_a_fleet_that_reconnects_loses_nothing_when_all_is_killed(
    kills: str, server: Servers, tmp_path: Path
) -> None:
    running = server(REGISTER, protocols=["gt06"])
    ledger = tmp_path / "ledger"
    asked = command(
        running, "gt06", "--devices", "10", "--fixes", "300", "--rate", "1000", "--reconnect",
        "--give-up", "60", "--ledger", str(ledger),
    )  # fmt: skip
    simulator = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until("the first answers", lambda: ledger.exists() and ledger.read_text().count("\n") > 300)
        if kills == "server":
            running.kill()
            answered = {line for line in ledger.read_text().splitlines() if line.count(",") == 1}
            assert answered <= set(stored(running)), "answered and not stored"
            running.launch()
        else:
            running.kill_database()
        said, _ = simulator.communicate(timeout=90)
    finally:
        simulator.kill()
        simulator.wait()
    assert simulator.returncode == 0, said
    lines = ledger.read_text().splitlines()
    assert len(lines) == len(set(lines)) == 3_000
    rows = stored(running)
    assert set(rows) == set(lines)
    assert set(rows.values()) == {1}


def test_a_rough_day_loses_nothing(server: Servers, postgres_dsn: str, tmp_path: Path) -> None:
    """The scenario that we ship: each kind of trouble happens, and every fix is stored once at the time it was told for."""
    running = server(REGISTER, dsn=postgres_dsn, protocols=["gt06", "teltonika", "osmand"])
    text = ROUGH_DAY.read_text()
    for name in ("gt06", "teltonika", "osmand"):
        text = text.replace(
            f'protocol = "{name}"', f'protocol = "{name}"\nport = {running.addresses[name][1]}'
        )
    scenario = tmp_path / "rough-day.toml"
    scenario.write_text(text)
    files = ["--ledger", "ledger", "--report", "report.json", "--html", "page.html"]
    done = subprocess.run(
        [str(PROGRAM), "simulate", "--scenario", str(scenario), "--devices", "30", "--fixes", "80", *files],
        capture_output=True, text=True, timeout=90, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "ledger").read_text().splitlines()
    rows = stored(running)
    assert len(lines) == 30 * 80
    assert set(rows) == set(lines)
    assert set(rows.values()) == {1}
    report = json.loads((tmp_path / "report.json").read_bytes())
    made = {
        trouble for family in report["families"] for trouble, count in family["troubles"].items() if count
    }
    assert made >= {"duplicate", "cut in mid-packet", "half-open", "offline", "storm", "stray caller"}
    assert (
        report["fixes"]["answered"]
        == sum(family["fixes"]["answered"] for family in report["families"])
        == 2_400
    )
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == 3
    assert "Every answer was right." in page
    assert "made: half-open" in page
    assert "<td>setting: newest_first<td class=n>yes" in page
    assert "<td>setting: storms_s<td class=n>0.2, 0.5" in page
    assert page.count("simulator&#x27;s CPU, memory") == done.stdout.count("simulator's CPU, memory") == 1, (
        "they share it"
    )
