"""The pages about billing say what the code does: their examples run, their tables and diagram are current."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.billing.rules_table import PAGE, page
from tests.billing.stories import FREE, TERM, Story, tariff
from tracker_server.billing.reasons import Reason
from tracker_server.billing.state import Reveal, Settings
from tracker_server.billing.states import FACES, MOVES, Standing, diagram
from tracker_server.billing.what_if import what_if
from tracker_server.billing.what_if_actions import READERS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/explanation/billing.md").read_text(encoding="utf-8")
STORIES = re.findall(r"^```story ?(.*?)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("options", "text"), STORIES)
def test_the_examples_are_true(options: str, text: str) -> None:
    named = dict(option.split("=", 1) for option in options.split())
    tariffs = [tariff("Std", named.get("tariff", "310.00")), FREE, TERM]
    if also := named.get("also"):
        tariffs.append(tariff(*also.split(":")))
    zone = named.get("zone", "Europe/Moscow")
    first = next(line for line in text.splitlines() if not line.startswith("#"))
    settings = Settings(reveal=Reveal(named.get("reveal", "all")), charge_difference="difference" in named)
    story = Story(
        text, settings=settings, on=named.get("on", "Std"), tariffs=tuple(tariffs), zone=zone, start=first
    )
    assert story.lines >= 2


def test_there_are_examples() -> None:
    assert len(STORIES) >= 17


def test_the_calculators_example() -> None:
    found = re.search(r"<!-- what-if -->\n```json\n(.*?)```\n```json\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    assert json.loads(what_if(found[1].encode())) == json.loads(found[2])


def test_the_calculators_actions_are_all_in_the_table() -> None:
    table = TEXT[TEXT.index("| `do` |") :]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"do"} == set(READERS)


def test_the_diagram_is_printed_from_the_table() -> None:
    found = re.search(r"<!-- diagram -->\n```mermaid\n(.*?)```\n<!-- /diagram -->", TEXT, re.DOTALL)
    assert found is not None
    assert found[1] == diagram(), "python -m tests.billing.write_docs writes it"


def test_the_tables_of_states_are_whole() -> None:
    assert set(FACES) == set(Standing)
    reached = {after for _, after in MOVES}
    assert reached == set(Standing)
    assert all(before is not after for before, after in MOVES)


def test_every_reason_is_given_somewhere() -> None:
    source = "".join(path.read_text() for path in (ROOT / "src/tracker_server/billing").glob("*.py"))
    for reason in Reason:
        assert f"Reason.{reason.name}" in source, f"{reason} is never given"


def test_the_table_of_rules_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python tests/billing/rules_table.py writes it"
