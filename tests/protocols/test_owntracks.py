"""A location's short way through the decoder says what the general one says, whatever the bytes."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime

import pytest

from tests.fuzz.mutate import mutated
from tests.protocols.vectors import all_vectors
from tracker_protocols.owntracks.commands import COMMANDS
from tracker_protocols.owntracks.decoder import OwntracksDecoder
from tracker_protocols.owntracks.sealing import opened
from tracker_protocols.wire.command import Command
from tracker_protocols.wire.decoder import HttpDecoder

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOPICS = (
    "owntracks/jane/phone",
    "owntracks/jane/phone/event",
    "short",
    "owntracks/jané/pho ne",
    "a/b/" + "x" * 300,
)
TRIES = 3_000


def test_commands_are_encrypted_where_there_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The phone's own, else the one for all; an empty one of its own: in the clear."""
    keys = {"": b"everybody's", "a/b/own": b"its own", "a/b/clear": b""}
    monkeypatch.setattr(OwntracksDecoder, "keys", keys)
    clear = b'{"_type":"cmd","action":"dump"}'
    for device, key in [("a/b/own", b"its own"), ("a/b/other", b"everybody's")]:
        told = json.loads(COMMANDS.encode(device, Command("custom", {"data": "dump"}), AT))
        assert opened(told["data"], key) == clear
    assert COMMANDS.encode("a/b/clear", Command("custom", {"data": "dump"}), AT) == clear


def test_both_ways_say_the_same() -> None:
    seed = random.randrange(2**31)
    print("seed", seed)
    chance = random.Random(seed)
    bodies = [vector.publish["body"].encode() for vector in all_vectors() if vector.publish]
    said = [*bodies, *(mutated(chance, chance.choice(bodies), bodies) for _ in range(TRIES))]
    decoders = [OwntracksDecoder(), OwntracksDecoder("fallback")]
    for body in said:
        topic, short = chance.choice(TOPICS), chance.choice(decoders)
        general = HttpDecoder.receive_publish(OwntracksDecoder(short.device), topic, body, AT)
        assert short.receive_publish(topic, body, AT) == general, body
