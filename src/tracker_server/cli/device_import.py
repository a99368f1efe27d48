"""``tracker-server device import``: many trackers from a CSV file, whole or not at all."""

from __future__ import annotations

import csv
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, NoReturn, TextIO

from cyclopts import Parameter

from tracker_server.cli.billing_carry import store_of
from tracker_server.cli.common import HERE, Where, database, refused, run, say, tell, wrong
from tracker_server.cli.money_values import written
from tracker_server.cli.output import counted, progress
from tracker_server.cli.values import (
    NAME_CHARACTERS_MAX,
    BadValueError,
    parse_priority,
    parse_text,
    parse_unique_id,
)

if TYPE_CHECKING:
    from psycopg import AsyncConnection

    from tracker_server.config import Loaded

COLUMNS = ("unique_id", "name", "account", "priority", "test")
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}
ROWS_MAX = 1_000_000  # all of them are held in memory until the last one is known to be right
PART_ROWS = 5_000  # of one statement
FINDINGS_MAX = 20  # errors told at once; whoever has more has one error in all lines


class ImportedRow(NamedTuple):
    """One line of the file, read but not yet held against the database."""

    line: int
    unique_id: str
    name: str
    account: str
    priority: int
    test: bool


class Findings:
    """What is wrong with a file, by line."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._told: list[tuple[int, str]] = []
        self.count = 0

    def add(self, line: int, column: str, problem: str) -> None:
        """One more."""
        self.count += 1
        if len(self._told) < FINDINGS_MAX:
            self._told.append((line, f"{self.file}, line {line}, {column}: {problem}"))

    def refuse(self) -> NoReturn:
        """Tell them, exit 1."""
        for _, sentence in sorted(self._told):
            say(f"tracker-server: {sentence}")
        more = f" (the first {FINDINGS_MAX} are told)" if self.count > FINDINGS_MAX else ""
        refused(f"{counted(self.count, 'error')}{more}; nothing was imported")


def import_(
    file: Annotated[Path, Parameter(name="FILE.csv", allow_leading_hyphen=True)],
    *,
    account: str = "default",
    where: Where = HERE,
) -> None:
    """Add many trackers from a CSV file. It is imported whole or not at all.

    The first line names the columns: unique_id, and where wanted name, account, priority and test (true or
    false), separated by commas or semicolons. Errors name the line and the column.

    Example: tracker-server device import fleet.csv --account "Northern Cargo"

    Parameters
    ----------
    file
        The file, in UTF-8; - reads standard input.
    account
        Where a line names no account.
    """
    findings = Findings(str(file))
    rows = read_file(file, account, findings)
    if findings.count:
        findings.refuse()
    if not rows:
        refused(f"{file}: there are no trackers in it; nothing was imported")
    loaded = where.load()

    async def main() -> None:
        from tracker_server.storage.database import Role

        async with database(loaded) as home, await home.connect(Role.CORE) as connection:
            with progress("importing", len(rows)) as bar:
                async with connection.transaction():
                    accounts = await _check(connection, rows, findings)
                    async for done in _add(connection, rows, accounts, findings):
                        bar.advance(bar.task_ids[0], done)
            tell(f"{counted(len(rows), 'tracker')} imported")
            for name in sorted({row.account for row in rows}):
                await tell_money(connection, loaded, name, accounts[name])

    run(main)


async def tell_money(connection: AsyncConnection[object], loaded: Loaded, name: str, account_id: int) -> None:
    """Settle an account with new trackers, and say what it owes for those that are blocked."""
    from tracker_server.billing.forecast import min_topup_minor
    from tracker_server.billing.states import BLOCKED, standing

    state = await store_of(loaded).settle(connection, account_id, datetime.now(UTC))
    now = state.settled_to
    blocked = sum(standing(state, device, now) in BLOCKED for device in state.devices.values())
    if blocked:
        topup = written(min_topup_minor(state, now), state.book.currency)
        tell(f"account {name!r}: {blocked} of {len(state.devices)} trackers are blocked; {topup} unlock all")


def read_file(file: Path, account: str, findings: Findings) -> list[ImportedRow]:
    """The rows of the file; what is wrong with them goes to ``findings``. Exit 2 where it cannot be read."""
    try:
        if str(file) == "-":
            return list(read_rows(sys.stdin, account, findings))
        with file.open(encoding="utf-8-sig", newline="") as stream:
            return list(read_rows(stream, account, findings))
    except OSError as error:
        wrong(f"FILE.csv: {file} cannot be read ({error.strerror}); name a file that can")
    except UnicodeDecodeError as error:
        wrong(f"FILE.csv: {file} is not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8")
    except csv.Error as error:
        wrong(f"FILE.csv: {file} is no CSV: {error}")


def read_rows(stream: TextIO, account: str, findings: Findings) -> Iterator[ImportedRow]:
    """One row for each line that is right."""
    header = stream.readline()
    separator = ";" if ";" in header and "," not in header else ","
    names = [name.strip().lower() for name in next(csv.reader([header], delimiter=separator), [])]
    _check_header(names, findings.file)
    seen: dict[str, int] = {}
    reader = csv.reader(stream, delimiter=separator)
    for count, cells in enumerate(reader):
        line = reader.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue
        if count >= ROWS_MAX:
            wrong(f"FILE.csv: {findings.file} has more than {ROWS_MAX} lines; cut it in parts")
        if len(cells) > len(names):
            findings.add(line, "columns", f"{len(cells)} cells under {len(names)} headings")
            continue
        row = _row(line, dict(zip(names, cells, strict=False)), account, findings)
        if row is None:
            continue
        first = seen.setdefault(row.unique_id, line)
        if first != line:
            findings.add(line, "unique_id", f"{row.unique_id!r} stands in line {first} already")
            continue
        yield row


def _check_header(names: list[str], file: str) -> None:
    known = ", ".join(COLUMNS)
    if "unique_id" not in names:
        wrong(
            f"FILE.csv: {file}, line 1: no column is named unique_id; the first line names the columns: {known}"
        )
    for name in names:
        if name not in COLUMNS:
            wrong(f"FILE.csv: {file}, line 1: there is no column {name!r}; there are: {known}")
        if names.count(name) > 1:
            wrong(f"FILE.csv: {file}, line 1: column {name!r} is there twice; keep one")


def _row(line: int, cells: dict[str, str], account: str, findings: Findings) -> ImportedRow | None:
    column = "unique_id"
    try:
        unique_id = parse_unique_id(cells.get(column, ""))
        column = "name"
        name = parse_text(cells.get(column) or unique_id, NAME_CHARACTERS_MAX)
        column = "account"
        owner = parse_text(cells.get(column) or account, NAME_CHARACTERS_MAX)
        column = "priority"
        priority = parse_priority(cells.get(column) or "1")
        column = "test"
        test = _parse_bool(cells.get(column, ""))
    except BadValueError as error:
        findings.add(line, column, str(error))
        return None
    return ImportedRow(line, unique_id, name, owner, priority, test)


def _parse_bool(text: str) -> bool:
    word = text.strip().lower()
    if word not in WORDS:
        raise BadValueError(f"{word!r} is neither true nor false")
    return WORDS[word]


async def _check(
    connection: AsyncConnection[object], rows: list[ImportedRow], findings: Findings
) -> dict[str, int]:
    """Hold the file against the database, so that all errors are told at once; answers the accounts' ids."""
    from tracker_server.storage.accounts import account_ids
    from tracker_server.storage.devices import accounts_with_test, connected

    accounts = await account_ids(connection)
    testing = await accounts_with_test(connection)
    for row in rows:
        if row.account not in accounts:
            findings.add(row.line, "account", f"there is no account named {row.account!r}")
        if row.test and row.account in testing:
            findings.add(
                row.line,
                "test",
                f"account {row.account!r} has a test tracker already, and an account has one",
            )
        if row.test:
            testing.add(row.account)
    for part in _parts(rows):
        taken = await connected(connection, [row.unique_id for row in part])
        for row in part if taken else ():
            if row.unique_id in taken:
                findings.add(row.line, "unique_id", _exists(row.unique_id, taken[row.unique_id]))
    if findings.count:
        findings.refuse()
    return accounts


async def _add(
    connection: AsyncConnection[object], rows: list[ImportedRow], accounts: dict[str, int], findings: Findings
) -> AsyncIterator[int]:
    """Add them part by part; tells how many more are in."""
    from tracker_server.storage.devices import NewDevice, TestDeviceExistsError, add_devices

    for part in _parts(rows):
        new = [
            NewDevice(row.unique_id, accounts[row.account], row.name, row.priority, row.test) for row in part
        ]
        try:
            added = await add_devices(connection, new)
        except TestDeviceExistsError:
            refused(
                f"{findings.file}: an account got a test tracker just now by somebody else; nothing was imported"
            )
        for row in part:
            if row.unique_id not in added:  # somebody else has added it since we looked
                findings.add(row.line, "unique_id", _exists(row.unique_id, None))
        if findings.count:
            findings.refuse()
        yield len(part)


def _exists(unique_id: str, account: str | None) -> str:
    where = f", in account {account!r}" if account else ""
    return f"tracker {unique_id!r} exists already{where}"


def _parts(rows: list[ImportedRow]) -> Iterator[list[ImportedRow]]:
    for at in range(0, len(rows), PART_ROWS):
        yield rows[at : at + PART_ROWS]
