"""What a publish means: from topic and payload to a frame, for our own endpoint and for brokers alike. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from tracker_protocols import BY_NAME
from tracker_protocols.json.decoder import JsonDecoder
from tracker_protocols.json.templates import compiled
from tracker_protocols.model import BadFrame, DeviceKey, Login, Message
from tracker_protocols.wire.command import Commands
from tracker_protocols.wire.decoder import Decoder, HttpDecoder
from tracker_protocols.wire.fields import device_key
from tracker_server.config_mqtt import MqttRoute
from tracker_server.mqtt.topics import matches
from tracker_server.pipeline.mqtt_book import Identity

TOPICS_MAX: Final = 1_000  # remembered of one connection; a gateway publishes for hundreds of devices

BUILT_IN: Final = (
    MqttRoute(topic="owntracks/#", payload="owntracks"),
    MqttRoute(topic="v3/+/devices/+/#", payload="ttnhttp", reply="v3/{topic:2}/devices/{topic:4}/down/push"),
    MqttRoute(
        topic="application/+/device/+/event/+",
        payload="chirpstack",
        reply="application/{topic:2}/device/{topic:4}/command/down",
    ),
    MqttRoute(topic="#", payload="json"),
)
TELTONIKA: Final = MqttRoute(topic="+/data", payload="teltonika", device="topic:1", reply="{device}/commands")
LEVEL: Final = re.compile(r"\{topic:(\d+)\}")
IMEI_DIGITS: Final = range(14, 18)


class Routes:
    """Which route a topic takes: the operator's first, in their order."""

    def __init__(self, routes: Mapping[str, MqttRoute]) -> None:
        self._routes = (*routes.values(), *BUILT_IN)
        self._words = [
            (route.reply, compiled(route.commands, name)) for name, route in routes.items() if route.commands
        ]

    def told_under(self, device: DeviceKey) -> list[str]:
        """Topics under which a device's answers are published, so commands may be, too."""
        replies = [route.reply for route in (*self._routes, TELTONIKA) if route.reply]
        replies = [
            one for one in replies if not LEVEL.search(one)
        ]  # who knows under which topic it would report
        return [reply.replace("{device}", device) for reply in dict.fromkeys(replies)]

    def words(self, topic: str, device: DeviceKey) -> Commands | None:
        """The words that the operator has written for what is told to this device under this topic."""
        for reply, words in self._words:
            parts = [
                re.escape(part) for part in LEVEL.sub("\0", reply).replace("{device}", device).split("\0")
            ]
            if re.fullmatch("[^/]*".join(parts), topic):
                return words
        return None

    def find(self, topic: str) -> MqttRoute:
        """There is always one."""
        route = next(route for route in self._routes if matches(route.topic, topic) or route is BUILT_IN[-1])
        if route is BUILT_IN[-1]:
            first, _, rest = topic.partition("/")
            if rest == "data" and first.isdecimal() and len(first) in IMEI_DIGITS:
                return TELTONIKA
        return route


class Line(Struct):
    """What is known of one topic of one connection. ``device``: whoever reports there is this one, whatever it says.
    ``named``: who said its name there last; ``tells``: under which topic answers and commands are published, ``{device}``
    in it.
    """

    decoder: Decoder
    device: DeviceKey | None
    named: DeviceKey | None
    http: bool
    tells: str


class Meaning(Struct, frozen=True, gc=False):
    """A publish as the pipeline takes it: the bytes to be kept where it cannot be read, and its messages; ``answers`` are
    what a binary protocol owes, in order; ``tells``: as of its topic.
    """

    protocol: str
    data: bytes
    messages: tuple[Message, ...]
    answers: tuple[bytes, ...]
    reply_topic: str
    tells: str


class Talk:
    """One connection's publishes."""

    def __init__(
        self, routes: Routes, who: Identity, fallback: DeviceKey | None = None, topics_max: int = TOPICS_MAX
    ) -> None:
        self._routes = routes
        self._topics_max = topics_max
        self._who = who
        self._fallback = fallback
        self._lines: dict[str, Line] = {}

    def read(self, topic: str, payload: bytes, received_at: datetime) -> Meaning:
        """What it means. Every message names its device where anybody does."""
        line = self._lines.get(topic) or self._line(topic)
        frames = line.decoder.receive_publish(topic, payload, received_at)
        if len(frames) == 1:
            messages, data = frames[0].messages, frames[0].data
        else:
            messages = tuple(message for frame in frames for message in frame.messages)
            data = payload
        if len(messages) == 1:
            (message,) = messages
            device = message.device
            if device is not None and device == line.named and line.device is None and message.reply is None:
                return Meaning(line.decoder.name, data, messages, (), "", line.tells)
        answers: tuple[bytes, ...] = ()
        if not line.http:
            answers = tuple(m.reply.data for m in messages if m.reply is not None and m.reply.data)
        settled = tuple([self._settled(message, line) for message in messages])
        reply_topic = ""
        if answers and line.tells:
            device = line.device or line.named or self._fallback or ""
            reply_topic = line.tells.replace("{device}", device)
        return Meaning(line.decoder.name, data, settled, answers, reply_topic, line.tells)

    def _settled(self, message: Message, line: Line) -> Message:
        device = line.device or message.device
        if message.device is not None and message.device != line.named:
            line.named = message.device
        if device is None:
            device = line.named or self._fallback
        if device == message.device and message.reply is None:
            return message
        if isinstance(message, Login):
            return Login(device or message.device)
        return msgspec.structs.replace(message, device=device, reply=None)

    def _line(self, topic: str) -> Line:
        route = self._routes.find(topic)
        device = self._device(route.device, topic)
        kind, _, name = route.payload.partition(":")
        if kind == "mapping":
            decoder: Decoder = JsonDecoder(device or self._fallback, name)
        else:
            decoder = BY_NAME[route.payload].decoder(device or self._fallback)
        tells = at_levels(route.reply, topic)
        line = Line(decoder, device, None, isinstance(decoder, HttpDecoder), tells)
        if len(self._lines) >= self._topics_max:
            self._lines.pop(next(iter(self._lines)))
        self._lines[topic] = line
        return line

    def _device(self, rule: str, topic: str) -> DeviceKey | None:
        who = self._who
        if rule.startswith("topic:"):
            levels = topic.split("/")
            number = int(rule.removeprefix("topic:"))
            return key_of(levels[number - 1]) if number <= len(levels) else None
        return key_of(
            {"client": who.client_id, "user": who.user, "certificate": who.certificate}.get(rule, "")
        )


def at_levels(template: str, topic: str) -> str:
    """The template with ``{topic:N}`` replaced by that level of a topic; one that is not there is empty."""
    if not template:
        return ""
    levels = ["", *topic.split("/")]
    return LEVEL.sub(lambda found: "".join(levels[int(found[1]) : int(found[1]) + 1]), template)


def fallback_of(who: Identity) -> DeviceKey | None:
    """Whom a connection reports for where neither topic nor payload names a device."""
    if len(who.devices) == 1:
        return next(iter(who.devices))
    return None if who.devices else key_of(who.certificate) or key_of(who.user) or key_of(who.client_id)


def key_of(text: str) -> DeviceKey | None:
    """A device's name, if it can be one."""
    try:
        return device_key(text) if text else None
    except BadFrame:
        return None
