"""Where a broker is, and where things are published: URLs in their parts, templates of topics filled in."""

from __future__ import annotations

import ssl
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from msgspec import Struct

PORTS: Final = {"mqtt": 1883, "mqtts": 8883}
FORBIDDEN: Final = str.maketrans({"+": "_", "#": "_", "\0": "_"})


class Address(Struct, frozen=True):
    """A broker's URL in its parts."""

    host: str
    port: int
    tls: bool
    user: str
    password: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def address_of(url: str) -> Address:
    """``mqtt://user:password@host:port``."""
    parts = urlsplit(url)
    return Address(
        parts.hostname or "localhost",
        parts.port or PORTS[parts.scheme],
        parts.scheme == "mqtts",
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


def trust(authority: str) -> ssl.SSLContext:
    """The system's authorities, and one more where its PEM file is named."""
    context = ssl.create_default_context()
    if authority:
        context.load_verify_locations(authority)
    return context


def topic_of(template: str, row: dict[str, Any], kind: str) -> str:
    """Where a thing is published; what no topic may hold is an underscore."""
    for name, value in (
        ("account", row["account"]),
        ("unique_id", row["unique_id"]),
        ("id", str(row["device_id"])),
        ("kind", kind),
    ):
        template = template.replace(f"{{{name}}}", value.translate(FORBIDDEN))
    return template
