"""A device over MQTT 3.1.1 at QoS 1: like any stream, its answers are known to the byte and come in order."""

from __future__ import annotations

from typing import Final

from tracker_server.mqtt.codes import Code, Kind
from tracker_server.mqtt.packets import MQTT_3_1_1, Connect, Publish, acknowledge, connack, connect, publish

PORT: Final = 1883
NAMES: Final = {"mqtt-json": "json"}
"""What --protocol may say for a protocol that is spoken over HTTP, too."""

TOPICS: Final = {"owntracks": "owntracks/simulated/{id}"}
TOPIC: Final = "simulated/{id}"
IDS: Final = 65_535


def hello(unique_id: str) -> tuple[bytes, bytes]:
    """What opens a connection, and the answer that lets it in. Without a keep-alive: nothing is sent beside reports."""
    said = Connect(MQTT_3_1_1, f"simulated-{unique_id}", clean=True, keep_alive_s=0)
    return connect(said), connack(MQTT_3_1_1, Code.SUCCESS)


def published(protocol: str, unique_id: str, number: int, payload: bytes) -> tuple[bytes, bytes]:
    """The packet of that number, from 0, and its acknowledgement."""
    packet_id = number % IDS + 1
    topic = TOPICS.get(protocol, TOPIC).replace("{id}", unique_id)
    said = Publish(topic, payload, 1, packet_id)
    return publish(MQTT_3_1_1, said), acknowledge(MQTT_3_1_1, Kind.PUBACK, packet_id)
