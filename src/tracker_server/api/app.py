"""The application: the API, the page, metrics and health."""

from __future__ import annotations

from msgspec.json import encode
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tracker_server.api.call import Services
from tracker_server.api.cross_origin import CrossOrigin
from tracker_server.api.dispatch import make_routes
from tracker_server.api.endpoints import ENDPOINTS
from tracker_server.api.headers import SecurityHeaders
from tracker_server.api.page import page_routes
from tracker_server.api.pay_page import pay_routes


def make_app(services: Services) -> Starlette:
    """The routes, over what they need."""

    async def exposition(_: Request) -> Response:
        return Response(services.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    async def healthz(_: Request) -> Response:
        """The process lives and its loop turns."""
        return Response(b'{"alive":true}', media_type="application/json")

    async def readyz(_: Request) -> Response:
        """The database answers, and what comes in is committed."""
        state = await services.readiness()
        return Response(encode(state), 200 if state.ready else 503, media_type="application/json")

    return Starlette(
        routes=[
            Route("/metrics", exposition),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            *make_routes(ENDPOINTS, services),
            *pay_routes(services),
            *page_routes(
                services.settings.page, services.settings.openid, geocoder=services.places is not None
            ),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(CrossOrigin, origins=services.settings.api.origins_allowed),
        ],
    )
