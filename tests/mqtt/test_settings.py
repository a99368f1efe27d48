"""Settings of MQTT that cannot be used are named with their cure; mappings and payloads without a server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tracker_protocols.json.mapping import Compiled, Mapping, MappingError
from tracker_protocols.json.templates import compiled
from tracker_protocols.model import Report
from tracker_protocols.wire.command import Command, CommandError
from tracker_server.config import ConfigError, load
from tracker_server.config_mqtt import MqttRoute
from tracker_server.listeners.outward import topic_of
from tracker_server.listeners.payloads import Routes, Talk, fallback_of
from tracker_server.mqtt.address import address_of
from tracker_server.pipeline.mqtt_book import Identity

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROUTE = '[mqtt.routes.a]\ntopic = "x"\nreply = "y/{device}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[mqtt.routes.a]\ntopic = ""', "mqtt.routes.a.topic: is empty"),
        ('[mqtt.routes.a]\ntopik = "x"', "there is no such setting; did you mean 'topic'?"),
        ('[mqtt.routes.a]\ntopic = "x"\npayload = "gt6"', "'gt6' is neither a protocol nor mapping:NAME"),
        ('[mqtt.routes.a]\ntopic = "x"\npayload = "mapping:m"', "there is no section [mappings.m]"),
        ('[mqtt.routes.a]\ntopic = "x"\ndevice = "level 2"', "is none of topic:N, client, user, certificate"),
        ('[mqtt.routes.a]\ntopic = "x"\nreply = "gw/{id}"', "mqtt.routes.a.reply: 'gw/{id}' is no topic"),
        (
            '[mqtt.routes.a]\ntopic = "x"\nreply = "gw/+/down"',
            "write levels, {device} and {topic:N}, no wildcards",
        ),
        (
            f'{ROUTE}payload = "gt06"\ncommands.engineStop = "x"',
            "mqtt.routes.a.commands: gt06 has words of its own",
        ),
        (
            f'{ROUTE}commands.engineStopp = "x"',
            "mqtt.routes.a.commands.engineStopp: is no command; write one of",
        ),
        (f'{ROUTE}commands.engineStop = ""', "mqtt.routes.a.commands.engineStop: is empty"),
        (
            f"{ROUTE}commands.engineStop = '{{\"a\": }}'",
            "mqtt.routes.a.commands.engineStop: '{\"a\": }' is no JSON",
        ),
        (f'{ROUTE}commands."*" = "x{{pin"', "mqtt.routes.a.commands.*: 'x{pin' has a brace too many"),
        (
            '[mqtt.routes.a]\ntopic = "x"\ncommands.engineStop = "x"',
            "mqtt.routes.a.reply: is empty; write the topic",
        ),
        ('[mappings.m]\nlatitude = "a["\nlongitude = "b"', "mappings.m.latitude: 'a[' is no JMESPath"),
        ('[mappings.m]\nlongitude = "b"', "mappings.m.latitude: is empty"),
        (
            '[mappings.m]\nlatitude = "a"\nlongitude = "b"\ntime_format = "rfc"',
            "write auto, unix, unix_ms, iso",
        ),
        ('[mappings.m]\nlatitude = "a"\nlongitude = "b"\ndegrees_scale = 0', "mappings.m.degrees_scale"),
        ('[mappings.m]\nspeed_unit = "kmh"', 'write "m/s" or "km/h" or "mph" or "kn"'),
        ("[mqtt]\ntls_port = 8883", "mqtt.tls_port: needs mqtt.tls_cert and mqtt.tls_key"),
        ('[mqtt]\ntls_cert = "/dev/null"', "mqtt: tls_cert and tls_key go together"),
        ('[mqtt]\nclient_ca = "/no/such"', "mqtt.client_ca: /no/such: there is no such file"),
        ('[mqtt]\ncommands_topic = "cmd"', "mqtt.commands_topic: holds no {device}"),
        ("[mqtt]\nport = 8082", "port 8082 is taken by mqtt.port already"),
        ('[mqtt.broker]\nurl = "broker:1883"', "mqtt.broker.url: write mqtt://HOST:PORT"),
        ('[mqtt.brokers.b]\nurl = "http://x"', "mqtt.brokers.b.url: write mqtt://HOST:PORT"),
        ("[mqtt.brokers.b]\nreceive_max = 0", "mqtt.brokers.b.receive_max"),
        ('[mqtt.publish]\nkinds = "position,photo"', "'photo' is none of position, event, state"),
        ('[mqtt.publish]\ntopic = "all/{kind}"', "mqtt.publish.topic: needs {kind}, and {unique_id} or {id}"),
    ],
)
def test_settings_that_cannot_be_used(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        load(file, {}, {})
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [
        (1772366400, "auto", AT),
        ("1772366400", "auto", AT),
        (1772366400000, "auto", AT),
        (1772366400000, "unix_ms", AT),
        ("2026-03-01T13:00:00+01:00", "auto", AT),
        ("2026-03-01 12:00:00", "iso", AT),
        ("01.03.2026 12:00", "%d.%m.%Y %H:%M", AT),
    ],
)
def test_time_formats(value: object, form: str, expected: datetime) -> None:
    import msgspec

    compiled = Compiled(Mapping(latitude="a", longitude="b", time="t", time_format=form))
    said = compiled.decode(msgspec.json.encode({"a": 1, "b": 2, "t": value}), "d", AT, None)
    assert isinstance(said, Report)
    assert said.fix is not None
    assert said.fix.fixed_at == expected


@pytest.mark.parametrize(
    ("unit", "mps"), [("m/s", 10.0), ("km/h", 2.777778), ("mph", 4.4704), ("kn", 5.144444)]
)
def test_units(unit: Any, mps: float) -> None:
    mapping = Mapping(
        latitude="a", longitude="b", speed="s", speed_unit=unit, altitude="h", altitude_unit="ft"
    )
    said = Compiled(mapping).decode(b'{"a":1,"b":2,"s":10,"h":100}', "d", AT, None)
    assert isinstance(said, Report)
    assert said.fix is not None
    assert said.fix.speed_mps == pytest.approx(mps)
    assert said.fix.altitude_m == pytest.approx(30.48)


def test_who_a_publish_is_from() -> None:
    routes = Routes(
        {"a": MqttRoute(topic="a/+/x", device="topic:2"), "u": MqttRoute(topic="u/#", device="user")}
    )
    who = Identity("client", "user", anonymous=True)
    talk = Talk(routes, who, fallback_of(who))

    def said(topic: str, text: str = '{"lat":1,"lon":2}') -> str | None:
        (message,) = talk.read(topic, text.encode(), AT).messages
        return message.device

    assert said("a/7/x") == "7"
    assert said("a/7/x", '{"lat":1,"lon":2,"id":"9"}') == "7", "a route's word stands above the payload's"
    assert said("u/1") == "user"
    assert said("other") == "user"
    assert said("other", '{"lat":1,"lon":2,"id":"9"}') == "9"
    assert (
        said("owntracks/jane/phone/event", '{"_type":"location","tst":1,"lat":1,"lon":2}')
        == "owntracks/jane/phone"
    )
    one = Identity("client", "user", devices=frozenset({"mine"}))
    assert fallback_of(one) == "mine"
    assert fallback_of(Identity("client", "gateway", devices=frozenset({"a", "b"}))) is None
    assert fallback_of(Identity("client", certificate="cn")) == "cn"
    assert fallback_of(Identity("client")) == "client"


def test_where_things_are_published() -> None:
    row = {"account": "a+b", "unique_id": "x#1", "device_id": 5}
    assert topic_of("t/{account}/{unique_id}/{id}/{kind}", row, "event") == "t/a_b/x_1/5/event"
    assert str(address_of("mqtts://u:p%40@host")) == "host:8883"
    assert address_of("mqtts://u:p%40@host").password == "p@"


def test_a_mapping_without_a_place_is_refused() -> None:
    with pytest.raises(MappingError, match="latitude: is empty"):
        Compiled(Mapping())


@pytest.mark.parametrize(
    ("payloads", "command", "told"),
    [
        ({"engineStop": '{"relay": 1}'}, Command("engineStop"), b'{"relay":1}'),
        (
            {"positionPeriodic": '{"set": {"every": "{frequency}", "by": "{device}/{type}"}}'},
            Command("positionPeriodic", {"frequency": 60}),
            b'{"set":{"every":60,"by":"7/positionPeriodic"}}',
        ),
        (
            {"*": '["{type}", "{attributes}", true]'},
            Command("outputControl", {"index": 2, "data": 'a"b'}),
            b'["outputControl",{"index":2,"data":"a\\"b"},true]',
        ),
        ({"outputControl": "OUT{index}={data}"}, Command("outputControl", {"index": 2, "data": "on"}), b"OUT2=on"),
        ({"engineStop": "{device}"}, Command("engineStop"), b"7"),
        ({"*": "{type}"}, Command("custom", {"data": "AT+X"}), b"AT+X"),
        ({"custom": '{"raw": "{data}"}'}, Command("custom", {"data": "AT+X"}), b'{"raw":"AT+X"}'),
        ({"engineStop": "x"}, Command("alarmArm"), "type: 'alarmArm' is no command of this device's language; it knows custom"),
        ({"engineStop": "x{pin}"}, Command("engineStop"), "attributes.pin: is missing; the payload of engineStop has a place for it"),
        ({"engineStop": "x{pin}"}, Command("engineStop", {"pin": "1\n2"}), "attributes: hold a line break"),
    ],
)  # fmt: skip
def test_commands_in_words_of_ones_own(payloads: dict[str, str], command: Command, told: bytes | str) -> None:
    words = compiled(payloads, "commands")
    if isinstance(told, bytes):
        assert words.encode("7", command, AT) == told
        return
    with pytest.raises(CommandError) as error:
        words.encode("7", command, AT)
    assert told in str(error.value)


def test_which_topic_has_which_words() -> None:
    routes = Routes(
        {
            "a": MqttRoute(topic="a/+/up", reply="a/{topic:2}/down", commands={"engineStop": "a"}),
            "b": MqttRoute(topic="b/+/up", reply="b.x/{device}", commands={"engineStop": "b"}),
            "c": MqttRoute(topic="c/+/up", reply="c/{device}"),
        }
    )

    def words(topic: str) -> bytes:
        found = routes.words(topic, "home/7")
        return found.encode("home/7", Command("engineStop"), AT) if found is not None else b""

    assert [words(one) for one in ("a/9/down", "b.x/home/7")] == [b"a", b"b"]
    assert [words(one) for one in ("a/9/8/down", "bbx/home/7", "b.x/home/8", "c/home/7")] == [b""] * 4
