"""The channel ``mqtt`` and a real Mosquitto: acknowledged, or kept until it can be."""

from __future__ import annotations

import json

import pytest

from tests.alerts.world import MAIL, NOON, event, household
from tests.mqtt.clients import NEW, client
from tests.servers.mosquitto import Mosquitto
from tests.servers.waiting import wait_until
from tracker_server.alerts.letters import encode
from tracker_server.alerts.rules import told
from tracker_server.config_mqtt import MqttPublish
from tracker_server.notify.mqtt import MqttChannel
from tracker_server.pipeline.alert_book import letter_of
from tracker_server.pipeline.dispatcher import Outgoing, PermanentError, TemporaryError


def entered() -> Outgoing:
    happened, home = event(), household(MAIL)
    (message,) = told(home, happened, NOON)
    letter = letter_of(happened, message, home, "https://example.com/?event={event}")
    return Outgoing(
        1, "alert:7:1:mqtt:T3", "mqtt", "T3", 1, encode(letter), NOON, NOON, 0, device_id=3, alert=True
    )


async def test_an_alert_is_published_once_the_broker_is_there() -> None:
    broker = Mosquitto()
    channel = MqttChannel(MqttPublish(url=broker.url, topic="out/{account}/{unique_id}/{kind}"))
    try:
        with pytest.raises(TemporaryError, match="the broker is away") as away:
            await channel.send(entered())
        assert away.value.down
        broker.launch()
        with client(broker.address, version=NEW) as home:
            home.subscribe("out/#")
            await channel.send(entered())
            await channel.send(entered())
            wait_until("both to come", lambda: len(home.messages) == 2)
            (topic, payload), again = home.messages
            assert (topic, again) == ("out/Norte/T3/alert", (topic, payload))
            said = json.loads(payload)
            assert said["key"] == "alert:7:1:mqtt:T3"
            assert said["event"].items() >= {"id": 7, "type": "geofenceEnter", "deviceId": 3}.items()
            assert (said["geofence"], said["account"], said["device"]["uniqueId"]) == ("Depot", "Norte", "T3")
        broker.kill()
        broker.launch()
        with pytest.raises(TemporaryError):  # the connection that was is gone
            await channel.send(entered())
        await channel.send(entered())
    finally:
        await channel.close()
        broker.close()


async def test_what_is_no_letter_is_refused_for_good() -> None:
    channel = MqttChannel(MqttPublish(url="mqtt://127.0.0.1:1"))
    with pytest.raises(PermanentError, match="cannot be worded"):
        await channel.send(Outgoing(1, "k", "mqtt", "T3", 1, {"no": "letter"}, NOON, NOON, 0))
