"""The protocol that docs/howto/add-a-protocol.md builds is taken from the page and held to the laws."""

from __future__ import annotations

import importlib
import re
import sys
import tomllib
from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest

import tracker_protocols
from tracker_protocols.model import Report
from tracker_protocols.protocol import Protocol
from tracker_protocols.wire.decoder import StreamDecoder

from .test_laws import agrees, assert_round_trip, some_fixes
from .vectors import RECEIVED_AT, Vector, flat, messages_of

PAGE = (Path(__file__).parents[2] / "docs/howto/add-a-protocol.md").read_text()
FILES = {
    "decoder.py": '"""Demo: text between',
    "device.py": '"""The demo tracker',
    "__init__.py": '"""Demo. See README.md',
    "vectors.toml": "[[vector]]",
}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Protocol, list[Vector]]]:
    """The folder as the page has it."""
    home = tmp_path_factory.mktemp("protocols")
    (home / "demo").mkdir()
    blocks = re.findall(r"```(?:python|toml)\n(.*?)```", PAGE, re.DOTALL)
    for name, begins in FILES.items():
        (text,) = [block for block in blocks if block.startswith(begins)]
        (home / "demo" / name).write_text(text)
    tracker_protocols.__path__.append(str(home))
    try:
        protocol = importlib.import_module("tracker_protocols.demo").DEMO
        rows = tomllib.loads((home / "demo" / "vectors.toml").read_text())["vector"]
        yield protocol, [msgspec.convert({**row, "speaks": "demo"}, Vector) for row in rows]
    finally:
        tracker_protocols.__path__.remove(str(home))
        for name in [name for name in sys.modules if name.startswith("tracker_protocols.demo")]:
            del sys.modules[name]


def test_its_vectors_hold_in_all_quadrants(demo: tuple[Protocol, list[Vector]]) -> None:
    protocol, vectors = demo
    signs: set[tuple[bool, bool]] = set()
    for vector in vectors:
        decoder = protocol.decoder()
        assert isinstance(decoder, StreamDecoder)
        got = messages_of(decoder.receive_data(vector.stream, RECEIVED_AT))
        assert len(got) == len(vector.expect), vector.name
        for expected, message in zip(vector.expect, got, strict=True):
            row = flat(message)
            assert all(agrees(value, row.get(key)) for key, value in expected.items()), (vector.name, row)
            if isinstance(message, Report) and message.fix:
                signs.add((message.fix.latitude > 0, message.fix.longitude > 0))
    assert len(signs) == 4


def test_what_its_device_says_its_decoder_reads(demo: tuple[Protocol, list[Vector]]) -> None:
    protocol, _ = demo
    for fixes in some_fixes():
        assert_round_trip(protocol, fixes)


@pytest.mark.usefixtures("demo")
def test_its_code_is_formatted() -> None:
    """What is pasted from the page passes `make check`."""
    import subprocess

    home = Path(tracker_protocols.__path__[-1]) / "demo"
    ruff = Path(sys.executable).with_name("ruff")
    config = Path(__file__).parents[2] / "pyproject.toml"
    for arguments in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run(
            [ruff, *arguments, "--config", config, home], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
