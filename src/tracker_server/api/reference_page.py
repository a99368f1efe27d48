"""``docs/reference/api.md``, written from the routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tracker_server.api.authorise import Endpoint, Open
from tracker_server.model.people import RIGHTS, Right, Role

INTRODUCTION = """\
# API

Everything lies below `/api`; `/api/openapi.json` describes each route with its shapes. What clients of this field know has
their shapes: times ISO 8601 with milliseconds and `Z`, speeds in knots, areas as WKT with the latitude first. What they have no
word for (accounts, ledger, payments, blocks) is ours, in the same style, with money as decimal text beside its `currency`.

**Signing in.** `POST /api/session` (form `email`, `password`, and `code` where the user has an authenticator) answers the user and
the cookie `JSESSIONID`. `Authorization: Basic` and `Authorization: Bearer` work on each call, `?token=` too. A wrong password and an
unknown user are both 401; after ten failures of one name from one address in a quarter of an hour it is 429.
The code of an authenticator works once.

**Answers.** 200 with JSON, or 204. What is refused has a status of 4xx and a sentence that names the field and the cure: plain
text, or `{"error": …}` where the request says `Accept: application/json`. Beside `error` there may be a `reason`, a word that stays as it is
(`tracker_taken`, `text_long` …), and `values`, what it is about (`field`, `bound` …), for who tells it in another language. 401: nobody is signed in. 403: the right is missing.
404: it is not there, or not yours; the two are told alike, and a hidden tracker is not there either. 409: it is there already, or
stands against it. 413: the body is too long; 431: the headers are. 503: the database is away. Whole JSON answers have an `ETag`,
which with `If-None-Match` spares what one has: 304.

**Queries.** Unknown parameters are ignored. `id`, `uniqueId`, `deviceId`, `groupId` and `type` may be repeated where a list is
meant. Moments may have any ISO 8601 form; without an offset they are UTC.
"""


def api_page(endpoints: Sequence[Endpoint], head: str) -> str:
    """The page; ``head``: its first line."""
    return "\n".join(_lines(endpoints, head)) + "\n"


def _lines(endpoints: Sequence[Endpoint], head: str) -> Iterator[str]:
    yield head.rstrip()
    yield ""
    yield INTRODUCTION
    yield "## Rights of the roles"
    yield ""
    yield f"| right | {' | '.join(Role)} |"
    yield f"|---|{'---|' * len(Role)}"
    for right in Right:
        marks = ("yes" if right in RIGHTS[role] else "" for role in Role)
        yield f"| `{right}` | {' | '.join(marks)} |"
    for topic in dict.fromkeys(one.topic for one in endpoints):
        yield ""
        yield f"## {topic}"
        yield ""
        yield "| route | needs | |"
        yield "|---|---|---|"
        for one in endpoints:
            if one.topic == topic:
                method = "websocket" if one.method == "SOCKET" else one.method
                needs = one.needs.value if isinstance(one.needs, Open) else f"`{one.needs}`"
                summary = one.summary.replace("|", "\\|")
                yield f"| `{method} /api{one.path}` | {needs} | {summary} |"
