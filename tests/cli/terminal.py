"""Calling commands as an operator does: in this process, or as the console script where the process matters."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog

from tests.servers.serve import PROGRAM
from tracker_server.cli.main import main


class Said(NamedTuple):
    """A command's exit code and what it wrote."""

    code: int
    out: str
    err: str


class Terminal:
    """Commands over one database. Settings are given by the environment, as to the server in the tests."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.folder = folder
        for name in [name for name in os.environ if name.startswith("TRACKER_")]:
            monkeypatch.delenv(name)
        monkeypatch.chdir(folder)

    def set(self, **settings: Any) -> None:
        """Settings, with __ between the levels: ``set(storage__dsn=…)``."""
        for name, value in settings.items():
            self._monkeypatch.setenv(f"TRACKER_{name.upper()}", str(value))

    @property
    def dsn(self) -> str:
        return os.environ["TRACKER_STORAGE__DSN"]

    def __call__(self, *arguments: str, stdin: str = "") -> Said:
        """A command, in this process."""
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        self._capsys.readouterr()
        root = logging.getLogger()
        handlers, level = root.handlers[:], root.level
        try:
            main(list(arguments))
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        finally:
            root.handlers[:] = handlers
            root.setLevel(level)
            structlog.reset_defaults()
        out, err = self._capsys.readouterr()
        return Said(code, out, err)

    def ok(self, *arguments: str, stdin: str = "") -> str:
        """What a command that must succeed printed."""
        said = self(*arguments, stdin=stdin)
        assert said.code == 0, said
        return said.out

    def json(self, *arguments: str) -> Any:
        """What it printed with ``--format json``."""
        return json.loads(self.ok(*arguments, "--format", "json"))

    def refused(self, *arguments: str, stdin: str = "") -> str:
        """The sentence of a command that must be refused; then nothing stands on stdout."""
        return self._fails(1, arguments, stdin)

    def wrong(self, *arguments: str, stdin: str = "") -> str:
        """The sentence of a command that is used wrongly."""
        return self._fails(2, arguments, stdin)

    def _fails(self, code: int, arguments: tuple[str, ...], stdin: str) -> str:
        said = self(*arguments, stdin=stdin)
        assert (said.code, said.out) == (code, ""), said
        assert said.err.strip()
        return " ".join(said.err.split())

    def program(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """The console script as a process of its own."""
        return subprocess.Popen(
            [PROGRAM, *arguments],
            env={**os.environ, **environment},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )


def parts(said: str) -> Mapping[str, str]:
    """The lines ``name  value`` that ``show`` prints for people."""
    return {line.split()[0]: " ".join(line.split()[1:]) for line in said.splitlines() if line.strip()}
