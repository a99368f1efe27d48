"""``tracker-server config``: the settings, and where each came from."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from tracker_server.cli.common import HERE, Where, refused, tell
from tracker_server.cli.output import Format, each, write_rows

if TYPE_CHECKING:
    from tracker_server.config import Settings
    from tracker_server.config_keys import Key

app = App(name="config", help="The settings: what they are and where each came from.")

COLUMNS = ("key", "value", "source", "default", "takes", "meaning", "variable")
TABLE_COLUMNS = ("key", "value", "source", "meaning")
HIDDEN = "***"
FILE_HEAD = """\
# The settings of tracker-server: every key with its default, what it takes and what it means.
# Delete what you leave as it is. Flags go before environment variables (TRACKER_API__PORT for api.port),
# those before this file, and this file before the defaults. Written by `tracker-server config show --as-file`.
"""


@app.command
def show(
    *,
    as_file: Annotated[bool, Parameter(negative="")] = False,
    form: Annotated[Format, Parameter(name="--format")] = "table",
    where: Where = HERE,
) -> None:
    """Show all settings as they are in force, and where each came from. Passwords are not shown.

    Example: tracker-server config show --format json

    Parameters
    ----------
    as_file
        As a commented settings file instead, to begin one of your own; secrets are left out of it.
    form
        Table for people, JSON (one array) or CSV for programs.
    """
    from tracker_server.config import sections, variable_of

    loaded = where.load()
    if as_file:
        tell("\n".join(lines_of_file(loaded.settings)))
        return
    rows: list[dict[str, Any]] = [
        {
            "key": key.name,
            "value": shown(key, value_of(loaded.settings, key.name)),
            "source": loaded.origin.get(key.name, "default"),
            "default": plain(key.default),
            "takes": key.takes,
            "meaning": key.meaning,
            "variable": variable_of(key.name),
        }
        for section in sections()
        for key in section.keys
    ]
    asyncio.run(write_rows(each(rows), COLUMNS, form, TABLE_COLUMNS))


@app.command
def check(*, where: Where = HERE) -> None:
    """Say whether the settings can be used; if not, which one is wrong, where it came from and what would do.

    Example: tracker-server config check --config /etc/tracker-server.toml
    """
    from tracker_server.storage.database import Database, DatabaseError, Role

    loaded = where.load()
    try:
        Database(loaded.settings).conninfo(Role.CORE)
    except DatabaseError as error:
        refused(str(error))
    sources = ", ".join(dict.fromkeys(loaded.origin.values())) or "defaults only"
    tell(f"the settings are good: {len(loaded.origin)} set ({sources}), the rest are defaults")


def value_of(settings: Settings, name: str) -> Any:
    """A setting by its dotted name."""
    value: Any = settings
    for part in name.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, field_of(type(value), part))
    return plain(value)


def field_of(kind: type, part: str) -> str:
    """The attribute that holds a setting: a word of Python's own (smtp.from) goes by another name."""
    import msgspec

    return next(field.name for field in msgspec.structs.fields(kind) if field.encode_name == part)


def plain(value: Any) -> Any:
    """A value as TOML and JSON have it."""
    return str(value) if isinstance(value, Path) else value


def shown(key: Key, value: Any) -> Any:
    """A value without its secrets."""
    if not key.secret or not value:
        return value
    return without_password(value) if key.name == "storage.dsn" else HIDDEN


def without_password(dsn: str) -> str:
    """A DSN in which nobody reads the password."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return HIDDEN  # no DSN, so nobody knows where its password stands
    secrets = {name: HIDDEN for name in ("password", "sslpassword") if parts.get(name)}
    return make_conninfo("", **{**parts, **secrets}) if secrets else dsn


# ---------------------------------------------------------------------- as a file


def lines_of_file(settings: Settings) -> Iterator[str]:
    """A settings file with these values; each key explained, those of the listeners once."""
    from tracker_server.config import sections

    yield FILE_HEAD.rstrip()
    explained = False
    for section in sections():
        listener = section.name.startswith("listeners.")
        yield ""
        if listener and not explained:
            yield from _about_listeners(section.keys)
            explained = True
        if section.name:
            yield f"[{section.name}]  # {one_line(section.meaning)}"
        for key in section.keys:
            if not listener:
                yield f"# {one_line(key.meaning)} ({key.takes}; default {toml(key.default)})"
            name = key.name.rpartition(".")[2]
            value = value_of(settings, key.name)
            if key.secret and value != key.default:
                yield f"# {name} is set, but secrets are not written here"
                value = plain(key.default)
            yield f"{name} = {toml(value)}"
    yield from _many(settings)


def _many(settings: Settings) -> Iterator[str]:
    """Sections of which there may be any number: what may stand in one, and those that there are."""
    import msgspec

    from tracker_server.config import MANY, many_sections

    for prefix, section in zip(MANY, many_sections(), strict=True):
        yield ""
        yield f"# [{section.name}]  # any number, each under a name of yours. {one_line(section.meaning)}"
        for key in section.keys:
            name = key.name.rpartition(".")[2]
            about = f": {one_line(key.meaning)}" if key.meaning else ""
            yield f"#   {name}{about} ({key.takes}; default {toml(key.default)})"
        node: Any = settings
        for part in prefix.split("."):
            node = getattr(node, part)
        for name, one in node.items():
            yield f"[{prefix}.{toml(name)}]"
            for key, value in msgspec.to_builtins(one).items():
                secret = key == "url"
                yield f"# {key} is left out" if secret and value else f"{key} = {toml(value)}"


def _about_listeners(keys: tuple[Key, ...]) -> Iterator[str]:
    yield "# One section for each protocol; `tracker-server protocols` lists them. In each of them:"
    for key in keys:
        default = "" if key.name.endswith(".port") else f"; default {toml(key.default)}"
        yield f"#   {key.name.rpartition('.')[2]}: {one_line(key.meaning)} ({key.takes}{default})"


def toml(value: Any) -> str:
    """A value as TOML writes it: whole numbers with their thousands told apart."""
    match plain(value):
        case bool() as word:
            return "true" if word else "false"
        case int() as number:
            return f"{number:_}" if number >= 100_000 else str(number)
        case float() as number:
            return f"{number:_}"
        case str() as text:
            import json

            return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple() as many:
            return f"[{', '.join(map(toml, many))}]"
        case dict() as table:
            inner = ", ".join(f"{toml(name)} = {toml(one)}" for name, one in table.items())
            return f"{{ {inner} }}" if inner else "{}"
        case other:
            raise AssertionError(f"no setting has a value such as {other!r}")


def one_line(text: str) -> str:
    """Text for a comment."""
    return " ".join(text.replace("``", "`").split())
