"""Server, database and broker are killed at any moment under publishers: every acknowledged fix is stored, once.

In the tests a few times. As often as you like, and with any number of publishers:
``TRACKER_TEST_MQTT_KILLS=50 TRACKER_TEST_MQTT_PUBLISHERS=200 pytest -s --timeout=3600 tests/mqtt/test_kills.py``;
``TRACKER_TEST_MQTT_SEED`` draws the same moments again.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import threading
from collections.abc import Callable, Sequence

import psycopg
import pytest

from tests.mqtt.crowd import Crowd
from tests.servers.mosquitto import Mosquitto
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query

KILLS = int(os.environ.get("TRACKER_TEST_MQTT_KILLS", "3"))
PUBLISHERS = int(os.environ.get("TRACKER_TEST_MQTT_PUBLISHERS", "40"))
SEED = int(os.environ.get("TRACKER_TEST_MQTT_SEED", "0")) or random.randrange(2**32)
FIXES_BETWEEN = 300  # of all publishers, from one kill to the next, about
WINDOW = 20
STEP_S_MAX = 120.0  # a server, a database and a broker begin again on a busy machine


def kill_server(running: Running) -> None:
    running.kill()
    running.launch()


def under_load(
    crowd: Crowd,
    address: Callable[[], tuple[str, int]],
    kills: Sequence[Callable[[], None]],
    chance: random.Random,
) -> None:
    """Kill at moments that the seed draws, spread over what the crowd has to say."""
    problems: list[BaseException] = []

    def go() -> None:
        try:
            asyncio.run(crowd.run(address()))
        except BaseException as error:  # noqa: BLE001  (told below)
            problems.append(error)

    share = crowd.wanted / (len(kills) + 1)
    crowd.allow(math.ceil(share / len(crowd.members)))
    thread = threading.Thread(target=go, daemon=True)
    thread.start()
    for number, kill in enumerate(kills):
        until = min((number + chance.random()) * share, crowd.wanted - 1)
        wait_until("some to be acknowledged", lambda: problems or crowd.acknowledged >= until, STEP_S_MAX)  # noqa: B023
        assert not problems, problems
        print(f"kill {number + 1} at {crowd.acknowledged} of {crowd.wanted}", flush=True)
        kill()
        crowd.allow(min(math.ceil(share * (number + 2) / len(crowd.members)), crowd.fixes))
    thread.join(STEP_S_MAX)
    assert not problems, problems
    assert crowd.acknowledged == crowd.wanted


def crowd_of(chance: random.Random) -> Crowd:
    topics = [f"owntracks/jane/{chance.randbytes(6).hex()}" for _ in range(PUBLISHERS)]
    return Crowd(topics, max(FIXES_BETWEEN * (KILLS + 1) // PUBLISHERS, WINDOW), WINDOW)


def drawn(victims: Sequence[Callable[[], None]], chance: random.Random) -> list[Callable[[], None]]:
    """Each of them once, then whichever the seed says."""
    first = chance.sample(victims, len(victims))
    return (first + [chance.choice(victims) for _ in range(KILLS)])[:KILLS]


def rows(running: Running, crowd: Crowd) -> list[int]:
    """How many fixes of each member are stored."""
    found = query(
        running.dsn,
        "SELECT d.unique_id, count(p.*) AS n FROM core.devices d JOIN core.positions p ON p.device_id = d.id GROUP BY 1",
    )
    by_name = {row["unique_id"]: row["n"] for row in found}
    return [by_name.get(one.topic, 0) for one in crowd.members]


def test_server_and_database_under_our_own_endpoint(server: Servers) -> None:
    print(f"TRACKER_TEST_MQTT_SEED={SEED}")
    chance = random.Random(SEED)
    running = server({"devices.unknown": "register"}, protocols=["mqtt"])
    crowd = crowd_of(chance)
    victims: list[Callable[[], None]] = [lambda: kill_server(running), running.kill_database]
    under_load(crowd, lambda: running.addresses["mqtt"], drawn(victims, chance), chance)
    wait_until("the database", lambda: answers(running), STEP_S_MAX)
    assert rows(running, crowd) == [crowd.fixes] * PUBLISHERS


def answers(running: Running) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        return bool(query(running.dsn, "SELECT 1"))
    return False


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_behind_mosquitto(server: Servers, how: str) -> None:
    """Told to end, Mosquitto writes down what it has acknowledged: nothing is lost, whoever else is killed. Killed, it may
    have acknowledged what nobody has got yet. Nothing is ever stored twice. (No group: Mosquitto 2.0 knows a shared
    subscription after its restart only when we are back.)
    """
    print(f"TRACKER_TEST_MQTT_SEED={SEED}")
    chance = random.Random(SEED)
    broker = Mosquitto()
    try:
        broker.launch()
        settings = {
            "devices.unknown": "register",
            "mqtt.broker.url": broker.url,
            "mqtt.broker.receive_max": 65_535,
        }
        running = server(settings, protocols=[])

        def subscribed() -> int:
            return running.log.read_text().count("subscribed")

        wait_until("the subscription", subscribed, STEP_S_MAX)
        crowd = crowd_of(chance)

        def end_broker() -> None:
            before = subscribed()
            broker.stop() if how == "stopped" else broker.kill()
            broker.launch()
            if how == "killed":
                wait_until("us to be there again", lambda: subscribed() > before, STEP_S_MAX)

        victims: list[Callable[[], None]] = [end_broker]
        if how == "stopped":
            victims += [lambda: kill_server(running), running.kill_database]
        under_load(crowd, lambda: broker.address, drawn(victims, chance), chance)
        wait_until("the database", lambda: answers(running), STEP_S_MAX)

        def missing() -> int:
            return crowd.wanted - sum(rows(running, crowd)) if answers(running) else crowd.wanted

        if how == "stopped":
            wait_until("all of it", lambda: not missing(), STEP_S_MAX)
        else:
            with contextlib.suppress(pytest.fail.Exception):
                wait_until("what had been handed on", lambda: not missing(), 15)
            print(f"{missing()} of {crowd.wanted} were lost with {KILLS} kills of the broker")
            assert missing() < crowd.wanted / (KILLS + 1), "more than is said between two kills"
        assert max(rows(running, crowd)) <= crowd.fixes, "something was stored twice"
    finally:
        broker.close()
