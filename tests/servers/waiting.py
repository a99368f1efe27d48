"""Waiting for something to become true, never for time to pass; and what to do when it cannot be had at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

import pytest

Found = TypeVar("Found")

POLL_S = 0.02
REQUIRE_ALL = "TRACKER_TEST_REQUIRE_ALL"


def wait_until(what: str, condition: Callable[[], Found | None], within_s: float = 20.0) -> Found:
    """The condition's first true value. Fails the test, naming ``what``, when none came in time."""
    until = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > until:
            pytest.fail(f"waited {within_s:g} s in vain for {what}")
        time.sleep(POLL_S)
    return found


def missing(what: str, cure: str) -> NoReturn:
    """Skip a test whose server this machine has not; where everything is required, fail it instead."""
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(f"{what} is required here ({REQUIRE_ALL}=1) and missing; {cure}")
    pytest.skip(f"{what} is not here; {cure}")
