"""Addresses, numbers and URLs as far as a program can judge them: whether one is there depends on its server alone."""

from __future__ import annotations

import re
from email.headerregistry import Address
from email.utils import parseaddr
from typing import Final
from urllib.parse import urlsplit

from tracker_server.model.money import InvalidValueError
from tracker_server.model.why import Why

CHARACTERS_MAX: Final = 254  # RFC 5321 §4.5.3.1.3, without its angle brackets
URL_CHARACTERS_MAX: Final = 2_000
_ADDRESS: Final = re.compile(
    r"[^\s@<>(),;:\\\"\[\]\x00-\x1f\x7f]+@[^\s@<>(),;:\\\"\[\]\x00-\x1f\x7f.][^\s@<>(),;:\\\"\[\]\x00-\x1f\x7f]*"
)

_PHONE: Final = re.compile(r"\+?[0-9]{5,15}")
_MESSENGER: Final = re.compile(r"[A-Za-z0-9+@_:.~-]{1,128}")


def email(text: str, field: str) -> str:
    """One address, trimmed, or an error that names ``field``."""
    text = text.strip()
    if len(text) > CHARACTERS_MAX or not _ADDRESS.fullmatch(text) or ".." in text or text.endswith("."):
        raise InvalidValueError(
            field,
            f"{text[:CHARACTERS_MAX]!r} is not an e-mail address; write one, such as office@example.com",
            Why.EMAIL,
        )
    return text


def phone(text: str, field: str) -> str:
    """A number as an SMS provider takes it: digits, with a plus before those that begin with a country's code."""
    found = re.sub(r"[\s()./-]", "", text)
    if not _PHONE.fullmatch(found):
        raise InvalidValueError(
            field, f"{text[:CHARACTERS_MAX]!r} is no phone number; write one such as +34600111222", Why.PHONE
        )
    return found


def url(text: str, field: str) -> str:
    """An address that a webhook may be sent to; whether it may lead there is asked as it is sent."""
    text = text.strip()
    found = urlsplit(text) if len(text) <= URL_CHARACTERS_MAX and text.isprintable() else None
    if found is None or found.scheme not in {"http", "https"} or not found.hostname or " " in text:
        raise InvalidValueError(
            field,
            f"{text[:CHARACTERS_MAX]!r} is no http or https address; write one such as https://example.com/alerts",
            Why.URL,
        )
    if found.username or found.password:
        raise InvalidValueError(
            field, "holds a user or a password; the signature tells who we are, leave them out", Why.URL
        )
    return text


def messenger_url(text: str, field: str) -> str:
    """A URL that names a messenger's service and recipient; which schemes may be, the settings say as it is used."""
    text = text.strip()
    if len(text) > URL_CHARACTERS_MAX or not text.isprintable() or " " in text:
        raise InvalidValueError(
            field, f"{text[:CHARACTERS_MAX]!r} is no URL; write one such as tgram://TOKEN/CHAT", Why.URL
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
            Why.MESSENGER,
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
