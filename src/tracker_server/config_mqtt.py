"""Settings of MQTT: our own endpoint, brokers that we subscribe to, what topics mean, and what goes out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from tracker_protocols import ALL
from tracker_protocols.json.mapping import Compiled, MappingError
from tracker_protocols.json.mapping import Mapping as JsonMapping
from tracker_protocols.json.templates import TemplateError, compiled
from tracker_server.config_keys import SECRET

KINDS = frozenset({"position", "event", "state"})

REPLY_FIELD = re.compile(r"\{(?:device|topic:[1-9]\d?)\}")

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class MqttSettingError(Exception):
    """A setting that cannot be used. The message names the key and the cure."""


class MqttRoute(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What publishes under a topic mean; the first that matches counts, and before all those that are built in. `commands`
    (a table) gives commands the payloads that are published under `reply`.
    """

    topic: Annotated[str, Meta(description="topic filter, such as trackers/+/up")] = ""
    payload: Annotated[
        str,
        Meta(description="a protocol from `tracker-server protocols`, or mapping:NAME of [mappings.NAME]"),
    ] = "json"
    device: Annotated[
        str,
        Meta(
            description="who it is: empty (as the payload says, else the connection), topic:2 (that level), "
            "client, user, certificate"
        ),
    ] = ""
    reply: Annotated[
        str,
        Meta(
            description="topic for the answers of a binary protocol and for commands through a broker, with {device} or levels of "
            "its own topic such as {topic:2}; empty: no answers, and commands under commands_topic"
        ),
    ] = ""
    commands: dict[str, str] = field(default_factory=dict)


class MqttBroker(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An operator's broker that we subscribe to."""

    url: Annotated[
        str,
        Meta(description="mqtt://HOST:PORT or mqtts://HOST:PORT with user and password; empty: none", extra={SECRET: True}),
    ] = ""  # fmt: skip
    topics: Annotated[str, Meta(description="topic filters to subscribe to, separated by commas")] = "#"
    group: Annotated[
        str,
        Meta(
            description="several servers of one group, and all their processes, share the work ($share/GROUP/…); empty: each server gets all"
        ),
    ] = ""
    client_id: Annotated[
        str, Meta(description="the broker keeps what we miss under this name; one for each server")
    ] = "tracker-server"
    session_expiry_s: Annotated[
        Positive, Meta(description="seconds for which the broker keeps what we miss")
    ] = 604_800
    receive_max: Annotated[
        Annotated[int, Meta(ge=1, le=65_535)],
        Meta(description="publishes that the broker may send before the first is stored and acknowledged"),
    ] = 1_000
    tls_ca: Annotated[str, Meta(description="PEM file of an authority to trust besides the system's")] = ""
    tls_cert: Annotated[
        str, Meta(description="PEM file with our certificate, where the broker wants one")
    ] = ""
    tls_key: Annotated[str, Meta(description="PEM file with its private key")] = ""


class MqttPublish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What we publish to a broker, of trackers that are visible; each message at least once."""

    url: Annotated[
        str,
        Meta(description="mqtt://HOST:PORT or mqtts://HOST:PORT with user and password; empty: nothing goes out", extra={SECRET: True}),
    ] = ""  # fmt: skip
    topic: Annotated[str, Meta(description="template with {account}, {unique_id}, {id} and {kind}")] = (
        "tracker-server/{account}/{unique_id}/{kind}"
    )
    kinds: Annotated[str, Meta(description="what goes out, separated by commas: position, event, state")] = (
        "position,event,state"
    )
    retain: Annotated[
        bool, Meta(description="the broker keeps the latest position and state for who comes later")
    ] = True
    history: Annotated[
        bool,
        Meta(description="true: every position in the order of storing; false: only each tracker's latest"),
    ] = True
    discovery: Annotated[
        str, Meta(description="prefix of Home Assistant's discovery, there homeassistant; empty: none")
    ] = ""
    client_id: Annotated[str, Meta(description="one for each server")] = "tracker-server-out"
    tls_ca: Annotated[str, Meta(description="PEM file of an authority to trust besides the system's")] = ""


class Mqtt(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Our own MQTT endpoint: a publish is acknowledged once it is stored."""

    port: Annotated[Port, Meta(description="MQTT 3.1.1 and 5 in the clear; 0 switches it off")] = 1883
    host: Annotated[str, Meta(description="address, or several separated by commas")] = "0.0.0.0"  # noqa: S104
    tls_port: Annotated[Port, Meta(description="the same with TLS, by habit 8883; 0 switches it off")] = 0
    websocket_port: Annotated[
        Port, Meta(description="MQTT over WebSocket, by habit 9001; 0 switches it off")
    ] = 0
    websocket_tls_port: Annotated[Port, Meta(description="the same with TLS; 0 switches it off")] = 0
    tls_cert: Annotated[str, Meta(description="PEM file with the certificate chain")] = ""
    tls_key: Annotated[str, Meta(description="PEM file with the private key")] = ""
    client_ca: Annotated[
        str,
        Meta(
            description="PEM file of the authority that signs devices' certificates; their CN is the device"
        ),
    ] = ""
    proxy_protocol: Annotated[
        bool, Meta(description="expect PROXY protocol v2 before each connection's first byte")
    ] = False
    authentication: Annotated[
        Literal["optional", "required"],
        Meta(
            description="optional: who has a login must use it, others come without; required: nobody comes without"
        ),
    ] = "optional"
    receive_max: Annotated[
        Annotated[int, Meta(ge=1, le=65_535)],
        Meta(description="publishes of one MQTT 5 client that may wait for their acknowledgement"),
    ] = 100
    packet_bytes_max: Annotated[Annotated[int, Meta(ge=256)], Meta(description="the longest packet")] = (
        262_144
    )
    session_expiry_max_s: Annotated[
        Positive, Meta(description="seconds for which a kept session's subscriptions are remembered at most")
    ] = 604_800
    commands_topic: Annotated[str, Meta(description="where a device fetches commands, {device} in it")] = (
        "{device}/cmd"
    )
    owntracks_key: Annotated[
        str,
        Meta(
            description="passphrase of encrypted OwnTracks payloads, of phones that have no other in owntracks_keys",
            extra={SECRET: True},
        ),
    ] = ""
    owntracks_keys: dict[str, str] = field(default_factory=dict)
    broker: MqttBroker = field(default_factory=MqttBroker)
    brokers: dict[str, MqttBroker] = field(default_factory=dict)
    publish: MqttPublish = field(default_factory=MqttPublish)
    routes: dict[str, MqttRoute] = field(default_factory=dict)


def check_mqtt(mqtt: Mqtt, mappings: Mapping[str, JsonMapping]) -> None:
    """What topics mean, and where TLS is asked for. Raises MqttSettingError."""
    for name in ("tls_port", "websocket_tls_port"):
        if getattr(mqtt, name) and not mqtt.tls_cert:
            raise MqttSettingError(
                f"mqtt.{name}: needs mqtt.tls_cert and mqtt.tls_key; set them, or 0 for off"
            )
    if mqtt.client_ca and not Path(mqtt.client_ca).is_file():
        raise MqttSettingError(f"mqtt.client_ca: {mqtt.client_ca}: there is no such file")
    if mqtt.proxy_protocol and mqtt.tls_cert:
        raise MqttSettingError(
            "mqtt.proxy_protocol: goes not together with tls_cert; let the proxy speak TLS"
        )
    for name, mapping in mappings.items():
        try:
            Compiled(mapping, f"mappings.{name}")
        except MappingError as error:
            raise MqttSettingError(str(error)) from None
    for name, route in mqtt.routes.items():
        check_route(f"mqtt.routes.{name}", route, mappings)
    brokers = {"mqtt.broker": mqtt.broker, **{f"mqtt.brokers.{n}": b for n, b in mqtt.brokers.items()}}
    for key, url in [*((k, b.url) for k, b in brokers.items()), ("mqtt.publish", mqtt.publish.url)]:
        if url and not url.startswith(("mqtt://", "mqtts://")):
            raise MqttSettingError(f"{key}.url: write mqtt://HOST:PORT, or mqtts://HOST:PORT for TLS")
    for kind in filter(None, (one.strip() for one in mqtt.publish.kinds.split(","))):
        if kind not in KINDS:
            raise MqttSettingError(f"mqtt.publish.kinds: {kind!r} is none of position, event, state")
    if "{kind}" not in mqtt.publish.topic or not {"{unique_id}", "{id}"} & set(
        re.findall(r"\{\w+\}", mqtt.publish.topic)
    ):
        raise MqttSettingError(
            "mqtt.publish.topic: needs {kind}, and {unique_id} or {id}; else trackers share a topic"
        )
    if "{device}" not in mqtt.commands_topic:
        raise MqttSettingError(
            "mqtt.commands_topic: holds no {device}; write it where the device's name belongs"
        )


def check_route(key: str, route: MqttRoute, mappings: Mapping[str, JsonMapping]) -> None:
    """A route must have a topic, a payload that somebody can read, and a way to the device."""
    if not route.topic:
        raise MqttSettingError(f"{key}.topic: is empty; write a topic filter such as trackers/+/up")
    kind, _, name = route.payload.partition(":")
    if kind == "mapping" and name not in mappings:
        raise MqttSettingError(f"{key}.payload: there is no section [mappings.{name}]; add it")
    if kind != "mapping" and route.payload not in {protocol.name for protocol in ALL}:
        raise MqttSettingError(
            f"{key}.payload: {route.payload!r} is neither a protocol nor mapping:NAME; `tracker-server protocols` lists them"
        )
    unknown = REPLY_FIELD.sub("", route.reply)
    if set(unknown) & set("{}+#"):
        raise MqttSettingError(
            f"{key}.reply: {route.reply!r} is no topic; write levels, {{device}} and {{topic:N}}, no wildcards"
        )
    if route.commands:
        check_words(key, route)
    device = route.device
    if device not in {"", "client", "user", "certificate"} and not re.fullmatch(r"topic:[1-9]\d?", device):
        raise MqttSettingError(
            f"{key}.device: {device!r} is none of topic:N, client, user, certificate, or empty"
        )


def check_words(key: str, route: MqttRoute) -> None:
    """Commands in the operator's own words need a topic, and a device that has none of its own."""
    if not route.reply:
        raise MqttSettingError(
            f"{key}.reply: is empty; write the topic under which its commands are published"
        )
    if route.payload != "json" and not route.payload.startswith("mapping:"):
        raise MqttSettingError(
            f"{key}.commands: {route.payload} has words of its own; leave them out, or set payload to json or mapping:NAME"
        )
    try:
        compiled(route.commands, f"{key}.commands")
    except TemplateError as error:
        raise MqttSettingError(str(error)) from None
