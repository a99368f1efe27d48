"""People are added, listed, let in and out by commands."""

from __future__ import annotations

import re

from tests.cli.terminal import Terminal
from tests.storage.rows import query


def test_a_user_gets_a_link_or_a_password(terminal: Terminal) -> None:
    said = terminal.ok("user", "add", "Ana@example.com", "--role", "manager")
    assert "user Ana@example.com added as manager of account 'default' (id 1)" in said
    assert re.search(r"http://127\.0\.0\.1:8082/reset\?token=[\w-]{43}\n", said)
    assert query(terminal.dsn, "SELECT kind FROM core.tokens") == [{"kind": "reset"}]
    said = terminal(
        "user", "add", "op@example.com", "--role", "admin", "--password-stdin", stdin="correct horse\n"
    )
    assert (said.code, said.out) == (0, "user op@example.com added as admin (id 2)\n")
    (row,) = query(terminal.dsn, "SELECT password FROM core.users WHERE role = 'admin'")
    assert row["password"].startswith("$argon2id$")
    found = terminal.json("user", "list")
    assert [(one["email"], one["role"], one["account"]) for one in found] == [
        ("Ana@example.com", "manager", "default"),
        ("op@example.com", "admin", None),
    ]
    assert "password" not in found[0]
    assert [one["email"] for one in terminal.json("user", "list", "--account", "default")] == [
        "Ana@example.com"
    ]


def test_what_is_refused(terminal: Terminal) -> None:
    terminal.ok("user", "add", "ana@example.com")
    assert "EMAIL: somebody signs in by ANA@example.com already" in terminal.refused(
        "user", "add", "ANA@example.com"
    )
    assert "--account: there is no account named 'X'" in terminal.refused(
        "user", "add", "b@example.com", "--account", "X"
    )
    assert "EMAIL: 'nonsense' is not an e-mail address" in terminal.wrong("user", "add", "nonsense")
    assert "--role: admin is the operator's" in terminal.wrong(
        "user", "add", "c@example.com", "--role", "admin", "--account", "default"
    )
    said = terminal("user", "add", "d@example.com", "--password-stdin", stdin="short\n")
    assert said.code == 2
    assert "--password-stdin: password: is too short" in said.err
    assert "EMAIL: nobody signs in by 'x@example.com'" in terminal.refused("user", "remove", "x@example.com")
    assert "--days: 0 does not fit" in terminal.wrong("user", "token", "ana@example.com", "--days", "0")


def test_tokens_passwords_and_the_way_out(terminal: Terminal) -> None:
    terminal.ok("user", "add", "ana@example.com")
    token = terminal.ok("user", "token", "ana@example.com", "--days", "30").strip()
    assert re.fullmatch(r"[\w-]{43}", token)
    (row,) = query(
        terminal.dsn,
        "SELECT kind, expires_at > now() + interval '29 days' AS far FROM core.tokens WHERE kind = 'access'",
    )
    assert row == {"kind": "access", "far": True}
    said = terminal("user", "password", "ana@example.com", "--password-stdin", stdin="correct horse\n")
    assert said.code == 0
    assert "token=" in terminal.ok("user", "password", "ana@example.com")
    terminal.ok("user", "disable", "ana@example.com")
    assert terminal.json("user", "list")[0]["disabled"] is True
    terminal.ok("user", "disable", "ana@example.com", "--undo")
    assert terminal.json("user", "list")[0]["disabled"] is False
    terminal.ok("user", "remove", "ana@example.com")
    assert terminal.json("user", "list") == []
    assert query(terminal.dsn, "SELECT kind FROM core.tokens") == []
