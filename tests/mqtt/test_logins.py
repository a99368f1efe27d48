"""Who may speak for whom, and commands that wait until their device fetches them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.mqtt.clients import NEW, OLD, Client, client
from tests.mqtt.test_endpoint import location, somebody, stored
from tests.servers.serve import Running
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_server.mqtt.codes import Code


def add_login(running: Running, name: str, *devices: str) -> str:
    done = running.cli("mqtt", "login", "add", name, *devices)
    assert done.returncode == 0, done.stderr
    return done.stdout.rpartition("password: ")[2].strip()


def speaking(running: Running, user: str, password: str, **more: Any) -> Client:
    one = Client(running.addresses["mqtt"], **more)
    one.paho.username_pw_set(user, password)
    return one


def test_a_device_with_a_login_needs_it(running: Running) -> None:
    device, other = f"owntracks/jane/{somebody()}", f"owntracks/joe/{somebody()}"
    user = somebody()
    secret = add_login(running, user, device)

    def refused() -> bool:
        with client(running.addresses["mqtt"], version=NEW) as stranger:
            return stranger.publish(device, location(1)) == Code.NOT_AUTHORIZED

    wait_until("the server to know the login", refused)
    wrong = speaking(running, user, "not the secret of it", version=NEW).connect()
    assert wrong.connack is not None
    assert wrong.connack.value == Code.BAD_CREDENTIALS
    wrong.close()
    right = speaking(running, user, secret, version=NEW).connect()
    assert right.publish(device, location(2)) == 0
    assert right.publish(other, location(2)) == Code.NOT_AUTHORIZED
    right.close()
    assert len(stored(running, device)) == 1
    assert stored(running, other) == []
    rows = json.loads(running.cli("mqtt", "login", "list", "--format", "json").stdout)
    assert {"name": user, "gateway": False, "devices": [device]}.items() <= next(
        r for r in rows if r["name"] == user
    ).items()
    assert secret not in running.log.read_text()
    assert running.cli("mqtt", "login", "remove", user).returncode == 0
    again = running.cli("mqtt", "login", "remove", user)
    assert again.returncode == 1
    assert "there is no login" in again.stderr


def test_a_gateway_speaks_for_all(running: Running) -> None:
    device, user = f"owntracks/jane/{somebody()}", somebody()
    add_login(running, somebody(), device)
    done = running.cli(
        "mqtt", "login", "add", user, "--gateway", "--secret-stdin", stdin="a secret of the gateway\n"
    )
    assert done.returncode == 0, done.stderr
    assert "a secret" not in done.stdout

    def spoke() -> bool:
        gateway = speaking(running, user, "a secret of the gateway", version=NEW).connect()
        code = gateway.publish(device, location(1)) if gateway.connack == 0 else 1
        gateway.close()
        return code == 0

    wait_until("the gateway to be known", spoke)
    assert len(stored(running, device)) == 1


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["x", "--secret-stdin"], "short\n", "--secret-stdin: the secret has fewer than 16 characters"),
        (["x", "y", "--gateway"], "", "--gateway: it may report for every tracker"),
        (["x" * 129], "", "NAME: write 1 to 128 characters"),
    ],
)
def test_wrong_logins(running: Running, arguments: list[str], stdin: str, said: str) -> None:
    done = running.cli("mqtt", "login", "add", *arguments, stdin=stdin)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.parametrize("version", [OLD, NEW], ids=["3.1.1", "5"])
def test_a_command_waits_until_it_is_fetched(running: Running, version: Any) -> None:
    device = f"owntracks/jane/{somebody()}"
    with client(running.addresses["mqtt"]) as phone:
        assert phone.publish(device, location(1)) == 0  # known from now on
    command = '{"_type":"cmd","action":"reportLocation"}'
    done = running.cli("mqtt", "send", device, command)
    assert done.returncode == 0, done.stderr

    def waiting() -> list[Any]:
        return query(running.dsn, "SELECT payload FROM core.mqtt_mail WHERE unique_id = %s", [device])

    rows = json.loads(running.cli("mqtt", "waiting", "--format", "json").stdout)
    assert [row["payload"] for row in rows if row["unique_id"] == device] == [command]
    with client(running.addresses["mqtt"], version=version, client_id=somebody()) as phone:
        assert phone.subscribe(f"{device}/cmd") == 1
        wait_until("the command", lambda: phone.messages)
        assert phone.messages == [(f"{device}/cmd", command.encode())]
        running.cli("mqtt", "send", device, "second")  # it is here: at once
        wait_until("the second", lambda: len(phone.messages) == 2)
        wait_until("the acknowledgements", lambda: not waiting())
    with client(running.addresses["mqtt"]) as nobody:
        running.cli("mqtt", "send", device, "third")
        assert nobody.subscribe("#") == 1  # wildcards of somebody who has shown nothing bring nothing
        assert nobody.publish(device, location(2)) == 0
        assert nobody.messages == []


def test_a_kept_session_keeps_its_subscriptions_over_a_restart(running: Running) -> None:
    device, name = f"owntracks/jane/{somebody()}", somebody()
    first = Client(running.addresses["mqtt"], client_id=name, clean=False).connect()
    assert not first.present
    first.subscribe(f"{device}/cmd")
    assert first.publish(device, location(1)) == 0
    first.close()
    running.cli("mqtt", "send", device, "while you were away")
    running.restart()
    second = Client(running.addresses["mqtt"], client_id=name, clean=False).connect()
    assert second.present
    wait_until("the command", lambda: second.messages)
    second.close()
    with client(running.addresses["mqtt"], client_id=name) as clean:
        assert not clean.present
        assert clean.publish(device, location(2)) == 0
    third = Client(running.addresses["mqtt"], client_id=name, clean=False).connect()
    assert not third.present, "a clean session ends the kept one"
    third.close()
