"""Behind a real Mosquitto: what was published while we were away, and what nobody can read."""

from __future__ import annotations

from tests.mqtt.clients import NEW, client
from tests.mqtt.test_endpoint import location, somebody, stored
from tests.servers.mosquitto import Mosquitto
from tests.servers.serve import Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query


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
