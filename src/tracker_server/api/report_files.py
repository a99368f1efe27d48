"""A report's rows as CSV and as XLSX: the same columns as in JSON, units in the headings, nothing taken for a formula."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from tracker_server.exports.cells import csv_cell, csv_lines, json_bytes

UNITS: Final = {
    "distance": "m", "averageSpeed": "kn", "maxSpeed": "kn", "speed": "kn", "spentFuel": "l", "startOdometer": "m",
    "endOdometer": "m", "totalDistance": "m", "duration": "ms", "engineHours": "ms", "altitude": "m", "accuracy": "m",
}  # fmt: skip
CELL_CHARACTERS_MAX: Final = 32_767  # of XLSX
_COLUMN_CHARACTERS: Final = (10, 40)


class Sheet(Struct, frozen=True):
    """A title, rows of one type, and a last line that says what is not in it."""

    title: str
    kind: type[Struct]
    rows: Sequence[Struct]
    remark: str = ""


def columns_of(kind: type[Struct]) -> list[str]:
    """The names of a row's fields, as in JSON."""
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def headings(kind: type[Struct], zone: str = "") -> list[str]:
    """With units; moments with the zone in which they are written."""
    found: list[str] = []
    for name in columns_of(kind):
        unit = UNITS.get(name) or (zone if name.endswith(("Time", "Update")) else "")
        found.append(f"{name} ({unit})" if unit else name)
    return found


def csv_file(sheet: Sheet) -> bytes:
    """RFC 4180, with a header; moments in UTC."""
    line = csv_lines()
    parts = [line(headings(sheet.kind))]
    parts += [line([csv_cell(value) for value in _values(row)]) for row in sheet.rows]
    if sheet.remark:
        parts.append(line([csv_cell(sheet.remark)]))
    return b"".join(parts)


def xlsx_file(sheet: Sheet, zone: str) -> bytes:
    """One worksheet; moments are dates in ``zone``. It computes: not on the loop."""
    import xlsxwriter

    made = io.BytesIO()
    options = {
        "in_memory": True,
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "nan_inf_to_errors": True,
    }
    with xlsxwriter.Workbook(made, options) as book:
        page = book.add_worksheet(sheet.title[:31])
        bold = book.add_format({"bold": True})
        moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        names = columns_of(sheet.kind)
        local = ZoneInfo(zone)
        titles = headings(sheet.kind, zone)
        low, high = _COLUMN_CHARACTERS
        for column, title in enumerate(titles):
            wide = 20 if names[column].endswith(("Time", "Update")) else len(title) + 2
            page.set_column(column, column, min(max(wide, low), high))
            page.write_string(0, column, title, bold)
        page.freeze_panes(1, 0)
        for number, row in enumerate(sheet.rows, 1):
            for column, value in enumerate(_values(row)):
                if value is None:
                    continue
                if isinstance(value, bool):
                    page.write_boolean(number, column, value)
                elif isinstance(value, int | float):
                    page.write_number(number, column, value)
                elif names[column].endswith(("Time", "Update")):
                    told = datetime.fromisoformat(str(value)).astimezone(local).replace(tzinfo=None)
                    page.write_datetime(number, column, told, moment)
                else:
                    page.write_string(number, column, _text(value))
        if sheet.remark:
            page.write_string(len(sheet.rows) + 1, 0, sheet.remark)
    return made.getvalue()


def _values(row: Struct) -> list[Any]:
    return [_plain(value) for value in msgspec.structs.astuple(row)]


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Raw):
        return bytes(value).decode()
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return value


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json_bytes(value).decode()
    return text[:CELL_CHARACTERS_MAX]
