"""Commands of the queue reach devices that fetch them by MQTT: stored until acknowledged, answered, gated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.talk import device as speaker
from tests.e2e.talk import fixes
from tests.mqtt.clients import NEW, OLD, Client, client
from tests.mqtt.test_endpoint import location, somebody, stored
from tests.servers.mosquitto import Mosquitto
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query


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
    assert [json.loads(payload) for _, payload in phone.messages] == [
        {"_type": "cmd", "action": "reportLocation"}
    ]
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
    running = server(
        {"devices.unknown": "register", "mqtt.broker.url": broker.url, "mqtt.broker.topics": "owntracks/+/+"},
        dsn=postgres_dsn,
        protocols=[],
    )
    device = f"owntracks/jane/{somebody()}"
    with client(broker.address, version=NEW) as phone:
        wait_until("the subscription", lambda: "subscribed" in running.log.read_text())
        phone.subscribe(f"{device}/cmd")
        phone.publish(device, location(0))
        wait_until("it to be known", lambda: stored(running, device))
        order(running, device, "positionSingle")
        wait_until("the command", lambda: phone.messages)
        wait_until("it to be told", lambda: states(running, device) == ["sent"])
