"""The endpoint with real clients: what is acknowledged is stored, and by its right name."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tests.mqtt.clients import NEW, OLD, client
from tests.servers.mosquitto import tool
from tests.servers.serve import Running, Servers
from tests.storage.rows import count, query

START = int(datetime(2026, 3, 1, 8, tzinfo=UTC).timestamp())


def location(n: int, **more: object) -> str:
    said = {
        "_type": "location",
        "tid": "jp",
        "tst": START + n,
        "lat": 52 + n / 10_000,
        "lon": 21.0,
        "vel": 36,
    }
    return json.dumps(said | more)


@pytest.fixture
def running(server: Servers, postgres_dsn: str) -> Running:
    return server({"devices.unknown": "register"}, dsn=postgres_dsn, protocols=["mqtt"])


@pytest.mark.parametrize("version", [OLD, NEW], ids=["3.1.1", "5"])
@pytest.mark.parametrize("qos", [1, 2])
def test_what_is_acknowledged_is_stored(running: Running, version: MQTTProtocolVersion, qos: int) -> None:
    with client(running.addresses["mqtt"], version=version, client_id="phone") as phone:
        for n in range(5):
            assert phone.publish("owntracks/jane/phone", location(n), qos) == 0
            assert count(running.dsn, "core.positions") == n + 1
        assert phone.publish("owntracks/jane/phone", location(4), qos) == 0  # the same once more
    rows = query(
        running.dsn,
        "SELECT unique_id, protocol, speed_mps FROM core.positions p JOIN core.devices d ON d.id = p.device_id",
    )
    assert len(rows) == 5
    assert {(r["unique_id"], r["protocol"], r["speed_mps"]) for r in rows} == {
        ("owntracks/jane/phone", "owntracks", 10.0)
    }


def test_mosquitto_pub(running: Running) -> None:
    host, port = running.addresses["mqtt"]
    for version in ("311", "5"):
        done = subprocess.run(
            [tool("mosquitto_pub"), "-h", host, "-p", str(port), "-V", version, "-q", "1", "-i", "esp32-7", "-t", "x/y",
             "-m", json.dumps({"lat": 52.1, "lon": 21.0, "timestamp": START, "v": version})],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert count(running.dsn, "core.positions") == 2
    (row,) = query(running.dsn, "SELECT unique_id FROM core.devices")
    assert row["unique_id"] == "esp32-7"
