from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.terminal import Terminal


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Terminal:
    """Commands without any setting, in an empty folder."""
    return Terminal(tmp_path, monkeypatch, capsys)


@pytest.fixture
def terminal(bare: Terminal, postgres_dsn: str) -> Terminal:
    """Commands over a fresh database."""
    bare.set(storage__dsn=postgres_dsn)
    return bare


@pytest.fixture
def both_homes(bare: Terminal, home_dsn: str) -> Terminal:
    """Commands over a fresh database, once with TimescaleDB and once without."""
    bare.set(storage__dsn=home_dsn)
    return bare
