"""Pictures that people upload: judged by their first bytes, kept under names of our own, one for each tracker."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
from pathlib import Path
from typing import ClassVar, Final

KINDS: Final = {"png": "image/png", "jpg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"}
_NAME: Final = re.compile(r"[0-9a-f]{32}\.(?:png|jpg|gif|webp)")


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


class Pictures:
    """The folder ``media`` of the data directory."""

    BYTES_MAX: ClassVar = 2_097_152  # a photograph of a van; more is a film

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / "media"

    async def keep(self, device_id: int, content: bytes, kind: str) -> str:
        """In place of the one before; answers its name."""
        name = f"{secrets.token_hex(16)}.{kind}"
        await asyncio.to_thread(self._write, device_id, name, content)
        return name

    def _write(self, device_id: int, name: str, content: bytes) -> None:
        folder = self._folder / str(device_id)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content)

    async def read(self, device_id: int, name: str) -> tuple[bytes, str] | None:
        """Its content and media type."""
        if not _NAME.fullmatch(name):
            return None
        path = self._folder / str(device_id) / name
        try:
            content = await asyncio.to_thread(path.read_bytes)
        except FileNotFoundError:
            return None
        return content, KINDS[path.suffix[1:]]
