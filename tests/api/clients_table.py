"""Writes docs/reference/clients.md: each call of each client of this field, and the test that makes it.

    python -m tests.api.clients_table

A test holds the page to what this would write.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.api.calls import CLIENTS, ON_THE_ROAD, SHAPES, TOPICS, Ask

PAGE = Path(__file__).resolve().parents[2] / "docs/reference/clients.md"
TEST = "[`test_every_call`](../../tests/api/test_calls_of_clients.py)"
HEAD = """# Clients of this field, call by call

This page is written by `tests/api/clients_table.py` from the table that
[`tests/api/test_calls_of_clients.py`](../../tests/api/test_calls_of_clients.py) works through against a real server: each call below is made
with these parameters, signed in as that client signs in, and of the answer every field that it reads is checked for name, type
and whether it may be null. The clients themselves, unchanged, are run by
[`tests/api/test_clients.py`](../../tests/api/test_clients.py) and [`tests/live/test_socket.py`](../../tests/live/test_socket.py).

A status stands where it is not 200. *As*: whoever is signed in, where it is not a customer's owner. A call that stands twice is made in
two ways, or answers otherwise the second time.
"""
WORDS = {"[]": "an empty list", "text": "text", "": "nothing", "list": "a list", "object": "an object"}


def told(row: Ask) -> str:
    """What a row's client reads."""
    if row.begins == b"PK":
        kind = "XLSX"
    elif row.reads in WORDS:
        kind = WORDS[row.reads] if row.status < 400 else "a sentence"
    elif row.reads.startswith("["):
        kind = f"list of {row.reads[1:-1]}"
    else:
        kind = row.reads
    return kind if row.status == 200 else f"{row.status}: {kind}"


def sent(row: Ask) -> str:
    """Parameters and body, by name."""
    parts: list[str] = []
    if row.query:
        parts.append("?" + "&".join(row.query))
    if isinstance(row.body, dict):
        parts.append(f"JSON {', '.join(row.body)}")
    elif isinstance(row.body, list):
        parts.append("JSON, a list")
    elif row.body is not None:
        parts.append("JSON, as it was read")
    if row.form is not None:
        parts.append(f"form {', '.join(row.form)}")
    if row.upload is not None:
        parts.append("a picture")
    parts += [f"{name}: {value}" for name, value in row.headers.items() if name == "Accept"]
    return "; ".join(parts).replace("|", "\\|")


def page() -> str:
    """The page's text."""
    lines = [HEAD, "| client | signs in by | in the tables |", "|---|---|---|"]
    lines += [f"| {name} | {way} | {short} |" for short, (name, way) in CLIENTS.items()]
    for topic, rows in TOPICS.items():
        lines += ["", f"## {topic}\n", "| call | with | as | reads | called by |", "|---|---|---|---|---|"]
        for row in rows:
            who = "" if row.signed in {"owner", "leaver"} else row.signed.replace("stand-in", "admin")
            path = re.sub(r"\{[\w.]+\}", "{id}", row.call)
            lines.append(f"| `{path}` | {sent(row)} | {who} | {told(row)} | {', '.join(row.by)} |")
        lines += ["", f"Made by {TEST}."]
    lines += [
        "",
        "## The socket\n",
        "`/api/socket` with the cookie: first the latest positions, then `devices`, `positions` and `events` as",
    ]
    lines += [
        "they change. Opened by pytraccar, pytraccar3 and web; made by",
        f"{TEST.replace('every_call', 'the_socket')}.",
    ]
    lines += ["", "## What phones send\n", "| call | by |", "|---|---|"]
    lines += [f"| `{call}` | {by} |" for call, by, _, _ in ON_THE_ROAD]
    lines += [
        "",
        f"Made by {TEST.replace('every_call', 'what_phones_send')}, which reads the fix back.",
        "",
        "## What they read\n",
    ]
    lines += [
        "Every field is there in every answer; one marked `?` may be null. Speeds are in knots, distances in metres, durations"
    ]
    lines += [
        "and engine hours in milliseconds, times ISO 8601 in UTC with milliseconds.\n",
        "| object | fields |",
        "|---|---|",
    ]
    for name, fields in SHAPES.items():
        listed = ", ".join(f"`{field}`{'?' if kind.endswith('?') else ''}" for field, kind in fields.items())
        lines.append(f"| {name} | {listed} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
