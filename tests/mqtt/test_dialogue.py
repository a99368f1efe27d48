"""The state machine alone: bytes in, events out, and never an exception."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracker_server.mqtt import packets
from tracker_server.mqtt.codes import Code, Kind
from tracker_server.mqtt.dialogue import Broken, Dialogue, Event, Repeated
from tracker_server.mqtt.packets import Acknowledged, Connect, Disconnect, Publish, Subscribe, Will
from tracker_server.mqtt.topics import is_filter, matches

WILL = Will("t/will", b"gone", 1, 0)


def begun(version: int) -> Dialogue:
    one = Dialogue(10_000, 5, 8)
    (said,) = one.receive_data(packets.connect(Connect(version, "c", clean=True, keep_alive_s=9)))
    assert isinstance(said, Connect)
    return one


def conversation(version: int) -> bytes:
    hello = Connect(version, "c", clean=False, keep_alive_s=9, user="u", password=b"p", will=WILL)
    return b"".join(
        [
            packets.connect(hello),
            packets.publish(version, Publish("a/b", b"0")),
            packets.publish(version, Publish("a/b", b"x" * 300, 1, 1)),
            packets.publish(version, Publish("é/b", b"2", 2, 2)),
            packets.subscribe(version, Subscribe(3, (("a/+", 1), ("#", 2)))),
            packets.acknowledge(version, Kind.PUBACK, 9),
            packets.PINGREQ,
            packets.GOODBYE,
        ]
    )


def kinds(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


@pytest.mark.parametrize("version", [4, 5])
def test_however_the_network_cuts_it(version: int) -> None:
    stream = conversation(version)
    whole = Dialogue(10_000, 5, 8).receive_data(stream)
    assert kinds(whole) == [
        "Connect", "Publish", "Publish", "Publish", "Subscribe", "Acknowledged", "Ping", "Disconnect",
    ]  # fmt: skip
    first = whole[0]
    assert isinstance(first, Connect)
    assert (first.user, first.password, first.will, first.clean) == ("u", b"p", WILL, False)
    single = Dialogue(10_000, 5, 8)
    assert [event for byte in stream for event in single.receive_data(bytes((byte,)))] == whole
    for at in range(1, len(stream)):
        one = Dialogue(10_000, 5, 8)
        assert one.receive_data(stream[:at]) + one.receive_data(stream[at:]) == whole


@pytest.mark.parametrize("version", [4, 5])
@settings(max_examples=150)
@given(data=st.data())
def test_nothing_raises(version: int, data: st.DataObject) -> None:
    """Whatever comes, and wherever it is broken; after the first fault nothing more is read."""
    stream = bytearray(conversation(version))
    for _ in range(data.draw(st.integers(0, 4))):
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(stream)))
    tail = data.draw(st.binary(max_size=40))
    one = Dialogue(10_000, 5, 8)
    events = one.receive_data(bytes(stream[:cut])) + one.receive_data(tail + bytes(stream[cut:]))
    broken = [n for n, event in enumerate(events) if isinstance(event, Broken)]
    assert broken in ([], [len(events) - 1])
    assert one.waiting_bytes <= 10_000 + 5
    if broken:
        assert one.receive_data(packets.PINGREQ) == []


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_garbage_after_a_good_beginning(tail: bytes) -> None:
    for version in (4, 5):
        begun(version).receive_data(tail)


def test_qos_2_is_one_event_however_often_it_is_sent() -> None:
    one = begun(5)
    said = packets.publish(5, Publish("t", b"x", 2, 7))
    assert kinds(one.receive_data(said)) == ["Publish"]
    assert one.receive_data(said) == [], "its PUBREC is on its way"
    one.answered([packets.acknowledge(5, Kind.PUBREC, 7)])
    assert one.receive_data(said) == [Repeated(7)]
    assert one.receive_data(packets.acknowledge(5, Kind.PUBREL, 7)) == [Acknowledged(Kind.PUBREL, 7, 0)]
    again = one.receive_data(packets.acknowledge(5, Kind.PUBREL, 7))
    assert again == [Acknowledged(Kind.PUBREL, 7, Code.PACKET_ID_NOT_FOUND)]
    assert kinds(one.receive_data(said)) == ["Publish"], "the identifier is free again"


def test_a_session_goes_on_in_the_next_connection() -> None:
    first = begun(5)
    for number in (7, 8):
        first.receive_data(packets.publish(5, Publish("t", b"x", 2, number)))
    first.answered([packets.acknowledge(5, Kind.PUBREC, 7)])
    second = begun(5)
    second.go_on(first.recorded)
    again = Publish("t", b"x", 2, 7, duplicate=True)
    assert second.receive_data(packets.publish(5, again)) == [Repeated(7)], "it has been answered once"
    never = packets.publish(5, Publish("t", b"x", 2, 8, duplicate=True))
    assert kinds(second.receive_data(never)) == ["Publish"], "this one has not"
    assert second.receive_data(packets.acknowledge(5, Kind.PUBREL, 7)) == [Acknowledged(Kind.PUBREL, 7, 0)]


def test_a_refused_qos_2_is_over() -> None:
    one = begun(5)
    said = packets.publish(5, Publish("t", b"x", 2, 7))
    one.receive_data(said)
    one.answered([packets.acknowledge(5, Kind.PUBREC, 7, Code.QUOTA_EXCEEDED)])
    assert kinds(one.receive_data(said)) == ["Publish"]


def test_the_window_is_counted_until_answers_go_out() -> None:
    one = begun(5)
    for number in range(1, 6):
        assert kinds(one.receive_data(packets.publish(5, Publish("t", b"", 1, number)))) == ["Publish"]
    one.answered([packets.acknowledge(5, Kind.PUBACK, 1)])
    assert kinds(one.receive_data(packets.publish(5, Publish("t", b"", 1, 6)))) == ["Publish"]
    (broken,) = one.receive_data(packets.publish(5, Publish("t", b"", 1, 7)))
    assert isinstance(broken, Broken)
    assert broken.code is Code.RECEIVE_MAXIMUM_EXCEEDED


def test_topic_aliases() -> None:
    one = begun(5)
    body = packets.text("long/topic") + bytes((3, 0x23, 0, 2)) + b"x"
    (named,) = one.receive_data(packets.packet(Kind.PUBLISH, body))
    (short,) = one.receive_data(packets.packet(Kind.PUBLISH, bytes((0, 0, 3, 0x23, 0, 2)) + b"y"))
    assert isinstance(named, Publish)
    assert isinstance(short, Publish)
    assert (named.topic, short.topic, short.payload) == ("long/topic", "long/topic", b"y")


def test_disconnect_with_its_reason() -> None:
    (said,) = begun(5).receive_data(bytes((0xE0, 1, 4)))
    assert said == Disconnect(Code.DISCONNECT_WITH_WILL)


@pytest.mark.parametrize(
    ("pattern", "topic", "whether"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("+/+", "/b", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("a/b", "a", False),
        ("a", "a/b", False),
    ],
)
def test_filters_match(pattern: str, topic: str, whether: bool) -> None:  # noqa: FBT001
    assert matches(pattern, topic) is whether


@pytest.mark.parametrize(
    ("pattern", "whether"),
    [
        ("a/+/c", True),
        ("#", True),
        ("a/#", True),
        ("a/#/b", False),
        ("a#", False),
        ("a+/b", False),
        ("", False),
    ],
)
def test_filters_are_well_formed(pattern: str, whether: bool) -> None:  # noqa: FBT001
    assert is_filter(pattern) is whether
