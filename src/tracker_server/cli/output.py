"""Rows for people and for programs: a table, one JSON array, or CSV. All of them stream.

JSON keys are the columns' names, moments ISO 8601 with ``Z``. In a table nothing that a device sent can
steer the terminal.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from tracker_server.exports.cells import csv_cell, csv_lines, json_bytes

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Format = Literal["table", "json", "csv"]
Row = Mapping[str, Any]
Item = TypeVar("Item")

TABLE_BLOCK_ROWS = 1_000  # of a table held at once; the next block has its headings again
PIPED_COLUMNS = 10_000  # a table that no terminal shows is not folded
WRITE_BYTES = 65_536


class Output:
    """Standard output as bytes, written in pieces of some size."""

    def __init__(self) -> None:
        self._gathered = bytearray()

    def write(self, data: bytes) -> None:
        """Write, sooner or later."""
        self._gathered += data
        if len(self._gathered) >= WRITE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write now."""
        sys.stdout.flush()
        sys.stdout.buffer.write(self._gathered)
        sys.stdout.buffer.flush()
        self._gathered.clear()


async def write_rows(
    rows: AsyncIterable[Row], columns: Sequence[str], form: Format, table_columns: Sequence[str] = ()
) -> int:
    """Write these columns of all rows; ``table_columns`` where a table shows others. Answers how many.

    A generator is closed in any case: while one waits in the middle of a query, its connection cannot end.
    """
    async with closing(rows) as found:
        match form:
            case "json":
                return await _write_json(found, columns)
            case "csv":
                return await _write_csv(found, columns)
            case "table":
                return await _write_table(found, table_columns or columns)


async def write_parts(parts: AsyncIterable[bytes]) -> None:
    """Write bytes as they come."""
    out = Output()
    async for part in parts:
        out.write(part)
    out.flush()


@asynccontextmanager
async def closing(rows: AsyncIterable[Item]) -> AsyncGenerator[AsyncIterable[Item]]:
    """Rows that end with the block, also where their reader has gone away."""
    try:
        yield rows
    finally:
        if isinstance(rows, AsyncGenerator):
            await rows.aclose()


async def mapped(rows: AsyncIterable[Item], change: Callable[[Item], Row]) -> AsyncGenerator[Row]:
    """Rows changed one by one; closes what it reads from."""
    async with closing(rows) as found:
        async for row in found:
            yield change(row)


async def each(rows: Iterable[Row]) -> AsyncIterator[Row]:
    """Rows that are there already, as ``write_rows`` takes them."""
    for row in rows:
        yield row


def write_object(row: Row, form: Format) -> None:
    """One thing: in JSON an object, in CSV a line, for people a line for each of its properties."""
    out = Output()
    match form:
        case "json":
            out.write(json_bytes(row) + b"\n")
        case "csv":
            line = csv_lines()
            out.write(line(list(row)) + line([csv_cell(value) for value in row.values()]))
        case "table":
            width = max(map(len, row))
            for name, value in row.items():
                out.write(f"{name:<{width}}  {table_cell(value)}\n".encode())
    out.flush()


# ---------------------------------------------------------------------- JSON


async def _write_json(rows: AsyncIterable[Row], columns: Sequence[str]) -> int:
    out, count = Output(), 0
    async for row in rows:
        out.write(b",\n" if count else b"[\n")
        out.write(json_bytes({name: row[name] for name in columns}))
        count += 1
    out.write(b"\n]\n" if count else b"[]\n")
    out.flush()
    return count


# ---------------------------------------------------------------------- CSV


async def _write_csv(rows: AsyncIterable[Row], columns: Sequence[str]) -> int:
    out, count = Output(), 0
    line = csv_lines()
    out.write(line(columns))
    async for row in rows:
        out.write(line([csv_cell(row[name]) for name in columns]))
        count += 1
    out.flush()
    return count


# ---------------------------------------------------------------------- tables


async def _write_table(rows: AsyncIterable[Row], columns: Sequence[str]) -> int:
    block: list[Row] = []
    count = 0
    async for row in rows:
        block.append(row)
        count += 1
        if len(block) == TABLE_BLOCK_ROWS:
            _print_table(block, columns)
            block.clear()
    if block or not count:
        _print_table(block, columns)
    return count


def _print_table(rows: Sequence[Row], columns: Sequence[str]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        numbers = all(_is_number(row[name]) or row[name] is None for row in rows) and bool(rows)
        table.add_column(Text(name), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(table_cell(row[name])) for name in columns))
    console().print(table)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def table_cell(value: Any) -> str:
    """A value as people read it; control characters are shown, not obeyed."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case float():
            return f"{value:.10g}"
        case str():
            return visible(value)
        case dict() | list() | tuple():
            return visible(json_bytes(value).decode()) if value else ""
        case _:
            return visible(str(value))


def visible(text: str) -> str:
    """Text in which no character steers a terminal (C0, C1, and the marks that turn the writing round)."""
    return "".join(c if unicodedata.category(c)[0] != "C" else f"\\x{ord(c):02x}" for c in text)


def console() -> Console:
    """Standard output for people; as wide as it takes where it is no terminal."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False, width=None if sys.stdout.isatty() else PIPED_COLUMNS)


def progress(title: str, total: int) -> Progress:
    """How far long work has come, on a terminal's stderr; nothing elsewhere. Use as a context manager."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    errors = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )
    bar.add_task(title, total=total)
    return bar


def counted(number: int, thing: str) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
