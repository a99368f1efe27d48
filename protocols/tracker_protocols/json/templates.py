"""Commands in an operator's own words: a payload for each type, with places for what the command says. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from tracker_protocols.json.commands import COMMANDS
from tracker_protocols.model import DeviceKey
from tracker_protocols.wire.command import CUSTOM, Command, CommandError, Commands, read

ALL_OTHERS: Final = "*"
"""The payload of the types that have none of their own."""

PLACE: Final = re.compile(r"\{(\w+)\}")


class TemplateError(Exception):
    """A payload that cannot be used. The message names the type and the cure."""


def compiled(payloads: Mapping[str, str], name: str) -> Commands:
    """The language that these payloads make. One that is JSON stays JSON whatever is filled in: a text that is nothing but
    ``{frequency}`` becomes the value itself. ``type`` and ``device`` stand for those, ``attributes`` for all that the
    command says beside its type. Raises TemplateError.
    """
    known = COMMANDS.types
    read_once: dict[str, Any] = {}
    for kind, text in payloads.items():
        if kind not in {*known, ALL_OTHERS}:
            raise TemplateError(
                f"{name}.{kind}: is no command; write one of {', '.join(known)}, or {ALL_OTHERS!r}"
            )
        read_once[kind] = _template(f"{name}.{kind}", text)
    others = read_once.pop(ALL_OTHERS, None)
    types = known if others is not None else tuple(one for one in known if one in read_once or one == CUSTOM)

    def spell(device: DeviceKey, command: Command, _now: datetime) -> bytes:
        template = read_once.get(command.type, None if command.type == CUSTOM else others)
        if template is None:
            return read(command, "data").encode("ascii")  # custom: the device's own words
        filled = _filled(template, device, command)
        if isinstance(template, str):
            text = _text(filled)
            if not text.isprintable():
                raise CommandError(
                    "attributes: hold a line break or the like; this device is told plain text"
                )
            return text.encode()
        return msgspec.json.encode(filled)

    return Commands(types, spell)


def _template(name: str, text: str) -> Any:
    """JSON as a tree, other text as it is."""
    if not text:
        raise TemplateError(f'{name}: is empty; write the payload, such as {{"cmd":"stop"}}')
    tree: Any = text
    if text.lstrip()[:1] in {"{", "["} and not PLACE.match(text.lstrip()):
        try:
            tree = msgspec.json.decode(text)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise TemplateError(f"{name}: {text!r} is no JSON: {error}") from None
    for leaf in _texts(tree):
        if set(PLACE.sub("", leaf)) & set("{}"):
            raise TemplateError(f"{name}: {leaf!r} has a brace too many; a place is written {{frequency}}")
    return tree


def _texts(node: Any) -> list[str]:
    if isinstance(node, str):
        return [node]
    if isinstance(node, dict):
        return [text for key, value in node.items() for text in (*_texts(key), *_texts(value))]
    return [text for one in node for text in _texts(one)] if isinstance(node, list) else []


def _filled(node: Any, device: DeviceKey, command: Command) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, device, command) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(one, device, command) for one in node]
    if not isinstance(node, str):
        return node
    whole = PLACE.fullmatch(node)
    if whole is not None:
        return _value(whole[1], device, command)
    return PLACE.sub(lambda found: _text(_value(found[1], device, command)), node)


def _value(name: str, device: DeviceKey, command: Command) -> Any:
    said = {"attributes": command.attributes, **command.attributes, "type": command.type, "device": device}
    if name not in said:
        raise CommandError(f"attributes.{name}: is missing; the payload of {command.type} has a place for it")
    return said[name]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
