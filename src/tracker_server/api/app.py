"""The application: metrics, health and the web page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct
from msgspec.json import encode
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker_server.api.page import page_routes
from tracker_server.config import Page
from tracker_server.metrics import Metrics


class Readiness(Struct, frozen=True):
    """Whether work can be done here; ``problems`` in words for the operator."""

    ready: bool
    problems: tuple[str, ...] = ()


def make_app(metrics: Metrics, readiness: Callable[[], Awaitable[Readiness]], page: Page) -> Starlette:
    """The routes, over what they need."""

    async def exposition(_: Request) -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        """The process lives and its loop turns."""
        return Response(b'{"alive":true}', media_type="application/json")

    async def readyz(_: Request) -> Response:
        """The database answers, and what comes in is committed."""
        state = await readiness()
        return Response(encode(state), 200 if state.ready else 503, media_type="application/json")

    return Starlette(
        routes=[
            Route("/metrics", exposition),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *page_routes(page),
        ]
    )
