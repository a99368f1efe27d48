"""What goes out to a real Mosquitto: every position at least once, the latest kept there, nothing of the hidden."""

from __future__ import annotations

import json
import random
from typing import Any

from tests.mqtt.clients import NEW, Client, client
from tests.mqtt.crowd import Crowd
from tests.mqtt.test_endpoint import location, somebody
from tests.mqtt.test_kills import SEED, kill_server, under_load
from tests.servers.mosquitto import Mosquitto
from tests.servers.serve import Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query


def said_under(one: Client, topic: str) -> list[Any]:
    return [json.loads(payload) if payload else None for name, payload in one.messages if name == topic]


def kept_by(broker: Mosquitto, pattern: str) -> dict[str, Any]:
    """What somebody gets who comes now: retained messages come before the answer to a ping does."""
    with client(broker.address, version=NEW) as late:
        late.subscribe(pattern)
        late.subscribe("end/of/it")
        late.publish("end/of/it", "now")
        wait_until("the end", lambda: ("end/of/it", b"now") in late.messages)
        return {
            name: json.loads(payload) for name, payload in late.messages if payload and name != "end/of/it"
        }


def test_r138_out_through_the_gate(server: Servers, postgres_dsn: str, broker: Mosquitto) -> None:
    device = f"owntracks/jane/{somebody()}"
    running = server(
        {
            "devices.unknown": "register",
            "mqtt.publish.url": broker.url,
            "mqtt.publish.topic": "out/{account}/{id}/{kind}",
            "mqtt.publish.discovery": "homeassistant",
        },
        dsn=postgres_dsn,
        protocols=["mqtt"],
    )
    with (
        client(broker.address, version=NEW) as home,
        client(running.addresses["mqtt"], client_id="phone") as phone,
    ):
        home.subscribe("out/#")
        for n in (0, 2, 1):  # the last one is late
            assert phone.publish(device, location(n)) == 0

        def positions() -> list[Any]:
            return [json.loads(p) if p else None for t, p in home.messages if t.endswith("/position")]

        wait_until("three positions", lambda: len({one["latitude"] for one in positions() if one}) == 3)
        topic = next(t for t, _ in home.messages if t.endswith("/position"))
        assert topic.startswith("out/default/")
        last = positions()[-1]
        assert (last["uniqueId"], last["speedMps"], last["valid"]) == (device, 10.0, True)
        assert kept_by(broker, topic)[topic]["latitude"] == 52.0002, "a late one takes no place"
        found = kept_by(broker, "homeassistant/#")
        (config,) = found.values()
        assert config["json_attributes_topic"] == topic
        wait_until("the state", lambda: said_under(home, topic.replace("position", "state")))

        assert running.cli("device", "hold", device, "--reason", "unpaid").returncode == 0
        wait_until("what is kept to be taken back", lambda: not kept_by(broker, "out/#"))
        assert not kept_by(broker, "homeassistant/#")
        before = len([one for one in positions() if one])
        for n in (3, 4):
            assert phone.publish(device, location(n)) == 0, "the phone notices nothing"
        assert running.cli("device", "release", device).returncode == 0
        wait_until("the latest to be said", lambda: kept_by(broker, topic))
        assert kept_by(broker, topic)[topic]["latitude"] == 52.0004
        after = [one["latitude"] for one in positions() if one][before:]
        assert 52.0003 not in after, "of a hidden tracker nothing goes out"

        state = topic.replace("position", "state")
        wait_until("its state to be said", lambda: kept_by(broker, state))
        assert kept_by(broker, state)[state]["state"] == "online"
        assert running.cli("device", "hold", device, "--reason", "unpaid").returncode == 0
        wait_until("what is kept to be taken back again", lambda: not kept_by(broker, "out/#"))
        query(postgres_dsn, "UPDATE core.device_state SET online = NULL RETURNING device_id")
        assert running.cli("device", "release", device).returncode == 0
        wait_until("its state to be said again", lambda: kept_by(broker, state))
        assert kept_by(broker, state)[state]["state"] == "offline", "it is shown again, and was never heard"

        broker.stop()
        assert phone.publish(device, location(5)) == 0
        broker.launch()
        wait_until(
            "what was stored meanwhile", lambda: kept_by(broker, topic)[topic]["latitude"] == 52.0005, 60
        )


def test_at_least_once_over_kills(server: Servers, broker: Mosquitto) -> None:
    """Server and database are killed, the broker is restarted: every position is said"""
    running = server(
        {
            "devices.unknown": "register",
            "mqtt.publish.url": broker.url,
            "mqtt.publish.topic": "out/{id}/{kind}",
        },
        protocols=["mqtt"],
    )
    topics = [f"owntracks/jane/{somebody()}" for _ in range(5)]
    crowd = Crowd(topics, 60, 5)
    chance = random.Random(SEED)
    print(f"TRACKER_TEST_MQTT_SEED={SEED}")

    def restart_broker() -> None:
        broker.stop()
        broker.launch()

    def said() -> set[tuple[str, float]]:
        return {
            (name, json.loads(payload)["latitude"])
            for name, payload in list(home.messages)
            if name.endswith("/position") and payload
        }

    with client(broker.address, client_id="home", clean=False, keepalive=5) as home:
        home.paho.reconnect_delay_set(1, 1)
        home.subscribe("out/#")
        kills = [lambda: kill_server(running), restart_broker, running.kill_database]
        under_load(crowd, lambda: running.addresses["mqtt"], kills, chance)
        wait_until("all of it", lambda: len(said()) == crowd.wanted, 120)
