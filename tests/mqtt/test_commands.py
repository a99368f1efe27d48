"""Commands of the queue reach devices that fetch them by MQTT: stored until acknowledged, answered, gated."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.e2e.talk import Talk, fixes
from tests.e2e.talk import device as speaker
from tests.e2e.test_workers import talking_to
from tests.mqtt.clients import NEW, OLD, Client, client
from tests.mqtt.test_endpoint import location, somebody, stored
from tests.servers.mosquitto import Mosquitto
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_protocols.owntracks.sealing import opened


def commands(running: Running, device: str) -> list[dict[str, Any]]:
    return query(
        running.dsn,
        "SELECT CASE WHEN answered_at IS NOT NULL THEN 'answered' WHEN sent_at IS NOT NULL THEN 'sent' ELSE 'queued' END"
        " AS state, result FROM core.command_queue q JOIN core.devices d ON d.id = q.device_id WHERE d.unique_id = %s"
        " ORDER BY q.id",
        [device],
    )


def states(running: Running, device: str) -> list[str]:
    return [row["state"] for row in commands(running, device)]


def order(running: Running, device: str, kind: str, data: str = "") -> None:
    """As the operator's own."""
    query(
        running.dsn,
        "INSERT INTO core.command_queue (device_id, type, attributes, operator, expires_at)"
        " SELECT id, %s, jsonb_strip_nulls(jsonb_build_object('data', %s::text)), true, now() + interval '1 hour'"
        " FROM core.devices WHERE unique_id = %s",
        [kind, data or None, device],
    )


@pytest.mark.parametrize("version", [OLD, NEW], ids=["3.1.1", "5"])
def test_ordered_fetched_and_answered(running: Running, version: Any) -> None:
    """Before it comes, while it is here, and while it is away with a kept session."""
    device, name = f"owntracks/jane/{somebody()}", somebody()
    with client(running.addresses["mqtt"]) as phone:
        assert phone.publish(device, location(1)) == 0  # its language is known from now on
    told = running.cli("command", "send", device, "positionSingle")
    assert told.returncode == 0, told.stderr
    assert states(running, device) == ["queued"]
    kept = {"clean": False} if version == OLD else {}
    phone = Client(running.addresses["mqtt"], version=version, client_id=name, **kept).connect()
    assert phone.subscribe(f"{device}/cmd") == 1
    wait_until("the command", lambda: phone.messages)
    (sealed,) = [json.loads(payload) for _, payload in phone.messages]
    assert sealed["_type"] == "encrypted"  # for there is a key
    assert json.loads(opened(sealed["data"], b"s3cr3t")) == {"_type": "cmd", "action": "reportLocation"}
    wait_until("it to be acknowledged", lambda: states(running, device) == ["sent"])
    assert phone.publish(device, location(2, t="r")) == 0
    assert states(running, device) == ["answered"]
    order(running, device, "custom", "dump")
    wait_until("the second", lambda: len(phone.messages) == 2)
    wait_until("it to be acknowledged", lambda: states(running, device)[-1] == "sent")
    phone.close()
    if version == OLD:
        order(running, device, "getDeviceStatus")
        again = Client(running.addresses["mqtt"], version=version, client_id=name, clean=False).connect()
        assert again.present
        wait_until("what came meanwhile", lambda: again.messages)
        wait_until("it to be acknowledged", lambda: states(running, device)[-1] == "sent")
        again.close()


def test_a_gateway_publishes_what_a_binary_device_is_told(running: Running) -> None:
    imei = "356938035643809"
    gt06 = speaker("gt06", imei)
    login = gt06.login()
    assert login is not None
    with client(running.addresses["mqtt"], version=NEW) as gateway:
        assert gateway.subscribe(f"gw/{imei}/down") == 1
        assert gateway.publish(f"gw/{imei}/up", login.data) == 0
        assert gateway.publish(f"gw/{imei}/up", gt06.report(fixes(1)).data) == 0
        order(running, imei, "engineStop")
        wait_until("the command", lambda: any(b"Relay,1#" in payload for _, payload in gateway.messages))
        wait_until("it to be acknowledged", lambda: states(running, imei) == ["sent"])


def test_in_the_operators_own_words(running: Running) -> None:
    """Under the topic of its route: what the settings say; under the one of all devices: what JSON is told."""
    device, other = somebody(), somebody()
    fix = '{"data": {"t": 1772280000, "p": [521000000, 212000000]}}'
    with client(running.addresses["mqtt"], version=NEW) as logger:
        for one, topic in ((device, f"loggers/{device}/down"), (other, f"{other}/cmd")):
            assert logger.subscribe(topic) == 1
            assert logger.publish(f"loggers/{one}/up", fix) == 0
            told = running.cli("command", "send", one, "positionPeriodic", "--set", "frequency=60")
            assert told.returncode == 0, told.stderr
        wait_until("both", lambda: len(logger.messages) == 2)
        assert dict(logger.messages) == {
            f"loggers/{device}/down": b'{"every":60}',
            f"{other}/cmd": b'{"frequency":60,"command":"positionPeriodic"}',
        }
        order(running, device, "alarmArm")
        wait_until(
            "that there is no word for it", lambda: "no command of this device" in errors(running, device)
        )


def errors(running: Running, device: str) -> str:
    return running.cli("command", "list", device, "--format", "json").stdout


def test_a_hidden_tracker_is_told_nothing_but_the_operators_own(running: Running) -> None:
    device = somebody()
    with client(running.addresses["mqtt"], client_id=device) as tracker:
        assert tracker.subscribe(f"{device}/cmd") == 1
        assert tracker.publish("x", '{"lat": 52.1, "lon": 21.0}') == 0
        assert running.cli("device", "hold", device, "--reason", "unpaid").returncode == 0
        refused = running.cli("command", "send", device, "positionSingle")
        assert "may make it tell its place" in refused.stderr
        order(running, device, "engineStop")
        wait_until("it", lambda: tracker.messages)
        assert tracker.messages == [(f"{device}/cmd", b'{"command":"engineStop"}')]
        assert tracker.publish("x", '{"command": "engineStop", "result": "ok"}') == 0
        (row,) = wait_until("the answer", lambda: commands(running, device))
        assert (row["state"], row["result"]) == ("answered", "ok")


def test_through_a_broker(server: Servers, postgres_dsn: str, broker: Mosquitto) -> None:
    """What its device has not subscribed to waits, and after our restart nobody waits for its next report. A LoRaWAN device
    is told something under a topic that its uplink's tells.
    """
    topics = "owntracks/+/+,application/+/device/+/event/+"  # with # we would be a subscriber ourselves
    settings = {"devices.unknown": "register", "mqtt.broker.url": broker.url, "mqtt.broker.topics": topics}
    running = server(settings, dsn=postgres_dsn, protocols=[])
    phone, node = f"owntracks/jane/{somebody()}", "0102030405060708"
    uplink = {"deviceInfo": {"devEui": node}, "fCnt": 1, "object": {"latitude": 52.1, "longitude": 21.0}}
    with client(broker.address, version=NEW) as gateway:
        wait_until("the subscription", lambda: "subscribed" in running.log.read_text())
        gateway.publish(phone, location(0))
        gateway.publish(f"application/a7/device/{node}/event/up", json.dumps(uplink))
        wait_until("both to be known", lambda: stored(running, phone) and stored(running, node))
        gateway.subscribe(f"application/a7/device/{node}/command/down")
        order(running, node, "custom", "0105FF")
        wait_until("the downlink", lambda: gateway.messages)
        (topic, payload), *_ = gateway.messages
        assert topic == f"application/a7/device/{node}/command/down"
        assert json.loads(payload) == {"devEui": node, "confirmed": False, "fPort": 1, "data": "AQX/"}
        wait_until("it to be told", lambda: states(running, node) == ["sent"])
        order(running, phone, "positionSingle")
        wait_until("that nobody is there", lambda: "nobody has subscribed there" in running.log.read_text())
        assert states(running, phone) == ["queued"]
        running.stop()
        gateway.subscribe(f"{phone}/cmd")
        running.launch()
        wait_until("the command", lambda: len(gateway.messages) == 2)
        assert gateway.messages[1] == (f"{phone}/cmd", b'{"_type":"cmd","action":"reportLocation"}')
        wait_until("it to be told", lambda: states(running, phone) == ["sent"])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_newest_way_is_that_of_the_commands(
    server: Servers, postgres_dsn: str, broker: Mosquitto, workers: int
) -> None:
    """From a broker to a connection of its own, back while that is half open, to our own endpoint, to HTTP; what speaks
    again is the newest. With two processes the connection is in the one that has no MQTT.
    """
    settings = {
        "devices.unknown": "register",
        "mqtt.broker.url": broker.url,
        "mqtt.broker.topics": "up/#",
        "workers": workers,
    }
    running = server(settings, dsn=postgres_dsn, protocols=["gt06", "osmand", "mqtt"])
    imei, other = "356938035643810", "356938035643811"
    box, neighbour = speaker("gt06", imei), speaker("gt06", other)
    login, beat, call = box.login(), box.heartbeat(), neighbour.login()
    assert login is not None
    assert beat is not None
    assert call is not None

    def order_and_hear(hear: Callable[[], bool]) -> None:
        order(running, imei, "engineStop")
        wait_until("the command", hear)
        wait_until("it to be told", lambda: set(states(running, imei)) == {"sent"})

    def told(talk: Talk) -> bool:
        return b"Relay,1#" in talk.socket.recv(1_000)

    with client(broker.address, version=NEW) as gateway:

        def report(n: int) -> None:
            fix = {"id": imei, "lat": 52.1, "lon": 21.0, "time": f"2026-03-01T08:00:{n:02}Z"}
            gateway.publish(f"up/{imei}", json.dumps(fix))
            wait_until("the report", lambda: len(stored(running, imei)) == n)

        wait_until("the subscription", lambda: "subscribed" in running.log.read_text())
        gateway.subscribe(f"{imei}/cmd")
        report(1)
        order_and_hear(lambda: len(gateway.messages) == 1)
        with talking_to(running, "gt06", workers - 1) as talk:
            talk.ask(login)
            order_and_hear(lambda: told(talk))
            wait_until(
                "the way to be forgotten", lambda: query(running.dsn, "SELECT 1 FROM core.mqtt_ways") == []
            )
            report(2)  # through the broker, and the connection is still open
            order_and_hear(lambda: len(gateway.messages) == 2)
            talk.ask(beat)
            order_and_hear(lambda: told(talk))
            with client(running.addresses["mqtt"], version=NEW, client_id=imei) as phone:
                phone.subscribe(f"{imei}/cmd")  # and has not published yet
                order_and_hear(lambda: len(phone.messages) == 1)
                talk.ask(beat)
                order_and_hear(lambda: told(talk))
            beaten_at = time.monotonic()
            fix = f"http://{':'.join(map(str, running.addresses['osmand']))}/?id={imei}&lat=52&lon=21&timestamp="
            wait_until(
                "its report by HTTP while the connection is silent",
                lambda: (
                    httpx.post(f"{fix}{int(time.time())}").is_success and time.monotonic() > beaten_at + 1.5
                ),
            )
            with talking_to(running, "gt06", workers - 1) as next_door:
                next_door.ask(call)
                next_door.ask(neighbour.report(fixes(1)))
                order(running, imei, "engineStop")
                order(running, other, "engineStop")
                assert told(next_door)
                assert states(running, imei)[-1] == "queued", (
                    "it would be lost in a connection that is half open"
                )
            talk.ask(beat)
            order_and_hear(lambda: told(talk))
        assert len(gateway.messages) == 2
