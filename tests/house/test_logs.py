"""What a log tells of a defect: where it is, and nobody's secret."""

from __future__ import annotations

from typing import Literal

import pytest
import structlog

from tracker_server.config import Log
from tracker_server.logs import set_up

SAID = "correct" + " horse"  # nowhere in the source: lines of it are shown


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_lines_and_no_values(
    capsys: pytest.CaptureFixture[str], form: Literal["json", "console"]
) -> None:
    set_up(Log(format=form))
    try:
        sign_in(SAID)
    except ValueError:
        structlog.get_logger().exception("a defect of ours")
    told = capsys.readouterr().err
    assert "a defect of ours" in told
    assert "sign_in" in told
    assert SAID not in told


def sign_in(password: str) -> None:
    secret = password
    raise ValueError(len(secret))
