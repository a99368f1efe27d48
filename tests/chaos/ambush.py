"""A mail server that lies in wait: whoever sends the next mail is killed when that is taken, before it is told so."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import psutil
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.notify.mail_server import MailServer


class Ambush(MailServer):
    """``victim``: the process that was killed last."""

    def __init__(self) -> None:
        super().__init__()
        self.victim = 0
        self._suspects: Sequence[psutil.Process] = ()
        self._done = threading.Event()

    def ambush(self, suspects: Sequence[psutil.Process], within_s: float) -> bool:
        """Wait for one of these to send a mail, and kill it. False where none did in this time."""
        self._done.clear()
        self._suspects = suspects
        done = self._done.wait(within_s)
        self._suspects = ()
        return done or self._done.is_set()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        said = await super().handle_DATA(server, session, envelope)
        if not said.startswith("250"):
            return said
        suspects, self._suspects = self._suspects, ()
        port = session.peer[1] if session.peer else 0
        for suspect in suspects:
            if port in _ports(suspect):
                suspect.kill()
                self.victim = suspect.pid
                self._done.set()
        return said


def _ports(process: psutil.Process) -> set[int]:
    """Its own ends of its connections."""
    try:
        return {one.laddr.port for one in process.net_connections("tcp4") if one.laddr}
    except psutil.Error:
        return set()
