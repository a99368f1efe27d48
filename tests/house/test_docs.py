"""What the documentation tells people to type exists, and the README's tour is taken as it stands."""

from __future__ import annotations

import csv
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from io import StringIO
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from tests.house.shown import shown
from tests.servers.serve import Running, Servers
from tests.servers.waiting import missing
from tracker_protocols import BY_NAME
from tracker_server.cli.main import app
from tracker_server.config import Settings, load

CHECKOUT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("tracker-server")
PAGES = [
    *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((CHECKOUT / "docs").rglob("*.md")),
]
EXAMPLES = ("<protocol>", "demo")  # stand for any protocol; "demo" is the one that docs/howto adds
TOUR = "## A tracker in five minutes"
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"\bTRACKER_[A-Z0-9_]+")
NOT_SETTINGS = ("TRACKER_CONFIG", "TRACKER_TEST_", "TRACKER_GOLDEN_DIR")

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(CHECKOUT)))


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return [body for found, body in FENCE.findall(text) if found == language]


def commands(page: Path) -> Iterator[list[str]]:
    """What stands in the page's shell blocks, as words; what is continued is one line, here-documents are left out."""
    for block in blocks(page.read_text(), "sh"):
        text = re.sub(r"<<'END'.*?^END$", "", block.replace("\\\n", " "), flags=re.MULTILINE | re.DOTALL)
        kept = ""
        for line in text.splitlines():
            kept += line.replace(";", " ; ").replace("| ", " | ")
            try:
                words = shlex.split(kept, comments=True)
            except ValueError:  # a quotation that the next line closes
                kept += "\n"
                continue
            kept = ""
            if words:
                yield words


def spoken_to_us(page: Path) -> Iterator[list[str]]:
    """The arguments of each call of our own program."""
    for words in commands(page):
        places = [n for n, word in enumerate(words) if Path(word).name == "tracker-server"]
        for place in places:
            arguments = words[place + 1 :]
            end = next(
                (n for n, word in enumerate(arguments) if word in {";", "|", ">", "&&"}), len(arguments)
            )
            # also the name of a service, an image and a system user: a command begins with a word of ours
            if arguments[:end] and (arguments[0].startswith("--help") or arguments[0] in subcommands()):
                yield arguments[:end]


@cache
def help_of(*command: str) -> str:
    text = StringIO()
    app.help_print(list(command), console=Console(file=text, width=200))
    return text.getvalue()


@cache
def subcommands(*command: str) -> frozenset[str]:
    listed = re.search(r"─ Commands ─.*?╰", help_of(*command), re.DOTALL)
    return frozenset(re.findall(r"^│ ([a-z][a-z-]*) ", listed[0], re.MULTILINE)) if listed else frozenset()


def assert_exists(arguments: list[str]) -> None:
    path: list[str] = []
    rest = list(arguments)
    while rest and rest[0] in subcommands(*path):
        path.append(rest.pop(0))
    assert not (rest and subcommands(*path) and not rest[0].startswith("-")), f"no such command: {arguments}"
    text = help_of(*path)
    for word in rest:
        if word.startswith("--"):
            assert re.search(rf"{re.escape(word.partition('=')[0])}\b", text), f"{arguments}: no flag {word}"


@pages
def test_commands_and_flags_exist(page: Path) -> None:
    for arguments in spoken_to_us(page):
        assert_exists(arguments)


def test_commands_are_found() -> None:
    """So that the test above cannot pass by reading nothing."""
    assert ["positions", "864717003283581", "--as", "operator"] in list(spoken_to_us(CHECKOUT / "README.md"))
    assert sum(1 for page in PAGES for _ in spoken_to_us(page)) > 15


@pages
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    text = page.read_text()
    named = set(re.findall(r"`(?:sudo )?make ([a-z-]+)[^`]*`", text))
    for words in commands(page):
        if words[0] == "make":
            named |= {
                word for word in words[1:] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")
            }
    assert named <= targets


@pages
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), f"{target}: there is no {linked}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{target}: no such heading"


def test_every_page_can_be_found_from_the_index() -> None:
    index = CHECKOUT / "docs" / "index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in re.findall(r"\]\(([^)\s]+)\)", index.read_text())}  # fmt: skip
    hidden = [str(page.relative_to(CHECKOUT)) for page in PAGES if "docs" in page.parts and page not in {*linked, index}]  # fmt: skip
    assert not hidden, f"docs/index.md leads to none of {hidden}; add a line"


def known(key: str) -> bool:
    """Whether there is a setting, or a section, of this name; ``<protocol>`` stands for any."""
    kind: object = Settings
    for part in key.rstrip(".").split("."):
        if kind is None:
            return False
        if part in EXAMPLES or part in BY_NAME:
            kind = type(next(iter(Settings().listeners.values())))
            continue
        fields = (
            {f.encode_name: f.type for f in msgspec.structs.fields(kind)} if isinstance(kind, type) else {}
        )
        if part not in fields:
            return False
        kind = (
            fields[part]
            if isinstance(fields[part], type) and issubclass(fields[part], msgspec.Struct)
            else None
        )
        if part == "listeners":
            kind = Settings
    return True


SECTIONS = "|".join(Settings.__struct_fields__)
KEY = re.compile(rf"`((?:{SECTIONS})\.[a-z_<>.]+)`")


@pages
def test_settings_exist(page: Path) -> None:
    for key in KEY.findall(page.read_text()):
        if not key.endswith((".toml", ".md", ".py", ".json", ".yml", ".yaml")):
            assert known(key), f"there is no setting {key}"


def test_unknown_settings_would_be_found() -> None:
    assert known("listeners.<protocol>.port")
    assert known("ingest.queue_rows_max")
    assert not known("ingest.queue_max")
    assert not known("listeners.<protocol>.prot")


@pages
def test_environment_variables_are_settings(page: Path) -> None:
    for name in VARIABLE.findall(page.read_text()):
        if name.startswith(NOT_SETTINGS) or name == "TRACKER_":
            continue
        key = name.removeprefix("TRACKER_").lower().replace("__", ".")
        assert known(key), f"there is no setting {key}, so {name} does nothing"


@pages
def test_settings_files_are_accepted(page: Path, tmp_path: Path) -> None:
    for block in blocks(page.read_text(), "toml"):
        tree = tomllib.loads(block)
        if not set(tree) <= set(Settings.__struct_fields__):
            continue  # a file of another kind
        given = re.findall(r'"(/[^"]+\.(?:pem|pmtiles))"', block)
        for name in given:
            (tmp_path / Path(name).name).touch()
            block = block.replace(name, str(tmp_path / Path(name).name))  # noqa: PLW2901
        file = tmp_path / "settings.toml"
        file.write_text(block)
        assert load(file, environment={}).origin


def test_every_metric_is_explained() -> None:
    page = (CHECKOUT / "docs" / "howto" / "monitor.md").read_text()
    rows = dict(re.findall(r"^\| `(tracker_\w+)` \| \w+ \| ([\w, ]*)\|", page, re.MULTILINE))
    assert {name: labels.strip() for name, labels in rows.items()} == {
        metric.name: ", ".join(metric.labels) for metric in shown()
    }


# ---------------------------------------------------------------------------------------------------- the tour


def tour() -> list[str]:
    text = (CHECKOUT / "README.md").read_text()
    chapter = text[text.index(TOUR) :].partition("\n## ")[2].partition("\n## ")[0]
    begin = text.index(TOUR)
    end = text.index("\n## ", begin + len(TOUR))
    assert chapter
    return blocks(text[begin:end], "sh")


@pytest.fixture
def place(server: Servers) -> Running:
    for program in ("bash", "curl"):
        if shutil.which(program) is None:
            missing(program, f"install the package {program}")
    return server(protocols=["gt06", "osmand", "teltonika"])


def take(script: str, place: Running) -> str:
    """Run one block of the README, with the ports that this server has."""
    for name, (_, port) in place.addresses.items():
        script = re.sub(rf"(127\.0\.0\.1[:/]){BY_NAME[name].port}\b", rf"\g<1>{port}", script)
    script = script.replace(". .venv/bin/activate\n", "")
    path = f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**place.environment, "PATH": path, "COLUMNS": "160"},
        cwd=place.home, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_readmes_tour(place: Running) -> None:
    add, play, see, hold, release, fleet = tour()
    text = (CHECKOUT / "README.md").read_text()
    take(add, place)
    assert take(play, place) == blocks(text[text.index(TOUR) :], "text")[0]
    assert "40.4168" in take(see, place)
    held = take(hold, place)
    assert "200" in held.splitlines()
    assert "40.41" not in held
    released = take(release, place)
    assert released.count("40.4168") == 2, "the operator's view, and the customer's after the release"
    assert len(re.findall(r"40\.417\b|40\.4170", released)) == 2
    assert "teltonika" in take(fleet, place)
    rows = place.cli("positions", "864717003283581", "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(rows.stdout)))) == 2
