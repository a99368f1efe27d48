"""JSON of home-made trackers and other people's gateways, by MQTT and by HTTP. See README.md in this folder."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Final
from urllib.parse import parse_qs, quote

from tracker_protocols.json import guess
from tracker_protocols.json.mapping import Compiled, Mapping
from tracker_protocols.model import BadFrame, DeviceKey, Frame, HttpRequest, Reason, Reply
from tracker_protocols.wire.decoder import PUBLISH, Decoded, HttpDecoder, target_of
from tracker_protocols.wire.fields import device_key

STORED: Final = Reply(b"", 200)


class MappedDecoder(HttpDecoder):
    """JSON whose shape is known: every request and every publish goes through one mapping."""

    shape: ClassVar[Mapping]

    def decode_request(self, request: HttpRequest, received_at: datetime) -> Decoded:
        named = named_in_query(request) or self.device
        return compiled(self.shape, self.name).decode(request.body, named, received_at, STORED)


_compiled: dict[str, Compiled] = {}


def compiled(mapping: Mapping, name: str) -> Compiled:
    """A mapping that we ship, compiled when the first payload comes."""
    if name not in _compiled:
        _compiled[name] = Compiled(mapping, name)
    return _compiled[name]


class JsonDecoder(HttpDecoder):
    """By the mapping that the first level of an HTTP path names, or ``mapping``; without one by the usual names.

    ``mappings`` are the operator's, by name: set once when a program starts. One without a name is for all.
    """

    name: ClassVar[str] = "json"
    mappings: ClassVar[dict[str, Compiled]] = {}

    def __init__(self, device: DeviceKey | None = None, mapping: str = "") -> None:
        super().__init__(device)
        self.mapping = mapping

    def receive_publish(self, topic: str, payload: bytes, received_at: datetime) -> list[Frame]:
        target = target_of(topic)
        if self.mapping:
            target += f"?mapping={quote(self.mapping)}"  # so that a frame in quarantine is read alike
        return [self.read_request(HttpRequest(PUBLISH, target, {}, payload), received_at)]

    def decode_request(self, request: HttpRequest, received_at: datetime) -> Decoded:
        fallback = named_in_query(request) or self.device
        reply = None if request.method == PUBLISH else STORED
        name = self._mapping_of(request)
        if not name and "" not in self.mappings:
            return guess.decode(request.body, fallback, received_at, reply)
        compiled = self.mappings.get(name)
        if compiled is None:
            raise BadFrame(
                Reason.UNKNOWN_KIND, f"no mapping is named {name[:40]!r} in the settings (mappings.<name>)"
            )
        return compiled.decode(request.body, fallback, received_at, reply)

    def _mapping_of(self, request: HttpRequest) -> str:
        path, _, query = request.target.partition("?")
        if request.method != PUBLISH:
            return path.strip("/").partition("/")[0]
        return parse_qs(query).get("mapping", [self.mapping])[0] if query else self.mapping


def named_in_query(request: HttpRequest) -> DeviceKey | None:
    """The device that a URL names as ``?id=…``."""
    if request.method == PUBLISH or "?" not in request.target:
        return None
    found = parse_qs(request.target.partition("?")[2]).get("id")
    return device_key(found[0]) if found else None
