"""Behind a real Mosquitto: nothing is lost over a restart of either side, and nothing is stored twice."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Generator

import psycopg
import pytest

from tests.mqtt.clients import NEW, client
from tests.mqtt.test_endpoint import location, somebody, stored
from tests.servers.mosquitto import Mosquitto
from tests.servers.serve import Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query

PUBLISHERS = 6
FIXES = 40


@pytest.fixture
def broker() -> Generator[Mosquitto]:
    one = Mosquitto()
    one.launch()
    yield one
    one.close()


def test_through_a_broker(server: Servers, postgres_dsn: str, broker: Mosquitto) -> None:
    """What was published while we were away comes as we come back."""
    running = server(
        {"devices.unknown": "register", "mqtt.broker.url": broker.url, "mqtt.broker.topics": "owntracks/#"},
        dsn=postgres_dsn,
        protocols=[],
    )
    topic = f"owntracks/jane/{somebody()}"
    with client(broker.address, version=NEW) as phone:
        wait_until("the subscription", lambda: "subscribed" in running.log.read_text())
        phone.publish(topic, location(0))
        wait_until("the first", lambda: len(stored(running, topic)) == 1)
        running.stop()
        for n in range(1, 6):
            phone.publish(topic, location(n))
        running.launch()
        wait_until("the rest", lambda: len(stored(running, topic)) == 6)
        phone.publish(topic, "no JSON")
        wait_until("it to be kept", lambda: query(running.dsn, "SELECT 1 FROM core.quarantine"))


class Publisher(threading.Thread):
    """A phone that keeps each fix until its PUBACK; paho sends again what was not acknowledged."""

    def __init__(self, address: tuple[str, int], topic: str) -> None:
        super().__init__(daemon=True)
        self.address = address
        self.topic = topic
        self.acknowledged = 0
        self.problem = ""

    def run(self) -> None:
        try:
            with client(
                self.address, version=NEW, client_id=self.topic.replace("/", "-"), keepalive=5
            ) as phone:
                phone.paho.reconnect_delay_set(1, 1)
                for n in range(FIXES):
                    phone.publish(self.topic, location(n))
                    self.acknowledged += 1
        except Exception as error:  # noqa: BLE001  (told by the test)
            self.problem = repr(error)


def test_server_and_database_are_killed_and_the_broker_restarted_under_publishers(
    server: Servers, broker: Mosquitto
) -> None:
    """Server and database are killed at any moment. The broker is told to end: Mosquitto writes down what it has
    acknowledged only now and then, and when it ends.
    """
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    running = server(
        {"devices.unknown": "register", "mqtt.broker.url": broker.url, "mqtt.broker.group": "all"},
        protocols=[],
    )
    wait_until("the subscription", lambda: "subscribed" in running.log.read_text())
    topics = [f"owntracks/jane/{somebody()}" for _ in range(PUBLISHERS)]
    publishers = [Publisher(broker.address, topic) for topic in topics]
    for one in publishers:
        one.start()

    def said() -> int:
        return sum(one.acknowledged for one in publishers)

    for number, victim in enumerate(("server", "broker", "database")):
        until = PUBLISHERS * FIXES * (number + chance.random()) / 4
        wait_until("some to be acknowledged", lambda: said() >= until, 60)  # noqa: B023
        if victim == "server":
            running.kill()
            running.launch()
        elif victim == "broker":
            broker.stop()
            broker.launch()
        else:
            running.kill_database()
    for one in publishers:
        one.join(90)
        assert not one.problem, one.problem
    assert said() == PUBLISHERS * FIXES

    def found() -> bool:
        with contextlib.suppress(psycopg.OperationalError):  # the database was killed a moment ago
            return all(len(stored(running, topic)) >= FIXES for topic in topics)
        return False

    wait_until("all of them to be stored", found, 90)
    assert [len(stored(running, topic)) for topic in topics] == [FIXES] * PUBLISHERS
