"""Conversations over TCP: frames and their answers, or HTTP requests and their responses."""

from __future__ import annotations

import httptools

from tracker_server.simulator.conversation import Conversation, now_s
from tracker_server.simulator.score import Score
from tracker_server.simulator.script import Script


class FrameConversation(Conversation):
    """Answers are known to the byte and come in order, so a stream is cut by the lengths that are owed."""

    __slots__ = ("_rest",)

    def __init__(self, score: Score, number: int, script: Script, batch: int) -> None:
        super().__init__(score, number, script, batch)
        self._rest = b""

    def _open(self) -> None:
        self._rest = b""
        script = self.script
        if script.login:
            assert self.transport is not None
            self.transport.write(script.login)
        if not script.login_answer:
            self._begin()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
            self._rest = b""
        at, size, now = 0, len(data), now_s()
        if not self.ready:
            at = self._login_answer(data)
        while at < size and self.ready:
            if self.done == self.sent:
                self.score.unasked_for(self.script.unique_id, data[at:])
                break
            expected = self.expected()
            end = at + len(expected)
            if end > size:
                self._rest = data[at:]
                break
            right = data == expected if end - at == size else data.startswith(expected, at)
            if not right:
                self._wrong(expected, data[at:end])
            self.answered(now, right=right)
            at = end
        if self.ready:
            self.pump(now)

    def _login_answer(self, data: bytes) -> int:
        """How much of it belongs to the login; begins to send when that is right."""
        expected = self.script.login_answer
        if len(data) < len(expected):
            self._rest = data
            return len(data)
        if data.startswith(expected):
            self._begin()
        else:
            self.score.wrong_answer(self.script.unique_id, expected, data)
            self.score.errors["login answered wrongly"] += 1
            if self.score.plan.reconnect:
                self.close()
            else:
                self.give_up("login refused")
        return len(expected)

    def _wrong(self, expected: bytes, got: bytes) -> None:
        self.score.wrong_answer(self.script.unique_id, expected, got)
        self.score.fixes_wrong += self.fixes_of(self.done)


class HttpConversation(Conversation):
    """Each request is answered with the status that is owed. What a response looks like is the server's choice."""

    __slots__ = ("_clean", "_parser", "_whole")

    def __init__(self, score: Score, number: int, script: Script, batch: int) -> None:
        super().__init__(score, number, script, batch)
        self._clean = True  # no part of a response is waiting in the parser
        self._whole: list[tuple[int, bool]] = []
        self._parser = httptools.HttpResponseParser(self)

    def _open(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._clean = True
        self._begin()

    def data_received(self, data: bytes) -> None:
        known = self.score.whole_responses.get(data) if self._clean else None
        if known is not None:
            self._response(known, data)
        else:
            self._parse(data)
        if self.ready:
            self.pump(now_s())

    def _parse(self, data: bytes) -> None:
        was_clean = self._clean
        self._clean = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.score.wrong_answer(
                self.script.unique_id, self.expected() if self.sent > self.done else b"", data
            )
            self.score.errors[f"not HTTP: {error}"] += 1
            self.close()
            return
        whole, self._whole = self._whole, []
        if was_clean and self._clean and len(whole) == 1 and whole[0][1]:
            self.score.keep_response(data, whole[0][0])
        for status, keeps_open in whole:
            self._response(status, data)
            if not keeps_open:
                self.ready = False  # the server closes; what is left goes over the next connection

    def _response(self, status: int, data: bytes) -> None:
        if self.done == self.sent:
            self.score.unasked_for(self.script.unique_id, data)
            return
        expected = self.expected()
        right = b"%d" % status == expected
        if not right:
            self.score.wrong_answer(self.script.unique_id, expected, data)
            self.score.fixes_wrong += self.fixes_of(self.done)
        self.answered(now_s(), right=right)

    # ------------------------------------------------------------------ httptools' callbacks

    def on_message_begin(self) -> None:
        """A response begins."""
        self._clean = False

    def on_message_complete(self) -> None:
        """A response is whole."""
        self._whole.append((self._parser.get_status_code(), self._parser.should_keep_alive()))
        self._clean = True
