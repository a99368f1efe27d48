"""The reference pages that are written from the code: ``python -m tracker_server.cli.reference``, at the top of the repository."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tracker_server.api.endpoints import ENDPOINTS
from tracker_server.api.reference_page import api_page
from tracker_server.cli.config import lines_of_file, one_line, toml
from tracker_server.cli.main import app
from tracker_server.config import DEFAULT_FILE, FILE_VARIABLE, Settings, many_sections, sections, variable_of
from tracker_server.config_keys import Key, Section

HEAD = "<!-- Written by `python -m tracker_server.cli.reference` from the code; change it there. -->\n"
CLI_INTRODUCTION = f"""\
{HEAD}
# Command line

One program, `tracker-server`. Every command has `--help`.

**Exit codes.** 0: done. 1: refused (no such tracker, the database is away …). 2: wrong use (a flag or a setting that cannot
be meant). 130: interrupted. Errors stand on standard error and name the flag, the value and the cure; on standard output
there is nothing but what was asked for.

**Formats.** Lists take `--format table|json|csv`. JSON is one array with an object for each row; `show` prints one object.
Keys are snake_case, moments ISO 8601 in UTC with `Z`, money is a decimal string beside its `currency`. CSV is UTF-8 with a
line of headings; a text cell that a spreadsheet would take for a formula (it begins with `=`, `+`, `-`, `@`, a tab or a
carriage return) has an apostrophe before it, numbers stay numbers. `json`, `csv` and the map formats stream: a history of
millions of fixes takes no more memory than one of a thousand.

**Order.** Lists of what happened (alerts, messages, commands, payments, invoices, kept frames, backups) are newest first, as they are
over the API and on the page, and a table that is cut says so and shows the newest. A history (`positions`, `events`, `trips`, `billing ledger`) is told in
the order of its time. What there is stands in the order of its numbers; trackers by identifier, accounts and tariffs by name.

**Moments** in `--from`, `--to` and `--before` are ISO 8601: `2026-01-31`, `2026-01-31T10:00:00Z`, `2026-01-31T13:00:00+03:00`.
Without a zone they are UTC; a date alone is its beginning. A period holds its first moment and not its last.

**Beside a running server.** Commands use the same database as `tracker-server serve` and may run at any time beside it; it
hears of changed trackers and blocks at once. Where no server runs, a command starts the embedded database for itself and
stops it again.

**Shapes.** A position has the columns of `core.positions` and the tracker's `unique_id`; `digest` and `network` are the
operator's. A tracker's `state` is `active`, `blocked` (its customer sees nothing; `reason` and `since` say why) or `removed`.

**Changing hands.** `device move`, and `device add` of a tracker that another account had last, begin a new row: its customer
sees what is both fixed and received from that moment on, and nothing older. Added again by the account that had it last, it
shows what was received meanwhile too, once the quarantine is replayed, for nobody else had it. What it sent before it was
removed stays with the former row, where `positions --as operator` reads it.

"""
SETTINGS_INTRODUCTION = f"""\
{HEAD}
# Settings

Flags go before environment variables, those before the settings file, and that before the defaults. The file is TOML:
`--config`, or `{FILE_VARIABLE}`, or `{DEFAULT_FILE}` in the working directory where it exists. The environment variable
of a setting is `TRACKER_` and its key with `__` between the levels: `TRACKER_API__PORT` is `api.port`. A key or a variable
that is no setting is refused, so that a misspelt one cannot do nothing.

`tracker-server config show` tells each setting in force and where it came from, `config check` whether all of them can be
used, and `config show --as-file` writes a settings file with all of them.
"""


def cli_page() -> str:
    """``docs/reference/cli.md``."""
    generated = app.generate_docs(output_format="markdown", recursive=True, heading_level=1)
    _, _, commands = generated.partition("## Table of Contents")
    return f"{CLI_INTRODUCTION}## Commands{commands.rstrip()}\n"


def settings_page() -> str:
    """``docs/reference/settings.md``."""
    return "\n".join(_settings_lines()) + "\n"


def settings_file() -> str:
    """``config/tracker-server.toml``: the defaults."""
    return "\n".join(lines_of_file(Settings())) + "\n"


def _settings_lines() -> Iterator[str]:
    yield SETTINGS_INTRODUCTION.rstrip()
    listeners = [section for section in sections() if section.name.startswith("listeners.")]
    for section in sections():
        if section not in listeners:
            yield ""
            yield f"## {section.name}" if section.name else "## At the top"
            yield ""
            if section.name:
                yield f"{one_line(section.meaning)}\n"
            yield from _table(section.keys)
    yield from _listener_lines(listeners)
    for section in many_sections():
        yield ""
        yield f"## {section.name.replace('NAME', '&lt;name&gt;')}"
        yield ""
        yield f"Any number, in the settings file only. {one_line(section.meaning)}"
        yield ""
        yield from _table(section.keys)


def _table(keys: tuple[Key, ...]) -> Iterator[str]:
    yield "| key | default | takes | meaning |"
    yield "|---|---|---|---|"
    for key in keys:
        yield f"| `{key.name}` | `{toml(key.default)}` | {_cell(key.takes)} | {_cell(key.meaning)} |"


def _cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")


def _listener_lines(listeners: list[Section]) -> Iterator[str]:
    yield ""
    yield "## listeners.&lt;protocol&gt;"
    yield ""
    yield f"One address for each protocol. The variable of `{listeners[0].keys[0].name}` is"
    yield f"`{variable_of(listeners[0].keys[0].name)}`."
    yield ""
    yield "| key | default | takes | meaning |"
    yield "|---|---|---|---|"
    for key in listeners[0].keys:
        name = key.name.rpartition(".")[2]
        default = "the protocol's, below" if name == "port" else f"`{toml(key.default)}`"
        yield f"| `listeners.<protocol>.{name}` | {default} | {_cell(key.takes)} | {_cell(key.meaning)} |"
    yield ""
    yield "| protocol | port | |"
    yield "|---|---|---|"
    for section in listeners:
        yield f"| `{section.name.partition('.')[2]}` | {section.keys[0].default} | {_cell(section.meaning)} |"


def api_reference() -> str:
    """``docs/reference/api.md``."""
    return api_page(ENDPOINTS, HEAD)


PAGES = {
    "docs/reference/api.md": api_reference,
    "docs/reference/cli.md": cli_page,
    "docs/reference/settings.md": settings_page,
    "config/tracker-server.toml": settings_file,
}


def write(root: Path) -> None:
    """Write all of them below this folder."""
    for name, page in PAGES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    sys.argv[0] = "tracker-server"  # in the pages' usage lines the program has its own name, not this one's
    write(Path.cwd())
