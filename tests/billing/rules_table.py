"""Writes docs/reference/billing-rules.md: each rule, and the tests that hold it.

    python tests/billing/rules_table.py

Run it after adding a rule or a test; a test holds the page to what this would write.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent
PAGE = TESTS.parent / "docs/reference/billing-rules.md"

HEAD = """# Billing rules and the tests that hold them

This page is written by `tests/billing/rules_table.py`. The rules are those of two published sets of terms,
one with a balance and daily fees, one with prepaid months; how the engine thinks about them is told in
[billing](../explanation/billing.md). Of rules 114 to 133, which are about services around it, those are listed that cost the server more than a setting.

Where a rule has no test of that name yet, the part of the server that holds it is named.
"""


def tests_by_rule() -> dict[int, list[tuple[str, str]]]:
    """The tests named ``test_rNN_…``: file and name, by rule."""
    found: dict[int, list[tuple[str, str]]] = {}
    for path in sorted(TESTS.rglob("test_*.py"), key=lambda path: (path.parent != HERE, path)):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (
                match := re.match(r"test_r(\d+)_", node.name)
            ):
                found.setdefault(int(match[1]), []).append((str(path.relative_to(TESTS)), node.name))
    return found


def page() -> str:
    """The page's text."""
    tests = tests_by_rule()
    lines = [HEAD]
    for section in tomllib.loads((HERE / "rules.toml").read_text(encoding="utf-8"))["section"]:
        lines += [f"## {section['title']}\n", "| rule | says | held by |", "|---|---|---|"]
        for rule in section["rules"]:
            held = [f"[`{name}`](../../tests/{file})" for file, name in tests.pop(rule["id"], [])]
            if "at" in rule and not held:
                held.append(f"the {rule['at']}")
            assert held, f"R{rule['id']} is held by nothing"
            lines.append(f"| R{rule['id']} | {rule['says']} | {'<br>'.join(held)} |")
        lines.append("")
    assert not tests, f"tests of rules that are not listed: {sorted(tests)}"
    return "\n".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
