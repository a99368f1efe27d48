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


def names(dsn: str) -> list[str]:
    return [
        row["client_id"] for row in query(dsn, "SELECT client_id FROM core.mqtt_members ORDER BY client_id")
    ]


def kept(broker: Mosquitto, client_id: str) -> bool:
    """Whether the broker has a session for this client."""
    asking = Client(broker.address, version=NEW, client_id=client_id)
    asking.paho.connect(*broker.address, clean_start=False)
    asking.paho.loop_start()
    wait_until("to be let in", lambda: asking.connack is not None, 60.0)
    asking.close()
    return asking.present


def test_fewer_processes_fewer_topics_and_another_name_leave_nothing_at_the_broker(
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
            wait_until("both to have subscribed", lambda: two.log.read_text().count("shelf/#") >= 2, 60.0)
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
            assert not kept(broker, "us-1")

            # another server on this database leaves alone what is a running one's
            other = servers(
                settings | {"mqtt.broker.topics": "owntracks/#", "mqtt.broker.client_id": "them"},
                dsn=dsn,
                protocols=[],
            )
            wait_until("it to have subscribed", lambda: "subscribed" in other.log.read_text(), 60.0)
            wait_until("both to be written down", lambda: names(dsn) == ["them", "us"], 60.0)
            other.stop()
            assert names(dsn) == ["them", "us"]
            assert "taking over" not in other.log.read_text()
            one.stop()

            # under another name the server takes in what was kept under the old one, and that of the server that is gone
            with client(broker.address) as gateway:
                for n in range(30, 50):
                    gateway.publish(drives, location(n))
            renamed = servers(
                settings | {"mqtt.broker.topics": "owntracks/#", "mqtt.broker.client_id": "we"},
                dsn=dsn,
                protocols=[],
            )
            wait_until("what either was sent", lambda: len(stored(renamed, drives)) == 50, 60.0)
            wait_until("the old names to be forgotten", lambda: names(dsn) == ["we"], 60.0)
            assert not kept(broker, "us")
            assert not kept(broker, "them")
    finally:
        servers.close()
        broker.close()
