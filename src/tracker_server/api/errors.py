"""What a request is refused with: a status and a sentence that names the field and the cure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.json import encode
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tracker_server.model.money import InvalidValueError
from tracker_server.model.why import Why

JSON = "application/json"


class Refusal(Exception):  # noqa: N818  (an answer, as often as a fault)
    """An answer with ``status`` and ``sentence``; ``more``: fields of a JSON answer besides ``error``. ``why`` and its
    ``values`` say the same to a page that has words of its own.
    """

    def __init__(
        self,
        status: int,
        sentence: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
        why: Why | None = None,
        values: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = dict(headers or {})
        self.more = dict(more or {})
        self.words = {} if why is None else {"reason": why, "values": dict(values or {})}


def not_found(what: str) -> Refusal:
    """It is not there, or not for him: the two are told alike."""
    return Refusal(404, f"there is no {what}", why=Why.NOT_FOUND)


def bad(field: str, problem: str, why: Why | None = None, **values: str | int) -> Refusal:
    """A field that does not fit, and what would."""
    return Refusal(400, f"{field}: {problem}", why=why, values={"field": field, **values})


def invalid(error: InvalidValueError) -> Refusal:
    """As ``bad``, of a value that was judged elsewhere."""
    return Refusal(400, str(error), why=error.why, values={"field": error.field})


def response_of(refusal: Refusal, request: Request) -> Response:
    """JSON for who asks for it by name or where there is more to tell than a sentence; else plain text."""
    if refusal.more or JSON in request.headers.get("accept", ""):
        body = encode({"error": refusal.sentence, **refusal.words, **refusal.more})
        return Response(body, refusal.status, refusal.headers, JSON)
    return PlainTextResponse(refusal.sentence, refusal.status, refusal.headers)
