"""Cells: what a value becomes in JSON, CSV and tables, and that none of them steers its reader."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from tracker_server.cli.output import Format, counted, each, table_cell, visible, write_object, write_rows

MOMENT = datetime(2026, 3, 1, 15, 0, tzinfo=timezone(timedelta(hours=3)))


def written(capsys: pytest.CaptureFixture[str], form: Format, *rows: dict[str, Any]) -> str:
    asyncio.run(write_rows(each(rows), list(rows[0]) if rows else ["a"], form))
    return capsys.readouterr().out


def test_json_values(capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "moment": MOMENT,
        "none": None,
        "money": "310.00",
        "yes": True,
        "deep": {"a": [1, 2.5]},
        "text": "=1",
    }
    (found,) = json.loads(written(capsys, "json", row))
    assert (
        found == {**row, "moment": "2026-03-01T15:00:00+03:00"} or found["moment"] == "2026-03-01T12:00:00Z"
    )
    assert found["money"] == "310.00"


def test_json_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(written(capsys, "json")) == []
    assert written(capsys, "csv") == "a\n"


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1-1", "-x", "@SUM(A1)", "\tx", "\rx", "=cmd|' /C calc'!A0"]
)
def test_text_that_begins_like_a_formula_is_no_formula(capsys: pytest.CaptureFixture[str], text: str) -> None:
    (row,) = csv.DictReader(io.StringIO(written(capsys, "csv", {"a": text}), newline=""))
    assert row["a"] == f"'{text}"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (-70.6667, "-70.6667"),
        (-1, "-1"),
        (0, "0"),
        (None, ""),
        (True, "true"),
        (False, "false"),
        (MOMENT, "2026-03-01T12:00:00Z"),
        (datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC), "2026-03-01T12:00:00.500000Z"),
        ("-11.07", "-11.07"),  # money is text that is a number
        ("a=b", "a=b"),
        ('say "x", y\nz', 'say "x", y\nz'),
        ({"a": 1}, '{"a":1}'),
        ([], "[]"),
        ("", ""),
    ],
)
def test_csv_cells(capsys: pytest.CaptureFixture[str], value: Any, cell: str) -> None:
    (row,) = csv.DictReader(io.StringIO(written(capsys, "csv", {"a": value}), newline=""))
    assert row["a"] == cell


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, ""),
        (True, "yes"),
        (False, "no"),
        (MOMENT, "2026-03-01 12:00:00Z"),
        (21.0075, "21.0075"),
        (7, "7"),
        ("[red]x[/red]", "[red]x[/red]"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\tc\0", "a\\x0ab\\x09c\\x00"),
        ("\u202egnp.exe", "\\x202egnp.exe"),
        ({"note": "\x1b"}, '{"note":"\\u001b"}'),
        ({}, ""),
    ],
)
def test_table_cells(capsys: pytest.CaptureFixture[str], value: Any, cell: str) -> None:
    assert table_cell(value) == cell
    if cell:
        assert cell in written(capsys, "table", {"a": value})


def test_a_table_that_no_terminal_shows_is_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    assert "x" * 500 in written(capsys, "table", {"a": "x" * 500, "b": "y"})


def test_one_thing(capsys: pytest.CaptureFixture[str]) -> None:
    thing = {"name": "=x", "count": -1, "none": None}
    write_object(thing, "json")
    assert json.loads(capsys.readouterr().out) == thing
    write_object(thing, "csv")
    assert capsys.readouterr().out == "name,count,none\n'=x,-1,\n"
    write_object(thing, "table")
    assert capsys.readouterr().out.splitlines() == ["name   =x", "count  -1", "none   "]


def test_words() -> None:
    assert [counted(n, "frame") for n in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]
    assert visible("Grüße, 東京 🚚") == "Grüße, 東京 🚚"
