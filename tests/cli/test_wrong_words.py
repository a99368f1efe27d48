"""What people type by mistake is refused by name before anything is opened, whatever it is; nothing of it is a traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.terminal import Terminal
from tracker_protocols.json.templates import TemplateError, compiled
from tracker_protocols.owntracks.commands import spell
from tracker_protocols.wire.command import Command, CommandError
from tracker_server.billing.what_if import what_if
from tracker_server.config import ConfigError, load
from tracker_server.model.money import InvalidValueError
from tracker_server.model.reading import UnreadableError, read_json
from tracker_server.simulator.plan import PlanError
from tracker_server.simulator.scenario import read_scenario
from tracker_server.storage.backup_catalogue import FILE, Catalogue
from tracker_server.storage.backup_file import BackupError
from tracker_server.storage.backup_quarantine import QUARANTINED, check_in_service
from tracker_server.track.fences.errors import FenceError
from tracker_server.track.fences.files import of_geojson
from tracker_server.track.fences.geojson import read_geojson

NOT_TEXT = os.fsdecode(b"Cami\xf3n")  # as a terminal set to Latin-1 types it
DEEP = "[" * 100_000
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "command",
    [
        ("account", "show", NOT_TEXT),
        ("command", "send", "1", NOT_TEXT),
        ("device", "add", "1", "--name", NOT_TEXT),
        ("events", "1", "--type", NOT_TEXT),
        ("user", "token", NOT_TEXT),
        (NOT_TEXT,),
    ],
    ids=lambda words: words[0],
)
def test_bytes_that_are_no_text(bare: Terminal, command: tuple[str, ...]) -> None:
    assert "is not UTF-8 at its end; type it in UTF-8" in bare.wrong(*command)


@pytest.mark.parametrize(
    "command",
    [("alert", "list"), ("command", "list"), ("outbox", "list"), ("quarantine", "list")],
    ids=" ".join,
)
def test_a_limit_that_cannot_be_meant(bare: Terminal, command: tuple[str, ...]) -> None:
    assert "--limit: 0 is too small; write a number from 1 on" in bare.wrong(*command, "--limit", "0")
    assert "is too great; leave it out to have all" in bare.wrong(*command, "--limit", "9" * 90)


@pytest.mark.parametrize(
    "command",
    [
        ("alert", "rule", "remove"),
        ("alert", "rule", "show"),
        ("command", "cancel"),
        ("outbox", "drop"),
        ("outbox", "retry"),
        ("proximity", "remove"),
        ("simulate", "--devices"),
        ("user", "token", "ana@example.com", "--days"),
    ],
    ids=" ".join,
)
def test_half_a_number_is_none(bare: Terminal, command: tuple[str, ...]) -> None:
    assert "'1.5' is no whole number; write digits alone" in bare.wrong(*command, "1.5")


def test_a_kind_of_event_that_there_is_not(bare: Terminal) -> None:
    said = bare.wrong("events", "1", "--type", "geofenceEnter", "--type", "geofenceenter")
    assert "--type: 'geofenceenter' is none; there are: " in said
    assert "geofenceEnter" in said


@pytest.mark.parametrize("kind", ["", "engineStpo"])
def test_a_command_that_no_device_knows(bare: Terminal, kind: str) -> None:
    said = bare.wrong("command", "send", "356307042441013", kind)
    assert f"TYPE: {kind!r} is no command; there are: " in said
    assert "engineStop" in said


@pytest.mark.parametrize(
    ("dsn", "sentence"), [("a=", 'invalid connection option "a"'), ("postgresql://%zz/", "percent-encoded")]
)
def test_another_database_that_cannot_be_meant(bare: Terminal, dsn: str, sentence: str) -> None:
    said = bare.wrong("import", "traccar", "--dsn", dsn)
    assert f"--dsn: {sentence}" in said or f"--dsn: invalid {sentence}" in said
    assert said.endswith("write postgresql://user:password@host/database")


def test_a_name_that_no_file_can_have(terminal: Terminal) -> None:
    said = terminal.refused("backup", "create", "a" * 300)
    assert "cannot be written: File name too long" in said


def test_a_rule_beyond_all_numbers(terminal: Terminal) -> None:
    assert f"RULE-ID: there is no rule {'9' * 90}; " in terminal.refused("alert", "rule", "show", "9" * 90)


def test_nothing_to_decode(bare: Terminal) -> None:
    assert "HEX: is empty; write a frame in hexadecimal" in bare.wrong("decode", "gt06", " ")


def test_a_start_beyond_the_calendar(bare: Terminal) -> None:
    flags = ("--protocol", "gt06", "--target", "127.0.0.1:1", "--start", "9999-12-31T23:59:59-14:00")
    assert "--start: '9999-12-31T23:59:59-14:00' is not a time" in bare.wrong("simulate", *flags)


def scenario(folder: Path) -> Any:
    return read_scenario(written(folder), {}, NOW)


def settings(folder: Path) -> Any:
    return load(written(folder), environment={})


def backups(folder: Path) -> Any:
    (folder / FILE).write_text(DEEP)
    return Catalogue(folder).known()


def quarantined(folder: Path) -> Any:
    (folder / QUARANTINED).write_text(DEEP)
    check_in_service(folder)


def written(folder: Path) -> Path:
    file = folder / "deep.toml"
    file.write_text(f"a = {DEEP}")
    return file


@pytest.mark.parametrize(
    ("reader", "error"),
    [
        (lambda _: read_geojson(DEEP), FenceError),
        (lambda _: of_geojson(DEEP.encode(), "Depot"), FenceError),
        (lambda _: what_if(DEEP.encode()), InvalidValueError),
        (lambda _: spell("1", Command("custom", {"data": '{"a":' + DEEP}), NOW), CommandError),
        (lambda _: compiled({"engineStop": DEEP}, "up"), TemplateError),
        (scenario, PlanError),
        (settings, ConfigError),
        (backups, BackupError),
        (quarantined, BackupError),
        (lambda _: read_json(DEEP), UnreadableError),
        (lambda _: read_json('{"a": [1, }'), UnreadableError),
        (lambda _: read_json('{"a": 1}', list[int]), UnreadableError),
        (lambda _: read_json(b'"\xff"'), UnreadableError),
    ],
    ids=[
        "geojson",
        "shape",
        "what-if",
        "owntracks",
        "template",
        "scenario",
        "settings",
        "backups",
        "quarantined",
        "deep",
        "unfinished",
        "another type",
        "no text",
    ],
)
def test_text_that_cannot_be_read(
    reader: Callable[[Path], Any], error: type[Exception], tmp_path: Path
) -> None:
    with pytest.raises(error):
        reader(tmp_path)
