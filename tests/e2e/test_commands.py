"""Commands to devices, through a real server: told at once or at the next login, answered, hidden, refused."""

from __future__ import annotations

import json
import socket
from typing import Any

from tests.e2e.talk import Talk, device, fixes, talking
from tests.servers.serve import Running, Servers
from tests.servers.waiting import wait_until
from tests.storage.rows import query
from tracker_protocols.gt06.frames import message
from tracker_protocols.teltonika.commands import ANSWER, message_12

IMEI = "356938035643809"


def listed(running: Running, *arguments: str) -> list[dict[str, Any]]:
    told = running.cli("command", "list", *arguments, "--format", "json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


def sent(running: Running, *arguments: str) -> None:
    told = running.cli("command", "send", *arguments)
    assert told.returncode == 0, told.stderr


def state(running: Running) -> str:
    found = query(
        running.dsn,
        "SELECT CASE WHEN answered_at IS NOT NULL THEN 'answered' WHEN sent_at IS NOT NULL THEN 'sent' ELSE 'queued' END AS state"
        " FROM core.command_queue ORDER BY id DESC LIMIT 1",
    )
    return found[0]["state"]


def added(running: Running, *names: str) -> None:
    for name in names:
        query(
            running.dsn,
            "INSERT INTO core.devices (unique_id, account_id, name) SELECT %s, id, 'Van' FROM core.accounts WHERE name = 'default'",
            [name],
        )


def heard(talk: Talk, words: bytes) -> bool:
    """Whether the device is told this; fails when nothing more comes."""
    got = b""
    while words not in got and (part := talk.socket.recv(1024)):
        got += part
    return words in got


def logged_in(talk: Talk, protocol: str) -> None:
    login = device(protocol, IMEI).login()
    assert login is not None
    assert talk.ask(login) == login.answer


def test_told_at_login_and_at_once_and_answered(postgres_dsn: str, server: Servers) -> None:
    running = server(dsn=postgres_dsn, protocols=["gt06"])
    added(running, IMEI)
    sent(running, IMEI, "engineStop")
    assert state(running) == "queued"
    stop = bytes.fromhex("787812800c0000000052656c61792c312300009dee0d0a")
    with talking(running.addresses["gt06"]) as talk:
        logged_in(talk, "gt06")
        assert talk.receive(len(stop)) == stop
        wait_until("the command to be marked", lambda: state(running) == "sent")
        text = b"Relay:1 OK"
        talk.send(message(0x15, bytes([4 + len(text)]) + bytes(4) + text + b"\x00\x02", b"\x00\x07"))
        wait_until("the answer", lambda: state(running) == "answered")
        assert listed(running)[0]["result"] == text.decode()
        sent(running, IMEI, "custom", "--data", "STATUS#")  # while it is connected
        assert heard(talk, b"STATUS#")
    running.restart()
    assert [row["state"] for row in listed(running)] == ["sent", "answered"]  # nothing is told twice


def test_over_udp(postgres_dsn: str, server: Servers) -> None:
    running = server(dsn=postgres_dsn, protocols=["h02"])
    added(running, "1234567890")
    sent(running, "1234567890", "positionPeriodic", "--set", "frequency=60")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.settimeout(10)
        speaker = device("h02", "1234567890")
        peer.sendto(speaker.datagram(fixes(1)).data, running.addresses["h02"])
        heard = b""
        while b",S71," not in heard:
            heard += peer.recv(1024)
    assert heard.endswith(b",22,60#")


def test_teltonika_answers_with_codec_12(postgres_dsn: str, server: Servers) -> None:
    running = server(dsn=postgres_dsn, protocols=["teltonika"])
    added(running, IMEI)
    with talking(running.addresses["teltonika"]) as talk:
        logged_in(talk, "teltonika")
        sent(running, IMEI, "getVersion")
        assert heard(talk, b"getver")
        talk.send(message_12(ANSWER, b"Ver:03.27.07"))
        wait_until("the answer", lambda: state(running) == "answered")


def test_a_hidden_tracker(postgres_dsn: str, server: Servers) -> None:
    running = server(dsn=postgres_dsn, protocols=["gt06"])
    added(running, IMEI)
    query(
        running.dsn,
        "INSERT INTO core.command_queue (device_id, type, operator, expires_at)"
        " SELECT id, 'getVersion', false, now() + interval '1 hour' FROM core.devices",
    )
    assert len(listed(running, "--as", "customer")) == 1
    assert running.cli("device", "hold", IMEI, "--reason", "fee is due").returncode == 0
    refused = running.cli("command", "send", IMEI, "positionSingle")
    assert refused.returncode == 1
    assert "the tracker is hidden, and positionSingle may make it tell its place" in refused.stderr
    assert listed(running, "--as", "customer") == []
    with talking(running.addresses["gt06"]) as talk:
        logged_in(talk, "gt06")
        sent(running, IMEI, "engineStop")  # the operator's own
        assert heard(talk, b"Relay,1#")
        assert talk.hears_nothing(0.5), "a customer's command waits until the tracker is shown again"
        assert running.cli("device", "release", IMEI).returncode == 0
        sent(running, IMEI, "engineResume")
        assert heard(talk, b"Relay,0#")  # and before it what was held back
    assert len(listed(running, "--as", "customer")) == 3


def test_refusals(postgres_dsn: str, server: Servers) -> None:
    running = server({"devices.unknown": "register"}, dsn=postgres_dsn, protocols=["osmand", "gt06"])
    added(running, "phone")
    with talking(running.addresses["gt06"]) as talk:
        logged_in(talk, "gt06")
        report = device("gt06", IMEI).report(fixes(1))
        assert talk.ask(report) == report.answer
    cases = [
        ((IMEI, "takeOff"), 2, "TYPE"),
        ((IMEI, "custom"), 2, "--set data: is missing; custom needs"),
        ((IMEI, "positionPeriodic", "--set", "frequency"), 2, "--set: 'frequency' is no NAME=VALUE"),
        ((IMEI, "engineStop", "--hours", "0"), 2, "--hours: 0 does not fit; write 1 to 8760"),
        (("nobody", "engineStop"), 1, "there is no tracker 'nobody'"),
    ]
    for arguments, code, words in cases:
        told = running.cli("command", "send", *arguments)
        assert (told.returncode, words.lower() in told.stderr.lower()) == (code, True), told.stderr
    types = running.cli("command", "types", IMEI, "--format", "json")
    assert {"type": "engineStop", "protocol": "gt06"} in json.loads(types.stdout)
    unheard = running.cli("command", "types", "phone")
    assert (unheard.returncode, "has not reported yet" in unheard.stderr) == (1, True)


def test_taken_back_and_void(postgres_dsn: str, server: Servers) -> None:
    running = server(dsn=postgres_dsn, protocols=["gt06"])
    added(running, IMEI)
    for kind in ("engineStop", "engineResume", "rebootDevice"):
        sent(running, IMEI, kind)
    query(running.dsn, "UPDATE core.command_queue SET expires_at = now() WHERE type = 'engineResume'")
    assert running.cli("command", "cancel", "1").returncode == 0
    again = running.cli("command", "cancel", "1")
    assert (again.returncode, "1: not there, or gone out already" in again.stderr) == (1, True)
    assert running.cli("command", "cancel").returncode == 2
    with talking(running.addresses["gt06"]) as talk:
        logged_in(talk, "gt06")
        assert heard(talk, b"RESET#")
        assert talk.hears_nothing(0.3)
    assert [(row["type"], row["state"]) for row in listed(running)] == [
        ("rebootDevice", "sent"),
        ("engineResume", "expired"),
    ]
