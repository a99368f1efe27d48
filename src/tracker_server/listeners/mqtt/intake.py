"""From publishes to the pipeline: an answer rides on the last message of its publish, and each payload goes by the session
of its protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from tracker_protocols.model import Frame, Heartbeat, Message, Reply, Report
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.session import Session


def hand_in(ingest: Ingest, fresh: Sequence[tuple[Session, Frame]], received_at: datetime) -> None:
    """All that one read brought, in order; what follows each other in one session goes together."""
    at = 0
    while at < len(fresh):
        session = fresh[at][0]
        end = at + 1
        while end < len(fresh) and fresh[end][0] is session:
            end += 1
        ingest.receive(session, [frame for _, frame in fresh[at:end]], received_at)
        at = end


def owing(messages: tuple[Message, ...], answer: bytes) -> tuple[Message, ...]:
    """The same messages, the last of which carries the answer."""
    if not messages:
        return (Heartbeat(reply=Reply(answer)),)
    last = messages[-1]
    if type(last) is Report:  # the hot case; it costs a fifth of what the general way does
        told = Report(
            last.device,
            last.fix,
            last.attributes,
            last.record,
            last.network,
            last.sent_at,
            Reply(answer),
        )
    else:
        told = msgspec.structs.replace(last, reply=Reply(answer))
    return (told,) if len(messages) == 1 else (*messages[:-1], told)
