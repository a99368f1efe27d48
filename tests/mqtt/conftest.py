"""One server for all tests of a module: its endpoint takes devices as they come."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.servers.mosquitto import Mosquitto
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Running, Servers

SETTINGS = {
    "devices.unknown": "register",
    "mqtt.packet_bytes_max": 4096,
    "mqtt.receive_max": 5,
}

ROUTES = """
[mqtt.routes.gateway]
topic = "gw/+/up"
payload = "gt06"
device = "topic:2"
reply = "gw/{device}/down"

[mqtt.routes.esp32]
topic = "esp32/#"
payload = "mapping:esp32"
device = "client"

[mqtt.routes.loggers]
topic = "loggers/+/up"
payload = "mapping:esp32"
device = "topic:2"
reply = "loggers/{device}/down"

[mqtt.routes.loggers.commands]
engineStop = '{"relay": 1}'
positionPeriodic = '{"every": "{frequency}"}'

[mappings.esp32]
records = "data"
time = "t"
latitude = "p[0]"
longitude = "p[1]"
degrees_scale = 1e-7
speed = "v"
speed_unit = "km/h"
attributes = { batteryLevel = "bat" }

[mqtt]
owntracks_key = "s3cr3t"
"""


@pytest.fixture(scope="module")
def running(postgres_server: SharedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    file = tmp_path_factory.mktemp("mqtt") / "settings.toml"
    file.write_text(ROUTES)
    servers = Servers()
    with postgres_server.database() as dsn:
        yield servers({**SETTINGS, "config": file}, dsn=dsn, protocols=["mqtt"])
        servers.close()


@pytest.fixture
def broker() -> Generator[Mosquitto]:
    """A Mosquitto of the test's own."""
    one = Mosquitto()
    one.launch()
    yield one
    one.close()
