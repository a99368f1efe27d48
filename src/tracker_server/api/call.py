"""What a handler is given: the request, who asks, what he sent, and what the server is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct
from starlette.requests import HTTPConnection, Request
from starlette.websockets import WebSocket

from tracker_server.api.access import Access
from tracker_server.api.authorise import Kind, require, require_objects
from tracker_server.api.computed import Computed
from tracker_server.api.openid_provider import Provider
from tracker_server.api.places import Places
from tracker_server.api.readiness import Readiness
from tracker_server.config import Settings
from tracker_server.live.hub import Hub
from tracker_server.metrics import Metrics
from tracker_server.model.people import Principal, Right
from tracker_server.payments.port import Gateway
from tracker_server.pipeline.ingest import Ingest
from tracker_server.pipeline.trackers import Trackers
from tracker_server.storage.allowed import allowed
from tracker_server.storage.billing_store import BillingStore
from tracker_server.storage.database import Database
from tracker_server.storage.pools import Pools
from tracker_server.storage.positions_api import Fixes

Query = TypeVar("Query")
Body = TypeVar("Body")


class Services(Struct, frozen=True, eq=False):
    """What handlers work with; ``app.py`` builds it."""

    settings: Settings
    metrics: Metrics
    database: Database
    pools: Pools
    access: Access
    computed: Computed
    trackers: Trackers
    hub: Hub
    ingest: Ingest
    billing: BillingStore
    gateways: Mapping[str, Gateway]
    openid: Provider | None
    places: Places | None
    readiness: Callable[[], Awaitable[Readiness]]

    def connected(self, device_id: int) -> bool:
        """Whether a tracker has a connection to this process over which it can be told something."""
        tracker = self.trackers.by_id(device_id)
        return tracker is not None and self.ingest.reaches(tracker.unique_id)

    async def addresses(self, fixes: Fixes) -> list[str | None] | None:
        """Of these fixes, as far as they are known; None: there is no geocoder."""
        return None if self.places is None else await self.places.known(fixes)

    async def allowed(self, principal: Principal, kind: Kind, numbers: frozenset[int]) -> frozenset[int]:
        """Which of these objects are there for somebody."""
        return await allowed(self.pools, principal, kind.value, numbers)


class _Asked:
    def __init__(self, services: Services, principal: Principal | None) -> None:
        self.services = services
        self.nobody_or = principal
        self.now = datetime.now(UTC)

    @property
    def principal(self) -> Principal:
        """Who asks; only where the route needs a right."""
        assert self.nobody_or is not None, "the route is open to anybody: ask nobody_or"
        return self.nobody_or

    def require(self, right: Right) -> None:
        """Raises Refusal where he has it not; for what only some bodies ask for."""
        require(self.principal, right)

    async def require_objects(self, kind: Kind, *numbers: int) -> None:
        """Raises Refusal where one of them is not there for him; for ids in bodies. 0 names nothing."""
        await require_objects(self.principal, kind, filter(None, numbers), self.services.allowed)


class Call(_Asked, Generic[Query, Body]):
    """One request to one route. ``path``: its parameters, numbers for ids."""

    def __init__(
        self,
        services: Services,
        principal: Principal | None,
        request: Request,
        path: dict[str, Any],
        query: Query,
        body: Body,
    ) -> None:
        super().__init__(services, principal)
        self.request = request
        self.path = path
        self.query = query
        self.body = body

    @property
    def id(self) -> int:
        """``{id}`` of the path."""
        return self.path["id"]

    @property
    def address(self) -> str:
        """Of whoever asks."""
        return address_of(self.request)


class SocketCall(_Asked):
    """One websocket, not accepted yet, of somebody who may open it."""

    def __init__(self, services: Services, principal: Principal, socket: WebSocket) -> None:
        super().__init__(services, principal)
        self.socket = socket


def address_of(connection: HTTPConnection) -> str:
    """The client's, or what a trusted proxy says of it."""
    return connection.client.host if connection.client else ""
