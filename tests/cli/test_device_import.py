"""A file of trackers is imported whole or not at all, and its errors name line and column."""

from __future__ import annotations

import threading

import psycopg
import pytest

from tests.cli.terminal import Terminal
from tests.storage.rows import count, query
from tracker_server.cli import device_import
from tracker_server.storage import devices

GOOD = """unique_id,name,account,priority,test
356307042441013,Van 7,A,2,true
356307042441021,,,,
"Truck, red","Line
less",,,no
"""


def imported(terminal: Terminal, text: str, *flags: str) -> str:
    (terminal.folder / "fleet.csv").write_bytes(text.encode())
    return terminal.ok("device", "import", "fleet.csv", *flags)


def refused(terminal: Terminal, text: str, *flags: str) -> str:
    (terminal.folder / "fleet.csv").write_bytes(text.encode())
    said = terminal.refused("device", "import", "fleet.csv", *flags)
    assert count(terminal.dsn, "core.devices") == 0
    return said


def test_all_columns_and_their_defaults(terminal: Terminal) -> None:
    terminal.ok("account", "add", "A")
    text = GOOD.replace("Line\nless", "Line-less")
    assert imported(terminal, text).strip() == "3 trackers imported"
    one, two, three = terminal.json("device", "list")
    assert (one["unique_id"], one["name"], one["account"]) == ("356307042441013", "Van 7", "A")
    assert (one["priority"], one["test"]) == (2, True)
    assert (two["name"], two["account"], two["priority"], two["test"]) == (
        two["unique_id"],
        "default",
        1,
        False,
    )
    assert (three["unique_id"], three["name"]) == ("Truck, red", "Line-less")


def test_the_account_where_a_line_names_none(terminal: Terminal) -> None:
    terminal.ok("account", "add", "A")
    imported(terminal, "unique_id\n1\n2\n", "--account", "A")
    assert {row["account"] for row in terminal.json("device", "list")} == {"A"}


@pytest.mark.parametrize(
    "text", ["\ufeffUnique_ID;Name\r\n1;x\r\n\r\n", "name,unique_id\nx,1\n", "name,unique_id\nx,1"]
)
def test_as_spreadsheets_write_it(terminal: Terminal, text: str) -> None:
    """Semicolons, a byte order mark, CRLF, empty lines, no last line end, columns in any order."""
    imported(terminal, text)
    (row,) = terminal.json("device", "list")
    assert (row["unique_id"], row["name"]) == ("1", "x")


def test_from_standard_input(terminal: Terminal) -> None:
    assert "1 tracker imported" in terminal.ok("device", "import", "-", stdin="unique_id\n1\n")


def test_every_error_of_a_file_is_told_with_its_line_and_column(terminal: Terminal) -> None:
    said = refused(
        terminal,
        "unique_id,name,priority,test\n"
        "1,a,1,true\n"
        ",b,1,true\n"
        "3,c,zero,true\n"
        "4,d,1,maybe\n"
        "1,e,1,true\n"
        "6,f,1,true,surplus\n"
        f"7,{'x' * 201},1,true\n",
    )
    for sentence in (
        "fleet.csv, line 3, unique_id: '' cannot be a tracker's identifier",
        "fleet.csv, line 4, priority: 'zero' is no priority",
        "fleet.csv, line 5, test: 'maybe' is neither true nor false",
        "fleet.csv, line 6, unique_id: '1' stands in line 2 already",
        "fleet.csv, line 7, columns: 5 cells under 4 headings",
        "fleet.csv, line 8, name: has 201 characters",
        "6 errors; nothing was imported",
    ):
        assert sentence in said


def test_what_the_database_knows_better(terminal: Terminal) -> None:
    said = refused(terminal, "unique_id,account\n1,A\n2,default\n3,B\n")
    assert "line 2, account: there is no account named 'A'" in said
    assert "line 4, account: there is no account named 'B'" in said
    terminal.ok("device", "add", "2")
    (terminal.folder / "fleet.csv").write_text("unique_id\n1\n2\n")
    said = terminal.refused("device", "import", "fleet.csv")
    assert "line 3, unique_id: tracker '2' exists already, in account 'default'" in said
    assert [row["unique_id"] for row in terminal.json("device", "list")] == ["2"], "not the good line alone"


def test_more_errors_than_anybody_reads(terminal: Terminal) -> None:
    said = refused(terminal, "unique_id,priority\n" + "".join(f"{n},x\n" for n in range(50)))
    assert said.count("is no priority") == 20
    assert "50 errors (the first 20 are told)" in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("imei,name\n1,x\n", "line 1: no column is named unique_id; the first line names the columns"),
        ("", "line 1: no column is named unique_id"),
        ("unique_id,colour\n1,red\n", "line 1: there is no column 'colour'; there are: unique_id, name"),
        ("unique_id,name,name\n1,x,y\n", "line 1: column 'name' is there twice"),
        ('unique_id\n"a\0b', "FILE.csv: fleet.csv"),
    ],
)
def test_a_file_that_is_no_list_of_trackers(terminal: Terminal, text: str, sentence: str) -> None:
    (terminal.folder / "fleet.csv").write_bytes(text.encode())
    said = terminal("device", "import", "fleet.csv")
    assert said.code in {1, 2}
    assert said.out == ""
    if "\0" not in text:
        assert said.code == 2
        assert sentence in " ".join(said.err.split())
    assert count(terminal.dsn, "core.devices") == 0


def test_a_file_that_cannot_be_read(terminal: Terminal) -> None:
    assert "FILE.csv: no.csv cannot be read (No such file" in terminal.wrong("device", "import", "no.csv")
    (terminal.folder / "latin.csv").write_bytes(b"unique_id,name\n1,\xe9t\xe9\n")
    assert "latin.csv is not UTF-8" in terminal.wrong("device", "import", "latin.csv")
    (terminal.folder / "empty.csv").write_text("unique_id\n\n")
    assert "there are no trackers in it" in terminal.refused("device", "import", "empty.csv")


def test_a_file_longer_than_its_limit(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_import, "ROWS_MAX", 3)
    imported(terminal, "unique_id\n1\n2\n3\n")
    (terminal.folder / "long.csv").write_text("unique_id\n4\n5\n6\n7\n")
    assert "long.csv has more than 3 lines" in terminal.wrong("device", "import", "long.csv")


def test_a_large_file_goes_in_parts_and_still_as_a_whole(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_import, "PART_ROWS", 100)
    imported(terminal, "unique_id,priority\n" + "".join(f"{n:05},{n % 9 + 1}\n" for n in range(1_234)))
    assert count(terminal.dsn, "core.devices") == 1_234
    (last,) = query(terminal.dsn, "SELECT priority FROM core.devices WHERE unique_id = '01233'")
    assert last["priority"] == 1_233 % 9 + 1


def test_somebody_else_adds_one_of_them_meanwhile(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the writing: the unique key decides, and nothing of the file is left."""
    look = devices.connected
    dsn = terminal.dsn

    async def look_then_lose(connection: object, unique_ids: list[str]) -> dict[str, str]:
        found = await look(connection, unique_ids)  # pyright: ignore[reportArgumentType]

        def add() -> None:
            with psycopg.connect(dsn) as other:
                other.execute(
                    "INSERT INTO core.devices (unique_id, name, account_id) SELECT '2', '2', min(id) FROM core.accounts"
                )

        thread = threading.Thread(target=add)
        thread.start()
        thread.join()
        return found

    monkeypatch.setattr(devices, "connected", look_then_lose)
    (terminal.folder / "fleet.csv").write_text("unique_id\n1\n2\n")
    said = terminal.refused("device", "import", "fleet.csv")
    assert "line 3, unique_id: tracker '2' exists already" in said
    assert [row["unique_id"] for row in query(dsn, "SELECT unique_id FROM core.devices")] == ["2"]
