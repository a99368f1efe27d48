"""E-mail addresses as far as a program can judge them: whether one is there depends on its server alone."""

from __future__ import annotations

import re
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Final

from tracker_server.model.money import InvalidValueError

CHARACTERS_MAX: Final = 254  # RFC 5321 §4.5.3.1.3, without its angle brackets
_ADDRESS: Final = re.compile(
    r"[^\s@<>(),;:\\\"\[\]\x00-\x1f\x7f]+@[^\s@<>(),;:\\\"\[\]\x00-\x1f\x7f.][^\s@<>(),;:\\\"\[\]\x00-\x1f\x7f]*"
)

_MESSENGER: Final = re.compile(r"[A-Za-z0-9+@_:.~-]{1,128}")


def email(text: str, field: str) -> str:
    """One address, trimmed, or an error that names ``field``."""
    text = text.strip()
    if len(text) > CHARACTERS_MAX or not _ADDRESS.fullmatch(text) or ".." in text or text.endswith("."):
        raise InvalidValueError(
            field,
            f"{text[:CHARACTERS_MAX]!r} is not an e-mail address; write one, such as office@example.com",
        )
    return text


def messenger(text: str, field: str) -> str:
    """A number, a name or an identifier with a messenger: what can stand in a URL without changing its meaning."""
    text = text.strip()
    if not _MESSENGER.fullmatch(text):
        raise InvalidValueError(
            field,
            f"{text[:CHARACTERS_MAX]!r} cannot be a messenger's recipient; write a number such as +34600111222, or "
            "a name of letters, digits and + - _ . @ :",
        )
    return text


def sender(text: str, field: str) -> Address:
    """``office@example.com`` or ``Name <office@example.com>``, or an error that names ``field``."""
    name, found = parseaddr(text)
    if any(character in text for character in "\r\n"):
        raise InvalidValueError(field, f"{text!r} has line breaks; write one line")
    return mailbox(email(found or text, field), name)


def mailbox(found: str, name: str = "") -> Address:
    """An address for a header; its local part may have letters beyond ASCII (RFC 6532)."""
    local, _, domain = found.rpartition("@")
    return Address(display_name=name, username=local, domain=domain)
