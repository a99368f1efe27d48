"""The delivery log and the preview over HTTP: one's own trackers, nothing of a hidden one, nothing for a guest."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.api.people import World
from tracker_server.pipeline.dispatcher import TemporaryError


@pytest.fixture
def account(world: World) -> int:
    return world.account()


def alert(world: World, account: int, device: int, **columns: Any) -> None:
    letter = {
        "type": "event", "event": "geofenceEnter", "tracker": "Van 3", "unique_id": "T3", "account": "Norte", "language": "es",
        "zone": "UTC", "occurred_at": "2027-02-15T12:00:00Z", "fence": "Depot",
    }  # fmt: skip
    values = {
        "key": f"alert:{device}:{sorted(columns)}", "channel": "email", "recipient": "a@example.com", "account_id": account,
        "device_id": device, "payload": json.dumps(letter), "created_at": "2027-02-15T12:00:01Z", "due_at": "2027-02-15T12:00:01Z",
        "next_at": "2027-02-15T12:00:01Z", "event_id": 7, "event_at": "2027-02-15T12:00:00Z", "event_type": "geofenceEnter", **columns,
    }  # fmt: skip
    places = ", ".join(["%s"] * len(values))
    world.sql(f"INSERT INTO core.outbox ({', '.join(values)}) VALUES ({places})", *values.values())


def log(client: httpx.Client, **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/api/alerts/log", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_log_is_of_ones_own_trackers_that_are_shown(world: World, account: int) -> None:
    mine, hidden = world.device(account), world.device(account)
    other = world.account()
    foreign = world.device(other)
    alert(world, account, mine, delivered_at="2027-02-15T12:00:02Z", attempts=1)
    alert(
        world,
        account,
        mine,
        channel="sms",
        withheld_at="2027-02-15T12:00:01Z",
        withheld="budget",
        error="too many",
    )
    alert(world, account, hidden)
    alert(world, other, foreign)
    world.block(hidden)
    client = world.signed_in("viewer", account)
    over, sent = log(client)
    assert sent == {
        "id": sent["id"], "at": "2027-02-15T12:00:00Z", "type": "geofenceEnter", "eventId": 7, "deviceId": mine,
        "channel": "email", "recipient": "a@example.com", "state": "delivered", "attempts": 1, "error": None,
        "createdAt": "2027-02-15T12:00:01Z", "deliveredAt": "2027-02-15T12:00:02Z",
        "text": "Van 3 ha entrado en Depot, 15 feb 12:00",
    }  # fmt: skip
    assert (over["state"], over["error"], over["deliveredAt"]) == ("budget", "too many", None)
    assert len(log(client, deviceId=mine, limit=1)) == 1
    assert log(client, **{"from": "2027-02-16T00:00:00Z"}) == []
    for device in (hidden, foreign, 10**9):
        assert client.get("/api/alerts/log", params={"deviceId": device}).status_code == 404
    world.unblock(hidden)
    assert len(log(client, deviceId=hidden)) == 1


def test_a_customer_is_not_told_why_a_channel_of_the_operators_is_down(world: World, account: int) -> None:
    device = world.device(account)
    inside = str(TemporaryError("mail.inside:587 does not let us in: [Errno 111]", down=True))
    assert inside == "the channel is down [mail.inside:587 does not let us in: [Errno 111]]"
    alert(world, account, device, error=inside, attempts=1)
    alert(world, account, device, channel="sms", withheld_at="2027-02-15T12:00:01Z", withheld="replaced",
          error=f"given up after 60 s: {inside}; it went by e-mail")  # fmt: skip
    client = world.signed_in("viewer", account)
    assert [one["error"] for one in log(client, deviceId=device)] == [
        "given up after 60 s: the channel is down; it went by e-mail",
        "the channel is down",
    ]


def test_a_preview_in_each_language(world: World, account: int) -> None:
    client = world.signed_in("viewer", account)
    asked = {"type": "alarm:sos", "language": "ru", "zone": "Europe/Madrid"}
    answer = client.post("/api/alerts/preview", json=asked)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["subject"] == "Van 3: SOS"
    assert "Время" in told["text"]
    assert told["html"].startswith("<!doctype html>")
    assert told["sms"].startswith("Van 3: SOS, ")
    for change, field in (
        ({"type": "nothing"}, "type"),
        ({"zone": "Mars"}, "zone"),
        ({"type": "media:sos"}, "type"),
    ):
        answer = client.post("/api/alerts/preview", json=asked | change)
        assert answer.status_code == 400
        assert field in answer.text
