"""What a broker keeps for us when the settings change: taken in, and given up."""

from __future__ import annotations

from tests.mqtt.clients import NEW, Client, client
from tests.mqtt.test_endpoint import location, somebody, stored
from tests.servers.mosquitto import Mosquitto
from tests.servers.postgres import SharedPostgres
from tests.servers.serve import Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query

MEMBERS = "SELECT process, filters FROM core.mqtt_members ORDER BY process"


def test_fewer_processes_and_fewer_topics_leave_nothing_at_the_broker(
    postgres_server: SharedPostgres,
) -> None:
    servers, broker = Servers(), Mosquitto()
    broker.launch()
    settings: dict[str, object] = {
        "devices.unknown": "register",
        "mqtt.broker.url": broker.url,
        "mqtt.broker.client_id": "us",
        "mqtt.broker.group": "us",
    }
    drives, parks = f"owntracks/jane/{somebody()}", f"shelf/jane/{somebody()}"
    try:
        with postgres_server.database() as dsn:
            topics = "owntracks/#, shelf/#"
            two = servers(settings | {"workers": 2, "mqtt.broker.topics": topics}, dsn=dsn, protocols=[])
            wait_until("both to have subscribed", lambda: two.log.read_text().count("shelf/#") >= 2)
            both = ["$share/us/owntracks/#", "$share/us/shelf/#"]
            assert [(row["process"], row["filters"]) for row in query(dsn, MEMBERS)] == [(0, both), (1, both)]
            two.stop()
            with client(broker.address) as gateway:
                for n in range(20):
                    gateway.publish(drives, location(n))
            one = servers(settings | {"mqtt.broker.topics": "owntracks/#"}, dsn=dsn, protocols=[])
            wait_until("what either was sent", lambda: len(stored(one, drives)) == 20, 60.0)
            left = [{"process": 0, "filters": both[:1]}]
            wait_until("the other to have been inherited", lambda: query(dsn, MEMBERS) == left, 60.0)
            with client(broker.address) as gateway:
                gateway.publish(parks, location(20))
                for n in range(20, 30):
                    gateway.publish(drives, location(n))
            wait_until("all that comes to one", lambda: len(stored(one, drives)) == 30, 60.0)
            assert stored(one, parks) == []
            heir = Client(broker.address, version=NEW, client_id="us-1")
            heir.paho.connect(*broker.address, clean_start=False)
            heir.paho.loop_start()
            wait_until("to be let in", lambda: heir.connack is not None)
            assert not heir.present
            heir.close()
    finally:
        servers.close()
        broker.close()
