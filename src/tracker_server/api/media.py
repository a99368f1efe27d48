"""Pictures that people upload: judged by their first bytes, kept under names of our own."""

from __future__ import annotations

import secrets
from typing import Final

KINDS: Final = {"png": "image/png", "jpg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
PICTURE_BYTES_MAX: Final = 2_097_152  # a photograph of a van; more is a film


def kind_of(content: bytes) -> str | None:
    """What its magic bytes say that it is."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return None


def name_of(kind: str) -> str:
    """One that nobody had and nobody guesses."""
    return f"{secrets.token_hex(16)}.{kind}"


def media_of(name: str) -> str | None:
    """The media type of a name; None where it is none of ours."""
    return KINDS.get(name.rpartition(".")[2])
