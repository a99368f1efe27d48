"""What devices are told: rows of a command and its bytes, and every way to ask for what cannot be said."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tracker_protocols import ALL, BY_NAME
from tracker_protocols.wire.command import Command, CommandError

NOW = datetime(2026, 3, 1, 8, 15, 32, tzinfo=UTC)
DEVICE = "123456789012345"
GOLDEN = Path(os.environ.get("TRACKER_GOLDEN_DIR", "../shared/golden")) / "commands"

# protocol, type, attributes, what goes out (text, or hexadecimal behind 0x); hand-made after the sources in the modules
ROWS: list[tuple[str, str, dict[str, Any], str]] = [
    ("gt06", "engineResume", {}, "0x787812800c0000000052656c61792c30230000"),
    ("gt06", "positionPeriodic", {"frequency": 30}, "0x787813800d0000000054494d45522c3330230000"),
    ("teltonika", "custom", {"data": "getver"}, "0x000000000000000e0c010500000006676574766572010000"),
    ("teltonika", "custom", {"data": "0300FF"}, "0x000000000000000b0c0105000000030300ff01"),
    ("teltonika", "setConnection", {"server": "10.0.0.1", "port": 5027}, "setparam 2004:10.0.0.1;2005:5027"),
    ("h02", "engineStop", {}, "*HQ,123456789012345,S20,081532,1,1#"),
    ("h02", "engineResume", {}, "*HQ,123456789012345,S20,081532,1,0#"),
    ("h02", "positionPeriodic", {"frequency": "60"}, "*HQ,123456789012345,S71,081532,22,60#"),
    ("h02", "custom", {"data": "S17,081532,1"}, "*HQ,123456789012345,S17,081532,1#"),
    ("gps103", "positionSingle", {}, "**,imei:123456789012345,B"),
    ("gps103", "positionPeriodic", {"frequency": 20}, "**,imei:123456789012345,C,20s"),
    ("gps103", "positionPeriodic", {"frequency": 7200.0}, "**,imei:123456789012345,C,02h"),
    ("gps103", "setSpeedLimit", {"speed": 80}, "**,imei:123456789012345,H,080"),
    ("tk103", "engineStop", {}, "(123456789012345AV010)"),
    ("tk103", "alarmSos", {"enable": True, "alternative": True}, "[begin]sms2,*soson*,[end]"),
    ("owntracks", "positionSingle", {}, '{"_type":"cmd","action":"reportLocation"}'),
    ("owntracks", "custom", {"data": "dump"}, '{"_type":"cmd","action":"dump"}'),
    ("owntracks", "custom", {"data": '{"_type":"cmd"}'}, '{"_type":"cmd"}'),
    (
        "owntracks",
        "positionPeriodic",
        {"frequency": 60},
        '"configuration":{"_type":"configuration","locatorInterval":60}',
    ),
    ("gl200", "engineStop", {"devicePassword": "gv300"}, "AT+GTOUT=gv300,1,0,0,,,,,,,,,,,,,,FFFF$"),
    ("gl200", "engineResume", {"devicePassword": "gv300"}, "AT+GTOUT=gv300,0,0,0,,,,,,,,,,,,,,FFFF$"),
    ("gl200", "positionSingle", {"devicePassword": "gl300"}, "AT+GTRTO=gl300,1,,,,,,FFFF$"),
    ("gl200", "rebootDevice", {"devicePassword": "gl300"}, "AT+GTRTO=gl300,3,,,,,,FFFF$"),
    ("gl200", "custom", {"data": "AT+GTRTO=gl300,0,,,,,,000B"}, "AT+GTRTO=gl300,0,,,,,,000B$"),
    ("json", "engineStop", {}, '{"command":"engineStop"}'),
    (
        "json",
        "outputControl",
        {"index": 1, "enable": True},
        '{"index":1,"enable":true,"command":"outputControl"}',
    ),
    ("json", "custom", {"data": "led on"}, "led on"),
    (
        "ttnhttp",
        "custom",
        {"data": "01 05 ff"},
        '{"downlinks":[{"f_port":1,"frm_payload":"AQX/","priority":"NORMAL"}]}',
    ),
    (
        "ttnhttp",
        "custom",
        {"data": "01", "port": "85", "confirmed": True},
        '{"downlinks":[{"f_port":85,"frm_payload":"AQ==","priority":"NORMAL","confirmed":true}]}',
    ),
    (
        "chirpstack",
        "custom",
        {"data": "0105FF", "port": 10},
        '{"devEui":"123456789012345","confirmed":false,"fPort":10,"data":"AQX/"}',
    ),
    (
        "tk103",
        "sosNumber",
        {"phone": "+34600000000", "alternative": True},
        "[begin]sms2,*master*123456*+34600000000*,[end]",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_spelt(row: tuple[str, str, dict[str, Any], str]) -> None:
    protocol, kind, attributes, expected = row
    commands = BY_NAME[protocol].commands
    assert commands is not None
    found = commands.encode(DEVICE, Command(kind, attributes), NOW)
    if expected.startswith("0x"):
        assert found.hex().startswith(expected[2:])
    else:
        assert expected.encode() in found


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("gt06", "takeOff", {}, "type: 'takeOff' is no command of this device's language; it knows custom, engine"),
    ("gt06", "custom", {}, "attributes.data: is missing; custom needs the text that the device understands"),
    ("gt06", "custom", {"data": "RESET#\r\n"}, "without line breaks"),
    ("gt06", "custom", {"data": "é"}, "printable ASCII"),
    ("gt06", "custom", {"data": ["RESET#"]}, "attributes.data: ['RESET#'] is no text"),
    ("gt06", "custom", {"data": "x" * 241}, "attributes.data: has 241 characters; GT06 takes 240"),
    ("gt06", "positionPeriodic", {"frequency": 0}, "attributes.frequency: 0 does not fit; write a whole number 1"),
    ("gt06", "positionPeriodic", {"frequency": True}, "attributes.frequency: True does not fit"),
    ("gt06", "positionPeriodic", {}, "attributes.frequency: is missing; positionPeriodic needs seconds between"),
    ("gps103", "positionPeriodic", {"frequency": 100}, "attributes.frequency: 100 s cannot be said"),
    ("gl200", "engineStop", {}, "attributes.devicePassword: is missing or no 4 to 6 letters and digits; makers set"),
    ("gl200", "rebootDevice", {"devicePassword": "a,1$"}, "attributes.devicePassword: is missing or no 4 to 6"),
    ("gl200", "custom", {}, "attributes.data: is missing; custom needs the text that the device understands"),
    ("h02", "positionPeriodic", {"frequency": "soon"}, "attributes.frequency: 'soon' does not fit"),
    ("owntracks", "custom", {"data": "{"}, "attributes.data: is no JSON"),
    ("owntracks", "custom", {"data": "{}"}, "attributes.data: has no _type; write such as"),
    ("owntracks", "positionPeriodic", {}, "attributes.frequency: None does not fit"),
    ("json", "positionPeriodic", {"frequency": 0}, "attributes.frequency: 0 does not fit"),
    ("json", "engineStop", {"data": b"\xff".decode("latin-1") + chr(0xD800)}, "attributes: cannot be written as JSON"),
    ("ttnhttp", "custom", {"data": "led on"}, "attributes.data: 'ledon' is not hexadecimal; write the payload's bytes"),
    ("ttnhttp", "custom", {"data": "00" * 243}, "attributes.data: has 243 bytes; a payload has up to 242"),
    ("ttnhttp", "custom", {"data": "00", "port": 224}, "attributes.port: 224 does not fit; write a whole number 1 to 223"),
    ("chirpstack", "custom", {"data": "00", "confirmed": "yes"}, "attributes.confirmed: 'yes' does not fit; write true"),
    ("tk103", "setOdometer", {"alternative": True}, "set attributes.alternative to false"),
    ("tk103", "deviceIdentification", {}, "set attributes.alternative to true"),
    ("tk103", "alarmSos", {"alternative": True}, "attributes.enable: None does not fit; write true or false"),
    ("tk103", "setConnection", {"alternative": True, "port": 5002}, "attributes.server: is missing"),
]  # fmt: skip


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: f"{row[0]} {row[1]} {row[2]}"[:60])
def test_refused(row: tuple[str, str, dict[str, Any], str]) -> None:
    protocol, kind, attributes, words = row
    commands = BY_NAME[protocol].commands
    assert commands is not None
    with pytest.raises(CommandError) as refusal:
        commands.encode(DEVICE, Command(kind, attributes), NOW)
    assert words in str(refusal.value)


def test_every_type_can_be_spelt() -> None:
    everything = {
        "data": "10", "frequency": 60, "enable": False, "index": 0, "phone": "+1", "server": "10.0.0.1", "port": 1,
        "speed": 90, "timezone": 1, "devicePassword": "123456",
    }  # fmt: skip
    for protocol in ALL:
        for kind in protocol.commands.types if protocol.commands else ():
            spelt: list[bytes] = []
            for alternative in (False, True):
                command = Command(kind, everything | {"alternative": alternative})
                assert protocol.commands is not None
                try:
                    spelt.append(protocol.commands.encode(DEVICE, command, NOW))
                except CommandError as error:
                    assert "dialect" in str(error)  # noqa: PT017
            assert spelt, f"{protocol.name} {kind}"


@pytest.mark.parametrize(
    "name", [p.name for p in ALL if p.commands and (GOLDEN / f"{p.name}.jsonl").exists()]
)
def test_recorded_commands(name: str) -> None:
    """Commands as another server spelt them; which dialect a row is in shows only in its outcome."""
    commands = BY_NAME[name].commands
    assert commands is not None
    for line in (GOLDEN / f"{name}.jsonl").read_text().splitlines():
        row = json.loads(line)
        output = row["output"]
        expected = bytes.fromhex(output["hex"]) if output["kind"] == "binary" else output["text"].encode()
        spelt: list[bytes] = []
        for alternative in (False, True):
            command = Command(row["type"], row["attributes"] | {"alternative": alternative})
            try:
                spelt.append(commands.encode(row["device_id"], command, NOW))
            except CommandError:
                continue
        assert expected in spelt, row
