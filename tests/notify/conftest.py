from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.notify.mail_server import MailServer


@pytest.fixture
def mail_server() -> Generator[MailServer]:
    """An SMTP server that takes every mail, until it is told otherwise."""
    with MailServer().running() as server:
        yield server
