"""Every route there is below ``/api``, topic by topic."""

from __future__ import annotations

from typing import Any, Final

from tracker_server.api import (
    account_money,
    accounts,
    alerts,
    attributes,
    commands,
    devices,
    events,
    fence_files,
    geofences,
    management,
    notifications,
    objects,
    openid,
    operator,
    papers,
    password,
    payments,
    permissions,
    positions,
    proximities,
    reactivate,
    reports,
    server_info,
    session,
    shares,
    socket,
    tariffs,
    users,
)
from tracker_server.api.authorise import Endpoint, Open, Routes
from tracker_server.api.call import Call
from tracker_server.api.openapi import describe

routes = Routes("Description")


@routes.get("/openapi.json", needs=Open.ANYBODY, answers=dict[str, Any])
async def get_openapi(_: Call[None, None]) -> dict[str, Any]:
    """The description of the API."""
    return describe(ENDPOINTS)


TOPICS: Final = (
    session,
    openid,
    password,
    server_info,
    users,
    devices,
    permissions,
    objects,
    fence_files,  # before the geofences, whose {id} would take its words
    geofences,
    commands,
    shares,
    notifications,
    operator,
    attributes,
    positions,
    proximities,
    events,
    reports,
    alerts,
    socket,
    payments,
    reactivate,
    accounts,
    account_money,
    management,
    papers,
    tariffs,
)

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    *routes.all,
    *(endpoint for topic in TOPICS for endpoint in topic.routes.all),
)
