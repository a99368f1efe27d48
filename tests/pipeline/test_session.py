"""Replies: in the order in which the device asked, none before its commit, none forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tracker_server.pipeline.session import Pause, Session, Ticket


class Recorder:
    """A wire that keeps what is sent."""

    heard_at = 0.0

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, *replies: bytes) -> None:
        self.sent += replies

    def pause(self, why: Pause) -> None: ...
    def resume(self, why: Pause) -> None: ...
    def finish(self, reason: str) -> None: ...


def session() -> tuple[Session, Recorder]:
    wire = Recorder()
    return Session("gt06", "tcp", "127.0.0.1:1", wire, refusal=b"<refused>"), wire


def owe(to: Session, reply: bytes, frame: bytes = b"frame") -> Ticket:
    ticket = Ticket(to, frame, 0, reply, 0.0)
    to.owe(ticket)
    return ticket


def settle(of: Session, *tickets: Ticket) -> None:
    for ticket in tickets:
        of.settle(ticket)
    of.release()


def test_a_heartbeat_is_answered_at_once() -> None:
    s, wire = session()
    s.answer(b"pong")
    assert wire.sent == [b"pong"]


def test_a_report_is_answered_after_its_commit() -> None:
    s, wire = session()
    ticket = owe(s, b"ack")
    assert wire.sent == []
    settle(s, ticket)
    assert wire.sent == [b"ack"]


def test_a_heartbeat_waits_behind_an_earlier_owed_answer() -> None:
    s, wire = session()
    ticket = owe(s, b"ack")
    s.answer(b"pong")
    assert wire.sent == []
    settle(s, ticket)
    assert b"".join(wire.sent) == b"ackpong"


def test_a_later_commit_does_not_overtake() -> None:
    s, wire = session()
    first, second = owe(s, b"1"), owe(s, b"2")
    settle(s, second)
    assert wire.sent == []
    settle(s, first)
    assert b"".join(wire.sent) == b"12"


def test_what_could_not_be_kept_is_refused_in_its_turn() -> None:
    s, wire = session()
    first, second = owe(s, b"1"), owe(s, b"2")
    first.refused = True
    settle(s, first, second)
    assert b"".join(wire.sent) == b"<refused>2"


def test_bytes_count_as_unanswered_until_settled() -> None:
    s, _ = session()
    a, b = owe(s, b"", b"12345"), owe(s, b"x", b"123")
    assert s.unanswered_bytes == 8
    settle(s, a)
    assert s.unanswered_bytes == 3
    settle(s, b)
    assert s.unanswered_bytes == 0


@given(st.data())
def test_any_order_of_commits_gives_the_order_of_questions(data: st.DataObject) -> None:
    """Questions that wait (w) and that do not (n); commits in any order, between any two questions."""
    s, wire = session()
    kinds = data.draw(st.lists(st.sampled_from("wn"), max_size=20))
    open_tickets: list[Ticket] = []
    expected: list[bytes] = []
    settled: set[int] = set()
    for index, kind in enumerate(kinds):
        reply = f"[{index}]".encode()
        expected.append(reply)
        if kind == "n":
            s.answer(reply)
            settled.add(index)
        else:
            open_tickets.append(owe(s, reply))
        while open_tickets and data.draw(st.booleans()):
            ticket = open_tickets.pop(data.draw(st.integers(0, len(open_tickets) - 1)))
            settled.add(int(ticket.reply[1:-1]))
            settle(s, ticket)
        run = next((i for i in range(index + 1) if i not in settled), index + 1)
        assert b"".join(wire.sent) == b"".join(expected[:run])
    settle(s, *open_tickets)
    assert b"".join(wire.sent) == b"".join(expected)
    assert not s.owed
