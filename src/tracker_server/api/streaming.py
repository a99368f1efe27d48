"""Long answers, sent as they come from the database: memory holds a piece, and what fails early is a clear refusal."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping

from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tracker_server.exports.tracks import gathered


class HiddenMeanwhileError(Exception):
    """The gate closed while an answer was on its way: it breaks off, so that nobody takes a part for the whole."""


class _Streamed(StreamingResponse):
    """Ends what it reads from, however it ends itself."""

    def __init__(self, parts: AsyncGenerator[bytes], media: str, headers: Mapping[str, str]) -> None:
        super().__init__(parts, media_type=media, headers=headers)
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._parts.aclose()


async def streamed(
    parts: AsyncGenerator[bytes], media: str, headers: Mapping[str, str] | None = None
) -> Response:
    """An answer of these parts. The first piece is read at once: what goes wrong until then raises here."""
    pieces = gathered(parts)
    try:
        first = await anext(pieces, b"")
    except BaseException:
        await parts.aclose()
        raise

    async def rest() -> AsyncGenerator[bytes]:
        try:
            yield first
            async for piece in pieces:
                yield piece
        finally:
            await pieces.aclose()
            await parts.aclose()

    return _Streamed(rest(), media, headers or {})


def attachment(name: str) -> dict[str, str]:
    """The header with which a browser saves an answer as a file; ``name`` is ours, in plain letters."""
    return {"Content-Disposition": f'attachment; filename="{name}"'}
